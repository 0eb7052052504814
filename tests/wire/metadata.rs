//! Metadata and topics (kafka.md M).

use proto_kafka::messages::{
    DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest,
    metadata_request::MetadataRequestTopic,
};
use uuid::Uuid;

use crate::{
    broker::{Wire, start, start_as, together},
    requests::{create, delete, metadata, name},
};

#[test]
fn every_version_tells_brokers_controller_and_leaders() {
    let _turn = together();
    let mut wire = Wire::open();
    let id = create(&mut wire, "told", 3, &[]);
    for version in 0..=13 {
        let answer = wire.call(version, &metadata(&["told"]));
        let broker = answer.brokers[0].node_id;
        assert!(broker.0 >= 0 && answer.brokers[0].port > 0);
        if version >= 1 {
            assert_eq!(answer.controller_id, broker);
        }
        if version >= 2 {
            assert_eq!(answer.cluster_id.as_ref().map(|id| id.len()), Some(22));
        }
        let topic = &answer.topics[0];
        assert_eq!((topic.error_code, topic.partitions.len()), (0, 3), "version {version}");
        assert_eq!(topic.topic_id, if version >= 10 { id } else { Uuid::nil() });
        for partition in &topic.partitions {
            assert_eq!((partition.error_code, partition.leader_id), (0, broker));
            assert!(!partition.replica_nodes.is_empty() && !partition.isr_nodes.is_empty());
            assert_eq!(partition.leader_epoch >= 0, version >= 7);
        }
    }
}

#[test]
fn a_missing_topic_is_created_for_who_allows_it_and_named_with_its_leader() {
    let _turn = together();
    let mut wire = Wire::open();
    let refused = metadata(&["on-demand"]).with_allow_auto_topic_creation(false);
    assert_eq!(wire.call(4, &refused).topics[0].error_code, 3);
    let answer = wire.call(4, &metadata(&["on-demand"]));
    assert_eq!(answer.topics[0].error_code, 0);
    assert!(answer.topics[0].partitions[0].leader_id.0 >= 0);
}

#[test]
fn a_name_that_cannot_be_is_refused() {
    let _turn = together();
    let long = "x".repeat(250);
    for bad in ["", ".", "..", "a b", "a/b", long.as_str()] {
        assert_eq!(Wire::open().call(4, &metadata(&[bad])).topics[0].error_code, 17, "{bad}");
    }
}

#[test]
fn null_is_all_topics_and_an_empty_list_is_none() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "all", 1, &[]);
    let has = |answer: proto_kafka::messages::MetadataResponse| {
        answer.topics.iter().any(|topic| topic.name == Some(name("all")))
    };
    assert!(has(wire.call(0, &metadata(&[]))), "in version 0 an empty list is all");
    assert!(wire.call(1, &metadata(&[])).topics.is_empty());
    assert!(has(wire.call(1, &MetadataRequest::default().with_topics(None))));
}

#[test]
fn topics_are_found_by_id_from_version_12_on_and_a_new_one_has_a_new_id() {
    let _turn = together();
    let mut wire = Wire::open();
    let old = create(&mut wire, "again", 1, &[]);
    let by_id = |id| {
        let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
        MetadataRequest::default().with_topics(Some(vec![topic]))
    };
    let answer = wire.call(12, &by_id(old));
    assert_eq!(answer.topics[0].name, Some(name("again")));
    delete(&mut wire, "again");
    let gone = wire.call(12, &by_id(old));
    assert_eq!((gone.topics[0].error_code, gone.topics[0].name.as_ref()), (100, None));
    let new = create(&mut wire, "again", 1, &[]);
    assert_ne!(new, old);
    let mut named = metadata(&["again"]);
    named.topics.as_mut().unwrap()[0].topic_id = new;
    for version in [10, 11] {
        for early in [&named, &by_id(new), &by_id(Uuid::nil())] {
            assert_eq!(wire.call(version, early).topics[0].error_code, 42, "version {version}");
        }
    }
}

#[test]
fn versions_that_do_not_ask_create_a_missing_topic() {
    let _turn = together();
    for version in 0..=3 {
        let topic = format!("on-demand-{version}");
        let answer = Wire::open().call(version, &metadata(&[&topic]));
        assert_eq!((answer.topics[0].error_code, answer.topics[0].partitions.len()), (0, 1));
    }
}

#[test]
fn where_topics_are_not_created_on_demand_a_missing_one_is_unknown() {
    let _turn = together();
    let address = start(&[("auto.create.topics.enable", "false")]);
    let mut wire = Wire::open_at(&address);
    for version in 0..=13 {
        let answer = wire.call(version, &metadata(&["not-created"]));
        assert_eq!(answer.topics[0].error_code, 3, "version {version}");
    }
}

#[test]
fn brokers_and_coordinators_are_told_by_their_advertised_address() {
    let _turn = together();
    let address = start_as(Some("broker.example:1234"), &[]);
    let mut wire = Wire::open_at(&address);
    let broker = wire.call(9, &metadata(&[])).brokers.remove(0);
    assert_eq!((broker.host.as_str(), broker.port), ("broker.example", 1234));
    let described = wire.call(0, &DescribeClusterRequest::default()).brokers.remove(0);
    let told = (broker.node_id, broker.host.clone(), broker.port);
    assert_eq!((described.broker_id, described.host, described.port), told);
    // The topic of offsets is made for who asks first.
    let find = FindCoordinatorRequest::default().with_key("any".into());
    let found = (0..1000)
        .find_map(|_| {
            let answer = wire.call(3, &find);
            std::thread::sleep(std::time::Duration::from_millis(20));
            (answer.error_code == 0).then_some(answer)
        })
        .expect("a coordinator");
    assert_eq!((found.node_id, found.host, found.port), told, "one that metadata names");
}

#[test]
fn operations_are_told_when_asked_for() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "operations", 1, &[]);
    for version in 8..=13 {
        let silent = wire.call(version, &metadata(&["operations"]));
        assert_eq!(silent.cluster_authorized_operations, i32::MIN);
        assert_eq!(silent.topics[0].topic_authorized_operations, i32::MIN);
        // Of the cluster DescribeCluster tells from 11 on.
        let asking = metadata(&["operations"])
            .with_include_cluster_authorized_operations(version <= 10)
            .with_include_topic_authorized_operations(true);
        let told = wire.call(version, &asking);
        assert_eq!(told.cluster_authorized_operations > 0, version <= 10, "version {version}");
        assert!(told.topics[0].topic_authorized_operations > 0);
    }
}
