//! The writer of one incarnation's segments (correctness.md 4.3, S0-S5). Pure.
//!
//! Owns: which segment is written, what every member must get, what is committed, where each
//! segment ends. Does not own: disks, wires, clocks, the payloads.
//! Invariants: an entry is committed when every member of its segment has synced it and all before
//! it; nothing sent in a segment is committed there once it is frozen (H4); spares are used in the
//! order of their sequence, a skipped one never; after `Ended` nothing happens any more; every spare
//! of a drained writer is closed, however late it comes: the drain waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    env::bugs::{Bug, Bugs},
    types::{SegmentId, StorageId},
    wal::{Member, OpenSegment, Previous},
};

/// What happens to the writer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(test), expect(dead_code, reason = "for ensembles of several"))]
pub(crate) enum Event<P> {
    /// The metadata log opened a segment, its files are ready.
    Spare(OpenSegment),
    /// One more entry.
    Append(P),
    /// A member holds this many entries, all synced.
    Synced { segment: SegmentId, member: StorageId, entries: u64 },
    /// A member is slow or dead: go on without it. An ensemble of one waits instead.
    Leave { member: StorageId },
    /// Close the segment once it is all committed and go on in a spare. Ignored without one, and
    /// while nothing but the header is written.
    Roll,
    /// Close everything, spares too.
    Drain,
    /// A member refused as fenced, or the own disk failed.
    End,
}

/// What the writer wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Effect<P> {
    /// To every member of the segment.
    Send { segment: SegmentId, number: u64, lac: u64, content: Content<P> },
    /// Every member has it.
    Committed { segment: SegmentId, number: u64, payload: P },
    /// The segment's end is decided; 0 entries when it was never used.
    Closed { segment: SegmentId, entries: u64 },
    /// Every segment is closed.
    Drained,
    /// No more acknowledgement, ever.
    Ended,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Content<P> {
    /// Entry 0.
    Header { previous: Option<Previous>, ensemble: Vec<Member> },
    /// Any other.
    Payload(P),
}

/// The state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writer<P> {
    active: Option<Active<P>>,
    spares: VecDeque<OpenSegment>,
    /// Appended while no entry can be sent.
    backlog: VecDeque<P>,
    previous: Option<Previous>,
    left: BTreeSet<StorageId>,
    draining: bool,
    over: bool,
    bugs: Bugs,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Active<P> {
    open: OpenSegment,
    sent: u64,
    synced: BTreeMap<StorageId, u64>,
    lac: u64,
    /// Payloads of the entries from `max(lac, 1)` to `sent`.
    unacknowledged: VecDeque<P>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Writing,
    /// Sends nothing more; left when all is committed.
    Rolling,
    /// Counts no acknowledgement any more; left when a spare without the bad member is there.
    Frozen,
}

impl<P: Clone> Writer<P> {
    /// Without a segment yet.
    pub(crate) fn new() -> Self {
        Self {
            active: None,
            spares: VecDeque::new(),
            backlog: VecDeque::new(),
            previous: None,
            left: BTreeSet::new(),
            draining: false,
            over: false,
            bugs: Bugs::NONE,
        }
    }

    /// The same, with mistakes.
    pub(crate) fn with_bugs(self, bugs: Bugs) -> Self {
        Self { bugs, ..self }
    }

    /// The segment written now.
    pub(crate) fn active(&self) -> Option<&OpenSegment> {
        self.active.as_ref().map(|active| &active.open)
    }

    /// Whether a roll would find a segment to go on in.
    pub(crate) fn has_spare(&self) -> bool {
        self.usable_spare().is_some()
    }

    /// Advances by one event.
    pub(crate) fn apply(&mut self, event: Event<P>, effects: &mut Vec<Effect<P>>) {
        if self.over {
            // One whose files were on their way when the drain began.
            if let (Event::Spare(open), true) = (event, self.draining) {
                effects.push(Effect::Closed { segment: open.id, entries: 0 });
            }
            return;
        }
        match event {
            Event::Spare(open) => self.spare(open),
            Event::Append(payload) => self.backlog.push_back(payload),
            Event::Synced { segment, member, entries } => {
                self.synced(segment, member, entries, effects);
            }
            Event::Leave { member } => self.leave(member),
            Event::Roll => self.roll(),
            Event::Drain => self.draining = true,
            Event::End => {
                self.over = true;
                self.draining = false;
                effects.push(Effect::Ended);
            }
        }
        while !self.over && self.settle(effects) {}
    }

    fn spare(&mut self, open: OpenSegment) {
        let newest = self.spares.back().or(self.active());
        assert!(
            newest.is_none_or(|newest| newest.id < open.id),
            "segments are opened in the order of their sequence"
        );
        self.spares.push_back(open);
    }

    fn synced(
        &mut self,
        segment: SegmentId,
        member: StorageId,
        entries: u64,
        effects: &mut Vec<Effect<P>>,
    ) {
        let any = self.bugs.has(Bug::AckOfOtherSegment);
        let is_it = |active: &&mut Active<P>| active.open.id == segment || any;
        let Some(active) = self.active.as_mut().filter(is_it) else { return };
        let Some(synced) = active.synced.get_mut(&member) else { return };
        assert!(entries <= active.sent, "a member cannot hold what was never sent");
        *synced = entries.max(*synced);
        if active.state == State::Frozen {
            return;
        }
        let lac = active.synced.values().copied().min().unwrap_or(0);
        for number in active.lac.max(1)..lac {
            let payload = active.unacknowledged.pop_front();
            let payload = payload.expect("a sent entry's payload is kept until it is committed");
            effects.push(Effect::Committed { segment, number, payload });
        }
        active.lac = lac;
    }

