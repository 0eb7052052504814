//! Counters of uploads.

use std::time::Duration;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use crate::metrics::{Histogram, Registry, level};

/// What has left the WAL.
#[derive(Clone, Debug)]
pub struct Metrics {
    segments: Counter,
    objects: Counter,
    bytes: Counter,
    under_way_bytes: Gauge,
    lag_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            segments: Counter::default(),
            objects: Counter::default(),
            bytes: Counter::default(),
            under_way_bytes: Gauge::default(),
            lag_seconds: Histogram::seconds(),
        }
    }
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("upload_segments", "Segments published", &metrics.segments);
        counter("upload_objects", "Objects published", &metrics.objects);
        counter("upload_bytes", "Bytes of objects published", &metrics.bytes);
        let help = "Bytes of segments taken up for upload and not published";
        registry.register("upload_under_way_bytes", help, metrics.under_way_bytes.clone());
        let help = "Age of a segment's first batch when it was published";
        registry.register("upload_lag_seconds", help, metrics.lag_seconds.clone());
        metrics
    }

    /// Nothing is under way yet.
    pub(super) fn start(&self) {
        self.under_way_bytes.set(0);
    }

    /// A segment of so many bytes is taken up.
    pub(super) fn begun(&self, bytes: u64) {
        self.under_way_bytes.inc_by(level(bytes));
    }

    /// It is published.
    pub(super) fn ended(&self, bytes: u64) {
        self.under_way_bytes.dec_by(level(bytes));
    }

    /// Bytes under way, and bytes published so far.
    #[must_use]
    pub fn flow(&self) -> (i64, u64) {
        (self.under_way_bytes.get(), self.bytes.get())
    }

    /// Notes a published segment, its first batch appended so long ago.
    pub(super) fn uploaded(&self, objects: usize, bytes: u64, lag: Option<Duration>) {
        self.segments.inc();
        self.objects.inc_by(u64::try_from(objects).unwrap_or(u64::MAX));
        self.bytes.inc_by(bytes);
        if let Some(lag) = lag {
            self.lag_seconds.observe(lag);
        }
    }
}
