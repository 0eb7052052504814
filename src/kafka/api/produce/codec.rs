//! Produce on the wire, versions 3 to 13, record bytes left where they are.
//!
//! 9 flexible; 5 log start; 8 record errors; 10 current leader; 13 topic ids instead of names.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    kafka::{
        api::{
            leader::{self, Endpoint, Leader},
            topics::MAX_NAME_BYTES,
        },
        decode::{Decoder, Encoder},
        error::BadRequest,
    },
    record::RecordFault,
    types::TopicId,
};

/// First version with topic ids.
const TOPIC_IDS: i16 = 13;
const FLEXIBLE: i16 = 9;

/// A topic as the request names it; a clone shares the name, which a client may send at any length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::kafka::api) enum TopicKey {
    Name(Arc<str>),
    Id(TopicId),
}

impl TopicKey {
    pub(in crate::kafka::api) fn decode(
        decoder: &mut Decoder,
        by_id: bool,
    ) -> Result<Self, BadRequest> {
        if by_id {
            return decoder.uuid().map(|id| Self::Id(TopicId(id)));
        }
        decoder.string().map(|name| Self::Name(name.into()))
    }

    /// Whether a topic can have this name, by its length.
    pub(in crate::kafka::api) fn is_short(&self) -> bool {
        match self {
            Self::Name(name) => name.len() <= MAX_NAME_BYTES,
            Self::Id(_) => true,
        }
    }

    pub(in crate::kafka::api) fn encode(&self, encoder: &mut Encoder) {
        match self {
            Self::Name(name) => encoder.string(name),
            Self::Id(id) => encoder.uuid(id.0),
        }
    }
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) transactional_id: Option<String>,
    pub(super) acks: i16,
    pub(super) timeout_ms: i32,
    pub(super) topics: Vec<(TopicKey, Vec<(i32, Bytes)>)>,
}

impl Request {
    pub(super) fn decode(body: Bytes, version: i16) -> Result<Self, BadRequest> {
        let mut decoder = Decoder::new(body, version >= FLEXIBLE);
        let transactional_id = decoder.nullable_string()?;
        let (acks, timeout_ms) = (decoder.i16()?, decoder.i32()?);
        let topics = decoder.array(2, |decoder| {
            let topic = TopicKey::decode(decoder, version >= TOPIC_IDS)?;
            let partitions = decoder.array(5, |decoder| {
                let index = decoder.i32()?;
                let records = decoder.nullable_bytes()?.unwrap_or_default();
                decoder.skip_tags()?;
                Ok((index, records))
            })?;
            decoder.skip_tags()?;
            Ok((topic, partitions))
        })?;
        decoder.skip_tags()?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

/// A partition's answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) index: i32,
    pub(super) error: i16,
    pub(super) base_offset: i64,
    pub(super) log_append_time_ms: i64,
    pub(super) log_start: i64,
    /// The records at fault.
    pub(super) record_errors: Vec<RecordFault>,
    pub(super) message: Option<String>,
    pub(super) leader: Option<Leader>,
}

pub(super) fn encode(
    version: i16,
    topics: &[(TopicKey, Vec<Answered>)],
    endpoints: &[Endpoint],
) -> Vec<Bytes> {
    let mut encoder = Encoder::new(version >= FLEXIBLE);
    encoder.array(topics.len());
    for (topic, partitions) in topics {
        topic.encode(&mut encoder);
        encoder.array(partitions.len());
        for partition in partitions {
            encode_partition(&mut encoder, version, partition);
        }
        encoder.no_tags();
    }
    encoder.i32(0); // throttle_time_ms
    let mut tags = Vec::new();
    if version >= 10 && !endpoints.is_empty() {
        tags.push((0, leader::endpoints_tag(endpoints)));
    }
    encoder.tags(tags);
    encoder.finish()
}

fn encode_partition(encoder: &mut Encoder, version: i16, partition: &Answered) {
    encoder.i32(partition.index);
    encoder.i16(partition.error);
    encoder.i64(partition.base_offset);
    encoder.i64(partition.log_append_time_ms);
    if version >= 5 {
        encoder.i64(partition.log_start);
    }
    if version >= 8 {
        encoder.array(partition.record_errors.len());
        for fault in &partition.record_errors {
            encoder.i32(fault.record);
            encoder.string(fault.reason);
            encoder.no_tags();
        }
        encoder.nullable_string(partition.message.as_deref());
    }
    let leader = partition.leader.filter(|_| version >= 10);
    encoder.tags(leader.map(|leader| (0, leader.tag())).into_iter().collect());
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proto_kafka::{
        messages::{ProduceRequest, ProduceResponse, produce_request as wire},
        protocol::{Decodable, Encodable},
    };

    use super::*;
    use crate::types::{BrokerId, LeaderEpoch};

    #[test]
    fn a_request_reads_as_another_codec_wrote_it_in_every_version() {
        for version in 3..=13 {
            let partition = wire::PartitionProduceData::default()
                .with_index(7)
                .with_records(Some(Bytes::from_static(b"batch")));
            let mut topic = wire::TopicProduceData::default().with_partition_data(vec![partition]);
            let id = uuid::Uuid::from_u128(9);
            if version >= TOPIC_IDS {
                topic.topic_id = id;
            } else {
                topic.name = proto_kafka::messages::TopicName("t".into());
            }
            let request = ProduceRequest::default()
                .with_transactional_id(None)
                .with_acks(-1)
                .with_timeout_ms(5)
                .with_topic_data(vec![topic]);
            let mut body = BytesMut::new();
            request.encode(&mut body, version).unwrap();
            let decoded = Request::decode(body.freeze(), version).unwrap();
            let key = if version >= TOPIC_IDS {
                TopicKey::Id(TopicId(id))
            } else {
                TopicKey::Name("t".into())
            };
            let topics = vec![(key, vec![(7, Bytes::from_static(b"batch"))])];
            let expected = Request { transactional_id: None, acks: -1, timeout_ms: 5, topics };
            assert_eq!(decoded, expected, "version {version}");
        }
    }

    #[test]
    fn a_reply_is_read_by_another_codec_in_every_version() {
        for version in 3..=13 {
            let key = if version >= TOPIC_IDS {
                TopicKey::Id(TopicId(uuid::Uuid::from_u128(9)))
            } else {
                TopicKey::Name("t".into())
            };
            let answered = Answered {
                index: 7,
                error: 6,
                base_offset: -1,
                log_append_time_ms: -1,
                log_start: -1,
                record_errors: [3, 4].map(|record| RecordFault { record, reason: "bad" }).to_vec(),
                message: Some("moved".to_owned()),
                leader: Some(Leader { id: BrokerId(2), epoch: LeaderEpoch(4) }),
            };
            let chunks = encode(version, &[(key, vec![answered])], &[]);
            let mut body = Bytes::from(chunks.concat());
            let response = ProduceResponse::decode(&mut body, version).unwrap();
            assert!(body.is_empty());
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!((partition.index, partition.error_code), (7, 6));
            let leader = if version >= 10 { (2, 4) } else { (-1, -1) };
            let current = &partition.current_leader;
            assert_eq!((current.leader_id.0, current.leader_epoch), leader);
            let faults: Vec<_> = partition.record_errors.iter().map(|e| e.batch_index).collect();
            assert_eq!(faults, if version >= 8 { vec![3, 4] } else { Vec::new() });
        }
    }
}
