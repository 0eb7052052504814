//! The handle that appenders, uploaders and readers hold.
//!
//! Invariant: the threads end with the last handle.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::{
    env::task::{self, Worker},
    types::SegmentId,
    wal::{self, EntryBatch, OpenSegment, WalPosition},
};

use super::{
    Append, AppendError, AtRisk, ClosedSegment, Commit, CommitError, EndReason, Ended, EntryReader,
    Error, Parts, Room, driver::Driver, files, resident::Resident, shared::Shared,
};

/// Handle of one incarnation's log; clones share it. When the last is gone the log stops where it
/// stands, as a crash would.
#[derive(Clone)]
pub struct Replication {
    pub(super) shared: Arc<Shared>,
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<Worker>>,
}

impl Owner {
    fn take_threads(&self) -> Vec<Worker> {
        let mut threads = self.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        std::mem::take(&mut *threads)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.ask(|asked| asked.gone = true);
    }
}

impl Replication {
    /// Prepares the first segment's file and starts the WAL thread, which writes its header.
    /// Blocking. Without room for the file it starts all the same and goes on when there is room.
    ///
    /// # Errors
    /// `NotRegistered`, `Ensemble` or the disk's.
    pub fn start(parts: Parts) -> Result<Self, Error> {
        let identity = parts.folder.identity();
        if identity.incarnation != Some(parts.incarnation) {
            return Err(Error::NotRegistered(parts.incarnation));
        }
        let me = identity.storage;
        let alone = |open: &OpenSegment| {
            let [member] = open.ensemble.as_slice() else { return false };
            member.storage == me && open.id.incarnation == parts.incarnation
        };
        if let Some(open) = parts.first.iter().find(|open| !alone(open)) {
            return Err(Error::Ensemble(open.id));
        }
        let cluster = identity.cluster.unwrap_or_default();
        let first = parts.first.clone();
        // Writing into used files is cheaper than into new ones, and they take no more room than
        // what waited for the bucket took before.
        let free = parts.config.budget.0 / 8 / parts.config.roll_bytes.0.max(1);
        parts.folder.keep_free(usize::try_from(free).unwrap_or(usize::MAX).clamp(4, 32));
        let shared = Arc::new(Shared::new(parts));
        shared.prepare(first)?;
        let driver = Driver::new(shared.clone(), cluster, me);
        let files = shared.clone();
        let threads = vec![
            task::worker("wal", driver, Driver::run, Driver::take_turns)
                .map_err(wal::Error::from)?,
            task::worker("wal-files", files, |files| files::run(&files), files::take_turns)
                .map_err(wal::Error::from)?,
        ];
        let owner = Owner { shared: shared.clone(), threads: Mutex::new(threads) };
        Ok(Self { shared, owner: Arc::new(owner) })
    }

    /// Copies a batch into the log. Cheap and never blocks on the disk.
    ///
    /// # Errors
    /// Nothing was appended then.
    pub fn append(&self, append: Append<'_>) -> Result<Commit, AppendError> {
        self.shared.append(append)
    }

    /// Waits for a place among what waits for the disk, in turn with all who do.
    pub async fn room(&self, bytes: usize) -> Option<Room> {
        self.shared.room(bytes).await
    }

    /// Proves that this incarnation was not fenced at some instant after the call (4.7), and that
    /// everything appended before the call is committed.
    ///
    /// # Errors
    /// When the log has ended.
    pub async fn barrier(&self) -> Result<(), Ended> {
        let commit = self.shared.barrier().ok_or(Ended)?;
        commit.await.map(drop).map_err(|CommitError| Ended)
    }

    /// Hands over a segment that the metadata log has opened; in the order of their sequence.
    pub fn add_spare(&self, segment: OpenSegment) {
        self.shared.add_spare(segment);
    }

    /// Whether a spare segment is wanted.
    #[must_use]
    pub fn wants_spare(&self) -> watch::Receiver<bool> {
        self.shared.wants_spare.subscribe()
    }

    /// Closes the open segment, even a small one, and goes on in the next as soon as there is one.
    pub fn roll(&self) {
        self.shared.ask(|asked| asked.roll = true);
    }

    /// Commits what was appended, closes the open segment and gives back every spare as closed and
    /// empty: nothing can be appended afterwards.
    pub fn drain(&self) {
        self.shared.ask(|asked| asked.drain = true);
    }

    /// Whether closed segments wait, or nothing more will come: no time to spare for what goes out.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        let state = self.shared.state();
        state.asked.drain || !state.closed.is_empty()
    }

    /// The next closed segment, in order, each once. Waits for ever when there is none to come.
    pub async fn next_closed(&self) -> ClosedSegment {
        loop {
            let told = self.shared.closed.notified();
            let next = self.shared.state().closed.pop_front();
            match next {
                Some(closed) => return closed,
                None => told.await,
            }
        }
    }

    /// The entries of a closed segment, from memory where they still are. Blocking.
    ///
    /// # Errors
    /// `Gone` when it was trimmed or never used.
    pub fn read_segment(&self, id: SegmentId) -> Result<EntryReader, wal::Error> {
        let entries = self.shared.state().segments.get(&id).map(|segment| segment.entries);
        let entries = entries.ok_or(wal::Error::Gone(id))?;
        EntryReader::new(&self.shared.folder, id, entries, Some(self.shared.clone()))
    }

    /// The batches of the entry at `position`, from the file. Blocking.
    ///
    /// # Errors
    /// `Gone` when the segment was trimmed: the bucket has the data.
    pub fn read_at(&self, position: WalPosition) -> Result<Vec<EntryBatch>, wal::Error> {
        Ok(self.shared.folder.read_at(position)?.batches)
    }

    /// Gives up buffers kept for the next batches if there were none since the last call.
    pub fn rest(&self) {
        self.shared.rest();
    }

    /// Gives an uploaded segment's files back to the pool, soon.
    pub fn trim(&self, segment: SegmentId) {
        self.shared.trim(segment);
    }

    /// What is not yet in the bucket.
    #[must_use]
    pub fn at_risk(&self) -> AtRisk {
        self.shared.state().at_risk()
    }

    /// Resolves when the log takes no more.
    pub async fn ended(&self) -> EndReason {
        let mut ended = self.shared.ended.subscribe();
        let reason = ended.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or(EndReason::Stopped)
    }

    /// Commits what was appended, ends the threads and lets go of every `Sink`.
    pub async fn stop(&self) {
        self.shared.ask(|asked| asked.stop = true);
        self.ended().await;
        let threads = self.owner.take_threads();
        for thread in threads {
            thread.join().await;
        }
        // Entries hold the partitions, which hold this log: let go of each other.
        self.shared.state().resident = Resident::default();
    }
}
