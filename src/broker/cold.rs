//! What reads old records: built once a process, for what it holds outlives incarnations.
//!
//! Owns: budgets chosen from what the machine has. Does not own: the tiers.

use std::path::Path;

use super::Broker;
use crate::{
    cache::{DiskParts, DiskTier, LEAST_BUDGET},
    env::Env,
    log::objects::{self, Objects},
    store::{BucketUrl, Store},
    types::{ByteCount, ClusterId},
};

/// Blocks that wait for the disk tier; more are no use to a disk that does not keep up.
const MOST_QUEUED: ByteCount = ByteCount::mib(16);
/// The disk tier's budget when none is given.
const DISK_BUDGET: ByteCount = ByteCount::mib(8 * 1024);

impl Broker {
    /// The reader of published records and its disk tier, if it has one.
    pub(super) fn cold(&self, store: &Store, cluster: ClusterId) -> (Objects, Option<DiskTier>) {
        let disk = self.disk_tier(cluster);
        let cold = self.config.memory.cold;
        let queue = if disk.is_some() { self.disk_queue() } else { ByteCount(0) };
        let objects = Objects::new(objects::Parts {
            store: store.for_bulk_reads(),
            memory: self.config.memory.cache,
            in_flight: ByteCount(cold.0.saturating_sub(queue.0)),
            disk: disk.clone(),
            background: self.cold_threads.clone(),
            bugs: self.env.bugs,
            metrics: self.metrics.cache.clone(),
        });
        (objects, disk)
    }

    /// What waits to be written to the disk tier is on its way too.
    fn disk_queue(&self) -> ByteCount {
        MOST_QUEUED.min(ByteCount(self.config.memory.cold.0 / 4))
    }

    fn disk_tier(&self, cluster: ClusterId) -> Option<DiskTier> {
        let folder = self.config.cache_dir.clone();
        let budget = self.config.cache_disk.unwrap_or_else(|| {
            // A folder or memory is no slower than the cache would be.
            let near = matches!(self.url, BucketUrl::Folder(_) | BucketUrl::Memory);
            if near {
                ByteCount(0)
            } else {
                DISK_BUDGET.min(ByteCount(room(&self.env, &folder) / 4))
            }
        });
        if budget < LEAST_BUDGET {
            return None;
        }
        let (env, metrics) = (self.env.clone(), self.metrics.cache.clone());
        let queue = self.disk_queue();
        let started = DiskTier::start(DiskParts { env, folder, cluster, budget, queue, metrics });
        started.inspect_err(|error| tracing::warn!(%error, "no cache on disk")).ok()
    }
}

/// Bytes the tier could have if everybody else stood still: what is free and what its files hold.
fn room(env: &Env, folder: &Path) -> u64 {
    let disk = &env.disk;
    let names = disk.list(folder).unwrap_or_default();
    let length = |name: &String| disk.open(&folder.join(name), false)?.len();
    let held: u64 = names.iter().map(|name| length(name).unwrap_or(0)).sum();
    // The folder may have to be made yet.
    let free = folder.ancestors().find_map(|folder| disk.free_bytes(folder).ok());
    free.unwrap_or(0).saturating_add(held)
}
