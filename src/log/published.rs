//! The published side of partitions: the metadata says which object, `Objects` reads it.
//!
//! Owns: the way from an offset or a time to a run, over fresh runs and manifest alike.
//! Does not own: caches, object bytes, retries of old plans.

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    history::{History, HistoryError},
    objects::{self, ObjectRef, Objects, Place, ReadError},
    retention,
};
use crate::{
    cluster::{Cluster, State},
    object::ProducerSnapshot,
    store::Store,
    types::{LeaderEpoch, Millis, Offset, PartitionId},
};

/// How often raising a log start is tried: others change the partition too.
const TRIES: u32 = 3;

/// History by the cluster's metadata and the bucket.
pub(super) struct Published {
    pub(super) cluster: Cluster,
    pub(super) objects: Objects,
    pub(super) store: Store,
}

/// A run, whoever names it.
struct Run {
    at: ObjectRef,
    base: Offset,
    max_timestamp: Millis,
}

impl Published {
    /// Published runs that end above `from`, oldest first.
    async fn runs(&self, partition: PartitionId, from: Offset) -> Result<Vec<Run>, HistoryError> {
        let (manifest, fresh) = self.cluster.with(|state| plan(state, partition, from));
        let mut runs = Vec::new();
        if let Some(version) = manifest {
            let manifest = self.objects.manifest(partition, version).await?;
            runs.extend(manifest.runs_from(from).iter().map(|run| Run {
                at: ObjectRef::of_run(run),
                base: run.base,
                max_timestamp: run.max_timestamp,
            }));
        }
        runs.extend(fresh);
        Ok(runs)
    }
}

#[async_trait]
impl History for Published {
    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, HistoryError> {
        let at = match self.cluster.with(|state| objects::locate(state, partition, from)) {
            Place::Nowhere => return Ok(Vec::new()),
            Place::Object(at) => at,
            Place::Manifest(version) => {
                let manifest = self.objects.manifest(partition, version).await?;
                match manifest.find(from) {
                    None => return Ok(Vec::new()),
                    Some(run) => ObjectRef::of_run(run),
                }
            }
        };
        Ok(self.objects.read(&at, partition, from, max_bytes).await?)
    }

    async fn seek(
        &self,
        partition: PartitionId,
        time: Millis,
        from: Offset,
    ) -> Result<Option<Offset>, HistoryError> {
        for run in self.runs(partition, from).await? {
            if run.max_timestamp < time {
                continue;
            }
            let footer = self.objects.footer(&run.at).await?;
            let offset = from.max(run.base);
            let found = footer.find(partition, offset).ok_or(HistoryError::Gone)?;
            let first = found.block_of(offset).unwrap_or_default();
            let mut blocks = found.blocks.iter().skip(first);
            if let Some(block) = blocks.find(|block| block.max_timestamp >= time) {
                return Ok(Some(block.base.max(from)));
            }
        }
        Ok(None)
    }

    async fn max_timestamp(&self, partition: PartitionId) -> Result<Option<Millis>, HistoryError> {
        let start = self.cluster.with(|state| state.partition(partition).map(|p| p.log_start));
        let Some(start) = start else { return Ok(None) };
        let runs = self.runs(partition, start).await?;
        Ok(runs.iter().map(|run| run.max_timestamp).max())
    }

    async fn producers(
        &self,
        partition: PartitionId,
    ) -> Result<Vec<ProducerSnapshot>, HistoryError> {
        let newest = self.cluster.with(|state| objects::newest(state, partition));
        Ok(self.objects.producers_of(partition, newest).await?)
    }

    fn end_of_epoch(
        &self,
        partition: PartitionId,
        epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        self.cluster.with(|state| state.partition(partition)?.end_of_epoch(epoch, log_end))
    }

    fn epoch_at(&self, partition: PartitionId, offset: Offset) -> Option<LeaderEpoch> {
        self.cluster.with(|state| state.partition(partition)?.epoch_at(offset))
    }

    async fn raise_start(&self, partition: PartitionId, to: Offset) -> Result<(), HistoryError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (cluster, objects) = (&self.cluster, &self.objects);
            let raised =
                retention::raise_log_start(cluster, objects, &self.store, partition, to).await;
            let Err(error) = raised else { return Ok(()) };
            let start = cluster.with(|state| state.partition(partition).map(|p| p.log_start));
            match start {
                Some(start) if start >= to => return Ok(()),
                Some(_) if tries < TRIES => {}
                _ => return Err(HistoryError::Away(error.to_string())),
            }
        }
    }
}

/// The manifest version and the fresh runs that hold records from `from` on.
fn plan(state: &State, partition: PartitionId, from: Offset) -> (Option<u64>, Vec<Run>) {
    let Some(found) = state.partition(partition) else { return (None, Vec::new()) };
    let manifest = found.manifest.filter(|manifest| manifest.end > from && manifest.runs > 0);
    let fresh = found.runs.iter().filter(|run| run.end > from).filter_map(|run| {
        let at = ObjectRef::of(state, run.object)?;
        Some(Run { at, base: run.base, max_timestamp: run.max_timestamp })
    });
    (manifest.map(|manifest| manifest.version), fresh.collect())
}

impl From<ReadError> for HistoryError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone => Self::Gone,
            ReadError::Away(failure) => Self::Away(failure.to_string()),
            ReadError::Object(_) | ReadError::Manifest(_) => {
                tracing::error!(%error, "the bucket holds damaged bytes");
                Self::Away(error.to_string())
            }
        }
    }
}
