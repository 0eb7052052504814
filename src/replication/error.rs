//! What the log answers when it cannot do what was asked, by what the caller does next.

use crate::types::{Incarnation, SegmentId};

/// The log could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or disk.
    #[error(transparent)]
    Wal(#[from] crate::wal::Error),
    /// The folder does not know this incarnation: register it there first.
    #[error("incarnation {0} is not registered in the WAL folder")]
    NotRegistered(Incarnation),
    /// Only this disk's own segments with one member can be written yet.
    #[error("segment {0} has other members than this disk alone")]
    Ensemble(SegmentId),
}

/// A batch was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much waits for the bucket or the disk: retry later.
    #[error("the WAL budget is used up")]
    Full,
    /// No room on the disk for another WAL file: retry later.
    #[error("no room on the WAL disk")]
    DiskFull,
    /// The batch cannot fit a WAL file: never retry.
    #[error("the batch is larger than a WAL file")]
    TooLarge,
    /// No segment is open (draining): another broker leads soon.
    #[error("no WAL segment is open")]
    NoSegment,
    /// The log has ended.
    #[error("the WAL has ended")]
    Failed,
}

/// An appended batch's fate is unknown: it may be recovered later (H18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the WAL ended before the batch was committed")]
pub struct CommitError;

/// The log has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the WAL has ended")]
pub struct Ended;
