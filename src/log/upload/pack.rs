//! Sorts the entries of a WAL segment into objects.
//!
//! Owns: grouping by partition, retention classes, producer snapshots at each run's end.
//! Does not own: reading the WAL, the bucket, publishing. Invariants: what is deleted by time or
//! size and what is kept by key never share an object; a run's snapshot is the fold of the whole
//! published log up to its end (I11); entries of deleted partitions are left out.

use std::{collections::BTreeMap, sync::Arc};

use super::{Error, Settings, ids::Ids};
use crate::{
    cluster::{Cluster, Record, State, Topic, configs::TopicConfig},
    env::{
        Env,
        bugs::{Bug, Bugs},
    },
    log::{
        objects::{self, Objects, ReadError},
        producer::{Moment, Producers},
        upload::put::Patience,
    },
    object::{BatchInput, Builder, Built, RunInput},
    record::BatchView,
    types::{Incarnation, Offset, PartitionId},
    wal::{self, Entry},
};

/// Ids asked for at a time; one metadata record serves that many objects.
const IDS: u64 = 1000;

/// How a topic is configured, by the layers of the broker it runs on.
pub type TopicConfigs = Arc<dyn Fn(&State, &Topic) -> TopicConfig + Send + Sync>;

/// Makes objects out of entries, in the order of the log.
pub(in crate::log) struct Packer {
    pub(in crate::log) cluster: Cluster,
    pub(in crate::log) objects: Objects,
    pub(in crate::log) env: Env,
    pub(in crate::log) ids: Ids,
    /// Under whose ids.
    pub(in crate::log) incarnation: Incarnation,
    pub(in crate::log) configs: TopicConfigs,
    pub(in crate::log) settings: Settings,
    /// Producer state where the last run packed ended.
    pub(in crate::log) folded: BTreeMap<PartitionId, Folded>,
}

/// Producers of a partition at `end`.
#[derive(Clone, Debug)]
pub(in crate::log) struct Folded {
    end: Offset,
    producers: Producers,
}

/// Some entries in a row, by partition.
#[derive(Debug, Default)]
pub(in crate::log) struct Stretch {
    batches: BTreeMap<PartitionId, Vec<BatchInput>>,
    bytes: u64,
    /// Whether the reader has no more.
    pub(in crate::log) last: bool,
}

/// What is deleted together (correctness.md 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Topics deleted by time or size alone.
    ByAge,
    /// Compacted and internal topics.
    ByKey,
}

impl Stretch {
    /// The next entries until there are `bytes` of them. Blocking.
    pub(in crate::log) fn read(
        entries: &mut impl Iterator<Item = Result<Entry, wal::Error>>,
        bytes: u64,
    ) -> Result<Self, Error> {
        let mut stretch = Self::default();
        while stretch.bytes < bytes {
            match entries.next() {
                Some(entry) => stretch.add(entry?)?,
                None => {
                    stretch.last = true;
                    break;
                }
            }
        }
        Ok(stretch)
    }

    fn add(&mut self, entry: Entry) -> Result<(), Error> {
        for batch in entry.batches {
            let view = BatchView::parse(batch.bytes.clone()).map_err(|_| Error::Batch {
                partition: batch.partition,
                base: batch.base_offset,
            })?;
            self.bytes += u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX);
            self.batches.entry(batch.partition).or_default().push(BatchInput {
                bytes: batch.bytes,
                base: batch.base_offset,
                end: batch.end_offset,
                max_timestamp: view.max_timestamp(),
                append_ms: entry.append_ms,
                leader_epoch: batch.leader_epoch,
            });
        }
        Ok(())
    }
}

impl Packer {
    /// Builds the objects of the next stretch of `writer`'s log.
    pub(in crate::log) async fn pack(
        &mut self,
        writer: Incarnation,
        stretch: Stretch,
    ) -> Result<Vec<Arc<Built>>, Error> {
        let (classes, gone) = self.cluster.with(|state| self.classes(state, writer, &stretch));
        for partition in gone {
            self.folded.remove(&partition);
        }
        let mut runs: BTreeMap<Class, Vec<Run>> = BTreeMap::new();
        for (partition, batches) in stretch.batches {
            let Some(&(class, expiration_ms)) = classes.get(&partition) else { continue };
            let Some(first) = batches.first() else { continue };
            let producers = self.producers_at(partition, first.base).await;
            let run = Run { partition, batches, producers, expiration_ms };
            runs.entry(class).or_default().push(run);
        }
        let mut packed = Vec::new();
        for (_, runs) in runs {
            let object = self.next_id().await?;
            let builder = Builder::new(object, self.incarnation, self.settings.block_bytes);
            let bugs = self.env.bugs;
            let work = move || build(builder, runs, bugs);
            let (built, folded) = self.env.background.blocking(work).await??;
            self.folded.extend(folded);
            packed.push(Arc::new(built));
        }
        Ok(packed)
    }

