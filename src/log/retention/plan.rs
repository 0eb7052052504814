//! Which records of a partition have had their time: the decision alone.
//!
//! Owns: retention by time and size. Does not own: reading runs, doing it.
//! Invariants: only a prefix of the runs goes; without `delete` in the cleanup policy none does; no
//! record goes before `retention.ms` has passed since it was appended.

use std::time::Duration;

use crate::{
    cluster::configs::TopicConfig,
    env::bugs::{Bug, Bugs},
    types::{ByteCount, Millis, Offset},
};

/// How far a record's timestamp may lie ahead of its append and still count: one further in the
/// future does not keep its run for longer (H53).
const FUTURE: Duration = Duration::from_secs(3600);

/// What a topic's configuration says of old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) time: Option<Duration>,
    pub(super) bytes: Option<ByteCount>,
    pub(super) bugs: Bugs,
}

/// A run as far as its age and size go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aged {
    pub(super) end: Offset,
    pub(super) bytes: u64,
    /// As `age_from` tells.
    pub(super) from: Millis,
}

impl Policy {
    /// Limits of a topic; none at all when it is only compacted.
    pub(super) fn of(config: &TopicConfig) -> Self {
        let delete = config.cleanup.delete;
        let time = config.retention_ms.and_then(|limit| u64::try_from(limit).ok());
        Self {
            time: time.map(Duration::from_millis).filter(|_| delete),
            bytes: config.retention_bytes.filter(|_| delete),
            bugs: Bugs::NONE,
        }
    }

    /// The same, with mistakes.
    pub(super) fn with_bugs(self, bugs: Bugs) -> Self {
        Self { bugs, ..self }
    }

    /// Whether a run whose age counts from `from` has had its time.
    pub(super) fn expired(&self, from: Millis, now: Millis) -> bool {
        let age = Duration::from_millis(u64::try_from(now.since(from)).unwrap_or_default());
        self.time.is_some_and(|limit| age > limit)
    }

    /// Whether `bytes` are more than the partition may keep.
    pub(super) fn too_big(&self, bytes: u64) -> bool {
        self.bytes.is_some_and(|limit| bytes > limit.0)
    }

    /// The log start after what has had its time in `runs` (oldest first, all there are) is gone;
    /// `None` when all of it stays. As in Kafka, size never takes what the limit still covers.
    pub(super) fn new_start(&self, runs: &[Aged], now: Millis) -> Option<Offset> {
        let mut kept: u64 = runs.iter().map(|run| run.bytes).sum();
        let mut start = None;
        for run in runs {
            let rest = kept.saturating_sub(run.bytes);
            let left = if self.bugs.has(Bug::RetentionOneTooMany) { kept } else { rest };
            let outgrown = self.bytes.is_some_and(|limit| left >= limit.0);
            if !self.expired(run.from, now) && !outgrown {
                break;
            }
            kept = rest;
            start = Some(run.end);
        }
        start
    }
}

/// When a run's age begins: with its newest record, but not before its last append and not far
/// after it.
pub(super) fn age_from(max_timestamp: Millis, last_append: Millis) -> Millis {
    let future = i64::try_from(FUTURE.as_millis()).unwrap_or(i64::MAX);
    let latest = Millis(last_append.0.saturating_add(future));
    max_timestamp.clamp(last_append, latest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn policy(time: Option<i64>, bytes: Option<u64>) -> Policy {
        let time = time.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap()));
        Policy { time, bytes: bytes.map(ByteCount), bugs: Bugs::NONE }
    }

    fn run(end: i64, bytes: u64, from: i64) -> Aged {
        Aged { end: Offset(end), bytes, from: Millis(from) }
    }

    #[test]
    fn a_future_timestamp_does_not_keep_a_run_for_ever() {
        assert_eq!(age_from(Millis(i64::MAX), Millis(100)), Millis(100 + HOUR));
        assert_eq!(age_from(Millis(200), Millis(100)), Millis(200));
    }

    #[test]
    fn an_old_timestamp_does_not_delete_what_just_came() {
        assert_eq!(age_from(Millis(-1), Millis(100)), Millis(100));
        assert_eq!(age_from(Millis(0), Millis(i64::MAX)), Millis(i64::MAX));
    }

    #[test]
    fn a_compacted_topic_has_no_limits() {
        let mut config = TopicConfig::default();
        config.cleanup.delete = false;
        config.cleanup.compact = true;
        config.retention_bytes = Some(ByteCount(1));
        assert_eq!(Policy::of(&config), policy(None, None));
    }

    #[test]
    fn a_younger_run_stays_though_an_older_timestamp_lies_behind_it() {
        let runs = [run(10, 1, 0), run(20, 1, 5 * HOUR), run(30, 1, 0)];
        let start = policy(Some(HOUR), None).new_start(&runs, Millis(5 * HOUR));
        assert_eq!(start, Some(Offset(10)));
    }

    proptest! {
        #[test]
        fn decides_as_the_naive_rule(
            shapes in prop::collection::vec((1i64..9, 0u64..100, 0i64..1000), 0..12),
            time in prop::option::of(0i64..1000),
            bytes in prop::option::of(0u64..500),
            now in 0i64..2000,
        ) {
            let mut end = 0;
            let runs: Vec<Aged> = shapes
                .iter()
                .map(|(records, bytes, from)| {
                    end += records;
                    run(end, *bytes, *from)
                })
                .collect();
            let start = policy(time, bytes).new_start(&runs, Millis(now));
            // Naive: the longest prefix each of whose runs is expired, or too much with all later
            // ones counted.
            let dies = |at: usize| {
                let later: u64 = runs[at + 1..].iter().map(|run| run.bytes).sum();
                time.is_some_and(|time| now - runs[at].from.0 > time)
                    || bytes.is_some_and(|bytes| later >= bytes)
            };
            let dead = (0..runs.len()).take_while(|at| dies(*at)).count();
            prop_assert_eq!(start, dead.checked_sub(1).map(|last| runs[last].end));
            if let (Some(limit), None) = (bytes, time) {
                let kept: u64 = runs[dead..].iter().map(|run| run.bytes).sum();
                let total: u64 = runs.iter().map(|run| run.bytes).sum();
                prop_assert!(kept >= limit.min(total), "size took what the limit covers");
            }
        }
    }
}
