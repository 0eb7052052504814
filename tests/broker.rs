//! One broker as a process on folders: start, drain, loss, neighbours, deletes.

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

#[path = "broker/epochs.rs"]
mod epochs;
mod support;
#[path = "broker/times.rs"]
mod times;

use std::{process::Command, time::Duration};

use proto_kafka::messages::{MetadataRequest, metadata_request::MetadataRequestTopic};
use strandline::types::Offset;
use support::{
    process::{Setup, files, free_port},
    topics,
};

const SOON: Duration = Duration::from_secs(30);

fn values(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix}-{index}")).collect()
}

#[tokio::test]
async fn a_broker_started_with_defaults_says_where_everything_is_and_what_an_ack_means() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let broker = setup.start();
    let log = broker.log();
    for fact in [
        setup.bucket.trim_start_matches("file://"),
        &setup.wal.display().to_string(),
        &format!("127.0.0.1:{}", setup.kafka),
        &format!("127.0.0.1:{}", setup.http),
        "one synced copy",
        "kcat",
    ] {
        assert!(log.contains(fact), "{fact:?} is not said\n{log}");
    }
}

#[tokio::test]
async fn what_was_produced_is_consumed() {
    let root = tempfile::tempdir().unwrap();
    let broker = Setup::folders(root.path()).start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 2, &[]).await;
    let ack = client.produce("t", 1, topics::batch(&values("a", 3))).await.unwrap();
    assert_eq!(ack.base_offset, Offset(0));
    let ack = client.produce("t", 1, topics::batch(&values("b", 2))).await.unwrap();
    assert_eq!(ack.base_offset, Offset(3));
    let read = topics::read_all(&mut client, "t", 1).await;
    let read: Vec<_> = read.into_iter().map(|(_, v)| String::from_utf8(v).unwrap()).collect();
    assert_eq!(read, ["a-0", "a-1", "a-2", "b-0", "b-1"]);
    assert!(topics::read_all(&mut client, "t", 0).await.is_empty());
}

#[tokio::test]
async fn a_drained_wal_folder_may_be_thrown_away() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "kept", 3, &[("retention.ms", "86400000")]).await;
    for partition in 0..3 {
        client.produce("kept", partition, topics::batch(&values("x", 50))).await.unwrap();
    }
    topics::coordinator(&mut client, "readers").await;
    assert!(topics::commit(&mut client, "readers", "kept", 41).await);
    let retried = topics::idempotent_batch(7, 0, "once");
    let first = client.produce("kept", 1, retried.clone()).await.unwrap();
    let status = broker.drain(SOON);
    assert!(status.success(), "{status}");
    std::fs::remove_dir_all(&setup.wal).unwrap();
    let other = setup.elsewhere(root.path()).with(&["--broker-id", "77"]).start();
    let mut client = topics::connect(&other.kafka()).await;
    for (partition, records) in [(0, 50), (1, 51), (2, 50)] {
        let read = topics::read_all(&mut client, "kept", partition).await;
        assert_eq!(read.len(), records);
    }
    assert_eq!(topics::committed(&mut client, "readers", "kept").await, 41);
    let again = client.produce("kept", 1, retried).await.unwrap();
    assert_eq!(again.base_offset, first.base_offset, "a retry is known on another disk");
    let ack = client.produce("kept", 0, topics::batch(&["next"])).await.unwrap();
    assert_eq!(ack.base_offset, Offset(50));
}

#[tokio::test]
async fn a_second_broker_on_a_live_bucket_is_refused_by_name_and_the_first_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    let mut second = setup.elsewhere(root.path()).spawn();
    let status = second.wait_exit(SOON);
    assert!(!status.success());
    let log = second.log();
    assert!(log.contains(&format!("127.0.0.1:{}", setup.http)), "{log}");
    client.produce("t", 0, topics::batch(&["still here"])).await.unwrap();
}

#[tokio::test]
async fn a_second_broker_on_the_same_wal_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let _broker = setup.start();
    let mut twin = setup.elsewhere(root.path());
    twin.wal = setup.wal.clone();
    let mut second = twin.spawn();
    assert!(!second.wait_exit(SOON).success());
    assert!(second.log().contains("another process"), "{}", second.log());
}

#[tokio::test]
async fn the_wal_folder_of_another_cluster_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    assert!(setup.start().drain(SOON).success());
    let mut foreign = setup.clone();
    foreign.bucket = format!("file://{}", root.path().join("other-bucket").display());
    let mut broker = foreign.spawn();
    assert!(!broker.wait_exit(SOON).success());
    let log = broker.log();
    assert!(log.contains("cluster") && log.contains(&setup.wal.display().to_string()), "{log}");
}

