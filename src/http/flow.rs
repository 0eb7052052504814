//! What flows, over the last minutes: the page's plots are full when it opens.
//!
//! Owns: samples of what the parts counted, and rates between them. Invariant: bounded.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    env::clock::{self, Clock},
    metrics::{Counted, Histogram, float},
};

/// One sample in this time...
const EVERY: Duration = Duration::from_secs(2);
/// ...and so many are kept: ten minutes.
const KEPT: usize = 300;

/// What the parts count, read at one time.
#[derive(Clone, Debug)]
pub struct Meters {
    /// Bytes of batches appended so far.
    pub appended_bytes: u64,
    /// Bytes of batches read so far.
    pub read_bytes: u64,
    /// Bytes of objects published so far.
    pub uploaded_bytes: u64,
    /// Kafka requests read so far.
    pub requests: u64,
    /// How long Produce requests took.
    pub produce: Histogram,
    /// Kafka connections now.
    pub connections: i64,
    /// WAL bytes not in the bucket now.
    pub wal_bytes: i64,
    /// WAL bytes that may be.
    pub wal_budget_bytes: i64,
    /// Age of the oldest of them, in seconds.
    pub wal_age_seconds: f64,
    /// WAL bytes on their way to the bucket now.
    pub uploading_bytes: i64,
}

/// Reads them.
pub type MetersSource = Arc<dyn Fn() -> Meters + Send + Sync>;

/// Rates over one [`EVERY`], and levels at its end.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    /// Its end, in milliseconds since 1970.
    at_ms: i64,
    appended_bytes_per_second: f64,
    read_bytes_per_second: f64,
    uploaded_bytes_per_second: f64,
    requests_per_second: f64,
    /// The bound below which half, and 99 of 100, Produce requests were; null when there was none.
    produce_p50_seconds: Option<f64>,
    produce_p99_seconds: Option<f64>,
    wal_bytes: i64,
    connections: i64,
}

/// The last samples, newest last.
#[derive(Debug, Default)]
pub(super) struct Flow(std::sync::Mutex<VecDeque<Sample>>);

impl Flow {
    /// The samples after a time, and how far apart they are.
    pub(super) fn since(&self, at_ms: i64) -> Vec<Sample> {
        let samples = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        samples.iter().filter(|sample| sample.at_ms > at_ms).cloned().collect()
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Samples for ever.
    pub(super) async fn run(&self, meters: MetersSource, clock: Arc<dyn Clock>) {
        let mut before = Taken::now(&meters, &*clock);
        loop {
            clock::sleep(EVERY).await;
            let after = Taken::now(&meters, &*clock);
            self.push(between(&before, &after, &*clock));
            before = after;
        }
    }
}

struct Taken {
    at: Duration,
    meters: Meters,
    produce: Counted,
}

impl Taken {
    fn now(meters: &MetersSource, clock: &dyn Clock) -> Self {
        let meters = meters();
        Self { at: clock.boot(), produce: meters.produce.counted(), meters }
    }
}

fn between(before: &Taken, after: &Taken, clock: &dyn Clock) -> Sample {
    let seconds = after.at.saturating_sub(before.at).as_secs_f64().max(0.001);
    let rate = |of: fn(&Meters) -> u64| {
        float(of(&after.meters).saturating_sub(of(&before.meters))) / seconds
    };
    let quantile = |share| after.meters.produce.quantile(&before.produce, &after.produce, share);
    Sample {
        at_ms: clock.wall().0,
        appended_bytes_per_second: rate(|meters| meters.appended_bytes),
        read_bytes_per_second: rate(|meters| meters.read_bytes),
        uploaded_bytes_per_second: rate(|meters| meters.uploaded_bytes),
        requests_per_second: rate(|meters| meters.requests),
        produce_p50_seconds: quantile(0.5),
        produce_p99_seconds: quantile(0.99),
        wal_bytes: after.meters.wal_bytes,
        connections: after.meters.connections,
    }
}
