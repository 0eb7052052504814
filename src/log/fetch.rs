//! Reads: from memory, WAL files and the bucket, whichever has the offset.
//!
//! Owns: the order of the three, what counts towards a limit, when an offset is out of range.
//! Does not own: waiting for more (`kafka`), caches. Invariants: only committed batches, whole and
//! in order; OUT_OF_RANGE only with a barrier after the request came (H23); a planned read that
//! finds nothing is planned anew, never the end of the log (H44).

use std::time::Duration;

use bytes::Bytes;

use super::{Partition, ReadError, history::HistoryError, tail::Place};
use crate::{
    env::{clock, task::Tasks},
    record::BatchView,
    types::Offset,
    wal::{self, WalPosition},
};

/// How often a read is planned anew before it fails: metadata that moves every time is unheard of.
const PLANS: u32 = 5;
/// Pause before a new plan, for newer metadata to arrive.
const REPLAN_AFTER: Duration = Duration::from_millis(20);

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Whole batches, one each, from the one that covers the offset asked for.
    pub batches: Vec<Bytes>,
    /// End of what is committed.
    pub high_watermark: Offset,
    /// End of what `read_committed` may see.
    pub last_stable_offset: Offset,
    /// First offset there is.
    pub log_start: Offset,
}

/// Batches gathered within a limit.
struct Gathered {
    next: Offset,
    left: usize,
    at_least_one: bool,
    batches: Vec<Bytes>,
}

impl Partition {
    /// Whole batches from the one that covers `from`, within `max_bytes`; with `at_least_one`, the
    /// first whatever its size. Empty at the end. Does not wait for more.
    ///
    /// # Errors
    /// No batch can be given.
    pub async fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Read, ReadError> {
        let mut gathered =
            Gathered { next: from, left: max_bytes, at_least_one, batches: Vec::new() };
        let mut plans = 0;
        while gathered.has_room() {
            let before = gathered.next;
            match self.step(&gathered).await {
                Ok(None) => break,
                Ok(Some(parts)) if !gathered.take(&parts)? => break,
                Ok(Some(_)) if gathered.next > before => {}
                Ok(Some(_)) if plans < PLANS => {
                    plans += 1;
                    clock::sleep(REPLAN_AFTER).await;
                }
                // What was found already is an answer.
                _ if !gathered.batches.is_empty() => break,
                Ok(Some(_)) => {
                    tracing::warn!(
                        partition = %self.id, offset = %before,
                        "an offset that should be there cannot be read, the reader tries again"
                    );
                    return Err(ReadError::Unavailable(format!("no batch at offset {before}")));
                }
                Err(error) => return Err(error),
            }
        }
        let state = self.state();
        Ok(Read {
            batches: gathered.batches,
            high_watermark: state.tail.end(),
            last_stable_offset: state.tail.end(),
            log_start: state.log_start,
        })
    }

    /// Batches from wherever the next offset is: none when the plan was old, `None` at the end.
    async fn step(&self, gathered: &Gathered) -> Result<Option<Vec<Bytes>>, ReadError> {
        let (next, left) = (gathered.next, gathered.left);
        let metrics = &self.around.metrics;
        let (parts, counter) = match self.plan(next, left)? {
            None => return self.check_range(next).await.map(|()| Some(Vec::new())),
            Some(Place::End) => return Ok(None),
            Some(Place::Memory(batches)) => (batches, &metrics.read_memory_bytes),
            Some(Place::Bucket) => {
                (self.read_bucket(next, left).await?, &metrics.read_bucket_bytes)
            }
            Some(Place::Wal(position)) => match self.read_wal(position).await {
                Ok(batches) => (batches, &metrics.read_wal_bytes),
                // Trimmed since: the bucket has it.
                Err(wal::Error::Gone(_)) => {
                    (self.read_bucket(next, left).await?, &metrics.read_bucket_bytes)
                }
                Err(error) => return Err(ReadError::Unavailable(error.to_string())),
            },
        };
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        counter.inc_by(u64::try_from(bytes).unwrap_or_default());
        Ok(Some(parts))
    }

    /// Where `next` is; `None` outside of the log.
    fn plan(&self, next: Offset, left: usize) -> Result<Option<Place>, ReadError> {
        let state = self.state();
        if state.closed {
            return Err(ReadError::NotLeader);
        }
        let inside = state.log_start <= next && next <= state.log_end;
        Ok(inside.then(|| state.tail.find(next, left)))
    }

    /// Proves that `from` is out of range, or finds that it is not any more.
    async fn check_range(&self, from: Offset) -> Result<(), ReadError> {
        self.barrier().await?;
        let state = self.state();
        if from < state.log_start || from > state.log_end {
            let (log_start, high_watermark) = (state.log_start, state.tail.end());
            return Err(ReadError::OutOfRange { log_start, high_watermark });
        }
        Ok(())
    }

    async fn read_wal(&self, position: WalPosition) -> Result<Vec<Bytes>, wal::Error> {
        let replication = self.around.replication.clone();
        let read = Tasks::blocking(move || replication.read_at(position)).await;
        // The runtime is going down: the broker answers nothing any more.
        let entry = read.unwrap_or(Err(wal::Error::Gone(position.segment)))?;
        let own = entry.into_iter().filter(|batch| batch.partition == self.id);
        Ok(own.map(|batch| batch.bytes).collect())
    }

    async fn read_bucket(&self, next: Offset, left: usize) -> Result<Vec<Bytes>, ReadError> {
        match self.around.history.read(self.id, next, left).await {
            Ok(batches) => Ok(batches),
            Err(HistoryError::Gone) => Ok(Vec::new()),
            Err(HistoryError::Away(reason)) => Err(ReadError::Unavailable(reason)),
        }
    }
}

impl Gathered {
    fn has_room(&self) -> bool {
        self.left > 0 || (self.at_least_one && self.batches.is_empty())
    }

    /// Takes what fits of parts that hold whole batches, from the one that covers `next` on.
    /// `false` when one did not fit.
    fn take(&mut self, parts: &[Bytes]) -> Result<bool, ReadError> {
        let damaged = |error: crate::record::Error| ReadError::Unavailable(error.to_string());
        for part in parts {
            for batch in BatchView::split(part.clone()).map_err(damaged)? {
                let bytes = batch.bytes().len();
                if batch.end_offset() <= self.next {
                    continue;
                }
                let first = self.at_least_one && self.batches.is_empty();
                if bytes > self.left && !first {
                    return Ok(false);
                }
                self.left = self.left.saturating_sub(bytes);
                self.next = batch.end_offset();
                self.batches.push(batch.bytes().clone());
            }
        }
        Ok(true)
    }
}
