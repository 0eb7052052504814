//! Every part's metrics, made once for the process: incarnations come and go, series stay.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};

use crate::{
    cache, cluster,
    config::Memory,
    group, kafka,
    log::{self, retention, upload},
    metrics::Registry,
    replication, store,
};

#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) store: store::Metrics,
    pub(super) cache: cache::Metrics,
    pub(super) cluster: cluster::Metrics,
    pub(super) replication: replication::Metrics,
    pub(super) upload: upload::Metrics,
    pub(super) log: log::Metrics,
    pub(super) retention: retention::Metrics,
    pub(super) group: group::Metrics,
    pub(super) kafka: kafka::Metrics,
    memory_budget: Family<Part, Gauge<u64, AtomicU64>>,
}

/// A part of the memory budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let memory_budget = Family::default();
        registry.register(
            "memory_budget_bytes",
            "Bytes of memory each part may take",
            memory_budget.clone(),
        );
        Self {
            memory_budget,
            store: store::Metrics::new(registry),
            cache: cache::Metrics::new(registry),
            cluster: cluster::Metrics::new(registry),
            replication: replication::Metrics::new(registry),
            upload: upload::Metrics::new(registry),
            log: log::Metrics::new(registry),
            retention: retention::Metrics::new(registry),
            group: group::Metrics::new(registry),
            kafka: kafka::Metrics::new(registry),
        }
    }

    /// Shows how the memory is shared out.
    pub(super) fn show(&self, memory: &Memory) {
        for (part, bytes) in memory.parts() {
            self.memory_budget.get_or_create(&Part { part }).set(bytes.0);
        }
    }
}
