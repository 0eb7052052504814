//! The records in a batch.
//!
//! Layout of one, varints zigzag as in protocol buffers:
//! ```text
//! varint length of the rest | i8 attributes, unused | varlong timestamp delta
//! varint offset delta | varint key length, -1 for none | key | varint value length | value
//! varint header count | (varint key length | key | varint value length, -1 for none | value)*
//! ```
//! Owns: that layout, both ways. Invariant: nothing is allocated by a count or length from outside
//! before as many bytes are there.

use bytes::{BufMut, Bytes, BytesMut};

use super::{BatchView, Error, TimestampType};
use crate::types::{Millis, Offset};

/// One header of a record. Keys may repeat; order counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its key, UTF-8 by convention.
    pub key: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

/// One record; its bytes are slices of the batch's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time: the batch's max timestamp under LogAppendTime.
    pub timestamp: Millis,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, as they came.
    pub headers: Vec<Header>,
}

/// The records of one batch, in order. After an error it ends.
#[derive(Debug)]
pub struct Records {
    body: Bytes,
    at: usize,
    left: i32,
    base_offset: Offset,
    base_timestamp: Millis,
    log_append_time: Option<Millis>,
}

impl Records {
    pub(super) fn new(batch: &BatchView, body: Bytes) -> Self {
        let log_append_time = match batch.timestamp_type() {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(batch.max_timestamp()),
        };
        Self {
            body,
            at: 0,
            left: batch.record_count(),
            base_offset: batch.base_offset(),
            base_timestamp: batch.base_timestamp(),
            log_append_time,
        }
    }

    fn read(&mut self) -> Result<Record, Error> {
        let mut rest = self.body.get(self.at..).unwrap_or_default();
        let raw = RawRecord::read(&mut rest)?;
        self.at = self.body.len() - rest.len();
        let created = Millis(self.base_timestamp.0.saturating_add(raw.timestamp_delta));
        Ok(Record {
            offset: self.base_offset.advance(i64::from(raw.offset_delta)),
            timestamp: self.log_append_time.unwrap_or(created),
            key: raw.key.map(|key| self.body.slice_ref(key)),
            value: raw.value.map(|value| self.body.slice_ref(value)),
            headers: raw.headers(|bytes| self.body.slice_ref(bytes))?,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let extra = self.at < self.body.len();
            self.at = self.body.len();
            return extra.then_some(Err(Error::Record("bytes after the last record")));
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
            self.at = self.body.len();
        }
        Some(record)
    }
}

/// One record as it lies in a batch; headers are checked but not collected.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawRecord<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    header_count: i32,
    headers: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// Takes one record off `rest`.
    pub(super) fn read(rest: &mut &'a [u8]) -> Result<Self, Error> {
        let mut body = length(rest)
            .and_then(|length| length.and_then(|length| take(rest, length)))
            .ok_or(Error::Record("cut short"))?;
        let fields = &mut body;
        let raw = (|| {
            take(fields, 1)?;
            Some(Self {
                timestamp_delta: varlong(fields)?,
                offset_delta: varint(fields)?,
                key: optional(fields)?,
                value: optional(fields)?,
                header_count: varint(fields)?,
                headers: fields,
            })
        })()
        .ok_or(Error::Record("fields pass its length"))?;
        raw.check_headers()?;
        Ok(raw)
    }

    fn check_headers(&self) -> Result<(), Error> {
        let mut rest = self.headers;
        skip_headers(&mut rest, self.header_count).map_err(Error::Record)
    }

    fn count(&self) -> Result<usize, Error> {
        possible_headers(self.header_count, self.headers.len()).map_err(Error::Record)
    }

    fn headers(&self, own: impl Fn(&[u8]) -> Bytes) -> Result<Vec<Header>, Error> {
        let mut rest = self.headers;
        let mut headers = Vec::with_capacity(self.count()?);
        for _ in 0..self.count()? {
            let (key, value) = header(&mut rest)?;
            headers.push(Header { key: own(key), value: value.map(&own) });
        }
        Ok(headers)
    }
}

/// Key and value of a header.
type RawHeader<'a> = (&'a [u8], Option<&'a [u8]>);

fn header<'a>(rest: &mut &'a [u8]) -> Result<RawHeader<'a>, Error> {
    let key = optional(rest).ok_or(Error::Record("header cut short"))?;
    let key = key.ok_or(Error::Record("header without a key"))?;
    let value = optional(rest).ok_or(Error::Record("header cut short"))?;
    Ok((key, value))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    rest.split_off(..length)
}

/// Where the fields of a record come from.
pub(super) trait Input {
    /// The next byte, if there is one.
    fn byte(&mut self) -> Option<u8>;
    /// Passes over bytes, if there are as many.
    fn skip(&mut self, length: usize) -> Option<()>;
    /// The most that may still come.
    fn left(&self) -> usize;
}

impl Input for &[u8] {
    fn byte(&mut self) -> Option<u8> {
        self.split_off_first().copied()
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        take(self, length).map(|_| ())
    }

    fn left(&self) -> usize {
        self.len()
    }
}

/// What is looked at of a record when the record itself is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) has_key: bool,
}

impl RecordHead {
    /// Passes over the fields of one record, all that `input` has.
    pub(super) fn read(input: &mut impl Input) -> Result<Self, &'static str> {
        let fields = |input: &mut _| {
            Input::byte(input)?;
            let head = Self {
                timestamp_delta: varlong(input)?,
                offset_delta: varint(input)?,
                has_key: skip_optional(input)?,
            };
            skip_optional(input)?;
            Some((head, varint(input)?))
        };
        let (head, headers) = fields(input).ok_or("a record's fields pass its length")?;
        skip_headers(input, headers)?;
        Ok(head)
    }
}

