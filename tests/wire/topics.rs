//! Creating, growing and deleting topics, in every version, with Kafka's codes and words.

use proto_kafka::{
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
        create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        create_topics_response::CreatableTopicResult,
        delete_topics_request::DeleteTopicState,
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use crate::{
    broker::{Wire, together},
    requests::{create, delete, metadata, name},
};

fn topic(topic: &str) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(2)
        .with_replication_factor(1)
}

fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text))
}

fn ask(
    version: i16,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(20_000)
        .with_validate_only(validate_only);
    Wire::open().call(version, &request).topics
}

/// The code and text one topic gets when it is only looked at.
fn verdict(version: i16, topic: CreatableTopic) -> (i16, String) {
    let answer = ask(version, vec![topic], true).remove(0);
    (answer.error_code, answer.error_message.map(|text| text.to_string()).unwrap_or_default())
}

#[test]
fn create_topics_answers_in_every_version_with_what_that_version_tells() {
    let _turn = together();
    for version in 2..=7 {
        let called = format!("created-{version}");
        let created = ask(version, vec![topic(&called)], false).remove(0);
        assert_eq!((created.error_code, &created.error_message), (0, &None), "version {version}");
        assert_eq!(created.topic_id.is_nil(), version < 7);
        let told = (created.num_partitions, created.replication_factor);
        assert_eq!(told, if version >= 5 { (2, 1) } else { (-1, -1) });
        let configs = created.configs.expect("a list, never null").len();
        assert_eq!(configs, if version >= 5 { 33 } else { 0 });
        let again = ask(version, vec![topic(&called)], false).remove(0);
        assert_eq!(again.error_code, 36);
        assert_eq!(
            again.error_message.unwrap().to_string(),
            format!("Topic '{called}' already exists.")
        );
    }
}

#[test]
fn validate_only_creates_nothing_in_any_version() {
    let _turn = together();
    for version in 2..=7 {
        let answer = ask(version, vec![topic("validated")], true).remove(0);
        assert_eq!(answer.error_code, 0);
        let request = metadata(&["validated"]).with_allow_auto_topic_creation(false);
        assert_eq!(Wire::open().call(12, &request).topics[0].error_code, 3);
    }
}

#[test]
fn create_topics_refuses_impossible_names() {
    let _turn = together();
    for version in [2, 7] {
        for wrong in ["", ".", "..", "a b", "a/b", "ü", &"x".repeat(250)] {
            assert_eq!(verdict(version, topic(wrong)).0, 17, "{wrong:?}");
        }
        assert_eq!(verdict(version, topic(&"x".repeat(249))).0, 0);
        for internal in ["__transaction_state", "__cluster_metadata"] {
            assert_eq!(verdict(version, topic(internal)).0, 42, "{internal}");
        }
    }
    create(&mut Wire::open(), "col.lides", 1, &[]);
    let collides = verdict(7, topic("col_lides"));
    let text = "Topic 'col_lides' collides with existing topic: col.lides";
    assert_eq!(collides, (17, text.to_owned()));
}

#[test]
fn create_topics_knows_minus_one_and_refuses_other_counts_that_are_none() {
    let _turn = together();
    for version in [4, 7] {
        assert_eq!(verdict(version, topic("count").with_num_partitions(-1)).0, 0);
        assert_eq!(verdict(version, topic("count").with_replication_factor(-1)).0, 0);
        for wrong in [0, -2] {
            assert_eq!(verdict(version, topic("count").with_num_partitions(wrong)).0, 37);
            let factor = i16::try_from(wrong).unwrap();
            assert_eq!(verdict(version, topic("count").with_replication_factor(factor)).0, 38);
        }
    }
    assert_eq!(verdict(7, topic("count").with_num_partitions(10_001)).0, 44);
    // Suites ask for three copies of a cluster of one: the bucket has as many as it has.
    assert_eq!(verdict(7, topic("count").with_replication_factor(3)).0, 0);
}

