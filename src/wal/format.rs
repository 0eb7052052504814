//! The bytes of WAL files.

use bytes::Bytes;

use crate::types::{
    BrokerId, Incarnation, LeaderEpoch, Millis, Offset, PartitionId, SegmentId, StorageId,
};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSegment {
    /// Its name.
    pub id: SegmentId,
    /// Seeds the chain of its entries, so that no other segment's bytes read as entries of it.
    pub nonce: u64,
    /// Who holds it; never changes.
    pub ensemble: Vec<Member>,
}

/// Where a segment's predecessor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
