//! How a call fails, by what the caller does next.

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
    #[error("the broker answered error code {0}")]
    Refused(i16),
    /// The answer lacks what was asked for.
    #[error("the answer lacks the partition asked for")]
    Absent,
}

/// Turns an error code into a result.
pub(super) fn check(code: i16) -> Result<(), Error> {
    if code == 0 { Ok(()) } else { Err(Error::Refused(code)) }
}
