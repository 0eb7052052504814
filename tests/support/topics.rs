//! Topics made, filled and read back through the wire.

use std::time::Duration;

use proto_kafka::{
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
    },
    protocol::StrBytes,
};
use strandline::{
    client::Connection,
    record::{BatchBuilder, BatchView, Compression, Limits},
    types::{Millis, Offset},
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

fn name(topic: &str) -> TopicName {
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
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
    let answer = connection.call(5, &request).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
}

pub async fn delete(connection: &mut Connection, topic: &str) {
    let request =
        DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(30_000);
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
