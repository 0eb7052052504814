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

    pub(super) fn answered(&self) {
        let changed = self.0.send_if_modified(|away| away.take().is_some());
        if changed {
            tracing::info!("bucket answers again");
        }
    }

    pub(super) fn failed(&self, failure: &Failure, now: Duration) {
        if failure.is_answer() {
            return self.answered();
        }
        let mut first = false;
        self.0.send_modify(|away| {
            first = away.is_none();
            let since = away.as_ref().map_or(now, |away| away.since);
            *away = Some(Away { since, kind: failure.kind(), reason: failure.to_string() });
        });
        if first {
            tracing::warn!(kind = %failure.kind(), reason = %failure, "bucket is away");
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Away>> {
        self.0.subscribe()
    }
}