#[test]
fn create_topics_tells_what_minus_one_came_to_and_one_copy_whatever_was_asked() {
    let _turn = together();
    let defaults = topic("came-to").with_num_partitions(-1).with_replication_factor(-1);
    for version in 5..=7 {
        for (asked, told) in
            [(defaults.clone(), (1, 1)), (topic("came-to").with_replication_factor(3), (2, 1))]
        {
            let answer = ask(version, vec![asked], true).remove(0);
            assert_eq!((answer.num_partitions, answer.replication_factor), told);
        }
    }
    ask(4, vec![defaults], false);
    let made = Wire::open().call(12, &metadata(&["came-to"])).topics.remove(0).partitions;
    assert_eq!((made.len(), made[0].replica_nodes.len(), made[0].isr_nodes.len()), (1, 1, 1));
}

#[test]
fn a_topic_named_twice_in_one_request_is_refused_once() {
    let _turn = together();
    for version in 2..=7 {
        let answers = ask(version, vec![topic("twice"), topic("twice")], false);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].error_code, 42);
        assert_eq!(answers[0].error_message.as_deref(), Some("Duplicate topic name."));
    }
}

#[test]
fn manual_assignments_are_checked_as_kafka_does() {
    let _turn = together();
    let broker = Wire::open().call(9, &metadata(&[])).brokers[0].node_id.0;
    let on = |index: i32, brokers: &[i32]| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(brokers.iter().map(|&id| id.into()).collect())
    };
    let assigned = |assignments| {
        topic("assigned")
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(assignments)
    };
    let good = vec![on(0, &[broker]), on(1, &[broker])];
    assert_eq!(verdict(7, assigned(good.clone())).0, 0);
    assert_eq!(verdict(7, assigned(good.clone()).with_num_partitions(2)).0, 42);
    assert_eq!(verdict(7, assigned(good).with_replication_factor(1)).0, 42);
    let wrong = [
        vec![on(0, &[broker + 1])],
        vec![on(0, &[broker, broker])],
        vec![on(0, &[])],
        vec![on(0, &[broker]), on(2, &[broker])],
        vec![on(1, &[broker])],
        vec![on(0, &[broker]), on(0, &[broker])],
        vec![on(-1, &[broker])],
    ];
    for assignments in wrong {
        assert_eq!(verdict(7, assigned(assignments.clone())).0, 39, "{assignments:?}");
    }
}

#[test]
fn create_topics_refuses_configs_with_kafkas_words() {
    let _turn = together();
    let with = |name: &str, value: Option<&str>| {
        verdict(7, topic("configured").with_configs(vec![config(name, value)]))
    };
    let cases = [
        ("no.such", "Unknown topic config name: no.such"),
        (
            "retention.ms",
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "compression.type",
            "Invalid value x for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        (
            "leader.replication.throttled.replicas",
            "Invalid value [x] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
    ];
    for (name, text) in cases {
        assert_eq!(with(name, Some("x")), (40, text.to_owned()));
    }
    let empty = with("cleanup.policy", Some("compact,"));
    let text = "Configuration 'cleanup.policy' values must not be empty.";
    assert_eq!(empty, (40, text.to_owned()));
    let null = with("retention.ms", None);
    assert_eq!(null, (40, "Null value not supported for topic configs: retention.ms".to_owned()));
}

#[test]
fn a_created_topic_tells_its_configs_and_their_sources() {
    let _turn = together();
    let wanted = topic("sources").with_configs(vec![config("retention.ms", Some("7"))]);
    for version in 5..=7 {
        let answer = ask(version, vec![wanted.clone()], true).remove(0);
        let configs = answer.configs.unwrap();
        let of = |name: &str| {
            let found = configs.iter().find(|config| config.name.as_str() == name).unwrap();
            (found.value.as_ref().unwrap().to_string(), found.config_source)
        };
        assert_eq!(of("retention.ms"), ("7".to_owned(), 1));
        assert_eq!(of("cleanup.policy"), ("delete".to_owned(), 5));
    }
}

fn grow(version: i16, called: &str, count: i32, brokers: Option<&[i32]>) -> (i16, Option<String>) {
    let assignment = |brokers: &[i32]| {
        let brokers = brokers.iter().map(|&id| id.into()).collect();
        vec![CreatePartitionsAssignment::default().with_broker_ids(brokers)]
    };
    let topic = CreatePartitionsTopic::default()
        .with_name(name(called))
        .with_count(count)
        .with_assignments(brokers.map(assignment));
    let request =
        CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
    let result = Wire::open().call(version, &request).results.remove(0);
    (result.error_code, result.error_message.map(|text| text.to_string()))
}

#[test]
fn a_topic_grows_in_every_version_and_never_shrinks() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "grows", 1, &[]);
    for version in 0..=3 {
        let count = i32::from(version) + 2;
        assert_eq!(grow(version, "grows", count, None), (0, None));
        let same = format!("Topic already has {count} partition(s).");
        assert_eq!(grow(version, "grows", count, None), (37, Some(same)));
        assert_eq!(grow(version, "grows", count - 1, None).0, 37);
        assert_eq!(grow(version, "no-such-topic", count, None), (3, None));
    }
    assert_eq!(wire.call(12, &metadata(&["grows"])).topics[0].partitions.len(), 5);
    let broker = wire.call(9, &metadata(&[])).brokers[0].node_id.0;
    for wrong in [&[broker + 1][..], &[], &[broker, broker]] {
        assert_eq!(grow(3, "grows", 6, Some(wrong)).0, 39, "{wrong:?}");
    }
    assert_eq!(grow(3, "grows", 7, Some(&[broker])).0, 39, "one assignment for two");
    assert_eq!(grow(3, "grows", 6, Some(&[broker])), (0, None));
}

