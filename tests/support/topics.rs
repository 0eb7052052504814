//! Topics made, filled and read back through the wire.

use std::time::Duration;

use proto_kafka::{
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, FindCoordinatorRequest, OffsetCommitRequest,
        OffsetFetchRequest, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
    },
    protocol::StrBytes,
};
use strandline::{
    client::Connection,
    record::{BatchBuilder, BatchView, Compression, Limits},
    types::{Millis, Offset, ProducerEpoch, ProducerId},
};

pub async fn connect(address: &str) -> Connection {
    for _ in 0..500 {
        if let Ok(connection) = Connection::open(address, "test").await {
            return connection;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {address}");
}

pub fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

pub async fn create(
    connection: &mut Connection,
    topic: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let configs = configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    });
    let wanted = CreatableTopic::default()
        .with_name(topic_name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
    let answer = connection.call(5, &request).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
}

pub async fn delete(connection: &mut Connection, topic: &str) {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(topic)])
        .with_timeout_ms(30_000);
    let answer = connection.call(5, &request).await.unwrap();
    assert_eq!(answer.responses[0].error_code, 0);
}

/// A batch of these values, without keys.
pub fn batch<V: AsRef<[u8]>>(values: &[V]) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(Millis(1_700_000_000_000), None, Some(value.as_ref()));
    }
    builder.build().unwrap().bytes().clone()
}

/// A batch of one record of an idempotent producer.
pub fn idempotent_batch(producer: i64, sequence: i32, value: &str) -> bytes::Bytes {
    let builder = BatchBuilder::new(Compression::None);
    let mut builder = builder.producer(ProducerId(producer), ProducerEpoch(0), sequence);
    builder.push(Millis(1_700_000_000_000), None, Some(value.as_bytes()));
    builder.build().unwrap().bytes().clone()
}

/// Every record of a partition from its start to its high watermark: offset and value.
pub async fn read_all(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
) -> Vec<(Offset, Vec<u8>)> {
    let mut from = connection.list_offset(topic, partition, -2).await.unwrap();
    let mut records = Vec::new();
    loop {
        let fetched = connection.fetch(topic, partition, from, 100).await.unwrap();
        if from >= fetched.high_watermark {
            return records;
        }
        for batch in BatchView::split(fetched.records).unwrap() {
            batch.check_crc().unwrap();
            for record in batch.records(&Limits::default()).unwrap() {
                let record = record.unwrap();
                if record.offset >= from {
                    assert_eq!(record.offset, from, "offsets have no gap and no overlap");
                    from = from.advance(1);
                    records.push((record.offset, record.value.unwrap().to_vec()));
                }
            }
        }
    }
}

fn group(id: &str) -> proto_kafka::messages::GroupId {
    StrBytes::from_string(id.to_owned()).into()
}

/// Finds a group's coordinator, which makes the offsets topic on first use.
pub async fn coordinator(connection: &mut Connection, group_id: &str) {
    let key = StrBytes::from_string(group_id.to_owned());
    let request = FindCoordinatorRequest::default().with_key(key);
    let answer = connection.call(2, &request).await.unwrap();
    assert_eq!(answer.error_code, 0);
}

/// Commits an offset of partition 0 without being a member; `false` when to try again.
pub async fn commit(connection: &mut Connection, group_id: &str, topic: &str, offset: i64) -> bool {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group(group_id))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let answer = connection.call(2, &request).await.unwrap();
    answer.topics[0].partitions[0].error_code == 0
}

/// The offset committed for partition 0, waiting while the coordinator loads.
pub async fn committed(connection: &mut Connection, group_id: &str, topic: &str) -> i64 {
    let wanted = OffsetFetchRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(group(group_id))
        .with_topics(Some(vec![wanted]));
    for _ in 0..3000 {
        let answer = connection.call(5, &request).await.unwrap();
        if answer.error_code == 0 {
            return answer.topics[0].partitions[0].committed_offset;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the coordinator of {group_id} is still loading");
}
