//! What must hold for any bytes taken for a record of `__consumer_offsets` or a subscription.
//!
//! Owns: the properties, and good bytes to start from. Does not own: where bytes come from
//! (`crate::hostile`). Invariant: a property panics when it is broken and for nothing else.

use bytes::Bytes;

use super::{
    Committed, Position, TopicPartition,
    record::{Change, GroupRecord, MemberRecord, subscribed_topics},
    state::State,
};
use crate::types::{LeaderEpoch, Millis, Offset, TopicId};

/// A record: how long its key is, key and value. Read, written, and taken over by a coordinator.
pub fn record(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    for value in [Some(value), None] {
        let Ok(Some(change)) = Change::decode(key.clone(), value) else { continue };
        // Only texts of the flexible form can be too long for the one that is written.
        if let Ok((key, value)) = change.encode() {
            let again = Change::decode(key, value);
            assert_eq!(again, Ok(Some(change.clone())), "a record reads as it is written");
        }
        let mut state = State::default();
        state.replay(change.clone());
        state.replay(change);
        state.start(Millis(i64::MAX), i64::MAX);
    }
}

/// A member's subscription.
pub fn subscription(bytes: &[u8]) {
    if let Some(topics) = subscribed_topics(&Bytes::copy_from_slice(bytes)) {
        let names: usize = topics.iter().map(|topic| topic.len()).sum();
        assert!(names <= bytes.len(), "names lie in the bytes");
    }
}

/// Good records.
#[must_use]
pub fn record_seeds() -> Vec<Vec<u8>> {
    let partition = TopicPartition { topic: "orders".into(), index: 7 };
    let leader_epoch = Some(LeaderEpoch(5));
    let position = Position {
        offset: Offset(258),
        leader_epoch,
        metadata: "m".into(),
        topic: Some(TopicId(uuid::Uuid::from_u128(9))),
        retention_ms: None,
    };
    let kept =
        Position { leader_epoch: None, topic: None, retention_ms: Some(5), ..position.clone() };
    let committed = Some(Committed { position, at: Millis(1000) });
    let expiring = Some(Committed { position: kept, at: Millis(1000) });
    let member = |id: &str| MemberRecord {
        member: id.into(),
        instance: Some("i".into()),
        client_id: "a".into(),
        client_host: "/::1".into(),
        rebalance_timeout_ms: 300_000,
        session_timeout_ms: 45_000,
        subscription: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"),
        assignment: Bytes::from_static(b"as"),
    };
    let group = GroupRecord {
        protocol_type: Some("consumer".into()),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("a-1".into()),
        since: Some(Millis(9)),
        members: vec![member("a-1"), member("a-2")],
    };
    let changes = [
        Change::Offset { group: "g".into(), partition: partition.clone(), committed },
        Change::Offset { group: "g".into(), partition, committed: expiring },
        Change::Group { group: "g".into(), record: Some(group) },
    ];
    let written = changes.map(|change| {
        let (key, value) = change.encode().expect("short texts");
        joined(&key, &value.unwrap_or_default())
    });
    let flexible = joined(
        b"\0\x02\0\x01g",
        b"\0\x04\x02c\0\0\0\x02\x02r\x02m\0\0\0\0\0\0\0\x07\x02\
          \x02m\x00\x02i\x02h\0\0\0\x0b\0\0\0\x0a\x02s\x02a\x01\x05\x02xx\0",
    );
    written.into_iter().chain([flexible]).collect()
}

fn joined(key: &[u8], value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(key.len()).expect("a short key");
    [&[length][..], key, value].concat()
}

/// Good subscriptions.
#[must_use]
pub fn subscription_seeds() -> Vec<Vec<u8>> {
    vec![b"\0\x03\0\0\0\x02\0\x01a\0\x02bc\0\0\0\0more".to_vec(), b"\0\x01\0\0\0\0".to_vec()]
}
