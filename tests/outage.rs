//! The bucket is away, refuses, or the disk is full: what is acknowledged stays, what cannot be
//! taken is refused with an error that clients retry, and all mends itself.

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use strandline::{
    client::{Connection, Error},
    types::Offset,
};
use support::{
    process::Setup,
    s3_double::S3Double,
    topics::{self, batch, read_all},
};

const SOON: Duration = Duration::from_secs(40);
const DOWN: Option<(u16, &str)> = Some((503, "ServiceUnavailable"));
/// Kafka's codes that a client tries again by itself.
const RETRIABLE: &[i16] = &[3, 5, 6, 7, 13, 14, 15, 16, 19, 20, 56];

/// Produces until it is refused with a retriable code; gives how many records were taken.
async fn fill(client: &mut Connection, topic: &str) -> u64 {
    let value = vec![b'x'; 60_000];
    let began = Instant::now();
    let mut taken = 0;
    loop {
        match client.produce(topic, 0, batch(&[&value])).await {
            Ok(_) => taken += 1,
            Err(Error::Refused(code)) => {
                assert!(RETRIABLE.contains(&code), "error code {code} is final for a client");
                return taken;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(began.elapsed() < SOON, "took {taken} records and never refused one");
    }
}

/// Produces one record as a client does: again after a retriable refusal.
async fn produce_at_last(client: &mut Connection, topic: &str) -> Offset {
    let began = Instant::now();
    loop {
        match client.produce(topic, 0, batch(&["at last"])).await {
            Ok(ack) => return ack.base_offset,
            Err(Error::Refused(code)) if RETRIABLE.contains(&code) => {}
            Err(other) => panic!("{other}"),
        }
        assert!(began.elapsed() < SOON, "still refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_reads_go_on_while_the_bucket_is_away_and_all_is_there_when_it_returns() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double).with(&["--roll-after", "300ms"]);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    client.produce("t", 0, batch(&["before"])).await.unwrap();
    double.always(DOWN);
    let (began, mut count) = (Instant::now(), 1);
    while began.elapsed() < Duration::from_secs(4) {
        client.produce("t", 0, batch(&[format!("during {count}")])).await.unwrap();
        count += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(read_all(&mut client, "t", 0).await.len(), count);
    double.always(None);
    assert!(broker.drain(SOON).success());
    let other = setup.elsewhere(root.path()).start();
    let mut client = topics::connect(&other.kafka()).await;
    assert_eq!(read_all(&mut client, "t", 0).await.len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_while_the_bucket_is_away_it_waits_says_why_and_loses_nothing() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    double.always(DOWN);
    for index in 0..20 {
        client.produce("t", 0, batch(&[format!("{index}")])).await.unwrap();
    }
    broker.kill();
    let mut broker = setup.spawn();
    broker.wait_reason("waiting for the bucket", SOON);
    assert!(broker.get("/readyz").unwrap().1.contains("503"), "{:?}", broker.get("/readyz"));
    double.always(None);
    broker.wait_ready(SOON);
    let mut client = topics::connect(&broker.kafka()).await;
    assert_eq!(read_all(&mut client, "t", 0).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_wal_budget_is_a_retriable_error_and_ends_with_the_outage() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double).with(&[
        "--roll-bytes",
        "1MiB",
        "--wal-budget",
        "8MiB",
    ]);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    double.always(DOWN);
    let taken = fill(&mut client, "t").await;
    assert!(taken > 50, "only {taken} records fit into 8 MiB");
    // Most of it left memory and is not in the bucket: the WAL files have it.
    assert_eq!(read_all(&mut client, "t", 0).await.len() as u64, taken);
    double.always(None);
    let last = produce_at_last(&mut client, "t").await;
    assert_eq!(last, Offset(taken.try_into().unwrap()));
    assert_eq!(read_all(&mut client, "t", 0).await.len() as u64, taken + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_are_told_and_mended_without_a_restart() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double).with(&["--roll-after", "200ms"]);
    let mut broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    double.always(Some((403, "ExpiredToken")));
    client.produce("t", 0, batch(&["kept"])).await.unwrap();
    broker.wait_for("a line about credentials", SOON, |it| it.log().contains("ExpiredToken"));
    double.always(None);
    broker.wait_for("an upload", SOON, |_| {
        double.requests("PUT").iter().any(|line| line.contains("/data/"))
    });
    client.produce("t", 0, batch(&["and on"])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_broker_writes_nothing_but_its_lease() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double).with(&["--lease", "6s"]);
    let mut broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 4, &[]).await;
    client.produce("t", 0, batch(&["one"])).await.unwrap();
    // Idle begins when the last record has left and its publication is written.
    let others = || {
        let puts = double.requests("PUT");
        puts.into_iter().filter(|put| !put.ends_with("meta/lease")).collect::<Vec<_>>()
    };
    broker.wait_for("an upload", SOON, |_| others().iter().any(|put| put.contains("/data/")));
    let mut seen = 0;
    while others().len() != seen {
        seen = others().len();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let before = double.requests("PUT").len();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let puts = double.requests("PUT").split_off(before);
    assert_eq!(others().len(), seen, "{puts:?}");
    assert!((1..=4).contains(&puts.len()), "renewed every third of six seconds: {puts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_drain_that_cannot_end_and_loses_nothing() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double);
    let mut broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    double.always(DOWN);
    client.produce("t", 0, batch(&["kept"])).await.unwrap();
    broker.signal("-TERM");
    broker.wait_reason("draining", SOON);
    broker.signal("-TERM");
    let status = broker.wait_exit(SOON);
    assert!(!status.success());
    assert!(broker.log().contains(&setup.wal.display().to_string()), "{}", broker.log());
    double.always(None);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    assert_eq!(read_all(&mut client, "t", 0).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_takes_too_long_says_how_much_is_left_and_where() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double).with(&["--drain-timeout", "1s"]);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    double.always(DOWN);
    client.produce("t", 0, batch(&[vec![b'x'; 100_000]])).await.unwrap();
    let status = broker.drain(SOON);
    assert!(!status.success());
    let log = std::fs::read_to_string(&setup.log).unwrap();
    assert!(log.contains("KiB not uploaded"), "{log}");
    assert!(log.contains(&setup.wal.display().to_string()), "{log}");
}

/// A small file system in memory; unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: std::path::PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let option = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &option, "tmpfs"])
            .arg(&at)
            .status()
            .unwrap();
        assert!(mounted.success(), "mounting needs root");
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root to mount a small disk"]
async fn a_full_disk_is_a_retriable_error_and_mends_when_there_is_room() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let disk = SmallDisk::mount(root.path().join("disk"), "24M");
    let mut setup = Setup::on_double(root.path(), &double).with(&[
        "--roll-bytes",
        "2MiB",
        "--wal-budget",
        "1GiB",
    ]);
    setup.wal = disk.0.join("wal");
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    double.always(DOWN);
    let taken = fill(&mut client, "t").await;
    assert!(taken > 20, "only {taken} records fit");
    double.always(None);
    let last = produce_at_last(&mut client, "t").await;
    assert_eq!(last, Offset(taken.try_into().unwrap()));
    drop(broker);
    drop(disk);
}
