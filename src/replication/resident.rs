//! Committed entries that are still in memory: one queue, oldest dropped first.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    types::{Millis, SegmentId},
    wal::Written,
};

use super::group::Group;

/// A committed entry.
#[derive(Clone)]
pub(super) struct ResidentEntry {
    pub(super) segment: SegmentId,
    pub(super) number: u64,
    pub(super) append_ms: Millis,
    pub(super) written: Written,
    pub(super) group: Arc<Group>,
}

/// The queue, in the order of the log.
#[derive(Default)]
pub(super) struct Resident {
    entries: VecDeque<ResidentEntry>,
    bytes: u64,
}

impl Resident {
    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the newest entry; gives back those that no longer fit `budget`, oldest first.
    pub(super) fn push(&mut self, entry: ResidentEntry, budget: u64) -> Vec<Arc<Group>> {
        self.bytes += entry.group.bytes;
        self.entries.push_back(entry);
        let mut evicted = Vec::new();
        while self.bytes > budget
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.group.bytes;
            evicted.push(oldest.group);
        }
        evicted
    }

    /// An entry, while it is here.
    pub(super) fn find(&self, segment: SegmentId, number: u64) -> Option<&ResidentEntry> {
        let key = |entry: &ResidentEntry| (entry.segment, entry.number);
        let index = self.entries.binary_search_by_key(&(segment, number), key).ok()?;
        self.entries.get(index)
    }
}
