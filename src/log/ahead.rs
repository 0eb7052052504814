//! Who reads published records in order, and how far ahead of each to read.
//!
//! Owns: the table of recent readers: fetches are stateless, so one is known by going on where
//! another ended. Does not own: reading, blocks, budgets of others. Invariants: the table is
//! bounded; bytes read ahead and not yet come to never exceed `most`; a reader that does not go on
//! in order is not read ahead of.
//!
//! A reader's window doubles with each read that goes on where its last one ended, from 0.5 to
//! 32 MiB, and is refilled when a quarter of it is used, so that requests grow with it and several
//! are on their way at a time: a store gives more that way. It shrinks when what was read ahead left
//! memory unread.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    time::Duration,
};

use crate::{
    cache::ReaderId,
    types::{Offset, PartitionId},
};

const FIRST_WINDOW: u64 = 512 * 1024;
const LAST_WINDOW: u64 = 32 * 1024 * 1024;
/// A window is refilled when this part of it is used.
const REFILL: u64 = 4;
/// Readers known at a time; the one longest not seen goes first.
const MOST_READERS: usize = 1024;
/// A reader not seen for this long takes no part in sharing...
const IDLE_AFTER: Duration = Duration::from_secs(10);
/// ...and after this long it is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What to read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) reader: ReaderId,
    pub(super) partition: PartitionId,
    /// From this offset on...
    pub(super) from: Offset,
    /// ...so many bytes, to the end of the block in which they end.
    pub(super) bytes: u64,
}

/// Bytes read ahead that were settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Their readers came to them.
    pub(super) used: u64,
    /// Their readers went elsewhere.
    pub(super) wasted: u64,
}

/// The table.
#[derive(Debug)]
pub(super) struct Readers {
    readers: BTreeMap<ReaderId, Reader>,
    next: u64,
    most: u64,
    settled: Settled,
}

#[derive(Debug)]
struct Reader {
    partition: PartitionId,
    /// Where its last read began, for a read that is asked for again...
    last: Offset,
    /// ...and where it ended.
    next: Offset,
    window: u64,
    /// Ends and bytes of what is read ahead.
    ahead: VecDeque<(Offset, u64)>,
    /// A plan's blocks are not all asked for yet.
    asking: bool,
    /// Plans whose blocks are not all there yet.
    under_way: usize,
    seen: Duration,
}

