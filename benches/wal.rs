//! Throughput and latency of the log alone: `cargo bench --bench wal -- [FOLDER]`.
//!
//! Batches of several sizes from several tasks, each waiting for its commit. The bucket's side is
//! played by a task that trims closed segments at once.

#![allow(clippy::print_stdout, reason = "figures are its output")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use strandline::{
    crc::crc32c,
    env::Env,
    metrics::Registry,
    replication::{
        Append, BATCH_HEADER_BYTES, CommittedBatch, Config, Metrics, Parts, Replication, Sink,
    },
    types::{
        BrokerId, ByteCount, ClusterId, Incarnation, LeaderEpoch, Millis, Offset, PartitionId,
        SegmentId, StorageId, TopicId,
    },
    wal::{Folder, Member, OpenSegment},
};

struct Nobody;

impl Sink for Nobody {
    fn committed(&self, _batch: CommittedBatch) {}
    fn evicted(&self, _end: Offset) {}
}

fn segment(storage: StorageId, sequence: u64) -> OpenSegment {
    let incarnation = Incarnation(1);
    let member = Member { broker: BrokerId(1), storage, incarnation };
    let nonce = rand_nonce(sequence);
    OpenSegment { id: SegmentId { incarnation, sequence }, nonce, ensemble: vec![member] }
}

fn rand_nonce(sequence: u64) -> u64 {
    (sequence + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn start(path: &std::path::Path) -> Replication {
    let env = Env::real();
    let folder = Folder::open(path, &env).expect("an empty folder opens");
    folder.bind(ClusterId::default()).expect("it binds");
    folder.registered(BrokerId(1), Incarnation(1)).expect("it registers");
    let storage = folder.identity().storage;
    let log = Replication::start(Parts {
        folder,
        env,
        config: Config { budget: ByteCount::mib(2048), ..Config::default() },
        incarnation: Incarnation(1),
        first: vec![segment(storage, 0), segment(storage, 1), segment(storage, 2)],
        store_away: Arc::new(|| false),
        metrics: Metrics::new(&mut Registry::default()),
    });
    let log = log.expect("the log starts");
    let uploader = log.clone();
    tokio::spawn(async move {
        for sequence in 3.. {
            let closed = uploader.next_closed().await;
            uploader.add_spare(segment(storage, sequence));
            uploader.trim(closed.id);
        }
    });
    log
}

async fn run(log: &Replication, tasks: usize, bytes: usize, time: Duration) {
    let next = Arc::new(AtomicI64::new(0));
    let begun = Instant::now();
    let work = (0..tasks).map(|task| {
        let (log, next) = (log.clone(), next.clone());
        tokio::spawn(async move {
            let mut batch = vec![7; bytes.max(BATCH_HEADER_BYTES)];
            let (head, body) = batch.split_at_mut(21);
            let crc = crc32c(body);
            head.iter_mut().skip(17).zip(crc.to_be_bytes()).for_each(|(to, from)| *to = from);
            let header = *batch.first_chunk().expect("a batch has a header");
            let sink: Arc<dyn Sink> = Arc::new(Nobody);
            let mut took = Vec::new();
            while begun.elapsed() < time {
                let offset = next.fetch_add(1, Ordering::Relaxed);
                let index = i32::try_from(task).expect("few tasks");
                let started = Instant::now();
                let commit = log.append(Append {
                    partition: PartitionId { topic: TopicId::default(), index },
                    leader_epoch: LeaderEpoch(0),
                    header,
                    batch: &batch,
                    base_offset: Offset(offset),
                    end_offset: Offset(offset + 1),
                    max_timestamp: Millis(0),
                    internal: false,
                    sink: sink.clone(),
                    room: None,
                });
                commit.expect("there is room").await.expect("it commits");
                took.push(started.elapsed());
            }
            took
        })
    });
    let mut took = Vec::new();
    for task in work.collect::<Vec<_>>() {
        took.extend(task.await.expect("no task panics"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100).copied().unwrap_or_default();
    let count = u32::try_from(took.len()).map_or(f64::NAN, f64::from);
    let mib = count * u32::try_from(bytes).map_or(f64::NAN, f64::from) / 1024.0 / 1024.0;
    println!(
        "{tasks:3} tasks of {bytes:7} B: {:8.1} MiB/s {:8.0} appends/s   p50 {:?} p99 {:?}",
        mib / seconds,
        count / seconds,
        at(50),
        at(99)
    );
}

#[tokio::main]
async fn main() {
    let given = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    let path = given.map_or_else(|| std::env::temp_dir().join("strandline-bench"), PathBuf::from);
    let log = start(&path);
    for (tasks, bytes) in [(1, 1024), (16, 1024), (1, 16_384), (16, 16_384), (4, 1_000_000)] {
        run(&log, tasks, bytes, Duration::from_secs(3)).await;
    }
    log.stop().await;
    println!("figures of {}: delete it when done", path.display());
}
