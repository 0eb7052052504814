//! What must hold for any bytes taken for the body of a Fetch request.

use bytes::Bytes;
use proto_kafka::{messages::FetchRequest, protocol::Decodable};

use super::{Asked, Key, Request, TopicKey};
use crate::{
    kafka::guard::Guarded,
    types::{LeaderEpoch, Offset, TopicId},
};

/// What the codec here reads, another reads the same way.
pub(in crate::kafka) fn agrees(body: &Bytes, version: i16) {
    let Ok(ours) = Request::decode(body.clone(), version) else { return };
    let Ok(theirs) = FetchRequest::decode(&mut Guarded::new(body.clone()), version) else {
        return;
    };
    let key = |name: &str, id| match version {
        13.. => TopicKey::Id(TopicId(id)),
        _ => TopicKey::Name(name.into()),
    };
    let epoch = |raw: i32| (raw >= 0).then_some(LeaderEpoch(raw));
    let mut partitions = Vec::new();
    for topic in &theirs.topics {
        let name = key(&topic.topic.0, topic.topic_id);
        for part in &topic.partitions {
            let topic = name.clone();
            let asked = Asked {
                offset: Offset(part.fetch_offset),
                max_bytes: part.partition_max_bytes,
                current_epoch: epoch(part.current_leader_epoch),
                last_epoch: epoch(part.last_fetched_epoch),
            };
            partitions.push((Key { topic, index: part.partition }, asked));
        }
    }
    let forgotten = theirs.forgotten_topics_data.iter().flat_map(|topic| {
        let name = key(&topic.topic.0, topic.topic_id);
        topic.partitions.iter().map(move |index| Key { topic: name.clone(), index: *index })
    });
    let replica = if version < 15 { theirs.replica_id } else { theirs.replica_state.replica_id };
    let theirs = Request {
        as_replica: replica.0 >= 0,
        max_wait_ms: theirs.max_wait_ms,
        min_bytes: theirs.min_bytes,
        max_bytes: theirs.max_bytes,
        read_committed: theirs.isolation_level == 1,
        session_id: theirs.session_id,
        session_epoch: theirs.session_epoch,
        partitions,
        forgotten: forgotten.collect(),
    };
    assert_eq!(ours, theirs);
}
