//! The newest committed batches of a partition: in memory, or where in the WAL files.
//!
//! Owns: which of them are where, the high watermark. Does not own: the bytes' memory (the WAL
//! says when to let go), reading files.
//! Invariants: batches are contiguous and end at the high watermark; what is not in the tail is
//! published; entries out of memory are kept per WAL entry, not per batch.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    replication::CommittedBatch,
    types::{Millis, Offset},
    wal::WalPosition,
};

/// The tail of one partition.
#[derive(Debug)]
pub(super) struct Tail {
    end: Offset,
    published: Offset,
    /// Batches whose bytes are here, behind all spilled ones.
    resident: VecDeque<Resident>,
    spilled: VecDeque<Spilled>,
    /// Bytes committed since the partition was opened.
    committed_bytes: u64,
}

#[derive(Debug)]
struct Resident {
    base: Offset,
    end: Offset,
    max_timestamp: Millis,
    bytes: Bytes,
    position: WalPosition,
    /// Bytes committed before it since the partition was opened.
    bytes_before: u64,
}

/// All batches of one WAL entry that are no longer in memory.
#[derive(Debug)]
struct Spilled {
    base: Offset,
    end: Offset,
    max_timestamp: Millis,
    position: WalPosition,
    /// As of its first batch.
    bytes_before: u64,
}

/// Where an offset is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not committed yet.
    End,
    /// In memory.
    Memory(Vec<Bytes>),
    /// In this entry of the WAL files.
    Wal(WalPosition),
    /// In the bucket.
    Bucket,
}

impl Tail {
    /// Nothing newer than what is published.
    pub(super) fn new(published: Offset) -> Self {
        Self {
            end: published,
            published,
            resident: VecDeque::new(),
            spilled: VecDeque::new(),
            committed_bytes: 0,
        }
    }

    /// The high watermark.
    pub(super) fn end(&self) -> Offset {
        self.end
    }

    /// Whether everything below `end` is in the bucket.
    pub(super) fn is_published(&self, end: Offset) -> bool {
        self.published >= end
    }

    /// Takes the next committed batch.
    pub(super) fn push(&mut self, batch: CommittedBatch) {
        assert_eq!(batch.base_offset, self.end, "batches are committed in order, without gaps");
        assert!(batch.end_offset > batch.base_offset, "a batch has at least one offset");
        let bytes_before = self.committed_bytes;
        self.committed_bytes += u64::try_from(batch.bytes.len()).unwrap_or_default();
        self.end = batch.end_offset;
        self.resident.push_back(Resident {
            base: batch.base_offset,
            end: batch.end_offset,
            max_timestamp: batch.max_timestamp,
            bytes: batch.bytes,
            position: batch.position,
            bytes_before,
        });
    }

    /// Lets go of the bytes of batches below `end`.
    pub(super) fn evict(&mut self, end: Offset) {
        while let Some(batch) = self.resident.pop_front_if(|batch| batch.end <= end) {
            if batch.end <= self.published {
                continue;
            }
            match self.spilled.back_mut() {
                Some(last) if last.position == batch.position => {
                    last.end = batch.end;
                    last.max_timestamp = last.max_timestamp.max(batch.max_timestamp);
                }
                _ => self.spilled.push_back(Spilled {
                    base: batch.base,
                    end: batch.end,
                    max_timestamp: batch.max_timestamp,
                    position: batch.position,
                    bytes_before: batch.bytes_before,
                }),
            }
        }
        release(&mut self.resident);
    }

    /// Learns that everything below `end` is in the bucket.
    pub(super) fn published(&mut self, end: Offset) {
        self.published = self.published.max(end);
        let published = self.published;
        while self.spilled.pop_front_if(|entry| entry.end <= published).is_some() {}
        release(&mut self.spilled);
    }

