//! A buffer that lets proto-kafka decode hostile bytes within bounds.
//!
//! Owns: the bounds. proto-kafka reserves as many elements as an array declares when that many
//! *bytes* remain, and elements are up to a hundred times as large as their bytes. Its only use of
//! `remaining` is that check, every read being a `try_get`; so `remaining` here tells how many
//! elements an array may have at most. Invariants: an array never reserves for more than half the
//! bytes left (no element of two or more fields is smaller) nor [`MAX_ELEMENTS`], but for
//! [`FEW_ELEMENTS`], as many as there are bytes: some elements are single bytes; a whole request has
//! at most [`MAX_READS`] fields, tag bytes and lengths counted.

use bytes::{Buf, Bytes, TryGetError};
use proto_kafka::protocol::buf::{ByteBuf, NotEnoughBytesError};

/// Elements of one array of a request; Kafka's clients stay far below.
const MAX_ELEMENTS: usize = 100_000;
/// Elements an array may have whatever its bytes: as many as there are kinds told in a byte.
const FEW_ELEMENTS: usize = 256;
/// Primitive reads of one request.
const MAX_READS: usize = 4_000_000;

/// Bytes of one request body.
pub(crate) struct Guarded {
    bytes: Bytes,
    reads: usize,
}

impl Guarded {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, reads: 0 }
    }

    fn count(&mut self, bytes: usize) -> Result<(), TryGetError> {
        self.reads += 1;
        if self.reads > MAX_READS {
            return Err(TryGetError { requested: bytes, available: 0 });
        }
        Ok(())
    }
}

macro_rules! reads {
    ($($name:ident -> $type:ty),*) => {
        $(fn $name(&mut self) -> Result<$type, TryGetError> {
            self.count(size_of::<$type>())?;
            self.bytes.$name()
        })*
    };
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        let bytes = self.bytes.len();
        bytes.div_ceil(2).max(bytes.min(FEW_ELEMENTS)).min(MAX_ELEMENTS)
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn try_copy_to_slice(&mut self, into: &mut [u8]) -> Result<(), TryGetError> {
        self.count(into.len())?;
        self.bytes.try_copy_to_slice(into)
    }

    reads!(
        try_get_u8 -> u8, try_get_i8 -> i8, try_get_u16 -> u16, try_get_i16 -> i16,
        try_get_u32 -> u32, try_get_i32 -> i32, try_get_i64 -> i64, try_get_f64 -> f64
    );
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }

    fn try_peek_bytes(
        &mut self,
        range: std::ops::Range<usize>,
    ) -> Result<Bytes, NotEnoughBytesError> {
        self.bytes.try_peek_bytes(range)
    }

    fn try_get_bytes(&mut self, size: usize) -> Result<Bytes, NotEnoughBytesError> {
        self.count(size).map_err(|_| NotEnoughBytesError)?;
        self.bytes.try_get_bytes(size)
    }
}

#[cfg(test)]
mod tests {
    use proto_kafka::{
        messages::{ListConfigResourcesRequest, MetadataRequest},
        protocol::Decodable,
    };

    use super::*;

    #[test]
    fn an_array_longer_than_its_bytes_is_refused() {
        let mut body = 0x7fff_ffff_i32.to_be_bytes().to_vec();
        body.extend([0; 64]);
        assert!(MetadataRequest::decode(&mut Guarded::new(body.into()), 1).is_err());
    }

    #[test]
    fn an_array_of_single_bytes_is_read_up_to_the_last_byte() {
        let body = Bytes::from_static(&[6, 2, 4, 8, 16, 32, 0]);
        let request = ListConfigResourcesRequest::decode(&mut Guarded::new(body), 1).unwrap();
        assert_eq!(request.resource_types, [2, 4, 8, 16, 32]);
        let lie = Bytes::from_static(&[8, 2, 4, 8, 16, 32, 0]);
        assert!(ListConfigResourcesRequest::decode(&mut Guarded::new(lie), 1).is_err());
    }

    #[test]
    fn a_request_of_endless_tags_is_refused() {
        // 8 MiB of two-byte tags: a map node each, were it not for the bound.
        let mut body = vec![0x01, 0x00, 0x00]; // no topics, two flags of v11
        body.extend([0xff, 0xff, 0xff, 0x01]);
        body.extend(std::iter::repeat_n(0, 8 << 20));
        assert!(MetadataRequest::decode(&mut Guarded::new(body.into()), 11).is_err());
    }

    #[test]
    fn a_request_within_bounds_is_decoded_whole() {
        let body = Bytes::from_static(&[0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b', 0]);
        let mut guarded = Guarded::new(body);
        let request = MetadataRequest::decode(&mut guarded, 4).unwrap();
        assert_eq!(request.topics.unwrap().len(), 2);
        assert!(guarded.bytes.is_empty());
    }
}
