//! A partition's history: which objects hold which of its offsets, in immutable versions.
//!
//! Owns: the versions' content and bytes, finding by offset and time, the cached loader.
//! Does not own: which version counts (a metadata record says), what a batch is, who reads.
//! Invariants: runs tile `start..end` (the first may begin below `start`, where records were
//! deleted); a version is never changed, the next one has another number.

mod error;
mod format;
pub mod hostile;
mod load;

pub use error::Error;
pub use load::{LoadError, Manifests};

use bytes::Bytes;

use crate::types::{Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId};

/// One version of a partition's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    partition: PartitionId,
    version: u64,
    start: Offset,
    end: Offset,
    runs: Vec<Run>,
    producers: Bytes,
}

/// One run, with all that reading it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The object that holds it.
    pub object: ObjectId,
    /// Who made the object, for its key.
    pub incarnation: Incarnation,
    /// The attempt that counts, for its key.
    pub nonce: u64,
    /// Length of the whole object.
    pub object_bytes: u64,
    /// Leader epoch of its last batch.
    pub leader_epoch: LeaderEpoch,
    /// First offset.
    pub base: Offset,
    /// Offset after the last.
    pub end: Offset,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Greatest record timestamp.
    pub max_timestamp: Millis,
    /// When its last batch was appended.
    pub last_append: Millis,
}

impl Manifest {
    /// Version 0, never stored: nothing yet, beginning at `start`.
    #[must_use]
    pub fn empty(partition: PartitionId, start: Offset) -> Self {
        Self { partition, version: 0, start, end: start, runs: Vec::new(), producers: Bytes::new() }
    }

    /// The next version, with `runs` added at the end. A version without runs goes on with any run
    /// that ends above it: what lies between was deleted before it was published.
    ///
    /// # Errors
    /// `Gap` when the runs do not go on where this version ends.
    pub fn with_runs(&self, runs: impl IntoIterator<Item = Run>) -> Result<Self, Error> {
        let mut next = self.next();
        for run in runs {
            let first = next.runs.is_empty();
            let follows = if first { run.end > next.end } else { run.base == next.end };
            if !follows || run.end <= run.base {
                return Err(Error::Gap { expected: next.end, found: run.base });
            }
            if first {
                next.start = next.start.max(run.base);
            }
            next.end = run.end;
            next.runs.push(run);
            // The newest run's footer carries a newer snapshot than any kept here.
            next.producers = Bytes::new();
        }
        Ok(next)
    }

    /// The next version, without records below `start` (at most `end`), and the objects of the
    /// runs no longer named.
    #[must_use]
    pub fn without_below(&self, start: Offset) -> (Self, Vec<ObjectId>) {
        let start = start.clamp(self.start, self.end);
        let (dropped, runs): (Vec<Run>, Vec<Run>) =
            self.runs.iter().partition(|run| run.end <= start);
        let next = Self { start, runs, ..self.next() };
        (next, dropped.iter().map(|run| run.object).collect())
    }

    /// The next version, without any record: the history goes on at `end`.
    #[must_use]
    pub fn emptied(&self, end: Offset) -> (Self, Vec<ObjectId>) {
        let next = Self { start: end, end, runs: Vec::new(), ..self.next() };
        (next, self.runs.iter().map(|run| run.object).collect())
    }

    /// The same content under another number, for when a key is taken.
    #[must_use]
    pub fn numbered(self, version: u64) -> Self {
        Self { version, ..self }
    }

    fn next(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    /// The same version carrying the producer state at its end, for when no run is left whose
    /// footer would; as `object::encode_producers` writes it.
    #[must_use]
    pub fn with_producers(self, producers: Bytes) -> Self {
        Self { producers, ..self }
    }

    /// The run that covers `offset`.
    #[must_use]
    pub fn find(&self, offset: Offset) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.base <= offset);
        self.runs.get(after.checked_sub(1)?).filter(|run| offset < run.end)
    }

    /// The runs from the one that covers `offset` (or follows it) on.
    #[must_use]
    pub fn runs_from(&self, offset: Offset) -> &[Run] {
        let first = self.runs.partition_point(|run| run.end <= offset);
        self.runs.get(first..).unwrap_or_default()
    }

    /// Whose history.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Its number; the first stored is 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// First offset still to be read.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// Offset after the last run.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// All runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Producer state at `end`; empty while a run is left.
    #[must_use]
    pub fn producers(&self) -> &Bytes {
        &self.producers
    }

    /// Bytes of all runs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes).fold(0, u64::saturating_add)
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.runs.len() * size_of::<Run>() + self.producers.len()
    }

    /// The manifest's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        format::encode(self)
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// `Damaged` or `TooNew`.
    pub fn decode(bytes: &Bytes) -> Result<Self, Error> {
        format::decode(bytes)
    }
}

#[cfg(test)]
mod tests;
