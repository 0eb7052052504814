//! Fetch on the wire, versions 4 to 18, record bytes never copied.
//!
//! 5 log start; 7 sessions; 9 leader epoch; 11 rack and preferred replica; 12 flexible, last
//! fetched epoch, diverging epoch; 13 topic ids; 15 replica state as a tag; 16 current leader and
//! node endpoints; 17 and 18 tags of replicas alone.

use bytes::Bytes;

use crate::{
    kafka::{
        api::{
            leader::{self, Endpoint, Leader},
            produce::TopicKey,
        },
        decode::{Decoder, Encoder},
        error::{BadRequest, Code},
    },
    types::{LeaderEpoch, Offset},
};

/// First version with topic ids.
pub(super) const TOPIC_IDS: i16 = 13;
const FLEXIBLE: i16 = 12;
/// First version that is told who leads instead (KIP-951).
const LEADERS: i16 = 16;
/// The tag that names a replica from version 15 on.
const REPLICA_STATE: u32 = 1;

/// A request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// Whether it says that a replica asks, not a client.
    pub(super) as_replica: bool,
    pub(super) max_wait_ms: i32,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) read_committed: bool,
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    pub(super) partitions: Vec<(Key, Asked)>,
    pub(super) forgotten: Vec<Key>,
}

/// A partition as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) topic: TopicKey,
    pub(super) index: i32,
}

/// What is asked of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) offset: Offset,
    pub(super) max_bytes: i32,
    /// The leader epoch the client knows.
    pub(super) current_epoch: Option<LeaderEpoch>,
    /// Epoch of the last batch the client has.
    pub(super) last_epoch: Option<LeaderEpoch>,
}

/// A leader epoch as a Fetch states it: whatever is below 0 for none.
fn stated(raw: i32) -> Option<LeaderEpoch> {
    epoch(raw).filter(|epoch| epoch.0 >= 0)
}

/// A leader epoch as clients state it: -1 for none, and whatever else for one they know.
pub(in crate::kafka::api) fn epoch(raw: i32) -> Option<LeaderEpoch> {
    (raw != -1).then_some(LeaderEpoch(raw))
}

impl Request {
    pub(super) fn decode(body: Bytes, version: i16) -> Result<Self, BadRequest> {
        let mut decoder = Decoder::new(body, version >= FLEXIBLE);
        let mut replica = if version < 15 { decoder.i32()? } else { -1 };
        let max_wait_ms = decoder.i32()?;
        let (min_bytes, max_bytes) = (decoder.i32()?, decoder.i32()?);
        let read_committed = decoder.i8()? == 1;
        let (session_id, session_epoch) = match version {
            7.. => (decoder.i32()?, decoder.i32()?),
            _ => (0, -1),
        };
        let mut partitions = Vec::new();
        decoder.array(2, |decoder| topic(decoder, version, &mut partitions))?;
        let mut forgotten = Vec::new();
        if version >= 7 {
            decoder.array(2, |decoder| {
                let topic = TopicKey::decode(decoder, version >= TOPIC_IDS)?;
                for index in decoder.array(4, Decoder::i32)? {
                    forgotten.push(Key { topic: topic.clone(), index });
                }
                decoder.skip_tags()
            })?;
        }
        if version >= 11 {
            decoder.string()?; // rack: every replica is here
        }
        decoder.tags(|tag, decoder| {
            if version >= 15 && tag == REPLICA_STATE {
                replica = decoder.i32()?;
                decoder.i64()?; // replica_epoch
                decoder.skip_tags()?;
            }
            Ok(())
        })?;
        Ok(Self {
            as_replica: replica >= 0,
            max_wait_ms,
            min_bytes,
            max_bytes,
            read_committed,
            session_id,
            session_epoch,
            partitions,
            forgotten,
        })
    }
}

fn topic(
    decoder: &mut Decoder,
    version: i16,
    into: &mut Vec<(Key, Asked)>,
) -> Result<(), BadRequest> {
    let topic = TopicKey::decode(decoder, version >= TOPIC_IDS)?;
    decoder.array(16, |decoder| {
        let index = decoder.i32()?;
        let current_epoch = if version >= 9 { stated(decoder.i32()?) } else { None };
        let offset = Offset(decoder.i64()?);
        let last_epoch = if version >= 12 { stated(decoder.i32()?) } else { None };
        if version >= 5 {
            decoder.i64()?; // log_start_offset of a follower
        }
        let max_bytes = decoder.i32()?;
        decoder.skip_tags()?;
        let key = Key { topic: topic.clone(), index };
        into.push((key, Asked { offset, max_bytes, current_epoch, last_epoch }));
        Ok(())
    })?;
    decoder.skip_tags()
}