impl Reader {
    fn ahead_bytes(&self) -> u64 {
        self.ahead.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Readers {
    /// Nobody yet; at most `most` bytes are read ahead of all together.
    pub(super) fn new(most: u64) -> Self {
        Self { readers: BTreeMap::new(), next: 1, most, settled: Settled::default() }
    }

    /// A read of `partition` at `from` begins; whose it is.
    pub(super) fn begin(
        &mut self,
        partition: PartitionId,
        from: Offset,
        now: Duration,
    ) -> ReaderId {
        let of = |position: fn(&Reader) -> Offset| {
            let mut known = self.readers.iter();
            known.find(|(_, it)| it.partition == partition && position(it) == from)
        };
        let known = of(|it| it.next).or_else(|| of(|it| it.last)).map(|(id, _)| *id);
        if let Some(id) = known {
            return id;
        }
        self.forget(now);
        let id = ReaderId(self.next);
        self.next += 1;
        let (last, next) = (from, from);
        let ahead = VecDeque::new();
        let reader = Reader {
            partition,
            last,
            next,
            window: 0,
            ahead,
            asking: false,
            under_way: 0,
            seen: now,
        };
        self.readers.insert(id, reader);
        id
    }

    /// The read gave these records, and `waited` for some that were not in memory; what to read
    /// ahead of it now.
    pub(super) fn finish(
        &mut self,
        id: ReaderId,
        records: Range<Offset>,
        waited: bool,
        now: Duration,
    ) -> Option<Plan> {
        let (from, next) = (records.start, records.end);
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.seen = now;
        }
        // What is ahead of those who went away leaves no room to those who stay.
        self.forget_gone(now);
        let sharing = |it: &&Reader| it.window > 0 && now.saturating_sub(it.seen) < IDLE_AFTER;
        let others = self.readers.iter().filter(|(other, _)| **other != id);
        let sharers = others.filter(|(_, it)| sharing(it)).count() + 1;
        let share = self.most / u64::try_from(sharers).unwrap_or(u64::MAX);
        let all: u64 = self.readers.values().map(Reader::ahead_bytes).sum();
        let reader = self.readers.get_mut(&id)?;
        if next <= reader.next {
            return None;
        }
        let in_order = from == reader.next && from > reader.last;
        (reader.last, reader.next) = (from, next);
        // They were there and left before their reader came: more is read ahead than memory keeps.
        let evicted = waited && reader.under_way == 0;
        if evicted && reader.ahead.back().is_some_and(|(end, _)| next <= *end) {
            self.settled.wasted += reader.ahead_bytes();
            reader.ahead.clear();
            // The next read in order doubles it again.
            reader.window = (reader.window / 4).max(FIRST_WINDOW / 2);
            return None;
        }
        while let Some((_, bytes)) = reader.ahead.pop_front_if(|(end, _)| *end <= next) {
            self.settled.used += bytes;
        }
        if !in_order {
            return None;
        }
        reader.window = (reader.window * 2).clamp(FIRST_WINDOW, LAST_WINDOW);
        let have = reader.ahead_bytes();
        let window = reader.window.min(share);
        let bytes = window.saturating_sub(have);
        let room = self.most.saturating_sub(all);
        if reader.asking || bytes < window / REFILL || bytes == 0 || room == 0 {
            return None;
        }
        reader.asking = true;
        reader.under_way += 1;
        let from = reader.ahead.back().map_or(next, |(end, _)| *end);
        Some(Plan { reader: id, partition: reader.partition, from, bytes: bytes.min(room) })
    }

    /// Blocks that end there, of so many bytes, are being read ahead. `false` when their reader
    /// is forgotten: nobody needs them.
    pub(super) fn claim(&mut self, id: ReaderId, blocks: &[(Offset, u64)]) -> bool {
        let Some(reader) = self.readers.get_mut(&id) else { return false };
        reader.ahead.extend(blocks.iter().filter(|(end, _)| *end > reader.next));
        true
    }

    /// All of a plan's blocks are claimed, or as many as there are.
    pub(super) fn asked(&mut self, id: ReaderId) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.asking = false;
        }
    }

    /// A plan that was asked for is carried out.
    pub(super) fn done(&mut self, id: ReaderId) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.under_way = reader.under_way.saturating_sub(1);
        }
    }

    /// What was settled since the last call.
    pub(super) fn settle(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// Forgets those not seen for long.
    fn forget_gone(&mut self, now: Duration) {
        let wasted = &mut self.settled.wasted;
        self.readers.retain(|_, reader| {
            let keep = now.saturating_sub(reader.seen) < FORGET_AFTER;
            *wasted += if keep { 0 } else { reader.ahead_bytes() };
            keep
        });
    }

    /// Makes room for one more.
    fn forget(&mut self, now: Duration) {
        self.forget_gone(now);
        if self.readers.len() < MOST_READERS {
            return;
        }
        let oldest = self.readers.iter().min_by_key(|(_, it)| it.seen).map(|(id, _)| *id);
        if let Some(gone) = oldest.and_then(|id| self.readers.remove(&id)) {
            self.settled.wasted += gone.ahead_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::types::TopicId;

    const MIB: u64 = 1024 * 1024;
    const NOW: Duration = Duration::ZERO;

    fn partition(index: i32) -> PartitionId {
        PartitionId { topic: TopicId(Uuid::from_u128(1)), index }
    }

    /// A reader that reads `bytes` offsets of a byte each at a time, and the plans made for it;
    /// each is carried out at once.
    fn replay(readers: &mut Readers, index: i32, bytes: i64, reads: i64) -> Vec<u64> {
        (0..reads).filter_map(|read| step(readers, index, bytes, read)).collect()
    }

    fn step(readers: &mut Readers, index: i32, bytes: i64, read: i64) -> Option<u64> {
        let (from, next) = (Offset(read * bytes), Offset((read + 1) * bytes));
        let id = readers.begin(partition(index), from, NOW);
        let plan = readers.finish(id, from..next, false, NOW)?;
        let end = plan.from.advance(i64::try_from(plan.bytes).unwrap());
        assert!(readers.claim(id, &[(end, plan.bytes)]));
        readers.asked(id);
        readers.done(id);
        Some(plan.bytes)
    }

    #[test]
    fn the_window_grows_from_half_a_mib_to_32() {
        let mut readers = Readers::new(64 * MIB);
        let plans = replay(&mut readers, 0, 512 * 1024, 200);
        assert_eq!(plans[..4], [MIB / 2, MIB, MIB, 3 * MIB]);
        assert!(plans.iter().skip(10).all(|plan| (8 * MIB..=32 * MIB).contains(plan)));
        let used = readers.settle();
        assert!(used.wasted == 0 && used.used > 60 * MIB, "{used:?}");
    }

    #[test]
    fn the_window_shrinks_when_what_was_read_ahead_left_memory_unread() {
        let mut readers = Readers::new(64 * MIB);
        let half = 512 * 1024;
        replay(&mut readers, 0, half, 40);
        let id = readers.begin(partition(0), Offset(40 * half), NOW);
        let before = readers.readers[&id].window;
        let read = |at: i64| Offset(at * half)..Offset((at + 1) * half);
        assert_eq!(readers.finish(id, read(40), true, NOW), None);
        assert_eq!(readers.readers[&id].window, before / 4);
        assert_eq!(readers.readers[&id].ahead_bytes(), 0);
        assert!(readers.settle().wasted > 0);
        // Waiting where nothing was read ahead is no reason.
        let plan = readers.finish(id, read(41), true, NOW).unwrap();
        assert_eq!(plan.bytes, before / 2);
        assert_eq!(plan.from, Offset(42 * half));
    }

    #[test]
    fn reads_here_and_there_are_not_read_ahead_of() {
        let mut readers = Readers::new(64 * MIB);
        for read in 0..10_000 {
            let from = Offset((read * 7919) % 100_003 * 10);
            let id = readers.begin(partition(0), from, NOW);
            assert_eq!(readers.finish(id, from..from.advance(5), false, NOW), None, "{from}");
        }
        assert!(readers.readers.len() <= MOST_READERS);
    }

    #[test]
    fn a_reader_that_goes_elsewhere_starts_anew_and_what_was_ahead_of_it_is_wasted() {
        let mut readers = Readers::new(64 * MIB);
        replay(&mut readers, 0, 1000, 8);
        let (from, later) = (Offset(1 << 40), NOW + FORGET_AFTER);
        let id = readers.begin(partition(0), from, later);
        assert_eq!(readers.finish(id, from..from.advance(1000), false, later), None);
        assert!(readers.settle().wasted > 0);
    }

    #[test]
    fn a_read_asked_for_again_changes_nothing() {
        let mut readers = Readers::new(64 * MIB);
        let mut plans = Vec::new();
        for read in 0..4 {
            for _ in 0..3 {
                let (from, next) = (Offset(read * 10), Offset(read * 10 + 10));
                let id = readers.begin(partition(0), from, NOW);
                plans.extend(readers.finish(id, from..next, false, NOW).map(|plan| plan.from));
                readers.asked(id);
                readers.done(id);
            }
        }
        assert_eq!(plans, [Offset(20), Offset(30), Offset(40)]);
        assert_eq!(readers.readers.len(), 1);
    }

    #[test]
    fn what_is_ahead_of_readers_that_went_away_takes_no_room_for_ever() {
        let mut readers = Readers::new(32 * MIB);
        replay(&mut readers, 0, 512 * 1024, 20);
        let stays = replay(&mut readers, 1, 512 * 1024, 20);
        assert!(stays.iter().sum::<u64>() < 32 * MIB, "the first has its part");
        let later = NOW + FORGET_AFTER;
        let mut plans = 0;
        for read in 20..100 {
            let (from, next) = (Offset(read * 512 * 1024), Offset((read + 1) * 512 * 1024));
            let id = readers.begin(partition(1), from, later);
            if let Some(plan) = readers.finish(id, from..next, false, later) {
                let end = plan.from.advance(i64::try_from(plan.bytes).unwrap());
                readers.claim(id, &[(end, plan.bytes)]);
                readers.asked(id);
                readers.done(id);
                plans = plan.bytes;
            }
        }
        assert!(plans >= 8 * MIB, "the whole room is its own: {plans}");
        assert!(readers.settle().wasted > 0);
        assert_eq!(readers.readers.len(), 1);
    }

    #[test]
    fn many_readers_share_what_may_be_read_ahead() {
        let mut readers = Readers::new(50 * MIB);
        for read in 0..12 {
            for index in 0..50 {
                step(&mut readers, index, 1000, read);
            }
        }
        let all: u64 = readers.readers.values().map(Reader::ahead_bytes).sum();
        assert!(all <= 50 * MIB);
        let least = readers.readers.values().map(Reader::ahead_bytes).min().unwrap();
        assert!(least > 0, "everybody is read ahead of");
    }

    proptest! {
        #[test]
        fn never_more_is_ahead_than_may_be(
            steps in prop::collection::vec((0..4_i32, 0..3_u8, 1..2_000_000_i64), 1..200),
            most in 1..80 * MIB,
        ) {
            let mut readers = Readers::new(most);
            let mut at = [Offset(0); 4];
            for (index, jump, bytes) in steps {
                let slot = usize::try_from(index).unwrap();
                let from = if jump == 0 { at[slot].advance(bytes * 7) } else { at[slot] };
                let id = readers.begin(partition(index), from, NOW);
                at[slot] = from.advance(bytes);
                if let Some(plan) = readers.finish(id, from..at[slot], false, NOW) {
                    prop_assert!(plan.from >= at[slot]);
                    let end = plan.from.advance(i64::try_from(plan.bytes).unwrap());
                    readers.claim(id, &[(end, plan.bytes)]);
                    readers.asked(id);
        readers.done(id);
                }
                let all: u64 = readers.readers.values().map(Reader::ahead_bytes).sum();
                prop_assert!(all <= most, "{} of {}", all, most);
            }
        }
    }
}
