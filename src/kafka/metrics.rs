//! What the Kafka face counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Unit,
};

use crate::metrics::Registry;

/// Labels of one API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ApiLabel {
    /// As Kafka names it.
    pub(super) api: &'static str,
}

/// Counters and gauges of the Kafka face.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) connections: Gauge,
    pub(super) refused_connections: Counter,
    pub(super) bad_requests: Counter,
    pub(super) requests: Family<ApiLabel, Counter>,
    pub(super) request_bytes: Counter,
    pub(super) response_bytes: Counter,
    pub(super) fetch_sessions: Gauge,
    pub(super) reply_memory_bytes: Gauge,
    pub(super) slow_clients: Counter,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = metrics.clone();
        registry.register("kafka_connections", "Open connections", m.connections);
        registry.register(
            "kafka_refused_connections",
            "Connections over the limit, closed at once",
            m.refused_connections,
        );
        registry.register(
            "kafka_bad_requests",
            "Requests that ended their connection",
            m.bad_requests,
        );
        registry.register("kafka_requests", "Requests read, by API", m.requests);
        let bytes = "Bytes of requests read";
        registry.register_with_unit("kafka_request", bytes, Unit::Bytes, m.request_bytes);
        let bytes = "Bytes of replies written";
        registry.register_with_unit("kafka_response", bytes, Unit::Bytes, m.response_bytes);
        registry.register("kafka_fetch_sessions", "Cached fetch sessions", m.fetch_sessions);
        let held = "Memory granted to replies that are not written yet";
        registry.register("kafka_reply_memory_bytes", held, m.reply_memory_bytes);
        registry.register(
            "kafka_slow_clients",
            "Clients given up because others waited for the memory of replies they did not read",
            m.slow_clients,
        );
        metrics
    }
}
