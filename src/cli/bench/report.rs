//! What a load measured, for people and for programs.
//!
//! Latencies are milliseconds; a megabyte is 1,000,000 bytes of record batches as they travelled.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::output;

/// The longest latency told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// What connections saw, one or many together.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Bytes of the warm-up too.
    bytes_in_all: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Times of requests, in microseconds.
    latency: Histogram<u64>,
    /// Refusals by Kafka's code.
    refused: BTreeMap<i16, u64>,
}

impl Tally {
    pub(super) fn new() -> anyhow::Result<Self> {
        let latency = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
        Ok(Self { bytes_in_all: 0, records: 0, bytes: 0, latency, refused: BTreeMap::new() })
    }

    pub(super) fn took(&mut self, time: Duration) {
        self.latency.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    pub(super) fn done(&mut self, records: u64, bytes: u64) {
        self.records += records;
        self.bytes += bytes;
    }

    pub(super) fn sent(&mut self, bytes: u64) {
        self.bytes_in_all += bytes;
    }

    pub(super) fn refused(&mut self, code: i16) {
        *self.refused.entry(code).or_default() += 1;
    }

    pub(super) fn megabytes(&self) -> f64 {
        number(self.bytes) / 1e6
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let at = |quantile| ms(self.latency.value_at_quantile(quantile));
        Percentiles { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: ms(self.latency.max()) }
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.sent(other.bytes_in_all);
        self.done(other.records, other.bytes);
        self.latency.add(&other.latency)?;
        for (code, count) in &other.refused {
            *self.refused.entry(*code).or_default() += count;
        }
        Ok(())
    }
}

/// The whole result.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    load: &'static str,
    topic: String,
    partitions: usize,
    connections: usize,
    records: u64,
    bytes: u64,
    /// With those of the warm-up: what the cluster had to do.
    bytes_in_all: u64,
    seconds: f64,
    records_per_second: f64,
    megabytes_per_second: f64,
    requests: u64,
    latency_ms: Percentiles,
    /// Megabytes per second of each consumer, for loads with several.
    #[serde(skip_serializing_if = "Option::is_none")]
    each: Option<Spread>,
    /// Refused requests by Kafka's error code.
    refused: BTreeMap<i16, u64>,
}

/// Milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// How evenly consumers were served.
#[derive(Debug, Serialize)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

/// Which load it was.
pub(super) struct Load<'a> {
    pub(super) name: &'static str,
    pub(super) topic: &'a str,
    pub(super) partitions: usize,
    pub(super) connections: usize,
    pub(super) took: Duration,
}

impl Report {
    /// Of tallies that belong together.
    pub(super) fn of(load: &Load<'_>, tallies: &[Tally]) -> anyhow::Result<Self> {
        let mut all = Tally::new()?;
        for tally in tallies {
            all.add(tally)?;
        }
        let seconds = load.took.as_secs_f64().max(1e-9);
        Ok(Self {
            load: load.name,
            topic: load.topic.to_owned(),
            partitions: load.partitions,
            connections: load.connections,
            records: all.records,
            bytes: all.bytes,
            bytes_in_all: all.bytes_in_all,
            seconds,
            records_per_second: number(all.records) / seconds,
            megabytes_per_second: all.megabytes() / seconds,
            requests: all.latency.len(),
            latency_ms: all.percentiles(),
            each: None,
            refused: all.refused,
        })
    }

    /// The same with how evenly those were served that took `(bytes, time)` each.
    pub(super) fn with_each(mut self, consumers: &[(u64, Duration)]) -> Self {
        let rate =
            |(bytes, took): &(u64, Duration)| number(*bytes) / 1e6 / took.as_secs_f64().max(1e-9);
        let mut rates: Vec<f64> = consumers.iter().map(rate).collect();
        rates.sort_by(f64::total_cmp);
        let at = |index: usize| rates.get(index).copied().unwrap_or_default();
        let last = rates.len().saturating_sub(1);
        self.each = Some(Spread { min: at(0), median: at(last / 2), max: at(last) });
        self
    }

    /// Whether every request was granted.
    pub(super) fn is_clean(&self) -> bool {
        self.refused.is_empty() && self.records > 0
    }

    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            output::line(serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        output::line(format_args!(
            "{} {}: {} partitions, {} connections, {:.1} s",
            self.load, self.topic, self.partitions, self.connections, self.seconds
        ));
        output::line(format_args!(
            "  {:.1} MB/s, {:.0} records/s ({} records, {} requests)",
            self.megabytes_per_second, self.records_per_second, self.records, self.requests
        ));
        let Percentiles { p50, p99, p999, max } = self.latency_ms;
        output::line(format_args!(
            "  latency of a request: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms"
        ));
        if let Some(Spread { min, median, max }) = self.each {
            output::line(format_args!(
                "  each consumer: min {min:.1} MB/s, median {median:.1} MB/s, max {max:.1} MB/s"
            ));
        }
        for (code, count) in &self.refused {
            output::line(format_args!("  refused with error code {code}: {count} requests"));
        }
        Ok(())
    }
}

fn ms(microseconds: u64) -> f64 {
    number(microseconds) / 1e3
}

/// Counts here are far below 2^53, so exact.
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load<'static> {
        let took = Duration::from_secs(2);
        Load { name: "produce", topic: "t", partitions: 1, connections: 2, took }
    }

    #[test]
    fn connections_are_added_up_and_their_latencies_merged() {
        let mut slow = Tally::new().unwrap();
        slow.done(10, 4_000_000);
        slow.took(Duration::from_millis(100));
        let mut fast = Tally::new().unwrap();
        fast.done(30, 4_000_000);
        (0..99).for_each(|_| fast.took(Duration::from_millis(1)));
        let report = Report::of(&load(), &[slow, fast]).unwrap();
        assert_eq!((report.records, report.requests), (40, 100));
        assert!((report.megabytes_per_second - 4.0).abs() < 1e-6);
        assert!((report.latency_ms.p50 - 1.0).abs() < 0.01, "{:?}", report.latency_ms);
        assert!((report.latency_ms.max - 100.0).abs() < 0.1, "{:?}", report.latency_ms);
        assert!(report.is_clean());
    }

    #[test]
    fn a_refusal_or_no_record_at_all_is_not_clean() {
        let mut refused = Tally::new().unwrap();
        refused.done(1, 1);
        refused.refused(7);
        assert!(!Report::of(&load(), &[refused]).unwrap().is_clean());
        assert!(!Report::of(&load(), &[Tally::new().unwrap()]).unwrap().is_clean());
    }
}
