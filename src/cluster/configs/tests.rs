use std::collections::BTreeSet;

use super::*;
use crate::{record::TimestampType, types::ByteCount};

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

struct Owned {
    broker: Values,
    cluster: Values,
    given: Values,
}

impl Owned {
    fn none() -> Self {
        Self { broker: Values::new(), cluster: Values::new(), given: Values::new() }
    }

    fn layers(&self) -> Layers<'_> {
        Layers { broker: &self.broker, cluster: &self.cluster, given: &self.given }
    }
}

fn refusal(name: &str, value: &str) -> String {
    check_topic(&values(&[(name, value)]), &Owned::none().layers()).unwrap_err().to_string()
}

fn accepts(name: &str, value: &str) -> String {
    let checked = check_topic(&values(&[(name, value)]), &Owned::none().layers()).unwrap();
    checked[name].clone()
}

#[test]
fn the_tables_are_sorted_and_name_each_configuration_once() {
    for table in [TOPIC, BROKER] {
        let names: Vec<&str> = table.iter().map(|definition| definition.name).collect();
        let sorted: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names, sorted.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn the_topic_table_has_the_names_of_kafka_4_3() {
    // `LogConfig.nonInternalConfigNames()`.
    let kafka = "cleanup.policy compression.gzip.level compression.lz4.level compression.type \
        compression.zstd.level delete.retention.ms file.delete.delay.ms flush.messages flush.ms \
        follower.replication.throttled.replicas index.interval.bytes \
        leader.replication.throttled.replicas local.retention.bytes local.retention.ms \
        max.compaction.lag.ms max.message.bytes message.timestamp.after.max.ms \
        message.timestamp.before.max.ms message.timestamp.type min.cleanable.dirty.ratio \
        min.compaction.lag.ms min.insync.replicas preallocate remote.log.copy.disable \
        remote.log.delete.on.disable remote.storage.enable retention.bytes retention.ms \
        segment.bytes segment.index.bytes segment.jitter.ms segment.ms \
        unclean.leader.election.enable";
    let kafka: Vec<&str> = kafka.split_whitespace().collect();
    assert_eq!(TOPIC.iter().map(|definition| definition.name).collect::<Vec<_>>(), kafka);
}

#[test]
fn every_default_passes_its_own_rule_and_is_printed_as_written() {
    for definition in TOPIC.iter().chain(BROKER) {
        if let Some(default) = definition.default {
            assert_eq!(definition.parse(default).as_deref(), Ok(default), "{}", definition.name);
        }
        assert!(!definition.doc.is_empty(), "{}", definition.name);
    }
}

#[test]
fn every_synonym_is_a_broker_configuration_with_the_same_default() {
    let none = Owned::none();
    for definition in TOPIC {
        for synonym in definition.synonyms {
            let broker = broker_definition(synonym.name).expect(synonym.name);
            if synonym.scale == 1 {
                assert_eq!(broker.kind, definition.kind, "{}", synonym.name);
                assert_eq!(broker.rule, definition.rule, "{}", synonym.name);
            }
        }
        let (value, source) = none.layers().topic_value(&Values::new(), definition);
        assert_eq!(value.as_deref(), definition.default, "{}", definition.name);
        assert_eq!(source, Source::Default);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_kafkas_words() {
    assert_eq!(
        refusal("retention.ms", "soon"),
        "Invalid value soon for configuration retention.ms: Not a number of type LONG"
    );
    assert_eq!(
        refusal("max.message.bytes", "4294967296"),
        "Invalid value 4294967296 for configuration max.message.bytes: Not a number of type INT"
    );
    assert_eq!(
        refusal("preallocate", "yes"),
        "Invalid value yes for configuration preallocate: \
         Expected value to be either true or false"
    );
}

#[test]
fn a_value_outside_its_range_is_refused_with_kafkas_words() {
    assert_eq!(
        refusal("retention.ms", "-2"),
        "Invalid value -2 for configuration retention.ms: Value must be at least -1"
    );
    assert_eq!(
        refusal("min.cleanable.dirty.ratio", "1.5"),
        "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: \
         Value must be no more than 1"
    );
    assert_eq!(
        refusal("min.cleanable.dirty.ratio", "-0.1"),
        "Invalid value -0.1 for configuration min.cleanable.dirty.ratio: Value must be at least 0"
    );
    assert!(refusal("min.cleanable.dirty.ratio", "NaN").contains("at least 0"));
    assert_eq!(
        refusal("compression.gzip.level", "0"),
        "Invalid value 0 for configuration compression.gzip.level: \
         Value must be between 1 and 9 or equal to -1"
    );
    assert!(refusal("segment.bytes", "1000").ends_with("Value must be at least 1048576"));
}

#[test]
fn a_text_outside_its_set_is_refused_with_kafkas_words() {
    assert_eq!(
        refusal("compression.type", "brotli"),
        "Invalid value brotli for configuration compression.type: String must be one of: \
         uncompressed, zstd, lz4, snappy, gzip, producer"
    );
    assert_eq!(
        refusal("cleanup.policy", "delete,shred"),
        "Invalid value shred for configuration cleanup.policy: \
         String must be one of: compact, delete"
    );
    assert_eq!(
        refusal("cleanup.policy", "delete,"),
        "Configuration 'cleanup.policy' values must not be empty."
    );
}

#[test]
fn an_unknown_topic_configuration_is_refused_by_name() {
    assert_eq!(
        refusal("message.format.version", "3.0"),
        "Unknown topic config name: message.format.version"
    );
}

#[test]
fn a_value_too_long_for_old_versions_is_refused() {
    let long = "0:1,".repeat(10_000);
    assert!(refusal("leader.replication.throttled.replicas", &long).contains("too long"));
}

#[test]
fn tiering_cannot_be_enabled_but_may_be_said_to_be_off() {
    assert!(refusal("remote.storage.enable", "true").contains("not supported"));
    assert_eq!(accepts("remote.storage.enable", "FALSE"), "false");
}

#[test]
fn compaction_lags_that_exclude_each_other_are_refused() {
    let both = values(&[("min.compaction.lag.ms", "200"), ("max.compaction.lag.ms", "100")]);
    assert_eq!(
        check_topic(&both, &Owned::none().layers()).unwrap_err().to_string(),
        "conflict topic config setting min.compaction.lag.ms (200) > max.compaction.lag.ms (100)"
    );
}

#[test]
fn values_are_kept_as_kafka_prints_them() {
    assert_eq!(accepts("retention.ms", " 1000 "), "1000");
    assert_eq!(accepts("cleanup.policy", "compact , delete"), "compact,delete");
    assert_eq!(accepts("cleanup.policy", ""), "");
    assert_eq!(accepts("cleanup.policy", "delete,compact,delete"), "delete,compact");
    assert_eq!(accepts("min.cleanable.dirty.ratio", "1"), "1.0");
    assert_eq!(accepts("leader.replication.throttled.replicas", "*"), "*");
    assert_eq!(accepts("leader.replication.throttled.replicas", "0:1, 1:2"), "0:1,1:2");
    assert!(refusal("leader.replication.throttled.replicas", "0").contains("literal '*'"));
}

#[test]
fn the_defaults_are_kafkas() {
    let config = TopicConfig::default();
    assert_eq!(config.cleanup, Cleanup { delete: true, compact: false });
    assert_eq!(config.compression, Compression::Producer);
    assert_eq!(config.max_message_bytes, ByteCount(1_048_588));
    assert_eq!(config.retention_ms, Some(604_800_000));
    assert_eq!(config.retention_bytes, None);
    assert_eq!(config.timestamp_type, TimestampType::CreateTime);
    assert_eq!(config.timestamp_before_max_ms, i64::MAX);
    assert_eq!(config.timestamp_after_max_ms, 3_600_000);
    assert_eq!(config.min_insync_replicas, 1);
    let broker = BrokerConfig::default();
    assert!(broker.auto_create_topics_enable && broker.delete_topic_enable);
    assert_eq!((broker.num_partitions, broker.default_replication_factor), (1, 1));
    assert_eq!(broker.group_initial_rebalance_delay_ms, 3000);
    assert_eq!(broker.offsets_topic_num_partitions, 50);
}

#[test]
fn the_topic_beats_the_broker_beats_the_cluster_beats_the_file() {
    let mut owned = Owned::none();
    let definition = topic_definition("retention.ms").unwrap();
    let mut topic = Values::new();
    let resolve = |owned: &Owned, topic: &Values| owned.layers().topic_value(topic, definition);
    owned.given = values(&[("log.retention.hours", "2")]);
    assert_eq!(resolve(&owned, &topic), (Some("7200000".to_owned()), Source::Given));
    owned.cluster = values(&[("log.retention.ms", "5")]);
    assert_eq!(resolve(&owned, &topic), (Some("5".to_owned()), Source::Cluster));
    owned.broker = values(&[("log.retention.ms", "6")]);
    assert_eq!(resolve(&owned, &topic), (Some("6".to_owned()), Source::Broker));
    topic = values(&[("retention.ms", "7")]);
    assert_eq!(resolve(&owned, &topic), (Some("7".to_owned()), Source::Topic));
    let names: Vec<_> = owned
        .layers()
        .topic_settings(&topic, definition)
        .into_iter()
        .map(|setting| (setting.name, setting.value.unwrap(), setting.source))
        .collect();
    let expected = [
        ("retention.ms", "7", Source::Topic),
        ("log.retention.ms", "6", Source::Broker),
        ("log.retention.ms", "5", Source::Cluster),
        ("log.retention.hours", "2", Source::Given),
        ("log.retention.hours", "168", Source::Default),
    ];
    assert_eq!(names, expected.map(|(name, value, source)| (name, value.to_owned(), source)));
}

#[test]
fn within_a_layer_milliseconds_beat_minutes_beat_hours() {
    let mut owned = Owned::none();
    owned.given = values(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")]);
    let config = |owned: &Owned| TopicConfig::resolve(&Values::new(), &owned.layers());
    assert_eq!(config(&owned).retention_ms, Some(120_000));
    owned.given.insert("log.retention.ms".to_owned(), "3".to_owned());
    assert_eq!(config(&owned).retention_ms, Some(3));
    owned.given = values(&[("log.retention.hours", "-1")]);
    assert_eq!(config(&owned).retention_ms, None);
}

#[test]
fn a_recorded_value_this_version_cannot_read_counts_as_unset() {
    let topic = values(&[("retention.ms", "P7D"), ("of.the.future", "1")]);
    let config = TopicConfig::resolve(&topic, &Owned::none().layers());
    assert_eq!(config, TopicConfig::default());
}

#[test]
fn connections_per_address_are_given_by_address_and_nothing_else() {
    let definition = broker_definition("max.connections.per.ip.overrides").unwrap();
    for good in ["", "127.0.0.1:5", "127.0.0.1:5, ::1:7", "[::1]:7"] {
        assert!(definition.parse(good).is_ok(), "{good}");
    }
    for wrong in ["localhost:5", "127.0.0.1", "127.0.0.1:-1", "127.0.0.1:x", ":5"] {
        assert!(definition.parse(wrong).is_err(), "{wrong}");
    }
    let mut owned = Owned::none();
    let text = "127.0.0.1:5,[::1]:7";
    owned.given = values(&[("max.connections.per.ip.overrides", text)]);
    let config = BrokerConfig::resolve(&owned.layers());
    let counts: Vec<usize> = config.max_connections_per_ip_overrides.into_values().collect();
    assert_eq!(counts, [5, 7]);
}

#[test]
fn compression_carries_the_level_of_its_codec() {
    let compression = |pairs: &[(&str, &str)]| {
        TopicConfig::resolve(&values(pairs), &Owned::none().layers()).compression
    };
    assert_eq!(
        compression(&[("compression.type", "zstd"), ("compression.zstd.level", "-7")]),
        Compression::Zstd(-7)
    );
    assert_eq!(compression(&[("compression.type", "gzip")]), Compression::Gzip(-1));
    assert_eq!(compression(&[("compression.type", "lz4")]), Compression::Lz4(9));
}

#[test]
fn list_operations_start_from_the_default_and_keep_elements_unique() {
    let after = |current: &[(&str, &str)], operation| {
        let operations = [("cleanup.policy".to_owned(), operation)];
        apply_operations(&values(current), &operations, topic_definition).unwrap()
    };
    let append = Operation::Append("compact".to_owned());
    assert_eq!(after(&[], append.clone())["cleanup.policy"], "delete,compact");
    assert_eq!(after(&[("cleanup.policy", "compact")], append)["cleanup.policy"], "compact");
    let subtract = Operation::Subtract("delete".to_owned());
    assert_eq!(
        after(&[("cleanup.policy", "delete,compact")], subtract)["cleanup.policy"],
        "compact"
    );
    assert!(after(&[("cleanup.policy", "compact")], Operation::Delete).is_empty());
    let refused = apply_operations(
        &Values::new(),
        &[("retention.ms".to_owned(), Operation::Append("1".to_owned()))],
        topic_definition,
    );
    assert_eq!(
        refused.unwrap_err().to_string(),
        "Can't APPEND to key retention.ms because its type is not LIST."
    );
}

#[test]
fn a_broker_configuration_fixed_at_start_cannot_be_changed() {
    let change = values(&[("num.partitions", "3"), ("log.retention.ms", "1")]);
    assert_eq!(
        check_broker_change(&change).unwrap_err().to_string(),
        "Cannot update these configs dynamically: [num.partitions]"
    );
    let change = values(&[("log.retention.ms", " 1")]);
    assert_eq!(check_broker_change(&change).unwrap(), values(&[("log.retention.ms", "1")]));
    let change = values(&[("no.such.config", "1")]);
    assert_eq!(
        check_broker_change(&change).unwrap_err().to_string(),
        "Unknown broker config name: no.such.config"
    );
}

#[test]
fn values_given_at_start_are_checked_by_name_and_value() {
    let given = values(&[("num.partitions", "6"), ("auto.create.topics.enable", "False")]);
    let checked = Layers::check_given(&given).unwrap();
    assert_eq!(checked["auto.create.topics.enable"], "false");
    assert!(Layers::check_given(&values(&[("num.partitions", "0")])).is_err());
    assert!(Layers::check_given(&values(&[("num.partition", "1")])).is_err());
}

/// `docs/configuration-topics.md`, made from the tables.
fn page() -> String {
    let row = |definition: &Definition| {
        let default = match definition.default {
            None => "none".to_owned(),
            Some("") => "empty".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let treatment = definition.treatment.word();
        format!("| `{}` | {default} | {treatment} | {} |\n", definition.name, definition.doc)
    };
    let head = "| name | default | here | meaning |\n|---|---|---|---|\n";
    let mut page = "# Topic and broker configurations\n\n\
        Names, types, defaults and checks are those of Apache Kafka 4.3. *acts* changes what \
        Strandline does;\n*reported* is checked, kept and shown, so that tools which set it work, \
        and nothing depends on it;\n*refused* accepts only the default.\n\n\
        A topic's value comes from the topic, else from this broker, else from all brokers (both \
        set at run time\nwith `kafka-configs` or its kin), else from the table `[kafka]` of the \
        file, else from the default.\n\n## Topics\n\n"
        .to_owned();
    page.push_str(head);
    page.extend(TOPIC.iter().map(row));
    page.push_str("\n## Brokers\n\nThose in bold may change while the broker runs.\n\n");
    page.push_str(head);
    page.extend(BROKER.iter().map(|definition| match definition.update {
        Update::Dynamic => row(definition).replacen('`', "**`", 1).replacen("` |", "`** |", 1),
        Update::ReadOnly => row(definition),
    }));
    page
}

#[test]
fn the_page_of_configurations_says_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration-topics.md");
    if std::env::var_os("STRANDLINE_TEST_WRITE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == page(),
        "docs/configuration-topics.md is not what the tables say: \
         STRANDLINE_TEST_WRITE_DOCS=1 cargo test --lib the_page_of_configurations"
    );
}

#[test]
fn an_element_operation_of_endless_elements_is_refused_unread() {
    let name = "cleanup.policy".to_owned();
    for operation in [Operation::Append, Operation::Subtract] {
        let endless = [(name.clone(), operation(",".repeat(40_000)))];
        let refused = apply_operations(&Values::new(), &endless, topic_definition);
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
}
