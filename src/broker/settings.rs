//! From names and texts of Kafka's settings to the typed values parts run with.

use std::{sync::Arc, time::Duration};

use super::Broker;
use crate::{
    cluster::{
        State,
        configs::{BrokerConfig, Layers, TopicConfig, Values},
    },
    group, kafka,
    log::upload::TopicConfigs,
    types::{BrokerId, ByteCount},
};

/// What `connections.max.idle.ms` may say at least: less would cut clients between two bytes.
const MIN_IDLE: Duration = Duration::from_millis(100);
/// What it may say at most.
const MAX_IDLE: Duration = Duration::from_secs(365 * 24 * 3600);

impl Broker {
    /// How a topic is configured, as the metadata says at the moment of asking.
    pub(super) fn topic_configs(&self, broker: BrokerId) -> TopicConfigs {
        let given = self.given.clone();
        Arc::new(move |state, topic| {
            TopicConfig::resolve(&topic.configs, &state.layers(broker, &given))
        })
    }

    /// The limits of Kafka's listener that only a restart changes.
    pub(super) fn kafka_config(&self) -> kafka::Config {
        let none = Values::new();
        let layers = Layers { broker: &none, cluster: &none, given: &self.given };
        let config = BrokerConfig::resolve(&layers);
        let defaults = kafka::Config::default();
        let bytes = |bytes: i64| u64::try_from(bytes).ok().map(ByteCount);
        kafka::Config {
            max_connections: usize::try_from(self.config.max_connections).unwrap_or(usize::MAX),
            // What was given was made to fit; the default is what fits.
            max_request: bytes(config.socket_request_max_bytes.into())
                .unwrap_or(defaults.max_request)
                .min(ByteCount(self.config.memory.requests.0.saturating_sub(4))),
            background: self.cold_threads.clone(),
            reply_memory: self.config.memory.replies,
            connection_memory: self.config.memory.connections,
            request_memory: self.config.memory.requests,
            // As good as never, and far from what a timer cannot count.
            max_idle: u64::try_from(config.connections_max_idle_ms)
                .map_or(MAX_IDLE, Duration::from_millis)
                .clamp(MIN_IDLE, MAX_IDLE),
        }
    }

    /// How groups are run.
    pub(super) fn group_config(&self, state: &State, broker: BrokerId) -> group::Config {
        let config = BrokerConfig::resolve(&state.layers(broker, &self.given));
        let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let count = |count: i32| usize::try_from(count).unwrap_or(0);
        let defaults = group::Config::default();
        let minutes = i64::from(config.offsets_retention_minutes);
        group::Config {
            initial_rebalance_delay: millis(config.group_initial_rebalance_delay_ms.into()),
            min_session_timeout: millis(config.group_min_session_timeout_ms.into()),
            max_session_timeout: millis(config.group_max_session_timeout_ms.into()),
            max_members: count(config.group_max_size).min(defaults.max_members),
            offsets_retention: millis(minutes.saturating_mul(60_000)),
            offsets_retention_check: millis(config.offsets_retention_check_interval_ms),
            offset_metadata_max_bytes: count(config.offset_metadata_max_bytes),
            partitions: config.offsets_topic_num_partitions,
            ..defaults
        }
    }
}
