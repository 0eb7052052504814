//! Damage done from outside: the broker must refuse loudly, or the checker or the audit must tell.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    history::{History, Log, Outcome, Recorder, Value, What, check},
    load::{PARTITIONS, TOPIC, batch_of, read_whole},
    support::{
        process::{Broker, Setup, files},
        topics,
    },
};

const SOON: Duration = Duration::from_secs(60);

/// A broker on folders, with a topic.
async fn broker(root: &Path, arguments: &[&str]) -> Broker {
    let broker = Setup::folders(root).with(arguments).start();
    let mut control = topics::connect(&broker.kafka()).await;
    topics::create(&mut control, TOPIC, PARTITIONS, &[("retention.ms", "-1")]).await;
    broker
}

/// Some acknowledged records on partition 0.
async fn write(broker: &Broker, recorder: &Recorder, sequences: std::ops::Range<u64>) {
    let mut connection = topics::connect(&broker.kafka()).await;
    for sequence in sequences {
        let values = vec![Value { producer: 1, sequence }];
        let start = recorder.now();
        let ack = connection.produce(TOPIC, 0, batch_of(&values, None)).await.unwrap();
        let what = What::Send { values, base: Some(ack.base_offset.0) };
        recorder.note(1, 0, start, Outcome::Ok, what);
    }
}

async fn judged(broker: &Broker, recorder: &Recorder) -> Vec<check::Kind> {
    let log = read_whole(&broker.kafka(), 0).await.unwrap_or_else(|_| Log::default());
    let mut history = History { ops: recorder.take(), ..History::default() };
    history.finals.insert(0, log);
    check::judge(&history).kinds().into_iter().collect()
}

