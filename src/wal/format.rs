//! The bytes of WAL files, version 1. Numbers are big-endian.
//!
//! A segment lies in one file or, when it outgrew that, in several; a file is named
//! `INCARNATION-SEQUENCE-NONCE-PART.wal` (`folder`). A file starts with a header of one sector:
//! ```text
//!  0  7  "STRLWAL"          40  8  incarnation     64  4  part
//!  7  1  version, 1         48  8  sequence        68  4  CRC32C of bytes 0..68
//!  8 16  cluster id         56  8  nonce           72     zeros to 512
//! 24 16  storage id
//! ```
//! It names what the file is for people and refuses newer versions; no length depends on it.
//! Entries follow, each at a multiple of 512 bytes:
//! ```text
//!  0  4  "SLE1"              8  8  nonce           40  4  payload bytes
//!  4  1  kind               16  8  number          44  4  CRC of the entry before
//!  5  3  zeros              24  8  lac             48  4  CRC32C of bytes 0..48 and the payload
//!                           32  8  append ms       52     payload
//! ```
//! `lac` is how many entries the writer knew to be on every member; entry 0's "CRC before" is the
//! CRC32C of the nonce's 8 bytes. So nothing an earlier segment left in a reused file reads as an
//! entry of this one. After an entry the rest of its 4 KiB page is zeros.
//! Kind 0, the segment's header, is entry 0 and only that:
//! ```text
//!  0  1  version, 1          1  8  incarnation      9  8  sequence       17 16  cluster id
//! 33  1  1 with a predecessor, else 0; then 8 incarnation, 8 sequence, 8 entries, else 24 zeros
//! 58  2  members; of each    4  broker   16  storage id   8  incarnation
//! ```
//! Kind 1 is batches one after the other, or none (a barrier):
//! ```text
//!  0 16  topic id           20  4  leader epoch    32  8  offset after the last record
//! 16  4  partition          24  8  base offset     40  4  batch bytes; 44 the batch
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::types::{
    BrokerId, ClusterId, Incarnation, LeaderEpoch, Millis, Offset, PartitionId, SegmentId,
    StorageId, TopicId,
};
use crate::{
    crc::{Crc32c, crc32c},
    env::{Env, bugs::Bug},
};

/// Bytes of a file's header; entries start after it.
pub(crate) const FILE_HEADER_BYTES: u64 = 512;
/// Entries start at multiples of this: a torn write never shares a sector with an older entry.
pub(crate) const ENTRY_ALIGN: u64 = 512;
/// Bytes before an entry's payload.
pub(crate) const ENTRY_HEADER_BYTES: usize = 52;
/// Bytes before a batch in an entry.
pub(crate) const BATCH_PREFIX_BYTES: usize = 44;

const FILE_MAGIC: &[u8; 7] = b"STRLWAL";
const VERSION: u8 = 1;
const ENTRY_MAGIC: &[u8; 4] = b"SLE1";
const SEGMENT_HEADER_BYTES: usize = 60;
const MEMBER_BYTES: usize = 28;

/// One holder of a segment: a wiped disk or a restarted broker is another member (H10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The broker.
    pub broker: BrokerId,
    /// Its disk.
    pub storage: StorageId,
    /// Its registration when the segment was opened.
    pub incarnation: Incarnation,
}

/// A segment that the metadata log has opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenSegment {
    /// Its name.
    pub id: SegmentId,
    /// Seeds the chain of its entries, so that no other segment's bytes read as entries of it.
    pub nonce: u64,
    /// Who holds it; never changes.
    pub ensemble: Vec<Member>,
}

impl OpenSegment {
    /// A segment to be opened, with a nonce that no other has.
    #[must_use]
    pub fn new(id: SegmentId, ensemble: Vec<Member>, env: &Env) -> Self {
        let reused = env.bugs.has(Bug::NonceReused);
        let nonce = if reused { 0 } else { env.entropy.next_u64() };
        Self { id, nonce, ensemble }
    }
}

/// Where a segment's predecessor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Previous {
    /// The last segment before with acknowledged entries.
    pub segment: SegmentId,
    /// How many entries it has.
    pub entries: u64,
}

/// Where an entry lies in the files of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalPosition {
    /// The segment.
    pub segment: SegmentId,
    /// Which of its files, from 0.
    pub part: u32,
    /// First byte of the entry in that file.
    pub byte: u64,
}

