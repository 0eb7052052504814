//! A look over everything: the groups with their lag, what is in the bucket.
//!
//! Owns: how lag is counted, how often it is looked. Does not own: any of it. Invariant: however
//! many ask, it is looked once in [`FRESH`], by one of them while the others wait for it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::{Mutex, watch};

use super::metrics::Metrics;
use crate::{
    cluster::State,
    env::clock::{self, Clock},
    group::{Surveyed, TopicPartition},
    kafka::{Service, Serving},
    log::Log,
    store::Store,
    types::{Millis, Offset},
};

/// For how long a look is good.
const FRESH: Duration = Duration::from_secs(2);
/// How long the coordinators may take: they may wait for a log that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// By name.
    pub(super) groups: Vec<GroupRow>,
    /// Every coordinator here was asked and answered.
    pub(super) complete: bool,
    pub(super) topics: usize,
    pub(super) partitions: usize,
    pub(super) bucket: Bucket,
}

/// A group in a list.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GroupRow {
    pub(super) group: String,
    pub(super) state: &'static str,
    pub(super) protocol_type: String,
    pub(super) members: usize,
    /// Partitions it has committed an offset for.
    pub(super) partitions: usize,
    /// Records between those offsets and the high watermarks.
    pub(super) lag: u64,
}

/// What the bucket holds of records.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Bucket {
    pub(super) objects: usize,
    pub(super) bytes: u64,
    pub(super) unlinked_objects: usize,
    pub(super) unlinked_age_seconds: f64,
    /// Set while it does not answer.
    pub(super) away: Option<Away>,
}

/// A bucket that does not answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Away {
    pub(super) seconds: f64,
    pub(super) reason: String,
}

impl Survey {
    /// The groups with most lag, most first; groups without any come last.
    pub(super) fn furthest_behind(&self, most: usize) -> Vec<&GroupRow> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.lag));
        groups.truncate(most);
        groups
    }
}

/// Looks, and keeps what it saw.
pub(super) struct Surveyor {
    service: watch::Receiver<Service>,
    store: Arc<OnceLock<Store>>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// An asynchronous lock, for it is held while one looks and the others wait for that.
    last: Mutex<Option<(Duration, Arc<Survey>)>>,
}

impl Surveyor {
    pub(super) fn new(
        service: watch::Receiver<Service>,
        store: Arc<OnceLock<Store>>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self { service, store, clock, metrics, last: Mutex::default() }
    }

    /// What there is, at most [`FRESH`] ago; shown in the metrics too.
    pub(super) async fn recent(&self) -> Arc<Survey> {
        let mut last = self.last.lock().await;
        let now = self.clock.boot();
        if let Some((at, survey)) = &*last
            && now.saturating_sub(*at) < FRESH
        {
            return Arc::clone(survey);
        }
        let survey = Arc::new(self.look().await);
        self.metrics.show(&survey);
        *last = Some((self.clock.boot(), Arc::clone(&survey)));
        survey
    }

    async fn look(&self) -> Survey {
        let service = self.service.borrow().clone();
        let mut survey = Survey::default();
        let cluster = match &service {
            Service::Open(serving) => Some(&serving.cluster),
            Service::Away(known) => Some(&known.cluster),
            Service::Starting => None,
        };
        if let Some(cluster) = cluster {
            let state = cluster.state();
            survey.topics = state.topics.len();
            survey.partitions = state.topics.values().map(|topic| topic.partitions.len()).sum();
            survey.bucket = in_bucket(&state, self.clock.wall());
        }
        survey.bucket.away = self.away();
        if let Service::Open(serving) = &service {
            survey.complete = groups(serving, &mut survey.groups).await;
        }
        survey
    }

    fn away(&self) -> Option<Away> {
        let away = self.store.get()?.subscribe_away();
        let away = away.borrow().clone()?;
        let seconds = self.clock.boot().saturating_sub(away.since).as_secs_f64();
        Some(Away { seconds, reason: away.reason })
    }
}

/// Every group with its lag, by name; false when some could not be asked.
async fn groups(serving: &Serving, rows: &mut Vec<GroupRow>) -> bool {
    let looked = serving.groups.survey(|group| rows.push(row(&serving.log, &group)));
    let complete = clock::timeout(PATIENCE, looked).await.unwrap_or(false);
    rows.sort_by(|a, b| a.group.cmp(&b.group));
    complete
}

fn row(log: &Log, group: &Surveyed) -> GroupRow {
    let lags = group.offsets.iter().filter_map(|(partition, offset)| lag(log, partition, *offset));
    GroupRow {
        lag: lags.sum(),
        partitions: group.offsets.len(),
        group: group.group.as_str().to_owned(),
        state: group.state.name(),
        protocol_type: group.protocol_type.to_string(),
        members: group.members,
    }
}

/// Records between an offset and the high watermark; `None` of a partition that is not here.
pub(super) fn lag(log: &Log, partition: &TopicPartition, offset: Offset) -> Option<u64> {
    let partition = log.find(&partition.topic, partition.index).ok()?;
    Some(u64::try_from(partition.high_watermark().since(offset)).unwrap_or(0))
}

fn in_bucket(state: &State, now: Millis) -> Bucket {
    let oldest = state.unlinked.values().map(|unlinked| unlinked.time).min();
    let age = oldest.map_or(0, |oldest| u64::try_from(now.since(oldest)).unwrap_or(0));
    Bucket {
        objects: state.objects.len(),
        bytes: state.objects.values().map(|object| object.bytes).sum(),
        unlinked_objects: state.unlinked.len(),
        unlinked_age_seconds: Duration::from_millis(age).as_secs_f64(),
        away: None,
    }
}
