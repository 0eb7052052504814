//! What tests of the API files share: a state to ask, and the way over the wire and back.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use bytes::{Bytes, BytesMut};
use proto_kafka::protocol::{Decodable, Encodable};
use uuid::Uuid;

use crate::{
    cluster::{
        Broker, BrokerStatus, EpochStart, IncarnationState, Partition, State, Topic,
        configs::{Layers, Values},
    },
    types::{BrokerId, ClusterId, Incarnation, LeaderEpoch, Offset, StorageId, TopicId},
};

/// A cluster of these living brokers.
pub(super) fn state(brokers: &[i32]) -> State {
    let mut state = State::new(ClusterId(Uuid::from_u128(7)));
    for &id in brokers {
        let incarnation = Incarnation(u64::from(id.unsigned_abs()));
        let storage = StorageId(Uuid::from_u128(u128::from(id.unsigned_abs())));
        let broker = Broker {
            storage,
            incarnation,
            host: format!("broker-{id}"),
            port: 9092,
            rack: None,
            status: BrokerStatus::Registered,
        };
        state.brokers.insert(BrokerId(id), broker);
        let alive = IncarnationState {
            broker: BrokerId(id),
            storage,
            fenced: false,
            drained: false,
            next_segment: 0,
            reserved: Vec::new(),
        };
        state.incarnations.insert(incarnation, alive);
    }
    state
}

/// Adds a topic led by broker 1; its id is its number.
pub(super) fn add_topic(state: &mut State, number: u128, name: &str, partitions: usize) -> TopicId {
    let id = TopicId(Uuid::from_u128(number));
    let partition = Partition {
        leader: BrokerId(1),
        incarnation: Incarnation(1),
        leader_epoch: LeaderEpoch(0),
        epochs: vec![EpochStart { epoch: LeaderEpoch(0), start: Offset::ZERO }],
        log_start: Offset::ZERO,
        end: Offset::ZERO,
        runs: Vec::new(),
        manifest: None,
    };
    let topic = Topic {
        id,
        name: name.to_owned(),
        replication_factor: 1,
        configs: BTreeMap::new(),
        partitions: vec![partition; partitions],
    };
    state.topics.insert(id, Arc::new(topic));
    state.names.insert(name.to_owned(), id);
    id
}

/// Sets a config of a topic.
pub(super) fn set_config(state: &mut State, topic: TopicId, name: &str, value: &str) {
    let topic = state.topics.get_mut(&topic).unwrap();
    Arc::make_mut(topic).configs.insert(name.to_owned(), value.to_owned());
}

/// The layers of broker 1 with nothing given at start.
pub(super) fn layers(state: &State) -> Layers<'_> {
    static NOTHING: Values = Values::new();
    state.layers(BrokerId(1), &NOTHING)
}

/// What a client decodes from `response` at `version`.
pub(super) fn received<R: Encodable + Decodable + Debug>(response: &R, version: i16) -> R {
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, version).expect("it can be encoded");
    let mut bytes: Bytes = bytes.freeze();
    let decoded = R::decode(&mut bytes, version).expect("it can be decoded");
    assert!(bytes.is_empty(), "nothing is left over");
    decoded
}
