//! A cluster over a bucket in memory, for tests of what happens to objects: no broker, no WAL.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    objects::{ObjectRef, Objects, Place, locate},
    producer::Producers,
    retention::{self, Retention},
    upload::{self, Bucket, Ids, Packer, Stretch, TopicConfigs},
};
use crate::{
    cache::{self, ReaderId},
    cluster::{
        self, Cluster, Member, NewObject, Record,
        configs::{Layers, TopicConfig},
    },
    env::{
        Env,
        background::Background,
        bugs::Bugs,
        sim::{self, SimClock, disk::SimDisk},
        task::Tasks,
    },
    metrics::Registry,
    record::{BatchBuilder, BatchView, Compression},
    store::{Faulty, Key, Memory, Store, path},
    types::{
        BrokerId, ByteCount, Incarnation, LeaderEpoch, Millis, Offset, PartitionId, ProducerEpoch,
        ProducerId, SegmentId, StorageId, TopicId,
    },
    wal::{Entry, EntryBatch},
};

const STORAGE: StorageId = StorageId(Uuid::from_u128(1));

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) store: Store,
    pub(super) faults: Faulty,
    pub(super) objects: Objects,
    pub(super) incarnation: Incarnation,
    pub(super) ids: Ids,
    pub(super) packer: Packer,
    pub(super) bucket: Bucket,
    /// Moves retention's time; the cluster's own is the machine's.
    pub(crate) clock: Arc<SimClock>,
    /// What `clock` shows, with the machine's chance and disk.
    pub(crate) env: Env,
    sequence: u64,
    tasks: Tasks,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(cluster::Config::default()).await
    }

    /// With a metadata log of such habits.
    pub(crate) async fn with(config: cluster::Config) -> Self {
        let real = Env::real();
        let clock = Arc::new(SimClock::at(real.clock.wall()));
        Self::over(real, clock, config).await
    }

    /// All time, chance and mistakes as told.
    pub(super) async fn seeded(seed: u64, bugs: Bugs) -> Self {
        let clock = Arc::new(SimClock::at(Millis(1_700_000_000_000)));
        let env = Env { clock: clock.clone(), bugs, ..sim::env(&SimDisk::new(), seed) };
        Self::over(env, clock, cluster::Config::default()).await
    }

    /// The cluster's own time and chance are those of `real`.
    async fn over(real: Env, clock: Arc<SimClock>, config: cluster::Config) -> Self {
        let faults = Faulty::new(Arc::new(Memory::new(Arc::clone(&real.clock))));
        let store = Store::over(Arc::new(faults.clone()), &real);
        let tasks = Tasks::new();
        let cluster = Cluster::take_over(cluster::Parts {
            store: store.clone(),
            env: real.clone(),
            tasks: tasks.clone(),
            holder: cluster::Holder {
                storage: STORAGE,
                address: "localhost:1".to_owned(),
                cluster: None,
            },
            config,
            metrics: cluster::Metrics::new(&mut Registry::default()),
            at_risk: Arc::new(|| None),
            phase: Arc::new(|_| {}),
            is_alive: Arc::new(|_, _| Box::pin(async { false })),
        });
        let cluster = cluster.await.unwrap();
        let register = Record::Register {
            broker: Some(BrokerId(1)),
            storage: STORAGE,
            host: "localhost".to_owned(),
            port: 9092,
            rack: None,
        };
        let registered = cluster.commit(vec![register]).await.unwrap();
        let incarnation = Incarnation(registered.index.0);
        let objects = objects_with(&store, real.bugs);
        let ids = Ids::default();
        let env = Env { clock: clock.clone(), ..real.clone() };
        let packer = Packer {
            cluster: cluster.clone(),
            objects: objects.clone(),
            env: real.clone(),
            ids: ids.clone(),
            incarnation,
            configs: configs(),
            settings: upload::Settings::default(),
            folded: BTreeMap::new(),
        };
        let bucket = Bucket { store: store.clone(), env: real, incarnation };
        Self {
            cluster,
            store,
            faults,
            objects,
            incarnation,
            ids,
            packer,
            bucket,
            clock,
            env,
            sequence: 0,
            tasks,
        }
    }

    pub(crate) fn retention(&self) -> Retention {
        Retention {
            cluster: self.cluster.clone(),
            store: self.store.clone(),
            objects: self.objects.clone(),
            env: self.env.clone(),
            configs: configs(),
            metrics: retention::Metrics::default(),
            settings: retention::Settings::default(),
        }
    }

    /// A topic of one partition.
    pub(crate) async fn topic(&self, name: &str, overrides: &[(&str, &str)]) -> PartitionId {
        let topic = TopicId(Uuid::from_u128(name.bytes().map(u128::from).sum()));
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let created = Record::TopicCreated {
            topic,
            name: name.to_owned(),
            partitions: 1,
            replication_factor: 1,
            leader: BrokerId(1),
            configs: overrides.iter().map(own).collect(),
        };
        self.cluster.commit(vec![created]).await.unwrap();
        PartitionId { topic, index: 0 }
    }

    /// Publishes a segment with these batches.
    pub(crate) async fn publish(&mut self, batches: Vec<(PartitionId, BatchView)>) {
        let (segment, objects) = self.upload(batches).await;
        self.publish_uploaded(segment, objects).await;
    }

    /// Puts a segment with these batches into the bucket.
    pub(super) async fn upload(
        &mut self,
        batches: Vec<(PartitionId, BatchView)>,
    ) -> (SegmentId, Vec<NewObject>) {
        let segment = SegmentId { incarnation: self.incarnation, sequence: self.sequence };
        self.sequence += 1;
        let own = Member { broker: BrokerId(1), storage: STORAGE, incarnation: self.incarnation };
        let open = Record::SegmentOpen { segment, nonce: 1, ensemble: vec![own] };
        self.cluster.commit(vec![open]).await.unwrap();
        let mut entries = [entry(self.env.clock.wall(), batches)].into_iter().map(Ok);
        let stretch = Stretch::read(&mut entries, u64::MAX).unwrap();
        let built = self.packer.pack(self.incarnation, stretch).await.unwrap();
        let objects = self.bucket.put_all(built).await;
        (segment, objects)
    }

    /// Publishes what was put.
    pub(super) async fn publish_uploaded(&self, segment: SegmentId, objects: Vec<NewObject>) {
        let ids: Vec<_> = objects.iter().map(|object| object.object).collect();
        let uploaded = Record::SegmentUploaded { segment, entries: 2, objects };
        self.cluster.commit(vec![uploaded]).await.unwrap();
        ids.into_iter().for_each(|id| self.ids.published(id));
    }

    /// A little more than so many hours, for the cluster's clock goes on meanwhile.
    pub(crate) fn pass(&self, hours: u64) {
        self.clock.pass(Duration::from_secs(hours * 3600 + 60));
    }

    pub(super) async fn read(&self, partition: PartitionId, from: Offset) -> Vec<Bytes> {
        read(&self.cluster, &self.objects, partition, from).await
    }

    pub(super) async fn producers(&self, partition: PartitionId) -> Producers {
        let newest = self.cluster.with(|state| super::objects::newest(state, partition));
        let snapshots = self.objects.producers_of(partition, newest).await.unwrap();
        Producers::from_snapshots(snapshots)
    }

    /// Keys in the bucket under a folder.
    pub(crate) async fn keys(&self, prefix: &Key) -> Vec<Key> {
        let page = self.store.list(prefix, None).await.unwrap();
        page.listed.into_iter().map(|listed| listed.key).collect()
    }

    pub(crate) async fn data_keys(&self) -> Vec<Key> {
        self.keys(&path::data_prefix()).await
    }

    pub(crate) async fn stop(self) {
        self.tasks.abort().await;
    }
}

