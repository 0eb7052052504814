//! What the Kafka face counts.
//!
//! Invariant: what is counted with every request is found once, not with every request; names that
//! clients choose are no labels.

use std::sync::{Arc, OnceLock};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use proto_kafka::messages::ApiKey;

use super::{
    api::{APIS, Errors},
    error::Code,
    versions::number,
};
use crate::metrics::{Histogram, Registry};

/// Error codes there is a place for: from -1 up.
const CODES: usize = 160;

/// Labels of one API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    /// As Kafka names it.
    api: &'static str,
}

/// Labels of an error told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabel {
    api: &'static str,
    /// As Kafka names it.
    error: String,
}

/// Counters and gauges of the Kafka face.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) connections: Gauge,
    pub(super) refused_connections: Counter,
    pub(super) bad_requests: Counter,
    pub(super) request_bytes: Counter,
    pub(super) response_bytes: Counter,
    pub(super) fetch_sessions: Gauge,
    pub(super) reply_memory_bytes: Gauge,
    pub(super) slow_clients: Counter,
    /// From a Produce request's last byte read until all of it is appended.
    pub(super) produce_append_seconds: Histogram,
    /// From an answer that is ready until its last byte is with the system.
    pub(super) reply_seconds: Histogram,
    requests: Family<ApiLabel, Counter>,
    seconds: Family<ApiLabel, Histogram, fn() -> Histogram>,
    errors: Family<ErrorLabel, Counter>,
    /// By API key.
    apis: Arc<[Option<ApiMetrics>]>,
}

/// What is counted of one API.
#[derive(Debug)]
pub(super) struct ApiMetrics {
    api: &'static str,
    pub(super) requests: Counter,
    /// From a request's last byte read until its answer is written.
    pub(super) seconds: Histogram,
    /// By error code, each made when it is first told.
    errors: Vec<OnceLock<Counter>>,
    family: Family<ErrorLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = Family::<_, Counter>::default();
        let seconds: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(Histogram::seconds);
        let errors = Family::<_, Counter>::default();
        let newest = APIS.iter().map(|api| number(api.key)).max().unwrap_or(0);
        let of = |key: i16| {
            let api = APIS.iter().find(|api| number(api.key) == key)?.name;
            let label = ApiLabel { api };
            Some(ApiMetrics {
                api,
                requests: requests.get_or_create(&label).clone(),
                seconds: seconds.get_or_create(&label).clone(),
                errors: (0..CODES).map(|_| OnceLock::new()).collect(),
                family: errors.clone(),
            })
        };
        let apis = (0..=newest).map(of).collect();
        Self {
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            bad_requests: Counter::default(),
            request_bytes: Counter::default(),
            response_bytes: Counter::default(),
            fetch_sessions: Gauge::default(),
            reply_memory_bytes: Gauge::default(),
            slow_clients: Counter::default(),
            produce_append_seconds: Histogram::seconds(),
            reply_seconds: Histogram::seconds(),
            requests,
            seconds,
            errors,
            apis,
        }
    }
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = metrics.clone();
        registry.register("kafka_connections", "Open connections", m.connections);
        let mut counter = |name: &str, help: &str, counter| registry.register(name, help, counter);
        counter(
            "kafka_refused_connections",
            "Connections over a limit, closed at once",
            m.refused_connections,
        );
        counter("kafka_bad_requests", "Requests that ended their connection", m.bad_requests);
        counter("kafka_request_bytes", "Bytes of requests read", m.request_bytes);
        counter("kafka_response_bytes", "Bytes of replies written", m.response_bytes);
        registry.register("kafka_fetch_sessions", "Cached fetch sessions", m.fetch_sessions);
        let held = "Memory granted to replies that are not written yet";
        registry.register("kafka_reply_memory_bytes", held, m.reply_memory_bytes);
        registry.register(
            "kafka_slow_clients",
            "Clients given up because others waited for the memory of replies they did not read",
            m.slow_clients,
        );
        registry.register("kafka_requests", "Requests read, by API", m.requests);
        let help = "From a request's last byte read until its answer is written, by API";
        registry.register("kafka_request_seconds", help, m.seconds);
        let help = "Errors told to clients, by API and Kafka's name of them";
        registry.register("kafka_errors", help, m.errors);
        let help = "From a Produce request's last byte read until all of it is appended";
        registry.register("kafka_produce_append_seconds", help, m.produce_append_seconds);
        let help = "From an answer that is ready until it is written";
        registry.register("kafka_reply_seconds", help, m.reply_seconds);
        metrics
    }

    /// What is counted of an API that is served.
    pub(super) fn of(&self, key: ApiKey) -> Option<&ApiMetrics> {
        self.apis.get(usize::try_from(number(key)).ok()?)?.as_ref()
    }

    /// Requests read so far, and how long those of Produce took.
    #[must_use]
    pub fn flow(&self) -> (u64, Histogram) {
        let requests = self.apis.iter().flatten().map(|api| api.requests.get()).sum();
        let produce = self.of(ApiKey::Produce).map(|api| api.seconds.clone());
        (requests, produce.unwrap_or_else(Histogram::seconds))
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }
}

impl ApiMetrics {
    /// Counts the errors of one answer.
    pub(super) fn told(&self, errors: &Errors) {
        for (code, count) in errors.iter() {
            let place = usize::try_from(i32::from(code) + 1).unwrap_or(CODES);
            let Some(place) = self.errors.get(place.min(CODES - 1)) else { continue };
            place.get_or_init(|| self.first(code)).inc_by(count);
        }
    }

    fn first(&self, code: i16) -> Counter {
        let label = ErrorLabel { api: self.api, error: name(code) };
        self.family.get_or_create(&label).clone()
    }
}

/// Kafka's name of an error: `NOT_LEADER_OR_FOLLOWER`.
fn name(code: i16) -> String {
    let camel = match Code::try_from_code(code) {
        None | Some(Code::Unknown(_)) => return format!("CODE_{code}"),
        Some(code) => format!("{code:?}"),
    };
    let mut name = String::with_capacity(camel.len() + 6);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_names_kafka_gives_them() {
        assert_eq!(name(6), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(name(-1), "UNKNOWN_SERVER_ERROR");
        assert_eq!(name(3000), "CODE_3000");
    }

    #[test]
    fn every_api_is_there_before_its_first_request_and_errors_once_they_are_told() {
        let mut registry = Registry::with_prefix("strandline");
        let metrics = Metrics::new(&mut registry);
        let line = "strandline_kafka_errors_total{api=\"Produce\",error=\"CORRUPT_MESSAGE\"} 2\n";
        let text = registry.text().unwrap();
        for api in APIS {
            let rows = format!("strandline_kafka_requests_total{{api=\"{}\"}} 0\n", api.name);
            assert!(text.contains(&rows), "{rows}");
        }
        assert!(!text.contains("kafka_errors_total{"));
        let errors = Errors::of([0, 2, 0, 2]);
        metrics.of(ApiKey::Produce).unwrap().told(&errors);
        assert!(registry.text().unwrap().contains(line));
    }
}
