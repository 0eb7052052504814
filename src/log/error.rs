//! Why the log refuses, by what the caller does next.

use super::SequenceError;
use crate::{
    record::Reject,
    types::{BrokerId, LeaderEpoch, Offset},
};

/// A partition is not open here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHere {
    /// No such topic.
    #[error("unknown topic")]
    UnknownTopic,
    /// The topic has no such partition.
    #[error("unknown partition")]
    UnknownPartition,
    /// Another broker leads it, or this one not yet.
    #[error("broker {leader} leads the partition in epoch {epoch}")]
    NotLeader {
        /// Who leads.
        leader: BrokerId,
        /// In which epoch.
        epoch: LeaderEpoch,
    },
}

/// A batch was not appended, or what became of it is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The batch breaks a rule: never retry.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// The batch is out of its producer's order.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// A transactional batch outside any transaction (`INVALID_TXN_STATE`).
    #[error("the batch is part of no transaction")]
    NoTransaction,
    /// Too much waits for the bucket or the disk: retry later, nothing was appended.
    #[error("the write-ahead log is full")]
    Full,
    /// What deciding takes cannot be read now: retry later, nothing was appended.
    #[error("producer state is not available: {0}")]
    Unavailable(String),
    /// This broker does not lead the partition; nothing was appended.
    #[error("not the leader")]
    NotLeader,
    /// The batch was appended and its fate is not known (H18: `REQUEST_TIMED_OUT`).
    #[error("the batch may or may not be committed")]
    Unknown,
}

/// A read was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The offset is below the log start or above the end; proven against a newer leader (H23).
    #[error("offset out of range {log_start}..{high_watermark}")]
    OutOfRange {
        /// First offset there is.
        log_start: Offset,
        /// The end.
        high_watermark: Offset,
    },
    /// This broker does not lead the partition, or cannot prove that it still does.
    #[error("not the leader")]
    NotLeader,
    /// The bytes cannot be had now: retry.
    #[error("not readable now: {0}")]
    Unavailable(String),
}

/// Records were not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// The offset is above the high watermark (`OFFSET_OUT_OF_RANGE`).
    #[error("offset above the high watermark")]
    OutOfRange,
    /// The topic's `cleanup.policy` is `compact` alone (`POLICY_VIOLATION`).
    #[error("the topic does not delete records")]
    Policy,
    /// This broker does not lead the partition.
    #[error("not the leader")]
    NotLeader,
    /// The metadata log did not answer: the deletion may happen.
    #[error("unknown outcome: {0}")]
    Unknown(String),
}
