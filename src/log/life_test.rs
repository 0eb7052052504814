//! Records from the append to the bucket and out of it, over a real WAL folder: uploads,
//! recovery, lost disks, deletion.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use super::{
    Log, Metrics, Origin, Parts, recover,
    retention::{self, Retention},
    upload::{self, Uploader},
    world::{configs, sequenced},
};
use crate::{
    cluster::{self, Applied, Cluster, Member, Record},
    env::{
        Env,
        bugs::{Bug, Bugs},
        clock,
        sim::proof::catches_waiting,
        task::Tasks,
    },
    log::objects::Objects,
    metrics::Registry,
    replication::{self, Replication},
    store::{FailureKind, Fault, Faulty, Memory, Store, path},
    types::{BrokerId, ByteCount, Incarnation, Offset, PartitionId, SegmentId, TopicId},
    wal::{self, Folder, OpenSegment},
};

/// A broker as far as records go.
struct Machine {
    cluster: Cluster,
    store: Store,
    objects: Objects,
    folder: Folder,
    replication: Replication,
    log: Log,
    recovered: recover::Report,
    tasks: Tasks,
}

struct Starting {
    cluster: Cluster,
    folder: Folder,
    recovery: recover::Parts,
    tasks: Tasks,
}

async fn starting(store: &Store, folder: &Path) -> Starting {
    starting_with(store, folder, Bugs::NONE).await
}

async fn starting_with(store: &Store, folder: &Path, bugs: Bugs) -> Starting {
    let env = Env { bugs, ..Env::real() };
    let folder = Folder::open(folder, &env).unwrap();
    let identity = folder.identity();
    let tasks = Tasks::new();
    let cluster = Cluster::take_over(cluster::Parts {
        store: store.clone(),
        env: env.clone(),
        tasks: tasks.clone(),
        holder: cluster::Holder {
            storage: identity.storage,
            address: "localhost:1".to_owned(),
            cluster: identity.cluster,
        },
        config: cluster::Config { lease: Duration::from_millis(900), ..Default::default() },
        metrics: cluster::Metrics::new(&mut Registry::default()),
        at_risk: Arc::new(|| None),
        phase: Arc::new(|_| {}),
        is_alive: Arc::new(|_, _| Box::pin(async { false })),
    });
    let cluster = cluster.await.unwrap();
    folder.bind(cluster.with(|state| state.cluster_id)).unwrap();
    folder.begin_registration(identity.incarnation).unwrap();
    let register = Record::Register {
        broker: identity.broker,
        storage: identity.storage,
        host: "localhost".to_owned(),
        port: 9092,
        rack: None,
    };
    let registered = cluster.commit(vec![register]).await.unwrap();
    let [Applied::Registered { broker, incarnation }] = registered.applied[..] else {
        panic!("registered: {registered:?}")
    };
    folder.registered(broker, incarnation).unwrap();
    let recovery = recover::Parts {
        cluster: cluster.clone(),
        folder: folder.clone(),
        store: store.clone(),
        objects: super::world::objects(store),
        env,
        broker,
        incarnation,
        configs: configs(),
        settings: upload::Settings::default(),
    };
    Starting { cluster, folder, recovery, tasks }
}

impl Starting {
    async fn start(self, accept_loss: bool) -> Machine {
        let Self { cluster, folder, recovery, tasks } = self;
        let recovered = recover::recover(&recovery, accept_loss).await.unwrap();
        let recover::Parts { broker, incarnation, .. } = recovery;
        let first = open_two(&cluster, &folder, broker, incarnation).await;
        let away = recovery.store.clone();
        let replication = Replication::start(replication::Parts {
            folder: folder.clone(),
            env: recovery.env.clone(),
            config: replication::Config {
                roll_bytes: ByteCount::mib(1),
                roll_after: Duration::from_millis(300),
                ..Default::default()
            },
            incarnation,
            first,
            store_away: Arc::new(move || away.away()),
            metrics: replication::Metrics::new(&mut Registry::default()),
        })
        .unwrap();
        let _uploader = Uploader::start(
            upload::Parts {
                cluster: cluster.clone(),
                replication: replication.clone(),
                store: recovery.store.clone(),
                objects: recovery.objects.clone(),
                env: recovery.env.clone(),
                incarnation,
                configs: configs(),
                settings: recovery.settings,
                metrics: upload::Metrics::default(),
            },
            &tasks,
        );
        let log = Log::start(Parts {
            cluster: cluster.clone(),
            replication: replication.clone(),
            objects: recovery.objects.clone(),
            store: recovery.store.clone(),
            env: recovery.env,
            tasks: tasks.clone(),
            broker,
            incarnation,
            configs: configs(),
            metrics: Metrics::new(&mut Registry::default()),
        });
        let recover::Parts { store, objects, .. } = recovery;
        Machine { cluster, store, objects, folder, replication, log, recovered, tasks }
    }
}

