//! The rules a client's batch must keep before it may enter a log.
//!
//! Owns: the checks and their order, which is Kafka's (`UnifiedLog.analyzeAndValidateRecords`, then
//! `LogValidator`). Does not own: sequences (producer state), error codes (`kafka`).

use super::{BatchView, Limits};
use crate::types::Millis;

/// What a partition asks of a batch.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `max.message.bytes`: the largest batch.
    pub max_bytes: usize,
    /// Every record needs a key (`cleanup.policy` has `compact`).
    pub compacted: bool,
    /// The broker sets the timestamps (`message.timestamp.type=LogAppendTime`).
    pub log_append_time: bool,
    /// The wall clock.
    pub now: Millis,
    /// `message.timestamp.before.max.ms`: how far in the past a record may be.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record may be.
    pub after_max_ms: i64,
    /// Bounds of decompression.
    pub limits: Limits,
}

/// What the checks learnt on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The true latest timestamp, where the records were looked at and the header is wrong.
    pub corrected_max_timestamp: Option<Millis>,
}

/// Why a batch is refused; one Kafka error code each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// `INVALID_RECORD`, with the record at fault when it is one.
    #[error("{reason}")]
    InvalidRecord {
        /// Index of the record in the batch.
        record: Option<i32>,
        /// For the client's log.
        reason: &'static str,
    },
    /// `MESSAGE_TOO_LARGE`.
    #[error("the batch has {bytes} bytes, the topic takes {max_bytes}")]
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// The topic's limit.
        max_bytes: usize,
    },
    /// `CORRUPT_MESSAGE`: retriable, the bytes may have been damaged on the way.
    #[error("corrupt batch: {0}")]
    Corrupt(super::Error),
    /// `INVALID_TIMESTAMP`, with the record at fault when it is one.
    #[error("{reason}")]
    InvalidTimestamp {
        /// Index of the record in the batch.
        record: Option<i32>,
        /// For the client's log.
        reason: &'static str,
    },
    /// `UNSUPPORTED_COMPRESSION_TYPE`.
    #[error("compression type is not supported")]
    UnsupportedCompression,
}

/// Checks a batch from a client against `rules`.
///
/// # Errors
/// The first rule it breaks.
pub fn check_client_batch(batch: &BatchView, rules: &Rules) -> Result<Checked, Reject> {
    let _ = (batch, rules);
    unimplemented!()
}
