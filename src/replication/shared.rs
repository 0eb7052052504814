//! What appenders, the WAL thread and the files thread share, under one short lock.
//!
//! Owns: admission, the account of what waits for the bucket. Does not own: IO: the lock is never
//! held over a disk call or a `Sink`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    env::{Env, disk::DiskFile, task::Bell},
    types::{Millis, PartitionId, SegmentId},
    wal::{Error, Folder, OpenSegment, Writer, entry_bytes},
};

use super::{
    Append, AppendError, AtRisk, ClosedSegment, Commit, Config, EndReason, Metrics, Room,
    commit::Resolver,
    group::{ARENA_BYTES, Waiting},
    resident::{Resident, ResidentEntry},
};

/// An entry takes this much at most, unless one batch is larger. Larger ones gain nothing: synced
/// O_DIRECT writes of 1 MiB gave 930 MB/s where those of 4 MiB gave 750, and 610 where they gave 270
/// into a file's blocks that were never written.
const GROUP_BYTES: u64 = 1024 * 1024;
/// Of a WAL file, what is not payload: its header, an entry's head and rounding.
const FILE_OVERHEAD_BYTES: u64 = 2048;

pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) env: Env,
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    pub(super) store_away: Arc<dyn Fn() -> bool + Send + Sync>,
    state: Mutex<State>,
    /// KiB that may still come to wait for the WAL thread.
    places: Arc<Semaphore>,
    /// Wakes the WAL thread.
    pub(super) work: Bell,
    /// Wakes the files thread.
    pub(super) files: Bell,
    pub(super) closed: Notify,
    pub(super) ended: watch::Sender<Option<EndReason>>,
    pub(super) wants_spare: watch::Sender<bool>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) waiting: Waiting,
    /// Something was appended since `rest` last looked.
    appended: bool,
    /// When the first batch that waits came, by the boot clock.
    waiting_since: Option<Duration>,
    pub(super) barrier: Option<Resolver>,
    pub(super) asked: Asked,
    pub(super) files: Files,
    /// A segment is written, or will be as soon as its file is there.
    pub(super) open: bool,
    /// Bytes left in the files of the segment that is written.
    pub(super) room: u64,
    pub(super) segments: BTreeMap<SegmentId, Segment>,
    unuploaded: u64,
    pub(super) resident: Resident,
    pub(super) closed: VecDeque<ClosedSegment>,
    pub(super) end: Option<EndReason>,
}

/// What the owner asked for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) roll: bool,
    pub(super) drain: bool,
    pub(super) stop: bool,
    /// No handle is left: stop where it stands.
    pub(super) gone: bool,
    /// The files thread met an error.
    pub(super) failed: Option<String>,
}

/// Work for, and from, the files thread.
#[derive(Default)]
pub(super) struct Files {
    pub(super) raw: VecDeque<OpenSegment>,
    pub(super) ready: VecDeque<(OpenSegment, Writer)>,
    pub(super) wanted_part: Option<(SegmentId, u64)>,
    pub(super) ready_part: Option<(SegmentId, Arc<dyn DiskFile>)>,
    pub(super) trims: VecDeque<SegmentId>,
    /// Spares that are not yet written or given up, wherever they are.
    pub(super) spares: usize,
    pub(super) full: bool,
}

/// A segment that is not trimmed.
#[derive(Default)]
pub(super) struct Segment {
    /// Committed entries.
    pub(super) entries: u64,
    /// Bytes of them in the files.
    pub(super) bytes: u64,
    pub(super) first_append_ms: Option<Millis>,
    pub(super) partitions: BTreeMap<PartitionId, u64>,
}

impl Shared {
    pub(super) fn new(parts: super::Parts) -> Self {
        let super::Parts { folder, env, config, store_away, metrics, .. } = parts;
        metrics.budget_bytes.set(i64::try_from(config.budget.0).unwrap_or(i64::MAX));
        let buffers = config.memory.0.saturating_add(config.waiting.0);
        let state = State { waiting: Waiting::within(buffers), ..State::default() };
        Self {
            places: Arc::new(Semaphore::new(places(&config))),
            folder,
            env,
            config,
            metrics,
            store_away,
            state: Mutex::new(state),
            work: Bell::default(),
            files: Bell::default(),
            closed: Notify::new(),
            ended: watch::Sender::new(None),
            wants_spare: watch::Sender::new(false),
        }
    }

