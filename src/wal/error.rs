//! What can be wrong with a WAL folder, by what its owner does next.

use std::{io, path::PathBuf};

use crate::types::{ClusterId, Incarnation, SegmentId};

/// Why the folder or a segment in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the folder: stop it, or use another folder.
    #[error("another process uses the WAL folder {folder}")]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder's data belongs elsewhere: never touch it.
    #[error("the WAL folder {folder} belongs to cluster {has}, not to {wants}")]
    OtherCluster {
        /// The folder.
        folder: PathBuf,
        /// The cluster whose data is in it.
        has: ClusterId,
        /// The cluster in the bucket.
        wants: ClusterId,
    },
    /// An older copy of the folder was put back (H10): it must not speak for what it held later.
    #[error(
        "the WAL folder {folder} is older than the cluster remembers: it last registered as \
         {local:?}, the cluster has {newest}; a copy or snapshot was put back"
    )]
    RolledBack {
        /// The folder.
        folder: PathBuf,
        /// The newest incarnation the folder knows of.
        local: Option<Incarnation>,
        /// The newest incarnation the cluster knows of this folder.
        newest: Incarnation,
    },
    /// An older copy of the bucket was put back (H38): it has forgotten what this folder holds.
    #[error(
        "the bucket is older than the WAL folder {folder}, which registered as {local}; the \
         bucket knows only of {newest}: a backup was put back"
    )]
    OlderBucket {
        /// The folder.
        folder: PathBuf,
        /// The newest incarnation the folder knows of.
        local: Incarnation,
        /// The newest incarnation the bucket knows of this folder.
        newest: Incarnation,
    },
    /// A file of this folder was written by a newer release, or is not ours.
    #[error("{path} is not readable by this release: {why}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// No room for another WAL file: refuse writes and try again.
    #[error("no room on the disk for another WAL file")]
    NoRoom,
    /// The segment's files are no longer, or not yet, in the folder.
    #[error("segment {0} is not in the WAL folder")]
    Gone(SegmentId),
    /// The segment takes no more entries, for good.
    #[error("segment {0} is fenced")]
    Fenced(SegmentId),
    /// Bytes that were acknowledged do not read back.
    #[error("segment {segment} is damaged: {what}")]
    Damaged {
        /// The segment.
        segment: SegmentId,
        /// Where and how.
        what: String,
    },
    /// The disk failed.
    #[error("disk error in the WAL folder: {0}")]
    Disk(#[from] io::Error),
}
