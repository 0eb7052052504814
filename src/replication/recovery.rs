//! Where the segments of a dead incarnation end (correctness.md 4.4, R1-R3). Pure.
//!
//! Owns: whom to ask, whose answer counts, the lengths. Does not own: fencing, upload, the seal.
//! Invariants: a length is the longest whole prefix of a fenced member that is not suspect, or
//! what the successor's header says; no segment is decided without such a member; two members
//! that differ within their common prefix stop everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    env::bugs::{Bug, Bugs},
    types::{SegmentId, StorageId},
    wal::{OpenSegment, Previous},
};

/// What recovery learns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "for ensembles of several"))]
pub(crate) enum Event {
    /// Begin.
    Start,
    /// A member's answer to `Ask`, or that none will come for now.
    Answered { segment: SegmentId, member: StorageId, answer: Answer },
    /// A member's answer to `AskCrc`.
    Crc { segment: SegmentId, member: StorageId, entries: u64, crc: u32 },
    /// The wait for more answers is over (500 ms).
    WaitOver,
}

/// A member's answer; its segment is fenced then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "for ensembles of several"))]
pub(crate) enum Answer {
    /// What it holds.
    Report(Report),
    /// It never had this segment: another disk under an old name (H10).
    NotMember,
    /// No answer.
    Unreachable,
}

/// What a fenced member holds of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Whole entries.
    pub(crate) entries: u64,
    /// CRC of the last of them.
    pub(crate) crc: u32,
    /// What its header names.
    pub(crate) previous: Option<Previous>,
    /// Its end is not evidence of absence.
    pub(crate) suspect: bool,
}

/// What recovery wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Fence and report.
    Ask { segment: SegmentId, member: StorageId },
    /// The CRC of the entry before `entries`.
    AskCrc { segment: SegmentId, member: StorageId, entries: u64 },
    /// Every end, oldest first. Final.
    Decided(Vec<Decision>),
    /// These have no member to be believed; decided when one answers.
    Blocked { segments: Vec<SegmentId> },
    /// Two members hold different entries. Final.
    Diverged { segment: SegmentId },
}

/// A segment's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) segment: SegmentId,
    /// Its entries, the header among them; 0 when nothing in it counts.
    pub(crate) entries: u64,
    /// Who holds all of them.
    pub(crate) holders: Vec<StorageId>,
}

/// The state machine.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    segments: BTreeMap<SegmentId, Asked>,
    wait_over: bool,
    blocked: Vec<SegmentId>,
    over: bool,
}

#[derive(Clone, Debug, Default)]
struct Asked {
    answers: BTreeMap<StorageId, Option<Answer>>,
    crcs: BTreeMap<(StorageId, u64), Option<u32>>,
    bugs: Bugs,
}

enum Agreement {
    Agreed,
    Open,
    Diverged,
}

impl Recovery {
    /// Of all segments that the metadata marks as recovering for one incarnation.
    pub(crate) fn new(segments: &[OpenSegment]) -> Self {
        let asked = |open: &OpenSegment| {
            let answers = open.ensemble.iter().map(|member| (member.storage, None)).collect();
            (open.id, Asked { answers, ..Asked::default() })
        };
        let segments = segments.iter().map(asked).collect();
        Self { segments, wait_over: false, blocked: Vec::new(), over: false }
    }

    /// The same, with mistakes.
    pub(crate) fn with_bugs(mut self, bugs: Bugs) -> Self {
        self.segments.values_mut().for_each(|asked| asked.bugs = bugs);
        self
    }

