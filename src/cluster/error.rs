//! How the cluster's work ends when it does not succeed.

use crate::{
    cluster::apply::Rejection,
    store::{Failure, GetError},
    types::{ClusterId, MetadataIndex},
};

/// Why a proposal is not known to be committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It does not hold, and nothing happened.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// Larger than an entry may be; nothing happened.
    #[error("{bytes} bytes of records are more than one entry takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// This process lost the controller's role while it was in flight: it may be in the log.
    #[error("controllership was lost while committing; the records may be in the log or not")]
    Unknown,
    /// This process is no longer controller; nothing happened.
    #[error("this broker is no longer controller")]
    Abdicated,
}

/// Why this process did not become controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeOverError {
    /// The store fails the contract test.
    #[error("this bucket cannot be trusted with a cluster: {finding}")]
    BrokenStore {
        /// What it did.
        finding: String,
    },
    /// The WAL folder belongs to another cluster than the bucket.
    #[error("the WAL folder belongs to cluster {expected}, the bucket to {found}")]
    OtherCluster {
        /// The folder's.
        expected: ClusterId,
        /// The bucket's.
        found: ClusterId,
    },
    /// The WAL folder belongs to a cluster and the bucket to none.
    #[error(
        "the WAL folder belongs to cluster {expected}, but the bucket holds no cluster: \
         is it the right bucket and prefix?"
    )]
    NoCluster {
        /// The folder's.
        expected: ClusterId,
    },
    /// Somebody else is controller and alive.
    #[error("the broker at {address} holds this cluster ({how}); stop it first")]
    Held {
        /// As its lease says.
        address: String,
        /// How it is known.
        how: &'static str,
    },
    /// Somebody else became controller at the same time.
    #[error("another broker became controller at the same time (epoch {epoch})")]
    Overtaken {
        /// Its epoch.
        epoch: u64,
    },
    /// The bucket's metadata cannot be used.
    #[error("{object} cannot be used: {damage}")]
    Damaged {
        /// Which object.
        object: String,
        /// Why.
        damage: Damage,
    },
}

/// Why this process is no longer controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Abdication {
    /// The log is of a higher epoch, or the lease another's.
    #[error("another broker is controller since epoch {epoch}")]
    Superseded {
        /// The other's epoch.
        epoch: u64,
    },
    /// The log went on without us for so long that an entry's fate cannot be read any more.
    #[error("entry {0} lies behind the floor of the log, its fate is unknown")]
    BehindFloor(MetadataIndex),
    /// An entry is there that nobody can have written.
    #[error("entry {index} of the log is not as it must be: {damage}")]
    Impossible {
        /// Which.
        index: MetadataIndex,
        /// How it is not.
        damage: Damage,
    },
}

/// What is wrong with bytes from the bucket, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damage(String);

impl Damage {
    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub(super) fn new(text: impl ToString) -> Self {
        Self(text.to_string())
    }
}

/// Why a read of the metadata brought nothing to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bucket did not answer: try again.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// It answered with something that cannot be used.
    #[error("{object}: {damage}")]
    Damaged {
        /// Which object.
        object: String,
        /// Why.
        damage: Damage,
    },
}

impl ReadError {
    /// `Ok(None)` for absence.
    pub(super) fn absent_is_none<T>(result: Result<T, GetError>) -> Result<Option<T>, Self> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(GetError::Absent) => Ok(None),
            Err(GetError::Failed(failure)) => Err(failure.into()),
        }
    }
}
