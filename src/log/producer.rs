//! What a partition remembers of its idempotent producers: a function of its log.

/// A batch is out of its producer's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error("sequence {found}, expected {expected}")]
    OutOfOrder {
        /// The one that would do.
        expected: i32,
        /// The batch's first.
        found: i32,
    },
    /// `INVALID_PRODUCER_EPOCH`.
    #[error("producer epoch {found} is older than {newest}")]
    OldEpoch {
        /// The newest seen.
        newest: i16,
        /// The batch's.
        found: i16,
    },
}

/// The producers of one partition at one offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {}
