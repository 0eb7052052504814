//! One open partition.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::{AppendError, DeleteError, ReadError};
use crate::{
    cluster::configs::TopicConfig,
    types::{LeaderEpoch, Millis, Offset, PartitionId},
};

/// Who brings a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client: everything is checked.
    Client,
    /// The broker itself, to an internal topic.
    Internal,
}

/// One partition this broker leads.
pub struct Partition {
    _private: (),
}

/// An appended batch that is not committed yet.
pub struct Pending {
    base_offset: Offset,
}

/// A committed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; of the original, when it was a duplicate.
    pub base_offset: Offset,
    /// The time the log gave it, under LogAppendTime.
    pub log_append_time: Option<Millis>,
    /// First offset of the partition.
    pub log_start: Offset,
}

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Whole batches, from the one that covers the offset asked for.
    pub batches: Vec<Bytes>,
    /// End of what is committed.
    pub high_watermark: Offset,
    /// End of what `read_committed` may see.
    pub last_stable_offset: Offset,
    /// First offset there is.
    pub log_start: Offset,
}

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

impl Pending {
    /// The offset given to the first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Waits until every member has it.
    ///
    /// # Errors
    /// `Unknown`: it may be committed all the same.
    pub async fn committed(self) -> Result<Appended, AppendError> {
        unimplemented!()
    }
}

impl Partition {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        unimplemented!()
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        unimplemented!()
    }

    /// The epoch this broker leads it in.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        unimplemented!()
    }

    /// First offset there is.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        unimplemented!()
    }

    /// End of what is committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        unimplemented!()
    }

    /// End of what `read_committed` may see.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        unimplemented!()
    }

    /// The topic's configuration.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        unimplemented!()
    }

    /// Checks a batch, gives it offsets and appends it; its effects are in the order of the calls.
    /// Does not wait for the commit.
    ///
    /// # Errors
    /// Nothing was appended then.
    pub async fn append(
        self: &Arc<Self>,
        _batch: Bytes,
        _origin: Origin,
    ) -> Result<Pending, AppendError> {
        unimplemented!()
    }

    /// Whole batches from the one that covers `from`, within `max_bytes`; with `at_least_one`, the
    /// first whatever its size. Empty at the end. Does not wait for more.
    ///
    /// # Errors
    /// No batch can be given.
    pub async fn read(
        &self,
        _from: Offset,
        _max_bytes: usize,
        _at_least_one: bool,
    ) -> Result<Read, ReadError> {
        unimplemented!()
    }

    /// Committed bytes at and after `from`; more than any limit when they left memory.
    #[must_use]
    pub fn bytes_after(&self, _from: Offset) -> u64 {
        unimplemented!()
    }

    /// Notifies `waiter` once: when something is committed, or the partition closes.
    pub fn wake_on_append(&self, _waiter: &Arc<Notify>) {
        unimplemented!()
    }

    /// The first record at or after `time`. Proves leadership itself.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn offset_for_time(&self, _time: Millis) -> Result<Option<TimeMatch>, ReadError> {
        unimplemented!()
    }

    /// The first record with the greatest timestamp. Proves leadership itself.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn offset_of_max_timestamp(&self) -> Result<Option<TimeMatch>, ReadError> {
        unimplemented!()
    }

    /// The largest epoch up to `epoch` and where it ends; `None` for one not begun yet.
    #[must_use]
    pub fn end_of_epoch(&self, _epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        unimplemented!()
    }

    /// Deletes the records below `before`, all committed ones for `None`; the new log start.
    ///
    /// # Errors
    /// When they are not deleted, or it is not known.
    pub async fn delete_records(&self, _before: Option<Offset>) -> Result<Offset, DeleteError> {
        unimplemented!()
    }

    /// Proves that this broker was the leader at an instant after the call (4.7).
    ///
    /// # Errors
    /// `NotLeader` when it cannot.
    pub async fn barrier(&self) -> Result<(), ReadError> {
        unimplemented!()
    }
}
