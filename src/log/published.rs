//! The published side of partitions: the metadata says which object, `Objects` reads it.
//!
//! Owns: the way from an offset or a time to a run, over fresh runs and manifest alike; reading
//! ahead along it. Does not own: caches, object bytes, retries of old plans, how far ahead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future;

use super::{
    ahead::{Plan, Readers},
    history::{History, HistoryError},
    objects::{self, ObjectRef, Objects, Place, ReadError},
    retention,
};
use crate::{
    cache::{AheadOutcome, Coming, ReaderId},
    cluster::{Cluster, State},
    env::{clock::Clock, task::Tasks},
    object::ProducerSnapshot,
    record::BatchView,
    store::Store,
    types::{LeaderEpoch, Millis, Offset, PartitionId},
};

/// How often raising a log start is tried: others change the partition too.
const TRIES: u32 = 3;

/// History by the cluster's metadata and the bucket; clones are the same one.
#[derive(Clone)]
pub(super) struct Published {
    cluster: Cluster,
    objects: Objects,
    store: Store,
    clock: Arc<dyn Clock>,
    /// Owner of what reads ahead.
    tasks: Tasks,
    readers: Arc<Mutex<Readers>>,
}

/// A run, whoever names it.
struct Run {
    at: ObjectRef,
    base: Offset,
    max_timestamp: Millis,
}

impl Published {
    pub(super) fn new(
        cluster: Cluster,
        objects: Objects,
        store: Store,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
    ) -> Self {
        let readers = Arc::new(Mutex::new(Readers::new(objects.most_ahead())));
        Self { cluster, objects, store, clock, tasks, readers }
    }

    /// The object to read `offset` of a partition from; `None` when nothing published covers it.
    async fn place(
        &self,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Option<ObjectRef>, HistoryError> {
        match self.cluster.with(|state| objects::locate(state, partition, offset)) {
            Place::Nowhere => Ok(None),
            Place::Object(at) => Ok(Some(at)),
            Place::Manifest(version) => {
                let manifest = self.objects.manifest(partition, version).await?;
                Ok(manifest.find(offset).map(ObjectRef::of_run))
            }
        }
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a reader got and reads ahead of it.
    fn go_on(&self, reader: ReaderId, from: Offset, batches: &[Bytes], waited: bool) {
        let last = batches.last().and_then(|last| BatchView::parse(last.clone()).ok());
        let Some(next) = last.map(|last| last.end_offset()) else { return };
        let (plan, settled) = {
            let mut readers = self.readers();
            let plan = readers.finish(reader, from..next, waited, self.clock.boot());
            (plan, readers.settle())
        };
        self.objects.metrics().note_ahead(AheadOutcome::Used, settled.used);
        self.objects.metrics().note_ahead(AheadOutcome::Wasted, settled.wasted);
        if let Some(plan) = plan {
            let published = self.clone();
            self.tasks.spawn("read-ahead", async move {
                // A read that comes to it finds out why, and tells its client.
                let coming = published.read_ahead(plan).await;
                published.readers().asked(plan.reader);
                let coming = coming.unwrap_or_default().into_iter().map(Coming::bytes);
                future::join_all(coming).await;
                published.readers().done(plan.reader);
            });
        }
    }

    /// Asks for what is planned, from object to object.
    async fn read_ahead(&self, plan: Plan) -> Result<Vec<Coming<ReadError>>, HistoryError> {
        let Plan { reader, partition, mut from, bytes: mut left } = plan;
        let mut coming = Vec::new();
        while left > 0
            && let Some(at) = self.place(partition, from).await?
        {
            let ahead = self.objects.ahead(reader, &at, partition, from, left).await?;
            let bytes = ahead.blocks.iter().map(|(_, bytes)| bytes).sum();
            if !self.readers().claim(reader, &ahead.blocks) {
                break;
            }
            self.objects.metrics().note_ahead(AheadOutcome::Asked, bytes);
            left = left.saturating_sub(bytes);
            from = ahead.end;
            coming.extend(ahead.coming);
        }
        Ok(coming)
    }

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
        let Some(at) = self.place(partition, from).await? else { return Ok(Vec::new()) };
        let reader = self.readers().begin(partition, from, self.clock.boot());
        let read = self.objects.read(reader, &at, partition, from, max_bytes).await?;
        let batches = read.batches;
        // A single batch beyond the limit may be left where it is.
        if batches.iter().map(Bytes::len).sum::<usize>() <= max_bytes {
            self.go_on(reader, from, &batches, read.waited);
        }
        Ok(batches)
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

    async fn max_timestamp(
        &self,
        partition: PartitionId,
        from: Offset,
    ) -> Result<Option<Millis>, HistoryError> {
        let mut greatest = None;
        for run in self.runs(partition, from).await? {
            let of_run = if run.base < from {
                let footer = self.objects.footer(&run.at).await?;
                let found = footer.find(partition, from).ok_or(HistoryError::Gone)?;
                let first = found.block_of(from).unwrap_or_default();
                found.blocks.iter().skip(first).map(|block| block.max_timestamp).max()
            } else {
                Some(run.max_timestamp)
            };
            greatest = greatest.max(of_run);
        }
        Ok(greatest)
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
                tracing::error!(
                    %error,
                    advice = "put the object back from a backup or an older version of it; until \
                              then readers of these records get errors",
                    "the bucket holds damaged bytes"
                );
                Self::Away(error.to_string())
            }
        }
    }
}
