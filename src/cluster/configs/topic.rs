//! A topic's configuration as the rest of the broker uses it.
//!
//! Owns: the typed view and the check of a whole set of overrides. Does not own: what acts on it.

use super::{Error, Layers, TOPIC, Values, broker, definition::elements, topic_definition};
use crate::{record::TimestampType, types::ByteCount};

/// How old records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// By time and size.
    pub delete: bool,
    /// By key.
    pub compact: bool,
}

/// The codec batches are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// What the producer chose.
    Producer,
    /// None.
    Uncompressed,
    /// Gzip at this level, -1 for the library's choice.
    Gzip(i32),
    /// Snappy.
    Snappy,
    /// LZ4 at this level.
    Lz4(i32),
    /// Zstandard at this level.
    Zstd(i32),
}

/// A topic's configuration, resolved; every field is named after Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
    /// `compression.type` with the level that goes with it.
    pub compression: Compression,
    /// `max.message.bytes`.
    pub max_message_bytes: ByteCount,
    /// `segment.bytes`: the most one produce request may bring to a partition.
    pub segment_bytes: ByteCount,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `retention.ms`; `None` is no limit.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; `None` is no limit.
    pub retention_bytes: Option<ByteCount>,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `producer.id.expiration.ms`, which is the broker's and the same for all topics.
    pub producer_expiration_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
}

impl Default for TopicConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        let none = Values::new();
        Self::resolve(&none, &Layers { broker: &none, cluster: &none, given: &none })
    }
}

impl TopicConfig {
    /// The configuration of a topic with these overrides.
    #[must_use]
    pub fn resolve(overrides: &Values, layers: &Layers<'_>) -> Self {
        let read = Reader { overrides, layers };
        let policies = read.text("cleanup.policy");
        let policies = elements(&policies);
        Self {
            cleanup: Cleanup {
                delete: policies.contains(&"delete"),
                compact: policies.contains(&"compact"),
            },
            compression: read.compression(),
            max_message_bytes: read.bytes("max.message.bytes"),
            segment_bytes: read.bytes("segment.bytes"),
            timestamp_type: match read.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: read.number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: read.number("message.timestamp.after.max.ms"),
            retention_ms: Some(read.number("retention.ms")).filter(|&limit| limit >= 0),
            retention_bytes: u64::try_from(read.number::<i64>("retention.bytes"))
                .ok()
                .map(ByteCount),
            min_insync_replicas: read.number("min.insync.replicas"),
            producer_expiration_ms: broker::value(layers, "producer.id.expiration.ms"),
            delete_retention_ms: read.number("delete.retention.ms"),
            min_compaction_lag_ms: read.number("min.compaction.lag.ms"),
            max_compaction_lag_ms: read.number("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: read.number("min.cleanable.dirty.ratio"),
        }
    }
}

struct Reader<'a> {
    overrides: &'a Values,
    layers: &'a Layers<'a>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> String {
        let definition = topic_definition(name).expect("the view asks for names of the table");
        self.layers.topic_value(self.overrides, definition).0.unwrap_or_default()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> T {
        let number = self.text(name).parse().ok();
        number.expect("a layer's value is parsed before it counts, and defaults parse")
    }

    fn bytes(&self, name: &str) -> ByteCount {
        ByteCount(u64::try_from(self.number::<i64>(name)).unwrap_or_default())
    }

    fn compression(&self) -> Compression {
        match self.text("compression.type").as_str() {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => Compression::Gzip(self.number("compression.gzip.level")),
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4(self.number("compression.lz4.level")),
            "zstd" => Compression::Zstd(self.number("compression.zstd.level")),
            _ => Compression::Producer,
        }
    }
}

/// Checks a topic's whole set of overrides, and gives it with every value as Kafka prints it.
///
/// # Errors
/// The first name or value that is wrong, or two that exclude each other.
pub fn check_topic(overrides: &Values, layers: &Layers<'_>) -> Result<Values, Error> {
    for name in overrides.keys() {
        if topic_definition(name).is_none() {
            return Err(Error::Unknown { resource: "topic", name: name.clone() });
        }
    }
    let mut checked = Values::new();
    for definition in TOPIC {
        if let Some(text) = overrides.get(definition.name) {
            checked.insert(definition.name.to_owned(), definition.parse(text)?);
        }
    }
    let config = TopicConfig::resolve(&checked, layers);
    let (least, most) = (config.min_compaction_lag_ms, config.max_compaction_lag_ms);
    if least > most {
        return Err(Error::Conflict(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > \
             max.compaction.lag.ms ({most})"
        )));
    }
    Ok(checked)
}