/// A reader of published records with little memory and no disk.
pub(super) fn objects(store: &Store) -> Objects {
    objects_with(store, Bugs::NONE)
}

fn objects_with(store: &Store, bugs: Bugs) -> Objects {
    Objects::new(super::objects::Parts {
        store: store.clone(),
        memory: ByteCount::mib(8),
        in_flight: ByteCount::mib(8),
        disk: None,
        background: Background::none(),
        bugs,
        metrics: cache::Metrics::default(),
    })
}

/// Every published batch of a partition from `from` on, as a reader of the bucket sees it.
pub(super) async fn read(
    cluster: &Cluster,
    objects: &Objects,
    partition: PartitionId,
    mut from: Offset,
) -> Vec<Bytes> {
    let mut batches = Vec::new();
    loop {
        let at = match cluster.with(|state| locate(state, partition, from)) {
            Place::Nowhere => return batches,
            Place::Object(at) => at,
            Place::Manifest(version) => {
                let manifest = objects.manifest(partition, version).await.unwrap();
                ObjectRef::of_run(manifest.find(from).unwrap())
            }
        };
        let read = objects.read(ReaderId(1), &at, partition, from, 1 << 20).await.unwrap().batches;
        from = BatchView::parse(read.last().unwrap().clone()).unwrap().end_offset();
        batches.extend(read);
    }
}

/// A batch of `records` records from `base` on, of producer 7 in sequence.
pub(crate) fn batch(base: i64, records: i64, timestamp: Millis) -> BatchView {
    sequenced(base, base, records, timestamp)
}

/// The same at another offset than its sequence, as a client sends it.
pub(super) fn sequenced(base: i64, sequence: i64, records: i64, timestamp: Millis) -> BatchView {
    let sequence = i32::try_from(sequence).unwrap();
    let mut builder = BatchBuilder::new(Compression::None)
        .at(Offset(base), LeaderEpoch(0))
        .producer(ProducerId(7), ProducerEpoch(0), sequence);
    for record in 0..records {
        builder.push(timestamp, None, Some(format!("{sequence}+{record}").as_bytes()));
    }
    builder.build().unwrap()
}

fn entry(append_ms: Millis, batches: Vec<(PartitionId, BatchView)>) -> Entry {
    let batches = batches.into_iter().map(|(partition, view)| EntryBatch {
        partition,
        leader_epoch: view.leader_epoch(),
        base_offset: view.base_offset(),
        end_offset: view.end_offset(),
        bytes: view.bytes().clone(),
    });
    Entry { number: 1, append_ms, batches: batches.collect() }
}

pub(super) fn configs() -> TopicConfigs {
    Arc::new(|state, topic| {
        let none = BTreeMap::new();
        let layers = Layers { broker: &none, cluster: &state.cluster_configs, given: &none };
        TopicConfig::resolve(&topic.configs, &layers)
    })
}
