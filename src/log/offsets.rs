//! Offsets by time and epoch, and deleting records below one.
//!
//! Owns: what ListOffsets, OffsetForLeaderEpoch and DeleteRecords ask of a partition.
//! Invariants: an answer by time is exact to the record; every answer that says where the log
//! begins or ends is proven by a barrier (4.7).

use super::{DeleteError, Partition, ReadError, history::HistoryError};
use crate::{
    record::{self, BatchView},
    types::{LeaderEpoch, Millis, Offset},
};

/// How much is read at a time in search of a record.
const SEARCH_BYTES: usize = 1 << 20;

/// The record a time leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeMatch {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Millis,
    /// Epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

impl Partition {
    /// The first record at or after `time`. Proves leadership itself.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn offset_for_time(&self, time: Millis) -> Result<Option<TimeMatch>, ReadError> {
        self.barrier().await?;
        self.search(time, self.log_start()).await
    }

    /// The first record with the greatest timestamp of those that are not deleted. Proves
    /// leadership itself.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn offset_of_max_timestamp(&self) -> Result<Option<TimeMatch>, ReadError> {
        self.barrier().await?;
        let mut from = self.log_start();
        let mut best: Option<TimeMatch> = None;
        loop {
            // The tail first: what leaves it meanwhile is published, and found there.
            let newest = self.state().tail.max_timestamp(from);
            let published = self.around.history.max_timestamp(self.id, from).await?;
            let bound = published.max(newest);
            let greater = bound.filter(|it| best.is_none_or(|best| best.timestamp < *it));
            let Some(greatest) = greater else { return Ok(best) };
            if let Some(found) = self.search(greatest, from).await? {
                return Ok(Some(found));
            }
            // Who had it is deleted, but not what tells of it: the block or WAL entry in which the
            // log now begins. Its records are looked at themselves, until something else is told.
            let Some((end, found)) = self.greatest_near(from).await? else { return Ok(best) };
            best = later(best, found);
            from = end;
        }
    }

    /// The record with the greatest timestamp in one read from `from` on, and where that ends.
    async fn greatest_near(
        &self,
        from: Offset,
    ) -> Result<Option<(Offset, Option<TimeMatch>)>, ReadError> {
        let from = from.max(self.log_start());
        let (mut batches, log_start) = self.batches(from).await?;
        let Some(end) = batches.last().map(BatchView::end_offset) else { return Ok(None) };
        // A header tells the greatest of all its records, deleted or not: the largest first, so
        // that few are looked into.
        batches.sort_by_key(|batch| std::cmp::Reverse(batch.max_timestamp()));
        let mut greatest: Option<TimeMatch> = None;
        for batch in batches.into_iter().filter(|batch| !batch.is_control()) {
            if greatest.is_some_and(|it| it.timestamp >= batch.max_timestamp()) {
                break;
            }
            let found = self.in_batch(batch, move |it| it.greatest_time(log_start)).await;
            greatest = later(greatest, found);
        }
        Ok(Some((end, greatest)))
    }

    /// The first record at or after `time` and at or after `from`.
    async fn search(&self, time: Millis, from: Offset) -> Result<Option<TimeMatch>, ReadError> {
        let mut from = from;
        loop {
            // The tail first, as above.
            let newest = self.state().tail.seek(time, from);
            let published = self.around.history.seek(self.id, time, from).await?;
            let Some(candidate) = published.or(newest) else { return Ok(None) };
            // Deleted meanwhile: what is left begins at the log start.
            let candidate = candidate.max(self.log_start());
            let (batches, log_start) = self.batches(candidate).await?;
            let mut end = candidate;
            for batch in batches {
                end = batch.end_offset();
                if batch.max_timestamp() < time || batch.is_control() {
                    continue;
                }
                let found = self.in_batch(batch, move |it| it.first_at(time, log_start)).await;
                if found.is_some() {
                    return Ok(found);
                }
            }
            if end <= candidate {
                return Ok(None);
            }
            from = end;
        }
    }

    /// Some batches from the one that covers `from` on, and the log start then.
    async fn batches(&self, from: Offset) -> Result<(Vec<BatchView>, Offset), ReadError> {
        let read = self.read(from, SEARCH_BYTES, true).await?;
        let mut batches = Vec::new();
        for part in read.batches {
            let split = BatchView::split(part);
            batches.extend(split.map_err(|error| ReadError::Unavailable(error.to_string()))?);
        }
        Ok((batches, read.log_start))
    }

    /// Searches the records of `batch`: what is packed is unpacked where nobody else waits.
    async fn in_batch(
        &self,
        batch: BatchView,
        search: impl FnOnce(&BatchView) -> Result<Option<(Offset, Millis)>, record::Error>
        + Send
        + 'static,
    ) -> Option<TimeMatch> {
        let leader_epoch = batch.leader_epoch();
        let found = self.around.cores.blocking(move || search(&batch)).await;
        // A batch that cannot be read was let in by no check: its records are nobody's.
        let (offset, timestamp) = found.ok()?.ok()??;
        Some(TimeMatch { offset, timestamp, leader_epoch })
    }

    /// The largest epoch up to `epoch` and where it ends; `None` for one not begun yet. Call
    /// [`barrier`](Self::barrier) first.
    #[must_use]
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.around.history.end_of_epoch(self.id, epoch, self.high_watermark())
    }

    /// Where the log begins, and in which epoch. Call [`barrier`](Self::barrier) first.
    #[must_use]
    pub fn earliest(&self) -> (Offset, Option<LeaderEpoch>) {
        let start = self.log_start();
        (start, self.around.history.epoch_at(self.id, start))
    }

    /// Deletes the records below `before`, all committed ones for `None`; the new log start.
    ///
    /// # Errors
    /// When they are not deleted, or it is not known.
    pub async fn delete_records(&self, before: Option<Offset>) -> Result<Offset, DeleteError> {
        // Of an internal topic its owner decides, who rewrites what lives at the tail.
        let cleanup = self.config().cleanup;
        if !self.is_internal() && cleanup.compact && !cleanup.delete {
            return Err(DeleteError::Policy);
        }
        let (log_start, high_watermark) = {
            let state = self.state();
            if state.closed {
                return Err(DeleteError::NotLeader);
            }
            (state.log_start, state.tail.end())
        };
        let before = before.unwrap_or(high_watermark);
        if before > high_watermark || before < Offset::ZERO {
            return Err(DeleteError::OutOfRange);
        }
        if before <= log_start {
            return Ok(log_start);
        }
        let raised = self.around.history.raise_start(self.id, before).await;
        raised.map_err(|error| DeleteError::Unknown(error.to_string()))?;
        self.raise_start(before);
        Ok(self.log_start())
    }
}

/// The one of the later time; the first, when it is the same.
fn later(first: Option<TimeMatch>, second: Option<TimeMatch>) -> Option<TimeMatch> {
    match (first, second) {
        (Some(first), Some(second)) if second.timestamp <= first.timestamp => Some(first),
        (first, second) => second.or(first),
    }
}

impl From<HistoryError> for ReadError {
    fn from(error: HistoryError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
