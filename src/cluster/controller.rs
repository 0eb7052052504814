//! The controller's hand on the log: its entries and its lease, one request after the other.
//!
//! Owns: the requests around `commit` and the lease. Does not own: what is proposed, when.
//! Invariants: one entry in flight; the state changes only when an entry's fate is known; a lease
//! write whose end is unknown is written again with the same bytes until it is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    apply::{At, ProposalResult},
    commit::{Attempt, End, Event, Step},
    documents::{self, FloorDocument, LeaseDocument},
    entry::{Entry, FORMAT},
    error::{Abdication, ReadError},
    handle::{AtRiskSource, Config, Holder},
    meta::{Held, Meta},
    record::Record,
    state::State,
};
use crate::{
    env::{bugs::Bug, clock},
    store::path,
    types::{ClusterId, MetadataIndex},
};

/// The shortest and longest pause before a request is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A process in the controller's role, or on its way there.
pub(super) struct Controller {
    pub(super) meta: Meta,
    pub(super) state: Arc<State>,
    /// When the state was known to be the newest, on the boot clock.
    pub(super) known_since: Duration,
    pub(super) epoch: u64,
    pub(super) lease: HeldLease,
    pub(super) config: Config,
    pub(super) holder: Holder,
    pub(super) at_risk: AtRiskSource,
    /// The floor as last read, to read it cheaply.
    pub(super) floor: Option<Held<FloorDocument>>,
}

/// The lease as this process holds it.
#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) held: Held<LeaseDocument>,
    /// When the write that holds began, on the boot clock.
    pub(super) since: Duration,
    /// A write whose end is unknown.
    pub(super) pending: Option<LeaseDocument>,
}

/// Proposals on their way to become one entry.
#[derive(Debug)]
pub(super) struct Draft {
    at: At,
    proposals: Vec<Vec<Record>>,
    /// The state when they are committed.
    after: State,
}

/// Why an entry is not in the log.
#[derive(Debug)]
pub(super) enum NotCommitted {
    /// Another has its place; it never takes effect.
    Lost { epoch: u64 },
    /// It may be in the log or not.
    Unknown(Abdication),
}

/// How a lease write ended.
#[derive(Debug)]
pub(super) enum LeaseWrite {
    Kept,
    /// Not known yet; try again.
    Failed,
    Lost(Abdication),
}

impl Controller {
    /// An empty entry after the state.
    pub(super) fn draft(&self) -> Draft {
        let time = self.meta.env.clock.wall();
        let at = At { index: self.state.index.next(), epoch: self.epoch, time };
        Draft { at, proposals: Vec::new(), after: State::clone(&self.state) }
    }

    /// Appends a draft; tells its length in bytes.
    pub(super) async fn append(&mut self, draft: Draft) -> Result<usize, NotCommitted> {
        let Draft { at, proposals, mut after } = draft;
        let entry = Entry {
            format: FORMAT,
            cluster_id: self.state.cluster_id,
            index: at.index,
            epoch: at.epoch,
            commit_id: self.meta.env.entropy.uuid(),
            prev_hash: self.state.hash,
            time_ms: at.time,
            proposals,
        };
        let (bytes, hash) = entry.seal();
        let length = bytes.len();
        let began = self.meta.env.clock.boot();
        match self.fate(entry, bytes).await? {
            End::Committed => {
                after.follow(at, hash);
                self.state = Arc::new(after);
                self.known_since = began;
                Ok(length)
            }
            End::Lost { epoch } => Err(NotCommitted::Lost { epoch }),
            End::BehindFloor => Err(NotCommitted::Unknown(Abdication::BehindFloor(at.index))),
        }
    }

    async fn fate(&mut self, mut entry: Entry, mut bytes: Bytes) -> Result<End, NotCommitted> {
        let key = path::log_entry(entry.index);
        // Not from now on, nor from the lease: between the last look at the log and this put the
        // machine may have slept, and the index been written, outlived by the floor and deleted.
        let known_since = self.known_since;
        let (safe_for, bugs) = (self.config.safe_for(), self.meta.env.bugs);
        let begin = |entry: &Entry| {
            Attempt::new(entry.index, entry.commit_id, known_since, safe_for).with_bugs(bugs)
        };
        let mut attempt = begin(&entry);
        let mut step = Step::Put;
        let mut pauses = 0;
        loop {
            let event = match step {
                Step::Put => match self.meta.write(&key, None, bytes.clone()).await {
                    Some(_) => Event::Stored,
                    None => Event::NotStored,
                },
                Step::ReadKey => match self.meta.entry(entry.index).await {
                    Ok(Some(found)) => {
                        Event::Holds { commit_id: found.entry.commit_id, epoch: found.entry.epoch }
                    }
                    Ok(None) => Event::Holdless,
                    Err(ReadError::Failed(_)) => Event::ReadFailed,
                    Err(ReadError::Damaged { damage, .. }) => {
                        let index = entry.index;
                        return Err(NotCommitted::Unknown(Abdication::Impossible {
                            index,
                            damage,
                        }));
                    }
                },
                Step::ReadFloor => {
                    let cluster = entry.cluster_id;
                    match self.meta.refresh_floor(cluster, &mut self.floor).await {
                        Ok(floor) => Event::Floor(floor),
                        Err(_) => Event::ReadFailed,
                    }
                }
                Step::Pause => {
                    pause(&self.meta, &mut pauses).await;
                    if bugs.has(Bug::ContentRewritten) {
                        entry.commit_id = self.meta.env.entropy.uuid();
                        bytes = entry.seal().0;
                        attempt = begin(&entry);
                        step = Step::Put;
                        continue;
                    }
                    Event::Paused
                }
                Step::End(end) => return Ok(end),
            };
            step = attempt.next(event, self.meta.env.clock.boot());
        }
    }

