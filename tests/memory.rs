//! Memory stays inside its budget whatever clients do.

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

mod support;

use std::time::Duration;

use proto_kafka::messages::{
    FetchRequest,
    fetch_request::{FetchPartition, FetchTopic},
};
use strandline::client::Connection;
use support::{
    process::{Broker, Setup},
    topics::{self, batch, read_all, topic_name},
};

const SOON: Duration = Duration::from_secs(60);
const RECORD: usize = 256 * 1024;

fn metric(broker: &Broker, name: &str) -> u64 {
    let text = broker.get("/metrics").map(|(_, text)| text).unwrap_or_default();
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

fn budget(broker: &Broker, part: &str) -> u64 {
    metric(broker, &format!("strandline_memory_budget_bytes{{part=\"{part}\"}}"))
}

/// What is accounted, and what of it each part may have.
fn assert_within(broker: &Broker) {
    let accounts = [
        ("tail", "strandline_wal_resident_bytes"),
        ("cold", "strandline_cold_in_flight_bytes"),
        ("replies", "strandline_kafka_reply_memory_bytes"),
    ];
    for (part, name) in accounts {
        let (held, most) = (metric(broker, name), budget(broker, part));
        assert!(most > 0 && held <= most, "{part}: {held} of {most}");
    }
}

/// A fetch of as much as there is, from the beginning or from the newest records.
fn greedy(offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(50 << 20);
    let topic = FetchTopic::default().with_topic(topic_name("t")).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_that_ask_for_much_and_read_nothing_hold_no_more_than_their_part() {
    let root = tempfile::tempdir().unwrap();
    let arguments = ["--memory-budget", "128MiB", "--roll-after", "500ms"];
    let mut broker = Setup::folders(root.path()).with(&arguments).start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    let records: i64 = 240;
    for _ in 0..records {
        client.produce("t", 0, batch(&[vec![7_u8; RECORD]])).await.unwrap();
    }
    let mut hostile = Vec::new();
    for index in 0..200 {
        let mut connection = Connection::open(&broker.kafka(), "hostile").await.unwrap();
        // Old records, out of the bucket, and new ones, out of memory.
        let offset = if index % 2 == 0 { 0 } else { records - 40 };
        // More than the system takes off the broker's hands.
        for _ in 0..8 {
            connection.send(11, &greedy(offset)).await.unwrap();
        }
        hostile.push(connection);
        if index % 10 == 0 {
            assert_within(&broker);
        }
    }
    let replies = budget(&broker, "replies");
    let held = |broker: &Broker| metric(broker, "strandline_kafka_reply_memory_bytes");
    broker.wait_for("replies hold what they may", SOON, |broker| {
        assert_within(broker);
        held(broker) > replies / 3
    });
    // Producers and who reads go on.
    client.produce("t", 0, batch(&[vec![7_u8; RECORD]])).await.unwrap();
    let read = read_all(&mut client, "t", 0).await;
    assert_eq!(read.len() as i64, records + 1);
    assert_within(&broker);
    drop(hostile);
    broker.wait_for("all is given back", SOON, |broker| held(broker) == 0);
    assert!(broker.drain(SOON).success());
}
