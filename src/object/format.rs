//! The byte format of an object, version 1.
//!
//! ```text
//! object  = block*  footer  trailer
//! block   = whole record batches (v2, as a fetch answers them) of one run, about 1 MiB,
//!           ending at a batch border; the blocks of a run follow each other, runs are sorted by
//!           (topic id, partition, base offset)
//! footer  = protobuf message `Footer` below
//! trailer = u32 length of the footer | u32 CRC32C of the footer | u16 version | u16 zero
//!         | 8 bytes "STRANDOB"                                        (all big-endian, 20 bytes)
//! ```
//! Field numbers are for ever: a field may be added, never given another meaning. A reader skips
//! fields it does not know; what an older reader must not misread raises `VERSION` instead.
//! Invariant: the trailer's CRC is checked before a byte of the footer is parsed.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use super::Error;
use crate::crc::crc32c;
use crate::protobuf;

/// The version this broker writes, and the newest it reads.
pub const VERSION: u16 = 1;
/// Bytes of the trailer.
pub const TRAILER_BYTES: u64 = 20;
/// No footer is longer, so no length field makes a reader allocate more.
pub const MAX_FOOTER_BYTES: u64 = 64 * 1024 * 1024;
const MAGIC: &[u8; 8] = b"STRANDOB";
/// Field of the runs in a footer.
const RUNS: u32 = 3;
/// A run has a topic id, an epoch and a block at least.
const SMALLEST_RUN_BYTES: usize = 24;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Footer {
    #[prost(uint64, tag = "1")]
    pub(super) object: u64,
    #[prost(uint64, tag = "2")]
    pub(super) incarnation: u64,
    #[prost(message, repeated, tag = "3")]
    pub(super) runs: Vec<Run>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Run {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) topic: Bytes,
    #[prost(int32, tag = "2")]
    pub(super) partition: i32,
    #[prost(int64, tag = "3")]
    pub(super) base: i64,
    #[prost(int64, tag = "4")]
    pub(super) end: i64,
    /// Where the first block begins in the object.
    #[prost(uint64, tag = "5")]
    pub(super) position: u64,
    #[prost(sint64, tag = "6")]
    pub(super) max_timestamp: i64,
    #[prost(sint64, tag = "7")]
    pub(super) last_append: i64,
    #[prost(message, repeated, tag = "8")]
    pub(super) epochs: Vec<EpochStart>,
    #[prost(message, repeated, tag = "9")]
    pub(super) blocks: Vec<Block>,
    /// Message `Producers`: the state after the last batch of the run.
    #[prost(bytes = "bytes", tag = "10")]
    pub(super) producers: Bytes,
    #[prost(message, repeated, tag = "11")]
    pub(super) aborted: Vec<Aborted>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct EpochStart {
    #[prost(int32, tag = "1")]
    pub(super) epoch: i32,
    #[prost(int64, tag = "2")]
    pub(super) start: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Block {
    #[prost(uint32, tag = "1")]
    pub(super) bytes: u32,
    #[prost(fixed32, tag = "2")]
    pub(super) crc: u32,
    /// Base offset of its first batch.
    #[prost(int64, tag = "3")]
    pub(super) base: i64,
    #[prost(sint64, tag = "4")]
    pub(super) max_timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Aborted {
    #[prost(int64, tag = "1")]
    pub(super) producer: i64,
    #[prost(int64, tag = "2")]
    pub(super) first: i64,
    /// Offset of the abort marker.
    #[prost(int64, tag = "3")]
    pub(super) last: i64,
    /// Last stable offset when the marker was written.
    #[prost(int64, tag = "4")]
    pub(super) last_stable: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Producers {
    #[prost(message, repeated, tag = "1")]
    pub(super) producers: Vec<Producer>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Producer {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(int32, tag = "2")]
    pub(super) epoch: i32,
    #[prost(sint64, tag = "3")]
    pub(super) last_append: i64,
    /// The last five at most, oldest first.
    #[prost(message, repeated, tag = "4")]
    pub(super) batches: Vec<ProducerBatch>,
    #[prost(message, optional, tag = "5")]
    pub(super) transaction: Option<Transaction>,
    /// -1 when no transaction coordinator has written.
    #[prost(sint32, tag = "6")]
    pub(super) coordinator_epoch: i32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ProducerBatch {
    #[prost(int32, tag = "1")]
    pub(super) first_sequence: i32,
    #[prost(int32, tag = "2")]
    pub(super) last_sequence: i32,
    #[prost(int64, tag = "3")]
    pub(super) base: i64,
    #[prost(int64, tag = "4")]
    pub(super) end: i64,
    #[prost(sint64, tag = "5")]
    pub(super) append_ms: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Transaction {
    #[prost(int64, tag = "1")]
    pub(super) first: i64,
    #[prost(sint64, tag = "2")]
    pub(super) started_ms: i64,
}

/// The footer and trailer as one piece: the last bytes of an object.
pub(super) fn encode_tail(footer: &Footer) -> Bytes {
    seal(&footer.encode_to_vec())
}

/// A footer's message with its trailer.
pub(super) fn seal(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a footer is far below 4 GiB");
    let mut tail = BytesMut::from(message);
    tail.put_u32(length);
    tail.put_u32(crc32c(message));
    tail.put_u16(VERSION);
    tail.put_u16(0);
    tail.put_slice(MAGIC);
    tail.freeze()
}

/// What the last bytes of an object say about its footer.
pub(super) struct Trailer {
    pub(super) footer_bytes: u64,
    crc: u32,
}

impl Trailer {
    /// Reads the trailer at the end of `tail`, the last bytes of an object of `object_bytes`.
    pub(super) fn decode(object_bytes: u64, tail: &[u8]) -> Result<Self, Error> {
        let start = tail.len().checked_sub(super::index(TRAILER_BYTES));
        let mut bytes = start.and_then(|start| tail.get(start..)).ok_or(SHORT)?;
        let footer_bytes = u64::from(bytes.get_u32());
        let crc = bytes.get_u32();
        let version = bytes.get_u16();
        let zero = bytes.get_u16();
        if bytes != MAGIC {
            return Err(Error::Damaged("no magic in the trailer"));
        }
        if version > VERSION {
            return Err(Error::TooNew(version));
        }
        if version == 0 || zero != 0 {
            return Err(Error::Damaged("trailer"));
        }
        if footer_bytes > MAX_FOOTER_BYTES || footer_bytes + TRAILER_BYTES > object_bytes {
            return Err(Error::Damaged("footer longer than the object or the limit"));
        }
        Ok(Self { footer_bytes, crc })
    }

    /// Where footer and trailer are in an object of `object_bytes`.
    pub(super) fn tail_range(&self, object_bytes: u64) -> Range<u64> {
        object_bytes.saturating_sub(self.footer_bytes + TRAILER_BYTES)..object_bytes
    }

    /// Checks and parses the footer out of `tail`, which holds it whole.
    pub(super) fn footer(&self, tail: &Bytes) -> Result<Footer, Error> {
        let end = tail.len().checked_sub(super::index(TRAILER_BYTES)).ok_or(SHORT)?;
        let start = end.checked_sub(super::index(self.footer_bytes)).ok_or(SHORT)?;
        let bytes = tail.slice(start..end);
        if crc32c(bytes.as_ref()) != self.crc {
            return Err(Error::Damaged("CRC of the footer"));
        }
        parse(bytes)
    }
}

/// Reads a footer's message.
pub(super) fn parse(message: Bytes) -> Result<Footer, Error> {
    if !protobuf::elements_have(&message, RUNS, SMALLEST_RUN_BYTES) {
        return Err(Error::Damaged("a run too short to be one"));
    }
    Footer::decode(message).map_err(|_| Error::Damaged("footer does not parse"))
}

const SHORT: Error = Error::Damaged("fewer bytes than a footer needs");
