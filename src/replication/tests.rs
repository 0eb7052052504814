mod cluster;
mod crash;
mod ensemble;
mod lone;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use crate::{
    crc::crc32c,
    env::{
        Env,
        sim::{
            SimEntropy,
            disk::{Fault, SimDisk},
        },
    },
    types::{BrokerId, ByteCount, ClusterId, Incarnation, SegmentId, StorageId, TopicId},
    wal::{self, Member},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

struct Tail {
    committed: Mutex<Vec<CommittedBatch>>,
    evicted: Mutex<Offset>,
}

impl Sink for Tail {
    fn committed(&self, batch: CommittedBatch) {
        self.committed.lock().unwrap().push(batch);
    }

    fn evicted(&self, end: Offset) {
        let mut evicted = self.evicted.lock().unwrap();
        assert!(end > *evicted, "evicted in order");
        *evicted = end;
    }
}

struct World {
    env: Env,
    path: PathBuf,
    config: Config,
    away: Arc<AtomicBool>,
    tail: Arc<Tail>,
    next: Mutex<i64>,
}

impl World {
    fn new(env: Env, path: &Path) -> Self {
        let config = Config {
            budget: ByteCount::mib(8),
            roll_bytes: ByteCount::kib(64),
            roll_after: Duration::from_secs(3600),
            memory: ByteCount::mib(8),
            waiting: ByteCount::mib(32),
        };
        let tail = Tail { committed: Mutex::default(), evicted: Mutex::new(Offset::ZERO) };
        Self {
            env,
            path: path.to_owned(),
            config,
            away: Arc::default(),
            tail: Arc::new(tail),
            next: Mutex::new(0),
        }
    }

    fn simulated(disk: &SimDisk) -> Self {
        let env = Env {
            disk: Arc::new(disk.clone()),
            entropy: Arc::new(SimEntropy::seeded(1)),
            ..Env::real()
        };
        Self::new(env, Path::new("/wal"))
    }