    /// Where `from` is; in memory, the batches from the one that covers it, that one in any case and
    /// more within `max_bytes`.
    pub(super) fn find(&self, from: Offset, max_bytes: usize) -> Place {
        if from >= self.end {
            return Place::End;
        }
        let first = self.resident.partition_point(|batch| batch.end <= from);
        if self.resident.get(first).is_some_and(|batch| batch.base <= from) {
            let mut left = max_bytes;
            let mut batches = Vec::new();
            for batch in self.resident.range(first..) {
                if batch.bytes.len() > left && !batches.is_empty() {
                    break;
                }
                left = left.saturating_sub(batch.bytes.len());
                batches.push(batch.bytes.clone());
            }
            return Place::Memory(batches);
        }
        let at = self.spilled.partition_point(|entry| entry.end <= from);
        match self.spilled.get(at) {
            Some(entry) if entry.base <= from => Place::Wal(entry.position),
            _ => Place::Bucket,
        }
    }

    /// Committed bytes at and after `from`; `u64::MAX` when they are not all in memory.
    pub(super) fn bytes_after(&self, from: Offset) -> u64 {
        if from >= self.end {
            return 0;
        }
        let first = self.resident.partition_point(|batch| batch.end <= from);
        match self.resident.get(first) {
            Some(batch) if batch.base <= from => self.committed_bytes - batch.bytes_before,
            _ => u64::MAX,
        }
    }

    /// Committed bytes that are not in the bucket, where at least what is below `published` is;
    /// of a WAL entry out of memory, all of it.
    pub(super) fn unpublished_bytes(&self, published: Offset) -> u64 {
        let published = self.published.max(published);
        let spilled = self.spilled.iter().find(|entry| entry.end > published);
        let before = spilled.map(|entry| entry.bytes_before).or_else(|| {
            let first = self.resident.partition_point(|batch| batch.end <= published);
            self.resident.get(first).map(|batch| batch.bytes_before)
        });
        before.map_or(0, |before| self.committed_bytes - before)
    }

    /// The first offset at or after `from` whose batch (or WAL entry) has a record at or after
    /// `time`.
    pub(super) fn seek(&self, time: Millis, from: Offset) -> Option<Offset> {
        let spilled = self.spilled.iter().map(|entry| (entry.base, entry.end, entry.max_timestamp));
        let resident =
            self.resident.iter().map(|batch| (batch.base, batch.end, batch.max_timestamp));
        spilled
            .chain(resident)
            .find(|(_, end, max_timestamp)| *end > from && *max_timestamp >= time)
            .map(|(base, ..)| base.max(from))
    }

    /// No record in the tail at or after `from` has a greater timestamp; of the batch or WAL entry
    /// that covers `from`, all records count.
    pub(super) fn max_timestamp(&self, from: Offset) -> Option<Millis> {
        let spilled = self.spilled.iter().map(|entry| (entry.end, entry.max_timestamp));
        let resident = self.resident.iter().map(|batch| (batch.end, batch.max_timestamp));
        spilled.chain(resident).filter(|(end, _)| *end > from).map(|(_, time)| time).max()
    }
}

