//! Configs as admin tools see and change them, in every version, with Kafka's codes and words.

use proto_kafka::{
    messages::{
        AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
        ListConfigResourcesRequest, alter_configs_request, describe_configs_request,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        incremental_alter_configs_request,
    },
    protocol::StrBytes,
};

use crate::{
    broker::{Wire, together},
    requests::{create, metadata},
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn describe(version: i16, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
    let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(version >= 3);
    Wire::open().call(version, &request).results.remove(0)
}

fn shown(kind: i8, name: &str, key: &str) -> DescribeConfigsResourceResult {
    let mut result = describe(4, kind, name, Some(&[key]));
    assert_eq!(result.configs.len(), 1, "{key}");
    result.configs.remove(0)
}

fn value(kind: i8, name: &str, key: &str) -> (String, i8) {
    let shown = shown(kind, name, key);
    (shown.value.map(|value| value.to_string()).unwrap_or_default(), shown.config_source)
}

fn incremental(
    version: i16,
    kind: i8,
    name: &str,
    operations: &[(&str, i8, Option<&str>)],
    validate_only: bool,
) -> (i16, String) {
    let operation = |&(name, operation, value): &(&str, i8, Option<&str>)| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(operation)
            .with_value(value.map(text))
    };
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(operations.iter().map(operation).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let answer = Wire::open().call(version, &request).responses.remove(0);
    (answer.error_code, answer.error_message.map(|text| text.to_string()).unwrap_or_default())
}

fn replace(version: i16, name: &str, values: &[(&str, Option<&str>)]) -> (i16, String) {
    let config = |&(name, value): &(&str, Option<&str>)| {
        alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_value(value.map(text))
    };
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(name))
        .with_configs(values.iter().map(config).collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = Wire::open().call(version, &request).responses.remove(0);
    (answer.error_code, answer.error_message.map(|text| text.to_string()).unwrap_or_default())
}

fn broker() -> String {
    Wire::open().call(9, &metadata(&[])).brokers[0].node_id.0.to_string()
}

#[test]
fn every_topic_config_is_described_in_every_version() {
    let _turn = together();
    create(&mut Wire::open(), "described", 1, &[("retention.ms", "5")]);
    for version in 1..=4 {
        let result = describe(version, TOPIC, "described", None);
        assert_eq!((result.error_code, result.error_message.as_deref()), (0, Some("")));
        assert_eq!(result.configs.len(), 33);
        for config in &result.configs {
            assert!(!config.read_only && !config.is_sensitive, "{}", config.name);
            assert_eq!(config.config_type != 0, version >= 3, "{}", config.name);
            let documented = config.documentation.as_ref().is_some_and(|text| !text.is_empty());
            assert_eq!(documented, version >= 3, "{}", config.name);
        }
        let set = result.configs.iter().find(|config| config.name.as_str() == "retention.ms");
        let set = set.unwrap();
        assert_eq!((set.value.as_deref(), set.config_source), (Some("5"), 1));
    }
    assert_eq!(describe(4, TOPIC, "described", Some(&[])).configs.len(), 33, "none named is all");
    assert_eq!(describe(4, TOPIC, "described", Some(&["retention.ms", "x"])).configs.len(), 1);
}

#[test]
fn synonyms_are_told_from_the_broker_config_of_the_same_unit_on() {
    let _turn = together();
    create(&mut Wire::open(), "synonyms", 1, &[]);
    let of = |key| {
        let synonyms = shown(TOPIC, "synonyms", key).synonyms;
        let names = synonyms.iter().map(|synonym| (synonym.name.to_string(), synonym.source));
        names.collect::<Vec<_>>()
    };
    assert_eq!(of("max.message.bytes"), [("message.max.bytes".to_owned(), 5)]);
    // Hours are no synonym of a value in milliseconds; what has no broker config has none.
    for key in ["retention.ms", "segment.ms", "flush.ms", "remote.storage.enable"] {
        assert_eq!(of(key), [], "{key}");
    }
    let id = broker();
    assert_eq!(shown(BROKER, &id, "broker.rack").synonyms.len(), 0, "a null is no value");
}

#[test]
fn what_cannot_be_described_has_its_code_and_words() {
    let _turn = together();
    for version in 1..=4 {
        let code = |kind, name| describe(version, kind, name, None).error_code;
        assert_eq!((code(TOPIC, "no-such"), code(TOPIC, "a b"), code(TOPIC, "")), (3, 17, 17));
        for (kind, name) in [(BROKER, "x"), (8, ""), (16, ""), (32, ""), (0, "x"), (64, "x")] {
            assert_eq!(code(kind, name), 42, "{kind} {name}");
        }
        for (kind, name) in [(16, "a-subscription"), (32, "a-group")] {
            let none = describe(version, kind, name, None);
            assert_eq!((none.error_code, none.configs.len()), (0, 0), "{kind}");
        }
        assert_eq!(code(8, &broker()), 42, "loggers cannot be seen");
    }
    let other = describe(4, BROKER, "99", None).error_message.unwrap().to_string();
    let id = broker();
    let expected = format!("Unexpected broker id, expected {id} or empty string, but received 99");
    assert_eq!(other, expected);
}

#[test]
fn alter_configs_replaces_the_whole_set_in_every_version() {
    let _turn = together();
    create(&mut Wire::open(), "replaced", 1, &[]);
    for version in 0..=2 {
        let both = [("retention.ms", Some("5")), ("cleanup.policy", Some("compact"))];
        assert_eq!(replace(version, "replaced", &both), (0, String::new()));
        assert_eq!(value(TOPIC, "replaced", "cleanup.policy"), ("compact".to_owned(), 1));
        assert_eq!(replace(version, "replaced", &[("retention.ms", Some("6"))]).0, 0);
        assert_eq!(value(TOPIC, "replaced", "retention.ms"), ("6".to_owned(), 1));
        assert_eq!(value(TOPIC, "replaced", "cleanup.policy"), ("delete".to_owned(), 5));
        let unknown = replace(version, "no-such", &[]);
        assert_eq!(unknown, (3, "The topic 'no-such' does not exist.".to_owned()));
        let null = replace(version, "replaced", &[("retention.ms", None)]);
        assert_eq!(null, (42, "Null value not supported for : retention.ms".to_owned()));
        let twice = [("retention.ms", Some("1")), ("retention.ms", Some("2"))];
        assert_eq!(replace(version, "replaced", &twice).0, 42);
        assert_eq!(replace(version, "replaced", &[("x.y", Some("1"))]).0, 40);
        assert_eq!(value(TOPIC, "replaced", "retention.ms").0, "6", "nothing of it was kept");
    }
}

#[test]
fn incremental_operations_touch_single_configs_in_every_version() {
    let _turn = together();
    create(&mut Wire::open(), "touched", 1, &[]);
    for version in 0..=1 {
        let change = |operations: &[_]| incremental(version, TOPIC, "touched", operations, false);
        let policy = || value(TOPIC, "touched", "cleanup.policy");
        assert_eq!(change(&[("cleanup.policy", 2, Some("compact"))]).0, 0);
        assert_eq!(policy(), ("delete,compact".to_owned(), 1));
        assert_eq!(change(&[("cleanup.policy", 3, Some("delete"))]).0, 0);
        assert_eq!(policy().0, "compact");
        assert_eq!(change(&[("cleanup.policy", 1, None)]).0, 0);
        assert_eq!(policy(), ("delete".to_owned(), 5));
        let text = "Can't APPEND to key retention.ms because its type is not LIST.";
        assert_eq!(change(&[("retention.ms", 2, Some("5"))]), (40, text.to_owned()));
        let text = "Can't SUBTRACT to key retention.ms because its type is not LIST.";
        assert_eq!(change(&[("retention.ms", 3, Some("5"))]), (40, text.to_owned()));
        assert_eq!(change(&[("retention.ms", 0, None)]).0, 42);
        assert_eq!(change(&[("retention.ms", 4, Some("5"))]).0, 42, "no such operation");
        let twice = [("retention.ms", 0, Some("5")), ("retention.ms", 1, None)];
        let text = "Error due to duplicate config keys";
        assert_eq!(change(&twice), (42, text.to_owned()));
        let looked =
            incremental(version, TOPIC, "touched", &[("retention.ms", 0, Some("9"))], true);
        assert_eq!(looked.0, 0);
        assert_eq!(value(TOPIC, "touched", "retention.ms").1, 5, "validate only");
    }
}

#[test]
fn resources_without_a_topic_or_broker_behind_them_are_refused_plainly() {
    let _turn = together();
    for version in 0..=1 {
        let change = |kind, name| incremental(version, kind, name, &[("x", 0, Some("1"))], false);
        assert_eq!(change(TOPIC, ""), (42, "Default topic resources are not allowed.".to_owned()));
        assert_eq!(change(TOPIC, "no-such").0, 40, "the config is looked at first");
        let broker = broker();
        assert_eq!(change(8, &broker).0, 42, "loggers");
        assert_eq!((change(16, "m").0, change(32, "g").0), (40, 40));
        assert_eq!((change(0, "x").0, change(64, "x").0), (42, 42));
    }
}

#[test]
fn broker_defaults_reach_topics_with_their_source() {
    let _turn = together();
    create(&mut Wire::open(), "inherits", 1, &[]);
    let id = broker();
    let key = "log.index.interval.bytes";
    let set = |name: &str, value| incremental(1, BROKER, name, &[(key, 0, Some(value))], false);
    assert_eq!(set("", "8192").0, 0);
    assert_eq!(value(TOPIC, "inherits", "index.interval.bytes"), ("8192".to_owned(), 3));
    assert_eq!(set(&id, "9000").0, 0);
    assert_eq!(value(TOPIC, "inherits", "index.interval.bytes"), ("9000".to_owned(), 2));
    assert_eq!(value(BROKER, &id, key), ("9000".to_owned(), 2));
    let cluster = describe(4, BROKER, "", Some(&[key]));
    assert_eq!(cluster.configs[0].value.as_deref(), Some("8192"));
    for name in [&id, ""] {
        assert_eq!(incremental(1, BROKER, name, &[(key, 1, None)], false).0, 0);
    }
    assert_eq!(value(TOPIC, "inherits", "index.interval.bytes"), ("4096".to_owned(), 5));
    let fixed = incremental(1, BROKER, "", &[("num.partitions", 0, Some("3"))], false);
    let text = "Cannot update these configs dynamically: [num.partitions]";
    assert_eq!(fixed, (42, text.to_owned()));
}

#[test]
fn config_resources_are_listed_by_type() {
    let _turn = together();
    create(&mut Wire::open(), "listed", 1, &[]);
    let listed = |version, types: Vec<i8>| {
        let request = ListConfigResourcesRequest::default().with_resource_types(types);
        Wire::open().call(version, &request)
    };
    let topics = listed(1, vec![TOPIC]).config_resources;
    assert!(topics.iter().any(|it| it.resource_name.as_str() == "listed"));
    assert!(topics.iter().all(|it| it.resource_type == TOPIC));
    assert_eq!(listed(1, vec![BROKER]).config_resources[0].resource_name.to_string(), broker());
    assert_eq!(listed(1, vec![16, 32]).config_resources.len(), 0);
    assert_eq!(listed(1, vec![TOPIC, 99]).error_code, 35);
    assert_eq!(listed(0, vec![]).config_resources.len(), 0, "client metrics only");
}
