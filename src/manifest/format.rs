//! The byte format of a manifest, version 1.
//!
//! ```text
//! manifest = 8 bytes "STRANDMF" | u16 version | u16 zero | u32 CRC32C of the message | message
//!            (integers big-endian; message: protobuf `Manifest` below, to the end)
//! ```
//! Invariant: the CRC is checked before the message is parsed; a decoded manifest tiles.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use super::{Error, Manifest, Run};
use crate::crc::crc32c;
use crate::protobuf;
use crate::types::{Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId, TopicId};

const VERSION: u16 = 1;
const MAGIC: &[u8; 8] = b"STRANDMF";
const HEADER_BYTES: usize = 16;
/// Field of the runs in a manifest.
const RUNS: u32 = 6;
/// A run's nonce alone takes as many; where it is 0, ids, lengths and times are longer.
const SMALLEST_RUN_BYTES: usize = 9;

#[derive(Clone, PartialEq, Message)]
struct Wire {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(int32, tag = "2")]
    partition: i32,
    #[prost(uint64, tag = "3")]
    version: u64,
    #[prost(int64, tag = "4")]
    start: i64,
    #[prost(int64, tag = "5")]
    end: i64,
    #[prost(message, repeated, tag = "6")]
    runs: Vec<WireRun>,
    #[prost(bytes = "bytes", tag = "7")]
    producers: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct WireRun {
    #[prost(uint64, tag = "1")]
    object: u64,
    #[prost(uint64, tag = "2")]
    incarnation: u64,
    #[prost(fixed64, tag = "3")]
    nonce: u64,
    #[prost(uint64, tag = "4")]
    object_bytes: u64,
    #[prost(int32, tag = "5")]
    leader_epoch: i32,
    #[prost(int64, tag = "6")]
    base: i64,
    #[prost(int64, tag = "7")]
    end: i64,
    #[prost(uint64, tag = "8")]
    bytes: u64,
    #[prost(sint64, tag = "9")]
    max_timestamp: i64,
    #[prost(sint64, tag = "10")]
    last_append: i64,
}

pub(super) fn encode(manifest: &Manifest) -> Bytes {
    let wire = Wire {
        topic: Bytes::copy_from_slice(manifest.partition.topic.0.as_bytes()),
        partition: manifest.partition.index,
        version: manifest.version,
        start: manifest.start.0,
        end: manifest.end.0,
        runs: manifest.runs.iter().map(run_to_wire).collect(),
        producers: manifest.producers.clone(),
    };
    seal(&wire.encode_to_vec())
}

/// A manifest's message with its head.
pub(super) fn seal(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + message.len());
    bytes.put_slice(MAGIC);
    bytes.put_u16(VERSION);
    bytes.put_u16(0);
    bytes.put_u32(crc32c(message));
    bytes.put_slice(message);
    bytes.freeze()
}

pub(super) fn decode(bytes: &Bytes) -> Result<Manifest, Error> {
    let mut rest = bytes.clone();
    if rest.len() < HEADER_BYTES || rest.split_to(MAGIC.len()) != MAGIC.as_slice() {
        return Err(Error::Damaged("no magic at the beginning"));
    }
    let version = rest.get_u16();
    let zero = rest.get_u16();
    let crc = rest.get_u32();
    if version > VERSION {
        return Err(Error::TooNew(version));
    }
    if version == 0 || zero != 0 || crc != crc32c(&rest) {
        return Err(Error::Damaged("CRC"));
    }
    if !protobuf::elements_have(&rest, RUNS, SMALLEST_RUN_BYTES) {
        return Err(Error::Damaged("a run too short to be one"));
    }
    let wire = Wire::decode(rest).map_err(|_| Error::Damaged("does not parse"))?;
    let topic: [u8; 16] =
        wire.topic.as_ref().try_into().map_err(|_| Error::Damaged("length of a topic id"))?;
    let manifest = Manifest {
        partition: PartitionId {
            topic: TopicId(uuid::Uuid::from_bytes(topic)),
            index: wire.partition,
        },
        version: wire.version,
        start: Offset(wire.start),
        end: Offset(wire.end),
        runs: wire.runs.iter().map(run_from_wire).collect(),
        producers: wire.producers,
    };
    if tiles(&manifest) { Ok(manifest) } else { Err(Error::Damaged("runs do not tile")) }
}

/// Runs follow each other without gap from at most `start` to `end`, and each ends past `start`.
fn tiles(manifest: &Manifest) -> bool {
    let Some(first) = manifest.runs.first() else { return manifest.start == manifest.end };
    let next = manifest.runs.iter().try_fold(first.base, |next, run| {
        (run.base == next && run.end > run.base && run.end > manifest.start).then_some(run.end)
    });
    first.base <= manifest.start && next == Some(manifest.end)
}

fn run_to_wire(run: &Run) -> WireRun {
    WireRun {
        object: run.object.0,
        incarnation: run.incarnation.0,
        nonce: run.nonce,
        object_bytes: run.object_bytes,
        leader_epoch: run.leader_epoch.0,
        base: run.base.0,
        end: run.end.0,
        bytes: run.bytes,
        max_timestamp: run.max_timestamp.0,
        last_append: run.last_append.0,
    }
}

fn run_from_wire(wire: &WireRun) -> Run {
    Run {
        object: ObjectId(wire.object),
        incarnation: Incarnation(wire.incarnation),
        nonce: wire.nonce,
        object_bytes: wire.object_bytes,
        leader_epoch: LeaderEpoch(wire.leader_epoch),
        base: Offset(wire.base),
        end: Offset(wire.end),
        bytes: wire.bytes,
        max_timestamp: Millis(wire.max_timestamp),
        last_append: Millis(wire.last_append),
    }
}