/// An idle partition keeps no memory of busier times.
fn release<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        queue.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Incarnation, SegmentId};

    fn position(entry: u64) -> WalPosition {
        let segment = SegmentId { incarnation: Incarnation(1), sequence: 0 };
        WalPosition { segment, part: 0, byte: entry }
    }

    fn batch(base: i64, records: i64, entry: u64, max_timestamp: i64) -> CommittedBatch {
        CommittedBatch {
            base_offset: Offset(base),
            end_offset: Offset(base + records),
            max_timestamp: Millis(max_timestamp),
            append_ms: Millis(0),
            bytes: Bytes::from(base.to_be_bytes().to_vec()),
            position: position(entry),
        }
    }

    #[test]
    fn the_first_batch_passes_every_limit() {
        let mut tail = Tail::new(Offset(0));
        tail.push(batch(0, 3, 0, 0));
        tail.push(batch(3, 1, 0, 0));
        let first = Bytes::from(0_i64.to_be_bytes().to_vec());
        let second = Bytes::from(3_i64.to_be_bytes().to_vec());
        assert_eq!(tail.find(Offset(2), 1), Place::Memory(vec![first.clone()]));
        assert_eq!(tail.find(Offset(0), 15), Place::Memory(vec![first.clone()]));
        assert_eq!(tail.find(Offset(0), 16), Place::Memory(vec![first, second]));
        assert_eq!(tail.find(Offset(4), 15), Place::End);
    }

    #[test]
    #[should_panic(expected = "without gaps")]
    fn a_gap_is_a_bug() {
        Tail::new(Offset(0)).push(batch(1, 1, 0, 0));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_all_batches(
            steps in prop::collection::vec((0..4_u8, 1..4_i64, any::<bool>(), 0..50_i64), 1..60),
            wanted in prop::collection::vec((0..80_i64, 0..60_i64), 10),
        ) {
            let mut tail = Tail::new(Offset(5));
            let mut all: Vec<CommittedBatch> = Vec::new();
            let (mut evicted, mut published, mut end, mut entry) = (5, 5, 5, 0);
            for (kind, amount, new_entry, time) in steps {
                match kind {
                    0 => {
                        evicted = (evicted + amount * 2).min(end).max(evicted);
                        tail.evict(Offset(evicted));
                    }
                    1 => {
                        published = (published + amount * 2).min(end).max(published);
                        tail.published(Offset(published));
                    }
                    _ => {
                        entry += u64::from(new_entry);
                        all.push(batch(end, amount, entry, time));
                        tail.push(all.last().unwrap().clone());
                        end += amount;
                    }
                }
            }
            prop_assert_eq!(tail.end(), Offset(end));
            let of_entry = |batch: &&CommittedBatch| {
                let same = all.iter().filter(|other| other.position == batch.position);
                same.map(|other| other.end_offset).max() > Some(Offset(published))
            };
            let least = all.iter().filter(|batch| batch.end_offset > Offset(published)).count();
            let most = all.iter().filter(of_entry).count();
            let unpublished = tail.unpublished_bytes(Offset(0)) / 8;
            prop_assert!((least..=most).contains(&usize::try_from(unpublished).unwrap()));
            prop_assert_eq!(tail.unpublished_bytes(Offset(end)), 0);
            for (from, time) in wanted {
                let from = Offset(from);
                let at = all.iter().position(|batch| batch.end_offset > from);
                let covering = at.filter(|at| all[*at].base_offset <= from);
                match tail.find(from, 1) {
                    Place::End => prop_assert!(from >= Offset(end)),
                    Place::Memory(batches) => {
                        prop_assert_eq!(&batches, &vec![all[covering.unwrap()].bytes.clone()]);
                        let after = u64::try_from(all[covering.unwrap()..].len()).unwrap() * 8;
                        prop_assert_eq!(tail.bytes_after(from), after);
                    }
                    Place::Wal(position) => {
                        prop_assert_eq!(position, all[covering.unwrap()].position);
                        prop_assert!(all[covering.unwrap()].end_offset <= Offset(evicted));
                    }
                    Place::Bucket => prop_assert!(
                        covering.is_none_or(|at| all[at].end_offset <= Offset(published))
                    ),
                }
                let bound = tail.max_timestamp(from);
                let left = all.iter().filter(|batch| {
                    batch.end_offset > from.max(Offset(published))
                });
                prop_assert!(bound >= left.map(|batch| batch.max_timestamp).max());
                // Seeking may start early within a WAL entry, never late.
                let first = all.iter().find(|batch| {
                    batch.end_offset > from.max(Offset(published))
                        && batch.max_timestamp >= Millis(time)
                });
                match (tail.seek(Millis(time), from), first) {
                    (None, first) => prop_assert!(first.is_none()),
                    (Some(found), Some(first)) => prop_assert!(found <= first.base_offset.max(from)),
                    (Some(_), None) => {}
                }
            }
        }
    }
}
