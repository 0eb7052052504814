//! What the broker is doing, as `/readyz`, the log and waiting operators see it.
//!
//! Owns: the one place where readiness changes. Invariant: every change of reason is one log
//! line, so the log tells the same story.

use tokio::sync::watch;

use crate::{
    http::{Identity, LossAtRisk, Readiness},
    types::ClusterId,
};

/// Handle to the broker's readiness; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Status {
    readiness: watch::Sender<Readiness>,
    identity: watch::Sender<Identity>,
}

impl Status {
    pub(super) fn new(identity: Identity) -> Self {
        let starting = Readiness { reason: "starting".to_owned(), ..Readiness::default() };
        Self { readiness: watch::Sender::new(starting), identity: watch::Sender::new(identity) }
    }

    pub(super) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    pub(super) fn identity(&self) -> watch::Receiver<Identity> {
        self.identity.subscribe()
    }

    pub(super) fn belongs_to(&self, cluster: ClusterId) {
        self.identity.send_modify(|identity| identity.cluster = Some(cluster.to_string()));
    }

    pub(super) fn serving(&self) {
        self.set(Readiness { ready: true, reason: "serving".to_owned(), at_risk: None });
    }

    pub(super) fn waiting(&self, reason: String) {
        self.set(Readiness { ready: false, reason, at_risk: None });
    }

    pub(super) fn at_risk(&self, reason: String, loss: LossAtRisk) {
        self.set(Readiness { ready: false, reason, at_risk: Some(loss) });
    }

    fn set(&self, next: Readiness) {
        if *self.readiness.borrow() == next {
            return;
        }
        self.readiness.send_replace(next);
        let next = self.readiness.borrow();
        match (next.ready, next.at_risk.is_some()) {
            (true, _) => tracing::info!("serving"),
            (false, true) => tracing::error!(reason = %next.reason, "waiting for an operator"),
            (false, false) => tracing::info!(reason = %next.reason, "not ready"),
        }
    }
}
