//! What must hold for any bytes taken for the body of a Produce request.

use bytes::Bytes;
use proto_kafka::{messages::ProduceRequest, protocol::Decodable};

use super::{Request, TopicKey};
use crate::{kafka::guard::Guarded, types::TopicId};

/// What the codec here reads, another reads the same way.
pub(in crate::kafka) fn agrees(body: &Bytes, version: i16) {
    let Ok(ours) = Request::decode(body.clone(), version) else { return };
    let Ok(theirs) = ProduceRequest::decode(&mut Guarded::new(body.clone()), version) else {
        return;
    };
    let topics = theirs.topic_data.into_iter().map(|topic| {
        let name = || TopicKey::Name(topic.name.0.as_str().into());
        let key = if version >= 13 { TopicKey::Id(TopicId(topic.topic_id)) } else { name() };
        let parts = topic.partition_data.into_iter();
        (key, parts.map(|part| (part.index, part.records.unwrap_or_default())).collect())
    });
    let theirs = Request {
        transactional_id: theirs.transactional_id.map(|id| id.0.to_string()),
        acks: theirs.acks,
        timeout_ms: theirs.timeout_ms,
        topics: topics.collect(),
    };
    assert_eq!(ours, theirs);
}
