//! The log follows the metadata.

use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::*;
use crate::{
    cluster::{self, State, Topic},
    log::{
        NotHere, Origin,
        directory::{Directory, Follower, Shared},
    },
    types::MetadataIndex,
};

struct Followed {
    follower: Follower,
    shared: Arc<Shared>,
    state: State,
    _bench: Bench,
}

impl Followed {
    fn new() -> Self {
        let bench = Bench::new();
        let shared = Arc::new(Shared {
            directory: ArcSwap::from_pointee(Directory::default()),
            followed: watch::Sender::new(MetadataIndex(0)),
        });
        let state = State::new(ClusterId(Uuid::from_u128(1)));
        let configs = |state: &State, topic: &Topic| {
            let none = Values::new();
            let layers = Layers { broker: &none, cluster: &state.cluster_configs, given: &none };
            TopicConfig::resolve(&topic.configs, &layers)
        };
        let follower = Follower {
            broker: BROKER,
            incarnation: INCARNATION,
            configs: Arc::new(configs),
            around: bench.around.clone(),
            shared: shared.clone(),
            seen: Arc::new(state.clone()),
        };
        Self { follower, shared, state, _bench: bench }
    }

    fn change(&mut self, f: impl FnOnce(&mut State)) {
        f(&mut self.state);
        self.state.index = self.state.index.next();
        self.follower.follow(Arc::new(self.state.clone()));
        assert_eq!(*self.shared.followed.borrow(), self.state.index);
    }

    fn find(&self, name: &str, index: i32) -> Result<Arc<Partition>, NotHere> {
        self.shared.directory.load().find(name, index)
    }
}

fn topic(id: u128, name: &str, leaders: &[(i32, u64)]) -> (TopicId, Arc<Topic>) {
    let partition = |(leader, incarnation): &(i32, u64)| cluster::Partition {
        leader: BrokerId(*leader),
        incarnation: Incarnation(*incarnation),
        leader_epoch: LeaderEpoch(0),
        epochs: Vec::new(),
        log_start: Offset(0),
        end: Offset(0),
        runs: Vec::new(),
        manifest: None,
    };
    let id = TopicId(Uuid::from_u128(id));
    let topic = Topic {
        id,
        name: name.to_owned(),
        replication_factor: 1,
        configs: BTreeMap::new(),
        partitions: leaders.iter().map(partition).collect(),
    };
    (id, Arc::new(topic))
}

fn put(state: &mut State, (id, topic): (TopicId, Arc<Topic>)) {
    state.names.insert(topic.name.clone(), id);
    state.topics.insert(id, topic);
}

fn edit(state: &mut State, id: TopicId, f: impl FnOnce(&mut Topic)) {
    f(Arc::make_mut(state.topics.get_mut(&id).unwrap()));
}

#[tokio::test]
async fn only_what_this_incarnation_leads_is_open() {
    let mut log = Followed::new();
    log.change(|state| put(state, topic(1, "tide", &[(1, 5), (2, 4), (1, 3)])));
    assert_eq!(log.find("tide", 0).unwrap().topic(), "tide");
    let elsewhere = NotHere::NotLeader { leader: BrokerId(2), epoch: LeaderEpoch(0) };
    assert_eq!(log.find("tide", 1).unwrap_err(), elsewhere);
    // A former incarnation of this broker: to be recovered first.
    let former = NotHere::NotLeader { leader: BROKER, epoch: LeaderEpoch(0) };
    assert_eq!(log.find("tide", 2).unwrap_err(), former);
    assert_eq!(log.find("tide", 3).unwrap_err(), NotHere::UnknownPartition);
    assert_eq!(log.find("tide", -1).unwrap_err(), NotHere::UnknownPartition);
    assert_eq!(log.find("ebb", 0).unwrap_err(), NotHere::UnknownTopic);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_epoch_is_another_reign() {
    let mut log = Followed::new();
    let (id, tide) = topic(1, "tide", &[(1, 5)]);
    log.change(|state| put(state, (id, tide)));
    let first = log.find("tide", 0).unwrap();
    let bytes = batch(&[0]).bytes().clone();
    soon(first.append(bytes, Origin::Client).await.unwrap().committed()).await.unwrap();
    log.change(|state| edit(state, id, |topic| topic.partitions[0].end = Offset(1)));
    assert!(Arc::ptr_eq(&first, &log.find("tide", 0).unwrap()));
    log.change(|state| {
        edit(state, id, |topic| topic.partitions[0].leader_epoch = LeaderEpoch(1));
    });
    let second = log.find("tide", 0).unwrap();
    assert!(first.is_closed() && !second.is_closed());
    assert_eq!((second.leader_epoch(), second.high_watermark()), (LeaderEpoch(1), Offset(1)));
    log.change(|state| {
        edit(state, id, |topic| {
            topic.partitions[0].leader = BrokerId(2);
            topic.partitions[0].leader_epoch = LeaderEpoch(2);
        });
    });
    assert!(second.is_closed());
    let elsewhere = NotHere::NotLeader { leader: BrokerId(2), epoch: LeaderEpoch(2) };
    assert_eq!(log.find("tide", 0).unwrap_err(), elsewhere);
}

#[tokio::test]
async fn configs_act_at_once_wherever_they_are_set() {
    let mut log = Followed::new();
    let (id, tide) = topic(1, "tide", &[(1, 5)]);
    log.change(|state| put(state, (id, tide)));
    let partition = log.find("tide", 0).unwrap();
    let limit = || partition.config().max_message_bytes.0;
    assert_eq!(limit(), 1_048_588);
    log.change(|state| {
        state.cluster_configs.insert("message.max.bytes".to_owned(), "2000".to_owned());
    });
    assert_eq!(limit(), 2000);
    log.change(|state| {
        edit(state, id, |topic| {
            topic.configs.insert("max.message.bytes".to_owned(), "300".to_owned());
        });
    });
    assert_eq!(limit(), 300);
    log.change(|state| edit(state, id, |topic| topic.partitions[0].log_start = Offset(0)));
    assert_eq!(limit(), 300);
    assert!(Arc::ptr_eq(&partition, &log.find("tide", 0).unwrap()));
}

#[tokio::test]
async fn a_topic_deleted_and_made_again_is_another() {
    let mut log = Followed::new();
    log.change(|state| put(state, topic(1, "tide", &[(1, 5)])));
    let first = log.find("tide", 0).unwrap();
    log.change(|state| {
        state.topics.clear();
        put(state, topic(2, "tide", &[(1, 5), (1, 5)]));
    });
    assert!(first.is_closed());
    let second = log.find("tide", 1).unwrap();
    assert_eq!(second.id().topic, TopicId(Uuid::from_u128(2)));
    let directory = log.shared.directory.load();
    assert_eq!(directory.find_by_id(first.id().topic, 0).unwrap_err(), NotHere::UnknownTopic);
    assert_eq!(directory.open().len(), 2);
    log.change(|state| {
        state.topics.clear();
        state.names.clear();
    });
    assert_eq!(log.find("tide", 0).unwrap_err(), NotHere::UnknownTopic);
    assert!(second.is_closed());
}
