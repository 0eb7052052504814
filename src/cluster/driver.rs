//! The controller's task: takes proposals, makes entries of them, keeps the lease.
//!
//! Owns: order. Invariants: one entry in flight, everything that waits goes into the next; an
//! answer follows the entry's known fate (I22, H31); an entry is not begun under an old lease.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    apply::ProposalResult,
    controller::{Controller, Draft, LeaseWrite, NotCommitted, pause},
    error::{Abdication, CommitError, Damage},
    handle::{Committed, Shared},
    metrics::Metrics,
    record::Record,
    trim::Feed,
};
use crate::env::{bugs::Bug, clock};

/// Bytes of proposals after which no more are added to an entry.
const FULL_ENTRY_BYTES: usize = 4 << 20;
/// Tries to release the lease before leaving without.
const RELEASE_TRIES: usize = 10;

/// What the handle asks for.
pub(super) enum Command {
    Commit { proposal: Vec<Record>, bytes: usize, reply: Reply },
    Release { reply: oneshot::Sender<()> },
}

type Reply = oneshot::Sender<Result<Committed, CommitError>>;

/// The task.
pub(super) struct Driver {
    pub(super) controller: Controller,
    pub(super) shared: Arc<Shared>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) feed: Feed,
    pub(super) metrics: Metrics,
    /// When the lease is written next, on the boot clock.
    pub(super) renew_at: Duration,
}

/// Proposals for one entry, and what to do after it.
#[derive(Default)]
struct Batch {
    proposals: Vec<(Vec<Record>, Reply)>,
    release: Option<oneshot::Sender<()>>,
}

/// Why the task ends.
enum Ending {
    /// It was asked to, or nobody is left to ask.
    Told,
    Abdicated(Abdication),
}

