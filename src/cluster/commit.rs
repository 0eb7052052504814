//! The fate of one entry: what to ask the bucket next, and what its answers prove.
//!
//! Owns: the loop of correctness.md 4.2 as a pure core. Does not own: requests, the state.
//! Invariants: the bytes are frozen, only `Step::Put` writes them (H29); a put that is not
//! `Done` proves nothing (H28); behind the floor a key proves nothing (H32, H32b), so the floor
//! is read after the key, and after a put too unless little time has passed since the state before
//! the entry was the newest: how long the put itself took says nothing, for whoever slept before it
//! may write where the log was; the entry is never declared failed while it may still take effect.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    env::bugs::{Bug, Bugs},
    types::MetadataIndex,
};

/// An entry on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    index: MetadataIndex,
    commit_id: Uuid,
    /// When the state it follows was known to be the newest, on the boot clock.
    known_since: Duration,
    /// A put done within this of then cannot have met a floor that passed it.
    safe_for: Duration,
    asked: Asked,
    bugs: Bugs,
}

/// What was asked last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    Put,
    Key,
    /// The floor, after what the put or the key said.
    Floor(Said),
    Pause {
        put: bool,
    },
}

/// What the key said before the floor was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Said {
    Ours,
    Other { epoch: u64 },
    Absent,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Put the frozen bytes where no object is.
    Put,
    /// Get the entry's key.
    ReadKey,
    /// Get the floor.
    ReadFloor,
    /// Wait a moment.
    Pause,
    /// Its fate is known, or never will be.
    End(End),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// It is in the log.
    Committed,
    /// Another entry has its place; it never takes effect.
    Lost {
        /// The other's epoch.
        epoch: u64,
    },
    /// Nobody can tell any more.
    BehindFloor,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    /// The put was done for certain.
    Stored,
    /// The put ended any other way.
    NotStored,
    /// The key holds this entry.
    Holds { commit_id: Uuid, epoch: u64 },
    /// The key holds nothing.
    Holdless,
    /// The floor.
    Floor(MetadataIndex),
    /// The read did not succeed.
    ReadFailed,
    /// The moment is over.
    Paused,
}

impl Attempt {
    /// Begins with `Step::Put`.
    pub(super) fn new(
        index: MetadataIndex,
        commit_id: Uuid,
        known_since: Duration,
        safe_for: Duration,
    ) -> Self {
        Self { index, commit_id, known_since, safe_for, asked: Asked::Put, bugs: Bugs::NONE }
    }

    /// The same, with mistakes.
    pub(super) fn with_bugs(self, bugs: Bugs) -> Self {
        Self { bugs, ..self }
    }

