//! The cluster as admin tools see it, in every version.

use proto_kafka::{
    messages::{
        DescribeClientQuotasRequest, DescribeClusterRequest, DescribeLogDirsRequest,
        DescribeLogDirsResponse, DescribeTopicPartitionsRequest, ElectLeadersRequest,
        FindCoordinatorRequest, InitProducerIdRequest, ListPartitionReassignmentsRequest,
        TransactionalId,
        describe_client_quotas_request::ComponentData,
        describe_log_dirs_request::DescribableLogDirTopic,
        describe_topic_partitions_request::{Cursor, TopicRequest},
        elect_leaders_request::TopicPartitions,
    },
    protocol::{Decodable, StrBytes},
};

use crate::{
    broker::{Wire, start, together},
    requests::{batch, create, name, produce, transactional},
};

const NO_TRANSACTIONS: &str = "transactions are not served yet";

#[test]
fn describe_cluster_names_brokers_in_every_version_and_controllers_in_none() {
    let _turn = together();
    let mut wire = Wire::open();
    for version in 0..=2 {
        let answer = wire.call(version, &DescribeClusterRequest::default());
        assert_eq!((answer.error_code, &answer.error_message), (0, &None));
        assert_eq!((answer.brokers.len(), answer.cluster_id.len()), (1, 22));
        assert_eq!(answer.controller_id, answer.brokers[0].broker_id);
        assert_eq!(answer.cluster_authorized_operations, i32::MIN);
        let asking =
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        assert!(wire.call(version, &asking).cluster_authorized_operations > 0);
    }
    for version in 1..=2 {
        let mut refused = |kind| {
            let request = DescribeClusterRequest::default().with_endpoint_type(kind);
            let answer = wire.call(version, &request);
            (answer.error_code, answer.error_message.unwrap().to_string())
        };
        assert_eq!(refused(2).0, 114);
        assert_eq!(refused(3), (115, "Unsupported endpoint type 3".to_owned()));
    }
}

#[test]
fn describe_log_dirs_tells_of_one_directory_in_every_version() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "dirs", 2, &[]);
    let topic =
        DescribableLogDirTopic::default().with_topic(name("dirs")).with_partitions(vec![0, 99]);
    let request = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
    for version in 1..=4 {
        let answer = wire.call(version, &request);
        let [directory] = &answer.results[..] else { panic!("one directory") };
        assert_eq!((answer.error_code, directory.error_code), (0, 0));
        assert_eq!(directory.topics[0].partitions.len(), 1, "the one there is");
    }
    let size = |wire: &mut Wire| {
        let answer = wire.call(4, &request);
        answer.results[0].topics[0].partitions[0].partition_size
    };
    assert_eq!(size(&mut wire), 0);
    let records = batch(&["x", "y"]);
    wire.call(9, &produce("dirs", 0, -1, &records));
    let bytes = i64::try_from(records.len()).unwrap();
    assert_eq!(size(&mut wire), bytes, "acknowledged is counted, published or not");
    let none = DescribeLogDirsRequest::default().with_topics(Some(Vec::new()));
    assert!(wire.call(4, &none).results[0].topics.is_empty());
}

#[test]
fn version_5_of_describe_log_dirs_says_after_the_sizes_that_nothing_is_cordoned() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "cordoned", 1, &[]);
    let topic =
        DescribableLogDirTopic::default().with_topic(name("cordoned")).with_partitions(vec![0]);
    let request = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
    let mut body = bytes::BytesMut::new();
    proto_kafka::protocol::Encodable::encode(&request, &mut body, 4).unwrap();
    let frame = wire.framed(35, 5, &body);
    wire.send(&frame);
    let newest = wire.receive().unwrap();
    let frame = wire.frame(4, &request);
    wire.send(&frame);
    let before = wire.receive().unwrap();
    // After the head: the one difference is a false before the tags of directory and answer.
    let mut expected = before[5..].to_vec();
    expected.insert(expected.len() - 2, 0);
    assert_eq!(newest[5..], expected);
    assert!(DescribeLogDirsResponse::decode(&mut before.slice(5..), 4).is_ok());
}

#[test]
fn topic_partitions_come_in_pages_from_a_cursor_on() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "paged-1", 2, &[]);
    create(&mut wire, "paged-2", 2, &[]);
    let topics = |names: &[&str]| {
        let topic = |topic: &&str| TopicRequest::default().with_name(name(topic));
        names.iter().map(topic).collect::<Vec<_>>()
    };
    let both = DescribeTopicPartitionsRequest::default()
        .with_topics(topics(&["paged-2", "paged-1"]))
        .with_response_partition_limit(3);
    let first = wire.call(0, &both);
    let counts: Vec<usize> = first.topics.iter().map(|topic| topic.partitions.len()).collect();
    assert_eq!(counts, [2, 1], "by name, as many as asked for");
    let next = first.next_cursor.unwrap();
    assert_eq!((next.topic_name, next.partition_index), (name("paged-2"), 1));
    let cursor = Cursor::default().with_topic_name(name("paged-2")).with_partition_index(1);
    let rest = wire.call(0, &both.with_cursor(Some(cursor)));
    assert_eq!(rest.topics[0].partitions[0].partition_index, 1);
    assert!(rest.next_cursor.is_none());
    for partition in &rest.topics[0].partitions {
        assert_eq!(partition.eligible_leader_replicas.as_ref().map(Vec::len), Some(0));
        assert_eq!(partition.last_known_elr.as_ref().map(Vec::len), Some(0));
    }
    let wrong = DescribeTopicPartitionsRequest::default()
        .with_topics(topics(&["no-such", "a b"]))
        .with_response_partition_limit(9);
    let codes: Vec<i16> = wire.call(0, &wrong).topics.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [17, 3]);
}