/// One entry read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the segment; the segment's header is entry 0.
    pub number: u64,
    /// Wall clock of the writer when the entry was made.
    pub append_ms: Millis,
    /// Its batches in the order they were appended.
    pub batches: Vec<EntryBatch>,
}

/// One batch of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBatch {
    /// The partition.
    pub partition: PartitionId,
    /// The reign it was appended in.
    pub leader_epoch: LeaderEpoch,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub end_offset: Offset,
    /// The whole batch as clients read it.
    pub bytes: Bytes,
}

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) cluster: ClusterId,
    pub(crate) storage: StorageId,
    pub(crate) segment: SegmentId,
    pub(crate) nonce: u64,
    pub(crate) part: u32,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(512);
        out.put_slice(FILE_MAGIC);
        out.put_u8(VERSION);
        out.put_slice(self.cluster.0.as_bytes());
        out.put_slice(self.storage.0.as_bytes());
        put_segment(&mut out, self.segment);
        out.put_u64(self.nonce);
        out.put_u32(self.part);
        let crc = crc32c(&out);
        out.put_u32(crc);
        out.put_bytes(0, 512 - out.len());
        out.freeze()
    }

    /// `None` when the sector holds no whole header; the version, when it is not ours.
    pub(crate) fn decode(mut sector: &[u8]) -> Option<Result<Self, u8>> {
        let crc = crc32c(sector.get(..68)?);
        let stored = sector.get(68..72)?.try_into().ok().map(u32::from_be_bytes)?;
        if sector.get(..7)? != FILE_MAGIC || crc != stored {
            return None;
        }
        sector.advance(7);
        let version = sector.get_u8();
        if version != VERSION {
            return Some(Err(version));
        }
        Some(Ok(Self {
            cluster: ClusterId(get_uuid(&mut sector)),
            storage: StorageId(get_uuid(&mut sector)),
            segment: get_segment(&mut sector),
            nonce: sector.get_u64(),
            part: sector.get_u32(),
        }))
    }
}

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Header,
    Batches,
}

/// The head of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub(crate) kind: Kind,
    pub(crate) nonce: u64,
    pub(crate) number: u64,
    pub(crate) lac: u64,
    pub(crate) append_ms: Millis,
    pub(crate) payload_bytes: u32,
    pub(crate) previous_crc: u32,
}

impl EntryHeader {
    /// The encoded head and the entry's CRC.
    pub(crate) fn encode(&self, payload_crc: u32) -> (Bytes, u32) {
        let mut out = BytesMut::with_capacity(ENTRY_HEADER_BYTES);
        out.put_slice(ENTRY_MAGIC);
        out.put_u8(match self.kind {
            Kind::Header => 0,
            Kind::Batches => 1,
        });
        out.put_bytes(0, 3);
        out.put_u64(self.nonce);
        out.put_u64(self.number);
        out.put_u64(self.lac);
        out.put_i64(self.append_ms.0);
        out.put_u32(self.payload_bytes);
        out.put_u32(self.previous_crc);
        let mut crc = Crc32c::default();
        crc.update(&out);
        crc.update_known(payload_crc, self.payload_bytes.into());
        let crc = crc.value();
        out.put_u32(crc);
        (out.freeze(), crc)
    }

    /// The head and the CRC it claims, when these bytes begin like an entry of the segment with
    /// this nonce. Proves nothing before `crc` was compared.
    pub(crate) fn decode(mut bytes: &[u8], nonce: u64) -> Option<(Self, u32)> {
        if bytes.len() < ENTRY_HEADER_BYTES || bytes.get(..4)? != ENTRY_MAGIC {
            return None;
        }
        bytes.advance(4);
        let kind = match bytes.get_u8() {
            0 => Kind::Header,
            1 => Kind::Batches,
            _ => return None,
        };
        bytes.advance(3);
        let header = Self {
            kind,
            nonce: bytes.get_u64(),
            number: bytes.get_u64(),
            lac: bytes.get_u64(),
            append_ms: Millis(bytes.get_i64()),
            payload_bytes: bytes.get_u32(),
            previous_crc: bytes.get_u32(),
        };
        (header.nonce == nonce).then(|| (header, bytes.get_u32()))
    }

    /// Bytes of the whole entry without padding.
    pub(crate) fn entry_bytes(&self) -> u64 {
        u64::from(self.payload_bytes) + u64::try_from(ENTRY_HEADER_BYTES).unwrap_or(0)
    }
}

