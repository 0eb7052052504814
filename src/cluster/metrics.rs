//! Counters of the metadata log.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use crate::metrics::{Histogram, Registry};

/// What the controller counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) entries: Counter,
    pub(super) entry_bytes: Counter,
    pub(super) refused: Counter,
    pub(super) commit_seconds: Histogram,
    pub(super) renewals: Counter,
    pub(super) failed_renewals: Counter,
    pub(super) snapshots: Counter,
    pub(super) index: Gauge,
    pub(super) floor: Gauge,
}

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            entries: Counter::default(),
            entry_bytes: Counter::default(),
            refused: Counter::default(),
            commit_seconds: Histogram::seconds(),
            renewals: Counter::default(),
            failed_renewals: Counter::default(),
            snapshots: Counter::default(),
            index: Gauge::default(),
            floor: Gauge::default(),
        };
        let m = metrics.clone();
        registry.register("cluster_entries", "Entries committed to the metadata log", m.entries);
        registry.register("cluster_entry_bytes", "Bytes of entries committed", m.entry_bytes);
        registry.register("cluster_proposals_refused", "Proposals that did not hold", m.refused);
        registry.register(
            "cluster_commit_seconds",
            "Time from an entry's first write to its known fate",
            m.commit_seconds,
        );
        registry.register("cluster_lease_renewals", "Lease renewals", m.renewals);
        registry.register(
            "cluster_lease_renewals_failed",
            "Lease renewals that were not known to succeed",
            m.failed_renewals,
        );
        registry.register("cluster_snapshots", "Snapshots written", m.snapshots);
        registry.register("cluster_metadata_index", "Newest entry applied", m.index);
        registry.register("cluster_floor_index", "Entries up to here are deleted", m.floor);
        metrics
    }
}
