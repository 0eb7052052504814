//! Checked blocks on the local disk: a second chance before the bucket is asked again.
//!
//! Owns: the folder, its writer thread, what is offered to it. Does not own: the bucket, memory,
//! what a block is. Invariants: a failure here is a miss, never an error; an offer never waits: it
//! is dropped when the writer is busy; queued bytes are bounded; a block that leaves was checked
//! for key, length and CRC.
//!
//! The disk may be the WAL's, so writes are paced, and nothing is synced (ADR 0009).

mod format;
mod pace;
mod ring;
#[cfg(test)]
mod tests;
mod tier;

use std::{
    collections::VecDeque,
    fmt,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;

use self::{
    pace::Pace,
    tier::{Error, Offered, Opening, Shared, Tier},
};
use super::{BlockKey, Metrics, Wanted};
use crate::{
    env::{Env, task},
    types::{ByteCount, ClusterId, ObjectId},
};

/// Least budget that is worth a folder.
pub const LEAST_BUDGET: ByteCount = ByteCount::mib(64);
/// Written at most in a second, and at once: a disk of 100 MB/s still syncs in between.
const BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;
const BURST: u64 = 16 * 1024 * 1024;
/// How often free space is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a tier needs.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Disk and clock.
    pub env: Env,
    /// Its folder, its own.
    pub folder: PathBuf,
    /// Whose blocks; those of another cluster are deleted.
    pub cluster: ClusterId,
    /// Bytes of files at most.
    pub budget: ByteCount,
    /// Bytes of memory that may wait for the writer; more are not kept.
    pub queue: ByteCount,
    /// Metrics.
    pub metrics: Metrics,
}

/// What of the tier a gauge shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) bytes: u64,
    pub(super) budget: u64,
    pub(super) blocks: usize,
}

/// A handle of the tier; clones are the same one. The last one dropped ends its thread.
#[derive(Clone)]
pub struct DiskTier {
    shared: Arc<Shared>,
    door: Arc<Door>,
}

/// What is offered and waits; the thread holds the inner part, so that a door without handles
/// closes it.
struct Door {
    queue: Arc<Queue>,
    most_queued: u64,
    metrics: Metrics,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    offers: VecDeque<Vec<Offered>>,
    bytes: u64,
    closed: bool,
}

impl fmt::Debug for DiskTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskTier").finish_non_exhaustive()
    }
}

impl DiskTier {
    /// Starts the tier; it has nothing until its thread has looked through the folder.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let metrics = parts.metrics.clone();
        let shared = Arc::new(Shared::new(metrics.clone()));
        let (queue, most_queued) = (Arc::new(Queue::default()), parts.queue.0);
        let thread = {
            let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
            task::thread("cache-disk", move || live(&parts, &shared, &queue))?
        };
        let thread = Mutex::new(Some(thread));
        Ok(Self { shared, door: Arc::new(Door { queue, most_queued, metrics, thread }) })
    }

    /// Whether a block is said to be here; reading it may find that it is not.
    pub(super) fn has(&self, object: ObjectId, block: &Wanted) -> bool {
        self.shared.has(&BlockKey::of(object, &block.range), block.crc)
    }

    /// The blocks, each if it is here and whole; waits for the disk.
    pub(super) async fn read(&self, object: ObjectId, blocks: Vec<Wanted>) -> Vec<Option<Bytes>> {
        let (shared, count) = (Arc::clone(&self.shared), blocks.len());
        let read = task::Tasks::blocking(move || {
            let one = |block: &Wanted| shared.read(&BlockKey::of(object, &block.range), block.crc);
            blocks.iter().map(one).collect()
        });
        // The runtime is going down.
        read.await.unwrap_or_else(|_| vec![None; count])
    }

    /// Offers adjacent blocks, all or none of which are kept: single ones would be holes in what
    /// one request to the bucket can fetch. Never waits.
    pub(super) fn offer(&self, object: ObjectId, blocks: &[(Wanted, Bytes)]) {
        if !self.shared.is_open() {
            return;
        }
        let bytes = blocks.iter().map(|(block, _)| block.range.end - block.range.start).sum();
        let mut waiting = self.door.queue.lock();
        if waiting.bytes.saturating_add(bytes) > self.door.most_queued {
            self.door.metrics.disk_dropped_bytes.inc_by(bytes);
            return;
        }
        waiting.bytes += bytes;
        let offered = |(block, bytes): &(Wanted, Bytes)| Offered {
            key: BlockKey::of(object, &block.range),
            crc: block.crc,
            bytes: bytes.clone(),
        };
        waiting.offers.push_back(blocks.iter().map(offered).collect());
        drop(waiting);
        self.door.queue.changed.notify_one();
    }

    /// Ends the thread and waits for it; what is offered and not written is lost.
    pub async fn stop(&self) {
        self.door.queue.close();
        let thread = self.door.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let joined = task::Tasks::blocking(move || thread.map(JoinHandle::join));
        drop(joined.await);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next offer; `Err` at the end, `Ok(None)` after `patience` without one.
    fn next(&self, patience: Duration) -> Result<Option<Vec<Offered>>, ()> {
        let quiet = |waiting: &mut Waiting| !waiting.closed && waiting.offers.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), patience, quiet);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return Err(());
        }
        Ok(waiting.offers.pop_front())
    }

    /// The offer is written or given up: others may wait in its stead.
    fn done(&self, bytes: u64) {
        let mut waiting = self.lock();
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
    }

    /// Waits so long; `false` when the end comes first.
    fn rest(&self, time: Duration) -> bool {
        let open = |waiting: &mut Waiting| !waiting.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), time, open);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}

/// The thread: opens the folder, then writes what is offered.
fn live(parts: &Parts, shared: &Arc<Shared>, queue: &Queue) {
    let Parts { env, folder, cluster, budget, metrics, .. } = parts.clone();
    let (disk, shown) = (Arc::clone(&env.disk), folder.display().to_string());
    let opening = Opening { disk, folder, cluster, budget, metrics };
    let mut tier = match Tier::open(opening, Arc::clone(shared), || !queue.lock().closed) {
        Ok(tier) => tier,
        Err(Error::Stopped) => return,
        Err(error) => {
            tracing::warn!(%error, folder = shown, "no cache on disk, reads go to the bucket");
            return;
        }
    };
    let now = || env.clock.boot();
    let mut pace = Pace::new(BYTES_PER_SECOND, BURST, now());
    let mut looked = now();
    while let Ok(offer) = queue.next(LOOK_EVERY) {
        if let Some(blocks) = offer {
            let bytes = blocks.iter().map(|block| block.key.end - block.key.start).sum();
            if !queue.rest(pace.take(bytes, now())) {
                return;
            }
            tier.write(&blocks);
            drop(blocks);
            queue.done(bytes);
        }
        if now().saturating_sub(looked) >= LOOK_EVERY {
            looked = now();
            if let Err(error) = tier.look_at_room() {
                tier.fail(&error);
            }
        }
        if !shared.is_open() {
            // A reader found the disk failing, perhaps.
            tier.leave();
            return;
        }
    }
}
