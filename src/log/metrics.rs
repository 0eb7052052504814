//! What the log counts.

use prometheus_client::metrics::counter::Counter;

use crate::metrics::{Histogram, Registry};

/// Metrics of all partitions together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Batches appended.
    pub(super) appended_batches: Counter,
    /// Their bytes.
    pub(super) appended_bytes: Counter,
    /// Retries recognised as such.
    pub(super) duplicate_batches: Counter,
    /// Batches refused, whatever the reason.
    pub(super) refused_batches: Counter,
    /// Bytes read from memory.
    pub(super) read_memory_bytes: Counter,
    /// Bytes read from WAL files.
    pub(super) read_wal_bytes: Counter,
    /// Bytes read from objects, cached or not.
    pub(super) read_bucket_bytes: Counter,
    /// From a commit until what waits for it goes on.
    pub(super) wake_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let counter = Counter::default;
        Self {
            appended_batches: counter(),
            appended_bytes: counter(),
            duplicate_batches: counter(),
            refused_batches: counter(),
            read_memory_bytes: counter(),
            read_wal_bytes: counter(),
            read_bucket_bytes: counter(),
            wake_seconds: Histogram::seconds(),
        }
    }
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut register = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        register("log_appended_batches", "Batches appended", &metrics.appended_batches);
        register("log_appended_bytes", "Bytes of appended batches", &metrics.appended_bytes);
        register("log_duplicate_batches", "Retries recognised", &metrics.duplicate_batches);
        register("log_refused_batches", "Batches refused", &metrics.refused_batches);
        register("log_read_memory_bytes", "Bytes read from memory", &metrics.read_memory_bytes);
        register("log_read_wal_bytes", "Bytes read from WAL files", &metrics.read_wal_bytes);
        register("log_read_bucket_bytes", "Bytes read from objects", &metrics.read_bucket_bytes);
        let help = "From a commit until the request that waits for it goes on";
        registry.register("log_wake_seconds", help, metrics.wake_seconds.clone());
        metrics
    }

    /// Bytes appended and bytes read so far.
    #[must_use]
    pub fn flow(&self) -> (u64, u64) {
        let read = [&self.read_memory_bytes, &self.read_wal_bytes, &self.read_bucket_bytes];
        (self.appended_bytes.get(), read.map(Counter::get).iter().sum())
    }
}