/// The length a record begins with; `None` when it is cut short or no length.
pub(super) fn record_length(input: &mut impl Input) -> Option<usize> {
    usize::try_from(varint(input)?).ok()
}

fn skip_headers(input: &mut impl Input, count: i32) -> Result<(), &'static str> {
    for _ in 0..possible_headers(count, input.left())? {
        let key = skip_optional(input).ok_or("a header passes its record")?;
        if !key {
            return Err("a header without a key");
        }
        skip_optional(input).ok_or("a header passes its record")?;
    }
    if input.left() == 0 { Ok(()) } else { Err("bytes after a record's headers") }
}

/// A header takes two bytes at least: a larger count is a lie, whatever it would allocate.
fn possible_headers(count: i32, bytes: usize) -> Result<usize, &'static str> {
    let count = usize::try_from(count).ok().filter(|count| *count <= bytes / 2);
    count.ok_or("impossible header count")
}

/// A length: outer `None` when cut short or below -1, inner `None` for -1.
fn length(input: &mut impl Input) -> Option<Option<usize>> {
    match varint(input)? {
        -1 => Some(None),
        length => usize::try_from(length).ok().map(Some),
    }
}

/// Bytes behind their length: outer `None` when cut short, inner `None` for none.
fn optional<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match length(rest)? {
        None => Some(None),
        Some(length) => take(rest, length).map(Some),
    }
}

/// As [`optional`], without the bytes: whether there are any.
fn skip_optional(input: &mut impl Input) -> Option<bool> {
    match length(input)? {
        None => Some(false),
        Some(length) => input.skip(length).map(|()| true),
    }
}

fn varint(input: &mut impl Input) -> Option<i32> {
    let raw = u32::try_from(unsigned(input, 5)?).ok()?;
    let magnitude = i32::try_from(raw >> 1).ok()?;
    Some(if raw & 1 == 0 { magnitude } else { !magnitude })
}

fn varlong(input: &mut impl Input) -> Option<i64> {
    let raw = unsigned(input, 10)?;
    let magnitude = i64::try_from(raw >> 1).ok()?;
    Some(if raw & 1 == 0 { magnitude } else { !magnitude })
}

fn unsigned(input: &mut impl Input, most_bytes: u32) -> Option<u64> {
    // Nearly every number of a record takes one byte.
    let first = input.byte()?;
    if first & 0x80 == 0 {
        return Some(u64::from(first));
    }
    let mut value = u64::from(first & 0x7f);
    for index in 1..most_bytes {
        let byte = input.byte()?;
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends one record to `output`.
pub(super) fn write(
    output: &mut BytesMut,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) {
    let mut body = BytesMut::with_capacity(
        32 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.len() * 32,
    );
    body.put_i8(0);
    put_varlong(&mut body, timestamp_delta);
    put_varlong(&mut body, i64::from(offset_delta));
    put_optional(&mut body, key);
    put_optional(&mut body, value);
    put_length(&mut body, headers.len());
    for header in headers {
        put_optional(&mut body, Some(&header.key));
        put_optional(&mut body, header.value.as_deref());
    }
    put_length(output, body.len());
    output.put(body);
}

fn put_optional(output: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(output, -1),
        Some(bytes) => {
            put_length(output, bytes.len());
            output.put_slice(bytes);
        }
    }
}

fn put_length(output: &mut BytesMut, length: usize) {
    put_varlong(output, i64::try_from(length).expect("lengths in memory fit"));
}

/// Zigzag of a number that fits 32 bits is the same as a varint and as a varlong.
fn put_varlong(output: &mut BytesMut, value: i64) {
    let mut rest = value.cast_unsigned() << 1 ^ (value >> 63).cast_unsigned();
    loop {
        let low = u8::try_from(rest & 0x7f).expect("7 bits fit 8");
        rest >>= 7;
        if rest == 0 {
            output.put_u8(low);
            return;
        }
        output.put_u8(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn varints_at_their_ends_survive() {
        for value in [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN] {
            let mut bytes = BytesMut::new();
            put_varlong(&mut bytes, value);
            let mut rest = bytes.as_ref();
            assert_eq!(varlong(&mut rest), Some(value));
            assert!(rest.is_empty());
        }
        for value in [0, -1, i32::MAX, i32::MIN] {
            let mut bytes = BytesMut::new();
            put_varlong(&mut bytes, i64::from(value));
            assert_eq!(varint(&mut bytes.as_ref()), Some(value));
        }
    }

    #[test]
    fn a_varint_too_long_or_too_large_is_refused() {
        assert_eq!(varint(&mut [0x80, 0x80, 0x80, 0x80, 0x80, 0x00].as_ref()), None);
        assert_eq!(varint(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_ref()), None);
        assert_eq!(varint(&mut [0x80].as_ref()), None);
        assert_eq!(varint(&mut [].as_ref()), None);
        let eleven = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02];
        assert_eq!(varlong(&mut eleven.as_ref()), None);
    }

    #[test]
    fn a_header_count_that_cannot_be_is_refused() {
        // length 7: attributes, deltas, no key, no value, 64 headers of which none is there
        let bytes = [14, 0, 0, 0, 1, 1, 0x80, 0x01];
        let answer = RawRecord::read(&mut bytes.as_ref());
        assert_eq!(answer.unwrap_err(), Error::Record("impossible header count"));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = bytes.as_slice();
            while let Ok(raw) = RawRecord::read(&mut rest) {
                prop_assert!(raw.headers(Bytes::copy_from_slice).is_ok());
            }
        }
    }
}