/// The CRC of a whole entry as it lies in the file.
pub(crate) fn entry_crc(entry: &[u8]) -> Option<u32> {
    let mut crc = Crc32c::default();
    crc.update(entry.get(..48)?);
    crc.update(entry.get(ENTRY_HEADER_BYTES..)?);
    Some(crc.value())
}

/// What entry 0 continues.
pub(crate) fn chain_seed(nonce: u64) -> u32 {
    crc32c(&nonce.to_be_bytes())
}

/// The payload of entry 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) segment: SegmentId,
    pub(crate) cluster: ClusterId,
    pub(crate) previous: Option<Previous>,
    pub(crate) ensemble: Vec<Member>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(VERSION);
        put_segment(&mut out, self.segment);
        out.put_slice(self.cluster.0.as_bytes());
        if let Some(previous) = self.previous {
            out.put_u8(1);
            put_segment(&mut out, previous.segment);
            out.put_u64(previous.entries);
        } else {
            out.put_bytes(0, 25);
        }
        out.put_u16(u16::try_from(self.ensemble.len()).unwrap_or(u16::MAX));
        for member in &self.ensemble {
            out.put_i32(member.broker.0);
            out.put_slice(member.storage.0.as_bytes());
            out.put_u64(member.incarnation.0);
        }
        out.freeze()
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < SEGMENT_HEADER_BYTES || bytes.get_u8() != VERSION {
            return None;
        }
        let segment = get_segment(&mut bytes);
        let cluster = ClusterId(get_uuid(&mut bytes));
        let named = bytes.get_u8() == 1;
        let previous = Previous { segment: get_segment(&mut bytes), entries: bytes.get_u64() };
        let members = usize::from(bytes.get_u16());
        if bytes.len() != members * MEMBER_BYTES {
            return None;
        }
        let ensemble = std::iter::repeat_with(|| Member {
            broker: BrokerId(bytes.get_i32()),
            storage: StorageId(get_uuid(&mut bytes)),
            incarnation: Incarnation(bytes.get_u64()),
        });
        let ensemble = ensemble.take(members).collect();
        Some(Self { segment, cluster, previous: named.then_some(previous), ensemble })
    }
}

/// Puts what precedes a batch.
pub(crate) fn put_batch_prefix(
    out: &mut BytesMut,
    partition: PartitionId,
    leader_epoch: LeaderEpoch,
    offsets: std::ops::Range<Offset>,
    batch_bytes: u32,
) {
    out.put_slice(partition.topic.0.as_bytes());
    out.put_i32(partition.index);
    out.put_i32(leader_epoch.0);
    out.put_i64(offsets.start.0);
    out.put_i64(offsets.end.0);
    out.put_u32(batch_bytes);
}

/// The batches of a payload of kind 1; slices of it.
pub(crate) fn decode_batches(mut payload: Bytes) -> Option<Vec<EntryBatch>> {
    let mut batches = Vec::new();
    while payload.has_remaining() {
        if payload.len() < BATCH_PREFIX_BYTES {
            return None;
        }
        let topic = TopicId(get_uuid(&mut payload));
        let partition = PartitionId { topic, index: payload.get_i32() };
        let leader_epoch = LeaderEpoch(payload.get_i32());
        let base_offset = Offset(payload.get_i64());
        let end_offset = Offset(payload.get_i64());
        let length = usize::try_from(payload.get_u32()).ok()?;
        if length > payload.len() {
            return None;
        }
        let bytes = payload.split_to(length);
        batches.push(EntryBatch { partition, leader_epoch, base_offset, end_offset, bytes });
    }
    Some(batches)
}

/// `bytes` rounded up to where the next entry may start.
pub(crate) fn align(bytes: u64) -> u64 {
    bytes.next_multiple_of(ENTRY_ALIGN)
}

fn put_segment(out: &mut BytesMut, segment: SegmentId) {
    out.put_u64(segment.incarnation.0);
    out.put_u64(segment.sequence);
}

fn get_segment(bytes: &mut impl Buf) -> SegmentId {
    SegmentId { incarnation: Incarnation(bytes.get_u64()), sequence: bytes.get_u64() }
}

