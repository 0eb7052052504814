//! Offsets by time and epoch, and deleting records below one.
//!
//! Owns: what ListOffsets, OffsetForLeaderEpoch and DeleteRecords ask of a partition.
//! Invariants: an answer by time is exact to the record; every answer that says where the log
//! begins or ends is proven by a barrier (4.7).

use super::{DeleteError, Partition, ReadError, history::HistoryError};
use crate::{
    env::task::Tasks,
    record::BatchView,
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
        self.search(time).await
    }

    /// The first record with the greatest timestamp. Proves leadership itself.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn offset_of_max_timestamp(&self) -> Result<Option<TimeMatch>, ReadError> {
        self.barrier().await?;
        // The tail first: what leaves it meanwhile is published, and found there.
        let newest = self.state().tail.max_timestamp();
        let published = self.around.history.max_timestamp(self.id).await?;
        match published.max(newest) {
            None => Ok(None),
            Some(greatest) => self.search(greatest).await,
        }
    }

    async fn search(&self, time: Millis) -> Result<Option<TimeMatch>, ReadError> {
        let mut from = self.log_start();
        loop {
            // The tail first, as above.
            let newest = self.state().tail.seek(time, from);
            let published = self.around.history.seek(self.id, time, from).await?;
            let Some(candidate) = published.or(newest) else { return Ok(None) };
            // Deleted meanwhile: what is left begins at the log start.
            let candidate = candidate.max(self.log_start());
            let read = self.read(candidate, SEARCH_BYTES, true).await?;
            let mut end = candidate;
            for part in read.batches {
                let batches = BatchView::split(part);
                let batches = batches.map_err(|error| ReadError::Unavailable(error.to_string()))?;
                for batch in batches {
                    end = batch.end_offset();
                    if batch.max_timestamp() < time || batch.is_control() {
                        continue;
                    }
                    if let Some(found) = first_at(batch, time, read.log_start).await {
                        return Ok(Some(found));
                    }
                }
            }
            if end <= candidate {
                return Ok(None);
            }
            from = end;
        }
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

/// The first record of `batch` at or after `time` that is not deleted. What is packed is unpacked
/// where nobody else waits.
async fn first_at(batch: BatchView, time: Millis, log_start: Offset) -> Option<TimeMatch> {
    let leader_epoch = batch.leader_epoch();
    let search = move || batch.first_at(time, log_start);
    // A batch that cannot be read was let in by no check: its records are nobody's.
    let (offset, timestamp) = Tasks::blocking(search).await.ok()?.ok()??;
    Some(TimeMatch { offset, timestamp, leader_epoch })
}

impl From<HistoryError> for ReadError {
    fn from(error: HistoryError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
