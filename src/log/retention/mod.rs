//! Retention: what has had its time leaves the metadata, and later the bucket.
//!
//! Owns: when partitions are looked at, moving fresh runs into manifests, raising log starts,
//! clearing deleted partitions, deleting unlinked objects after the grace.
//! Does not own: orphans (`sweep`), compaction. Invariants: an object is deleted from the bucket
//! only after the record that unlinked it and the grace (H44), and by nobody else than here and
//! the sweep; nothing is deleted because something failed (H45); without need there is no request.

mod metrics;
mod partition;
mod plan;
mod purge;

use std::time::Duration;

use futures::{StreamExt, future, stream};
use tracing::{info, warn};

pub use metrics::Metrics;
pub use partition::raise_log_start;

use crate::{
    cluster::{Cluster, CommitError, Record, State},
    env::{Env, clock, task::Tasks},
    log::{
        objects::{Objects, ReadError},
        upload::TopicConfigs,
    },
    metrics::level,
    store::{Failure, Store},
    types::{Millis, PartitionId},
};

/// Partitions looked at, or requests to the bucket, at a time.
const PARALLEL: usize = 8;
/// Names in one record at most, so that no entry of the log grows without bound.
const BATCH: usize = 1000;

/// Times of retention.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often partitions are looked at.
    pub check_every: Duration,
    /// A fresh run moves to its partition's manifest when it is this old, the others with it.
    pub manifest_after: Duration,
    /// How often deletions that are due are done.
    pub purge_every: Duration,
    /// How long an unlinked object stays for those still reading it.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            check_every: Duration::from_secs(300),
            manifest_after: Duration::from_secs(3600),
            purge_every: Duration::from_secs(60),
            grace: Duration::from_secs(600),
        }
    }
}

/// What retention works with.
#[derive(Clone)]
pub struct Retention {
    /// The metadata, of which this broker is the controller.
    pub cluster: Cluster,
    /// The bucket.
    pub store: Store,
    /// Published records, for manifests and producer state.
    pub objects: Objects,
    /// Clock and chance.
    pub env: Env,
    /// How topics are configured.
    pub configs: TopicConfigs,
    /// Times.
    pub settings: Settings,
    /// Counters.
    pub metrics: Metrics,
}

/// Why a step was not done; the next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metadata log refused it or is no longer this broker's to write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// What it takes could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bucket did not take it.
    #[error(transparent)]
    Bucket(#[from] Failure),
    /// Runs that do not tile.
    #[error(transparent)]
    Manifest(#[from] crate::manifest::Error),
}

impl Retention {
    /// Runs it until `tasks` stop.
    pub fn start(self, tasks: &Tasks) {
        let (checks, purges, stopping) = (self.clone(), self, tasks.stopping());
        let stop = stopping.clone();
        tasks.spawn("retention", async move {
            stop.run_until_cancelled(checks.check_for_ever()).await;
        });
        tasks.spawn("purge", async move {
            stopping.run_until_cancelled(purges.purge_for_ever()).await;
        });
    }

    async fn check_for_ever(self) {
        loop {
            clock::sleep(self.settings.check_every).await;
            self.check_once().await;
        }
    }

    async fn purge_for_ever(self) {
        loop {
            clock::sleep(self.settings.purge_every).await;
            self.purge_once().await;
        }
    }

    /// One round over all partitions.
    pub async fn check_once(&self) {
        if self.store.away() {
            return;
        }
        let now = self.env.clock.wall();
        let wanted = self.cluster.with(|state| self.due(state, now));
        self.metrics.rounds.inc();
        self.metrics.due.set(level(wanted.len()));
        let looked_at = stream::iter(wanted).map(|partition| async move {
            let proposal = self.told(&partition, self.look_at(partition, now).await)?;
            (!proposal.is_empty()).then_some((partition, proposal))
        });
        let changed: Vec<_> =
            looked_at.buffer_unordered(PARALLEL).filter_map(future::ready).collect().await;
        // All at once, so that they share entries of the metadata log.
        let commits = changed.into_iter().map(|(partition, proposal)| async move {
            let committed = self.cluster.commit(proposal).await;
            self.told(&partition, committed.map_err(Error::from)).is_some()
        });
        let done = future::join_all(commits).await;
        let (partitions, failed) = (done.len(), done.iter().filter(|done| !**done).count());
        if partitions > 0 {
            info!(partitions, failed, "retention");
        }
        self.clear_deleted().await;
    }

    /// Partitions worth a closer look; from the metadata alone, for there may be many.
    fn due(&self, state: &State, now: Millis) -> Vec<PartitionId> {
        let mut due = Vec::new();
        for topic in state.topics.values() {
            let policy = plan::Policy::of(&(self.configs)(state, topic));
            let partitions = (0..).zip(&topic.partitions).filter(|(_, partition)| {
                partition::is_due(partition, &policy, now, self.settings.manifest_after)
            });
            due.extend(partitions.map(|(index, _)| PartitionId { topic: topic.id, index }));
        }
        due
    }

    /// Takes the runs of deleted partitions out of the books.
    async fn clear_deleted(&self) {
        let deleted: Vec<_> = self.cluster.with(|state| {
            let deleted = state.deleted_partitions.iter();
            deleted.map(|(id, deleted)| (*id, *deleted)).collect()
        });
        for (id, deleted) in deleted {
            let step = self.clear(id, deleted.manifest.version, deleted.cleared).await;
            self.told(&id, step);
        }
    }

    /// The outcome of a step that the next round repeats, told once when it failed.
    fn told<T>(&self, what: &impl std::fmt::Debug, step: Result<T, Error>) -> Option<T> {
        step.inspect_err(|error| {
            self.metrics.failed.inc();
            warn!(?what, %error, "retention step failed, trying again later");
        })
        .ok()
    }

    async fn clear(&self, id: PartitionId, version: u64, cleared: u64) -> Result<(), Error> {
        let manifest = self.objects.manifest(id, version).await?;
        let cleared = usize::try_from(cleared).unwrap_or(usize::MAX);
        let left = manifest.runs().get(cleared..).unwrap_or_default();
        let parts = left.chunks(BATCH).map(|runs| runs.iter().map(|run| run.object).collect());
        let parts: Vec<Vec<_>> = parts.collect();
        let last = parts.len().saturating_sub(1);
        for (at, objects) in parts.into_iter().enumerate() {
            let record =
                Record::DeletedPartitionCleared { partition: id, objects, done: at == last };
            self.cluster.commit(vec![record]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
