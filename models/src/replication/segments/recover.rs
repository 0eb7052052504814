//! The recoverers: who fences, asks, decides with the product's `Recovery`, uploads and seals.

use super::{
    Action, DISKS, Mutant, SEGMENTS, Segments, Status, World, disk_of, id, number, short, storage,
};
use crate::replication::{
    member,
    recovery::{Answer, Decision, Effect, Event, Recovery, Report},
};

/// One process that recovers the incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Recoverer {
    started: bool,
    /// The segments it knows of, one bit each.
    pub(super) known: u8,
    /// Whom it waits for, and what it heard: entries, and whether they are suspect.
    asked: [[bool; DISKS]; SEGMENTS],
    answers: [[Option<(u8, bool)>; DISKS]; SEGMENTS],
    /// What it decided; the objects are in the bucket.
    ends: Option<[u8; SEGMENTS]>,
}

impl Recoverer {
    fn segments(self) -> impl Iterator<Item = usize> {
        (0..SEGMENTS).filter(move |segment| self.known & (1 << segment) != 0)
    }
}

impl Segments {
    pub(super) fn recovery_actions(&self, world: &World, actions: &mut Vec<Action>) {
        let open = |mutant| world.recovered.is_none() || self.is(mutant);
        for (r, recoverer) in world.recoverers.iter().enumerate().take(self.shape.recoverers) {
            if !recoverer.started {
                if world.recovered.is_none() {
                    actions.push(Action::Recover(r));
                }
                continue;
            }
            if !open(Mutant::SealNoCas) {
                continue;
            }
            if recoverer.ends.is_some() {
                actions.push(Action::Seal(r));
                continue;
            }
            for segment in recoverer.segments() {
                for disk in self.shape.ensemble(segment) {
                    let asked = recoverer.asked[segment][disk];
                    if !asked && !world.disks[disk].wiped {
                        actions.push(Action::Ask(r, segment, disk));
                    }
                }
            }
            let heard = |segment: usize| recoverer.answers[segment].iter().any(Option::is_some);
            if recoverer.segments().all(heard) {
                actions.push(Action::Decide(r));
            }
        }
    }

    /// One record fences the incarnation and makes every open segment a recovering one.
    pub(super) fn recover(&self, world: &mut World, r: usize) {
        let recoverer = &mut world.recoverers[r];
        recoverer.started = true;
        let unsealed =
            |segment: &usize| matches!(world.status[*segment], Status::Open | Status::Recovering);
        let mut known: Vec<_> = (0..SEGMENTS).filter(unsealed).collect();
        if self.is(Mutant::SkipSpare) && known.len() > 1 {
            known.pop();
        }
        recoverer.known = known.iter().map(|segment| 1 << segment).sum();
        if self.is(Mutant::NoRecoveringCas) {
            return;
        }
        world.fenced = true;
        for status in world.status.iter_mut().filter(|status| **status == Status::Open) {
            *status = Status::Recovering;
        }
    }

    pub(super) fn ask(&self, world: &mut World, r: usize, segment: usize, disk: usize) {
        world.recoverers[r].asked[segment][disk] = true;
        if self.is(Mutant::ReadUnfenced) {
            let entries = world.disks[disk].synced[segment];
            self.answered(world, segment, disk, entries);
        } else {
            self.tell(world, disk, member::Event::FenceAndReport { segment: id(segment) });
        }
    }

    /// A disk's answer reaches everyone who asked.
    pub(super) fn answered(&self, world: &mut World, segment: usize, disk: usize, entries: u8) {
        let suspect = world.disks[disk].suspect && !self.is(Mutant::SuspectAuthoritative);
        for recoverer in &mut world.recoverers {
            if recoverer.asked[segment][disk] {
                recoverer.answers[segment][disk].get_or_insert((entries, suspect));
            }
        }
    }

    /// Decides with what was heard; who was not heard is taken for unreachable.
    pub(super) fn decide(&self, world: &mut World, r: usize) {
        let segments: Vec<_> = world.recoverers[r].segments().collect();
        let parts: Vec<Vec<usize>> = if self.is(Mutant::IndependentSeal) {
            segments.into_iter().map(|segment| vec![segment]).collect()
        } else {
            vec![segments]
        };
        let mut ends = [0; SEGMENTS];
        for part in parts {
            let Some(decisions) = self.decided(world, r, &part) else { return };
            for Decision { segment, entries, holders } in decisions {
                let (segment, entries) = (number(segment), short(entries));
                let holds = |holder: &crate::types::StorageId| {
                    world.disks[disk_of(*holder)].synced[segment] >= entries
                };
                let readable = entries == 0 || holders.iter().any(holds);
                if !readable && !self.is(Mutant::SealBeforeUpload) {
                    return;
                }
                ends[segment] = entries;
            }
        }
        world.recoverers[r].ends = Some(ends);
    }

    fn decided(&self, world: &mut World, r: usize, part: &[usize]) -> Option<Vec<Decision>> {
        let recoverer = world.recoverers[r];
        let open: Vec<_> = part.iter().map(|segment| self.shape.open(*segment)).collect();
        let mut recovery = Recovery::new(&open);
        let mut effects = Vec::new();
        recovery.apply(Event::Start, &mut effects);
        for segment in part {
            for disk in self.shape.ensemble(*segment) {
                let answer = match recoverer.answers[*segment][disk] {
                    Some((entries, suspect)) => Answer::Report(Report {
                        entries: u64::from(entries),
                        crc: u32::from(entries),
                        previous: world.contents[*segment].previous.filter(|_| entries > 0),
                        suspect,
                    }),
                    None => Answer::Unreachable,
                };
                let (segment, member) = (id(*segment), storage(disk));
                recovery.apply(Event::Answered { segment, member, answer }, &mut effects);
            }
        }
        let mut decided = None;
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Decided(decisions) => decided = Some(decisions),
                Effect::Blocked { .. } => world.blocked = true,
                Effect::Diverged { .. } => world.diverged = true,
                Effect::AskCrc { segment, member, entries } => {
                    let crc = u32::try_from(entries).unwrap();
                    recovery.apply(Event::Crc { segment, member, entries, crc }, &mut effects);
                }
                Effect::Ask { .. } => {}
            }
        }
        decided
    }

    /// One record seals all segments and moves what they were of: the first one counts.
    pub(super) fn seal(&self, world: &mut World, r: usize) {
        let recoverer = world.recoverers[r];
        let Some(ends) = recoverer.ends else { return };
        world.recoverers[r].known = recoverer.known;
        if let Some(before) = world.recovered {
            let last = |segment: usize| world.contents[segment].base + ends[segment] - 2;
            let newest = recoverer.segments().filter(|segment| ends[*segment] > 1).map(last).max();
            world.twice |= newest.is_some_and(|newest| newest != before);
            world.recoverers[r].ends = None;
            return;
        }
        for segment in recoverer.segments() {
            world.seal_at(segment, ends[segment]);
            if self.is(Mutant::SealBeforeUpload) {
                world.promised[segment] = ends[segment];
            }
        }
        world.recovered = Some(world.published);
    }
}
