//! The disks: the product's `Member` on each, what they forget and when.

use super::{Action, DISKS, Mutant, SEGMENTS, Segments, World, id, short};
use crate::replication::member::{Effect, Event, Member};

/// One disk and the process that writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    member: Member,
    pub(super) accepted: [u8; SEGMENTS],
    pub(super) synced: [u8; SEGMENTS],
    /// The highest acknowledgement ever sent.
    pub(super) acks: [u8; SEGMENTS],
    fence_due: [bool; SEGMENTS],
    fence_durable: [bool; SEGMENTS],
    /// Something at its end was lost.
    pub(super) suspect: bool,
    /// Another disk under another name.
    pub(super) wiped: bool,
}

impl Disk {
    pub(super) fn forget(&mut self, segment: usize) {
        self.member.forget(id(segment));
        self.accepted[segment] = 0;
        self.synced[segment] = 0;
    }

    pub(super) fn is_fenced(&self, segment: usize) -> bool {
        !self.member.accepts(id(segment))
    }

    /// A new process over what the disk holds.
    fn open_again(&mut self) {
        self.member = Member::default();
        self.accepted = self.synced;
        self.fence_due = Default::default();
        for segment in 0..SEGMENTS {
            let (entries, fenced) = (u64::from(self.synced[segment]), self.fence_durable[segment]);
            if entries > 0 || fenced {
                self.member.restore(id(segment), entries, fenced);
            }
        }
    }
}

impl Segments {
    pub(super) fn disk_actions(&self, world: &World, actions: &mut Vec<Action>) {
        for segment in 0..self.shape.segments {
            for disk in self.holders(world, segment) {
                let held = &world.disks[disk];
                let more = held.accepted[segment] < world.contents[segment].sent;
                // A refusal is news only to a living writer.
                let news = !held.is_fenced(segment) || !world.dead;
                if more && news && !held.wiped {
                    actions.push(Action::Deliver(segment, disk));
                }
                if held.synced[segment] < held.accepted[segment] {
                    actions.push(Action::Sync(segment, disk));
                }
                if held.fence_due[segment] {
                    actions.push(Action::SyncFence(segment, disk));
                }
            }
        }
        for disk in 0..self.shape.disks() {
            let held = &world.disks[disk];
            if world.wipes < self.shape.wipes && !held.wiped {
                actions.push(Action::Wipe(disk));
            }
            if world.losses < self.shape.losses {
                actions.push(Action::LoseTail(disk));
            }
            if world.restarts < self.shape.restarts && !held.wiped {
                actions.push(Action::Restart(disk));
            }
        }
    }

    pub(super) fn deliver(&self, world: &mut World, segment: usize, disk: usize) {
        let number = u64::from(world.disks[disk].accepted[segment]);
        self.tell(world, disk, Event::Append { segment: id(segment), number, content: () });
        if !self.shape.slow_disks {
            self.sync(world, segment, disk);
        }
    }

    pub(super) fn sync(&self, world: &mut World, segment: usize, disk: usize) {
        let held = &mut world.disks[disk];
        if held.synced[segment] == held.accepted[segment] {
            return;
        }
        held.synced[segment] = held.accepted[segment];
        let entries = u64::from(held.synced[segment]);
        self.tell(world, disk, Event::Synced { segment: id(segment), entries });
    }

    pub(super) fn sync_fence(&self, world: &mut World, segment: usize, disk: usize) {
        let held = &mut world.disks[disk];
        held.fence_due[segment] = false;
        held.fence_durable[segment] = true;
        self.tell(world, disk, Event::FenceSynced { segment: id(segment) });
    }

    pub(super) fn tell(&self, world: &mut World, disk: usize, event: Event<()>) {
        let mut effects = Vec::new();
        world.disks[disk].member.apply(event, &mut effects);
        for effect in effects {
            let held = &mut world.disks[disk];
            match effect {
                Effect::Write { segment, .. } => {
                    let at = super::number(segment);
                    held.accepted[at] += 1;
                    if self.is(Mutant::AckBeforeSync) {
                        held.acks[at] = held.acks[at].max(held.accepted[at]);
                    }
                }
                Effect::Ack { segment, entries } => {
                    let at = super::number(segment);
                    held.acks[at] = held.acks[at].max(short(entries));
                }
                Effect::Refuse { .. } => {
                    world.refused = true;
                    self.stop(world);
                }
                Effect::SyncFence { segment } => {
                    let at = super::number(segment);
                    held.fence_due[at] = true;
                    if self.is(Mutant::FenceNotSynced) {
                        self.tell(world, disk, Event::FenceSynced { segment });
                    } else if !self.shape.slow_disks {
                        self.sync_fence(world, at, disk);
                    }
                }
                Effect::Report { segment, entries } => {
                    self.answered(world, super::number(segment), disk, short(entries));
                }
            }
        }
    }

    pub(super) fn wipe(&self, world: &mut World, disk: usize) {
        world.wipes += 1;
        let kept = !self.is(Mutant::WipedSameId);
        let acks = world.disks[disk].acks;
        world.disks[disk] = Disk { wiped: kept, acks, ..Disk::default() };
        self.own_process_ended(world, disk);
    }

    pub(super) fn lose_tail(&self, world: &mut World, disk: usize) -> Option<()> {
        let held = &mut world.disks[disk];
        let newest = (0..SEGMENTS).rev().find(|segment| held.synced[*segment] > 0)?;
        world.losses += 1;
        held.synced[newest] -= 1;
        held.suspect = true;
        held.open_again();
        self.own_process_ended(world, disk);
        Some(())
    }

    pub(super) fn restart(&self, world: &mut World, disk: usize) {
        world.restarts += 1;
        world.disks[disk].open_again();
        self.own_process_ended(world, disk);
    }

    fn own_process_ended(&self, world: &mut World, disk: usize) {
        assert!(disk < DISKS);
        if disk == 0 {
            self.stop(world);
        }
    }
}
