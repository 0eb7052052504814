//! What can be wrong with an object, by what its reader or builder does next.

use crate::types::{Offset, PartitionId};

/// What can be wrong with an object or with what one is built from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not what was written: read again, from the bucket.
    #[error("damaged object: {0}")]
    Damaged(&'static str),
    /// Written by a later version of Strandline: this one cannot read it.
    #[error("object format version {0} is newer than this broker; upgrade it")]
    TooNew(u16),
    /// Batches or runs handed to the builder are out of order: a bug upstream, nothing to retry.
    #[error("batch at {base} of {partition} does not follow {end}")]
    OutOfOrder {
        /// Whose batch.
        partition: PartitionId,
        /// Its base offset.
        base: Offset,
        /// Where the batch before it ended.
        end: Offset,
    },
}
