//! The nouns every floor shares: offsets, epochs, ids and amounts as types.
//!
//! Owns: newtypes, their text and JSON forms. Does not own: any behaviour, IO or clock.
//! Invariant: a raw integer appears only at the wire and on disk.

mod id;
mod offset;

pub use id::{
    BrokerId, ClusterId, Incarnation, MetadataIndex, ObjectId, PartitionId, ProducerEpoch,
    ProducerId, SegmentId, StorageId, TopicId,
};
pub use offset::{ByteCount, LeaderEpoch, Millis, Offset};
