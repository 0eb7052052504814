//! OffsetCommit on the wire. Version 10 names topics by id alone; the crate's schemas end at 9.
//!
//! Version 10, flexible. Request: group, generation i32, member, instance?, topics: uuid,
//! partitions: i32, offset i64, leader epoch i32, metadata?. Answer: throttle i32, topics: uuid,
//! partitions: i32, error i16.

use bytes::Bytes;
use proto_kafka::{
    messages::{
        GroupId, OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    },
    protocol::StrBytes,
};

use crate::kafka::{
    api::{self, Answer, Told},
    decode::{Decoder, Encoder},
    error::BadRequest,
};

/// First version with topic ids.
pub(super) const TOPIC_IDS: i16 = 10;

pub(super) fn decode(body: Bytes, version: i16) -> Result<OffsetCommitRequest, BadRequest> {
    if version < TOPIC_IDS {
        return api::decode(body, version);
    }
    let mut decoder = Decoder::new(body, true);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(decoder.string()?)))
        .with_generation_id_or_member_epoch(decoder.i32()?)
        .with_member_id(StrBytes::from_string(decoder.string()?))
        .with_group_instance_id(decoder.nullable_string()?.map(StrBytes::from_string))
        .with_topics(decoder.array(18, topic)?);
    decoder.skip_tags()?;
    Ok(request)
}

fn topic(decoder: &mut Decoder) -> Result<OffsetCommitRequestTopic, BadRequest> {
    let topic = OffsetCommitRequestTopic::default()
        .with_topic_id(decoder.uuid()?)
        .with_partitions(decoder.array(18, partition)?);
    decoder.skip_tags()?;
    Ok(topic)
}

fn partition(decoder: &mut Decoder) -> Result<OffsetCommitRequestPartition, BadRequest> {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(decoder.i32()?)
        .with_committed_offset(decoder.i64()?)
        .with_committed_leader_epoch(decoder.i32()?)
        .with_committed_metadata(decoder.nullable_string()?.map(StrBytes::from_string));
    decoder.skip_tags()?;
    Ok(partition)
}

pub(super) fn encode(response: &OffsetCommitResponse, version: i16) -> Answer {
    if version < TOPIC_IDS {
        return api::encode(response, version);
    }
    let mut encoder = Encoder::new(true);
    encoder.i32(response.throttle_time_ms);
    encoder.array(response.topics.len());
    for topic in &response.topics {
        encoder.uuid(topic.topic_id);
        encoder.array(topic.partitions.len());
        for partition in &topic.partitions {
            encoder.i32(partition.partition_index);
            encoder.i16(partition.error_code);
            encoder.no_tags();
        }
        encoder.no_tags();
    }
    encoder.no_tags();
    Answer::Reply(encoder.finish(), response.errors())
}
