//! What was read from the bucket and may be asked for again: in memory, on the local disk, on its
//! way.
//!
//! Owns: budgets, admission and eviction of both tiers, one fill per key however many wait for it,
//! fair shares of what is in flight. Does not own: what a value is, partitions: keys name
//! immutable things, so a value never goes stale. Invariant: a value enters memory only through a
//! fill that checked it (CRC), so nobody checks it again.

mod blocks;
mod disk;
mod memory;
mod metrics;
mod share;

use std::ops::Range;

use bytes::Bytes;

pub use self::{
    blocks::{Ask, Blocks, Coming, Fetch, Parts},
    disk::{DiskTier, LEAST_BUDGET, Parts as DiskParts},
    memory::Cache,
    metrics::{AheadOutcome, Metrics},
    share::{Budget, Permit, ReaderId},
};
use crate::types::ObjectId;

/// What a cached value costs.
pub trait Weigh: Clone + Send + Sync + 'static {
    /// Bytes of memory it pins.
    fn weight(&self) -> usize;
}

impl Weigh for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// A block of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its bytes there.
    pub range: Range<u64>,
    /// Their CRC32C, as the object's footer has it.
    pub crc: u32,
}

/// Names a block for ever: object ids are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    /// The object.
    pub object: ObjectId,
    /// Where it begins.
    pub start: u64,
    /// Where the next one begins.
    pub end: u64,
}

impl BlockKey {
    fn of(object: ObjectId, range: &Range<u64>) -> Self {
        Self { object, start: range.start, end: range.end }
    }
}

impl Wanted {
    fn bytes(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}