#[tokio::test]
async fn a_lost_wal_folder_keeps_the_broker_unready_until_the_loss_is_accepted() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path()).with(&["--lease", "3s", "--roll-after", "1s"]);
    let mut broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    let entries = || files(&root.path().join("bucket/meta/log")).len();
    let before = entries();
    client.produce("t", 0, topics::batch(&values("kept", 10))).await.unwrap();
    // The next entry of the log is the one that publishes these.
    broker.wait_for("a publication", SOON, |_| entries() > before);
    client.produce("t", 0, topics::batch(&values("lost", 5))).await.unwrap();
    broker.kill();
    std::fs::remove_dir_all(&setup.wal).unwrap();
    let mut broker = setup.spawn();
    broker.wait_reason("accept-loss", SOON);
    let (_, status) = broker.get("/v1/status").unwrap();
    assert!(status.contains("t-0"), "the partition is not named: {status}");
    let http = format!("127.0.0.1:{}", setup.http);
    let order = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_strandline"))
            .args(["cluster", "accept-loss", "--http", &http])
            .args(more)
            .output()
            .unwrap()
    };
    let shown = order(&[]);
    assert!(!shown.status.success());
    assert!(String::from_utf8_lossy(&shown.stdout).contains("t-0"), "{shown:?}");
    let done = order(&["--yes"]);
    assert!(done.status.success(), "{done:?}");
    broker.wait_ready(SOON);
    let mut client = topics::connect(&broker.kafka()).await;
    let read = topics::read_all(&mut client, "t", 0).await;
    assert_eq!(read.len(), 10, "what the bucket held is there");
    let ack = client.produce("t", 0, topics::batch(&["next"])).await.unwrap();
    assert_eq!(ack.base_offset, Offset(10));
}

#[tokio::test]
async fn after_everything_is_deleted_no_data_object_is_left() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path()).with(&[
        "--roll-after",
        "200ms",
        "--retention-check",
        "200ms",
        "--delete-grace",
        "300ms",
        "--manifest-after",
        "400ms",
    ]);
    let mut broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "a", 2, &[]).await;
    topics::create(&mut client, "b", 2, &[("retention.ms", "1000")]).await;
    for _ in 0..5 {
        for topic in ["a", "b"] {
            for partition in 0..2 {
                client.produce(topic, partition, topics::batch(&values("v", 20))).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let data = root.path().join("bucket/data");
    assert!(!files(&data).is_empty());
    topics::delete(&mut client, "a").await;
    broker.wait_for("no data object", SOON, |_| files(&data).is_empty());
    broker
        .wait_for("no manifest", SOON, |_| files(&root.path().join("bucket/manifest")).len() <= 2);
    let start = client.list_offset("b", 0, -2).await.unwrap();
    assert_eq!(start, Offset(100), "everything of b has expired");
    let ack = client.produce("b", 0, topics::batch(&["next"])).await.unwrap();
    assert_eq!(ack.base_offset, Offset(100));
}

#[tokio::test]
async fn a_port_in_use_is_said_with_the_flag_that_changes_it() {
    let root = tempfile::tempdir().unwrap();
    let mut setup = Setup::folders(root.path());
    let taken = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    setup.kafka = taken.local_addr().unwrap().port();
    let mut broker = setup.spawn();
    assert!(!broker.wait_exit(SOON).success());
    assert!(broker.log().contains("--kafka-listen"), "{}", broker.log());
}

#[tokio::test]
async fn a_topic_keeps_its_id_and_its_leader_epochs_only_rise_over_kills_and_drains() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let mut broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "kept", 2, &[]).await;
    let mut told = Vec::new();
    for round in 0..4 {
        let mut client = topics::connect(&broker.kafka()).await;
        let wanted = MetadataRequestTopic::default().with_name(Some(topics::topic_name("kept")));
        let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
        let topic = client.call(12, &request).await.unwrap().topics.remove(0);
        let epochs = topic.partitions.iter().map(|partition| partition.leader_epoch);
        told.push((topic.topic_id, epochs.collect::<Vec<_>>()));
        client.produce("kept", 0, topics::batch(&["x"])).await.unwrap();
        if round % 2 == 0 {
            broker.kill();
        } else {
            assert!(broker.drain(SOON).success());
        }
        broker = setup.start();
    }
    for pair in told.windows(2) {
        assert_eq!(pair[1].0, pair[0].0, "{told:?}");
        assert!(
            pair[1].1.iter().zip(&pair[0].1).all(|(after, before)| after >= before),
            "{told:?}"
        );
    }
    assert!(!told[0].0.is_nil());
}
