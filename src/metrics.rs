//! The registry every part's metrics are built from, and the one shape of histogram; there is no
//! global registry.
//!
//! Owns: which families there are, how durations, sizes and counts are told apart in buckets.
//! Does not own: what is counted. Invariants: a family has one name, told once; observing takes no
//! lock and no memory.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
    registry::Metric,
};

/// The metrics of one process.
#[derive(Debug, Default)]
pub struct Registry {
    prefix: Option<&'static str>,
    families: Vec<Described>,
    inner: prometheus_client::registry::Registry,
}

/// One family, as it is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its whole name, without what the text format puts behind a counter's.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// What it is, in a line.
    pub help: String,
}

impl Registry {
    /// A registry whose families all begin with `prefix` and an underscore.
    #[must_use]
    pub fn with_prefix(prefix: &'static str) -> Self {
        let inner = prometheus_client::registry::Registry::with_prefix(prefix);
        Self { prefix: Some(prefix), families: Vec::new(), inner }
    }

    /// Exports `metric` from now on. Counters get `_total` behind their name.
    pub fn register<M: Metric + TypedMetric>(&mut self, name: &str, help: &str, metric: M) {
        let whole = self.prefix.map_or_else(|| name.to_owned(), |it| format!("{it}_{name}"));
        let kind = M::TYPE.as_str().to_owned();
        self.families.push(Described { name: whole, kind, help: help.to_owned() });
        self.inner.register(name, help, metric);
    }

    /// Every family, in the order they were registered.
    #[must_use]
    pub fn families(&self) -> &[Described] {
        &self.families
    }

    /// All values now, in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a metric cannot be written, which is a defect.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.inner)?;
        Ok(text)
    }
}

/// What a histogram's buckets are.
#[derive(Debug)]
struct Shape {
    /// Ascending, in the unit that is counted in.
    bounds: &'static [u64],
    /// How many of that unit are one of the unit shown.
    scale: u32,
}

/// From a page cache's write to an upload over a bad line; in microseconds 50, 100, 250, 500, and so
/// on. Counted in nanoseconds: the sum wraps after 584 years of waiting, as a restart would.
const SECONDS: Shape = Shape {
    bounds: &[
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        5_000_000_000,
        10_000_000_000,
        30_000_000_000,
    ],
    scale: 1_000_000_000,
};
const BYTES: Shape = Shape {
    bounds: &[512, 2 << 10, 8 << 10, 32 << 10, 128 << 10, 512 << 10, 2 << 20, 8 << 20, 32 << 20],
    scale: 1,
};
const COUNTS: Shape = Shape { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512], scale: 1 };

/// How often something took how much. Clones share it.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shape: Shape,
    /// One for each bound, and one for what is beyond the last.
    buckets: Vec<AtomicU64>,
    sum: AtomicU64,
}

/// What a histogram held at some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted(Vec<u64>);

impl Histogram {
    /// Of durations.
    #[must_use]
    pub fn seconds() -> Self {
        Self::of(SECONDS)
    }

    /// Of sizes.
    #[must_use]
    pub fn bytes() -> Self {
        Self::of(BYTES)
    }

    /// Of how many at a time.
    #[must_use]
    pub fn counts() -> Self {
        Self::of(COUNTS)
    }

    fn of(shape: Shape) -> Self {
        let buckets = (0..=shape.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { shape, buckets, sum: AtomicU64::new(0) }))
    }

    /// Counts a duration.
    pub fn observe(&self, took: Duration) {
        self.observe_count(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a size or a number.
    pub fn observe_count(&self, value: u64) {
        let at = self.0.shape.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.0.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What it holds now.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted(self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect())
    }

    /// The bound, in the unit shown, below which lies the share `of_all` of what came between two
    /// times; `None` when nothing came. What is beyond the last bound is told as the last.
    #[must_use]
    pub fn quantile(&self, before: &Counted, after: &Counted, of_all: f64) -> Option<f64> {
        let between = |at: usize| {
            let count = |counted: &Counted| counted.0.get(at).copied().unwrap_or(0);
            count(after).saturating_sub(count(before))
        };
        let all: u64 = (0..after.0.len()).map(between).sum();
        let wanted = float(all) * of_all;
        let mut below = 0;
        let at = (0..after.0.len()).find(|at| {
            below += between(*at);
            float(below) >= wanted
        });
        let bounds = self.0.shape.bounds;
        let bound = bounds.get(at?).or(bounds.last())?;
        (all > 0).then(|| self.shown(*bound))
    }

    fn shown(&self, value: u64) -> f64 {
        float(value) / f64::from(self.0.shape.scale)
    }
}

/// As near as a float comes.
#[must_use]
pub fn float(number: u64) -> f64 {
    const HIGH: f64 = 4_294_967_296.0;
    let half = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    half(number >> 32) * HIGH + half(number & u64::from(u32::MAX))
}

/// A number for a gauge.
#[must_use]
pub fn level(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Counted(counts) = self.counted();
        let bounds = self.0.shape.bounds.iter().map(|bound| self.shown(*bound));
        let bounds = bounds.chain(std::iter::once(f64::INFINITY));
        let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
        let sum = self.shown(self.0.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn what_is_registered_is_exported_under_its_prefix() {
        let mut registry = Registry::with_prefix("strandline");
        let counter = Counter::<u64>::default();
        registry.register("some_bytes", "Bytes of something", counter.clone());
        counter.inc_by(7);
        assert!(registry.text().unwrap().contains("strandline_some_bytes_total 7\n"));
        let [family] = registry.families() else { panic!("one family") };
        assert_eq!((&*family.name, &*family.kind), ("strandline_some_bytes", "counter"));
    }

    #[test]
    fn a_value_is_in_the_bucket_of_the_first_bound_that_is_not_below_it() {
        let mut registry = Registry::default();
        let histogram = Histogram::seconds();
        registry.register("took_seconds", "How long it took", histogram.clone());
        for micros in [50, 51, 100, 60_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let text = registry.text().unwrap();
        for line in [
            "took_seconds_bucket{le=\"0.00005\"} 1\n",
            "took_seconds_bucket{le=\"0.0001\"} 3\n",
            "took_seconds_bucket{le=\"30.0\"} 3\n",
            "took_seconds_bucket{le=\"+Inf\"} 4\n",
            "took_seconds_count 4\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn a_quantile_is_of_what_came_between() {
        let histogram = Histogram::counts();
        histogram.observe_count(300);
        let before = histogram.counted();
        assert_eq!(histogram.quantile(&before, &before, 0.5), None);
        for value in [1, 1, 1, 3] {
            histogram.observe_count(value);
        }
        let after = histogram.counted();
        assert_eq!(histogram.quantile(&before, &after, 0.5), Some(1.0));
        assert_eq!(histogram.quantile(&before, &after, 0.99), Some(4.0));
    }

    #[test]
    fn large_numbers_are_floats_too() {
        assert_eq!(float(0), 0.0);
        assert_eq!(float(5_000_000_000), 5e9);
        assert_eq!(level(u64::MAX), i64::MAX);
    }
}