#[test]
fn a_page_of_topic_partitions_has_at_most_2000() {
    let _turn = together();
    let mut wire = Wire::open_at(&start(&[]));
    create(&mut wire, "most", 2001, &[]);
    let topic = TopicRequest::default().with_name(name("most"));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![topic])
        .with_response_partition_limit(i32::MAX);
    let page = wire.call(0, &request);
    assert_eq!(page.topics[0].partitions.len(), 2000);
    let next = page.next_cursor.unwrap();
    assert_eq!((next.topic_name, next.partition_index), (name("most"), 2000));
}

#[test]
fn elections_are_never_needed_in_any_version() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "elected", 1, &[]);
    let asked = |topic: &str, partitions: Vec<i32>| {
        TopicPartitions::default().with_topic(name(topic)).with_partitions(partitions)
    };
    for version in 0..=2 {
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![
            asked("elected", vec![0, 9]),
            asked("gone", vec![0]),
        ]));
        let answer = wire.call(version, &request);
        let told = answer.replica_election_results.iter().flat_map(|topic| {
            let text = |text: &Option<StrBytes>| text.as_ref().unwrap().to_string();
            topic.partition_result.iter().map(move |it| (it.error_code, text(&it.error_message)))
        });
        let expected = [
            (84, "Leader election not needed for topic partition."),
            (3, "No such partition as elected-9"),
            (3, "No such topic as gone"),
        ];
        let expected = expected.map(|(code, text)| (code, text.to_owned()));
        assert_eq!(told.collect::<Vec<_>>(), expected);
        let all = wire.call(version, &ElectLeadersRequest::default().with_topic_partitions(None));
        assert!(all.replica_election_results.iter().any(|it| it.topic == name("elected")));
        assert!(all.replica_election_results.iter().all(|it| it.partition_result.is_empty()));
    }
    let odd = ElectLeadersRequest::default().with_election_type(9);
    assert_eq!(wire.call(2, &odd.with_topic_partitions(Some(Vec::new()))).error_code, 42);
}

#[test]
fn no_reassignment_goes_on() {
    let _turn = together();
    let request = ListPartitionReassignmentsRequest::default().with_topics(None);
    let answer = Wire::open().call(0, &request);
    assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
}

#[test]
fn no_quota_is_set_and_a_filter_that_means_nothing_is_refused() {
    let _turn = together();
    let mut wire = Wire::open();
    let component = |kind: &'static str, match_type, matched: Option<&'static str>| {
        ComponentData::default()
            .with_entity_type(kind.into())
            .with_match_type(match_type)
            ._match(matched)
    };
    for version in 0..=1 {
        let mut ask = |components| {
            let request = DescribeClientQuotasRequest::default().with_components(components);
            let answer = wire.call(version, &request);
            let text = answer.error_message.map(|text| text.to_string()).unwrap_or_default();
            (answer.error_code, text, answer.entries.map(|entries| entries.len()))
        };
        let none = (0, String::new(), Some(0));
        assert_eq!(ask(vec![]), none);
        assert_eq!(ask(vec![component("user", 2, None)]), none);
        assert_eq!(ask(vec![component("client-id", 0, Some("x"))]), none);
        let refused = |code, text: &str| (code, text.to_owned(), None);
        let unsupported = refused(35, "Unsupported entity type foo");
        assert_eq!(ask(vec![component("foo", 2, None)]), unsupported);
        let twice = vec![component("user", 2, None), component("user", 1, None)];
        let text = "Entity type user cannot appear more than once in the filter.";
        assert_eq!(ask(twice), refused(42, text));
        assert_eq!(ask(vec![component("", 2, None)]), refused(42, "Invalid empty entity type."));
        let odd = ask(vec![component("user", 9, None)]);
        assert_eq!(odd, refused(42, "Unknown match type 9"));
        assert_eq!(ask(vec![component("user", 0, None)]).0, 42);
        assert_eq!(ask(vec![component("user", 1, Some("x"))]).0, 42);
        assert_eq!(ask(vec![component("user", 2, None), component("ip", 2, None)]).0, 42);
    }
}

trait Match {
    fn _match(self, matched: Option<&'static str>) -> Self;
}

impl Match for ComponentData {
    fn _match(mut self, matched: Option<&'static str>) -> Self {
        self._match = matched.map(StrBytes::from_static_str);
        self
    }
}

#[test]
fn a_transactional_client_is_told_at_once_that_there_are_no_transactions() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "transactional", 1, &[]);
    for version in 1..=6 {
        let request = FindCoordinatorRequest::default().with_key_type(1);
        let (code, port) = if version < 4 {
            let answer = wire.call(version, &request.with_key("tx".into()));
            (answer.error_code, answer.port)
        } else {
            let answer = wire.call(version, &request.with_coordinator_keys(vec!["tx".into()]));
            (answer.coordinators[0].error_code, answer.coordinators[0].port)
        };
        assert_eq!(code, 0, "version {version}");
        assert!(port > 0, "version {version}: some broker is to refuse it");
    }
    for version in 0..=5 {
        let id = Some(TransactionalId("tx".into()));
        let request = InitProducerIdRequest::default().with_transactional_id(id);
        assert_eq!(wire.call(version, &request).error_code, 53, "version {version}");
    }
    let request = transactional(produce("transactional", 0, -1, &batch(&["x"])));
    for version in [3, 8, 11] {
        let answer = wire.call(version, &request);
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 53, "version {version}");
        if version >= 8 {
            assert_eq!(partition.error_message.as_deref(), Some(NO_TRANSACTIONS));
        }
    }
}