async fn open_two(
    cluster: &Cluster,
    folder: &Folder,
    broker: BrokerId,
    incarnation: Incarnation,
) -> Vec<OpenSegment> {
    let storage = folder.identity().storage;
    let first: Vec<_> = (0..2)
        .map(|sequence| OpenSegment {
            id: SegmentId { incarnation, sequence },
            nonce: Env::real().entropy.next_u64(),
            ensemble: vec![wal::Member { broker, storage, incarnation }],
        })
        .collect();
    let open = first.iter().map(|segment| Record::SegmentOpen {
        segment: segment.id,
        nonce: segment.nonce,
        ensemble: vec![Member { broker, storage, incarnation }],
    });
    cluster.commit(open.collect()).await.unwrap();
    first
}

impl Machine {
    async fn boot(store: &Store, folder: &Path) -> Self {
        starting(store, folder).await.start(false).await
    }

    async fn topic(&self) -> PartitionId {
        let topic = TopicId(Uuid::from_u128(77));
        let created = Record::TopicCreated {
            topic,
            name: "t".to_owned(),
            partitions: 1,
            replication_factor: 1,
            leader: self.cluster.with(|state| *state.brokers.keys().next().unwrap()),
            configs: BTreeMap::new(),
        };
        self.cluster.commit(vec![created]).await.unwrap();
        self.log.until_open(topic).await;
        PartitionId { topic, index: 0 }
    }

    /// Appends the batch that belongs at `base` and waits for the acknowledgement.
    async fn append(&self, base: i64, records: i64) {
        let partition = self.log.find("t", 0).unwrap();
        let batch = sequenced(0, base, records, Env::real().clock.wall());
        let pending = partition.append(batch.bytes().clone(), Origin::Client).await.unwrap();
        assert_eq!(pending.committed().await.unwrap().base_offset, Offset(base));
    }

    /// Deletes every record; the log ends at `end`.
    async fn delete_all(&self, end: i64) {
        let partition = self.log.find("t", 0).unwrap();
        assert_eq!(partition.delete_records(None).await, Ok(Offset(end)));
    }

    async fn read_all(&self) -> Vec<Bytes> {
        let partition = self.log.find("t", 0).unwrap();
        let (mut next, mut batches) = (Offset(0), Vec::new());
        while next < partition.high_watermark() {
            let read = partition.read(next, 1 << 20, true).await.unwrap();
            let last = crate::record::BatchView::parse(read.batches.last().unwrap().clone());
            next = last.unwrap().end_offset();
            batches.extend(read.batches);
        }
        batches
    }

    /// Waits until everything appended is published.
    async fn published(&self, partition: PartitionId, end: i64) {
        let reached = |index: &_| {
            let _: &crate::types::MetadataIndex = index;
            self.cluster.with(|state| {
                state.partition(partition).is_some_and(|found| found.end == Offset(end))
            })
        };
        let mut changes = self.cluster.subscribe();
        let wait = changes.wait_for(reached);
        clock::timeout(Duration::from_secs(20), wait).await.unwrap().unwrap();
    }

    /// A stop without drain, as a crash after the last sync would be.
    async fn crash(self) {
        self.tasks.abort().await;
        self.replication.stop().await;
    }

    fn retention(&self) -> Retention {
        Retention {
            cluster: self.cluster.clone(),
            store: self.store.clone(),
            objects: self.objects.clone(),
            env: Env::real(),
            configs: configs(),
            metrics: retention::Metrics::default(),
            settings: retention::Settings { grace: Duration::ZERO, ..Default::default() },
        }
    }

