//! Reading and writing Kafka's primitive types, for the codecs written by hand.
//!
//! Owns: a bounded decoder over `Bytes` whose slices stay slices of the frame, and an encoder of
//! replies whose record bytes stay where they are. Both know the two encodings: lengths of fixed
//! width, and (flexible versions) unsigned varints of length + 1 with tagged fields at the end of
//! each struct. Invariants: nothing is reserved for more elements than the bytes left can hold; a
//! whole request has at most [`MAX_ELEMENTS`]: each costs its handler many times its bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::error::BadRequest;

/// Elements of all arrays of one request: partitions and topics, of which no broker has as many.
const MAX_ELEMENTS: usize = 250_000;
/// Tagged fields one struct may have.
const MAX_TAGS: u32 = 64;

/// Reads a request.
pub(crate) struct Decoder {
    bytes: Bytes,
    pub(crate) flexible: bool,
    elements: usize,
}

fn cut() -> BadRequest {
    BadRequest::Malformed("ends too early".to_owned())
}

fn malformed(what: &str) -> BadRequest {
    BadRequest::Malformed(what.to_owned())
}

macro_rules! numbers {
    ($($name:ident: $type:ty = $get:ident),*) => {
        $(pub(crate) fn $name(&mut self) -> Result<$type, BadRequest> {
            self.bytes.$get().map_err(|_| cut())
        })*
    };
}

