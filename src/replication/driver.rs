//! The WAL thread: takes everything waiting as one entry, writes, syncs, commits. No linger.
//!
//! Owns: the cores, the open files. Does not own: making files (`files`), admission (`shared`).
//! Invariants: entry n+1 is written only after n's sync returned (H11b); after the first error
//! nothing is committed (H12); a roll needs an open spare and a bucket that answers.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use crate::{
    env::{disk::DiskFile, task},
    types::{ClusterId, Millis, SegmentId, StorageId},
    wal::{self, OpenSegment, SegmentHeader, Written},
};

use super::{
    ClosedSegment, EndReason,
    commit::Resolver,
    group::Group,
    member::{self, Member},
    resident::ResidentEntry,
    shared::{Shared, State},
    writer::{self, Content, Writer},
};

/// How often a bucket that was away is looked at again, and the age of what waits is measured.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

type Payload = Arc<Group>;

pub(super) struct Driver {
    shared: Arc<Shared>,
    cluster: ClusterId,
    me: StorageId,
    core: Writer<Payload>,
    member: Member,
    files: BTreeMap<SegmentId, wal::Writer>,
    /// Entries that are written and not yet committed.
    written: VecDeque<(Written, Millis)>,
    /// When the open segment got its first batch, by the boot clock.
    first_batch: Option<Duration>,
    open_bytes: u64,
    drained: bool,
}

/// What a look finds.
enum Look {
    Work(Work),
    /// Nothing to do until somebody rings, or for so long.
    Wait(Option<Duration>),
    Over(EndReason),
}