    async fn data_keys(&self) -> usize {
        self.store.list(&path::data_prefix(), None).await.unwrap().listed.len()
    }
}

fn bucket() -> (Store, Faulty, TempDir) {
    let env = Env::real();
    let faults = Faulty::new(Arc::new(Memory::new(Arc::clone(&env.clock))));
    (Store::over(Arc::new(faults.clone()), &env), faults, TempDir::new().unwrap())
}

fn assert_whole(batches: &[Bytes], bases: std::ops::Range<i64>) {
    let read: Vec<_> = batches
        .iter()
        .map(|bytes| crate::record::BatchView::parse(bytes.clone()).unwrap())
        .inspect(|batch| batch.check_crc().unwrap())
        .map(|batch| batch.base_offset().0)
        .collect();
    assert_eq!(read, bases.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_go_to_the_bucket_are_read_there_and_leave_nothing_when_deleted() {
    let (store, _, dir) = bucket();
    let machine = Machine::boot(&store, dir.path()).await;
    let topic = machine.topic().await;
    for base in 0..5 {
        machine.append(base, 1).await;
    }
    machine.published(topic, 5).await;
    assert_whole(&machine.read_all().await, 0..5);
    for base in 5..8 {
        machine.append(base, 1).await;
    }
    machine.published(topic, 8).await;
    let from_bucket = super::world::read(&machine.cluster, &machine.objects, topic, Offset(0));
    assert_whole(&from_bucket.await, 0..8);

    machine.cluster.commit(vec![Record::TopicDeleted { topic: topic.topic }]).await.unwrap();
    machine.retention().purge_once().await;
    assert_eq!(machine.data_keys().await, 0);
    machine.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_crash_is_there_after_it() {
    let (store, faults, dir) = bucket();
    let machine = Machine::boot(&store, dir.path()).await;
    let topic = machine.topic().await;
    machine.append(0, 1).await;
    machine.published(topic, 1).await;
    // Nothing more reaches the bucket before the crash.
    faults.set_down(Some(FailureKind::Connection));
    for base in 1..6 {
        machine.append(base, 1).await;
    }
    machine.crash().await;
    faults.set_down(None);

    let machine = Machine::boot(&store, dir.path()).await;
    assert_eq!(machine.recovered.incarnations, 1);
    assert_whole(&machine.read_all().await, 0..6);
    let from_bucket = super::world::read(&machine.cluster, &machine.objects, topic, Offset(0));
    assert_whole(&from_bucket.await, 0..6);
    assert!(machine.folder.found().is_empty() || machine.replication.at_risk().bytes == 0);
    // The sequence of the producer goes on, and a retry is recognised.
    machine.append(6, 1).await;
    machine.append(3, 1).await;
    assert_whole(&machine.read_all().await, 0..7);
    machine.crash().await;

    // Once more, with nothing appended in between but the last.
    let machine = Machine::boot(&store, dir.path()).await;
    assert_whole(&machine.read_all().await, 0..7);
    machine.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_outlive_records_deleted_before_they_were_published() {
    let (store, _, dir) = bucket();
    let machine = Machine::boot(&store, dir.path()).await;
    let topic = machine.topic().await;
    machine.append(0, 3).await;
    machine.published(topic, 3).await;
    machine.append(3, 2).await;
    machine.delete_all(5).await;
    machine.published(topic, 5).await;
    machine.crash().await;

    // The sequence goes on though no record is left; also when the run has left the metadata.
    let machine = Machine::boot(&store, dir.path()).await;
    machine.append(5, 1).await;
    machine.delete_all(6).await;
    machine.published(topic, 6).await;
    machine.retention().check_once().await;
    machine.cluster.with(|state| {
        let found = state.partition(topic).unwrap();
        assert_eq!((found.runs.len(), found.manifest.unwrap().end), (0, Offset(6)));
    });
    machine.retention().purge_once().await;
    assert_eq!(machine.data_keys().await, 0);
    machine.crash().await;
    let machine = Machine::boot(&store, dir.path()).await;
    machine.append(6, 1).await;
    machine.append(3, 2).await;
    machine.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_segment_published_before_a_crash_are_given_back() {
    let (store, _, dir) = bucket();
    let machine = Machine::boot(&store, dir.path()).await;
    let incarnation = machine.folder.identity().incarnation.unwrap();
    machine.crash().await;
    let folder = Folder::open(dir.path(), &Env::real()).unwrap();
    let sealed =
        OpenSegment { id: SegmentId { incarnation, sequence: 9 }, nonce: 7, ensemble: Vec::new() };
    folder.create(&sealed, ByteCount::kib(64)).unwrap();
    drop(folder);

    let machine = Machine::boot(&store, dir.path()).await;
    assert_eq!(machine.folder.found(), []);
    machine.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_keeps_partitions_offline_until_the_loss_is_accepted() {
    let (store, faults, dir) = bucket();
    let machine = Machine::boot(&store, dir.path()).await;
    let topic = machine.topic().await;
    machine.append(0, 1).await;
    machine.published(topic, 1).await;
    faults.set_down(Some(FailureKind::Connection));
    machine.append(1, 1).await;
    machine.crash().await;
    faults.set_down(None);

    let other = TempDir::new().unwrap();
    let starting = starting(&store, other.path()).await;
    match recover::recover(&starting.recovery, false).await {
        Err(recover::Error::Missing { missing, partitions, .. }) => {
            assert!(!missing.is_empty());
            assert_eq!(partitions, [topic]);
        }
        other => panic!("{other:?}"),
    }
    let machine = starting.start(true).await;
    // Offset 1 was acknowledged and is lost; what the bucket had is there, and the log goes on.
    assert_whole(&machine.read_all().await, 0..1);
    machine.append(1, 1).await;
    assert_whole(&machine.read_all().await, 0..2);
    machine.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_outgrew_an_outage_is_uploaded_whole() {
    let (store, faults, dir) = bucket();
    let mut starting = starting(&store, dir.path()).await;
    starting.recovery.settings.object_bytes = ByteCount(2000);
    let machine = starting.start(false).await;
    let topic = machine.topic().await;
    faults.set_down(Some(FailureKind::Connection));
    for base in 0..100 {
        machine.append(base, 1).await;
    }
    faults.set_down(None);
    machine.published(topic, 100).await;
    assert!(machine.data_keys().await > 2, "several objects of one segment");
    let from_bucket = super::world::read(&machine.cluster, &machine.objects, topic, Offset(0));
    assert_whole(&from_bucket.await, 0..100);
    machine.crash().await;
}

/// The data is in the bucket, the record that publishes it is not: the WAL still has it.
async fn trim_only_what_is_published(bugs: Bugs) {
    let (store, faults, dir) = bucket();
    let machine = starting_with(&store, dir.path(), bugs).await.start(false).await;
    let topic = machine.topic().await;
    machine.append(0, 1).await;
    machine.published(topic, 1).await;
    // The next segment's spare is open: the next record is the one that publishes.
    let mut changes = machine.cluster.subscribe();
    let two = |_: &_| machine.cluster.with(|state| state.segments.len() == 2);
    clock::timeout(Duration::from_secs(20), changes.wait_for(two)).await.unwrap().unwrap();
    for _ in 0..1000 {
        faults.next_put("meta/log", Fault::FailBefore(FailureKind::Connection));
    }
    let mut away = store.subscribe_away();
    machine.append(1, 1).await;
    // The first request that fails is the one that should publish.
    clock::timeout(Duration::from_secs(20), away.changed()).await.unwrap().unwrap();
    machine.crash().await;
    faults.calm();
    let machine = Machine::boot(&store, dir.path()).await;
    assert_whole(&machine.read_all().await, 0..2);
    machine.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_segment_are_given_back_only_once_it_is_published() {
    trim_only_what_is_published(Bugs::NONE).await;
}

#[test]
fn a_trim_before_the_record_that_publishes_is_caught() {
    let layer = "a crash between upload and publication";
    catches_waiting(layer, Bug::TrimBeforePublish, trim_only_what_is_published);
}
