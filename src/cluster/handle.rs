//! What the rest of the broker holds: the state to read and the log to commit to.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    apply::Applied,
    documents::AtRisk,
    driver::Command,
    error::{Abdication, CommitError, TakeOverError},
    metrics::Metrics,
    record::Record,
    state::State,
    take_over,
};
use crate::{
    env::{Env, task::Tasks},
    store::Store,
    types::{ClusterId, MetadataIndex, StorageId},
};

/// Proposals larger than this are refused, but for what a WAL holds: its record cannot be made
/// smaller, and refused it would keep acknowledged records out of the bucket for good.
const MAX_PROPOSAL_BYTES: usize = 16 << 20;

/// The metadata, and this process's hold on its log. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

/// What `Cluster::take_over` needs.
pub struct Parts {
    /// The bucket.
    pub store: Store,
    /// Clock and randomness.
    pub env: Env,
    /// Owner of the tasks started.
    pub tasks: Tasks,
    /// Who wants to be controller.
    pub holder: Holder,
    /// Times and sizes.
    pub config: Config,
    /// Counters.
    pub metrics: Metrics,
    /// Asked at each renewal of the lease.
    pub at_risk: AtRiskSource,
    /// Told what start-up waits for.
    pub phase: Arc<dyn Fn(Phase) + Send + Sync>,
    /// Whether the broker with that disk answers at the address in its lease.
    pub is_alive: Probe,
}

/// What this broker's disk holds that the bucket does not; `None` while it cannot tell, and what
/// the lease said before still stands.
pub type AtRiskSource = Arc<dyn Fn() -> Option<AtRisk> + Send + Sync>;

/// Asks whether a broker, known by its disk, answers at an address.
pub type Probe = Arc<dyn Fn(String, StorageId) -> BoxFuture<'static, bool> + Send + Sync>;

/// A candidate for the controller's role.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its WAL folder, whose lock it holds.
    pub storage: StorageId,
    /// Where others can ask whether it lives.
    pub address: String,
    /// The cluster its WAL folder belongs to, once it does.
    pub cluster: Option<ClusterId>,
}

/// Times and sizes; the defaults are those of a lone broker.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long the lease lasts unrenewed; renewed every third of it.
    pub lease: Duration,
    /// A snapshot after so many entries.
    pub snapshot_entries: u64,
    /// A snapshot after so many bytes of entries.
    pub snapshot_bytes: u64,
    /// Entries kept behind the newest snapshot.
    pub keep_entries: u64,
    /// Entries are kept for so long. No request may take longer than a quarter of it unnoticed.
    pub keep_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(180),
            snapshot_entries: 100,
            snapshot_bytes: 1 << 20,
            keep_entries: 1000,
            keep_for: Duration::from_secs(3600),
        }
    }
}

impl Config {
    /// How long what was read of the floor still protects.
    pub(super) fn safe_for(&self) -> Duration {
        self.keep_for / 4
    }
}

/// What start-up is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The bucket does not answer.
    WaitingForBucket {
        /// Why, as last seen.
        reason: String,
    },
    /// Another broker may be controller.
    WaitingForLease {
        /// Its address.
        holder: String,
        /// Until its lease is taken, if it does not move.
        left: Duration,
    },
    /// The metadata is being read.
    Replaying,
}

/// A proposal that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its entry.
    pub index: MetadataIndex,
    /// What each record brought about.
    pub applied: Vec<Applied>,
}

pub(super) struct Shared {
    pub(super) state: ArcSwap<State>,
    pub(super) index: watch::Sender<MetadataIndex>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) abdication: watch::Sender<Option<Abdication>>,
    pub(super) last_lease: Option<AtRisk>,
}

impl Cluster {
    /// Becomes the controller of the cluster in the bucket, which is created when there is none.
    /// Waits, for as long as it takes, for a bucket that does not answer.
    ///
    /// # Errors
    /// What waiting does not repair: a live holder, another cluster, damage.
    pub async fn take_over(parts: Parts) -> Result<Self, TakeOverError> {
        take_over::run(parts).await
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Asks the state. `f` must be short.
    pub fn with<R>(&self, f: impl FnOnce(&State) -> R) -> R {
        f(&self.shared.state.load())
    }

    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.shared.state.load_full()
    }

    /// Follows the index of the state.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<MetadataIndex> {
        self.shared.index.subscribe()
    }

    /// Commits a proposal: all its records, or none. Returns when its fate is known, however long
    /// the bucket is away; dropping the future does not take the proposal back.
    ///
    /// # Errors
    /// `Refused` and `TooLarge`: nothing happened. `Unknown`: it may be in the log.
    /// `Abdicated`: nothing happened, and nothing will by this process.
    pub async fn commit(&self, proposal: Vec<Record>) -> Result<Committed, CommitError> {
        let bytes = serde_json::to_vec(&proposal).map_or(usize::MAX, |json| json.len());
        if bytes > MAX_PROPOSAL_BYTES && !proposal.iter().any(Record::seals_segments) {
            return Err(CommitError::TooLarge { bytes });
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Commit { proposal, bytes, reply };
        self.shared.commands.send(command).await.map_err(|_| CommitError::Abdicated)?;
        answer.await.unwrap_or(Err(CommitError::Unknown))
    }

    /// What the previous holder's lease said was only on its disk, as read at take-over.
    #[must_use]
    pub fn last_lease(&self) -> Option<AtRisk> {
        self.shared.last_lease.clone()
    }

    /// Gives the role up: the next candidate need not wait. Commits after it are refused. Returns
    /// when the lease is released, or when a few tries did not do it.
    pub async fn release_lease(&self) {
        let (reply, done) = oneshot::channel();
        if self.shared.commands.send(Command::Release { reply }).await.is_ok() {
            drop(done.await);
        }
    }

    /// Resolves when another broker has the role. Everything this process led is then another's.
    pub async fn abdicated(&self) -> Abdication {
        let mut abdication = self.shared.abdication.subscribe();
        match abdication.wait_for(Option::is_some).await.map(|found| found.clone()) {
            Ok(Some(found)) => found,
            // The sender lives as long as this handle.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.shared.state.load().index;
        f.debug_struct("Cluster").field("index", &index).finish_non_exhaustive()
    }
}
