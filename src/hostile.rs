//! Every decoder of bytes from outside, as a table: a name, what must hold for any bytes, good
//! bytes to start from, and how much memory a byte may cost.
//!
//! Owns: the table, which `tests/hostile.rs` runs over the kept corpus and seeded mutants, and
//! `fuzz/` under libFuzzer. Does not own: the properties, which stand beside their decoders.
//! Invariants: a check panics when its property is broken and for nothing else; it does no IO; a
//! new decoder has a row here.

use std::collections::BTreeMap;

use crate::{
    client, cluster,
    cluster::configs::{
        self, BrokerConfig, Definition, Layers, Operation, TopicConfig, Values, apply_operations,
        check_broker_change, check_topic,
    },
    config::Settings,
    group, kafka, manifest, object, record,
    store::{BucketUrl, Key, path},
    wal,
};

/// One decoder.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder of the corpus.
    pub name: &'static str,
    /// What must hold for any bytes.
    pub check: fn(&[u8]),
    /// Good bytes.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes of memory a byte may cost, all of the check together.
    pub cost: usize,
    /// Bytes of memory the check may take besides.
    pub besides: usize,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn target(
    name: &'static str,
    check: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
    (cost, besides): (usize, usize),
) -> Target {
    Target { name, check, seeds, cost, besides }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("kafka-stream", kafka::hostile::stream, kafka::hostile::stream_seeds, (8, 256 * KIB)),
    target("kafka-request", kafka::hostile::request, kafka::hostile::request_seeds, (32, 64 * KIB)),
    target("client-answer", client::hostile::answer, client::hostile::seeds, (32, 64 * KIB)),
    // Opening takes a codec's buffers and, by the limits, a MiB that is always granted.
    target(
        "record-batches",
        record::hostile::batches,
        record::hostile::batch_seeds,
        (32, 32 * MIB),
    ),
    target(
        "record-compressed",
        record::hostile::compressed,
        record::hostile::compressed_seeds,
        (32, 32 * MIB),
    ),
    target("wal-file", wal::hostile::file, wal::hostile::file_seeds, (16, 2 * MIB)),
    target("wal-payloads", wal::hostile::payloads, wal::hostile::payload_seeds, (32, 2 * MIB)),
    target("wal-names", wal::hostile::names, wal::hostile::name_seeds, (32, 64 * KIB)),
    target("object-footer", object::hostile::footer, object::hostile::footer_seeds, (32, 64 * KIB)),
    target(
        "object-producers",
        object::hostile::producers,
        object::hostile::producer_seeds,
        (32, 64 * KIB),
    ),
    target("manifest", manifest::hostile::manifest, manifest::hostile::seeds, (32, 64 * KIB)),
    // A record may make a topic of as many partitions as are allowed.
    target(
        "metadata-entry",
        cluster::hostile::entry,
        cluster::hostile::entry_seeds,
        (32, 16 * MIB),
    ),
    target(
        "metadata-snapshot",
        cluster::hostile::snapshot,
        cluster::hostile::snapshot_seeds,
        (32, 16 * MIB),
    ),
    target(
        "metadata-document",
        cluster::hostile::document,
        cluster::hostile::document_seeds,
        (32, 64 * KIB),
    ),
    target("group-record", group::hostile::record, group::hostile::record_seeds, (32, 64 * KIB)),
    target(
        "group-subscription",
        group::hostile::subscription,
        group::hostile::subscription_seeds,
        (24, 64 * KIB),
    ),
    target("store-names", store_names, store_name_seeds, (16, 64 * KIB)),
    target("config-value", config_value, config_value_seeds, (16, 8 * MIB)),
    target("config-file", config_file, config_file_seeds, (64, 256 * KIB)),
];

