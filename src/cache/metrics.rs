//! What reads of the bucket's blocks cost, tier by tier, and what they are held to.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use super::disk::Shown;
use crate::metrics::Registry;

/// Metrics of the cache, both tiers, and of cold reads.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    blocks: BySource,
    bytes: BySource,
    /// Bytes that left memory for others.
    pub(super) memory_evicted_bytes: Counter,
    pub(super) disk_written_bytes: Counter,
    pub(super) disk_evicted_bytes: Counter,
    /// Bytes not kept because the writer was busy.
    pub(super) disk_dropped_bytes: Counter,
    /// Blocks that were not what was written.
    pub(super) disk_damaged: Counter,
    disk_open: Gauge,
    disk_bytes: Gauge<u64, AtomicU64>,
    disk_budget_bytes: Gauge<u64, AtomicU64>,
    disk_blocks: Gauge<u64, AtomicU64>,
    /// Bytes on their way from disk or bucket.
    pub(super) in_flight_bytes: Gauge<u64, AtomicU64>,
    /// Bytes that may be.
    pub(super) in_flight_budget_bytes: Gauge<u64, AtomicU64>,
    /// Fills that wait for their share.
    pub(super) waiting: Gauge,
    ahead: Family<Ahead, Counter>,
}

/// Where a block came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Memory.
    Memory,
    /// A fill that somebody else began.
    Shared,
    /// The local disk.
    Disk,
    /// The bucket.
    Bucket,
}

/// What became of bytes that were read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AheadOutcome {
    /// They were asked for ahead.
    Asked,
    /// The reader came to them.
    Used,
    /// The reader went elsewhere.
    Wasted,
}

/// One counter for each source, found once: it is counted with every block.
#[derive(Clone, Debug)]
struct BySource {
    family: Family<From, Counter>,
    memory: Counter,
    shared: Counter,
    disk: Counter,
    bucket: Counter,
}

impl Default for BySource {
    fn default() -> Self {
        let family = Family::<From, Counter>::default();
        let of = |from| family.get_or_create(&From { from }).clone();
        let [memory, shared, disk, bucket] = ["memory", "shared", "disk", "bucket"].map(of);
        Self { family, memory, shared, disk, bucket }
    }
}

impl BySource {
    fn of(&self, source: Source) -> &Counter {
        match source {
            Source::Memory => &self.memory,
            Source::Shared => &self.shared,
            Source::Disk => &self.disk,
            Source::Bucket => &self.bucket,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct From {
    from: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ahead {
    outcome: &'static str,
}

impl Metrics {
    /// Metrics in `registry`.
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self::default();
        let Self { blocks, bytes, ahead, .. } = &new;
        let help = "Blocks read, by where they came from";
        registry.register("cache_blocks", help, blocks.family.clone());
        registry.register("cache_bytes", "Bytes of blocks read", bytes.family.clone());
        registry.register("cache_ahead_bytes", "Bytes read ahead of readers", ahead.clone());
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("cache_memory_evicted_bytes", "Left memory", &new.memory_evicted_bytes);
        counter("cache_disk_written_bytes", "Written to disk", &new.disk_written_bytes);
        counter("cache_disk_evicted_bytes", "Left the disk", &new.disk_evicted_bytes);
        counter("cache_disk_dropped_bytes", "Not kept: writer busy", &new.disk_dropped_bytes);
        counter("cache_disk_damaged_blocks", "Read back otherwise", &new.disk_damaged);
        let mut gauge = |name: &str, help: &str, gauge: &Gauge<u64, AtomicU64>| {
            registry.register(name, help, gauge.clone());
        };
        gauge("cache_disk_bytes", "Bytes of the cache's files", &new.disk_bytes);
        gauge("cache_disk_budget_bytes", "Bytes they may have now", &new.disk_budget_bytes);
        gauge("cache_disk_blocks", "Blocks in them", &new.disk_blocks);
        gauge("cold_in_flight_bytes", "Bytes of fills in flight", &new.in_flight_bytes);
        gauge("cold_budget_bytes", "Bytes of fills that may be", &new.in_flight_budget_bytes);
        registry.register("cold_waiting", "Fills that wait their turn", new.waiting.clone());
        registry.register("cache_disk_open", "1 while the disk tier works", new.disk_open.clone());
        new
    }

    pub(super) fn note(&self, from: Source, bytes: u64) {
        self.blocks.of(from).inc();
        self.bytes.of(from).inc_by(bytes);
    }

    /// Notes bytes read ahead.
    pub fn note_ahead(&self, outcome: AheadOutcome, bytes: u64) {
        let outcome = match outcome {
            AheadOutcome::Asked => "asked",
            AheadOutcome::Used => "used",
            AheadOutcome::Wasted => "wasted",
        };
        self.ahead.get_or_create(&Ahead { outcome }).inc_by(bytes);
    }

    pub(super) fn show_disk(&self, shown: Option<Shown>) {
        self.disk_open.set(i64::from(shown.is_some()));
        let shown = shown.unwrap_or(Shown { bytes: 0, budget: 0, blocks: 0 });
        self.disk_bytes.set(shown.bytes);
        self.disk_budget_bytes.set(shown.budget);
        self.disk_blocks.set(u64::try_from(shown.blocks).unwrap_or(u64::MAX));
    }
}
