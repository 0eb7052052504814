//! Seeds over the cores of the metadata log: commit, state and the rules of take-over and floor,
//! over a bucket that loses answers, repeats puts and lets them land late.
//!
//! Several processes, of which any may believe that it is controller. Invariants: what was answered
//! as done is in the log for ever, what was answered as refused never is (I22); each index holds
//! one entry, whoever reads it (I21); a start always finds the whole log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::state::storage;
use crate::{
    cluster::{
        ConfigResource, Entry, FORMAT, Record, SealedEntry, State,
        apply::At,
        commit::{Attempt, End, Event, Step},
        documents::SnapshotName,
        entry::Hash,
        snapshot,
    },
    env::{
        bugs::{Bug, Bugs},
        sim::proof::{Dice, Seeded, Trace, reached},
    },
    types::{ClusterId, MetadataIndex, Millis},
};

const METADATA: Seeded = Seeded {
    name: "metadata",
    test: "cluster::tests::seeds::every_seed",
    run,
    reaches: &[
        "H28: an own entry is found after a lost answer",
        "H29: an absent entry is put again",
        "H29: a put lands after it was given up",
        "H30: an index is lost to a higher epoch",
        "H30: a starter is overtaken",
        "H30: a lease that another took is seen before the next entry",
        "H32: a deleted index is written again",
        "H32: behind the floor a fate stays unknown",
        "H34: a start begins at a snapshot",
    ],
};

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(3));
const PROCESSES: usize = 3;
/// The floor stays this far behind the newest snapshot.
const KEPT: u64 = 2;
/// A put that took less than this cannot have met a floor that passed it; and the floor rises only
/// to entries four times as old.
const SAFE_FOR: Duration = Duration::from_secs(10);

/// A put that lands later, if its key is free then.
struct Flying {
    after: u64,
    index: u64,
    bytes: Bytes,
}

/// No entry is begun under a lease older than this.
const LEASE_OLD: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Bucket {
    entries: BTreeMap<u64, Bytes>,
    floor: u64,
    trimmed: u64,
    snapshots: Vec<(u64, Bytes, SnapshotName)>,
    lease: u64,
    flying: Vec<Flying>,
    /// What each index held first: what every reader saw or will see.
    first: BTreeMap<u64, Hash>,
}

impl Bucket {
    fn create(&mut self, index: u64, bytes: &Bytes) -> bool {
        if self.entries.contains_key(&index) {
            return false;
        }
        self.entries.insert(index, bytes.clone());
        let hash = SealedEntry::decode(bytes).unwrap().hash;
        if index <= self.trimmed {
            reached("H32: a deleted index is written again");
        }
        self.first.entry(index).or_insert(hash);
        true
    }

    /// One request passes.
    fn turn(&mut self) {
        for put in &mut self.flying {
            put.after = put.after.saturating_sub(1);
        }
        let (land, stay) =
            std::mem::take(&mut self.flying).into_iter().partition(|it| it.after == 0);
        self.flying = stay;
        let land: Vec<Flying> = land;
        for put in land {
            if self.create(put.index, &put.bytes) {
                reached("H29: a put lands after it was given up");
            }
        }
    }
}

/// An entry on its way.
struct Pending {
    attempt: Attempt,
    step: Step,
    index: u64,
    bytes: Bytes,
    hash: Hash,
    at: At,
    after: State,
    /// `None` for an epoch's start.
    name: Option<String>,
}

struct Process {
    state: State,
    epoch: u64,
    /// Its epoch's record is committed.
    is_controller: bool,
    pending: Option<Pending>,
    /// When its lease was known to be its own.
    proved: Duration,
}

struct World {
    dice: Dice,
    bugs: Bugs,
    bucket: Bucket,
    processes: [Option<Process>; PROCESSES],
    now: Duration,
    /// When each index was first written.
    written: BTreeMap<u64, Duration>,
    names: u64,
    done: BTreeSet<String>,
    refused: BTreeSet<String>,
    lies: bool,
    slow: bool,
    trims: bool,
    /// A process whose machine sleeps, an entry on its way.
    frozen: Option<usize>,
}

fn set(name: &str) -> Vec<Record> {
    let changes = BTreeMap::from([(name.to_owned(), Some("x".to_owned()))]);
    vec![Record::ConfigsChanged { resource: ConfigResource::Cluster, changes }]
}

impl World {
    fn new(seed: u64, bugs: Bugs) -> Self {
        let dice = Dice::new(seed);
        let (lies, slow, trims) = (!dice.one_in(4), dice.one_in(2), !dice.one_in(4));
        Self {
            dice,
            bugs,
            bucket: Bucket::default(),
            processes: [const { None }; PROCESSES],
            now: Duration::from_secs(1),
            written: BTreeMap::new(),
            names: 0,
            done: BTreeSet::new(),
            refused: BTreeSet::new(),
            lies,
            slow,
            trims,
            frozen: None,
        }
    }

    fn lie(&self, of: u64) -> bool {
        self.lies && self.dice.one_in(of)
    }

