//! A client's connection to the simulated broker: real frames over a pipe.

use std::io;

use bytes::{Bytes, BytesMut};
use proto_kafka::{
    messages::{
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest,
        FindCoordinatorRequest, InitProducerIdRequest, ListOffsetsRequest, OffsetCommitRequest,
        OffsetFetchRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer},
};
use strandline::env::sim::net::Network;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub struct Wire {
    stream: DuplexStream,
    sent: i32,
    received: i32,
}

impl Wire {
    pub fn open(network: &Network) -> io::Result<Self> {
        Ok(Self { stream: network.connect()?, sent: 0, received: 0 })
    }

    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.sent += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.sent)
            .with_client_id(Some(StrBytes::from_static_str("sim")));
        let mut frame = BytesMut::from(&[0_u8; 4][..]);
        encode_request_header_into_buffer(&mut frame, &header).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = i32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&frame).await
    }

    pub async fn receive<R: Request>(&mut self, version: i16) -> io::Result<R::Response> {
        self.received += 1;
        let length = usize::try_from(self.stream.read_i32().await?).unwrap();
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).await?;
        let mut frame = Bytes::from(frame);
        let header = <R::Response as HeaderVersion>::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header).unwrap();
        assert_eq!(header.correlation_id, self.received, "replies come in order");
        Ok(R::Response::decode(&mut frame, version).unwrap())
    }

    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request).await?;
        self.receive::<R>(version).await
    }

    pub async fn create(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, String)],
    ) -> io::Result<i16> {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
        Ok(self.call(7, &request).await?.topics[0].error_code)
    }

    pub async fn delete(&mut self, topic: &str) -> io::Result<i16> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![name(topic)])
            .with_timeout_ms(20_000);
        Ok(self.call(5, &request).await?.responses[0].error_code)
    }

    pub async fn producer_id(&mut self) -> io::Result<(i16, i64)> {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let answer = self.call(4, &request).await?;
        Ok((answer.error_code, answer.producer_id.0))
    }

    /// Error, offset.
    pub async fn list(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> io::Result<(i16, i64)> {
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let topic =
            ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![wanted]);
        let request =
            ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let answer = self.call(7, &request).await?;
        let partition = &answer.topics[0].partitions[0];
        Ok((partition.error_code, partition.offset))
    }

    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        most: i32,
        wait_ms: i32,
    ) -> io::Result<Fetched> {
        let wanted = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(most);
        let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![wanted]);
        let request = FetchRequest::default()
            .with_max_wait_ms(wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(50 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let mut answer = self.call(11, &request).await?;
        let partition = answer.responses.remove(0).partitions.remove(0);
        Ok(Fetched {
            error: partition.error_code,
            records: partition.records.unwrap_or_default(),
            high_watermark: partition.high_watermark,
            log_start: partition.log_start_offset,
        })
    }

    /// Error, low watermark.
    pub async fn delete_records(
        &mut self,
        topic: &str,
        partition: i32,
        before: i64,
    ) -> io::Result<(i16, i64)> {
        let wanted =
            DeleteRecordsPartition::default().with_partition_index(partition).with_offset(before);
        let topic =
            DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![wanted]);
        let request =
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
        let answer = self.call(2, &request).await?;
        let partition = &answer.topics[0].partitions[0];
        Ok((partition.error_code, partition.low_watermark))
    }

    /// Asks who coordinates a group, which is what makes the topic of offsets.
    pub async fn coordinator(&mut self, group: &str) -> io::Result<i16> {
        let request = FindCoordinatorRequest::default().with_key(text(group));
        Ok(self.call(2, &request).await?.error_code)
    }

    pub async fn commit(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> io::Result<i16> {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(name(topic))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(text(group).into())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        Ok(self.call(8, &request).await?.topics[0].partitions[0].error_code)
    }

    /// Error, offset.
    pub async fn committed(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> io::Result<(i16, i64)> {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(name(topic))
            .with_partition_indexes(vec![partition]);
        let request = OffsetFetchRequest::default()
            .with_group_id(text(group).into())
            .with_topics(Some(vec![topic]));
        let answer = self.call(5, &request).await?;
        if answer.error_code != 0 {
            return Ok((answer.error_code, -1));
        }
        let partition = &answer.topics[0].partitions[0];
        Ok((partition.error_code, partition.committed_offset))
    }
}

pub struct Fetched {
    pub error: i16,
    pub records: Bytes,
    pub high_watermark: i64,
    pub log_start: i64,
}

pub fn produce(topic: &str, partition: i32, acks: i16, records: &Bytes) -> ProduceRequest {
    let data =
        PartitionProduceData::default().with_index(partition).with_records(Some(records.clone()));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(10_000)
        .with_topic_data(vec![topic])
}

fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
