use bytes::BytesMut;
use proto_kafka::protocol::Encodable;
use uuid::Uuid;

use super::*;
use crate::{kafka::api::testing, types::Incarnation};

const ID: TopicId = TopicId(Uuid::from_u128(7));

fn state() -> State {
    let mut state = testing::state(&[1, 2]);
    testing::add_topic(&mut state, 7, "t", 1);
    state
}

fn named(name: &'static str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(TopicName(name.into())))
}

#[test]
fn the_cluster_id_has_kafkas_form() {
    assert_eq!(cluster_id(ClusterId(Uuid::from_u128(1))).as_str(), "AAAAAAAAAAAAAAAAAAAAAQ");
}

#[test]
fn an_empty_list_is_all_in_version_0_and_none_later() {
    assert_eq!(wanted(0, Some(Vec::new())), None);
    assert_eq!(wanted(1, Some(Vec::new())), Some(Vec::new()));
    assert_eq!(wanted(1, None), None);
    assert_eq!(wanted(1, Some(vec![named("a"), named("a")])).unwrap().len(), 1);
}

#[test]
fn every_version_can_be_encoded() {
    let state = state();
    for version in 0..=13 {
        let topics = vec![
            known(&state, version, &state.topics[&ID]),
            one(&state, version, &Asked::Name("absent".to_owned())),
        ];
        let response = cluster(&state, BrokerId(1)).with_topics(topics);
        response.encode(&mut BytesMut::new(), version).unwrap();
        let request = MetadataRequest::default().with_topics(Some(vec![named("t")]));
        refused(version, request).encode(&mut BytesMut::new(), version).unwrap();
    }
}

#[test]
fn every_partition_names_a_leader_its_epoch_and_its_replicas() {
    let state = state();
    let topic = known(&state, 13, &state.topics[&ID]);
    let partition = &topic.partitions[0];
    assert_eq!((partition.error_code, partition.leader_id.0, partition.leader_epoch), (0, 1, 0));
    assert!(!partition.replica_nodes.is_empty() && !partition.isr_nodes.is_empty());
    assert_eq!(topic.topic_id, ID.0);
}

#[test]
fn a_partition_whose_leader_is_gone_waits_for_another() {
    let mut state = state();
    state.incarnations.get_mut(&Incarnation(1)).unwrap().fenced = true;
    let topic = known(&state, 13, &state.topics[&ID]);
    assert_eq!((topic.partitions[0].error_code, topic.partitions[0].leader_id.0), (5, -1));
}

#[test]
fn unknown_names_and_ids_have_their_own_codes() {
    let state = state();
    let code = |asked| one(&state, 13, &asked).error_code;
    assert_eq!(code(Asked::Name("absent".to_owned())), 3);
    assert_eq!(code(Asked::Name("no/name".to_owned())), 17);
    let by_id = one(&state, 13, &Asked::Id(TopicId(Uuid::from_u128(9))));
    assert_eq!((by_id.error_code, by_id.name), (100, None));
    assert_eq!(code(Asked::Id(ID)), 0);
}

#[test]
fn topic_ids_in_a_request_need_version_12() {
    assert!(is_by_id(&named("t").with_topic_id(ID.0)));
    assert!(is_by_id(&MetadataRequestTopic::default().with_name(None)));
    assert!(!is_by_id(&named("t")));
    let request = MetadataRequest::default().with_topics(Some(vec![named("t")]));
    assert_eq!(refused(11, request).topics[0].error_code, 42);
}

#[test]
fn only_names_that_may_be_created_are() {
    let config = BrokerConfig::default();
    let asked: Vec<_> = ["t", "new", "__consumer_offsets", "no/name", "a.b", "a_b"]
        .map(|name| Asked::Name(name.to_owned()))
        .into();
    let new = missing(&state(), &asked, &config);
    let names: Vec<_> = new.iter().map(|new| new.name.as_str()).collect();
    assert_eq!(names, ["new", "a.b"]);
}

#[test]
fn one_request_creates_no_more_partitions_than_create_topics_would() {
    let config = BrokerConfig { num_partitions: 6, ..BrokerConfig::default() };
    let asked: Vec<_> = (0..2000).map(|number| Asked::Name(format!("new{number}"))).collect();
    assert_eq!(missing(&state(), &asked, &config).len(), 10_000 / 6);
    let config = BrokerConfig { num_partitions: 20_000, ..config };
    assert_eq!(
        missing(&state(), &asked, &config).len(),
        1,
        "one alone is refused by its own check"
    );
}
