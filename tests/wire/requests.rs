//! Requests as the tests need them, in their shortest form.

use bytes::Bytes;
use proto_kafka::{
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, InitProducerIdRequest,
        MetadataRequest, ProduceRequest, TopicName, TransactionalId,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        fetch_request::{FetchPartition, FetchTopic},
        metadata_request::MetadataRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::StrBytes,
};
use strandline::{
    record::{BatchBuilder, Compression},
    types::{Millis, ProducerEpoch, ProducerId},
};
use uuid::Uuid;

use crate::broker::Wire;

pub fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Creates a topic and tells its id.
pub fn create(wire: &mut Wire, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let configs = configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
    let answer = wire.call(7, &request);
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    answer.topics[0].topic_id
}

pub fn delete(wire: &mut Wire, topic: &str) {
    let request =
        DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(20_000);
    assert_eq!(wire.call(5, &request).responses[0].error_code, 0);
}

pub fn metadata(topics: &[&str]) -> MetadataRequest {
    let topics =
        topics.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
    MetadataRequest::default().with_topics(Some(topics.collect()))
}

fn built(builder: BatchBuilder) -> Vec<u8> {
    builder.build().unwrap().bytes().to_vec()
}

/// A batch of records with these values and timestamps 1000, 1001, ...
pub fn batch(values: &[&str]) -> Vec<u8> {
    batch_with(Compression::None, 1000, values)
}

pub fn batch_with(compression: Compression, time: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression);
    for (value, after) in values.iter().zip(0..) {
        builder.push(Millis(time + after), Some(b"key"), Some(value.as_bytes()));
    }
    built(builder)
}

pub fn batch_of(producer: i64, epoch: i16, sequence: i32, values: &[&str]) -> Vec<u8> {
    let builder = BatchBuilder::new(Compression::None);
    let mut builder = builder.producer(ProducerId(producer), ProducerEpoch(epoch), sequence);
    for value in values {
        builder.push(Millis(1000), None, Some(value.as_bytes()));
    }
    built(builder)
}

/// Makes the CRC right again after a batch was changed.
pub fn seal(batch: &mut [u8]) {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]);
    batch[17..21].copy_from_slice(&u32::try_from(crc).unwrap().to_be_bytes());
}

pub fn produce(topic: &str, partition: i32, acks: i16, records: &[u8]) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(Bytes::copy_from_slice(records)));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

pub fn transactional(request: ProduceRequest) -> ProduceRequest {
    request.with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("tx"))))
}

/// Produces with acks=all and tells what became of it.
pub fn put(wire: &mut Wire, topic: &str, records: &[u8]) -> PartitionProduceResponse {
    let answer = wire.call(12, &produce(topic, 0, -1, records));
    answer.responses[0].partition_responses[0].clone()
}

/// Produces and expects success; the base offset.
pub fn put_good(wire: &mut Wire, topic: &str, records: &[u8]) -> i64 {
    let answer = put(wire, topic, records);
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    answer.base_offset
}

pub fn fetch_partition(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

/// A fetch outside any session that does not wait.
pub fn fetch(topic: &str, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(partitions);
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

pub fn producer_id(wire: &mut Wire) -> i64 {
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let answer = wire.call(4, &request);
    assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
    answer.producer_id.0
}
