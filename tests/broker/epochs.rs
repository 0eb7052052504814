//! Leader epochs over a restart (KIP-320, KIP-951): who knows the old one learns of the new one,
//! and nobody believes that records were cut off.
//!
//! Produce names no epoch, and with one broker the leader is never another: its CurrentLeader
//! field cannot be seen here.

use proto_kafka::messages::{
    BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, MetadataRequest,
    OffsetForLeaderEpochRequest,
    fetch_request::{FetchPartition, FetchTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    list_offsets_response::ListOffsetsPartitionResponse,
    metadata_request::MetadataRequestTopic,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use strandline::{client::Connection, record::BatchView, types::Offset};
use uuid::Uuid;

use super::{
    support::{
        process::{Broker, Setup},
        topics::{self, topic_name},
    },
    values,
};

/// The topic of these tests.
const TOPIC: &str = "epochs";

/// A broker started again, with records 0 to 2 of the old leader epoch and 3 and 4 of the new one.
struct Restarted {
    _root: tempfile::TempDir,
    broker: Broker,
    client: Connection,
    topic_id: Uuid,
    leader: BrokerId,
    old: i32,
    new: i32,
}

async fn restarted() -> Restarted {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, TOPIC, 1, &[]).await;
    client.produce(TOPIC, 0, topics::batch(&values("old", 3))).await.unwrap();
    let (_, _, old) = leader(&mut client).await;
    broker.kill();
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    let (topic_id, leader, new) = leader(&mut client).await;
    client.produce(TOPIC, 0, topics::batch(&values("new", 2))).await.unwrap();
    assert!(new > old, "{new} after {old}");
    Restarted { _root: root, broker, client, topic_id, leader, old, new }
}

/// Topic id, leader and its epoch.
async fn leader(client: &mut Connection) -> (Uuid, BrokerId, i32) {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let answer = client.call(12, &request).await.unwrap();
    let topic = &answer.topics[0];
    let partition = &topic.partitions[0];
    assert_eq!(partition.error_code, 0);
    (topic.topic_id, partition.leader_id, partition.leader_epoch)
}

impl Restarted {
    async fn fetch(&mut self, version: i16, partition: FetchPartition) -> FetchResponse {
        let mut topic = FetchTopic::default()
            .with_partitions(vec![partition.with_partition_max_bytes(1 << 20)]);
        if version < 13 {
            topic.topic = topic_name(TOPIC);
        } else {
            topic.topic_id = self.topic_id;
        }
        let request = FetchRequest::default()
            .with_max_bytes(1 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        self.client.call(version, &request).await.unwrap()
    }

    async fn list(
        &mut self,
        version: i16,
        known: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition::default()
            .with_current_leader_epoch(known)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(TOPIC))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let answer = self.client.call(version, &request).await.unwrap();
        answer.topics[0].partitions[0].clone()
    }

    /// Code, epoch and where it ends.
    async fn end(&mut self, version: i16, known: i32, epoch: i32) -> (i16, i32, i64) {
        let partition = OffsetForLeaderPartition::default()
            .with_current_leader_epoch(known)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(topic_name(TOPIC))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let answer = self.client.call(version, &request).await.unwrap();
        let end = &answer.topics[0].partitions[0];
        (end.error_code, end.leader_epoch, end.end_offset)
    }
}

fn batches(response: &FetchResponse) -> Vec<(Offset, i32)> {
    let records = response.responses[0].partitions[0].records.clone().unwrap();
    let batches = BatchView::split(records).unwrap();
    batches.iter().map(|batch| (batch.base_offset(), batch.leader_epoch().0)).collect()
}

#[tokio::test]
async fn a_fetch_in_the_epoch_before_a_restart_is_fenced_and_told_who_leads_now() {
    let mut it = restarted().await;
    let at = |known: i32| FetchPartition::default().with_current_leader_epoch(known);
    for version in 9..=18 {
        for (known, code) in [(it.old, 74), (it.new, 0), (it.new + 1, 75), (-1, 0)] {
            let response = it.fetch(version, at(known)).await;
            let told = &response.responses[0].partitions[0];
            assert_eq!(told.error_code, code, "version {version} epoch {known}");
            let records = told.records.as_ref().unwrap().len();
            assert_eq!(
                (told.high_watermark, records > 0),
                if code == 0 { (5, true) } else { (-1, false) }
            );
            let current = (told.current_leader.leader_id, told.current_leader.leader_epoch);
            let endpoints: Vec<_> =
                response.node_endpoints.iter().map(|node| (node.node_id, node.port)).collect();
            if version >= 16 && code == 74 {
                assert_eq!(current, (it.leader, it.new));
                assert_eq!(endpoints, [(it.leader, it.broker.setup.kafka.into())]);
            } else {
                assert_eq!((current.1, endpoints), (-1, Vec::new()), "version {version} {known}");
            }
        }
    }
}

#[tokio::test]
async fn a_history_that_left_this_one_is_told_where_and_one_that_did_not_reads_on() {
    let mut it = restarted().await;
    let at = |last: i32, offset: i64| {
        FetchPartition::default().with_last_fetched_epoch(last).with_fetch_offset(offset)
    };
    let (old, new) = (it.old, it.new);
    for version in 12..=18 {
        // The old epoch ended at 3: a fourth record of it was never committed.
        let response = it.fetch(version, at(old, 4)).await;
        let told = &response.responses[0].partitions[0];
        let diverging = (told.diverging_epoch.epoch, told.diverging_epoch.end_offset);
        assert_eq!((told.error_code, diverging), (0, (old, 3)), "version {version}");
        assert_eq!(batches(&response), []);
        // Who read to the end before the restart, or not so far, goes on.
        for (last, offset, expected) in [
            (old, 2, vec![(Offset(0), old), (Offset(3), new)]),
            (old, 3, vec![(Offset(3), new)]),
            (new, 4, vec![(Offset(3), new)]),
            (new, 5, vec![]),
        ] {
            let response = it.fetch(version, at(last, offset)).await;
            let told = &response.responses[0].partitions[0];
            assert_eq!((told.error_code, told.diverging_epoch.end_offset), (0, -1), "{offset}");
            assert_eq!(batches(&response), expected, "version {version} offset {offset}");
        }
        let never = it.fetch(version, at(new + 1, 4)).await;
        assert_eq!(never.responses[0].partitions[0].error_code, 1, "an epoch that never was");
    }
}

#[tokio::test]
async fn offsets_are_told_in_the_newest_epoch_alone_and_name_the_epoch_of_their_record() {
    let mut it = restarted().await;
    let (old, new) = (it.old, it.new);
    for version in 4..=10 {
        for timestamp in [-1, -2, 0] {
            assert_eq!(it.list(version, old, timestamp).await.error_code, 74);
            assert_eq!(it.list(version, new + 1, timestamp).await.error_code, 75);
        }
        for (timestamp, offset, epoch) in [(-2, 0, old), (0, 0, old), (-1, 5, new)] {
            let told = it.list(version, new, timestamp).await;
            let told = (told.error_code, told.offset, told.leader_epoch);
            assert_eq!(told, (0, offset, epoch), "version {version} timestamp {timestamp}");
        }
    }
}

#[tokio::test]
async fn the_old_epoch_ends_where_the_new_one_begins_so_no_consumer_sees_a_truncation() {
    let mut it = restarted().await;
    let (old, new) = (it.old, it.new);
    for version in 2..=4 {
        // A consumer at 3 in the old epoch asks this after the restart: 3 is no less.
        for known in [-1, new] {
            assert_eq!(it.end(version, known, old).await, (0, old, 3), "version {version}");
            assert_eq!(it.end(version, known, new).await, (0, new, 5));
        }
        for between in old + 1..new {
            assert_eq!(it.end(version, -1, between).await, (0, old, 3), "none began between");
        }
        assert_eq!(it.end(version, -1, new + 1).await, (0, -1, -1), "not begun");
        assert_eq!(it.end(version, old, old).await.0, 74);
        assert_eq!(it.end(version, new + 1, old).await.0, 75);
    }
    let read = topics::read_all(&mut it.client, TOPIC, 0).await;
    let read: Vec<_> = read.into_iter().map(|(_, v)| String::from_utf8(v).unwrap()).collect();
    assert_eq!(read, ["old-0", "old-1", "old-2", "new-0", "new-1"]);
}
