//! One incarnation's write-ahead log: appended, synced by every member, committed in order.
//!
//! Owns: the segment protocol as pure cores (`writer`, `member`, `recovery`), the WAL thread that
//! drives them with the local disk as member zero (`driver`), buffers and the commit futures.
//! Does not own: what a batch means, the metadata log, upload.
//! Invariants: a commit answers Ok only when every member has synced the entry; after the first
//! disk error nothing is committed any more; order of `append` calls is the order in the log.

#[cfg(test)]
mod cluster_test;
mod commit;
mod error;
mod member;
mod metrics;
mod recover;
mod recovery;
mod writer;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

pub use commit::Commit;
pub use error::{AppendError, CommitError, Ended, Error};
pub use metrics::Metrics;
pub use recover::{Recovered, RecoveredSegment, Unrecoverable, recover};

use crate::{
    env::Env,
    types::{ByteCount, Incarnation, LeaderEpoch, Millis, Offset, PartitionId, SegmentId},
    wal::{Entry, EntryBatch, Folder, OpenSegment, WalPosition},
};

/// Bytes of a record batch's header, which the leader stamps; the body follows.
pub const BATCH_HEADER_BYTES: usize = 61;

/// Sizes and times of the log.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes that may wait for the bucket; the last tenth is for internal topics.
    pub budget: ByteCount,
    /// A segment rolls at this size; also the size of a WAL file.
    pub roll_bytes: ByteCount,
    /// A segment rolls this long after its first batch.
    pub roll_after: Duration,
    /// Synced batches kept in memory, oldest dropped first.
    pub memory: ByteCount,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            budget: ByteCount::mib(4096),
            roll_bytes: ByteCount::mib(64),
            roll_after: Duration::from_secs(10),
            memory: ByteCount::mib(128),
        }
    }
}

/// What the log is built of.
pub struct Parts {
    /// The folder, bound to the cluster, this incarnation registered in it.
    pub folder: Folder,
    /// Clock and disk.
    pub env: Env,
    /// Sizes and times.
    pub config: Config,
    /// Whose log it is.
    pub incarnation: Incarnation,
    /// Segments opened for it, oldest first: one to write, the others spare.
    pub first: Vec<OpenSegment>,
    /// Whether the bucket's last request failed: no segment is rolled then.
    pub store_away: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Metrics.
    pub metrics: Metrics,
}

/// One batch to append.
pub struct Append<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// The reign.
    pub leader_epoch: LeaderEpoch,
    /// The stamped batch header.
    pub header: [u8; BATCH_HEADER_BYTES],
    /// The whole batch as it came; its bytes after the header are copied.
    pub batch: &'a [u8],
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub end_offset: Offset,
    /// Its newest record.
    pub max_timestamp: Millis,
    /// Of an internal topic: may use the last tenth of the budget.
    pub internal: bool,
    /// Told when it is committed and when it leaves memory.
    pub sink: Arc<dyn Sink>,
}

/// A committed batch as its partition's tail keeps it.
#[derive(Clone, Debug)]
pub struct CommittedBatch {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub end_offset: Offset,
    /// Its newest record.
    pub max_timestamp: Millis,
    /// When its entry was made.
    pub append_ms: Millis,
    /// The stamped batch.
    pub bytes: Bytes,
    /// Its entry in the WAL files, until the segment is trimmed.
    pub position: WalPosition,
}

/// A partition as the log sees it. Called on the WAL thread: short, no blocking, no `append`.
pub trait Sink: Send + Sync {
    /// A batch is on every member's disk. In order of offsets.
    fn committed(&self, batch: CommittedBatch);
    /// Batches below `end` are no longer kept in memory by the log; drop their bytes.
    fn evicted(&self, end: Offset);
}

/// A closed segment, ready for upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its name.
    pub id: SegmentId,
    /// Its nonce.
    pub nonce: u64,
    /// Its final length in entries, the header among them; 0 when it was never used.
    pub entries: u64,
    /// Bytes of those entries.
    pub bytes: u64,
    /// When its first batch was appended; `None` when it has none.
    pub first_append_ms: Option<Millis>,
}

/// What is not yet in the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtRisk {
    /// Bytes in segments not trimmed yet.
    pub bytes: u64,
    /// The oldest of them.
    pub oldest_append_ms: Option<Millis>,
    /// The same bytes by partition.
    pub partitions: BTreeMap<PartitionId, u64>,
}

/// Why the log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The disk failed: a new incarnation may start when it takes writes again (H12).
    Disk(String),
    /// The incarnation was fenced: exit.
    Fenced,
    /// `stop` was called.
    Stopped,
}

/// Handle of one incarnation's log; clones share it.
#[derive(Clone)]
pub struct Replication {
    _shared: Arc<()>,
}

impl Replication {
    /// Prepares the first segment's file, writes its header and starts the WAL thread. Blocking.
    ///
    /// # Errors
    /// The disk's.
    pub fn start(_parts: Parts) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Copies a batch into the log. Cheap and never blocks on the disk.
    ///
    /// # Errors
    /// Nothing was appended then.
    pub fn append(&self, _append: Append<'_>) -> Result<Commit, AppendError> {
        unimplemented!()
    }

    /// Proves that this incarnation was not fenced at some instant after the call (4.7).
    ///
    /// # Errors
    /// When the log has ended.
    pub async fn barrier(&self) -> Result<(), Ended> {
        unimplemented!()
    }

    /// Hands over a segment that the metadata log has opened.
    pub fn add_spare(&self, _segment: OpenSegment) {
        unimplemented!()
    }

    /// Whether a spare segment is wanted.
    #[must_use]
    pub fn wants_spare(&self) -> watch::Receiver<bool> {
        unimplemented!()
    }

    /// Closes the open segment, even a small one, and goes on in the next.
    pub fn roll(&self) {
        unimplemented!()
    }

    /// Closes the open segment and gives back every spare as closed and empty: nothing can be
    /// appended afterwards.
    pub fn drain(&self) {
        unimplemented!()
    }

    /// The next closed segment, in order, each once. Waits for ever when there is none to come.
    pub async fn next_closed(&self) -> ClosedSegment {
        unimplemented!()
    }

    /// The entries of a closed segment, from memory where they still are. Blocking.
    ///
    /// # Errors
    /// `Gone` when it was trimmed.
    pub fn read_segment(&self, _id: SegmentId) -> Result<EntryReader, crate::wal::Error> {
        unimplemented!()
    }

    /// The batches of the entry at `position`, from the file. Blocking.
    ///
    /// # Errors
    /// `Gone` when the segment was trimmed: the bucket has the data.
    pub fn read_at(&self, _position: WalPosition) -> Result<Vec<EntryBatch>, crate::wal::Error> {
        unimplemented!()
    }

    /// Gives an uploaded segment's files back to the pool.
    pub fn trim(&self, _segment: SegmentId) {
        unimplemented!()
    }

    /// What is not yet in the bucket.
    #[must_use]
    pub fn at_risk(&self) -> AtRisk {
        unimplemented!()
    }

    /// Resolves when the log takes no more.
    pub async fn ended(&self) -> EndReason {
        unimplemented!()
    }

    /// Commits what was appended and ends the WAL thread.
    pub async fn stop(&self) {
        unimplemented!()
    }
}

/// Entries of one segment in order. Blocking.
pub struct EntryReader {
    _private: (),
}

impl Iterator for EntryReader {
    type Item = Result<Entry, crate::wal::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}
