//! Old records come out of the bucket with few requests and, the second time, with none.

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

mod support;

use std::{collections::BTreeSet, ops::Range, time::Duration};

use strandline::{client::Connection, types::Offset};
use support::{
    process::{Broker, Setup},
    s3_double::S3Double,
    topics::{self, batch, read_all},
};

const SOON: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;
/// Records of this size, one a batch, make blocks of 1 MiB of them.
const RECORD: usize = 64 * 1024;

/// Ranged GETs of blocks: of data, and not of an object's end, where footers are.
fn block_gets(double: &S3Double) -> Vec<Range<u64>> {
    let of_blocks = |(key, range): &(String, Range<u64>)| {
        let length = double.object(key).map_or(0, |object| object.len() as u64);
        key.contains("/data/") && range.end < length
    };
    double.ranges().into_iter().filter(of_blocks).map(|(_, range)| range).collect()
}

/// A bucket with one partition of so many records in one object, written by a broker that is gone.
async fn filled(root: &std::path::Path, double: &S3Double, records: usize) -> Setup {
    let setup =
        Setup::on_double(root, double).with(&["--cache-disk", "256MiB", "--roll-bytes", "64MiB"]);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    for index in 0..records {
        let mut value = vec![0_u8; RECORD];
        value[..8].copy_from_slice(&(index as u64).to_be_bytes());
        client.produce("t", 0, batch(&[value])).await.unwrap();
    }
    assert!(broker.drain(SOON).success());
    setup
}

/// Reads all and checks that each record is the one that was written.
async fn read(client: &mut Connection, records: usize) {
    let read = read_all(client, "t", 0).await;
    let index = |value: &[u8]| u64::from_be_bytes(value[..8].try_into().unwrap());
    assert!(read.iter().map(|(_, value)| index(value)).eq(0..records as u64));
}

fn metric(broker: &Broker, name: &str) -> u64 {
    let text = broker.get("/metrics").map(|(_, text)| text).unwrap_or_default();
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_asks_for_more_at_a_time_and_after_a_restart_for_nothing() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let records = 640;
    let setup = filled(root.path(), &double, records).await;
    let mut broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    read(&mut client, records).await;
    let gets = block_gets(&double);
    let distinct: BTreeSet<u64> = gets.iter().map(|range| range.start).collect();
    assert_eq!(distinct.len(), gets.len(), "nothing was asked for twice: {gets:?}");
    let sizes: Vec<u64> = gets.iter().map(|range| (range.end - range.start) / MIB).collect();
    assert!(sizes.iter().any(|size| *size >= 6), "requests grow: {sizes:?}");
    assert!(sizes.len() <= 20, "40 MiB in few requests: {sizes:?}");
    // What a busy writer did not take, which is allowed, is the only thing asked for again.
    let of = |broker: &Broker, name: &str| metric(broker, &format!("strandline_cache_{name}"));
    broker.wait_for("all blocks on disk", SOON, |it| {
        let settled = of(it, "disk_written_bytes_total") + of(it, "disk_dropped_bytes_total");
        settled == of(it, "bytes_total{from=\"bucket\"}")
    });
    let (all, dropped) =
        (of(&broker, "disk_written_bytes_total"), of(&broker, "disk_dropped_bytes_total"));
    assert!(all > 0);
    broker.kill();

    let mut broker = setup.start();
    broker.wait_for("the disk tier", SOON, |it| of(it, "disk_blocks") > 0);
    let before = block_gets(&double).len();
    let mut client = topics::connect(&broker.kafka()).await;
    read(&mut client, records).await;
    let gets = block_gets(&double).split_off(before);
    let again: u64 = gets.iter().map(|range| range.end - range.start).sum();
    assert_eq!(again, dropped, "the disk had all the others: {gets:?}");
    assert_eq!(of(&broker, "bytes_total{from=\"disk\"}"), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_place_share_its_requests_and_reads_here_and_there_do_not_read_ahead() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let records = 640;
    let setup = filled(root.path(), &double, records).await.elsewhere(root.path());
    let broker = setup.start();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(topics::connect(&broker.kafka()).await);
    }
    let before = block_gets(&double).len();
    let same = clients.iter_mut().map(|client| client.fetch("t", 0, Offset(100), 100));
    for fetched in futures::future::join_all(same).await {
        assert!(!fetched.unwrap().records.is_empty());
    }
    let gets = block_gets(&double).split_off(before);
    let bytes: u64 = gets.iter().map(|range| range.end - range.start).sum();
    assert!(bytes <= 10 * MIB, "what one of them reads, once: {gets:?}");
    for at in [500, 20, 340, 180] {
        clients[0].fetch("t", 0, Offset(at), 100).await.unwrap();
    }
    assert_eq!(metric(&broker, "strandline_cache_ahead_bytes_total{outcome=\"asked\"}"), 0);
}