fn get_uuid(bytes: &mut impl Buf) -> Uuid {
    Uuid::from_u128(bytes.get_u128())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment() -> SegmentId {
        SegmentId { incarnation: Incarnation(7), sequence: 3 }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn file_header() -> FileHeader {
        FileHeader {
            cluster: ClusterId(Uuid::from_u128(0xc1)),
            storage: StorageId(Uuid::from_u128(0x57)),
            segment: segment(),
            nonce: 0x0102_0304_0506_0708,
            part: 2,
        }
    }

    fn header() -> SegmentHeader {
        let previous = SegmentId { sequence: 2, ..segment() };
        let storage = StorageId(Uuid::from_u128(0x57));
        SegmentHeader {
            segment: segment(),
            cluster: ClusterId(Uuid::from_u128(0xc1)),
            previous: Some(Previous { segment: previous, entries: 9 }),
            ensemble: vec![Member { broker: BrokerId(1), storage, incarnation: Incarnation(7) }],
        }
    }

    fn entry(payload: &Bytes) -> Bytes {
        let head = EntryHeader {
            kind: Kind::Batches,
            nonce: 0x0102_0304_0506_0708,
            number: 5,
            lac: 4,
            append_ms: Millis(1_700_000_000_000),
            payload_bytes: u32::try_from(payload.len()).unwrap(),
            previous_crc: chain_seed(0x0102_0304_0506_0708),
        };
        let (bytes, crc) = head.encode(crc32c(payload));
        let whole = [bytes, payload.clone()].concat();
        assert_eq!(entry_crc(&whole), Some(crc));
        whole.into()
    }

    fn payload() -> Bytes {
        let mut out = BytesMut::new();
        let partition = PartitionId { topic: TopicId(Uuid::from_u128(0x70)), index: 1 };
        put_batch_prefix(&mut out, partition, LeaderEpoch(2), Offset(10)..Offset(12), 3);
        out.put_slice(b"abc");
        out.freeze()
    }

    #[test]
    fn the_bytes_of_version_1_never_change() {
        let file = file_header().encode();
        assert_eq!(file.len(), 512);
        assert_eq!(
            hex(&file[..72]),
            "5354524c57414c01000000000000000000000000000000c1000000000000000000000000000000570000\
             0000000000070000000000000003010203040506070800000002305e4466"
        );
        assert_eq!(
            hex(&header().encode()),
            "0100000000000000070000000000000003000000000000000000000000000000c101000000000000\
             00070000000000000002000000000000000900010000000100000000000000000000000000000057\
             0000000000000007"
        );
        assert_eq!(
            hex(&entry(&payload())),
            "534c4531010000000102030405060708000000000000000500000000000000040000018bcfe56800\
             0000002f46891f815f6074e200000000000000000000000000000070000000010000000200000000\
             0000000a000000000000000c00000003616263"
        );
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(FileHeader::decode(&file_header().encode()), Some(Ok(file_header())));
        assert_eq!(SegmentHeader::decode(&header().encode()), Some(header()));
        let first = SegmentHeader { previous: None, ..header() };
        assert_eq!(SegmentHeader::decode(&first.encode()), Some(first));
        let whole = entry(&payload());
        let (head, crc) = EntryHeader::decode(&whole, 0x0102_0304_0506_0708).unwrap();
        assert_eq!((head.number, head.lac, Some(crc)), (5, 4, entry_crc(&whole)));
        assert_eq!(EntryHeader::decode(&whole, 1), None, "another segment's");
        let batches = decode_batches(payload()).unwrap();
        assert_eq!(batches.len(), 1);
        assert_eq!((batches[0].base_offset, &batches[0].bytes[..]), (Offset(10), &b"abc"[..]));
        assert_eq!(decode_batches(Bytes::new()), Some(Vec::new()));
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let mut sector = file_header().encode().to_vec();
        sector[7] = 2;
        assert_eq!(FileHeader::decode(&sector), None);
        let crc = crc32c(&sector[..68]);
        sector[68..72].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(FileHeader::decode(&sector), Some(Err(2)));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = FileHeader::decode(&bytes);
            let _ = SegmentHeader::decode(&bytes);
            let _ = EntryHeader::decode(&bytes, 0);
            let _ = decode_batches(bytes.into());
        }

        #[test]
        fn mutated_bytes_are_refused_quietly(at in 0usize..600, value: u8) {
            for good in [file_header().encode(), header().encode(), payload()] {
                let mut bytes = good.to_vec();
                let at = at % bytes.len();
                bytes[at] = value;
                let _ = FileHeader::decode(&bytes);
                let _ = SegmentHeader::decode(&bytes);
                let _ = decode_batches(bytes.into());
            }
        }
    }
}