    async fn folder(&self) -> Folder {
        // The threads of a killed log let go of the folder a moment later.
        for _ in 0..400 {
            match Folder::open(&self.path, &self.env) {
                Err(wal::Error::Locked { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => return other.unwrap(),
            }
        }
        panic!("the folder stays locked");
    }

    async fn start(&self, incarnation: u64, segments: u64) -> Replication {
        let folder = self.folder().await;
        self.start_in(folder, incarnation, segments).unwrap()
    }

    fn start_in(
        &self,
        folder: Folder,
        incarnation: u64,
        segments: u64,
    ) -> Result<Replication, Error> {
        let incarnation = Incarnation(incarnation);
        folder.bind(ClusterId(Uuid::from_u128(1)))?;
        folder.begin_registration(folder.identity().incarnation)?;
        folder.registered(BrokerId(1), incarnation)?;
        let storage = folder.identity().storage;
        let away = self.away.clone();
        Replication::start(Parts {
            folder,
            env: self.env.clone(),
            config: self.config.clone(),
            incarnation,
            first: (0..segments).map(|n| segment(storage, incarnation.0, n)).collect(),
            store_away: Arc::new(move || away.load(Ordering::Relaxed)),
            metrics: Metrics::new(&mut crate::metrics::Registry::default()),
        })
    }

    fn append(&self, log: &Replication, bytes: usize) -> Result<Commit, AppendError> {
        self.append_as(log, bytes, false, None)
    }

    fn append_as(
        &self,
        log: &Replication,
        bytes: usize,
        internal: bool,
        room: Option<Room>,
    ) -> Result<Commit, AppendError> {
        let mut next = self.next.lock().unwrap();
        let mut batch = vec![u8::try_from(*next % 251).unwrap(); bytes.max(BATCH_HEADER_BYTES)];
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        let commit = log.append(Append {
            partition: PartitionId { topic: TopicId(Uuid::from_u128(9)), index: 0 },
            leader_epoch: LeaderEpoch(1),
            header: batch[..BATCH_HEADER_BYTES].try_into().unwrap(),
            batch: &batch,
            base_offset: Offset(*next),
            end_offset: Offset(*next + 1),
            max_timestamp: Millis(5),
            internal,
            sink: self.tail.clone(),
            room,
        })?;
        *next += 1;
        Ok(commit)
    }

    fn committed(&self) -> Vec<Offset> {
        self.tail.committed.lock().unwrap().iter().map(|batch| batch.base_offset).collect()
    }
}

fn segment(storage: StorageId, incarnation: u64, sequence: u64) -> OpenSegment {
    let incarnation = Incarnation(incarnation);
    OpenSegment {
        id: SegmentId { incarnation, sequence },
        nonce: incarnation.0 * 1000 + sequence,
        ensemble: vec![Member { broker: BrokerId(1), storage, incarnation }],
    }
}

fn spare(log: &Replication, sequence: u64) -> OpenSegment {
    let identity = log.shared.folder.identity();
    segment(identity.storage, identity.incarnation.unwrap().0, sequence)
}

fn offsets(entries: impl Iterator<Item = Result<wal::Entry, wal::Error>>) -> Vec<Offset> {
    let mut offsets = Vec::new();
    for entry in entries {
        for batch in entry.unwrap().batches {
            let value = u8::try_from(batch.base_offset.0 % 251).unwrap();
            let mut own = batch.bytes[..17].iter().chain(&batch.bytes[21..]);
            assert!(own.all(|byte| *byte == value), "the batch's own bytes");
            offsets.push(batch.base_offset);
        }
    }
    offsets
}

fn counted(range: std::ops::Range<i64>) -> Vec<Offset> {
    range.map(Offset).collect()
}

fn named(disk: &SimDisk, prefix: &str) -> usize {
    let names = crate::env::disk::Disk::list(disk, Path::new("/wal")).unwrap();
    names.iter().filter(|name| name.starts_with(prefix)).count()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens soon")
}

async fn until(fact: impl Fn() -> bool) {
    soon(async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_append_is_committed_in_order_and_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(Env::real(), folder.path());
    let log = world.start(1, 2).await;
    let commits: Vec<_> = (0..100).map(|n| world.append(&log, 70 + n).unwrap()).collect();
    for commit in commits {
        soon(commit).await.unwrap();
    }
    assert_eq!(world.committed(), counted(0..100));
    let position = world.tail.committed.lock().unwrap()[50].position;
    let read = log.read_at(position).unwrap();
    assert!(read.iter().any(|batch| batch.base_offset == Offset(50)));
    drop(log);

    let folder = world.folder().await;
    let storage = folder.identity().storage;
    let segments = [segment(storage, 1, 0), segment(storage, 1, 1)];
    let recovered = recover(&folder, &segments).unwrap();
    assert_eq!(recovered.segments[1].entries, 0);
    let first = segments[0].id;
    assert_eq!(offsets(recovered.read(first).unwrap()), counted(0..100));
    assert_eq!(recover(&folder, &segments).unwrap().segments, recovered.segments, "repeatable");
    folder.trim(first).unwrap();
    assert!(recovered.read(first).is_err());
}

#[tokio::test]
async fn a_barrier_waits_for_what_was_appended_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(Env::real(), folder.path());
    let log = world.start(1, 2).await;
    for count in 1..=100 {
        let commit = world.append(&log, 200).unwrap();
        soon(log.barrier()).await.unwrap();
        assert_eq!(world.committed().len(), count, "what a coordinator shows is on the disk");
        soon(commit).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_segment_rolls_into_the_spare_and_closes_in_order() {
    let disk = SimDisk::new();
    let world = World::simulated(&disk);
    let log = world.start(1, 2).await;
    let mut wants = log.wants_spare();
    assert!(!*wants.borrow());
    let mut sequence = 2;
    let mut last = None;
    for _ in 0..60 {
        last = Some(world.append(&log, 5000).unwrap());
        if *wants.borrow_and_update() {
            log.add_spare(spare(&log, sequence));
            sequence += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    soon(last.unwrap()).await.unwrap();
    log.roll();
    if *wants.borrow() {
        log.add_spare(spare(&log, sequence));
    }
    let (mut read, mut number) = (Vec::new(), 0);
    while read.len() < 60 {
        let closed = soon(log.next_closed()).await;
        assert_eq!((closed.id.sequence, closed.nonce), (number, 1000 + number));
        assert!(closed.bytes > 0 && closed.first_append_ms.is_some());
        let entries: Vec<_> = log.read_segment(closed.id).unwrap().collect();
        read.extend(offsets(entries.into_iter()));
        log.trim(closed.id);
        number += 1;
    }
    assert!(number > 3, "64 KiB each");
    assert_eq!(read, counted(0..60));
    until(|| log.at_risk().bytes == 0).await;
    soon(log.stop()).await;
    assert_eq!(soon(log.ended()).await, EndReason::Stopped);
}

#[tokio::test]
async fn while_the_bucket_is_away_the_segment_grows_up_to_the_budget() {
    let disk = SimDisk::new();
    let mut world = World::simulated(&disk);
    world.config.budget = ByteCount::kib(500);
    let log = world.start(1, 2).await;
    world.away.store(true, Ordering::Relaxed);
    let mut count = 0;
    let refused = loop {
        match world.append(&log, 3000) {
            Ok(commit) => drop(soon(commit).await.unwrap()),
            Err(error) => break error,
        }
        count += 1;
    };
    assert_eq!(refused, AppendError::Full);
    assert!(count > 100, "{count} appended");
    soon(world.append_as(&log, 3000, true, None).unwrap()).await.unwrap();
    assert!(disk.has(Path::new("/wal/1-0-00000000000003e8-6.wal")), "one segment, many files");
    world.away.store(false, Ordering::Relaxed);
    let closed = soon(log.next_closed()).await;
    assert_eq!(offsets(log.read_segment(closed.id).unwrap()), counted(0..count + 1));
    log.trim(closed.id);
    soon(world.append(&log, 3000).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_segment_rolls_by_age_but_never_empty_and_barriers_do_not_count() {
    let disk = SimDisk::new();
    let mut world = World::simulated(&disk);
    world.config.roll_after = Duration::from_millis(30);
    let log = world.start(1, 2).await;
    let before = disk.operations();
    for _ in 0..20 {
        soon(log.barrier()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(disk.operations() - before < 12, "barriers of a lone broker write nothing");
    assert_eq!(log.at_risk().oldest_append_ms, None);
    soon(world.append(&log, 100).unwrap()).await.unwrap();
    let closed = soon(log.next_closed()).await;
    assert_eq!((closed.id.sequence, closed.entries), (0, 2));
    let none = tokio::time::timeout(Duration::from_millis(100), log.next_closed()).await;
    assert!(none.is_err(), "an empty segment never rolls");
    soon(world.append(&log, 100).unwrap()).await.unwrap();
    let none = tokio::time::timeout(Duration::from_millis(100), log.next_closed()).await;
    assert!(none.is_err(), "nor one without a spare");
    log.add_spare(spare(&log, 2));
    assert_eq!(soon(log.next_closed()).await.id.sequence, 1);
}

#[tokio::test]
async fn drained_segments_and_spares_are_all_closed() {
    let disk = SimDisk::new();
    let world = World::simulated(&disk);
    let log = world.start(1, 3).await;
    let commit = world.append(&log, 100).unwrap();
    log.drain();
    soon(commit).await.unwrap();
    let mut closed = Vec::new();
    for _ in 0..3 {
        let next = soon(log.next_closed()).await;
        closed.push((next.id.sequence, next.nonce, next.entries));
    }
    assert_eq!(closed, [(0, 1000, 2), (1, 1001, 0), (2, 1002, 0)]);
    assert!(matches!(world.append(&log, 100), Err(AppendError::NoSegment)));
    log.add_spare(spare(&log, 3));
    assert_eq!(soon(log.next_closed()).await.id.sequence, 3);
    for (sequence, ..) in closed {
        log.trim(spare(&log, sequence).id);
    }
    until(|| named(&disk, "1-") == 0).await;
    soon(log.stop()).await;
}

#[tokio::test]
async fn evicted_entries_are_read_from_the_file() {
    let disk = SimDisk::new();
    let mut world = World::simulated(&disk);
    world.config.memory = ByteCount::kib(10);
    let log = world.start(1, 2).await;
    for _ in 0..10 {
        soon(world.append(&log, 3000).unwrap()).await.unwrap();
    }
    // A commit resolves before the oldest are told that they leave.
    until(|| *world.tail.evicted.lock().unwrap() == Offset(7)).await;
    log.roll();
    let closed = soon(log.next_closed()).await;
    assert_eq!(offsets(log.read_segment(closed.id).unwrap()), counted(0..10));
    let position = world.tail.committed.lock().unwrap()[2].position;
    assert_eq!(log.read_at(position).unwrap()[0].base_offset, Offset(2));
    log.trim(closed.id);
    until(|| matches!(log.read_at(position), Err(wal::Error::Gone(_)))).await;
}

#[tokio::test]
async fn after_a_disk_error_nothing_is_acknowledged() {
    let whole = {
        let disk = SimDisk::new();
        let world = World::simulated(&disk);
        let log = world.start(1, 2).await;
        for _ in 0..5 {
            soon(world.append(&log, 100).unwrap()).await.unwrap();
        }
        disk.operations()
    };
    for step in 0..whole {
        let disk = SimDisk::new();
        let world = World::simulated(&disk);
        disk.fault_at(step, Fault::Error(std::io::ErrorKind::Other));
        let Ok(folder) = Folder::open(&world.path, &world.env) else { continue };
        let Ok(log) = world.start_in(folder, 1, 2) else { continue };
        let mut acknowledged = 0;
        let mut failed = false;
        for _ in 0..6 {
            let Ok(commit) = world.append(&log, 100) else {
                failed = true;
                break;
            };
            let committed = soon(commit).await.is_ok();
            assert!(!(failed && committed), "step {step}: acknowledged after an error");
            failed |= !committed;
            acknowledged += u64::from(committed);
        }
        if failed {
            assert!(matches!(soon(log.ended()).await, EndReason::Disk(_)), "step {step}");
            assert!(soon(log.barrier()).await.is_err());
        }
        let after = disk.reboot(|| false);
        let world = World::simulated(&after);
        let folder = world.folder().await;
        let storage = folder.identity().storage;
        let recovered = recover(&folder, &[segment(storage, 1, 0), segment(storage, 1, 1)]);
        let entries = recovered.unwrap().segments[0].entries;
        assert!(entries.saturating_sub(1) >= acknowledged, "step {step}: {entries} entries");
    }
}

#[tokio::test]
async fn a_power_cut_at_any_step_loses_nothing_acknowledged() {
    for step in 5..60 {
        for mode in 0..3u64 {
            let disk = SimDisk::new();
            let world = World::simulated(&disk);
            disk.fault_at(step, Fault::PowerCut);
            let Ok(folder) = Folder::open(&world.path, &world.env) else { continue };
            let Ok(log) = world.start_in(folder, 1, 3) else { continue };
            let mut acknowledged = 0;
            for turn in 0..12 {
                let Ok(commit) = world.append(&log, 9000) else { break };
                if soon(commit).await.is_err() {
                    break;
                }
                acknowledged += 1;
                if turn == 5 {
                    log.roll();
                }
            }
            let random = SimEntropy::seeded(step * 10 + mode);
            let after = disk.reboot(|| match mode {
                0 => false,
                1 => true,
                _ => crate::env::entropy::Entropy::below(&random, 2) == 0,
            });
            drop(log);
            let world = World::simulated(&after);
            let folder = world.folder().await;
            let storage = folder.identity().storage;
            let segments = [0, 1, 2].map(|sequence| segment(storage, 1, sequence));
            let recovered = recover(&folder, &segments).unwrap();
            let mut read = Vec::new();
            for decided in recovered.segments.iter().filter(|decided| decided.entries > 0) {
                read.extend(offsets(recovered.read(decided.id).unwrap()));
            }
            assert_eq!(read, counted(0..i64::try_from(read.len()).unwrap()));
            assert!(read.len() >= acknowledged, "step {step} mode {mode}");
        }
    }
}

#[tokio::test]
async fn without_room_writes_wait_and_go_on_by_themselves() {
    let disk = SimDisk::new();
    let world = World::simulated(&disk);
    let log = world.start(1, 1).await;
    soon(world.append(&log, 100).unwrap()).await.unwrap();
    until(|| named(&disk, "free-") == 1).await;
    // One more file is there for the segment to grow into; then there is no room.
    let free = log.shared.folder.free_bytes().unwrap().0;
    disk.set_capacity(Some(u64::MAX / 4 - free));
    let mut appended = 1;
    let refused = soon(async {
        loop {
            match world.append(&log, 10_000) {
                Ok(commit) => {
                    appended += 1;
                    drop(tokio::time::timeout(Duration::from_millis(50), commit).await);
                }
                Err(error) => break error,
            }
        }
    })
    .await;
    assert_eq!(refused, AppendError::DiskFull);
    disk.set_capacity(None);
    until(|| world.committed().len() == appended).await;
    soon(async {
        loop {
            match world.append(&log, 10_000) {
                Ok(commit) => break commit.await,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn lost_and_damaged_segments_are_named() {
    let disk = SimDisk::new();
    let world = World::simulated(&disk);
    let log = world.start(1, 2).await;
    for _ in 0..3 {
        soon(world.append(&log, 3000).unwrap()).await.unwrap();
    }
    drop(log);
    let file = Path::new("/wal/1-0-00000000000003e8-0.wal");
    let folder = world.folder().await;
    let storage = folder.identity().storage;
    let segments = [segment(storage, 1, 0), segment(storage, 1, 1)];
    disk.damage(file, |bytes| bytes[3000] ^= 1);
    let Err(Unrecoverable::Missing { missing, suspect }) = recover(&folder, &segments) else {
        panic!("damage is no tail");
    };
    assert_eq!((missing, suspect.len(), suspect[0].0), (vec![], 1, segments[0].id));
    let far = [segment(storage, 1, 40)];
    let Err(Unrecoverable::Missing { missing, .. }) = recover(&folder, &far) else {
        panic!("a segment far beyond those made here was made by a lost state");
    };
    assert_eq!(missing, [far[0].id]);
    let other = [segment(StorageId(Uuid::from_u128(77)), 1, 1)];
    assert!(matches!(recover(&folder, &other), Err(Unrecoverable::Missing { .. })));
    disk.delete_file(file);
    drop(folder);
    let folder = world.folder().await;
    let Err(Unrecoverable::Missing { missing, .. }) = recover(&folder, &segments) else {
        panic!("lost files are no empty segment");
    };
    assert_eq!(missing, [segments[0].id]);
}

#[tokio::test]
async fn a_batch_larger_than_a_file_is_refused_for_good() {
    let disk = SimDisk::new();
    let world = World::simulated(&disk);
    let log = world.start(1, 2).await;
    assert!(matches!(world.append(&log, 65_000), Err(AppendError::TooLarge)));
    soon(world.append(&log, 60_000).unwrap()).await.unwrap();
    soon(world.append(&log, 60_000).unwrap()).await.unwrap();
    assert!(matches!(world.start_in(log.shared.folder.clone(), 2, 0).map(|_| ()), Ok(())));
}

#[tokio::test]
async fn many_appenders_share_entries_and_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(World::new(Env::real(), folder.path()));
    let log = world.start(1, 2).await;
    let tasks = (0..50).map(|_| {
        let (world, log) = (world.clone(), log.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                world.append(&log, 200).unwrap().await.unwrap();
            }
        })
    });
    soon(futures::future::try_join_all(tasks)).await.unwrap();
    assert_eq!(world.committed(), counted(0..500));
    soon(log.stop()).await;
}

#[tokio::test]
async fn who_waits_for_a_place_gets_it_in_turn_and_is_not_refused() {
    const BATCH: usize = 8 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(Env::real(), folder.path());
    world.config.roll_bytes = ByteCount::mib(1);
    world.config.waiting = ByteCount(super::group::ARENA_BYTES + 16 * 1024);
    let world = Arc::new(world);
    let log = world.start(1, 2).await;
    let first = log.room(BATCH).await.unwrap();
    let second = log.room(BATCH).await.unwrap();
    let mut third = Box::pin(log.room(BATCH));
    assert!(futures::poll!(third.as_mut()).is_pending(), "there are two places");
    drop(first);
    let third = soon(third).await.unwrap();
    drop((second, third));
    let tasks = (0..50).map(|_| {
        let (world, log) = (world.clone(), log.clone());
        tokio::spawn(async move {
            let room = log.room(BATCH).await;
            world.append_as(&log, BATCH, false, room).unwrap().await.unwrap();
        })
    });
    soon(futures::future::try_join_all(tasks)).await.unwrap();
    assert_eq!(world.committed(), counted(0..50));
    let large = soon(log.room(1 << 30)).await;
    assert!(large.is_some(), "who wants more than there is gets all of it");
    drop(large);
    soon(log.stop()).await;
}

#[tokio::test]
async fn a_segment_that_only_its_successor_tells_of_is_named_as_missing() {
    let disk = SimDisk::new();
    let world = World::simulated(&disk);
    let log = world.start(1, 2).await;
    soon(world.append(&log, 3000).unwrap()).await.unwrap();
    log.roll();
    let closed = soon(log.next_closed()).await;
    soon(world.append(&log, 3000).unwrap()).await.unwrap();
    drop(log);
    let folder = world.folder().await;
    // Given back too early: nothing in the folder tells of it any more.
    folder.trim(closed.id).unwrap();
    let storage = folder.identity().storage;
    let segments = [segment(storage, 1, 0), segment(storage, 1, 1)];
    let Err(Unrecoverable::Missing { missing, suspect }) = recover(&folder, &segments) else {
        panic!("what was acknowledged is not here");
    };
    assert_eq!((missing, suspect), (vec![closed.id], vec![]));
}
