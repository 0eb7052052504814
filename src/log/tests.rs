//! Partitions over a real WAL folder and a history in memory.

mod directory;
mod history;
mod life;
mod partition;
mod published;
mod whole;

use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use self::history::Shelf;
use super::{
    Metrics, Partition,
    partition::{Around, Opening},
};
use crate::{
    cluster::configs::{Layers, TopicConfig, Values},
    env::{
        Env,
        background::Background,
        bugs::Bugs,
        disk::{Disk, DiskFile, FileDisk},
        sim::{SimClock, SimEntropy},
        task::Cores,
    },
    metrics::Registry,
    record::{BatchBuilder, BatchView, Compression},
    replication::{self, Replication},
    types::{
        BrokerId, ClusterId, Incarnation, LeaderEpoch, Millis, Offset, PartitionId, ProducerEpoch,
        ProducerId, SegmentId, StorageId, TopicId,
    },
    wal::{Folder, Member, OpenSegment},
};

const NOW: Millis = Millis(1_700_000_000_000);
const BROKER: BrokerId = BrokerId(1);
const INCARNATION: Incarnation = Incarnation(5);
const EPOCH: LeaderEpoch = LeaderEpoch(3);

/// A lone broker's log over a folder that goes with it.
struct Bench {
    around: Arc<Around>,
    shelf: Arc<Shelf>,
    clock: Arc<SimClock>,
    gate: Arc<Gate>,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with_bugs(Bugs::NONE)
    }

    fn with_bugs(bugs: Bugs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimClock::at(NOW));
        let gate = Arc::new(Gate::default());
        let env = Env {
            clock: clock.clone(),
            entropy: Arc::new(SimEntropy::seeded(1)),
            disk: Arc::new(GatedDisk { disk: FileDisk, gate: gate.clone() }),
            background: Background::none(),
            bugs,
        };
        let wal = Folder::open(folder.path(), &env).unwrap();
        wal.bind(ClusterId(Uuid::from_u128(1))).unwrap();
        wal.begin_registration(None).unwrap();
        wal.registered(BROKER, INCARNATION).unwrap();
        let storage: StorageId = wal.identity().storage;
        let first = OpenSegment {
            id: SegmentId { incarnation: INCARNATION, sequence: 0 },
            nonce: 77,
            ensemble: vec![Member { broker: BROKER, storage, incarnation: INCARNATION }],
        };
        let replication = Replication::start(replication::Parts {
            folder: wal,
            env,
            config: replication::Config::default(),
            incarnation: INCARNATION,
            first: vec![first],
            store_away: Arc::new(|| false),
            metrics: replication::Metrics::new(&mut Registry::default()),
        })
        .unwrap();
        let shelf = Arc::new(Shelf::default());
        let around = Arc::new(Around {
            replication,
            history: shelf.clone(),
            clock: clock.clone(),
            bugs,
            metrics: Metrics::default(),
            cores: Cores::of_the_machine(),
        });
        Self { around, shelf, clock, gate, _folder: folder }
    }

    fn open(&self, end: i64, configs: &[(&str, &str)]) -> Arc<Partition> {
        let opening = Opening {
            id: PartitionId { topic: TopicId(Uuid::from_u128(9)), index: 0 },
            topic: Arc::from("tide"),
            leader_epoch: EPOCH,
            log_start: Offset(0),
            end: Offset(end),
            config: config(configs),
        };
        Partition::open(opening, self.around.clone())
    }
}

fn config(configs: &[(&str, &str)]) -> Arc<TopicConfig> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let overrides: Values = configs.iter().map(own).collect();
    let none = Values::new();
    let layers = Layers { broker: &none, cluster: &none, given: &none };
    Arc::new(TopicConfig::resolve(&overrides, &layers))
}

/// A batch of records at these times, each with key and value.
fn batch(times: &[i64]) -> BatchView {
    filled(BatchBuilder::new(Compression::None), times)
}

fn sequenced(producer: i64, epoch: i16, sequence: i32, records: usize) -> BatchView {
    let builder = BatchBuilder::new(Compression::None);
    let (id, epoch) = (ProducerId(producer), ProducerEpoch(epoch));
    filled(builder.producer(id, epoch, sequence), &vec![0; records])
}

fn filled(mut builder: BatchBuilder, times: &[i64]) -> BatchView {
    for time in times {
        builder.push(Millis(NOW.0 + time), Some(b"key"), Some(&[b'v'; 50]));
    }
    builder.build().unwrap()
}

/// Offsets and epoch of batches as a client sees them.
fn shapes(batches: &[Bytes]) -> Vec<(i64, i64, i32)> {
    let shape = |bytes: &Bytes| {
        let view = BatchView::parse(bytes.clone()).unwrap();
        view.check_crc().unwrap();
        (view.base_offset().0, view.end_offset().0, view.leader_epoch().0)
    };
    batches.iter().map(shape).collect()
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("this does not take long")
}

/// Holds syncs back while it is shut.
#[derive(Debug, Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
    }
}

#[derive(Debug)]
struct GatedDisk {
    disk: FileDisk,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl Disk for GatedDisk {
    fn create_folder(&self, folder: &Path) -> std::io::Result<()> {
        self.disk.create_folder(folder)
    }
    fn list(&self, folder: &Path) -> std::io::Result<Vec<String>> {
        self.disk.list(folder)
    }
    fn open(&self, path: &Path, create: bool) -> std::io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, create)?;
        Ok(Arc::new(GatedFile { file, gate: self.gate.clone() }))
    }
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.disk.read(path)
    }
    fn replace(&self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        self.disk.replace(path, content)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }
    fn delete(&self, path: &Path) -> std::io::Result<()> {
        self.disk.delete(path)
    }
    fn sync_folder(&self, folder: &Path) -> std::io::Result<()> {
        self.disk.sync_folder(folder)
    }
    fn lock(&self, path: &Path) -> std::io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.lock(path)
    }
    fn free_bytes(&self, folder: &Path) -> std::io::Result<u64> {
        self.disk.free_bytes(folder)
    }
}

impl DiskFile for GatedFile {
    fn write_at(&self, position: u64, parts: &[Bytes]) -> std::io::Result<()> {
        self.file.write_at(position, parts)
    }
    fn read_at(&self, position: u64, into: &mut [u8]) -> std::io::Result<()> {
        self.file.read_at(position, into)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.gate.pass();
        self.file.sync()
    }
    fn preallocate(&self, bytes: u64) -> std::io::Result<()> {
        self.file.preallocate(bytes)
    }
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
}
