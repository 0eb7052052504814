//! How a call fails, by what the caller does next.

use std::time::Duration;

use super::code;

/// Why a call has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke: the outcome of the call is unknown; connect again.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The bytes are not what the protocol says; connect again, it will not help.
    #[error("the answer cannot be read: {0}")]
    Malformed(#[from] proto_kafka::error::ProtoError),
    /// The answer is not to our request, or too long.
    #[error("the answer does not belong to the request")]
    OutOfStep,
    /// The broker refused with this Kafka error code.
    #[error("{}", code::in_words(*.0, None))]
    Refused(i16),
    /// The broker refused with this Kafka error code and words of its own.
    #[error("{}", code::in_words(*.code, Some(.told)))]
    RefusedBecause {
        /// Kafka's code.
        code: i16,
        /// The broker's words.
        told: String,
    },
    /// The answer lacks what was asked for.
    #[error("the answer lacks what was asked for")]
    Absent,
    /// Nobody answers at the address: another one may help.
    #[error("no broker answers at {address}: {why}")]
    Unreachable {
        /// `HOST:PORT`, several with commas.
        address: String,
        /// The last try's end.
        why: String,
    },
    /// It took too long: the outcome of the call is unknown.
    #[error("the broker at {address} did not answer within {}", humantime::format_duration(*.limit))]
    TimedOut {
        /// Who was asked.
        address: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The broker speaks no version of the request that this program does.
    #[error("the broker at {address} does not offer {what}")]
    Unsupported {
        /// Who was asked.
        address: String,
        /// The request's name.
        what: String,
    },
}

impl Error {
    /// Kafka's code, when the broker refused.
    #[must_use]
    pub fn code(&self) -> Option<i16> {
        match self {
            Self::Refused(code) | Self::RefusedBecause { code, .. } => Some(*code),
            Self::Io(_)
            | Self::Malformed(_)
            | Self::OutOfStep
            | Self::Absent
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unsupported { .. } => None,
        }
    }

    /// Whether the broker refused and another broker, or the same one later, may not.
    #[must_use]
    pub fn is_misrouted(&self) -> bool {
        self.code().is_some_and(code::is_misrouted)
    }

    /// Whether the connection is of no use any more.
    #[must_use]
    pub fn is_of_connection(&self) -> bool {
        match self {
            Self::Io(_) | Self::Malformed(_) | Self::OutOfStep | Self::TimedOut { .. } => true,
            Self::Refused(_)
            | Self::RefusedBecause { .. }
            | Self::Absent
            | Self::Unreachable { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}

/// Turns an error code into a result.
pub(super) fn check(code: i16) -> Result<(), Error> {
    if code == 0 { Ok(()) } else { Err(Error::Refused(code)) }
}

/// Turns an error code and the broker's words, if it said any, into a result.
pub(super) fn check_told(code: i16, told: Option<&str>) -> Result<(), Error> {
    match told.filter(|told| !told.trim().is_empty()) {
        Some(told) if code != 0 => Err(Error::RefusedBecause { code, told: told.to_owned() }),
        _ => check(code),
    }
}
