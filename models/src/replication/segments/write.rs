//! The writer's side: the product's `Writer`, and the uploader that publishes what it closed.

use super::{
    Action, Content, Mutant, SEGMENTS, Segments, Status, World, id, number, short, storage,
};
use crate::{
    replication::writer::{self, Effect, Event},
    wal::Previous,
};

impl Segments {
    pub(super) fn writer_actions(&self, world: &World, actions: &mut Vec<Action>) {
        if !world.dead {
            if world.appended < self.shape.entries {
                actions.push(Action::Append);
            }
            let active = world.writer.active().map(|open| number(open.id));
            if let Some(segment) = active {
                if self.shape.rolls {
                    actions.push(Action::Roll);
                }
                if self.shape.drains {
                    actions.push(Action::Drain);
                }
                if world.left < self.shape.leaves {
                    let peers = self.shape.ensemble(segment).into_iter().skip(1);
                    actions.extend(peers.map(Action::Leave));
                }
            }
            for segment in 0..self.shape.segments {
                if active == Some(segment) || self.is(Mutant::NoFreeze) {
                    for disk in self.holders(world, segment) {
                        if world.disks[disk].acks[segment] > world.heard[segment][disk] {
                            actions.push(Action::Hear(segment, disk));
                        }
                    }
                }
            }
            if world.fenced || (0..SEGMENTS).any(|at| at >= world.told && world.is_open(at)) {
                actions.push(Action::Learn);
            }
        }
        for segment in 0..self.shape.segments {
            if world.contents[segment].closed.is_some() && self.may_publish(world, segment) {
                actions.push(Action::Publish(segment));
            }
            if self.is(Mutant::TrimBeforePublish) && world.contents[segment].closed.is_some() {
                let disks = self.holders(world, segment).into_iter();
                actions.extend(disks.map(|disk| Action::TrimEarly(segment, disk)));
            }
        }
    }

    fn may_publish(&self, world: &World, segment: usize) -> bool {
        let Content { closed, .. } = world.contents[segment];
        let entries = closed.unwrap_or_default();
        let allowed = match world.status[segment] {
            Status::Open => true,
            Status::Recovering => self.is(Mutant::PublishFenced) && world.recovered.is_none(),
            Status::Unopened | Status::Sealed => false,
        };
        // In order, empty ones too: what a segment left holds beyond its end must not come back.
        let before = world.status.iter().take(segment);
        let follows = before.into_iter().all(|status| *status == Status::Sealed)
            || self.is(Mutant::PublishOutOfOrder);
        let held = |disk: usize| world.disks[disk].synced[segment] >= entries;
        allowed && follows && self.shape.ensemble(segment).into_iter().any(held)
    }

    pub(super) fn append(&self, world: &mut World) {
        world.appended += 1;
        let record = world.appended;
        self.write(world, Event::Append(record));
    }

    pub(super) fn roll(&self, world: &mut World) {
        self.write(world, Event::Roll);
    }

    pub(super) fn drain(&self, world: &mut World) {
        self.write(world, Event::Drain);
    }

    pub(super) fn leave(&self, world: &mut World, disk: usize) {
        world.left += 1;
        if self.is(Mutant::SwapLocal) {
            world.swapped = Some(disk);
            return;
        }
        self.write(world, Event::Leave { member: storage(disk) });
    }

    pub(super) fn hear(&self, world: &mut World, segment: usize, disk: usize) {
        let acks = world.disks[disk].acks[segment];
        world.heard[segment][disk] = acks;
        let as_member = match world.swapped {
            Some(swapped) if segment == 0 && disk == self.shape.copies => swapped,
            _ => disk,
        };
        let entries = u64::from(acks);
        let members = match self.mutant {
            Mutant::OneMemberAcks => self.shape.ensemble(segment),
            _ => vec![as_member],
        };
        for member in members {
            let member = storage(member);
            self.write(world, Event::Synced { segment: id(segment), member, entries });
        }
        if self.is(Mutant::NoFreeze) {
            let heard = |disk: usize| world.heard[segment][disk];
            let all = self.shape.ensemble(segment).into_iter().map(heard).min().unwrap_or(0);
            if all > 1 {
                world.acked = world.acked.max(world.contents[segment].base + all - 2);
            }
        }
    }

    /// The writer hears that it is over, or of a segment opened for it.
    pub(super) fn learn(&self, world: &mut World) {
        if world.fenced {
            self.stop(world);
        } else {
            self.tell_spare(world);
        }
    }

    pub(super) fn tell_spare(&self, world: &mut World) {
        let open = self.shape.open(world.told);
        world.told += 1;
        self.write(world, Event::Spare(open));
    }

    /// The writer's incarnation is over as far as it knows.
    pub(super) fn stop(&self, world: &mut World) {
        world.dead = true;
        // What it had in mind makes no difference any more.
        world.writer = writer::Writer::new();
    }

    /// One entry of the log publishes a segment and opens the next.
    pub(super) fn publish(&self, world: &mut World, segment: usize) {
        let entries = world.contents[segment].closed.unwrap_or_default();
        world.seal_at(segment, entries);
        let next = world.status.iter().position(|status| *status == Status::Unopened);
        if let Some(next) = next.filter(|next| *next < self.shape.segments && !world.fenced) {
            world.status[next] = Status::Open;
        }
    }

    fn write(&self, world: &mut World, event: Event<u8>) {
        if world.dead {
            return;
        }
        let mut effects = Vec::new();
        world.writer.apply(event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { segment, number: at, content, .. } => {
                    self.send(world, number(segment), short(at), &content);
                }
                Effect::Committed { payload, .. } => {
                    let next = world.acked + 1;
                    world.disordered |= payload > next || self.is(Mutant::None) && payload != next;
                    world.acked = world.acked.max(payload);
                }
                Effect::Closed { segment, entries } => {
                    world.contents[number(segment)].closed = Some(short(entries));
                    world.heard[number(segment)] = Default::default();
                }
                Effect::Drained | Effect::Ended => {}
            }
        }
    }

    fn send(&self, world: &mut World, segment: usize, at: u8, content: &writer::Content<u8>) {
        let sent = world.contents[segment].sent;
        assert_eq!(sent, at, "entries are sent in order");
        let before = segment.checked_sub(1).map(|before| world.contents[before].sent);
        let filled = &mut world.contents[segment];
        filled.sent += 1;
        match content {
            writer::Content::Header { previous, .. } => {
                filled.previous = *previous;
                if self.is(Mutant::HeaderOfSent) {
                    let more = |previous: Previous| Previous {
                        entries: u64::from(before.unwrap_or_default()),
                        ..previous
                    };
                    filled.previous = filled.previous.map(more);
                }
            }
            writer::Content::Payload(record) if at == 1 => filled.base = *record,
            writer::Content::Payload(record) => {
                assert_eq!(*record, filled.base + at - 1, "records are sent in order");
            }
        }
    }
}

impl World {
    pub(super) fn is_open(&self, segment: usize) -> bool {
        self.status[segment] == Status::Open
    }

    /// The content of a segment up to `entries` becomes the next of the log.
    pub(super) fn seal_at(&mut self, segment: usize, entries: u8) {
        self.status[segment] = Status::Sealed;
        if entries > 1 {
            let base = self.contents[segment].base;
            self.torn |= base != self.published + 1;
            self.published = base + entries - 2;
        }
    }
}
