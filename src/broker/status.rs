//! What the broker is doing, as `/readyz`, the log and waiting operators see it.
//!
//! Owns: the one place where readiness changes. Invariant: every change of reason is one log
//! line, so the log tells the same story; steps that every start takes are told at debug.

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
        if self.set(Readiness { ready: true, reason: "serving".to_owned(), at_risk: None }) {
            tracing::info!("serving");
        }
    }

    /// Not serving, and it may take long: whoever reads the log wants to know.
    pub(super) fn waiting(&self, reason: String) {
        if self.set(Readiness { ready: false, reason, at_risk: None }) {
            tracing::info!(reason = %self.readiness.borrow().reason, "not ready");
        }
    }

    /// A step of every start, over in a moment.
    pub(super) fn at(&self, step: &str) {
        if self.set(Readiness { ready: false, reason: step.to_owned(), at_risk: None }) {
            tracing::debug!(step, "not ready");
        }
    }

    pub(super) fn at_risk(&self, reason: String, loss: LossAtRisk) {
        if self.set(Readiness { ready: false, reason, at_risk: Some(loss) }) {
            tracing::error!(
                reason = %self.readiness.borrow().reason,
                advice = "`strandline cluster accept-loss` shows what would be lost",
                "waiting for an operator"
            );
        }
    }

    /// Whether it is news.
    fn set(&self, next: Readiness) -> bool {
        self.readiness.send_if_modified(|readiness| {
            let changed = *readiness != next;
            *readiness = next;
            changed
        })
    }
}
