//! What this side counts, and what is measured only when somebody asks for metrics.
//!
//! Invariant: of what there may be any number, groups above all, a fixed number is shown, and how
//! many are not.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use super::survey::Survey;
use crate::{
    group::GroupState,
    metrics::{Registry, level},
};

/// Groups whose lag is shown: those with the largest.
const GROUPS_SHOWN: usize = 50;

/// Why a request or a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A host name that is not this broker's.
    Host,
    /// Another site's.
    Site,
    /// Too large.
    Large,
    /// Too slow.
    Slow,
    /// One connection too many.
    Connections,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Group {
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

type Level = Gauge<u64, AtomicU64>;

/// Metrics of the HTTP side and of the whole broker.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    build: Family<Build, Gauge>,
    pub(super) ready: Gauge,
    pub(super) connections: Gauge,
    refused: Family<Reason, Counter>,
    group_states: Family<State, Gauge>,
    group_lag: Family<Group, Level>,
    group_lag_all: Level,
    group_lag_hidden: Gauge,
    group_loading: Gauge,
    topics: Gauge,
    partitions: Gauge,
    bucket_objects: Gauge,
    bucket_bytes: Level,
    bucket_away: Gauge<f64, AtomicU64>,
    unlinked: Gauge,
    unlinked_age: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self::default();
        let m = new.clone();
        m.build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version that runs", m.build);
        registry.register("ready", "1 while clients are served", m.ready);
        registry.register("http_connections", "Open HTTP connections", m.connections);
        registry.register("http_refused", "Requests and connections refused", m.refused);
        registry.register("group_states", "Groups, by where they stand", m.group_states);
        let help = "Records a group is behind, of the groups furthest behind";
        registry.register("group_lag_records", help, m.group_lag);
        let help = "Records all groups together are behind";
        registry.register("group_lag_sum_records", help, m.group_lag_all);
        let help = "Groups whose lag is not shown one by one";
        registry.register("group_lag_hidden_groups", help, m.group_lag_hidden);
        let help = "1 while some groups are not loaded and so not measured";
        registry.register("group_lag_incomplete", help, m.group_loading);
        registry.register("cluster_topics", "Topics", m.topics);
        registry.register("cluster_partitions", "Partitions of all topics", m.partitions);
        registry.register("bucket_objects", "Objects with records", m.bucket_objects);
        registry.register("bucket_bytes", "Bytes of objects with records", m.bucket_bytes);
        let help = "How long the bucket has not answered, 0 while it does";
        registry.register("bucket_away_seconds", help, m.bucket_away);
        let help = "Objects no longer referred to and not yet deleted";
        registry.register("bucket_unlinked_objects", help, m.unlinked);
        let help = "How long the oldest of those has waited to be deleted";
        registry.register("bucket_unlinked_age_seconds", help, m.unlinked_age);
        new
    }

    pub(super) fn refused(&self, refusal: Refusal) -> Counter {
        let reason = match refusal {
            Refusal::Host => "host",
            Refusal::Site => "site",
            Refusal::Large => "large",
            Refusal::Slow => "slow",
            Refusal::Connections => "connections",
        };
        self.refused.get_or_create(&Reason { reason }).clone()
    }

    /// Shows what was found.
    pub(super) fn show(&self, survey: &Survey) {
        use GroupState::{CompletingRebalance, Empty, PreparingRebalance, Stable};
        for state in [Empty, PreparingRebalance, CompletingRebalance, Stable] {
            let count = survey.groups.iter().filter(|group| group.state == state.name()).count();
            self.group_states.get_or_create(&State { state: state.name() }).set(level(count));
        }
        self.group_lag.clear();
        let behind = survey.furthest_behind(GROUPS_SHOWN);
        for group in &behind {
            let label = Group { group: group.group.clone() };
            self.group_lag.get_or_create(&label).set(group.lag);
        }
        self.group_lag_all.set(survey.groups.iter().map(|group| group.lag).sum());
        self.group_lag_hidden.set(level(survey.groups.len().saturating_sub(behind.len())));
        self.group_loading.set(i64::from(!survey.complete));
        self.topics.set(level(survey.topics));
        self.partitions.set(level(survey.partitions));
        self.bucket_objects.set(level(survey.bucket.objects));
        self.bucket_bytes.set(survey.bucket.bytes);
        self.unlinked.set(level(survey.bucket.unlinked_objects));
        self.unlinked_age.set(survey.bucket.unlinked_age_seconds);
        self.bucket_away.set(survey.bucket.away.as_ref().map_or(0.0, |away| away.seconds));
    }
}
