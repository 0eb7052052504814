//! One holder of segments (correctness.md 4.3 S2, 4.4 R1). Pure.
//!
//! Owns: which entry is accepted next, what is acknowledged, fences. Does not own: the disk.
//! Invariants: an entry is accepted only as the next of an unfenced segment; a fence and the
//! length answered with it are one step (H5): after the answer nothing more is acknowledged, and
//! it counts everything that was or will be; a fence is durable before it is answered (H6).

use std::collections::BTreeMap;

use crate::{
    env::bugs::{Bug, Bugs},
    types::SegmentId,
};

/// What happens to a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(test), expect(dead_code, reason = "for ensembles of several"))]
pub(crate) enum Event<C> {
    /// The writer sends an entry.
    Append { segment: SegmentId, number: u64, content: C },
    /// The disk holds this many entries of the segment for good.
    Synced { segment: SegmentId, entries: u64 },
    /// Recovery fences the segment and asks how long it is.
    FenceAndReport { segment: SegmentId },
    /// The fence is durable.
    FenceSynced { segment: SegmentId },
}

/// What the member wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Effect<C> {
    /// Write and sync, then say `Synced`.
    Write { segment: SegmentId, number: u64, content: C },
    /// Tell the writer.
    Ack { segment: SegmentId, entries: u64 },
    /// Tell the writer.
    Refuse { segment: SegmentId, refusal: Refusal },
    /// Make the fence durable, then say `FenceSynced`.
    SyncFence { segment: SegmentId },
    /// Tell recovery: fenced, with this many whole entries.
    Report { segment: SegmentId, entries: u64 },
}

/// Why an entry is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// The writer's incarnation is over.
    Fenced,
    /// An entry before it is missing.
    NotNext { next: u64 },
}

/// The state machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    segments: BTreeMap<SegmentId, Held>,
    bugs: Bugs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Held {
    accepted: u64,
    synced: u64,
    fenced: bool,
    fence_durable: bool,
    asked: bool,
}

impl Member {
    /// The same, with mistakes.
    pub(crate) fn with_bugs(self, bugs: Bugs) -> Self {
        Self { bugs, ..self }
    }

    /// Whether an entry of the segment would be accepted: the round of a barrier (4.7).
    pub(crate) fn accepts(&self, segment: SegmentId) -> bool {
        self.segments.get(&segment).is_none_or(|held| !held.fenced)
    }

    /// Takes up a segment as a scan found it after a restart.
    #[cfg_attr(not(test), expect(dead_code, reason = "for ensembles of several"))]
    pub(crate) fn restore(&mut self, segment: SegmentId, entries: u64, fenced: bool) {
        let held = Held { accepted: entries, synced: entries, fenced, ..Held::default() };
        self.segments.insert(segment, Held { fence_durable: fenced, ..held });
    }

    /// Forgets a trimmed segment.
    pub(crate) fn forget(&mut self, segment: SegmentId) {
        self.segments.remove(&segment);
    }

    /// Advances by one event.
    pub(crate) fn apply<C>(&mut self, event: Event<C>, effects: &mut Vec<Effect<C>>) {
        match event {
            Event::Append { segment, number, content } => {
                let held = self.segments.entry(segment).or_default();
                if held.fenced {
                    effects.push(Effect::Refuse { segment, refusal: Refusal::Fenced });
                } else if number == held.accepted {
                    held.accepted += 1;
                    effects.push(Effect::Write { segment, number, content });
                } else if number < held.accepted {
                    let early = self.bugs.has(Bug::AckOfAccepted);
                    let entries = if early { held.accepted } else { held.synced };
                    effects.push(Effect::Ack { segment, entries });
                } else {
                    let refusal = Refusal::NotNext { next: held.accepted };
                    effects.push(Effect::Refuse { segment, refusal });
                }
            }
            Event::Synced { segment, entries } => {
                let held = self.segments.entry(segment).or_default();
                assert!(entries <= held.accepted, "only accepted entries are written");
                held.synced = held.synced.max(entries);
                effects.push(Effect::Ack { segment, entries: held.synced });
                held.report(segment, self.bugs, effects);
            }
            Event::FenceAndReport { segment } => {
                let held = self.segments.entry(segment).or_default();
                held.fenced = true;
                held.asked = true;
                held.fence_durable |= self.bugs.has(Bug::FenceNotSynced);
                if held.fence_durable {
                    held.report(segment, self.bugs, effects);
                } else {
                    effects.push(Effect::SyncFence { segment });
                }
            }
            Event::FenceSynced { segment } => {
                let held = self.segments.entry(segment).or_default();
                held.fence_durable = held.fenced;
                held.report(segment, self.bugs, effects);
            }
        }
    }
}

impl Held {
    fn report<C>(&mut self, segment: SegmentId, bugs: Bugs, effects: &mut Vec<Effect<C>>) {
        // Entries on their way to the disk may still be acknowledged: the answer waits for them.
        let at_rest = self.accepted == self.synced || bugs.has(Bug::ReportBeforeSynced);
        if self.asked && self.fence_durable && at_rest {
            self.asked = false;
            effects.push(Effect::Report { segment, entries: self.synced });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Incarnation;

    const S: SegmentId = SegmentId { incarnation: Incarnation(1), sequence: 0 };

    fn step(member: &mut Member, event: Event<()>) -> Vec<Effect<()>> {
        let mut effects = Vec::new();
        member.apply(event, &mut effects);
        effects
    }

    fn append(number: u64) -> Event<()> {
        Event::Append { segment: S, number, content: () }
    }

    #[test]
    fn only_the_next_entry_is_accepted() {
        let mut member = Member::default();
        let refusal = Refusal::NotNext { next: 0 };
        assert_eq!(step(&mut member, append(1)), [Effect::Refuse { segment: S, refusal }]);
        let write = |number| Effect::Write { segment: S, number, content: () };
        assert_eq!(step(&mut member, append(0)), [write(0)]);
        assert_eq!(step(&mut member, append(0)), [Effect::Ack { segment: S, entries: 0 }]);
        let synced = Event::Synced { segment: S, entries: 1 };
        assert_eq!(step(&mut member, synced), [Effect::Ack { segment: S, entries: 1 }]);
    }

    #[test]
    fn the_report_waits_for_the_fence_and_for_entries_on_their_way() {
        let mut member = Member::default();
        step(&mut member, append(0));
        let fence = Event::FenceAndReport { segment: S };
        assert_eq!(step(&mut member, fence.clone()), [Effect::SyncFence { segment: S }]);
        assert!(!member.accepts(S));
        let refusal = Refusal::Fenced;
        assert_eq!(step(&mut member, append(1)), [Effect::Refuse { segment: S, refusal }]);
        assert_eq!(step(&mut member, Event::FenceSynced { segment: S }), []);
        let report = Effect::Report { segment: S, entries: 1 };
        let ack = Effect::Ack { segment: S, entries: 1 };
        let synced = Event::Synced { segment: S, entries: 1 };
        assert_eq!(step(&mut member, synced), [ack, report.clone()]);
        assert_eq!(step(&mut member, fence), [report], "asked again, answered again");
    }

    #[test]
    fn a_fence_outlives_a_restart() {
        let mut member = Member::default();
        member.restore(S, 3, true);
        let refusal = Refusal::Fenced;
        assert_eq!(step(&mut member, append(3)), [Effect::Refuse { segment: S, refusal }]);
        let report = Effect::Report { segment: S, entries: 3 };
        assert_eq!(step(&mut member, Event::FenceAndReport { segment: S }), [report]);
    }
}
