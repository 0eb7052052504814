//! Metrics of the groups.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use crate::metrics::Registry;

/// What the coordinators count.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) groups: Gauge,
    pub(super) coordinators: Gauge,
    pub(super) changes: Counter,
    pub(super) appended_bytes: Counter,
    pub(super) rewrites: Counter,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register("group_groups", "Groups coordinated here", new.groups.clone());
        registry.register(
            "group_coordinators",
            "Partitions of the offsets topic loaded here",
            new.coordinators.clone(),
        );
        registry.register("group_changes", "Records appended", new.changes.clone());
        registry.register("group_appended_bytes", "Bytes appended", new.appended_bytes.clone());
        registry.register("group_rewrites", "Rewrites of live state", new.rewrites.clone());
        new
    }
}