    fn leave(&mut self, member: StorageId) {
        self.left.insert(member);
        if let Some(active) = &mut self.active
            && active.synced.len() > 1
            && active.synced.contains_key(&member)
        {
            active.state = State::Frozen;
        }
    }

    fn roll(&mut self) {
        let spare = self.has_spare();
        if let Some(active) = &mut self.active
            && spare
            && active.sent > 1
            && active.state == State::Writing
        {
            active.state = State::Rolling;
        }
    }

    /// One step towards rest; false when there is nothing to do.
    fn settle(&mut self, effects: &mut Vec<Effect<P>>) -> bool {
        let Some(active) = &mut self.active else {
            if self.draining && self.backlog.is_empty() {
                self.close_all(effects);
                return false;
            }
            return self.open_next(VecDeque::new(), effects);
        };
        let committed = active.lac == active.sent;
        match active.state {
            State::Frozen => self.switch(effects),
            State::Rolling if committed => self.switch(effects),
            State::Rolling => false,
            State::Writing => {
                if let Some(payload) = self.backlog.pop_front() {
                    active.send(payload, effects);
                    return true;
                }
                if self.draining && committed {
                    self.close_all(effects);
                }
                false
            }
        }
    }

    /// Leaves the active segment for the next usable spare.
    fn switch(&mut self, effects: &mut Vec<Effect<P>>) -> bool {
        if self.usable_spare().is_none() {
            return false;
        }
        let again = self.close_active(effects);
        self.open_next(again, effects)
    }

    /// Ends the active segment at its committed length; what was not committed is to be re-sent.
    fn close_active(&mut self, effects: &mut Vec<Effect<P>>) -> VecDeque<P> {
        let Some(active) = self.active.take() else { return VecDeque::new() };
        let segment = active.open.id;
        // A header alone is no content: the chain goes on from the segment before (H16).
        let entries = if active.lac > 1 { active.lac } else { 0 };
        if entries > 0 {
            let missed = u64::from(self.bugs.has(Bug::OffByOneAtRoll));
            self.previous = Some(Previous { segment, entries: entries - missed });
        }
        effects.push(Effect::Closed { segment, entries });
        active.unacknowledged
    }

    fn usable_spare(&self) -> Option<usize> {
        let usable = |open: &OpenSegment| {
            let alone = open.ensemble.len() == 1;
            alone || !open.ensemble.iter().any(|member| self.left.contains(&member.storage))
        };
        self.spares.iter().position(usable)
    }

    fn open_next(&mut self, again: VecDeque<P>, effects: &mut Vec<Effect<P>>) -> bool {
        let Some(skipped) = self.usable_spare() else { return false };
        for spare in self.spares.drain(..skipped) {
            effects.push(Effect::Closed { segment: spare.id, entries: 0 });
        }
        let Some(open) = self.spares.pop_front() else { return false };
        let mut active = Active::new(open);
        effects.push(Effect::Send {
            segment: active.open.id,
            number: 0,
            lac: 0,
            content: Content::Header {
                previous: self.previous,
                ensemble: active.open.ensemble.clone(),
            },
        });
        for payload in again {
            active.send(payload, effects);
        }
        self.active = Some(active);
        true
    }

    fn close_all(&mut self, effects: &mut Vec<Effect<P>>) {
        self.close_active(effects);
        for spare in self.spares.drain(..) {
            effects.push(Effect::Closed { segment: spare.id, entries: 0 });
        }
        self.over = true;
        effects.push(Effect::Drained);
    }
}

impl<P: Clone> Active<P> {
    fn new(open: OpenSegment) -> Self {
        let synced = open.ensemble.iter().map(|member| (member.storage, 0)).collect();
        let unacknowledged = VecDeque::new();
        Self { open, sent: 1, synced, lac: 0, unacknowledged, state: State::Writing }
    }

    fn send(&mut self, payload: P, effects: &mut Vec<Effect<P>>) {
        let (segment, number, lac) = (self.open.id, self.sent, self.lac);
        self.unacknowledged.push_back(payload.clone());
        self.sent += 1;
        let content = Content::Payload(payload);
        effects.push(Effect::Send { segment, number, lac, content });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BrokerId, Incarnation};

    fn open(sequence: u64) -> OpenSegment {
        let (incarnation, storage) = (Incarnation(1), StorageId(uuid::Uuid::from_u128(1)));
        let member = Member { broker: BrokerId(1), storage, incarnation };
        OpenSegment { id: SegmentId { incarnation, sequence }, nonce: 1, ensemble: vec![member] }
    }

    #[test]
    fn a_spare_that_comes_after_the_drain_is_closed_unused() {
        let mut writer = Writer::<u8>::new();
        let mut effects = Vec::new();
        writer.apply(Event::Drain, &mut effects);
        assert_eq!(effects, [Effect::Drained]);
        effects.clear();
        writer.apply(Event::Spare(open(0)), &mut effects);
        assert_eq!(effects, [Effect::Closed { segment: open(0).id, entries: 0 }]);
    }

    #[test]
    fn a_spare_that_comes_after_the_end_is_left_to_recovery() {
        let mut writer = Writer::<u8>::new();
        let mut effects = Vec::new();
        writer.apply(Event::Drain, &mut effects);
        let mut ended = Writer::<u8>::new();
        for event in [Event::End, Event::Drain, Event::Spare(open(0))] {
            ended.apply(event, &mut effects);
        }
        assert_eq!(effects, [Effect::Drained, Effect::Ended]);
    }
}
