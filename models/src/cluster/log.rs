//! Two processes that want to be controller over one small log: replays, take-overs, lost answers,
//! late and repeated puts, trimming behind the floor, pauses longer than the floor's grace.
//!
//! Owns: the bucket, the floor and the time around the product's `commit`. Does not own: what is
//! asked next and what an answer proves, that is `commit`'s. The lease is courtesy and left out but
//! for its condition: whoever takes it has seen the newest one. Time is one fact: whether so
//! little has passed since a process last knew the log's end that no floor can have passed it.

use std::{collections::BTreeSet, time::Duration};

use stateright::{Model, Property};
use uuid::Uuid;

use super::commit::{Attempt, End, Event, Step};
use crate::{
    run::{self, Extent},
    types::MetadataIndex,
};

/// Indices of the log, from 1.
const LAST: usize = 3;
/// Epochs there may be.
const EPOCHS: u8 = 2;
/// Records of an epoch after its start.
const RECORDS: u8 = 1;
/// What a put may take before the floor is read after it.
const QUICK: Duration = Duration::from_secs(900);

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
    /// Little time has passed since it began.
    fresh: bool,
}

/// A replay under way, or done when `end` was reached above the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Replay {
    first: usize,
    /// The lease as it was when it began.
    lease: u8,
    done: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Process {
    /// 0 when it is no controller.
    epoch: u8,
    started: bool,
    applied: usize,
    /// It applied something that is not the log.
    wrong: bool,
    /// Little time has passed since it knew `applied` to be the log's end.
    fresh: bool,
    number: u8,
    replay: Option<Replay>,
    pending: Option<Pending>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    log: [Option<Content>; LAST + 1],
    /// What each index held first: the log.
    first: [Option<Content>; LAST + 1],
    floor: usize,
    leases: u8,
    processes: [Process; 2],
    /// Puts on their way, by the try they belong to.
    flying: BTreeSet<(Put, u8)>,
    /// Answers to the request their owner waits for; any other would not be heard.
    answers: BTreeSet<(Put, bool)>,
    /// Told to whoever proposed it as done.
    committed: BTreeSet<Put>,
    /// Told to whoever proposed it as never taking effect.
    lost: BTreeSet<Put>,
    /// A controller began on a state that is not the log's.
    wrong: bool,
    /// A started controller lost an index to an epoch that is not higher.
    impossible: bool,
    behind: bool,
    found: bool,
    slow: bool,
}

impl World {
    fn waits_for(&self, put: Put, again: u8) -> bool {
        self.processes[put.content.owner].pending.as_ref().is_some_and(|pending| {
            pending.put == put && pending.again == again && pending.step == Step::Put
        })
    }

    fn newest(&self) -> usize {
        (1..=LAST).rev().find(|index| self.log[*index].is_some()).unwrap_or(0)
    }

