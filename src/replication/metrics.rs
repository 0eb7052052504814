//! Metrics of the log.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use crate::metrics::{Histogram, Registry};

/// What the log counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) unuploaded_bytes: Gauge,
    pub(super) unuploaded_age_seconds: Gauge<f64, AtomicU64>,
    pub(super) budget_bytes: Gauge,
    pub(super) resident_bytes: Gauge,
    /// From the first batch of an entry until its write begins.
    pub(super) queue_seconds: Histogram,
    pub(super) sync_seconds: Histogram,
    pub(super) entry_bytes: Histogram,
    pub(super) entry_batches: Histogram,
    pub(super) refused: Counter,
    pub(super) disk_errors: Counter,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            unuploaded_bytes: Gauge::default(),
            unuploaded_age_seconds: Gauge::default(),
            budget_bytes: Gauge::default(),
            resident_bytes: Gauge::default(),
            queue_seconds: Histogram::seconds(),
            sync_seconds: Histogram::seconds(),
            entry_bytes: Histogram::bytes(),
            entry_batches: Histogram::counts(),
            refused: Counter::default(),
            disk_errors: Counter::default(),
        };
        let all = metrics.clone();
        let mut gauge = |name, help, gauge| registry.register(name, help, gauge);
        gauge("wal_unuploaded_bytes", "WAL bytes not yet in the bucket", all.unuploaded_bytes);
        gauge("wal_budget_bytes", "WAL bytes that may wait for the bucket", all.budget_bytes);
        gauge("wal_resident_bytes", "Committed WAL bytes kept in memory", all.resident_bytes);
        registry.register(
            "wal_unuploaded_age_seconds",
            "Age of the oldest batch not yet in the bucket",
            all.unuploaded_age_seconds,
        );
        registry.register("wal_queue_seconds", "Wait of an entry's first batch", all.queue_seconds);
        registry.register("wal_sync_seconds", "Write and sync of one entry", all.sync_seconds);
        registry.register("wal_entry_bytes", "Bytes of one entry", all.entry_bytes);
        registry.register("wal_entry_batches", "Batches of one entry", all.entry_batches);
        registry.register("wal_refused", "Batches refused for lack of room", all.refused);
        registry.register("wal_disk_errors", "Errors of the WAL disk", all.disk_errors);
        metrics
    }

    /// Bytes not yet in the bucket, bytes that may be, and the age of the oldest in seconds.
    #[must_use]
    pub fn waiting(&self) -> (i64, i64, f64) {
        let age = self.unuploaded_age_seconds.get();
        (self.unuploaded_bytes.get(), self.budget_bytes.get(), age)
    }
}