    /// The class of each partition that `writer` may still publish to, with when its producers
    /// expire, and the partitions whose producer state is of no more use.
    fn classes(
        &self,
        state: &State,
        writer: Incarnation,
        stretch: &Stretch,
    ) -> (BTreeMap<PartitionId, (Class, i64)>, Vec<PartitionId>) {
        let mut topics = BTreeMap::new();
        let mut classes = BTreeMap::new();
        for partition in stretch.batches.keys() {
            let Some(topic) = state.topics.get(&partition.topic) else { continue };
            let writes = topic.partition(partition.index).map(|found| found.incarnation);
            if writes == Some(writer) {
                let class = *topics.entry(topic.id).or_insert_with(|| self.class(state, topic));
                classes.insert(*partition, class);
            }
        }
        let gone = self.folded.keys().filter(|partition| state.partition(**partition).is_none());
        (classes, gone.copied().collect())
    }

    fn class(&self, state: &State, topic: &Topic) -> (Class, i64) {
        let internal = topic.name.starts_with("__");
        let config = (self.configs)(state, topic);
        let by_key = internal || config.cleanup.compact;
        let class = if by_key { Class::ByKey } else { Class::ByAge };
        (class, config.producer_expiration_ms)
    }

    /// Producers of `partition` at `base`: as folded here, else as published.
    async fn producers_at(&mut self, partition: PartitionId, base: Offset) -> Producers {
        let anywhere = self.env.bugs.has(Bug::ProducersOfWrongOffset);
        let fits = |folded: &&Folded| folded.end == base || anywhere;
        if let Some(folded) = self.folded.get(&partition).filter(fits) {
            return folded.producers.clone();
        }
        let env = self.env.clone();
        let mut patience = Patience::new(&env);
        loop {
            let newest = self.cluster.with(|state| objects::newest(state, partition));
            match self.objects.producers_of(partition, newest).await {
                Ok(snapshots) => return Producers::from_snapshots(snapshots),
                Err(error @ (ReadError::Gone | ReadError::Away(_))) => {
                    patience.wait("producer state", &error.to_string()).await;
                }
                Err(error) => {
                    tracing::error!(
                        %partition, %error,
                        advice = "put the object back from a backup or an older version of it; \
                                  until then nothing is uploaded",
                        "published producer state is damaged"
                    );
                    patience.wait("producer state", &error.to_string()).await;
                }
            }
        }
    }

    async fn next_id(&mut self) -> Result<crate::types::ObjectId, Error> {
        loop {
            if let Some(id) = self.ids.take() {
                return Ok(id);
            }
            let wanted = vec![self.more_ids()];
            let committed = self.cluster.commit(wanted).await?;
            self.add_ids(&committed.applied);
        }
    }

    /// The record that reserves more ids.
    pub(in crate::log) fn more_ids(&self) -> Record {
        Record::ObjectIdsReserved { incarnation: self.incarnation, count: IDS }
    }

    /// Takes in the ids that a proposal reserved.
    pub(in crate::log) fn add_ids(&self, applied: &[crate::cluster::Applied]) {
        for applied in applied {
            if let crate::cluster::Applied::ObjectIds(range) = applied {
                self.ids.add(range.clone());
            }
        }
    }
}

/// A run before its producers are folded.
struct Run {
    partition: PartitionId,
    batches: Vec<BatchInput>,
    producers: Producers,
    expiration_ms: i64,
}

/// Folds and builds; blocking, for it walks tens of MiB.
fn build(
    mut builder: Builder,
    runs: Vec<Run>,
    bugs: Bugs,
) -> Result<(Built, Vec<(PartitionId, Folded)>), Error> {
    let mut folded = Vec::with_capacity(runs.len());
    for Run { partition, batches, mut producers, expiration_ms } in runs {
        let mut end = Offset::ZERO;
        for batch in &batches {
            let view = BatchView::parse(batch.bytes.clone())
                .map_err(|_| Error::Batch { partition, base: batch.base })?;
            producers.record_batch(&view, Moment { time: batch.append_ms, expiration_ms });
            end = batch.end;
        }
        let forgotten = bugs.has(Bug::DedupNotInFooter);
        let snapshot = if forgotten { Vec::new() } else { producers.to_snapshots() };
        folded.push((partition, Folded { end, producers }));
        let aborted = Vec::new();
        builder.push_run(RunInput { partition, batches, producers: snapshot, aborted })?;
    }
    Ok((builder.finish(), folded))
}
