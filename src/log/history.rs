//! What of a partition lies in the bucket, and what the metadata log says of it, as a partition
//! asks for it.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    object::ProducerSnapshot,
    types::{LeaderEpoch, Millis, Offset, PartitionId},
};

/// The published side of partitions.
#[async_trait]
pub(super) trait History: Send + Sync {
    /// Whole batches from the one that covers `from`: at least one, more within `max_bytes`. Empty
    /// when nothing published covers `from`.
    ///
    /// # Errors
    /// See [`HistoryError`].
    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, HistoryError>;

    /// An offset at or after `from` and at or before the first published record from there on that
    /// is at or after `time`; `None` when there is no such record.
    ///
    /// # Errors
    /// See [`HistoryError`].
    async fn seek(
        &self,
        partition: PartitionId,
        time: Millis,
        from: Offset,
    ) -> Result<Option<Offset>, HistoryError>;

    /// No published record at or after `from` has a greater timestamp; of the block that covers
    /// `from`, all records count.
    ///
    /// # Errors
    /// See [`HistoryError`].
    async fn max_timestamp(
        &self,
        partition: PartitionId,
        from: Offset,
    ) -> Result<Option<Millis>, HistoryError>;

    /// Producer state at the end of what is published.
    ///
    /// # Errors
    /// See [`HistoryError`].
    async fn producers(
        &self,
        partition: PartitionId,
    ) -> Result<Vec<ProducerSnapshot>, HistoryError>;

    /// The newest epoch up to `epoch` and where it ended, by `log_end` the newest one.
    fn end_of_epoch(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)>;

    /// The epoch that the record at `offset` is of, if it is known.
    fn epoch_at(&self, partition: PartitionId, offset: Offset) -> Option<LeaderEpoch>;

    /// Records that everything below `to` is deleted.
    ///
    /// # Errors
    /// `Away` when the outcome is not known.
    async fn raise_start(&self, partition: PartitionId, to: Offset) -> Result<(), HistoryError>;
}

/// The history did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HistoryError {
    /// What the metadata named is gone: newer metadata tells where to look.
    #[error("the object is gone")]
    Gone,
    /// The bucket does not answer, or with damaged bytes: retry later.
    #[error("{0}")]
    Away(String),
}