impl Driver {
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        let ending = tokio::select! {
            biased;
            () = stopping.cancelled() => Ending::Told,
            ending = self.work() => ending,
        };
        if let Ending::Abdicated(abdication) = ending {
            tracing::error!(
                reason = %abdication,
                advice = "only one broker may run on this bucket: stop the other, or this one",
                "no longer controller"
            );
            self.shared.abdication.send_replace(Some(abdication));
        }
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Commit { reply, .. } => answer(reply, Err(CommitError::Abdicated)),
                Command::Release { reply } => drop(reply),
            }
        }
    }

    async fn work(&mut self) -> Ending {
        loop {
            let wait = self.renew_at.saturating_sub(self.controller.meta.env.clock.boot());
            tokio::select! {
                biased;
                () = clock::sleep(wait) => {
                    if let Err(abdication) = self.renew().await {
                        return Ending::Abdicated(abdication);
                    }
                }
                command = self.commands.recv() => {
                    let Some(command) = command else { return Ending::Told };
                    let batch = self.gather(command);
                    if let Some(ending) = self.carry_out(batch).await {
                        return ending;
                    }
                }
            }
        }
    }

    /// Everything that waits, up to a full entry.
    fn gather(&mut self, first: Command) -> Batch {
        let mut batch = Batch::default();
        let mut total = 0_usize;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Commit { proposal, bytes, reply } => {
                    total = total.saturating_add(bytes);
                    batch.proposals.push((proposal, reply));
                }
                Command::Release { reply } => {
                    batch.release = Some(reply);
                    break;
                }
            }
            next = (total < FULL_ENTRY_BYTES).then(|| self.commands.try_recv().ok()).flatten();
        }
        batch
    }

    async fn carry_out(&mut self, batch: Batch) -> Option<Ending> {
        let mut draft = self.controller.draft();
        let mut answers = Vec::with_capacity(batch.proposals.len());
        for (proposal, reply) in batch.proposals {
            answers.push((reply, draft.add(proposal)));
        }
        let refused = answers.iter().filter(|(_, result)| result.is_err()).count();
        self.metrics.refused.inc_by(u64::try_from(refused).unwrap_or_default());
        let index = draft.index();
        let committed = if draft.is_empty() { Ok(()) } else { self.commit(draft).await };
        if let Err(failed) = committed {
            // A refusal may rest on records of this very entry: its truth is unknown with them.
            let (error, abdication) = match failed {
                Failed::Before(abdication) => (CommitError::Abdicated, abdication),
                Failed::Unknown(abdication) => (CommitError::Unknown, abdication),
            };
            for (reply, _) in answers {
                answer(reply, Err(error.clone()));
            }
            return Some(Ending::Abdicated(abdication));
        }
        for (reply, result) in answers {
            let result: ProposalResult = result;
            let result = result.map(|applied| Committed { index, applied });
            answer(reply, result.map_err(CommitError::Refused));
        }
        if let Some(reply) = batch.release {
            self.release().await;
            drop(reply);
            return Some(Ending::Told);
        }
        None
    }

    /// Commits a draft and shows the state it led to.
    async fn commit(&mut self, draft: Draft) -> Result<(), Failed> {
        let mut pauses = 0;
        while self.controller.lease_is_old() {
            // After a long outage: whoever else may be controller shows in the lease first.
            self.renew().await.map_err(Failed::Before)?;
            if self.controller.lease_is_old() {
                pause(&self.controller.meta, &mut pauses).await;
            }
        }
        if self.controller.meta.env.bugs.has(Bug::EffectsBeforeCommit) {
            self.shared.state.store(draft.after());
        }
        let began = self.controller.meta.env.clock.boot();
        let index = draft.index();
        let bytes = self.controller.append(draft).await.map_err(|failed| match failed {
            NotCommitted::Lost { epoch } if epoch > self.controller.epoch => {
                Failed::Before(Abdication::Superseded { epoch })
            }
            NotCommitted::Lost { epoch } => {
                let damage = Damage::new(format!("epoch {epoch} follows a higher one"));
                Failed::Unknown(Abdication::Impossible { index, damage })
            }
            NotCommitted::Unknown(abdication) => Failed::Unknown(abdication),
        })?;
        let took = self.controller.meta.env.clock.boot().saturating_sub(began);
        let length = u64::try_from(bytes).unwrap_or_default();
        self.metrics.commit_seconds.observe(took);
        self.metrics.entries.inc();
        self.metrics.entry_bytes.inc_by(length);
        self.metrics.index.set(i64::try_from(index.0).unwrap_or(i64::MAX));
        self.shared.state.store(Arc::clone(&self.controller.state));
        self.shared.index.send_replace(index);
        self.feed.committed(&self.controller.state, length);
        Ok(())
    }

    /// Writes the lease once and plans the next time.
    async fn renew(&mut self) -> Result<(), Abdication> {
        let lease = self.controller.config.lease;
        let next = match self.controller.write_lease(false).await {
            LeaseWrite::Kept => {
                self.metrics.renewals.inc();
                lease / 3
            }
            LeaseWrite::Failed => {
                self.metrics.failed_renewals.inc();
                (lease / 36).clamp(Duration::from_millis(20), Duration::from_secs(5))
            }
            LeaseWrite::Lost(abdication) => return Err(abdication),
        };
        self.renew_at = self.controller.meta.env.clock.boot() + next;
        Ok(())
    }

    async fn release(&mut self) {
        let mut pauses = 0;
        for _ in 0..RELEASE_TRIES {
            match self.controller.write_lease(true).await {
                // A renewal of unknown end goes first.
                LeaseWrite::Kept if self.controller.lease.held.document.released => return,
                LeaseWrite::Kept => {}
                LeaseWrite::Failed => pause(&self.controller.meta, &mut pauses).await,
                LeaseWrite::Lost(_) => return,
            }
        }
        tracing::warn!(
            "the lease was not released, the next start on another disk waits until it lapses"
        );
    }
}

enum Failed {
    /// Nothing of it is in the log.
    Before(Abdication),
    /// It may be.
    Unknown(Abdication),
}

/// The asker may be gone; the log does not mind.
fn answer(reply: Reply, result: Result<Committed, CommitError>) {
    drop(reply.send(result));
}
