//! What a coordinator needs of the partition it keeps its state in, and the real one.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{
    env::clock,
    log::{AppendError, Origin, Partition, ReadError},
    types::Offset,
};

/// How long to wait before reading again what could not be read.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// The partition can no longer be written by this broker, or what it holds is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the partition is lost")]
pub(super) struct Lost;

/// Why nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAppended {
    /// No room now: later.
    #[error("no room in the write-ahead log")]
    Full,
    /// As `Lost`.
    #[error("the partition is lost")]
    Lost,
}

/// A batch in the log.
pub(super) struct Taken {
    pub(super) base_offset: Offset,
    /// Resolves when every member has it.
    pub(super) committed: BoxFuture<'static, Result<(), Lost>>,
}

/// A partition of the offsets topic.
#[async_trait]
pub(super) trait PartitionLog: Send + Sync {
    /// First offset there is.
    fn start(&self) -> Offset;
    /// End of what is committed.
    fn end(&self) -> Offset;
    /// Whole batches from `from`; at least one below the end.
    async fn read(&self, from: Offset, max_bytes: usize) -> Result<Vec<Bytes>, Lost>;
    /// Appends a batch, in the order of the calls.
    async fn append(&self, batch: Bytes) -> Result<Taken, NotAppended>;
    /// Resolves when it is proven that this broker led after the call (correctness.md 4.7).
    fn barrier(&self) -> BoxFuture<'static, Result<(), Lost>>;
    /// Drops what is before `to`, once everything below `published` is in the bucket. Best effort:
    /// what stays is only read once more.
    fn drop_before(&self, to: Offset, published: Offset) -> BoxFuture<'static, ()>;
}

#[async_trait]
impl PartitionLog for Arc<Partition> {
    fn start(&self) -> Offset {
        self.log_start()
    }

    fn end(&self) -> Offset {
        self.high_watermark()
    }

    async fn read(&self, from: Offset, max_bytes: usize) -> Result<Vec<Bytes>, Lost> {
        loop {
            match Partition::read(self, from, max_bytes, true).await {
                Ok(read) => return Ok(read.batches),
                Err(ReadError::Unavailable(reason)) => {
                    tracing::warn!(partition = %self.id(), reason, "offsets cannot be read yet");
                    clock::sleep(READ_AGAIN).await;
                }
                Err(ReadError::OutOfRange { .. } | ReadError::NotLeader) => return Err(Lost),
            }
        }
    }

    async fn append(&self, batch: Bytes) -> Result<Taken, NotAppended> {
        match Partition::append(self, batch, Origin::Internal).await {
            Ok(pending) => Ok(Taken {
                base_offset: pending.base_offset(),
                committed: Box::pin(async {
                    pending.committed().await.map_or(Err(Lost), |_| Ok(()))
                }),
            }),
            Err(AppendError::Full | AppendError::Unavailable(_)) => Err(NotAppended::Full),
            Err(AppendError::NotLeader | AppendError::Unknown) => Err(NotAppended::Lost),
            Err(
                error @ (AppendError::Reject(_)
                | AppendError::Sequence(_)
                | AppendError::NoTransaction),
            ) => {
                tracing::error!(partition = %self.id(), %error, "a group's record was refused, its commit failed");
                Err(NotAppended::Full)
            }
        }
    }

    fn barrier(&self) -> BoxFuture<'static, Result<(), Lost>> {
        let partition = self.clone();
        Box::pin(async move { Partition::barrier(&partition).await.map_err(|_| Lost) })
    }

    fn drop_before(&self, to: Offset, published: Offset) -> BoxFuture<'static, ()> {
        let partition = self.clone();
        Box::pin(async move {
            if !partition.until_published(published).await {
                return;
            }
            if let Err(error) = partition.delete_records(Some(to)).await {
                tracing::warn!(partition = %partition.id(), %error, "old offsets were not dropped, trying again later");
            }
        })
    }
}
