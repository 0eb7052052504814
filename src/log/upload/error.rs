//! Why segments can no longer be uploaded.

use crate::{
    cluster::CommitError,
    object, replication,
    types::{Incarnation, Offset, PartitionId},
    wal,
};

/// Why segments can no longer be uploaded. The WAL keeps them: the next incarnation recovers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The WAL does not give back what it was given.
    #[error(transparent)]
    Wal(#[from] wal::Error),
    /// A former incarnation's WAL cannot be read whole.
    #[error(transparent)]
    Unrecoverable(#[from] replication::Unrecoverable),
    /// An entry holds bytes that are no batch.
    #[error("the WAL holds no whole batch at {base} of {partition}")]
    Batch {
        /// Whose.
        partition: PartitionId,
        /// Where.
        base: Offset,
    },
    /// Batches do not follow each other.
    #[error(transparent)]
    Object(#[from] object::Error),
    /// The metadata log refused, or is no longer this broker's to write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Another took over.
    #[error("incarnation {0} is fenced")]
    Fenced(Incarnation),
    /// The process is going down.
    #[error("stopped")]
    Stopped,
}

impl From<tokio::task::JoinError> for Error {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Stopped
    }
}