    /// The newest state that the bucket tells.
    fn replay(&self) -> State {
        let floor = self.bucket.floor;
        let usable = self.bucket.snapshots.iter().rev().find(|(index, ..)| *index >= floor);
        let mut state = match usable {
            Some((_, bytes, name)) => {
                reached("H34: a start begins at a snapshot");
                snapshot::decode(bytes, name).unwrap()
            }
            None => {
                assert_eq!(floor, 0, "no snapshot to begin with");
                State::new(CLUSTER)
            }
        };
        self.catch_up(&mut state);
        state
    }

    fn catch_up(&self, state: &mut State) {
        while let Some(bytes) = self.bucket.entries.get(&state.index.next().0) {
            let entry = SealedEntry::decode(bytes).unwrap();
            let applied = state.apply(&entry);
            assert!(applied.is_ok(), "the log is damaged: {:?}", applied.err());
        }
    }

    fn draft(&self, process: &Process, record: Vec<Record>, name: Option<String>) -> Pending {
        let (index, epoch) = (process.state.index.next(), process.epoch);
        let at = At { index, epoch, time: Millis(1) };
        let mut after = process.state.clone();
        after.propose(at, &record).expect("it holds after the state");
        let entry = Entry {
            format: FORMAT,
            cluster_id: CLUSTER,
            index,
            epoch,
            commit_id: Uuid::from_u128(u128::from(self.dice.below(u64::MAX))),
            prev_hash: process.state.hash,
            time_ms: at.time,
            proposals: vec![record],
        };
        let (bytes, hash) = entry.seal();
        let attempt = Attempt::new(index, entry.commit_id, process.proved, SAFE_FOR);
        let attempt = attempt.with_bugs(self.bugs);
        Pending { attempt, step: Step::Put, index: index.0, bytes, hash, at, after, name }
    }

    fn start(&mut self, which: usize) {
        let state = self.replay();
        let epoch = self.bucket.lease.max(state.epoch) + 1;
        self.bucket.lease = epoch;
        let proved = self.now;
        let mut process = Process { state, epoch, is_controller: false, pending: None, proved };
        let start = vec![Record::EpochStart { epoch, holder: storage(which) }];
        process.pending = Some(self.draft(&process, start, None));
        self.processes[which] = Some(process);
    }

    fn propose(&mut self, which: usize) {
        let Some(mut process) = self.processes[which].take() else { return };
        if process.is_controller && process.pending.is_none() {
            if self.now.saturating_sub(process.proved) > LEASE_OLD {
                if self.bucket.lease != process.epoch {
                    reached("H30: a lease that another took is seen before the next entry");
                    return;
                }
                process.proved = self.now;
            }
            self.names += 1;
            let name = format!("c{}", self.names);
            process.pending = Some(self.draft(&process, set(&name), Some(name.clone())));
        }
        self.processes[which] = Some(process);
    }

    /// Does what the process asks of the bucket next.
    fn advance(&mut self, which: usize) {
        let Some(mut process) = self.processes[which].take() else { return };
        let Some(mut pending) = process.pending.take() else {
            self.processes[which] = Some(process);
            return;
        };
        self.bucket.turn();
        if self.slow && self.dice.one_in(6) {
            self.now += SAFE_FOR;
        }
        let event = self.ask(&pending);
        pending.step = pending.attempt.next(event, self.now);
        if let Step::End(end) = pending.step {
            let goes_on = self.end(&mut process, pending, end);
            self.processes[which] = goes_on.then_some(process);
        } else {
            process.pending = Some(pending);
            self.processes[which] = Some(process);
        }
    }

    fn ask(&mut self, pending: &Pending) -> Event {
        match pending.step {
            Step::Put => self.put(pending),
            Step::ReadKey | Step::ReadFloor if self.lie(8) => Event::ReadFailed,
            Step::ReadKey => match self.bucket.entries.get(&pending.index) {
                Some(bytes) => {
                    let SealedEntry { entry: found, hash } = SealedEntry::decode(bytes).unwrap();
                    if hash == pending.hash {
                        reached("H28: an own entry is found after a lost answer");
                    }
                    Event::Holds { commit_id: found.commit_id, epoch: found.epoch }
                }
                None => Event::Holdless,
            },
            Step::ReadFloor => Event::Floor(MetadataIndex(self.bucket.floor)),
            Step::Pause => {
                reached("H29: an absent entry is put again");
                Event::Paused
            }
            Step::End(_) => panic!("it has ended"),
        }
    }

    fn put(&mut self, pending: &Pending) -> Event {
        let (index, bytes) = (pending.index, pending.bytes.clone());
        if self.lie(8) {
            return Event::NotStored;
        }
        if self.lie(5) {
            let after = 1 + self.dice.below(12);
            self.bucket.flying.push(Flying { after, index, bytes });
            return Event::NotStored;
        }
        if self.lie(8) {
            let after = 1 + self.dice.below(30);
            self.bucket.flying.push(Flying { after, index, bytes: bytes.clone() });
        }
        let stored = self.bucket.create(index, &bytes);
        if stored && !self.lie(5) { Event::Stored } else { Event::NotStored }
    }

