//! Metrics of the log.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::{
    counter::Counter,
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};

use crate::metrics::Registry;

/// What the log counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) unuploaded_bytes: Gauge,
    pub(super) unuploaded_age_seconds: Gauge<f64, AtomicU64>,
    pub(super) budget_bytes: Gauge,
    pub(super) resident_bytes: Gauge,
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
            sync_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            entry_bytes: Histogram::new(exponential_buckets(512.0, 4.0, 9)),
            entry_batches: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
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
        registry.register("wal_sync_seconds", "Write and sync of one entry", all.sync_seconds);
        registry.register("wal_entry_bytes", "Bytes of one entry", all.entry_bytes);
        registry.register("wal_entry_batches", "Batches of one entry", all.entry_batches);
        registry.register("wal_refused", "Batches refused for lack of room", all.refused);
        registry.register("wal_disk_errors", "Errors of the WAL disk", all.disk_errors);
        metrics
    }
}
