//! The one map from what went wrong inside to Kafka's error codes.
//!
//! Owns: every choice of a code. Does not own: the domain errors. Invariants: no `_ =>` arm, so a
//! new domain error does not compile until somebody has chosen its code; what may succeed when
//! tried again (failover, recovery, backpressure) has a code that clients retry.

use proto_kafka::error::ProtoError;
pub(crate) use proto_kafka::error::ResponseError as Code;

use crate::{
    cluster::{CommitError, Rejection, configs},
    group,
    log::{AppendError, DeleteError, NotHere, ReadError, SequenceError},
    record::Reject,
};

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
    /// Not Kafka's protocol at all.
    #[error("the client speaks {0}, this listener is plain Kafka (security.protocol=PLAINTEXT)")]
    OtherProtocol(&'static str),
    /// Larger than this API may be.
    #[error("a frame of {bytes} bytes, allowed are 1 to {limit}")]
    FrameSize {
        /// As declared.
        bytes: i64,
        /// The limit that held.
        limit: u64,
    },
}

impl From<ProtoError> for BadRequest {
    fn from(error: ProtoError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What a client that wants transactions is told when it asks for a producer id. Of all codes only
/// this one ends every client's wait there at once: librdkafka takes four for fatal
/// (`rd_kafka_idemp_check_error`) and asks again for ever on any other. Not sooner, where it looks
/// for its coordinator: there sarama tries again for five seconds and kafkajs hides the reason.
pub(crate) const NO_TRANSACTIONS: Code = Code::TransactionalIdAuthorizationFailed;
/// The text beside [`NO_TRANSACTIONS`], where an answer has room for one.
pub(crate) const NO_TRANSACTIONS_TEXT: &str = "transactions are not served yet";

/// A domain error as Kafka's code.
pub(crate) trait Coded {
    /// Its code.
    fn code(&self) -> Code;
}

impl Coded for NotHere {
    fn code(&self) -> Code {
        match self {
            Self::UnknownTopic | Self::UnknownPartition => Code::UnknownTopicOrPartition,
            Self::NotLeader { .. } => Code::NotLeaderOrFollower,
        }
    }
}

impl Coded for Reject {
    fn code(&self) -> Code {
        match self {
            Self::InvalidRecord { .. } => Code::InvalidRecord,
            Self::TooLarge { .. } => Code::MessageTooLarge,
            Self::LargerThanSegment { .. } => Code::RecordListTooLarge,
            Self::Corrupt(_) => Code::CorruptMessage,
            Self::InvalidTimestamp { .. } => Code::InvalidTimestamp,
            Self::Unreadable(_) => Code::UnknownServerError,
            Self::UnsupportedCompression => Code::UnsupportedCompressionType,
        }
    }
}

impl Coded for AppendError {
    fn code(&self) -> Code {
        match self {
            Self::Reject(reject) => reject.code(),
            Self::Sequence(SequenceError::OutOfOrder { .. }) => Code::OutOfOrderSequenceNumber,
            Self::Sequence(SequenceError::OldEpoch { .. }) => Code::InvalidProducerEpoch,
            Self::NoTransaction => Code::InvalidTxnState,
            // Retriable, and nothing was appended.
            Self::Full => Code::KafkaStorageError,
            Self::Unavailable(_) => Code::LeaderNotAvailable,
            Self::NotLeader => Code::NotLeaderOrFollower,
            Self::Unknown => Code::RequestTimedOut,
        }
    }
}

impl Coded for ReadError {
    fn code(&self) -> Code {
        match self {
            Self::OutOfRange { .. } => Code::OffsetOutOfRange,
            Self::NotLeader => Code::NotLeaderOrFollower,
            Self::Unavailable(_) => Code::KafkaStorageError,
        }
    }
}

impl Coded for DeleteError {
    fn code(&self) -> Code {
        match self {
            Self::OutOfRange => Code::OffsetOutOfRange,
            Self::Policy => Code::PolicyViolation,
            Self::NotLeader => Code::NotLeaderOrFollower,
            Self::Unknown(_) => Code::RequestTimedOut,
        }
    }
}

impl Coded for group::Error {
    fn code(&self) -> Code {
        match self {
            Self::LoadInProgress => Code::CoordinatorLoadInProgress,
            Self::NotCoordinator => Code::NotCoordinator,
            Self::NotAvailable => Code::CoordinatorNotAvailable,
            Self::InvalidGroupId => Code::InvalidGroupId,
            Self::InvalidSessionTimeout => Code::InvalidSessionTimeout,
            Self::InvalidRequest => Code::InvalidRequest,
            Self::InconsistentProtocol => Code::InconsistentGroupProtocol,
            Self::MemberIdRequired => Code::MemberIdRequired,
            Self::UnknownMember => Code::UnknownMemberId,
            Self::FencedInstance => Code::FencedInstanceId,
            Self::IllegalGeneration => Code::IllegalGeneration,
            Self::RebalanceInProgress => Code::RebalanceInProgress,
            Self::GroupFull => Code::GroupMaxSizeReached,
            Self::GroupNotFound => Code::GroupIdNotFound,
            Self::NonEmptyGroup => Code::NonEmptyGroup,
            Self::SubscribedToTopic => Code::GroupSubscribedToTopic,
            Self::MetadataTooLarge => Code::OffsetMetadataTooLarge,
            Self::GroupTooLarge => Code::UnknownServerError,
        }
    }
}

/// What became of a change of the metadata.
pub(crate) fn commit_code(error: &CommitError) -> Code {
    match error {
        CommitError::Refused(rejection) => rejection_code(rejection),
        CommitError::TooLarge { .. } => Code::PolicyViolation,
        CommitError::Unknown => Code::RequestTimedOut,
        CommitError::Abdicated => Code::NotController,
    }
}

fn rejection_code(rejection: &Rejection) -> Code {
    match rejection {
        Rejection::UnknownTopic | Rejection::UnknownPartition(_) => Code::UnknownTopicOrPartition,
        Rejection::UnknownBroker(_) => Code::BrokerIdNotRegistered,
        Rejection::BrokerNotAlive(_) => Code::BrokerNotAvailable,
        Rejection::TopicExists(_) => Code::TopicAlreadyExists,
        Rejection::InvalidTopicName(_) => Code::InvalidTopicException,
        Rejection::InvalidPartitions(_) => Code::InvalidPartitions,
        // This broker acted on what is no longer so: another, or a second try, does it.
        Rejection::Fenced(_) | Rejection::NotRecovering(_) | Rejection::Overtaken(_) => {
            Code::NotController
        }
        Rejection::SegmentNotOpen(_)
        | Rejection::TooManySegments(_)
        | Rejection::NotContiguous { .. }
        | Rejection::NotReserved(_) => Code::UnknownServerError,
        Rejection::Invalid(_) => Code::InvalidRequest,
    }
}

/// Why a configuration is refused.
pub(crate) fn config_code(error: &configs::Error) -> Code {
    match error {
        configs::Error::Unknown { .. }
        | configs::Error::Invalid { .. }
        | configs::Error::Conflict(_)
        | configs::Error::Unsupported { .. }
        | configs::Error::NotAList { .. } => Code::InvalidConfig,
        configs::Error::NotDynamic(_) => Code::InvalidRequest,
    }
}

/// The code on the wire: 0 for success.
pub(crate) fn wire<T, E: Coded>(result: &Result<T, E>) -> i16 {
    result.as_ref().err().map_or(0, |error| error.code().code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BrokerId, LeaderEpoch};

    #[test]
    fn what_a_failover_causes_is_retriable() {
        let moved = NotHere::NotLeader { leader: BrokerId(1), epoch: LeaderEpoch(2) };
        assert!(moved.code().is_retriable());
        for error in [
            AppendError::Full,
            AppendError::Unavailable(String::new()),
            AppendError::NotLeader,
            AppendError::Unknown,
        ] {
            assert!(error.code().is_retriable(), "{error}");
        }
        for error in [ReadError::NotLeader, ReadError::Unavailable(String::new())] {
            assert!(error.code().is_retriable(), "{error}");
        }
        use group::Error as G;
        for error in [G::LoadInProgress, G::NotCoordinator, G::NotAvailable] {
            assert!(error.code().is_retriable(), "{error}");
        }
    }
}
