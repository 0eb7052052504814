//! OffsetFetch on the wire. Version 10 names topics by id alone; the crate's schemas end at 9.
//!
//! Version 10, flexible. Request: groups: group, member?, member epoch i32, topics?: uuid, partitions
//! i32; then require stable, a byte. Answer: throttle i32, groups: group, topics: uuid, partitions:
//! i32, offset i64, leader epoch i32, metadata?, error i16; then the group's error i16.

use bytes::Bytes;
use proto_kafka::{
    messages::{
        GroupId, OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::OffsetFetchResponseTopics,
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

pub(super) fn decode(body: Bytes, version: i16) -> Result<OffsetFetchRequest, BadRequest> {
    if version < TOPIC_IDS {
        return api::decode(body, version);
    }
    let mut decoder = Decoder::new(body, true);
    let request = OffsetFetchRequest::default()
        .with_groups(decoder.array(8, group)?)
        .with_require_stable(decoder.i8()? != 0);
    decoder.skip_tags()?;
    Ok(request)
}

fn group(decoder: &mut Decoder) -> Result<OffsetFetchRequestGroup, BadRequest> {
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(StrBytes::from_string(decoder.string()?)))
        .with_member_id(decoder.nullable_string()?.map(StrBytes::from_string))
        .with_member_epoch(decoder.i32()?)
        .with_topics(decoder.nullable_array(18, topic)?);
    decoder.skip_tags()?;
    Ok(group)
}

fn topic(decoder: &mut Decoder) -> Result<OffsetFetchRequestTopics, BadRequest> {
    let topic = OffsetFetchRequestTopics::default()
        .with_topic_id(decoder.uuid()?)
        .with_partition_indexes(decoder.array(4, Decoder::i32)?);
    decoder.skip_tags()?;
    Ok(topic)
}

pub(super) fn encode(response: &OffsetFetchResponse, version: i16) -> Answer {
    if version < TOPIC_IDS {
        return api::encode(response, version);
    }
    let mut encoder = Encoder::new(true);
    encoder.i32(response.throttle_time_ms);
    encoder.array(response.groups.len());
    for group in &response.groups {
        encoder.string(group.group_id.0.as_str());
        encoder.array(group.topics.len());
        for topic in &group.topics {
            encode_topic(&mut encoder, topic);
        }
        encoder.i16(group.error_code);
        encoder.no_tags();
    }
    encoder.no_tags();
    Answer::Reply(encoder.finish(), response.errors())
}

fn encode_topic(encoder: &mut Encoder, topic: &OffsetFetchResponseTopics) {
    encoder.uuid(topic.topic_id);
    encoder.array(topic.partitions.len());
    for partition in &topic.partitions {
        encoder.i32(partition.partition_index);
        encoder.i64(partition.committed_offset);
        encoder.i32(partition.committed_leader_epoch);
        encoder.nullable_string(partition.metadata.as_ref().map(|text| text.as_str()));
        encoder.i16(partition.error_code);
        encoder.no_tags();
    }
    encoder.no_tags();
}
