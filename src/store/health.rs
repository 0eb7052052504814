//! Whether the bucket answers, as the last request saw it.
//!
//! Invariant: an answer, even "absent" or "condition lost", means it is there.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Failure, FailureKind};

/// The bucket is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// Since when, on the boot clock.
    pub since: Duration,
    /// The kind of the latest failure.
    pub kind: FailureKind,
    /// The latest failure, for people; no secrets.
    pub reason: String,
}

#[derive(Clone, Debug)]
pub(super) struct Health(Arc<watch::Sender<Option<Away>>>);

impl Health {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }

    pub(super) fn answered(&self, now: Duration) {
        let mut since = None;
        self.0.send_if_modified(|away| {
            since = away.take().map(|away| away.since);
            since.is_some()
        });
        if let Some(since) = since {
            let away = now.saturating_sub(since).as_millis();
            let away_ms = u64::try_from(away).unwrap_or(u64::MAX);
            tracing::info!(away_ms, "the bucket answers again");
        }
    }

    pub(super) fn failed(&self, failure: &Failure, now: Duration) {
        if failure.is_answer() {
            return self.answered(now);
        }
        let mut first = false;
        self.0.send_modify(|away| {
            first = away.is_none();
            let since = away.as_ref().map_or(now, |away| away.since);
            *away = Some(Away { since, kind: failure.kind(), reason: failure.to_string() });
        });
        if first {
            tracing::warn!(
                kind = %failure.kind(),
                reason = %failure,
                advice = failure.kind().advice(),
                "the bucket is away, writes go on until the WAL budget is used up"
            );
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Away>> {
        self.0.subscribe()
    }
}