    /// The floor stays behind what was there a grace ago: nobody who knew the log's end since
    /// then is passed by it.
    fn may_rise_to(&self, floor: usize) -> bool {
        self.processes.iter().all(|process| {
            let knows = process.fresh && floor > process.applied;
            let wrote = process.pending.as_ref().is_some_and(|pending| {
                let Put { index, content } = pending.put;
                pending.fresh && self.first[index] == Some(content) && floor > index
            });
            !knows && !wrote
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// Reads the floor and the oldest snapshot that it allows.
    Begin(usize),
    /// Reads the next entry.
    Apply(usize),
    /// The log's end is read, and then the floor again.
    Finish(usize),
    Lease(usize),
    Propose(usize),
    Arrive(Put, u8),
    Answer(Put, bool),
    /// No answer comes in time; the put may still arrive.
    Timeout(usize),
    Read(usize),
    /// More time passes than the floor's grace allows for.
    Stall(usize),
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
    RewriteContent,
    /// A higher epoch is overlooked.
    IgnoreEpoch,
    /// The proposer is answered when the put is sent.
    ActBeforeCommit,
    /// The floor is not read after a put that was done, however long it took.
    NoFloorCheck,
    /// A put is quick when its own request was, however old the state was it was made from.
    QuickSinceThePut,
    /// The floor is not read after the key.
    NoFloorCheckOnResolve,
    /// Whoever replays does not read the floor again.
    NoFloorCheckByReader,
    /// Entries are deleted before the floor says so.
    DeleteBeforeFloor,
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
            processes: Default::default(),
            flying: BTreeSet::new(),
            answers: BTreeSet::new(),
            committed: BTreeSet::new(),
            lost: BTreeSet::new(),
            wrong: false,
            impossible: false,
            behind: false,
            found: false,
            slow: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (i, process) in world.processes.iter().enumerate() {
            if process.fresh && (process.epoch > 0 || process.replay.is_some())
                || process.pending.as_ref().is_some_and(|pending| pending.fresh)
            {
                actions.push(Action::Stall(i));
            }
            match &process.pending {
                Some(Pending { step: Step::Put, .. }) => actions.push(Action::Timeout(i)),
                Some(_) => actions.push(Action::Read(i)),
                None => idle_actions(world, i, actions),
            }
        }
        actions.extend(world.flying.iter().map(|(put, again)| Action::Arrive(*put, *again)));
        actions.extend(world.answers.iter().map(|(put, done)| Action::Answer(*put, *done)));
        let newest = world.newest();
        let floors = world.floor + 1..newest;
        actions.extend(floors.filter(|to| world.may_rise_to(*to)).map(Action::RaiseFloor));
        for index in (1..=LAST).filter(|index| world.log[*index].is_some()) {
            if index <= world.floor || *self == Self::DeleteBeforeFloor && index < newest {
                actions.push(Action::Delete(index));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Begin(i) => {
                let replay = Replay { first: world.floor + 1, lease: world.leases, done: false };
                world.processes[i] =
                    Process { applied: world.floor, replay: Some(replay), ..Process::default() };
            }
            Action::Apply(i) => self.apply(&mut world, i)?,
            Action::Finish(i) => self.finish(&mut world, i)?,
            Action::Lease(i) => {
                world.leases += 1;
                world.processes[i].epoch = world.leases;
                world.processes[i].replay = None;
            }
            Action::Propose(i) => self.propose(&mut world, i),
            Action::Arrive(put, again) => arrive(&mut world, put, again),
            Action::Answer(put, done) => {
                world.answers.remove(&(put, done));
                let i = put.content.owner;
                if !done && *self == Self::RefusedIsLost {
                    self.end(&mut world, i, End::Lost { epoch: 0 });
                } else {
                    self.step(&mut world, i, if done { Event::Stored } else { Event::NotStored });
                }
            }
            Action::Timeout(i) => self.step(&mut world, i, Event::NotStored),
            Action::Read(i) => self.read(&mut world, i)?,
            Action::Stall(i) => {
                world.processes[i].fresh = false;
                if let Some(pending) = &mut world.processes[i].pending {
                    pending.fresh = false;
                }
            }
            Action::RaiseFloor(floor) => world.floor = floor,
            Action::Delete(index) => world.log[index] = None,
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("committed entries are the log's", |_, world| {
                let other = |put: &Put| world.first[put.index].is_some_and(|it| it != put.content);
                !world.committed.iter().any(other)
            }),
            Property::<Self>::always("lost entries are not the log's", |_, world| {
                world.lost.iter().all(|put| world.first[put.index] != Some(put.content))
            }),
            Property::<Self>::always("epochs never fall along the log", |_, world| {
                world.first.windows(2).all(|two| match two {
                    [Some(a), Some(b)] => a.epoch <= b.epoch,
                    _ => true,
                })
            }),
            Property::<Self>::always("who replays sees the log", |_, world| !world.wrong),
            Property::<Self>::always("a started controller loses to a higher epoch only", {
                |_, world| !world.impossible
            }),
            Property::<Self>::sometimes("the second epoch commits too", |_, world| {
                let of = |epoch| world.committed.iter().any(|put| put.content.epoch == epoch);
                of(1) && of(2)
            }),
            Property::<Self>::sometimes("an epoch begins in the other's log", |_, world| {
                world.committed.iter().any(|put| put.content.epoch == 2 && put.index > 2)
            }),
            Property::<Self>::sometimes("an own entry is found after a lost answer", |_, world| {
                world.found
            }),
            Property::<Self>::sometimes("a late put makes a deleted entry's ghost", |_, world| {
                let ghost = |at: usize| world.log[at].is_some() && world.log[at] != world.first[at];
                (1..=LAST).any(ghost)
            }),
            Property::<Self>::sometimes("a fate behind the floor stays unknown", |_, world| {
                world.behind
            }),
            Property::<Self>::sometimes("a slow put is committed all the same", |_, world| {
                world.slow
            }),
        ]
    }
}

fn idle_actions(world: &World, i: usize, actions: &mut Vec<Action>) {
    let process = &world.processes[i];
    let next = (process.applied < LAST).then(|| world.log[process.applied + 1]);
    match (process.epoch, process.replay) {
        (0, Some(replay)) if replay.done => {
            if world.leases < EPOCHS && world.leases == replay.lease {
                actions.push(Action::Lease(i));
            }
            if world.leases != replay.lease {
                actions.push(Action::Begin(i));
            }
        }
        (0, Some(_)) => match next {
            Some(Some(_)) => actions.push(Action::Apply(i)),
            Some(None) | None => actions.push(Action::Finish(i)),
        },
        (0, None) => actions.push(Action::Begin(i)),
        _ if process.started => {
            if next.is_some() && process.number < RECORDS {
                actions.push(Action::Propose(i));
            }
        }
        // It lost an index on the way to its epoch: it reads on to the end.
        _ => match next {
            Some(Some(_)) => actions.extend([Action::Apply(i), Action::Propose(i)]),
            Some(None) => actions.push(Action::Propose(i)),
            None => {}
        },
    }
}

fn arrive(world: &mut World, put: Put, again: u8) {
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

impl Mutant {
    fn apply(&self, world: &mut World, i: usize) -> Option<()> {
        let index = world.processes[i].applied + 1;
        let content = world.log[index]?;
        let ghost = world.first[index] != Some(content);
        let process = &mut world.processes[i];
        // An entry names the one before it: the log itself does not follow what is not the log.
        let damaged = process.wrong && !ghost;
        let overtaken = process.epoch > 0 && content.epoch >= process.epoch;
        if damaged || overtaken && *self != Self::IgnoreEpoch {
            *process = Process::default();
            return Some(());
        }
        process.applied = index;
        process.wrong |= ghost;
        Some(())
    }

    fn finish(&self, world: &mut World, i: usize) -> Option<()> {
        let (floor, end) = (world.floor, world.processes[i].applied);
        let missed = end < LAST && world.first[end + 1].is_some();
        let process = &mut world.processes[i];
        let replay = process.replay.as_mut()?;
        if floor >= replay.first && *self != Self::NoFloorCheckByReader {
            *process = Process::default();
            return Some(());
        }
        replay.done = true;
        process.fresh = true;
        world.wrong |= process.wrong || missed;
        Some(())
    }

    fn propose(&self, world: &mut World, i: usize) {
        let process = &mut world.processes[i];
        if process.started {
            process.number += 1;
        }
        let content = Content { epoch: process.epoch, owner: i, number: process.number };
        let put = Put { index: process.applied + 1, content };
        process.pending = Some(pending(put, 0));
        process.fresh |= *self == Self::QuickSinceThePut;
        world.flying.insert((put, 0));
        if *self == Self::ActBeforeCommit {
            world.committed.insert(put);
        }
    }

    /// Reads what the core asks for, as it is now.
    fn read(&self, world: &mut World, i: usize) -> Option<()> {
        let pending = world.processes[i].pending.clone()?;
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
            Step::ReadFloor if *self == Self::NoFloorCheckOnResolve => {
                Event::Floor(MetadataIndex(0))
            }
            Step::ReadFloor => Event::Floor(MetadataIndex(u64::try_from(world.floor).unwrap())),
            Step::Put | Step::Pause | Step::End(_) => return None,
        };
        self.step(world, i, event);
        Some(())
    }

    /// Tells the core and does what it says.
    fn step(&self, world: &mut World, i: usize, event: Event) {
        let process = &mut world.processes[i];
        let quick = process.fresh || *self == Self::NoFloorCheck;
        let now = if quick { Duration::ZERO } else { QUICK };
        let Some(pending) = &mut process.pending else { return };
        if pending.step == Step::Put {
            let put = pending.put;
            world.answers.retain(|(answered, _)| *answered != put);
        }
        let mut step = pending.attempt.next(event, now);
        if step == Step::Pause {
            step = pending.attempt.next(Event::Paused, now);
        }
        pending.step = step;
        match step {
            // One repetition is enough; a longer silence is a crash.
            Step::Put if pending.again > 0 => world.processes[i] = Process::default(),
            Step::Put => {
                pending.again += 1;
                let (put, again) = (pending.put, pending.again);
                if *self == Self::RewriteContent {
                    world.lost.insert(put);
                    let content = Content { number: put.content.number + 10, ..put.content };
                    let put = Put { content, ..put };
                    world.processes[i].pending = Some(self::pending(put, again));
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
        let process = &mut world.processes[i];
        let Some(Pending { put, fresh, .. }) = process.pending.take() else { return };
        match end {
            End::Committed => {
                world.wrong |= process.wrong;
                world.slow |= !process.fresh;
                process.applied = put.index;
                process.started = true;
                process.fresh = fresh;
                world.committed.insert(put);
            }
            End::Lost { epoch } => {
                world.lost.insert(put);
                let higher = epoch > u64::from(process.epoch);
                if process.started && !higher {
                    world.impossible = true;
                } else if process.started && *self != Self::IgnoreEpoch {
                    *process = Process::default();
                } else if process.started {
                    process.applied = put.index;
                }
            }
            End::BehindFloor => {
                world.behind = true;
                *process = Process::default();
            }
        }
    }
}

fn pending(put: Put, again: u8) -> Pending {
    let index = MetadataIndex(u64::try_from(put.index).unwrap());
    let attempt = Attempt::new(index, id_of(put.content), Duration::ZERO, QUICK);
    Pending { put, attempt, step: Step::Put, again, fresh: true }
}

fn id_of(content: Content) -> Uuid {
    let Content { epoch, owner, number } = content;
    Uuid::from_u128(
        u128::from(epoch) << 16 | u128::from(number) << 8 | u128::try_from(owner).unwrap(),
    )
}

const NAME: &str = "metadata log";
const COMMITTED: &str = "committed entries are the log's";
const LOST: &str = "lost entries are not the log's";
const REPLAYS: &str = "who replays sees the log";

/// Every schedule of up to so many steps.
pub fn no_schedule_breaks_the_log_in(steps: usize) {
    run::holds(NAME, Mutant::None, Extent::Steps(steps));
}

/// Every schedule there is.
pub fn no_schedule_breaks_the_log() {
    run::holds(NAME, Mutant::None, Extent::Whole);
}

/// Without any one of its rules it breaks.
pub fn each_rule_of_the_log_is_needed() {
    let mutants: [(&str, Mutant, &[&str]); 10] = [
        ("412-is-lost", Mutant::RefusedIsLost, &[LOST, COMMITTED]),
        ("404-is-failed", Mutant::AbsentIsLost, &[LOST]),
        ("rewrite-content", Mutant::RewriteContent, &[LOST]),
        ("ignore-epoch", Mutant::IgnoreEpoch, &["epochs never fall along the log", COMMITTED]),
        ("act-before-commit", Mutant::ActBeforeCommit, &[COMMITTED, LOST]),
        ("no-floor-check", Mutant::NoFloorCheck, &[COMMITTED]),
        ("quick-since-the-put", Mutant::QuickSinceThePut, &[COMMITTED]),
        ("no-floor-check-on-resolve", Mutant::NoFloorCheckOnResolve, &[COMMITTED, LOST]),
        ("no-floor-check-by-reader", Mutant::NoFloorCheckByReader, &[REPLAYS]),
        ("delete-before-floor", Mutant::DeleteBeforeFloor, &[COMMITTED, LOST, REPLAYS]),
    ];
    for (name, mutant, expected) in mutants {
        run::catches(NAME, name, mutant, expected);
    }
}
