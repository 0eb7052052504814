//! Mistakes that can be put into the protocol on purpose, so that every layer of the proof can be
//! seen to catch something: each is one readable `if` where the mistake would be made.
//!
//! Owns: their names, and the set a part is built with. Does not own: the sites.
//! Invariant: production is built with none. A set comes from code alone: `Env::real()` has the
//! empty one, and no flag, variable, file or record can change it. `docs/testing.md` has the table
//! of what each would do to a user and which layer turns red.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// An entry is acknowledged before it is synced.
    AckBeforeSync,
    /// A failed sync is tried again, and the second try believed (H12).
    SyncTriedAgain,
    /// A sync goes to the segment's first file, whichever was written.
    SyncOfFirstFile,
    /// A segment is not noted in the folder's ledger, so nobody misses its files when they are lost.
    SegmentUnlisted,
    /// Two segments have the same nonce, so what a reused file held reads as the new one's.
    NonceReused,
    /// A torn tail is cut although a whole entry follows it (H13).
    CutBeforeValid,
    /// An entry's CRC is not checked when it is read back.
    EntryCrcUnchecked,
    /// The length a successor names is not compared with what was found.
    SuccessorIgnored,
    /// A repeated entry is acknowledged although the first is still on its way to the disk.
    AckOfAccepted,
    /// A fence is answered before it is durable (H6).
    FenceNotSynced,
    /// A member's length is told while entries it accepted are on their way (H5).
    ReportBeforeSynced,
    /// An acknowledgement counts for the segment written now, whichever it was for (H4).
    AckOfOtherSegment,
    /// The header after a roll names one entry too few.
    OffByOneAtRoll,
    /// A suspect member's length is believed (H11).
    SuspectBelieved,
    /// The shortest member decides where a segment ends (H7).
    ShortestDecides,
    /// A put whose condition did not hold, or whose answer was lost, is taken for a lost one (H28).
    RefusedIsLost,
    /// An entry that is not there is taken for one that will never be (H29).
    AbsentIsLost,
    /// Other bytes are written at an index whose fate is open (H29).
    ContentRewritten,
    /// The floor is not read after a slow create (H32).
    FloorUnreadAfterCreate,
    /// The floor is not read after a key (H32b).
    FloorUnreadAfterKey,
    /// Entries are deleted before the floor says so (H32).
    DeleteBeforeFloor,
    /// A starter goes on though the log has reached a higher epoch than its own (H30).
    EpochIgnored,
    /// A proposal takes effect before its entry is in the log (H31).
    EffectsBeforeCommit,
    /// The log start can move backwards.
    LogStartBackwards,
    /// A run that leaves a gap is published (H43).
    GapPublished,
    /// An object is published under an id nobody reserved (H46).
    UnreservedPublished,
    /// A run that moves to a manifest is no longer counted for its object (H48).
    MovedRunUncounted,
    /// A segment's files are given up before the record that publishes it (I19).
    TrimBeforePublish,
    /// Footers carry no producer state (H54).
    DedupNotInFooter,
    /// Producer state is taken as last folded, wherever that was (H54).
    ProducersOfWrongOffset,
    /// Retention deletes the run that is only partly expired by size.
    RetentionOneTooMany,
    /// The sweep deletes an object whose id is still reserved (H46).
    SweepOfReserved,
    /// An unlinked object is deleted without the grace for its readers (H44).
    PurgeWithoutGrace,
    /// The high watermark covers what is appended and not committed.
    HighWatermarkEarly,
    /// A retry is acknowledged before its original is committed (I11).
    DuplicateEarly,
    /// A commit of offsets is acknowledged before the log has it (I15).
    OffsetAckEarly,
    /// A commit of an older generation is taken (I16).
    GenerationIgnored,
    /// A cached block is found by its offset alone, whichever object it is of (H50).
    CacheKeyByOffset,
    /// A block from the bucket is cached without a look at its CRC (H50).
    FillCrcUnchecked,
}

impl Bug {
    /// Every one.
    pub const ALL: &[Self] = &[
        Self::AckBeforeSync,
        Self::SyncTriedAgain,
        Self::SyncOfFirstFile,
        Self::SegmentUnlisted,
        Self::NonceReused,
        Self::CutBeforeValid,
        Self::EntryCrcUnchecked,
        Self::SuccessorIgnored,
        Self::AckOfAccepted,
        Self::FenceNotSynced,
        Self::ReportBeforeSynced,
        Self::AckOfOtherSegment,
        Self::OffByOneAtRoll,
        Self::SuspectBelieved,
        Self::ShortestDecides,
        Self::RefusedIsLost,
        Self::AbsentIsLost,
        Self::ContentRewritten,
        Self::FloorUnreadAfterCreate,
        Self::FloorUnreadAfterKey,
        Self::DeleteBeforeFloor,
        Self::EpochIgnored,
        Self::EffectsBeforeCommit,
        Self::LogStartBackwards,
        Self::GapPublished,
        Self::UnreservedPublished,
        Self::MovedRunUncounted,
        Self::TrimBeforePublish,
        Self::DedupNotInFooter,
        Self::ProducersOfWrongOffset,
        Self::RetentionOneTooMany,
        Self::SweepOfReserved,
        Self::PurgeWithoutGrace,
        Self::HighWatermarkEarly,
        Self::DuplicateEarly,
        Self::OffsetAckEarly,
        Self::GenerationIgnored,
        Self::CacheKeyByOffset,
        Self::FillCrcUnchecked,
    ];

    fn bit(self) -> u64 {
        let place = Self::ALL.iter().position(|bug| *bug == self);
        place.and_then(|place| 1_u64.checked_shl(u32::try_from(place).ok()?)).unwrap_or(0)
    }
}

/// Which mistakes a part makes: none, but in a test that wants to see one caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bugs(u64);

impl Bugs {
    /// What production is built with.
    pub const NONE: Self = Self(0);

    /// One mistake alone.
    #[must_use]
    pub fn only(bug: Bug) -> Self {
        Self(bug.bit())
    }

    /// The same with one more.
    #[must_use]
    pub fn and(self, bug: Bug) -> Self {
        Self(self.0 | bug.bit())
    }

    /// Whether this mistake is made.
    #[must_use]
    pub fn has(self, bug: Bug) -> bool {
        self != Self::NONE && self.0 & bug.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_set_of_production_has_none() {
        assert_eq!(Bugs::default(), Bugs::NONE);
        assert!(Bug::ALL.iter().all(|bug| !Bugs::NONE.has(*bug)));
    }

    #[test]
    fn each_mistake_is_one_of_its_own() {
        let bits: BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.bit()).collect();
        assert_eq!(bits.len(), Bug::ALL.len());
        assert!(!bits.contains(&0));
        for bug in Bug::ALL {
            let made: Vec<_> = Bug::ALL.iter().filter(|it| Bugs::only(*bug).has(**it)).collect();
            assert_eq!(made, [bug]);
        }
        let two = Bugs::only(Bug::AckBeforeSync).and(Bug::NonceReused);
        assert!(two.has(Bug::AckBeforeSync) && two.has(Bug::NonceReused));
    }
}
