//! What must hold for any bytes taken for the body of an OffsetCommit request of version 10.

use bytes::{Bytes, BytesMut};
use proto_kafka::{
    messages::{OffsetCommitRequest, TopicName},
    protocol::{Decodable, Encodable},
};
use uuid::Uuid;

use super::{codec, text};
use crate::kafka::guard::Guarded;

/// With its ids as names, what the codec here reads is what another writes and reads.
pub(in crate::kafka) fn agrees(body: &Bytes) {
    let Ok(mut ours) = codec::decode(body.clone(), codec::TOPIC_IDS) else { return };
    for topic in &mut ours.topics {
        topic.name = TopicName(text(&topic.topic_id.to_string()));
        topic.topic_id = Uuid::nil();
    }
    let mut bytes = BytesMut::new();
    ours.encode(&mut bytes, 9).expect("what was read can be written");
    let theirs = OffsetCommitRequest::decode(&mut Guarded::new(bytes.freeze()), 9);
    assert_eq!(theirs.ok(), Some(ours));
}