    /// Makes the first segment's file at once, so that the first batch need not wait for it.
    pub(super) fn prepare(&self, first: Vec<OpenSegment>) -> Result<(), Error> {
        let mut raw = VecDeque::from(first);
        let mut state = self.state();
        state.files.spares = raw.len();
        if let Some(open) = raw.front() {
            match self.folder.create(open, self.config.roll_bytes) {
                Ok(writer) => {
                    state.files.ready.extend(raw.pop_front().map(|open| (open, writer)));
                    state.open = true;
                }
                Err(Error::NoRoom) => state.files.full = true,
                Err(error) => return Err(error),
            }
        }
        state.files.raw = raw;
        self.tell_wants_spare(&state);
        Ok(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) async fn room(&self, bytes: usize) -> Option<Room> {
        let wanted = bytes.div_ceil(1024).min(places(&self.config));
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        // Never closed: at the end those who wait get theirs, and are told by `append`.
        Arc::clone(&self.places).acquire_many_owned(wanted).await.ok()
    }

    pub(super) fn append(&self, append: Append<'_>) -> Result<Commit, AppendError> {
        let mut state = self.state();
        if let Err(refused) = self.admit(&state, &append) {
            self.metrics.refused.inc();
            return Err(refused);
        }
        state.appended = true;
        let first = || self.env.clock.boot();
        state.waiting_since.get_or_insert_with(first);
        let commit = state.waiting.push(append, GROUP_BYTES.min(self.most_payload()));
        drop(state);
        self.work.ring();
        Ok(commit)
    }

    fn admit(&self, state: &State, append: &Append<'_>) -> Result<(), AppendError> {
        let bytes = u64::try_from(append.batch.len()).unwrap_or(u64::MAX);
        if state.end.is_some() || state.asked.stop {
            return Err(AppendError::Failed);
        }
        if bytes.saturating_add(FILE_OVERHEAD_BYTES) > self.config.roll_bytes.0 {
            return Err(AppendError::TooLarge);
        }
        if state.asked.drain || (!state.open && !state.files.full) {
            return Err(AppendError::NoSegment);
        }
        let waiting = state.waiting.bytes() + entry_bytes(bytes);
        if state.files.full && waiting + FILE_OVERHEAD_BYTES > state.room {
            return Err(AppendError::DiskFull);
        }
        let budget = self.config.budget.0;
        let limit = if append.internal { budget } else { budget - budget / 10 };
        let may_crowd = append.room.is_some() || state.waiting.bytes() == 0;
        let crowded = !may_crowd && waiting > most_waiting(&self.config);
        if state.unuploaded + waiting > limit {
            tracing::warn!(
                budget_bytes = budget,
                advice =
                    "is the bucket away? producers try again; a larger --wal-budget lasts longer",
                "the WAL budget is used up, writes are refused until the bucket takes what waits"
            );
            return Err(AppendError::Full);
        }
        if crowded {
            return Err(AppendError::Full);
        }
        Ok(())
    }

    /// Gives up buffers kept for the next batches if there were none since the last call.
    pub(super) fn rest(&self) {
        let mut state = self.state();
        if !std::mem::take(&mut state.appended) {
            state.waiting.rest();
        }
    }

    /// Notes how long the group that was taken had waited.
    pub(super) fn leaves_queue(&self, state: &mut State, taken: bool) {
        let since = if taken { state.waiting_since.take() } else { None };
        let Some(since) = since else { return };
        let now = self.env.clock.boot();
        self.metrics.queue_seconds.observe(now.saturating_sub(since));
        // Of what is left the first came later; nobody noted when.
        state.waiting_since = (state.waiting.bytes() > 0).then_some(now);
    }

    fn most_payload(&self) -> u64 {
        self.config.roll_bytes.0.saturating_sub(FILE_OVERHEAD_BYTES)
    }

    /// A commit for the next barrier round. Behind what waits already: whoever shows what was
    /// appended, as coordinators do, must not show it before it is committed.
    pub(super) fn barrier(&self) -> Option<Commit> {
        let mut state = self.state();
        if state.end.is_some() {
            return None;
        }
        let joined = state.waiting.newest_commit();
        let commit = joined.unwrap_or_else(|| state.barrier.get_or_insert_default().commit());
        drop(state);
        self.work.ring();
        Some(commit)
    }

    pub(super) fn add_spare(&self, open: OpenSegment) {
        let mut state = self.state();
        if state.asked.drain {
            let OpenSegment { id, nonce, .. } = open;
            let unused = ClosedSegment { id, nonce, entries: 0, bytes: 0, first_append_ms: None };
            state.closed.push_back(unused);
            drop(state);
            self.closed.notify_one();
            return;
        }
        state.files.raw.push_back(open);
        state.files.spares += 1;
        self.tell_wants_spare(&state);
        drop(state);
        self.files.ring();
    }

    pub(super) fn tell_wants_spare(&self, state: &State) {
        let wants = state.files.spares == 0 && !state.asked.drain && state.end.is_none();
        self.wants_spare.send_if_modified(|now| std::mem::replace(now, wants) != wants);
    }

    pub(super) fn ask(&self, change: impl FnOnce(&mut Asked)) {
        let mut state = self.state();
        change(&mut state.asked);
        self.tell_wants_spare(&state);
        drop(state);
        self.work.ring();
        self.files.ring();
    }

    pub(super) fn trim(&self, segment: SegmentId) {
        let mut state = self.state();
        if let Some(gone) = state.segments.remove(&segment) {
            state.unuploaded = state.unuploaded.saturating_sub(gone.bytes);
            state.files.trims.push_back(segment);
        }
        self.measure(&state);
        drop(state);
        self.files.ring();
    }

    /// Accounts a committed entry; gives back what leaves memory for it.
    pub(super) fn account(&self, entry: ResidentEntry) -> Vec<Arc<super::group::Group>> {
        let mut state = self.state();
        let bytes = entry.written.file_bytes;
        let segment = state.segments.entry(entry.segment).or_default();
        segment.entries = entry.number + 1;
        segment.bytes += bytes;
        if segment.first_append_ms.is_none() {
            // There is data now: files will be wanted.
            self.files.ring();
        }
        for batch in &entry.group.batches {
            segment.first_append_ms.get_or_insert(entry.append_ms);
            let length = u64::try_from(batch.length).unwrap_or(u64::MAX);
            *segment.partitions.entry(batch.partition).or_default() += length;
        }
        state.unuploaded += bytes;
        let evicted = state.resident.push(entry, self.config.memory.0);
        self.measure(&state);
        evicted
    }

    /// Accounts a segment's header.
    pub(super) fn account_header(&self, segment: SegmentId, bytes: u64) {
        let mut state = self.state();
        let new = Segment { entries: 1, bytes, ..Segment::default() };
        state.segments.insert(segment, new);
        state.unuploaded += bytes;
    }

    pub(super) fn measure(&self, state: &State) {
        let gauge = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.metrics.resident_bytes.set(gauge(state.resident.bytes()));
        let oldest = state.oldest();
        // A segment's header alone is nothing that could be lost.
        let waits = oldest.map_or(0, |_| state.unuploaded);
        self.metrics.unuploaded_bytes.set(gauge(waits));
        let age = oldest.map_or(0, |oldest| self.env.clock.wall().since(oldest));
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        self.metrics.unuploaded_age_seconds.set(age.as_secs_f64());
    }
}

/// Bytes that may wait for the WAL thread: the buffer being filled has its room too.
fn most_waiting(config: &Config) -> u64 {
    config.waiting.0.saturating_sub(ARENA_BYTES)
}

/// KiB that may wait at a time by turns.
fn places(config: &Config) -> usize {
    let kib = usize::try_from(most_waiting(config) / 1024).unwrap_or(usize::MAX);
    kib.clamp(1, Semaphore::MAX_PERMITS)
}

impl State {
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.segments.values().find_map(|segment| segment.first_append_ms)
    }

    pub(super) fn at_risk(&self) -> AtRisk {
        let mut risk = AtRisk { oldest_append_ms: self.oldest(), ..AtRisk::default() };
        for segment in self.segments.values() {
            for (partition, bytes) in &segment.partitions {
                *risk.partitions.entry(*partition).or_default() += bytes;
                risk.bytes += bytes;
            }
        }
        risk
    }
}
