//! The one map from what went wrong inside to Kafka's error codes.
//!
//! Owns: every choice of a code. Does not own: the domain errors. Invariant: no `_ =>` arm, so a
//! new domain error does not compile until somebody has chosen its code; what may succeed when
//! tried again (failover, recovery, backpressure) has a retriable code.

pub(crate) use proto_kafka::error::ResponseError as Code;

/// Why a connection ends because of a request, as Kafka ends it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    /// The bytes are not a request of this API and version.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// No such API, or a version that is not served.
    #[error("api key {key} version {version} is not served")]
    NotServed {
        /// As sent.
        key: i16,
        /// As sent.
        version: i16,
    },
    /// Larger than this API may be.
    #[error("a frame of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// As declared.
        bytes: i64,
        /// The limit that held.
        limit: u64,
    },
}

impl From<proto_kafka::error::ProtoError> for BadRequest {
    fn from(error: proto_kafka::error::ProtoError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// The code on the wire: 0 for success.
pub(crate) fn code(result: Result<(), Code>) -> i16 {
    result.err().map_or(0, |code| code.code())
}
