//! Counters of uploads.

use prometheus_client::metrics::counter::Counter;

use crate::metrics::Registry;

/// What has left the WAL.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    segments: Counter,
    objects: Counter,
    bytes: Counter,
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
        metrics
    }

    pub(super) fn uploaded(&self, objects: usize, bytes: u64) {
        self.segments.inc();
        self.objects.inc_by(u64::try_from(objects).unwrap_or(u64::MAX));
        self.bytes.inc_by(bytes);
    }
}
