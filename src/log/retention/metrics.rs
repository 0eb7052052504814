//! What retention counts.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use crate::metrics::Registry;

/// How retention fares.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Rounds over all partitions.
    pub(super) rounds: Counter,
    /// Partitions that had something due in the last round.
    pub(super) due: Gauge,
    /// Steps that failed; the next round tries again.
    pub(super) failed: Counter,
    /// Objects deleted from the bucket.
    pub(super) deleted: Counter,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register("retention_rounds", "Rounds over all partitions", new.rounds.clone());
        let help = "Partitions with something due in the last round";
        registry.register("retention_due_partitions", help, new.due.clone());
        registry.register("retention_failed_steps", "Steps that failed", new.failed.clone());
        let help = "Objects deleted from the bucket";
        registry.register("retention_deleted_objects", help, new.deleted.clone());
        new
    }
}
