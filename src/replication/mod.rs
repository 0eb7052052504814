//! One incarnation's write-ahead log: appended, synced by every member, committed in order.
//!
//! Owns: the segment protocol as pure cores (`writer`, `member`, `recovery`), the WAL thread that
//! drives them with the local disk as member zero (`driver`), buffers and the commit futures.
//! Does not own: what a batch means, the metadata log, upload.
//! Invariants: a commit answers Ok only when every member has synced the entry; after the first
//! disk error nothing is committed any more; order of `append` calls is the order in the log.

mod commit;
mod driver;
mod error;
mod files;
mod group;
mod handle;
mod member;
mod metrics;
mod reader;
mod recover;
mod recovery;
mod resident;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

pub use commit::Commit;
pub use error::{AppendError, CommitError, Ended, Error};
pub use handle::Replication;
pub use metrics::Metrics;
pub use reader::EntryReader;
pub use recover::{Recovered, RecoveredSegment, Unrecoverable, recover};

use crate::{
    env::Env,
    types::{ByteCount, Incarnation, LeaderEpoch, Millis, Offset, PartitionId, SegmentId},
    wal::{Folder, OpenSegment, WalPosition},
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
    /// Memory for batches that wait for the disk, with the buffer that is being filled.
    pub waiting: ByteCount,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            budget: ByteCount::mib(4096),
            roll_bytes: ByteCount::mib(64),
            roll_after: Duration::from_secs(10),
            memory: ByteCount::mib(128),
            waiting: ByteCount::mib(32),
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

/// A place among what waits for the disk, until it is on its way there.
pub type Room = OwnedSemaphorePermit;

/// One batch to append.
pub struct Append<'a> {
    /// The partition.
    pub partition: PartitionId,
    /// The reign.
    pub leader_epoch: LeaderEpoch,
    /// The stamped batch header; the CRC it states has been checked, or computed here.
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
    /// Its place among what waits for the disk, for who would rather wait than be refused.
    pub room: Option<Room>,
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