    /// The next step after `event`, at `now` on the boot clock.
    pub(super) fn next(&mut self, event: Event, now: Duration) -> Step {
        let (asked, step) = match (self.asked, event) {
            (Asked::Put, Event::Stored) => {
                let quick = now.saturating_sub(self.known_since) < self.safe_for;
                if quick || self.bugs.has(Bug::FloorUnreadAfterCreate) {
                    return Step::End(End::Committed);
                }
                (Asked::Floor(Said::Ours), Step::ReadFloor)
            }
            (Asked::Put, _) if self.bugs.has(Bug::RefusedIsLost) => {
                return Step::End(End::Lost { epoch: u64::MAX });
            }
            (Asked::Put, _) => (Asked::Key, Step::ReadKey),
            (Asked::Key, Event::Holds { commit_id, epoch }) => {
                let ours = commit_id == self.commit_id;
                let said = if ours { Said::Ours } else { Said::Other { epoch } };
                if self.bugs.has(Bug::FloorUnreadAfterKey) {
                    let end = if ours { End::Committed } else { End::Lost { epoch } };
                    return Step::End(end);
                }
                (Asked::Floor(said), Step::ReadFloor)
            }
            (Asked::Key, Event::Holdless) if self.bugs.has(Bug::AbsentIsLost) => {
                return Step::End(End::Lost { epoch: u64::MAX });
            }
            (Asked::Key, Event::Holdless) => (Asked::Floor(Said::Absent), Step::ReadFloor),
            (Asked::Key, _) => (Asked::Pause { put: false }, Step::Pause),
            (Asked::Floor(_), Event::Floor(floor)) if floor >= self.index => {
                return Step::End(End::BehindFloor);
            }
            (Asked::Floor(Said::Ours), Event::Floor(_)) => return Step::End(End::Committed),
            (Asked::Floor(Said::Other { epoch }), Event::Floor(_)) => {
                return Step::End(End::Lost { epoch });
            }
            (Asked::Floor(Said::Absent), Event::Floor(_)) => {
                (Asked::Pause { put: true }, Step::Pause)
            }
            // Reading the key again is harmless and keeps "the floor after the key".
            (Asked::Floor(_), _) => (Asked::Pause { put: false }, Step::Pause),
            (Asked::Pause { put: true }, _) => (Asked::Put, Step::Put),
            (Asked::Pause { put: false }, _) => (Asked::Key, Step::ReadKey),
        };
        self.asked = asked;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(10_000);

    fn attempt() -> Attempt {
        let safe_for = Duration::from_secs(900);
        Attempt::new(MetadataIndex(5), Uuid::from_u128(1), NOW, safe_for)
    }

    /// The step after the last of `events`.
    fn after(events: &[Event]) -> Step {
        let mut attempt = attempt();
        events.iter().fold(Step::Put, |_, event| attempt.next(*event, NOW))
    }

    const OURS: Event = Event::Holds { commit_id: Uuid::from_u128(1), epoch: 2 };
    const OTHERS: Event = Event::Holds { commit_id: Uuid::from_u128(9), epoch: 3 };
    const LOW: Event = Event::Floor(MetadataIndex(4));
    const AT: Event = Event::Floor(MetadataIndex(5));

    #[test]
    fn a_stored_entry_is_committed_at_once() {
        assert_eq!(after(&[Event::Stored]), Step::End(End::Committed));
    }

    #[test]
    fn a_slow_stored_entry_is_committed_only_above_the_floor() {
        for (floor, end) in [(LOW, End::Committed), (AT, End::BehindFloor)] {
            let mut attempt = attempt();
            assert_eq!(attempt.next(Event::Stored, LONG), Step::ReadFloor);
            assert_eq!(attempt.next(floor, LONG), Step::End(end));
        }
    }

    #[test]
    fn a_lost_answer_is_resolved_by_the_key() {
        assert_eq!(after(&[Event::NotStored]), Step::ReadKey);
        assert_eq!(after(&[Event::NotStored, OURS]), Step::ReadFloor);
        assert_eq!(after(&[Event::NotStored, OURS, LOW]), Step::End(End::Committed));
    }

    #[test]
    fn anothers_entry_in_its_place_means_lost() {
        let end = after(&[Event::NotStored, OTHERS, LOW]);
        assert_eq!(end, Step::End(End::Lost { epoch: 3 }));
    }

    #[test]
    fn behind_the_floor_neither_key_nor_content_nor_absence_proves_anything() {
        for said in [OURS, OTHERS, Event::Holdless] {
            assert_eq!(after(&[Event::NotStored, said, AT]), Step::End(End::BehindFloor));
        }
    }

    #[test]
    fn absence_means_the_same_bytes_again_never_failure() {
        let absent = [Event::NotStored, Event::Holdless, LOW];
        assert_eq!(after(&absent), Step::Pause);
        let again = [Event::NotStored, Event::Holdless, LOW, Event::Paused];
        assert_eq!(after(&again), Step::Put);
    }

    #[test]
    fn a_failed_read_is_read_again_and_writes_nothing() {
        for failed in [
            &[Event::NotStored, Event::ReadFailed][..],
            &[Event::NotStored, OURS, Event::ReadFailed],
        ] {
            assert_eq!(after(failed), Step::Pause);
            let again = [failed, &[Event::Paused]].concat();
            assert_eq!(after(&again), Step::ReadKey);
        }
    }
}