    /// Whether this process may not start an entry before its lease is renewed.
    pub(super) fn lease_is_old(&self) -> bool {
        let age = self.meta.env.clock.boot().saturating_sub(self.lease.since);
        age > self.config.lease * 2 / 3
    }

    /// Writes the lease once: renewed, or released.
    pub(super) async fn write_lease(&mut self, released: bool) -> LeaseWrite {
        let document = match self.lease.pending.take() {
            Some(pending) => pending,
            None => self.new_lease(released),
        };
        let began = self.meta.env.clock.boot();
        let bytes = documents::encode(&document);
        let version = &self.lease.held.version;
        if let Some(version) = self.meta.write(&path::lease(), Some(version), bytes).await {
            let since = began;
            self.lease = HeldLease { held: Held { document, version }, since, pending: None };
            return LeaseWrite::Kept;
        }
        self.resolve_lease(document, began).await
    }

    /// What became of a lease write that did not simply succeed.
    async fn resolve_lease(&mut self, document: LeaseDocument, began: Duration) -> LeaseWrite {
        match self.meta.lease(self.state.cluster_id).await {
            Ok(Some(found)) if found.document.nonce == document.nonce => {
                self.lease = HeldLease { held: found, since: began, pending: None };
                LeaseWrite::Kept
            }
            Ok(Some(found)) if found.document.nonce != self.lease.held.document.nonce => {
                let epoch = found.document.epoch;
                LeaseWrite::Lost(Abdication::Superseded { epoch })
            }
            // Somebody deleted the lease; a condition on it would never hold again.
            Ok(None) => {
                let bytes = documents::encode(&document);
                match self.meta.write(&path::lease(), None, bytes).await {
                    Some(version) => {
                        let held = Held { document, version };
                        self.lease = HeldLease { held, since: began, pending: None };
                        LeaseWrite::Kept
                    }
                    None => {
                        self.lease.pending = Some(document);
                        LeaseWrite::Failed
                    }
                }
            }
            // Unchanged or unreadable: what was written may still land.
            Ok(Some(_)) | Err(_) => {
                self.lease.pending = Some(document);
                LeaseWrite::Failed
            }
        }
    }

    fn new_lease(&self, released: bool) -> LeaseDocument {
        let (config, holder) = (&self.config, &self.holder);
        let document =
            lease_document(&self.meta, config, holder, self.state.cluster_id, self.epoch);
        // A broker that does not know yet must not wipe out what its predecessor's lease told.
        let at_risk = (self.at_risk)().unwrap_or_else(|| self.lease.held.document.at_risk.clone());
        LeaseDocument { released, at_risk, ..document }
    }
}

/// A lease with a nonce of its own.
pub(super) fn lease_document(
    meta: &Meta,
    config: &Config,
    holder: &Holder,
    cluster: ClusterId,
    epoch: u64,
) -> LeaseDocument {
    LeaseDocument {
        address: holder.address.clone(),
        ttl_ms: u64::try_from(config.lease.as_millis()).unwrap_or(u64::MAX),
        ..LeaseDocument::new(cluster, epoch, holder.storage, meta.env.entropy.uuid())
    }
}

impl Draft {
    /// Adds a proposal if it holds after those before it.
    pub(super) fn add(&mut self, proposal: Vec<Record>) -> ProposalResult {
        let applied = self.after.propose(self.at, &proposal)?;
        self.proposals.push(proposal);
        Ok(applied)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.proposals.is_empty()
    }

    pub(super) fn index(&self) -> MetadataIndex {
        self.at.index
    }

    /// The state it leads to, if it is committed.
    pub(super) fn after(&self) -> Arc<State> {
        Arc::new(self.after.clone())
    }
}

/// Waits a moment, longer each time, with jitter.
pub(super) async fn pause(meta: &Meta, pauses: &mut u32) {
    let (shortest, longest) = PAUSE;
    let full = shortest.saturating_mul(1 << (*pauses).min(10)).min(longest);
    *pauses = pauses.saturating_add(1);
    let half = u64::try_from(full.as_millis() / 2).unwrap_or_default();
    let jitter = Duration::from_millis(meta.env.entropy.below(half.max(1)));
    clock::sleep(full / 2 + jitter).await;
}
