//! One open partition: its state, and what the WAL and the metadata tell it.
//!
//! Owns: the state and its lock. `append`, `fetch` and `offsets` have what is done with it.
//! Invariants: the lock is held for one decision, never across an await; a WAL append happens
//! under it, so that the order of offsets is the order in the WAL; log start, high watermark and
//! log end never go back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OnceCell};

use super::{Metrics, Producers, ReadError, history::History, tail::Tail};
use crate::{
    cluster::configs::TopicConfig,
    env::{
        bugs::{Bug, Bugs},
        clock::{self, Clock},
        task::Cores,
    },
    replication::{CommittedBatch, Replication, Sink},
    types::{LeaderEpoch, Offset, PartitionId},
};

/// How often it is looked whether records are published; that takes seconds.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One partition this broker leads.
pub struct Partition {
    pub(super) id: PartitionId,
    pub(super) topic: Arc<str>,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) around: Arc<Around>,
    /// Set once producer state is in `state`.
    pub(super) producers_loaded: OnceCell<()>,
    pub(super) ledger: Arc<Ledger>,
    config: ArcSwap<TopicConfig>,
}

/// The state, as the WAL holds it too. Not the partition whole: that holds the WAL.
pub(super) struct Ledger(Mutex<State>);

/// What partitions share.
pub(super) struct Around {
    pub(super) replication: Replication,
    pub(super) history: Arc<dyn History>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bugs: Bugs,
    pub(super) metrics: Metrics,
    /// Where batches are unpacked, packed and searched.
    pub(super) cores: Cores,
}

pub(super) struct State {
    /// Once closed nothing is answered any more.
    pub(super) closed: bool,
    pub(super) log_start: Offset,
    /// The next offset to give; at or above the high watermark.
    pub(super) log_end: Offset,
    pub(super) tail: Tail,
    /// `None` until the first idempotent batch: most partitions never see one.
    pub(super) producers: Option<Box<Producers>>,
    waiters: Vec<Weak<Notify>>,
}

/// What the metadata log says of a partition at its opening.
pub(super) struct Opening {
    pub(super) id: PartitionId,
    pub(super) topic: Arc<str>,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) log_start: Offset,
    /// The end of what is published: where this reign begins (I6).
    pub(super) end: Offset,
    pub(super) config: Arc<TopicConfig>,
}

impl Partition {
    pub(super) fn open(opening: Opening, around: Arc<Around>) -> Arc<Self> {
        let end = opening.end.max(opening.log_start);
        Arc::new(Self {
            id: opening.id,
            topic: opening.topic,
            leader_epoch: opening.leader_epoch,
            around,
            producers_loaded: OnceCell::new(),
            config: ArcSwap::new(opening.config),
            ledger: Arc::new(Ledger(Mutex::new(State {
                closed: false,
                log_start: opening.log_start,
                log_end: end,
                tail: Tail::new(end),
                producers: None,
                waiters: Vec::new(),
            }))),
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The epoch this broker leads it in.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// First offset there is.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.state().log_start
    }

    /// End of what is committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        let state = self.state();
        let early = self.around.bugs.has(Bug::HighWatermarkEarly);
        if early { state.log_end } else { state.tail.end() }
    }

    /// End of what `read_committed` may see.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark()
    }

    /// The topic's configuration.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// Whether it is of a topic that only brokers write.
    pub fn is_internal(&self) -> bool {
        matches!(self.topic(), "__consumer_offsets" | "__transaction_state")
    }

    /// Whether it is closed: it moved away or its topic is deleted.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Committed bytes at and after `from`; more than any limit when they left memory.
    #[must_use]
    pub fn bytes_after(&self, from: Offset) -> u64 {
        self.state().tail.bytes_after(from)
    }

    /// Committed bytes that are not in the bucket, where at least what is below `published` is.
    #[must_use]
    pub fn unpublished_bytes(&self, published: Offset) -> u64 {
        self.state().tail.unpublished_bytes(published)
    }

    /// Notifies `waiter` once: when something is committed, or the partition closes. Register
    /// first, look for data then, wait after that.
    pub fn wake_on_append(&self, waiter: &Arc<Notify>) {
        let mut state = self.state();
        if state.closed {
            waiter.notify_one();
            return;
        }
        // Long polls of an idle partition come and go: drop those that nobody waits on any more.
        if state.waiters.len() == state.waiters.capacity() {
            state.waiters.retain(|waiter| waiter.strong_count() > 0);
        }
        state.waiters.push(Arc::downgrade(waiter));
    }

    /// Proves that this broker was the leader at an instant after the call (4.7).
    ///
    /// # Errors
    /// `NotLeader` when it cannot.
    pub async fn barrier(&self) -> Result<(), ReadError> {
        self.around.replication.barrier().await.map_err(|_| ReadError::NotLeader)?;
        if self.is_closed() { Err(ReadError::NotLeader) } else { Ok(()) }
    }

    /// Waits, as long as it takes, until everything below `end` is in the bucket; false when the
    /// partition closes before.
    pub async fn until_published(&self, end: Offset) -> bool {
        loop {
            let (is_published, closed) = {
                let state = self.state();
                (state.tail.is_published(end), state.closed)
            };
            if is_published || closed {
                return is_published;
            }
            clock::sleep(LOOK_AGAIN).await;
        }
    }

    /// Takes what newer metadata says.
    pub(super) fn update(&self, log_start: Offset, published: Offset, config: &Arc<TopicConfig>) {
        if !Arc::ptr_eq(&self.config.load(), config) {
            self.config.store(Arc::clone(config));
        }
        self.raise_start(log_start);
        self.state().tail.published(published);
    }

    pub(super) fn raise_start(&self, log_start: Offset) {
        let mut state = self.state();
        state.log_start = state.log_start.max(log_start);
    }

    /// Ends every use of it: appends and reads are refused, waiters wake.
    pub(super) fn close(&self) {
        let waiters = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.waiters)
        };
        wake(&waiters);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.ledger.state()
    }
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Ledger {
    fn committed(&self, batch: CommittedBatch) {
        let waiters = {
            let mut state = self.state();
            assert!(batch.end_offset <= state.log_end, "only what was appended is committed");
            state.tail.push(batch);
            std::mem::take(&mut state.waiters)
        };
        wake(&waiters);
    }

    fn evicted(&self, end: Offset) {
        self.state().tail.evict(end);
    }
}

fn wake(waiters: &[Weak<Notify>]) {
    for waiter in waiters.iter().filter_map(Weak::upgrade) {
        waiter.notify_one();
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("id", &self.id).finish_non_exhaustive()
    }
}