/// The row called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// A key as a listing shows it, and a bucket as people write it.
fn store_names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(key) = Key::parse(&text) {
        assert_eq!(key.as_str(), text, "a key has one form");
        assert!(path::name(&key).is_some());
    }
    if let Ok(url) = text.parse::<BucketUrl>() {
        let again = url.to_string().parse::<BucketUrl>();
        assert_eq!(again.as_ref(), Ok(&url), "a bucket reads as it is written");
    }
}

fn store_name_seeds() -> Vec<Vec<u8>> {
    [
        "meta/log/00000000000000000012",
        "meta/snapshot/00000000000000000012-ab01",
        "data/09d3/0000000000001234-00000009-0000000000000abc",
        "manifest/00000000000000000000000000000007/3/00000000000000000004",
        "cluster.json",
        "s3://bucket-1/a/b",
        "file:///folder/x",
        "./data/bucket",
        "memory://",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Which configuration, then its value.
fn config_value(bytes: &[u8]) {
    let Some((which, text)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let number = usize::from(*which);
    let none = Values::new();
    let layers = Layers { broker: &none, cluster: &none, given: &none };
    if let Some(definition) = configs::TOPIC.get(number % configs::TOPIC.len()) {
        let raw = value_holds(definition, &text, configs::topic_definition);
        drop(TopicConfig::resolve(&raw, &layers));
        if let Ok(checked) = check_topic(&raw, &layers) {
            drop(TopicConfig::resolve(&checked, &layers));
            assert_eq!(check_topic(&checked, &layers).ok(), Some(checked));
        }
    }
    if let Some(definition) = configs::BROKER.get(number % configs::BROKER.len()) {
        let raw = value_holds(definition, &text, configs::broker_definition);
        drop(BrokerConfig::resolve(&Layers { broker: &raw, cluster: &none, given: &none }));
        drop(BrokerConfig::resolve(&Layers { broker: &none, cluster: &none, given: &raw }));
        let checked = check_broker_change(&raw);
        drop(checked);
    }
}

fn value_holds(
    definition: &Definition,
    text: &str,
    named: fn(&str) -> Option<&'static Definition>,
) -> Values {
    if let Ok(printed) = definition.parse(text) {
        let again = definition.parse(&printed);
        assert_eq!(again.ok(), Some(printed), "a printed value reads as it is printed");
    }
    let raw: Values = BTreeMap::from([(definition.name.to_owned(), text.to_owned())]);
    for operation in [Operation::Append(text.to_owned()), Operation::Subtract(text.to_owned())] {
        drop(apply_operations(&raw, &[(definition.name.to_owned(), operation)], named));
    }
    raw
}

fn config_value_seeds() -> Vec<Vec<u8>> {
    let texts = ["true", "-1", "9223372036854775807", "0.5", "compact,delete", "zstd", "0:1,1:2"];
    let names = 0_u8..u8::try_from(configs::TOPIC.len()).unwrap_or(u8::MAX);
    names.flat_map(|which| texts.map(|text| [&[which], text.as_bytes()].concat())).collect()
}

/// The configuration file.
fn config_file(bytes: &[u8]) {
    let settings = Settings { config: Some("strandline.toml".into()), ..Settings::default() };
    if let Ok(config) = settings.resolve(std::iter::empty(), |_| Ok(bytes.to_vec())) {
        assert!(config.roll_bytes.0 > 0 && !config.bucket.is_empty());
    }
}

fn config_file_seeds() -> Vec<Vec<u8>> {
    let whole = "bucket = \"memory://\"\nroll-after = \"3s\"\nroll-bytes = \"8MiB\"\n\
        wal-budget = \"4GiB\"\nkafka-listen = \"0.0.0.0:9092\"\nkafka-advertise = \"b:9092\"\n\
        http-listen = \"[::1]:8080\"\nbroker-id = 4\nlease = \"180s\"\nmax-connections = 9\n\
        [kafka]\n\"num.partitions\" = 2\n\"auto.create.topics.enable\" = false\n";
    vec![whole.as_bytes().to_vec(), b"rack = 'a'\n[kafka]\nx = [1, {y = 2}]\n".to_vec()]
}
