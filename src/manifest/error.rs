//! What can be wrong with a manifest, by what its reader does next.

use crate::types::Offset;

/// What can be wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not what was written: read again.
    #[error("damaged manifest: {0}")]
    Damaged(&'static str),
    /// Written by a later version of Strandline: this one cannot read it.
    #[error("manifest format version {0} is newer than this broker; upgrade it")]
    TooNew(u16),
    /// Runs that do not tile: a bug upstream, nothing to retry.
    #[error("run at {found} does not go on at {expected}")]
    Gap {
        /// Where the next run had to begin.
        expected: Offset,
        /// Where it begins.
        found: Offset,
    },
}
