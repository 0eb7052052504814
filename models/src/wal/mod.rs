//! The WAL's nouns that the segment protocol speaks of, in the shape of the product's `wal/format`.

use crate::types::{BrokerId, Incarnation, SegmentId, StorageId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    pub broker: BrokerId,
    pub storage: StorageId,
    pub incarnation: Incarnation,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenSegment {
    pub id: SegmentId,
    pub nonce: u64,
    pub ensemble: Vec<Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Previous {
    pub segment: SegmentId,
    pub entries: u64,
}