    /// Whether the process goes on.
    fn end(&mut self, process: &mut Process, pending: Pending, end: End) -> bool {
        let Pending { index, hash, at, mut after, name, .. } = pending;
        match end {
            End::Committed => {
                after.follow(at, hash);
                process.state = after;
                process.is_controller = true;
                let first = self.bucket.first.get(&index);
                assert_eq!(first, Some(&hash), "another entry was first at {index}");
                self.done.extend(name);
                true
            }
            End::Lost { epoch } if name.is_none() => {
                // The holder before was still at it; its entries count up to ours.
                self.catch_up(&mut process.state);
                if process.state.epoch >= process.epoch || epoch == u64::MAX {
                    reached("H30: a starter is overtaken");
                    return false;
                }
                let epoch = process.epoch;
                let start = vec![Record::EpochStart { epoch, holder: storage(0) }];
                process.pending = Some(self.draft(process, start, None));
                true
            }
            End::Lost { epoch } => {
                assert!(epoch > process.epoch, "an entry of epoch {epoch} took the place of ours");
                reached("H30: an index is lost to a higher epoch");
                self.refused.extend(name);
                false
            }
            End::BehindFloor => {
                reached("H32: behind the floor a fate stays unknown");
                false
            }
        }
    }

    /// A controller writes a snapshot, raises the floor, deletes behind it.
    fn keep(&mut self, which: usize) {
        let Some(process) = &self.processes[which] else { return };
        if !self.trims || !process.is_controller {
            return;
        }
        let index = process.state.index.0;
        if self.bucket.snapshots.iter().all(|(known, ..)| *known < index) {
            let (bytes, name) = snapshot::encode(&process.state);
            self.bucket.snapshots.push((index, bytes, name));
        }
        // No entry goes whose put may still be on its way to be believed without a look.
        let old = |index: &u64| {
            self.written.get(index).is_some_and(|at| self.now.saturating_sub(*at) >= 4 * SAFE_FOR)
        };
        let newest = self.bucket.snapshots.last().map_or(0, |(index, ..)| *index);
        let floor = (1..=newest.saturating_sub(KEPT)).rev().find(old).unwrap_or(0);
        self.bucket.floor = self.bucket.floor.max(floor);
        while self.bucket.trimmed < self.bucket.floor && !self.dice.one_in(10) {
            self.bucket.trimmed += 1;
            self.bucket.entries.remove(&self.bucket.trimmed);
        }
        // A put that came late is deleted when its turn comes again, or never.
    }

    fn step(&mut self) {
        let which = self.dice.index(PROCESSES);
        if self.frozen == Some(which) {
            if !self.dice.one_in(20) {
                return;
            }
            self.frozen = None;
        }
        match self.dice.below(42) {
            0..=1 => self.start(which),
            2 => self.processes[which] = None,
            3..=8 => self.propose(which),
            9..=11 => self.keep(which),
            12 => self.now += SAFE_FOR * 3,
            13..=14 => {
                let process = self.processes[which].as_ref();
                if process.is_some_and(|it| it.is_controller && it.pending.is_some()) {
                    self.frozen = Some(which);
                }
            }
            _ => self.advance(which),
        }
        let highest = self.bucket.first.keys().next_back().copied().unwrap_or(0);
        self.written.entry(highest).or_insert(self.now);
    }
}

fn run(seed: u64, bugs: Bugs) -> u64 {
    let mut world = World::new(seed, bugs);
    let mut trace = Trace::default();
    for _ in 0..220 {
        world.step();
        trace.note((world.done.len(), world.bucket.floor, world.bucket.entries.len()));
    }
    // Puts that are late come now, or never.
    for _ in 0..40 {
        world.bucket.turn();
    }
    world.lies = false;
    world.processes = [const { None }; PROCESSES];
    world.start(0);
    while world.processes[0].as_ref().is_some_and(|process| !process.is_controller) {
        world.advance(0);
    }
    let process = world.processes[0].as_ref().expect("alone, a start succeeds");
    let known = &process.state.cluster_configs;
    let lost: Vec<_> = world.done.iter().filter(|name| !known.contains_key(*name)).collect();
    assert!(lost.is_empty(), "answered as done and lost: {lost:?}");
    let came: Vec<_> = world.refused.iter().filter(|name| known.contains_key(*name)).collect();
    assert!(came.is_empty(), "answered as refused and there: {came:?}");
    trace.note((&world.done, &world.refused, process.state.hash));
    trace.value()
}

#[test]
fn every_seed_answers_the_truth() {
    METADATA.holds(0..600);
}

#[test]
#[ignore = "CI: many seeds"]
fn many_seeds_answer_the_truth() {
    METADATA.holds(0..5000);
}

#[test]
fn a_seed_is_the_same_twice() {
    METADATA.repeats(0..3);
}

#[test]
fn each_mistake_of_the_metadata_log_is_caught() {
    let bugs = [
        Bug::RefusedIsLost,
        Bug::AbsentIsLost,
        Bug::FloorUnreadAfterCreate,
        Bug::FloorUnreadAfterKey,
    ];
    METADATA.catches(&bugs, &(0..6000));
}
