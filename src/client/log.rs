//! Produce, fetch and list offsets of one partition.

use bytes::Bytes;
use proto_kafka::{
    messages::{
        FetchRequest, ListOffsetsRequest, ProduceRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::StrBytes,
};

use super::{Connection, Error, error::check};
use crate::types::Offset;

/// Versions every broker from Kafka 2.1 on speaks.
pub(super) const PRODUCE: i16 = 7;
pub(super) const FETCH: i16 = 11;
pub(super) const LIST_OFFSETS: i16 = 5;

/// Where a batch landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceAck {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Where the partition starts.
    pub log_start: Offset,
}

/// What a fetch brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Record batches, one after the other.
    pub records: Bytes,
    /// Exclusive end of what is committed.
    pub high_watermark: Offset,
    /// Where the partition starts.
    pub log_start: Offset,
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

impl Connection {
    /// Appends one record batch with acks=all.
    ///
    /// # Errors
    /// `Refused` with Kafka's code; `Io`: it may have landed.
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> Result<ProduceAck, Error> {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(topic_name(topic))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![topic]);
        let answer = self.call(PRODUCE, &request).await?;
        let topic = answer.responses.into_iter().next().ok_or(Error::Absent)?;
        let partition = topic.partition_responses.into_iter().next().ok_or(Error::Absent)?;
        check(partition.error_code)?;
        let log_start = Offset(partition.log_start_offset);
        Ok(ProduceAck { base_offset: Offset(partition.base_offset), log_start })
    }

    /// Reads from `from`, waiting up to `wait_ms` for the first byte.
    ///
    /// # Errors
    /// `Refused` with Kafka's code.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        from: Offset,
        wait_ms: i32,
    ) -> Result<Fetched, Error> {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(from.0)
            .with_partition_max_bytes(8 * 1024 * 1024);
        let topic =
            FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(16 * 1024 * 1024)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let answer = self.call(FETCH, &request).await?;
        check(answer.error_code)?;
        let topic = answer.responses.into_iter().next().ok_or(Error::Absent)?;
        let partition = topic.partitions.into_iter().next().ok_or(Error::Absent)?;
        check(partition.error_code)?;
        Ok(Fetched {
            records: partition.records.unwrap_or_default(),
            high_watermark: Offset(partition.high_watermark),
            log_start: Offset(partition.log_start_offset),
        })
    }

    /// The offset at `timestamp`: -1 the end, -2 the start, else the first record not before it.
    ///
    /// # Errors
    /// `Refused` with Kafka's code.
    pub async fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<Offset, Error> {
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let topic =
            ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]);
        let request =
            ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let answer = self.call(LIST_OFFSETS, &request).await?;
        let topic = answer.topics.into_iter().next().ok_or(Error::Absent)?;
        let partition = topic.partitions.into_iter().next().ok_or(Error::Absent)?;
        check(partition.error_code)?;
        Ok(Offset(partition.offset))
    }
}
