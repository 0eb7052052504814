//! How long a broker takes to serve again, and what it takes in memory: after kill -9 with so much
//! in its WAL, and with so many objects in its metadata. `cargo bench --bench restart`.
//!
//! Prints figures; it is no test.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::print_stdout, clippy::needless_pass_by_value, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use strandline::{
    cluster::{ManifestRef, Object, SealedEntry, State},
    manifest::{Manifest, Run},
    store::{Key, path},
    types::{Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId},
};
use support::{
    process::{Broker, Setup, files},
    s3_double::S3Double,
    topics,
};

const PARTITIONS: i32 = 16;
const SOON: Duration = Duration::from_secs(600);

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for mib in [64, 1024] {
            after_kill(mib).await;
        }
        many_objects(60_000).await;
        after_commits(1_000_000).await;
    });
}

fn resident_kib(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The bucket is away while the WAL fills, so all of it is left to recover.
async fn after_kill(mib: usize) {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", PARTITIONS, &[]).await;
    double.always(Some((503, "ServiceUnavailable")));
    // Until a request has failed the broker does not know, and would roll.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let values = vec![vec![b'x'; 1000]; 1000];
    for batch in 0..mib {
        let partition = batch as i32 % PARTITIONS;
        client.produce("t", partition, topics::batch(&values)).await.unwrap();
    }
    broker.kill();
    double.always(None);
    let began = Instant::now();
    let mut broker = setup.spawn();
    broker.wait_ready(SOON);
    println!(
        "restart after kill -9 with {mib} MiB in the WAL: {:.2} s, {} MiB resident",
        began.elapsed().as_secs_f64(),
        resident_kib(&broker) / 1024
    );
}

/// Objects nobody wrote for hours: all their runs are in manifests.
async fn many_objects(count: u64) {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", PARTITIONS, &[("retention.ms", "-1")]).await;
    assert!(broker.drain(SOON).success());
    let bucket = root.path().join("bucket");
    let mut state = state_in(&bucket);
    make_up(&mut state, &bucket, count);
    write_snapshot(&state, &bucket);
    let began = Instant::now();
    let mut broker = setup.spawn();
    broker.wait_ready(SOON);
    println!(
        "start with {count} objects of {PARTITIONS} partitions: {:.2} s, {} MiB resident",
        began.elapsed().as_secs_f64(),
        resident_kib(&broker) / 1024
    );
}

/// Offsets committed over and over by many groups; then kill -9.
async fn after_commits(count: i64) {
    const GROUPS: i64 = 64;
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    let began = Instant::now();
    let committing = (0..GROUPS).map(|group| {
        let address = broker.kafka();
        tokio::spawn(async move {
            let mut client = topics::connect(&address).await;
            topics::coordinator(&mut client, &format!("g{group}")).await;
            for offset in 0..count / GROUPS {
                while !topics::commit(&mut client, &format!("g{group}"), "t", offset).await {}
            }
        })
    });
    for done in committing.collect::<Vec<_>>() {
        done.await.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    broker.kill();
    let began = Instant::now();
    let mut broker = setup.spawn();
    broker.wait_ready(SOON);
    let ready = began.elapsed().as_secs_f64();
    let mut client = topics::connect(&broker.kafka()).await;
    for group in 0..GROUPS {
        let found = topics::committed(&mut client, &format!("g{group}"), "t").await;
        assert_eq!(found, count / GROUPS - 1);
    }
    println!(
        "{count} offset commits in {took:.0} s, then kill -9: ready in {ready:.2} s, all offsets \
         right {:.2} s after the start",
        began.elapsed().as_secs_f64()
    );
}

fn state_in(bucket: &Path) -> State {
    let log = bucket.join("meta/log");
    let mut state: Option<State> = None;
    for name in files(&log) {
        let bytes = std::fs::read(log.join(name)).unwrap();
        let sealed = SealedEntry::decode(&bytes).unwrap();
        let state = state.get_or_insert_with(|| State::new(sealed.entry.cluster_id));
        state.apply(&sealed).unwrap();
    }
    state.unwrap()
}

fn make_up(state: &mut State, bucket: &Path, count: u64) {
    let first = state.next_object_id.0;
    let (incarnation, bytes) = (Incarnation(2), 4_000_000);
    for id in first..first + count {
        let manifest_runs = PARTITIONS as u32;
        let object = Object { incarnation, nonce: id, bytes, fresh_runs: 0, manifest_runs };
        state.objects.insert(ObjectId(id), object);
    }
    state.next_object_id = ObjectId(first + count);
    let mut topic = (**state.topics.values().find(|topic| topic.name == "t").unwrap()).clone();
    for (index, partition) in (0..).zip(&mut topic.partitions) {
        let id = PartitionId { topic: topic.id, index };
        let runs = (0..count).map(|at| Run {
            object: ObjectId(first + at),
            incarnation,
            nonce: first + at,
            object_bytes: bytes,
            leader_epoch: LeaderEpoch(0),
            base: Offset(at as i64 * 100),
            end: Offset(at as i64 * 100 + 100),
            bytes: bytes / PARTITIONS as u64,
            max_timestamp: Millis(1_700_000_000_000),
            last_append: Millis(1_700_000_000_000),
        });
        let manifest = Manifest::empty(id, Offset::ZERO).with_runs(runs).unwrap().numbered(1);
        write(bucket, &path::manifest(topic.id, index, 1), &manifest.encode());
        partition.end = manifest.end();
        partition.manifest = Some(ManifestRef {
            version: 1,
            start: Offset::ZERO,
            end: manifest.end(),
            bytes: manifest.bytes(),
            runs: count,
            oldest_timestamp: Millis(1_700_000_000_000),
        });
    }
    state.topics.insert(topic.id, topic.into());
}

fn write_snapshot(state: &State, bucket: &Path) {
    let json = serde_json::to_vec(&serde_json::json!({ "format": 1, "state": state })).unwrap();
    let hash = Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = [hash.as_bytes(), b"\n", &json].concat();
    write(bucket, &path::snapshot(state.index, &hash), &text);
    let floor = serde_json::json!({
        "format": 1, "cluster_id": state.cluster_id, "floor": 0, "trimmed": 0,
        "snapshots": [{ "index": state.index, "digest": hash }], "retired": [],
        "nonce": "00000000-0000-4000-8000-000000000000",
    });
    write(bucket, &path::floor(), &serde_json::to_vec(&floor).unwrap());
}

fn write(bucket: &Path, key: &Key, bytes: &[u8]) {
    let file = bucket.join(key.as_str());
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
}