/// A partition's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) error: i16,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start: i64,
    /// Where the client's history left this log's.
    pub(super) diverging: Option<(LeaderEpoch, Offset)>,
    pub(super) leader: Option<Leader>,
    pub(super) batches: Vec<Bytes>,
}

impl Answered {
    /// A partition that cannot be read.
    pub(super) fn error(code: i16, leader: Option<Leader>) -> Self {
        Self {
            error: code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start: -1,
            diverging: None,
            leader,
            batches: Vec::new(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }
}

/// What a reply says besides its partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) version: i16,
    pub(super) error: i16,
    pub(super) session_id: i32,
    pub(super) read_committed: bool,
}

/// Neighbours of one topic share its entry.
pub(super) fn encode(
    head: Head,
    partitions: Vec<(Key, Answered)>,
    endpoints: &[Endpoint],
) -> Vec<Bytes> {
    let version = head.version;
    let mut encoder = Encoder::new(version >= FLEXIBLE);
    encoder.i32(0); // throttle_time_ms
    if version >= 7 {
        encoder.i16(head.error);
        encoder.i32(head.session_id);
    }
    let mut topics: Vec<(TopicKey, Vec<(i32, Answered)>)> = Vec::new();
    for (key, answered) in partitions {
        match topics.last_mut() {
            Some((topic, parts)) if *topic == key.topic => parts.push((key.index, answered)),
            _ => topics.push((key.topic, vec![(key.index, answered)])),
        }
    }
    encoder.array(topics.len());
    for (topic, parts) in topics {
        topic.encode(&mut encoder);
        encoder.array(parts.len());
        for (index, answered) in parts {
            encode_partition(&mut encoder, head, index, answered);
        }
        encoder.no_tags();
    }
    let mut tags = Vec::new();
    if version >= LEADERS && !endpoints.is_empty() {
        tags.push((0, leader::endpoints_tag(endpoints)));
    }
    encoder.tags(tags);
    encoder.finish()
}

fn encode_partition(encoder: &mut Encoder, head: Head, index: i32, answered: Answered) {
    encoder.i32(index);
    encoder.i16(answered.error);
    encoder.i64(answered.high_watermark);
    encoder.i64(answered.last_stable_offset);
    if head.version >= 5 {
        encoder.i64(answered.log_start);
    }
    // No transactions, so none is aborted. Who does not ask is told null, not none, and so is who
    // asks for what cannot be read, unless it is unknown: all as in Kafka.
    let unknown = [Code::UnknownTopicOrPartition, Code::UnknownTopicId];
    let unknown = unknown.iter().any(|code| code.code() == answered.error);
    if unknown || (head.read_committed && answered.error == 0) {
        encoder.array(0);
    } else {
        encoder.null_array();
    }
    if head.version >= 11 {
        encoder.i32(-1); // preferred_read_replica
    }
    encoder.records(answered.batches);
    let mut tags = Vec::new();
    if head.version >= 12 {
        tags.extend(answered.diverging.map(|(epoch, end)| (0, diverging_tag(epoch, end))));
    }
    if head.version >= LEADERS {
        tags.extend(answered.leader.map(|leader| (1, leader.tag())));
    }
    encoder.tags(tags);
}

fn diverging_tag(epoch: LeaderEpoch, end: Offset) -> Vec<u8> {
    let mut encoder = Encoder::new(true);
    encoder.i32(epoch.0);
    encoder.i64(end.0);
    encoder.no_tags();
    encoder.into_tag()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proto_kafka::{
        messages::{FetchRequest, FetchResponse, TopicName, fetch_request as wire},
        protocol::{Decodable, Encodable},
    };

    use super::*;
    use crate::types::{BrokerId, TopicId};

    fn key(version: i16) -> Key {
        let topic = if version >= TOPIC_IDS {
            TopicKey::Id(TopicId(uuid::Uuid::from_u128(9)))
        } else {
            TopicKey::Name("t".into())
        };
        Key { topic, index: 3 }
    }

    fn request(version: i16, replica: i32) -> FetchRequest {
        let mut partition = wire::FetchPartition::default()
            .with_partition(3)
            .with_fetch_offset(11)
            .with_partition_max_bytes(99);
        let mut topic = wire::FetchTopic::default();
        let mut forgotten = wire::ForgottenTopic::default().with_partitions(vec![5]);
        if version >= 9 {
            partition.current_leader_epoch = 4;
        }
        if version >= 12 {
            partition.last_fetched_epoch = 2;
        }
        if version >= TOPIC_IDS {
            topic.topic_id = uuid::Uuid::from_u128(9);
            forgotten.topic_id = topic.topic_id;
        } else {
            topic.topic = TopicName("t".into());
            forgotten.topic = TopicName("t".into());
        }
        let mut request = FetchRequest::default()
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(1000)
            .with_isolation_level(1)
            .with_topics(vec![topic.with_partitions(vec![partition])]);
        if version >= 15 {
            request.replica_state.replica_id = replica.into();
        } else {
            request.replica_id = replica.into();
        }
        if version >= 7 {
            request.session_id = 77;
            request.session_epoch = 8;
            request.forgotten_topics_data = vec![forgotten];
        }
        request
    }

    #[test]
    fn a_request_reads_as_another_codec_wrote_it_in_every_version() {
        for (version, replica) in (4..=18).flat_map(|version| [(version, -1), (version, 3)]) {
            let mut body = BytesMut::new();
            request(version, replica).encode(&mut body, version).unwrap();
            let decoded = Request::decode(body.freeze(), version).unwrap();
            let asked = Asked {
                offset: Offset(11),
                max_bytes: 99,
                current_epoch: (version >= 9).then_some(LeaderEpoch(4)),
                last_epoch: (version >= 12).then_some(LeaderEpoch(2)),
            };
            let forgotten = (version >= 7).then(|| Key { index: 5, ..key(version) });
            let expected = Request {
                as_replica: replica >= 0,
                max_wait_ms: 500,
                min_bytes: 1,
                max_bytes: 1000,
                read_committed: true,
                session_id: if version >= 7 { 77 } else { 0 },
                session_epoch: if version >= 7 { 8 } else { -1 },
                partitions: vec![(key(version), asked)],
                forgotten: forgotten.into_iter().collect(),
            };
            assert_eq!(decoded, expected, "version {version}");
        }
    }

    #[test]
    fn a_reply_is_read_by_another_codec_in_every_version() {
        for version in 4..=18 {
            let good = Answered {
                high_watermark: 20,
                last_stable_offset: 20,
                log_start: 1,
                batches: vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")],
                ..Answered::error(0, None)
            };
            let leader = Leader { id: BrokerId(2), epoch: LeaderEpoch(4) };
            let bad = Answered {
                diverging: Some((LeaderEpoch(1), Offset(5))),
                ..Answered::error(6, Some(leader))
            };
            let other = Key { index: 4, ..key(version) };
            let head = Head { version, session_id: 5, ..Head::default() };
            let chunks = encode(head, vec![(key(version), good), (other, bad)], &[]);
            assert_eq!(chunks.iter().filter(|chunk| chunk.len() == 3).count(), 2, "no copy");
            let mut body = Bytes::from(chunks.concat());
            let response = FetchResponse::decode(&mut body, version).unwrap();
            assert!(body.is_empty());
            let [good, bad] = &response.responses[0].partitions[..] else { panic!("two") };
            assert_eq!(good.records.as_deref(), Some(&b"onetwo"[..]));
            assert_eq!(good.aborted_transactions, None);
            assert_eq!((bad.error_code, bad.high_watermark), (6, -1));
            assert_eq!(bad.records.as_deref(), Some(&b""[..]), "never null");
            let leader = if version >= 16 { 2 } else { -1 };
            assert_eq!(bad.current_leader.leader_id.0, leader, "version {version}");
            let diverging = if version >= 12 { 5 } else { -1 };
            assert_eq!(bad.diverging_epoch.end_offset, diverging, "version {version}");
        }
    }
}
