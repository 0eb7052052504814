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
mod driver;
mod error;
mod files;
mod group;
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

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

pub use commit::Commit;
pub use error::{AppendError, CommitError, Ended, Error};
pub use metrics::Metrics;
pub use reader::EntryReader;
pub use recover::{Recovered, RecoveredSegment, Unrecoverable, recover};

use driver::Driver;
use shared::Shared;

use crate::{
    env::{
        Env,
        task::{self, Tasks},
    },
    types::{ByteCount, Incarnation, LeaderEpoch, Millis, Offset, PartitionId, SegmentId},
    wal::{self, EntryBatch, Folder, OpenSegment, WalPosition},
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

/// Handle of one incarnation's log; clones share it. When the last is gone the log stops where it
/// stands, as a crash would.
#[derive(Clone)]
pub struct Replication {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.ask(|asked| asked.gone = true);
    }
}

impl Replication {
    /// Prepares the first segment's file and starts the WAL thread, which writes its header.
    /// Blocking. Without room for the file it starts all the same and goes on when there is room.
    ///
    /// # Errors
    /// `NotRegistered`, `Ensemble` or the disk's.
    pub fn start(parts: Parts) -> Result<Self, Error> {
        let identity = parts.folder.identity();
        if identity.incarnation != Some(parts.incarnation) {
            return Err(Error::NotRegistered(parts.incarnation));
        }
        let me = identity.storage;
        let alone = |open: &OpenSegment| {
            let [member] = open.ensemble.as_slice() else { return false };
            member.storage == me && open.id.incarnation == parts.incarnation
        };
        if let Some(open) = parts.first.iter().find(|open| !alone(open)) {
            return Err(Error::Ensemble(open.id));
        }
        let cluster = identity.cluster.unwrap_or_default();
        let first = parts.first.clone();
        let shared = Arc::new(Shared::new(parts));
        shared.prepare(first)?;
        let driver = Driver::new(shared.clone(), cluster, me);
        let files = shared.clone();
        let threads = vec![
            task::thread("wal", move || driver.run()).map_err(wal::Error::from)?,
            task::thread("wal-files", move || files::run(&files)).map_err(wal::Error::from)?,
        ];
        let owner = Owner { shared: shared.clone(), threads: Mutex::new(threads) };
        Ok(Self { shared, owner: Arc::new(owner) })
    }

    /// Copies a batch into the log. Cheap and never blocks on the disk.
    ///
    /// # Errors
    /// Nothing was appended then.
    pub fn append(&self, append: Append<'_>) -> Result<Commit, AppendError> {
        self.shared.append(&append)
    }

    /// Proves that this incarnation was not fenced at some instant after the call (4.7).
    ///
    /// # Errors
    /// When the log has ended.
    pub async fn barrier(&self) -> Result<(), Ended> {
        let commit = self.shared.barrier().ok_or(Ended)?;
        commit.await.map_err(|CommitError| Ended)
    }

    /// Hands over a segment that the metadata log has opened; in the order of their sequence.
    pub fn add_spare(&self, segment: OpenSegment) {
        self.shared.add_spare(segment);
    }

    /// Whether a spare segment is wanted.
    #[must_use]
    pub fn wants_spare(&self) -> watch::Receiver<bool> {
        self.shared.wants_spare.subscribe()
    }

    /// Closes the open segment, even a small one, and goes on in the next as soon as there is one.
    pub fn roll(&self) {
        self.shared.ask(|asked| asked.roll = true);
    }

    /// Commits what was appended, closes the open segment and gives back every spare as closed and
    /// empty: nothing can be appended afterwards.
    pub fn drain(&self) {
        self.shared.ask(|asked| asked.drain = true);
    }

    /// The next closed segment, in order, each once. Waits for ever when there is none to come.
    pub async fn next_closed(&self) -> ClosedSegment {
        loop {
            let told = self.shared.closed.notified();
            let next = self.shared.state().closed.pop_front();
            match next {
                Some(closed) => return closed,
                None => told.await,
            }
        }
    }

    /// The entries of a closed segment, from memory where they still are. Blocking.
    ///
    /// # Errors
    /// `Gone` when it was trimmed or never used.
    pub fn read_segment(&self, id: SegmentId) -> Result<EntryReader, wal::Error> {
        let entries = self.shared.state().segments.get(&id).map(|segment| segment.entries);
        let entries = entries.ok_or(wal::Error::Gone(id))?;
        EntryReader::new(&self.shared.folder, id, entries, Some(self.shared.clone()))
    }

    /// The batches of the entry at `position`, from the file. Blocking.
    ///
    /// # Errors
    /// `Gone` when the segment was trimmed: the bucket has the data.
    pub fn read_at(&self, position: WalPosition) -> Result<Vec<EntryBatch>, wal::Error> {
        Ok(self.shared.folder.read_at(position)?.batches)
    }

    /// Gives an uploaded segment's files back to the pool, soon.
    pub fn trim(&self, segment: SegmentId) {
        self.shared.trim(segment);
    }

    /// What is not yet in the bucket.
    #[must_use]
    pub fn at_risk(&self) -> AtRisk {
        self.shared.state().at_risk()
    }

    /// Resolves when the log takes no more.
    pub async fn ended(&self) -> EndReason {
        let mut ended = self.shared.ended.subscribe();
        let reason = ended.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or(EndReason::Stopped)
    }

    /// Commits what was appended and ends the threads.
    pub async fn stop(&self) {
        self.shared.ask(|asked| asked.stop = true);
        self.ended().await;
        let mut threads = self.owner.threads.lock().unwrap_or_else(|p| p.into_inner());
        let threads = std::mem::take(&mut *threads);
        let join = || threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        // A thread that panicked has told so itself.
        drop(Tasks::blocking(join).await);
    }
}