fn fsck(bucket: &str) -> (bool, String) {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(["fsck", bucket, "--deep", "--json"])
        .output()
        .unwrap();
    (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Objects of records in a folder bucket.
fn objects(root: &Path) -> Vec<PathBuf> {
    let folder = root.join("bucket");
    let data = files(&folder).into_iter().filter(|name| name.starts_with("data/"));
    data.map(|name| folder.join(name)).collect()
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_deleted_by_somebody_is_told_by_the_audit_and_missed_by_the_checker() {
    let root = tempfile::tempdir().unwrap();
    let first = broker(root.path(), &[]).await;
    let (setup, recorder) = (first.setup.clone(), Recorder::default());
    write(&first, &recorder, 0..50).await;
    assert!(first.drain(SOON).success());
    assert!(fsck(&setup.bucket).0);
    let objects = objects(root.path());
    assert!(!objects.is_empty());
    for object in objects {
        fs::remove_file(object).unwrap();
    }
    let (whole, told) = fsck(&setup.bucket);
    assert!(!whole && told.contains("missing-object"), "{told}");
    let second = setup.start();
    assert_eq!(judged(&second, &recorder).await, [check::Kind::Lost]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_ahead_log_that_is_gone_stops_the_broker_until_a_person_accepts_the_loss() {
    let root = tempfile::tempdir().unwrap();
    let first = broker(root.path(), &["--roll-after", "1h", "--lease", "3s"]).await;
    let (setup, recorder) = (first.setup.clone(), Recorder::default());
    write(&first, &recorder, 0..50).await;
    first.kill();
    fs::rename(&setup.wal, root.path().join("gone")).unwrap();
    let mut second = setup.spawn();
    second.wait_for("the way out", SOON, |broker| broker.log().contains("cluster accept-loss"));
    assert!(fsck(&setup.bucket).0, "the bucket itself is whole");
    drop(second);
    // Put back, it has everything.
    fs::remove_dir_all(&setup.wal).unwrap();
    fs::rename(root.path().join("gone"), &setup.wal).unwrap();
    let third = setup.start();
    assert_eq!(judged(&third, &recorder).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_was_accepted_is_seen_by_the_checker_and_leaves_a_whole_bucket() {
    let root = tempfile::tempdir().unwrap();
    let first = broker(root.path(), &["--roll-after", "1h", "--lease", "3s"]).await;
    let (setup, recorder) = (first.setup.clone(), Recorder::default());
    write(&first, &recorder, 0..50).await;
    first.kill();
    fs::remove_dir_all(&setup.wal).unwrap();
    let mut second = setup.spawn();
    second.wait_for("the way out", SOON, |broker| broker.log().contains("cluster accept-loss"));
    let accepted = std::process::Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(["cluster", "accept-loss", "--yes", "--http", &format!("127.0.0.1:{}", setup.http)])
        .output()
        .unwrap();
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    second.wait_ready(SOON);
    assert_eq!(judged(&second, &recorder).await, [check::Kind::Lost]);
    assert!(second.drain(SOON).success());
    let (whole, told) = fsck(&setup.bucket);
    assert!(whole, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_write_ahead_log_put_back_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let first = broker(root.path(), &["--roll-after", "1h"]).await;
    let (setup, recorder) = (first.setup.clone(), Recorder::default());
    write(&first, &recorder, 0..20).await;
    first.kill();
    copy(&setup.wal, &root.path().join("old"));
    let second = setup.start();
    write(&second, &recorder, 20..40).await;
    second.kill();
    fs::rename(&setup.wal, root.path().join("newest")).unwrap();
    copy(&root.path().join("old"), &setup.wal);
    let mut third = setup.spawn();
    let status = third.wait_exit(SOON);
    assert!(!status.success());
    assert!(third.log().contains("a copy or snapshot was put back"), "{}", third.log());
    // With the right one nothing is missing.
    fs::remove_dir_all(&setup.wal).unwrap();
    fs::rename(root.path().join("newest"), &setup.wal).unwrap();
    let fourth = setup.start();
    assert_eq!(judged(&fourth, &recorder).await, []);
}

/// Flips one bit in each of many places of the log, one start each: the broker refuses, or what it
/// gives is all there was.
#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_in_a_stopped_brokers_log_are_refused_or_do_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let first = broker(root.path(), &["--roll-after", "1h"]).await;
    let (setup, recorder) = (first.setup.clone(), Recorder::default());
    write(&first, &recorder, 0..40).await;
    first.kill();
    let history = recorder.take();
    let (whole, bucket) = (root.path().join("whole-wal"), root.path().join("whole-bucket"));
    copy(&setup.wal, &whole);
    copy(&root.path().join("bucket"), &bucket);
    let (mut refused, mut harmless) = (0, 0);
    // The bytes of the records: somewhere in one of the files.
    let needle = Value { producer: 1, sequence: 5 }.encode(10)[..4].to_vec();
    let (file, place) = files(&whole)
        .into_iter()
        .find_map(|name| {
            let bytes = fs::read(whole.join(&name)).unwrap();
            let at = bytes.windows(needle.len()).position(|window| window == needle)?;
            Some((name, at))
        })
        .unwrap();
    for distance in [0, 30, 77, 130, 200, 1000] {
        fs::remove_dir_all(&setup.wal).unwrap();
        fs::remove_dir_all(root.path().join("bucket")).unwrap();
        copy(&whole, &setup.wal);
        copy(&bucket, &root.path().join("bucket"));
        let mut bytes = fs::read(setup.wal.join(&file)).unwrap();
        bytes[place + distance] ^= 0x10;
        fs::write(setup.wal.join(&file), bytes).unwrap();
        let mut broker = setup.spawn();
        let until = std::time::Instant::now() + SOON;
        let serves = loop {
            let says = broker.get("/readyz");
            if says.as_ref().is_some_and(|(code, _)| *code == 200) {
                break true;
            }
            let waits = says.is_some_and(|(_, body)| body.contains("accept-loss"));
            if waits || broker.ended().is_some() {
                break false;
            }
            assert!(std::time::Instant::now() < until, "{}", broker.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        if serves {
            let recorder = Recorder::default();
            recorder.put(history.clone());
            assert_eq!(judged(&broker, &recorder).await, [], "at {place} + {distance}");
            harmless += 1;
        } else {
            refused += 1;
        }
    }
    println!("flipped bits: {refused} refused, {harmless} harmless");
    assert!(refused > 0);
}
