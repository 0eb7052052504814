//! Every schedule of two controllers over one small log: lost answers, late and repeated puts,
//! take-over, trimming behind the floor. The model drives the very core that production runs.
//!
//! Mutants change one rule each and must be caught, or the model proves nothing.

use std::{collections::BTreeSet, time::Duration};

use stateright::{Checker, HasDiscoveries, Model, Property};
use uuid::Uuid;

use crate::{
    cluster::commit::{Attempt, End, Event, Step},
    types::MetadataIndex,
};

/// Indices of the log, from 1.
const LAST: usize = 3;
/// Epochs there may be.
const EPOCHS: u8 = 2;
/// Records of an epoch after its start.
const RECORDS: u8 = 1;

/// An entry; number 0 of an epoch is its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Content {
    epoch: u8,
    owner: usize,
    number: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Put {
    index: usize,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending {
    put: Put,
    attempt: Attempt,
    step: Step,
    again: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Controller {
    /// 0 when it is none.
    epoch: u8,
    started: bool,
    applied: usize,
    number: u8,
    pending: Option<Pending>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    log: [Option<Content>; LAST + 1],
    /// What each index held first.
    first: [Option<Content>; LAST + 1],
    floor: usize,
    leases: u8,
    controllers: [Controller; 2],
    /// Puts on their way, by the try they belong to.
    flying: BTreeSet<(Put, u8)>,
    /// Answers to the request their owner waits for; any other would not be heard.
    answers: BTreeSet<(Put, bool)>,
    committed: BTreeSet<Put>,
    lost: BTreeSet<Put>,
    behind: bool,
    found: bool,
}

impl World {
    fn waits_for(&self, put: Put, again: u8) -> bool {
        self.controllers[put.content.owner].pending.as_ref().is_some_and(|pending| {
            pending.put == put && pending.again == again && pending.step == Step::Put
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Lease(usize),
    Apply(usize),
    Propose(usize),
    Arrive(Put, u8),
    Answer(Put, bool),
    /// No answer comes in time; the put may still arrive.
    Timeout(usize),
    Read(usize),
    RaiseFloor(usize),
    Delete(usize),
}

/// One rule less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// "Already exists" is believed.
    RefusedIsLost,
    /// An absent key is believed.
    AbsentIsLost,
    /// Other bytes go out under the same index.
    NewBytes,
    /// A higher epoch is overlooked.
    NoEpochCheck,
    /// The floor is not read after a put that was done.
    NoFloorAfterPut,
    /// The floor is not read at all.
    NoFloor,
    /// Entries are deleted before the floor says so.
    DeleteFirst,
}

impl Model for Mutant {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            log: [None; LAST + 1],
            first: [None; LAST + 1],
            floor: 0,
            leases: 0,
            controllers: Default::default(),
            flying: BTreeSet::new(),
            answers: BTreeSet::new(),
            committed: BTreeSet::new(),
            lost: BTreeSet::new(),
            behind: false,
            found: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (i, controller) in world.controllers.iter().enumerate() {
            match &controller.pending {
                Some(Pending { step: Step::Put, .. }) => actions.push(Action::Timeout(i)),
                Some(_) => actions.push(Action::Read(i)),
                None => {
                    if controller.epoch == 0 && world.leases < EPOCHS {
                        actions.push(Action::Lease(i));
                    }
                    if controller.applied < LAST {
                        actions.push(Action::Apply(i));
                        if controller.epoch > 0 && controller.number < RECORDS {
                            actions.push(Action::Propose(i));
                        }
                    }
                }
            }
        }
        actions.extend(world.flying.iter().map(|(put, again)| Action::Arrive(*put, *again)));
        actions.extend(world.answers.iter().map(|(put, done)| Action::Answer(*put, *done)));
        let newest = (1..=LAST).rev().find(|index| world.log[*index].is_some()).unwrap_or(0);
        actions.extend((world.floor + 1..newest).map(Action::RaiseFloor));
        for index in (1..=LAST).filter(|index| world.log[*index].is_some()) {
            if index <= world.floor || *self == Self::DeleteFirst && index < newest {
                actions.push(Action::Delete(index));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Lease(i) => {
                world.leases += 1;
                let epoch = world.leases;
                let controller = &mut world.controllers[i];
                *controller =
                    Controller { epoch, applied: controller.applied, ..Controller::default() };
            }
            Action::Apply(i) => {
                let floor = world.floor;
                let controller = &mut world.controllers[i];
                if controller.applied < floor {
                    // A snapshot covers what is behind the floor.
                    controller.applied = floor;
                } else {
                    let content = world.log[controller.applied + 1]?;
                    controller.applied += 1;
                    self.see(controller, content);
                }
            }
            Action::Propose(i) => self.propose(&mut world, i),
            Action::Arrive(put, again) => {
                world.flying.remove(&(put, again));
                let slot = &mut world.log[put.index];
                let done = slot.is_none();
                if done {
                    *slot = Some(put.content);
                    world.first[put.index].get_or_insert(put.content);
                }
                if world.waits_for(put, again) {
                    world.answers.insert((put, done));
                }
            }
            Action::Answer(put, done) => {
                world.answers.remove(&(put, done));
                let event = if done { Event::Stored } else { Event::NotStored };
                let i = put.content.owner;
                if !done && *self == Self::RefusedIsLost {
                    self.end(&mut world, i, End::Lost { epoch: 0 });
                } else {
                    self.step(&mut world, i, event);
                }
            }
            Action::Timeout(i) => self.step(&mut world, i, Event::NotStored),
            Action::Read(i) => self.read(&mut world, i)?,
            Action::RaiseFloor(floor) => world.floor = floor,
            Action::Delete(index) => world.log[index] = None,
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("committed entries are their index's first", |_, world| {
                world.committed.iter().all(|put| world.first[put.index] == Some(put.content))
            }),
            Property::<Self>::always("lost entries never took effect", |_, world| {
                world.lost.iter().all(|put| world.first[put.index] != Some(put.content))
            }),
            Property::<Self>::always("epochs never fall along the log", |_, world| {
                world.first.windows(2).all(|two| match two {
                    [Some(a), Some(b)] => a.epoch <= b.epoch,
                    _ => true,
                })
            }),
            Property::<Self>::sometimes("the second epoch commits too", |_, world| {
                let of = |epoch| world.committed.iter().any(|put| put.content.epoch == epoch);
                of(1) && of(2)
            }),
            Property::<Self>::sometimes("an own entry is found after a lost answer", |_, world| {
                world.found
            }),
            Property::<Self>::sometimes("a late put makes a deleted entry's ghost", |_, world| {
                (1..=LAST).any(|index| {
                    world.log[index].is_some() && world.log[index] != world.first[index]
                })
            }),
            Property::<Self>::sometimes("a fate behind the floor stays unknown", |_, world| {
                world.behind
            }),
        ]
    }
}

impl Mutant {
    fn propose(&self, world: &mut World, i: usize) {
        let controller = &mut world.controllers[i];
        if controller.started {
            controller.number += 1;
        }
        let content = Content { epoch: controller.epoch, owner: i, number: controller.number };
        let put = Put { index: controller.applied + 1, content };
        controller.pending = Some(self.pending(put, 0));
        world.flying.insert((put, 0));
    }

    fn pending(&self, put: Put, again: u8) -> Pending {
        // Time is not in the model, so no answer is quick enough to spare the floor.
        let quick = if *self == Self::NoFloorAfterPut { Duration::MAX } else { Duration::ZERO };
        let index = MetadataIndex(u64::try_from(put.index).unwrap());
        let attempt = Attempt::new(index, id_of(put.content), Duration::ZERO, quick);
        Pending { put, attempt, step: Step::Put, again }
    }

    /// Reads what the core asks for, as it is now.
    fn read(&self, world: &mut World, i: usize) -> Option<()> {
        let pending = world.controllers[i].pending.clone()?;
        let event = match pending.step {
            Step::ReadKey => match world.log[pending.put.index] {
                Some(found) => {
                    world.found |= found == pending.put.content;
                    Event::Holds { commit_id: id_of(found), epoch: u64::from(found.epoch) }
                }
                None if *self == Self::AbsentIsLost => {
                    self.end(world, i, End::Lost { epoch: 0 });
                    return Some(());
                }
                None => Event::Holdless,
            },
            Step::ReadFloor if *self == Self::NoFloor => Event::Floor(MetadataIndex(0)),
            Step::ReadFloor => Event::Floor(MetadataIndex(u64::try_from(world.floor).unwrap())),
            Step::Put | Step::Pause | Step::End(_) => return None,
        };
        self.step(world, i, event);
        Some(())
    }

    /// Tells the core and does what it says.
    fn step(&self, world: &mut World, i: usize, event: Event) {
        let Some(pending) = &mut world.controllers[i].pending else { return };
        if pending.step == Step::Put {
            let put = pending.put;
            world.answers.retain(|(answered, _)| *answered != put);
        }
        let mut step = pending.attempt.next(event, Duration::ZERO);
        if step == Step::Pause {
            step = pending.attempt.next(Event::Paused, Duration::ZERO);
        }
        pending.step = step;
        match step {
            Step::Put if pending.again > 0 => {
                // One repetition is enough; a longer silence is a crash.
                world.controllers[i] =
                    Controller { applied: world.controllers[i].applied, ..Controller::default() };
            }
            Step::Put => {
                pending.again += 1;
                let (put, again) = (pending.put, pending.again);
                if *self == Self::NewBytes {
                    world.lost.insert(put);
                    let content = Content { number: put.content.number + 10, ..put.content };
                    let put = Put { content, ..put };
                    world.controllers[i].pending = Some(self.pending(put, again));
                    world.flying.insert((put, again));
                } else {
                    world.flying.insert((put, again));
                }
            }
            Step::End(end) => self.end(world, i, end),
            Step::ReadKey | Step::ReadFloor | Step::Pause => {}
        }
    }

    fn end(&self, world: &mut World, i: usize, end: End) {
        let controller = &mut world.controllers[i];
        let Some(Pending { put, .. }) = controller.pending.take() else { return };
        match end {
            End::Committed => {
                controller.applied = controller.applied.max(put.index);
                controller.started = true;
                world.committed.insert(put);
            }
            End::Lost { .. } => {
                world.lost.insert(put);
                if let Some(content) = world.log[put.index] {
                    controller.applied = controller.applied.max(put.index);
                    self.see(controller, content);
                }
            }
            End::BehindFloor => {
                world.behind = true;
                controller.epoch = 0;
            }
        }
    }

    /// A controller that reads of a higher epoch is none any more.
    fn see(&self, controller: &mut Controller, content: Content) {
        if content.epoch > controller.epoch && *self != Self::NoEpochCheck {
            controller.epoch = 0;
        }
    }
}

fn id_of(content: Content) -> Uuid {
    let Content { epoch, owner, number } = content;
    Uuid::from_u128(
        u128::from(epoch) << 16 | u128::from(number) << 8 | u128::try_from(owner).unwrap(),
    )
}

/// Deeper than any mutant needs to be caught.
const QUICK_DEPTH: usize = 18;

#[test]
fn no_short_schedule_breaks_the_log() {
    let checker = Mutant::None.checker().threads(2).target_max_depth(QUICK_DEPTH);
    checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join().assert_properties();
}

#[test]
#[ignore = "minutes: cargo test --release --lib cluster::tests::model -- --ignored"]
fn no_schedule_breaks_the_log() {
    let checker = Mutant::None.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

#[test]
fn each_rule_is_needed() {
    for mutant in [
        Mutant::RefusedIsLost,
        Mutant::AbsentIsLost,
        Mutant::NewBytes,
        Mutant::NoEpochCheck,
        Mutant::NoFloorAfterPut,
        Mutant::NoFloor,
        Mutant::DeleteFirst,
    ] {
        let checker = mutant
            .checker()
            .target_max_depth(QUICK_DEPTH)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let caught = ["committed", "lost", "epochs"];
        let found = checker.discoveries();
        assert!(
            found.keys().any(|name| caught.iter().any(|begin| name.starts_with(begin))),
            "{mutant:?} goes unnoticed: {:?}",
            found.keys()
        );
    }
}