impl Decoder {
    pub(crate) fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, flexible, elements: 0 }
    }

    numbers!(i8: i8 = try_get_i8, u8: u8 = try_get_u8, i16: i16 = try_get_i16,
        i32: i32 = try_get_i32, i64: i64 = try_get_i64);

    /// What is left unread.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, BadRequest> {
        let mut bytes = [0; 16];
        self.bytes.try_copy_to_slice(&mut bytes).map_err(|_| cut())?;
        Ok(Uuid::from_bytes(bytes))
    }

    fn varint(&mut self) -> Result<u32, BadRequest> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = u32::from(self.u8()?);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("a length varint is too long"))
    }

    fn take(&mut self, count: usize) -> Result<Bytes, BadRequest> {
        if count > self.bytes.len() {
            return Err(cut());
        }
        Ok(self.bytes.split_to(count))
    }

    /// A nullable sequence of bytes behind an i16, whatever the encoding (the client id).
    pub(crate) fn nullable_bytes16(&mut self) -> Result<Option<Bytes>, BadRequest> {
        match usize::try_from(self.i16()?) {
            Ok(count) => self.take(count).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn compact_len(&mut self) -> Result<Option<usize>, BadRequest> {
        let raw = self.varint()?;
        Ok(usize::try_from(raw).unwrap_or(usize::MAX).checked_sub(1))
    }

    fn len32(&mut self) -> Result<Option<usize>, BadRequest> {
        if self.flexible {
            return self.compact_len();
        }
        match self.i32()? {
            -1 => Ok(None),
            len => usize::try_from(len).map(Some).map_err(|_| malformed("a length is negative")),
        }
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<Bytes>, BadRequest> {
        self.len32()?.map(|count| self.take(count)).transpose()
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<String>, BadRequest> {
        let bytes = if self.flexible {
            let len = self.compact_len()?;
            if len.is_some_and(|len| i16::try_from(len).is_err()) {
                return Err(malformed("a string is too long"));
            }
            len.map(|count| self.take(count)).transpose()?
        } else {
            self.nullable_bytes16()?
        };
        let text = |bytes: Bytes| {
            String::from_utf8(bytes.to_vec()).map_err(|_| malformed("a string is not UTF-8"))
        };
        bytes.map(text).transpose()
    }

    pub(crate) fn string(&mut self) -> Result<String, BadRequest> {
        self.nullable_string()?.ok_or_else(|| malformed("a string is null"))
    }

    /// An array whose elements take at least `smallest` bytes each; null counts as empty.
    pub(crate) fn array<T>(
        &mut self,
        smallest: usize,
        element: impl FnMut(&mut Self) -> Result<T, BadRequest>,
    ) -> Result<Vec<T>, BadRequest> {
        Ok(self.nullable_array(smallest, element)?.unwrap_or_default())
    }

    /// As `array`; null is told apart from empty.
    pub(crate) fn nullable_array<T>(
        &mut self,
        smallest: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, BadRequest>,
    ) -> Result<Option<Vec<T>>, BadRequest> {
        let Some(count) = self.len32()? else { return Ok(None) };
        if count > self.bytes.len() / smallest.max(1) {
            return Err(malformed("an array is longer than its bytes"));
        }
        self.elements = self.elements.saturating_add(count);
        if self.elements > MAX_ELEMENTS {
            return Err(malformed("its arrays are too long"));
        }
        (0..count).map(|_| element(self)).collect::<Result<_, _>>().map(Some)
    }

    /// Reads the tagged fields at the end of a struct and gives those wanted to `known`.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<(), BadRequest>,
    ) -> Result<(), BadRequest> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.varint()?;
        if count > MAX_TAGS {
            return Err(malformed("too many tagged fields"));
        }
        let mut last = None;
        for _ in 0..count {
            let tag = self.varint()?;
            if last.is_some_and(|last| tag <= last) {
                return Err(malformed("tagged fields are not in order"));
            }
            last = Some(tag);
            let size = self.varint()?;
            let bytes = self.take(usize::try_from(size).unwrap_or(usize::MAX))?;
            known(tag, &mut Self::new(bytes, true))?;
        }
        Ok(())
    }

    pub(crate) fn skip_tags(&mut self) -> Result<(), BadRequest> {
        self.tags(|_, _| Ok(()))
    }
}

/// Writes a reply as chunks: what is small is gathered, record bytes are passed on.
pub(crate) struct Encoder {
    done: Vec<Bytes>,
    open: BytesMut,
    flexible: bool,
}

impl Encoder {
    pub(crate) fn new(flexible: bool) -> Self {
        Self { done: Vec::new(), open: BytesMut::with_capacity(256), flexible }
    }

    /// The chunks, in order.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.open.put_i16(value);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.open.put_u8(value.into());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.open.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.open.put_i64(value);
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.open.put_slice(value.as_bytes());
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.open.put_u8(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
            value >>= 7;
        }
        self.open.put_u8(u8::try_from(value).unwrap_or(0));
    }

    fn len32(&mut self, len: usize) {
        if self.flexible {
            self.varint(u32::try_from(len).unwrap_or(u32::MAX).saturating_add(1));
        } else {
            self.open.put_i32(i32::try_from(len).unwrap_or(i32::MAX));
        }
    }

    /// The length of an array; its elements follow.
    pub(crate) fn array(&mut self, len: usize) {
        self.len32(len);
    }

    pub(crate) fn null_array(&mut self) {
        if self.flexible {
            self.open.put_u8(0);
        } else {
            self.open.put_i32(-1);
        }
    }

    pub(crate) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(text) if self.flexible => self.len32(text.len()),
            Some(text) => self.open.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX)),
            None if self.flexible => self.open.put_u8(0),
            None => self.open.put_i16(-1),
        }
        self.open.put_slice(value.unwrap_or_default().as_bytes());
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.nullable_string(Some(value));
    }

    /// Record batches one after the other, never null; the bytes are not copied.
    pub(crate) fn records(&mut self, batches: Vec<Bytes>) {
        self.len32(batches.iter().map(Bytes::len).sum());
        if !batches.is_empty() {
            self.close();
            self.done.extend(batches);
        }
    }

    /// Tagged fields by number, each as written by its closure; those left out hold their default.
    pub(crate) fn tags(&mut self, fields: Vec<(u32, Vec<u8>)>) {
        if !self.flexible {
            return;
        }
        self.varint(u32::try_from(fields.len()).unwrap_or(0));
        for (tag, bytes) in fields {
            self.varint(tag);
            self.varint(u32::try_from(bytes.len()).unwrap_or(0));
            self.open.put_slice(&bytes);
        }
    }

    pub(crate) fn no_tags(&mut self) {
        self.tags(Vec::new());
    }

    /// What was written, gathered: for the content of a tagged field.
    pub(crate) fn into_tag(self) -> Vec<u8> {
        self.open.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_written() {
        for flexible in [false, true] {
            let mut encoder = Encoder::new(flexible);
            encoder.string("topic");
            encoder.nullable_string(None);
            encoder.array(1);
            encoder.i32(300);
            encoder.records(vec![Bytes::from(vec![7; 200]), Bytes::from_static(b"x")]);
            encoder.tags(vec![(3, vec![1, 2])]);
            let chunks = encoder.finish();
            let mut decoder = Decoder::new(chunks.concat().into(), flexible);
            assert_eq!(decoder.string().unwrap(), "topic");
            assert_eq!(decoder.nullable_string().unwrap(), None);
            assert_eq!(decoder.array(4, Decoder::i32).unwrap(), [300]);
            assert_eq!(decoder.nullable_bytes().unwrap().unwrap().len(), 201);
            let mut seen = Vec::new();
            decoder.tags(|tag, field| field.i16().map(|value| seen.push((tag, value)))).unwrap();
            assert_eq!(seen.len(), usize::from(flexible));
            assert!(decoder.rest().is_empty());
        }
    }

    #[test]
    fn a_request_of_endless_elements_is_refused_whichever_array_they_are_in() {
        let nested = |outer: usize, inner: usize| {
            let inner = i32::try_from(inner).unwrap();
            let mut bytes = i32::try_from(outer).unwrap().to_be_bytes().to_vec();
            for _ in 0..outer {
                bytes.extend(inner.to_be_bytes());
                bytes.resize(bytes.len() + usize::try_from(inner).unwrap(), 0);
            }
            let mut decoder = Decoder::new(bytes.into(), false);
            decoder.array(4, |decoder| decoder.array(1, Decoder::i8)).map(|all| all.len())
        };
        assert_eq!(nested(1000, 249).unwrap(), 1000);
        assert!(nested(1000, 250).is_err());
        assert!(nested(MAX_ELEMENTS + 1, 0).is_err());
        assert!(nested(1, MAX_ELEMENTS).is_err());
    }

    #[test]
    fn over_long_lengths_are_refused() {
        let mut long = Decoder::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x1f]), true);
        assert!(long.nullable_bytes().is_err());
        let mut array = Decoder::new(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0]), false);
        assert!(array.array(1, Decoder::i8).is_err());
        let mut negative = Decoder::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]), false);
        assert!(negative.nullable_bytes().is_err());
        let tags = Bytes::from_static(&[2, 1, 0, 1, 0]);
        assert!(Decoder::new(tags, true).skip_tags().is_err(), "a duplicate tag");
    }
}