    /// Advances by one event.
    pub(crate) fn apply(&mut self, event: Event, effects: &mut Vec<Effect>) {
        if self.over {
            return;
        }
        match event {
            Event::Start => {
                for (segment, asked) in &self.segments {
                    for member in asked.answers.keys() {
                        effects.push(Effect::Ask { segment: *segment, member: *member });
                    }
                }
            }
            Event::Answered { segment, member, answer } => {
                let asked = self.segments.get_mut(&segment);
                if let Some(slot) = asked.and_then(|asked| asked.answers.get_mut(&member)) {
                    *slot = Some(answer);
                }
            }
            Event::Crc { segment, member, entries, crc } => {
                if let Some(asked) = self.segments.get_mut(&segment) {
                    asked.crcs.insert((member, entries), Some(crc));
                }
            }
            Event::WaitOver => self.wait_over = true,
        }
        self.settle(effects);
    }

    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let wait_over = self.wait_over;
        let mut agreed = self.segments.values().all(|asked| asked.ready(wait_over));
        for (segment, asked) in &mut self.segments {
            match asked.compare(*segment, effects) {
                Agreement::Agreed => {}
                Agreement::Open => agreed = false,
                Agreement::Diverged => {
                    self.over = true;
                    effects.push(Effect::Diverged { segment: *segment });
                    return;
                }
            }
        }
        if !agreed {
            return;
        }
        let (decisions, blocked) = self.decide();
        if blocked.is_empty() {
            self.over = true;
            effects.push(Effect::Decided(decisions));
        } else if blocked != self.blocked {
            self.blocked.clone_from(&blocked);
            effects.push(Effect::Blocked { segments: blocked });
        }
    }

    /// R3: newest to oldest along the chain of headers; and who would have to answer first.
    fn decide(&self) -> (Vec<Decision>, Vec<SegmentId>) {
        let mut chain = Chain::Unseen;
        let (mut decisions, mut blocked) = (Vec::new(), Vec::new());
        for (segment, asked) in self.segments.iter().rev() {
            let on_chain = chain.length_of(*segment, asked.longest());
            let entries = on_chain.unwrap_or(0);
            if entries > 0 {
                chain = asked.previous().map_or(Chain::Ended, Chain::Link);
            }
            let usable = asked.usable();
            let holders = usable.filter(|(_, report)| report.entries >= entries);
            let holders: Vec<_> = holders.map(|(member, _)| member).collect();
            if on_chain.is_some() && holders.is_empty() {
                blocked.push(*segment);
            }
            // A header alone is no content.
            let entries = if entries > 1 { entries } else { 0 };
            decisions.push(Decision { segment: *segment, entries, holders });
        }
        decisions.reverse();
        blocked.reverse();
        (decisions, blocked)
    }
}

/// What the newer segments say about the older ones.
enum Chain {
    /// None of them has content.
    Unseen,
    /// The oldest of them names its predecessor.
    Link(Previous),
    /// The oldest of them has none.
    Ended,
}

impl Chain {
    /// A segment's length; `None` beside the chain: an abandoned spare (H16).
    fn length_of(&self, segment: SegmentId, longest: u64) -> Option<u64> {
        match self {
            Self::Unseen => Some(longest),
            Self::Link(previous) if previous.segment == segment => Some(previous.entries),
            // Older than a predecessor that is sealed: cannot be, as segments are sealed in
            // order; the seal record would refuse it.
            Self::Link(previous) if previous.segment > segment => Some(longest),
            Self::Link(_) | Self::Ended => None,
        }
    }
}

impl Asked {
    fn usable(&self) -> impl Iterator<Item = (StorageId, &Report)> {
        let believed = self.bugs.has(Bug::SuspectBelieved);
        self.answers.iter().filter_map(move |(member, answer)| match answer {
            Some(Answer::Report(report)) if !report.suspect || believed => Some((*member, report)),
            Some(Answer::Report(_) | Answer::NotMember | Answer::Unreachable) | None => None,
        })
    }

    fn longest(&self) -> u64 {
        let lengths = self.usable().map(|(_, report)| report.entries);
        let shortest = self.bugs.has(Bug::ShortestDecides);
        if shortest { lengths.min() } else { lengths.max() }.unwrap_or(0)
    }

    fn previous(&self) -> Option<Previous> {
        self.usable().find_map(|(_, report)| report.previous)
    }

    /// R2: enough answers to go on.
    fn ready(&self, wait_over: bool) -> bool {
        let all = self.answers.values().all(Option::is_some);
        let mut ends = BTreeSet::new();
        let twice = self.usable().any(|(_, report)| !ends.insert((report.entries, report.crc)));
        all || twice || (wait_over && self.usable().next().is_some())
    }

    /// Compares every usable member with the longest at their common length.
    fn compare(&mut self, segment: SegmentId, effects: &mut Vec<Effect>) -> Agreement {
        let usable: Vec<_> =
            self.usable().map(|(member, report)| (member, report.entries, report.crc)).collect();
        let longest = usable.iter().max_by_key(|(_, entries, _)| *entries);
        let Some(&(longest, most, last)) = longest else { return Agreement::Agreed };
        let mut agreement = Agreement::Agreed;
        for (_, entries, crc) in usable {
            if entries == 0 {
                continue;
            }
            let other = if entries == most {
                Some(last)
            } else {
                let known = self.crcs.entry((longest, entries));
                *known.or_insert_with(|| {
                    effects.push(Effect::AskCrc { segment, member: longest, entries });
                    None
                })
            };
            match other {
                Some(other) if other == crc => {}
                Some(_) => return Agreement::Diverged,
                None => agreement = Agreement::Open,
            }
        }
        agreement
    }
}
