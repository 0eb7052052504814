//! Records: the partitions have no leader here.

use bytes::Bytes;
use proto_kafka::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, InitProducerIdRequest, InitProducerIdResponse,
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProducerId,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};

use super::super::{Answer, fetch, produce};
use crate::kafka::{
    context::Known,
    error::{BadRequest, Code, NO_TRANSACTIONS},
};

const NO_LEADER: Code = Code::NotLeaderOrFollower;

pub(in crate::kafka::api) fn produce(
    _known: &Known,
    version: i16,
    body: Bytes,
) -> Result<Answer, BadRequest> {
    produce::refuse(version, body, NO_LEADER)
}

pub(in crate::kafka::api) fn fetch(
    _known: &Known,
    version: i16,
    body: Bytes,
) -> Result<Answer, BadRequest> {
    fetch::refuse(version, body, NO_LEADER)
}

pub(in crate::kafka::api) fn list_offsets(
    _known: &Known,
    _version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            ListOffsetsPartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(NO_LEADER.code())
                .with_offset(-1)
                .with_timestamp(-1)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

pub(in crate::kafka::api) fn offset_for_leader_epoch(
    _known: &Known,
    _version: i16,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            EpochEndOffset::default()
                .with_partition(asked.partition)
                .with_error_code(NO_LEADER.code())
                .with_leader_epoch(-1)
                .with_end_offset(-1)
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

pub(in crate::kafka::api) fn delete_records(
    _known: &Known,
    _version: i16,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            DeleteRecordsPartitionResult::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(NO_LEADER.code())
                .with_low_watermark(-1)
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

pub(in crate::kafka::api) fn init_producer_id(
    _known: &Known,
    _version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let code = match request.transactional_id {
        None => Code::CoordinatorLoadInProgress,
        Some(_) => NO_TRANSACTIONS,
    };
    InitProducerIdResponse::default()
        .with_error_code(code.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