/// What one turn has to do.
#[derive(Default)]
struct Work {
    spares: Vec<(OpenSegment, wal::Writer)>,
    part: Option<(SegmentId, Arc<dyn DiskFile>)>,
    barrier: Option<Resolver>,
    roll: bool,
    group: Option<Group>,
    drain: bool,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, cluster: ClusterId, me: StorageId) -> Self {
        let bugs = shared.env.bugs;
        Self {
            shared,
            cluster,
            me,
            core: Writer::new().with_bugs(bugs),
            member: Member::default().with_bugs(bugs),
            files: BTreeMap::new(),
            written: VecDeque::new(),
            first_batch: None,
            open_bytes: 0,
            drained: false,
        }
    }

    /// Works until the log ends or nobody holds it.
    pub(super) fn run(mut self) {
        while let Some(work) = self.next() {
            self.work(work);
        }
    }

    /// The same without ever blocking.
    pub(super) async fn take_turns(mut self) {
        let shared = self.shared.clone();
        loop {
            let look = self.look(&mut shared.state());
            match look {
                Look::Work(work) => {
                    task::lag().await;
                    self.work(work);
                }
                Look::Wait(limit) => {
                    shared.work.rung(limit).await;
                    if limit.is_some() {
                        shared.measure(&shared.state());
                    }
                }
                Look::Over(reason) => return self.end(reason),
            }
        }
    }

    /// Waits for work; `None` when it is over.
    fn next(&mut self) -> Option<Work> {
        let shared = self.shared.clone();
        let mut state = shared.state();
        loop {
            match self.look(&mut state) {
                Look::Work(work) => return Some(work),
                Look::Wait(limit) => {
                    state = shared.work.wait(state, limit);
                    if limit.is_some() {
                        shared.measure(&state);
                    }
                }
                Look::Over(reason) => {
                    drop(state);
                    self.end(reason);
                    return None;
                }
            }
        }
    }

    fn work(&mut self, work: Work) {
        if let Err(error) = self.turn(work) {
            self.shared.metrics.disk_errors.inc();
            // Whoever runs the broker says it as an error, with what happens next.
            tracing::debug!(%error, "wal disk");
            self.end(EndReason::Disk(error.to_string()));
        }
    }

    fn look(&self, state: &mut State) -> Look {
        if state.asked.gone || state.end.is_some() {
            return Look::Over(EndReason::Stopped);
        }
        if let Some(why) = state.asked.failed.take() {
            return Look::Over(EndReason::Disk(why));
        }
        let work = self.collect(state);
        if !work.is_idle() {
            return Look::Work(work);
        }
        if state.asked.stop {
            return Look::Over(EndReason::Stopped);
        }
        if state.oldest().is_none() && state.waiting.bytes() == 0 {
            return Look::Wait(None);
        }
        let age = self.first_batch.map(|first| self.shared.env.clock.boot().saturating_sub(first));
        let left = age.map(|age| self.shared.config.roll_after.saturating_sub(age));
        let limit = left.filter(|left| !left.is_zero()).unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        Look::Wait(Some(limit))
    }

    fn collect(&self, state: &mut State) -> Work {
        let mut work = Work {
            spares: state.files.ready.drain(..).collect(),
            part: state.files.ready_part.take(),
            ..Work::default()
        };
        if !work.spares.is_empty() || work.part.is_some() {
            return work;
        }
        let drain = state.asked.drain && !self.drained && state.waiting.bytes() == 0;
        let Some(open) = self.core.active() else {
            work.drain = drain;
            return work;
        };
        work.barrier = state.barrier.take();
        let fits = self.fits(state.waiting.next_bytes().unwrap_or(0));
        if self.first_batch.is_none() && state.waiting.bytes() == 0 {
            // Nothing to close.
            state.asked.roll = false;
        }
        work.roll = self.roll_due(state, fits);
        if work.roll {
            state.asked.roll = false;
            return work;
        }
        if fits {
            work.group = state.waiting.take();
            self.shared.leaves_queue(state, work.group.is_some());
        }
        let scarce = state.room < self.shared.config.roll_bytes.0 / 4 && !self.may_roll();
        if (!fits || scarce) && state.files.wanted_part.is_none() && self.lacks_next_part(open.id) {
            state.files.wanted_part = Some((open.id, open.nonce));
            self.shared.files.ring();
        }
        work.drain = drain && work.group.is_none();
        work
    }

    fn fits(&self, payload_bytes: u64) -> bool {
        let open = self.core.active().and_then(|open| self.files.get(&open.id));
        open.is_some_and(|file| file.fits(payload_bytes))
    }

    /// No part was added ahead of the one written now.
    fn lacks_next_part(&self, open: SegmentId) -> bool {
        self.files.get(&open).is_some_and(|file| !file.has_next_part())
    }

    fn may_roll(&self) -> bool {
        self.core.has_spare() && !(self.shared.store_away)()
    }

    fn roll_due(&self, state: &State, fits: bool) -> bool {
        let config = &self.shared.config;
        let Some(first) = self.first_batch else { return false };
        if state.asked.roll {
            return self.core.has_spare();
        }
        let old = self.shared.env.clock.boot().saturating_sub(first) >= config.roll_after;
        (old || !fits || self.open_bytes >= config.roll_bytes.0) && self.may_roll()
    }

    fn turn(&mut self, work: Work) -> io::Result<()> {
        for (open, file) in work.spares {
            self.files.insert(open.id, file);
            self.drive(writer::Event::Spare(open))?;
        }
        if let Some((segment, file)) = work.part
            && let Some(open) = self.files.get_mut(&segment)
        {
            open.add_file(file)?;
        }
        if let Some(barrier) = work.barrier {
            self.barrier(barrier)?;
        }
        if work.roll {
            self.drive(writer::Event::Roll)?;
        }
        if let Some(group) = work.group {
            self.first_batch.get_or_insert_with(|| self.shared.env.clock.boot());
            self.drive(writer::Event::Append(Arc::new(group)))?;
        }
        if work.drain {
            self.drained = true;
            self.drive(writer::Event::Drain)?;
            let raw: Vec<_> = self.shared.state().files.raw.drain(..).collect();
            raw.into_iter().for_each(|open| self.closed(open.id, open.nonce, 0));
        }
        let open = self.core.active().map(|open| open.id);
        let room = open.and_then(|open| self.files.get(&open)).map_or(0, wal::Writer::room);
        let mut state = self.shared.state();
        state.room = room;
        state.open = open.is_some();
        Ok(())
    }

    /// For an ensemble of one the local member's acceptance is the round (4.7).
    fn barrier(&mut self, barrier: Resolver) -> io::Result<()> {
        match self.core.active() {
            Some(open) if open.ensemble.len() == 1 => {
                if self.member.accepts(open.id) {
                    barrier.committed(self.shared.env.clock.boot());
                }
                Ok(())
            }
            _ => self.drive(writer::Event::Append(Arc::new(Group::barrier(barrier)))),
        }
    }

    /// Feeds the core and does what it wants done.
    fn drive(&mut self, event: writer::Event<Payload>) -> io::Result<()> {
        let mut effects = Vec::new();
        self.core.apply(event, &mut effects);
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                writer::Effect::Send { segment, number, lac, content } => {
                    for event in self.send(segment, number, lac, content)? {
                        let mut more = Vec::new();
                        self.core.apply(event, &mut more);
                        // A commit goes before what was to be sent after it.
                        more.into_iter().rev().for_each(|effect| effects.push_front(effect));
                    }
                }
                writer::Effect::Committed { segment, number, payload } => {
                    self.commit(segment, number, &payload);
                }
                writer::Effect::Closed { segment, entries } => self.close(segment, entries),
                writer::Effect::Drained => {}
                writer::Effect::Ended => self.end(EndReason::Fenced),
            }
        }
        Ok(())
    }

    /// Gives an entry to the one member there is, the local disk.
    fn send(
        &mut self,
        segment: SegmentId,
        number: u64,
        lac: u64,
        content: Content<Payload>,
    ) -> io::Result<Vec<writer::Event<Payload>>> {
        let mut events = Vec::new();
        let mut effects = Vec::new();
        self.member.apply(member::Event::Append { segment, number, content }, &mut effects);
        while let Some(effect) = effects.pop() {
            match effect {
                member::Effect::Write { segment, number, content } => {
                    self.write(segment, lac, content)?;
                    let synced = member::Event::Synced { segment, entries: number + 1 };
                    self.member.apply(synced, &mut effects);
                }
                member::Effect::Ack { segment, entries } => {
                    events.push(writer::Event::Synced { segment, member: self.me, entries });
                }
                member::Effect::Refuse { .. } => events.push(writer::Event::End),
                member::Effect::SyncFence { .. } | member::Effect::Report { .. } => {}
            }
        }
        Ok(events)
    }

    fn write(&mut self, segment: SegmentId, lac: u64, content: Content<Payload>) -> io::Result<()> {
        let clock = &self.shared.env.clock;
        let (begun, now) = (clock.boot(), clock.wall());
        let file = self.files.get_mut(&segment).ok_or(io::ErrorKind::NotFound)?;
        match content {
            Content::Header { previous, ensemble } => {
                let header = SegmentHeader { segment, cluster: self.cluster, previous, ensemble };
                let written = file.write_header(&header, now)?;
                file.sync()?;
                self.shared.account_header(segment, written.file_bytes);
                self.opened(written.file_bytes);
            }
            Content::Payload(group) => {
                let written = file.write_batches(lac, now, &group.parts, group.crc())?;
                file.sync()?;
                self.open_bytes += written.file_bytes;
                self.written.push_back((written, now));
                let metrics = &self.shared.metrics;
                metrics.entry_bytes.observe_count(group.bytes);
                let batches = group.batches.len().try_into().unwrap_or(u64::MAX);
                metrics.entry_batches.observe_count(batches);
            }
        }
        let took = self.shared.env.clock.boot().saturating_sub(begun);
        self.shared.metrics.sync_seconds.observe(took);
        Ok(())
    }

    /// A spare became the open segment.
    fn opened(&mut self, bytes: u64) {
        self.first_batch = None;
        self.open_bytes = bytes;
        let mut state = self.shared.state();
        state.files.spares = state.files.spares.saturating_sub(1);
        state.files.wanted_part = None;
        self.shared.tell_wants_spare(&state);
    }

    fn commit(&mut self, segment: SegmentId, number: u64, group: &Payload) {
        let at = self.shared.env.clock.boot();
        let written = self.written.pop_front();
        let (written, append_ms) = written.expect("an entry is written before it is committed");
        let entry = ResidentEntry { segment, number, append_ms, written, group: group.clone() };
        let evicted = self.shared.account(entry);
        group.committed(append_ms, written.position, at);
        for group in evicted {
            group.evicted();
        }
    }

    fn close(&mut self, id: SegmentId, entries: u64) {
        let nonce = self.files.remove(&id).map_or(0, |file| file.nonce());
        self.member.forget(id);
        self.closed(id, nonce, entries);
    }

    fn closed(&self, id: SegmentId, nonce: u64, entries: u64) {
        let mut state = self.shared.state();
        if !state.segments.contains_key(&id) {
            state.files.spares = state.files.spares.saturating_sub(1);
        }
        let segment = state.segments.entry(id).or_default();
        let bytes = if entries == 0 { 0 } else { segment.bytes };
        let first_append_ms = segment.first_append_ms;
        state.closed.push_back(ClosedSegment { id, nonce, entries, bytes, first_append_ms });
        self.shared.tell_wants_spare(&state);
        drop(state);
        self.shared.closed.notify_one();
    }

    /// The first reason counts. Whoever still waits learns that the fate is unknown.
    fn end(&mut self, reason: EndReason) {
        self.core.apply(writer::Event::End, &mut Vec::new());
        let mut state = self.shared.state();
        if state.end.is_some() {
            return;
        }
        state.end = Some(reason.clone());
        state.open = false;
        let waiting = (state.waiting.clear(), state.barrier.take());
        self.shared.tell_wants_spare(&state);
        drop(state);
        drop(waiting);
        self.core = Writer::new();
        self.shared.ended.send_replace(Some(reason));
        self.shared.files.ring();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A panic on this thread must not leave anybody waiting; elsewhere this changes nothing.
        self.end(EndReason::Disk("the wal thread is gone".to_owned()));
    }
}

impl Work {
    fn is_idle(&self) -> bool {
        let Self { spares, part, barrier, roll, group, drain } = self;
        let files = spares.is_empty() && part.is_none();
        files && barrier.is_none() && !roll && group.is_none() && !drain
    }
}