#[test]
fn delete_topics_works_by_name_in_every_version_and_by_id_in_6() {
    let _turn = together();
    let mut wire = Wire::open();
    for version in 1..=5 {
        create(&mut wire, "deleted", 1, &[]);
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![name("deleted"), name("no-such-topic")])
            .with_timeout_ms(20_000);
        let codes = wire.call(version, &request).responses;
        let codes: Vec<i16> = codes.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 3], "version {version}");
    }
    let by = |topic: Option<&str>, id| {
        DeleteTopicState::default().with_name(topic.map(name)).with_topic_id(id)
    };
    let answer = |topics| {
        let request = DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(20_000);
        let topics = Wire::open().call(6, &request).responses;
        topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>()
    };
    let id = create(&mut wire, "deleted", 1, &[]);
    assert_eq!(answer(vec![by(Some("deleted"), id)]), [42], "both");
    assert_eq!(answer(vec![by(None, Uuid::nil())]), [42], "neither");
    assert_eq!(answer(vec![by(None, id), by(None, id)]), [42], "an id twice");
    assert_eq!(answer(vec![by(Some("deleted"), Uuid::nil()); 2]), [42], "a name twice");
    assert_eq!(answer(vec![by(None, Uuid::from_u128(9))]), [100]);
    assert_eq!(answer(vec![by(None, id)]), [0]);
    assert_eq!(answer(vec![by(None, id)]), [100], "it is gone");
}

#[test]
fn nobody_creates_kafkas_metadata_topic_by_asking_for_it() {
    let _turn = together();
    for version in [4, 9, 13] {
        let answer = Wire::open().call(version, &metadata(&["__cluster_metadata"]));
        assert_eq!(answer.topics[0].error_code, 3);
    }
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![name("__cluster_metadata")])
        .with_timeout_ms(20_000);
    assert_eq!(Wire::open().call(5, &request).responses[0].error_code, 3);
    delete_is_refused_for_the_offsets_topic();
}

fn delete_is_refused_for_the_offsets_topic() {
    let mut wire = Wire::open();
    let group = proto_kafka::messages::FindCoordinatorRequest::default()
        .with_key(StrBytes::from_static_str("any"));
    assert_eq!(wire.call(3, &group).error_code, 0);
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![name("__consumer_offsets")])
        .with_timeout_ms(20_000);
    assert_eq!(wire.call(5, &request).responses[0].error_code, 42);
    create(&mut wire, "beside-internals", 1, &[]);
    delete(&mut wire, "beside-internals");
}
