//! Why a broker cannot run: each text says with what, and what to do.

use std::{net::SocketAddr, path::PathBuf};

use crate::{cluster, http, log, replication, store, wal};

/// What starting again as it is would not mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket's URL.
    #[error("--bucket: {0}")]
    Bucket(String),
    /// The bucket cannot be opened as configured.
    #[error("the bucket {url} cannot be opened: {source}")]
    Store {
        /// The bucket.
        url: String,
        /// Why.
        source: store::OpenError,
    },
    /// The WAL folder.
    #[error("the WAL folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: wal::Error,
    },
    /// A bucket that forgets, with a folder that remembers.
    #[error(
        "the WAL folder {0} belongs to a cluster, but memory:// holds none: \
         give another --wal-dir or the bucket it belongs to"
    )]
    Forgetful(PathBuf),
    /// The Kafka port.
    #[error("cannot listen on {address} for Kafka: {source}; choose another with --kafka-listen")]
    Kafka {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP port.
    #[error("{0}; choose another with --http-listen")]
    Http(#[from] http::Error),
    /// The cluster's metadata.
    #[error("{error}{}", hint(.error))]
    TakeOver {
        /// Why.
        #[from]
        error: cluster::TakeOverError,
    },
    /// A record of ours was refused.
    #[error("the metadata log refused to {what}: {source}")]
    Commit {
        /// What for.
        what: &'static str,
        /// Why.
        source: cluster::CommitError,
    },
    /// Recovery met what must not be.
    #[error("recovery stopped: {0}")]
    Recovery(#[from] log::recover::Error),
    /// The log did not start.
    #[error("the write-ahead log did not start: {0}")]
    Replication(#[from] replication::Error),
    /// A Kafka setting given by flag or file.
    #[error("--kafka: {0}")]
    Setting(#[from] cluster::configs::Error),
    /// A task of ours was torn down.
    #[error("the runtime is going down")]
    Runtime(#[from] tokio::task::JoinError),
}

impl Error {
    /// Whether the WAL folder's disk is what failed: it may come back.
    pub(super) fn is_disk(&self) -> bool {
        matches!(
            self,
            Self::Folder { source: wal::Error::Disk(_), .. }
                | Self::Replication(replication::Error::Wal(wal::Error::Disk(_)))
        )
    }
}

fn hint(error: &cluster::TakeOverError) -> &'static str {
    match error {
        cluster::TakeOverError::BrokenStore { .. } => {
            "; `strandline bucket check` runs the same test"
        }
        _ => "",
    }
}
