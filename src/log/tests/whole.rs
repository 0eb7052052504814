//! The whole of `log`: metadata, WAL, upload and reads work on one another.

use std::collections::BTreeMap;

use super::*;
use crate::{
    cluster::{self, Record},
    env::task::Tasks,
    log::{
        self, Log, NotHere, Origin,
        upload::{self, Uploader},
        world::World,
    },
    replication::Sink,
};

struct Whole {
    world: World,
    replication: Replication,
    log: Log,
    tasks: Tasks,
    _folder: TempDir,
}

impl Whole {
    async fn start() -> Self {
        let world = World::new().await;
        let folder = tempfile::tempdir().unwrap();
        let env = Env::real();
        let wal = Folder::open(folder.path(), &env).unwrap();
        let (tasks, cluster) = (Tasks::new(), world.cluster.clone());
        let (incarnation, replication) = join(&cluster, &wal, &env).await;
        let configs: upload::TopicConfigs = Arc::new(|_, topic| {
            let none = Values::new();
            let layers = Layers { broker: &none, cluster: &none, given: &none };
            TopicConfig::resolve(&topic.configs, &layers)
        });
        let uploads = upload::Parts {
            cluster: cluster.clone(),
            replication: replication.clone(),
            store: world.store.clone(),
            objects: world.objects.clone(),
            env: env.clone(),
            incarnation,
            configs: configs.clone(),
            settings: upload::Settings::default(),
            metrics: upload::Metrics::new(&mut Registry::default()),
        };
        drop(Uploader::start(uploads, &tasks));
        let log = Log::start(log::Parts {
            cluster,
            replication: replication.clone(),
            objects: world.objects.clone(),
            store: world.store.clone(),
            env,
            tasks: tasks.clone(),
            broker: BrokerId(2),
            incarnation,
            configs,
            metrics: Metrics::default(),
        });
        Self { world, replication, log, tasks, _folder: folder }
    }

    /// Waits until all of a partition is in the bucket, and takes it out of memory.
    async fn move_to_bucket(&self, partition: &Partition) {
        self.replication.roll();
        let (id, end) = (partition.id(), partition.high_watermark());
        let cluster = &self.world.cluster;
        let published = |_: &_| cluster.with(|state| state.partition(id).unwrap().end == end);
        soon(cluster.subscribe().wait_for(published)).await.unwrap();
        soon(self.log.until_followed(cluster.with(|state| state.index))).await;
        partition.ledger.evicted(end);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_go_from_the_wal_to_the_bucket_and_stay_readable() {
    let whole = Whole::start().await;
    let (log, cluster) = (&whole.log, &whole.world.cluster);
    let topic = TopicId(Uuid::from_u128(3));
    assert_eq!(log.find("tide", 0).unwrap_err(), NotHere::UnknownTopic);
    cluster.commit(vec![created(topic)]).await.unwrap();
    soon(log.until_open(topic)).await;
    let partition = log.find("tide", 0).unwrap();
    let other = log.find_by_id(topic, 1).unwrap();
    let mut expected = Vec::new();
    for round in 0..3_i32 {
        for sequence in [round * 4, round * 4 + 2] {
            append(&partition, &sequenced(1, 0, sequence, 2)).await;
            append(&other, &sequenced(2, 0, sequence, 2)).await;
            let base = i64::from(sequence);
            expected.push((base, base + 2, 0));
        }
        let end = partition.high_watermark();
        let early = tokio::time::timeout(Duration::ZERO, partition.until_published(end)).await;
        assert!(early.is_err(), "it is only in the WAL");
        whole.move_to_bucket(&partition).await;
        assert!(soon(partition.until_published(end)).await);
        for partition in [&partition, &other] {
            let read = soon(partition.read(Offset(0), usize::MAX, true)).await.unwrap();
            assert_eq!(shapes(&read.batches), expected);
        }
        // A retry is known whether its original is in memory or in the bucket.
        let retry = append(&partition, &sequenced(1, 0, round * 4, 2)).await;
        assert_eq!(retry, Offset((round * 4).into()));
    }
    let found = partition.offset_for_time(NOW).await.unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(0), NOW));
    assert_eq!(partition.delete_records(Some(Offset(5))).await, Ok(Offset(5)));
    let read = partition.read(Offset(5), 1, true).await.unwrap();
    assert_eq!((shapes(&read.batches), read.log_start), (vec![(4, 6, 0)], Offset(5)));

    cluster.commit(vec![Record::TopicDeleted { topic }]).await.unwrap();
    soon(log.until_followed(cluster.with(|state| state.index))).await;
    assert!(partition.is_closed() && other.is_closed());
    assert!(!soon(partition.until_published(Offset(99))).await);
    soon(whole.tasks.stop()).await;
    soon(whole.replication.stop()).await;
    whole.world.stop().await;
}

async fn append(partition: &Arc<Partition>, batch: &BatchView) -> Offset {
    let pending = partition.append(batch.bytes().clone(), Origin::Client).await.unwrap();
    soon(pending.committed()).await.unwrap().base_offset
}

fn created(topic: TopicId) -> Record {
    Record::TopicCreated {
        topic,
        name: "tide".to_owned(),
        partitions: 2,
        replication_factor: 1,
        leader: BrokerId(2),
        configs: BTreeMap::new(),
    }
}

async fn join(cluster: &cluster::Cluster, wal: &Folder, env: &Env) -> (Incarnation, Replication) {
    let storage = wal.identity().storage;
    wal.bind(cluster.with(|state| state.cluster_id)).unwrap();
    wal.begin_registration(None).unwrap();
    let register = Record::Register {
        broker: Some(BrokerId(2)),
        storage,
        host: "localhost".to_owned(),
        port: 9092,
        rack: None,
    };
    let registered = cluster.commit(vec![register]).await.unwrap();
    let incarnation = Incarnation(registered.index.0);
    wal.registered(BrokerId(2), incarnation).unwrap();
    let id = SegmentId { incarnation, sequence: 0 };
    let own = cluster::Member { broker: BrokerId(2), storage, incarnation };
    let open = Record::SegmentOpen { segment: id, nonce: 1, ensemble: vec![own] };
    cluster.commit(vec![open]).await.unwrap();
    let own = Member { broker: BrokerId(2), storage, incarnation };
    let replication = Replication::start(replication::Parts {
        folder: wal.clone(),
        env: env.clone(),
        config: replication::Config::default(),
        incarnation,
        first: vec![OpenSegment { id, nonce: 1, ensemble: vec![own] }],
        store_away: Arc::new(|| false),
        metrics: replication::Metrics::new(&mut Registry::default()),
    });
    (incarnation, replication.unwrap())
}
