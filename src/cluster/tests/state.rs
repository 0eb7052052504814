//! The state machine under random records, held to a naive account of manifests and objects.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::codec::CLUSTER;
use crate::{
    cluster::{
        Applied, ConfigResource, Entry, FORMAT, ManifestRef, Member, NewObject, NewRun, Record,
        Rejection, SealedEntry, SegmentStatus, State, snapshot,
    },
    env::{
        bugs::{Bug, Bugs},
        sim::proof::{Dice, Seeded, Trace},
    },
    types::{
        BrokerId, Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId, SegmentId,
        StorageId, TopicId,
    },
};

/// The state, every entry that led to it, and what the manifests' objects would hold.
pub(super) struct World {
    pub(super) state: State,
    entries: Vec<SealedEntry>,
    manifests: BTreeMap<PartitionId, Vec<ObjectId>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_bugs(Bugs::NONE)
    }

    pub(super) fn with_bugs(bugs: Bugs) -> Self {
        let state = State::new(CLUSTER).with_bugs(bugs);
        let mut world = Self { state, entries: Vec::new(), manifests: BTreeMap::new() };
        world.commit(vec![Record::EpochStart { epoch: 1, holder: storage(0) }]).unwrap();
        world
    }

    /// One proposal as one entry.
    #[allow(clippy::needless_pass_by_value, reason = "callers make it for this")]
    pub(super) fn commit(&mut self, proposal: Vec<Record>) -> Result<Vec<Applied>, Rejection> {
        let entry = Entry {
            format: FORMAT,
            cluster_id: CLUSTER,
            index: self.state.index.next(),
            epoch: 1,
            commit_id: Uuid::from_u128(5),
            prev_hash: self.state.hash,
            time_ms: Millis(i64::try_from(self.state.index.0).unwrap() * 10),
            proposals: vec![proposal.clone()],
        };
        let hash = entry.seal().1;
        let sealed = SealedEntry { entry, hash };
        let before = self.state.clone();
        let result = self.state.apply(&sealed).unwrap().remove(0);
        self.entries.push(sealed);
        self.never_back(&before);
        if result.is_ok() {
            self.account(&before, &proposal);
        } else {
            let mut same = self.state.clone();
            (same.index, same.hash) = (before.index, before.hash);
            assert_eq!(same, before, "a refused proposal changes nothing");
        }
        result
    }

    /// Starts and ends of partitions never go back (I5).
    fn never_back(&self, before: &State) {
        for (id, topic) in &before.topics {
            let Some(now) = self.state.topics.get(id) else { continue };
            for (then, now) in topic.partitions.iter().zip(&now.partitions) {
                assert!(now.log_start >= then.log_start, "a log start went back");
                assert!(now.end >= then.end, "an end went back");
            }
        }
    }

    fn account(&mut self, before: &State, proposal: &[Record]) {
        for record in proposal {
            match record {
                Record::ManifestPublished { partition, manifest, dropped, .. } => {
                    let held = self.manifests.entry(*partition).or_default();
                    held.drain(..dropped.len());
                    let before = before.partition(*partition).unwrap();
                    let runs = before.runs.iter().filter(|run| run.end > before.log_start);
                    held.extend(runs.filter(|run| run.end <= manifest.end).map(|run| run.object));
                }
                Record::DeletedPartitionCleared { partition, objects, .. } => {
                    self.manifests.get_mut(partition).unwrap().drain(..objects.len());
                }
                _ => {}
            }
        }
    }

    fn check(&self) {
        let state = &self.state;
        let mut fresh: BTreeMap<ObjectId, u32> = BTreeMap::new();
        let mut listed: BTreeMap<ObjectId, u32> = BTreeMap::new();
        for topic in state.topics.values() {
            assert_eq!(state.names.get(&topic.name), Some(&topic.id));
            for (index, partition) in (0..).zip(&topic.partitions) {
                check_partition(state, PartitionId { topic: topic.id, index });
                for run in &partition.runs {
                    *fresh.entry(run.object).or_default() += 1;
                }
            }
        }
        assert_eq!(state.names.len(), state.topics.len());
        for object in self.manifests.values().flatten() {
            *listed.entry(*object).or_default() += 1;
        }
        let named: BTreeSet<_> = fresh.keys().chain(listed.keys()).copied().collect();
        assert_eq!(named, state.objects.keys().copied().collect(), "objects are those named");
        for (id, object) in &state.objects {
            assert_eq!(object.fresh_runs, fresh.get(id).copied().unwrap_or_default());
            assert_eq!(object.manifest_runs, listed.get(id).copied().unwrap_or_default());
            assert!(!state.unlinked.contains_key(id));
        }
        for (id, segment) in &state.segments {
            let owner = &state.incarnations[&id.incarnation];
            assert_eq!(segment.status == SegmentStatus::Recovering, owner.fenced);
            assert!(state.segments_of(id.incarnation).count() <= 3);
        }
        let mut reserved = BTreeSet::new();
        for owner in state.incarnations.values() {
            for range in &owner.reserved {
                assert!(!owner.fenced && range.start >= state.voided_below);
                assert!(range.start < range.end && range.end <= state.next_object_id);
                for id in range.start.0..range.end.0 {
                    assert!(reserved.insert(ObjectId(id)), "an id is reserved once");
                    assert!(state.object_key(ObjectId(id)).is_none(), "and published once");
                }
            }
        }
    }
}

fn check_partition(state: &State, id: PartitionId) {
    let partition = state.partition(id).unwrap();
    assert!(state.incarnations.contains_key(&partition.incarnation));
    let mut at = partition.manifest.map_or(Offset::ZERO, |manifest| manifest.end);
    for run in &partition.runs {
        assert!(run.base < run.end);
        assert!(run.end > partition.log_start || partition.runs.len() == 1, "only the newest");
        assert!(run.base == at || (run.base > at && run.base <= partition.log_start));
        at = run.end;
    }
    let reached = at == partition.end || at <= partition.log_start;
    assert!(partition.runs.is_empty() || reached, "runs reach the end");
    let epochs = &partition.epochs;
    assert!(
        epochs.windows(2).all(|two| { two[0].epoch < two[1].epoch && two[0].start < two[1].start })
    );
    assert_eq!(epochs.last().unwrap().epoch, partition.leader_epoch);
    assert!(epochs[0].start <= partition.log_start);
    assert!(epochs.get(1).is_none_or(|second| second.start > partition.log_start));
}

/// Small numbers that pick what a step does.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    a: usize,
    b: usize,
    wrong: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..20_u8, 0..1000_usize, 0..1000_usize, 0..8_u8)
        .prop_map(|(kind, a, b, wrong)| Step { kind, a, b, wrong: wrong == 0 });
    prop::collection::vec(step, 1..120)
}

pub(super) fn storage(n: usize) -> StorageId {
    StorageId(Uuid::from_u128(100 + u128::try_from(n).unwrap()))
}

pub(super) fn register(broker: i32, disk: usize) -> Record {
    Record::Register {
        broker: Some(BrokerId(broker)),
        storage: storage(disk),
        host: "b".to_owned(),
        port: 9092,
        rack: None,
    }
}

fn nth<T: Copy>(items: impl IntoIterator<Item = T>, n: usize) -> Option<T> {
    let items: Vec<T> = items.into_iter().collect();
    items.get(n.checked_rem(items.len())?).copied()
}

impl World {
    fn incarnation(&self, n: usize) -> Incarnation {
        nth(self.state.incarnations.keys().copied(), n).unwrap_or(Incarnation(99))
    }

    fn partition(&self, n: usize) -> PartitionId {
        let all = self.state.topics.values().flat_map(|topic| {
            (0..).zip(&topic.partitions).map(|(index, _)| PartitionId { topic: topic.id, index })
        });
        nth(all, n).unwrap_or(PartitionId { topic: TopicId(Uuid::from_u128(9)), index: 0 })
    }

    fn open(&self, step: Step) -> Record {
        let incarnation = self.incarnation(step.a);
        let owner = self.state.incarnations.get(&incarnation);
        let (broker, disk) =
            owner.map_or((BrokerId(0), storage(0)), |owner| (owner.broker, owner.storage));
        let sequence = owner.map_or(0, |owner| owner.next_segment);
        let sequence = if step.wrong { sequence.saturating_sub(1) } else { sequence };
        let segment = SegmentId { incarnation, sequence };
        let ensemble = vec![Member { broker, storage: disk, incarnation }];
        Record::SegmentOpen { segment, nonce: 1, ensemble }
    }

    /// Objects with a run for some partitions of `writer`, uploaded by `uploader`.
    fn objects(&self, writer: Incarnation, uploader: Incarnation, step: Step) -> Vec<NewObject> {
        let reserved = self.state.incarnations.get(&uploader).map(|owner| &owner.reserved);
        let ids = reserved.into_iter().flatten().flat_map(|range| range.start.0..range.end.0);
        // Ids that nobody has yet, or that nobody may use any more.
        let nobodys = self.state.next_object_id.0 + u64::try_from(step.a % 3).unwrap();
        let nobodys = (step.wrong && step.b.is_multiple_of(4)).then_some(nobodys);
        let ids = nobodys.into_iter().chain(ids);
        let mut ends = BTreeMap::new();
        let object = |(n, id): (usize, u64)| {
            let mut runs = Vec::new();
            for (topic, index, partition) in self.state.topics.values().flat_map(|topic| {
                (0..).zip(&topic.partitions).map(|(index, found)| (topic.id, index, found))
            }) {
                let skip = (step.b + n + usize::try_from(index).unwrap()).is_multiple_of(3);
                if partition.incarnation != writer || skip {
                    continue;
                }
                let id = PartitionId { topic, index };
                let at = *ends.get(&id).unwrap_or(&partition.end);
                let base = if step.wrong { at.advance(2) } else { at };
                let end = base.advance(1 + i64::try_from(step.b % 7).unwrap());
                ends.insert(id, end);
                runs.push(NewRun {
                    partition: id,
                    leader_epoch: partition.leader_epoch,
                    base,
                    end,
                    bytes: 10,
                    max_timestamp: Millis(1),
                    last_append: Millis(2),
                });
            }
            NewObject { object: ObjectId(id), incarnation: uploader, nonce: 7, bytes: 99, runs }
        };
        ids.take(step.b % 3).enumerate().map(object).collect()
    }

    fn upload(&self, step: Step) -> Record {
        let segment = nth(self.state.segments.keys().copied(), step.a)
            .unwrap_or(SegmentId { incarnation: Incarnation(9), sequence: 0 });
        let objects = self.objects(segment.incarnation, segment.incarnation, step);
        Record::SegmentUploaded { segment, entries: 3, objects }
    }

    fn recover(&self, step: Step) -> Record {
        let incarnation = nth(self.state.to_recover().map(|(id, _)| id), step.a)
            .unwrap_or_else(|| self.incarnation(step.a));
        let successor = BrokerId(i32::try_from(step.b % 3).unwrap());
        let uploader = self.state.living_broker(successor).unwrap_or(Incarnation(9));
        let mut segments: Vec<_> =
            self.state.segments_of(incarnation).map(|(id, _)| (id, 5)).collect();
        if step.wrong {
            segments.pop();
        }
        let objects = self.objects(incarnation, uploader, step);
        let possible_loss = false;
        Record::SegmentsRecovered { incarnation, segments, objects, successor, possible_loss }
    }

    fn manifest(&self, step: Step) -> Record {
        let id = self.partition(step.a);
        let partition = self.state.partition(id);
        let fresh = partition.map_or(&[][..], |partition| &partition.runs);
        let take = step.b % (fresh.len() + 1);
        let before = partition.and_then(|partition| partition.manifest);
        let old = self.manifests.get(&id).map_or(&[][..], |held| held);
        let dropped = old[..(step.b / 10) % (old.len() + 1)].to_vec();
        let end = before.map_or(Offset::ZERO, |before| before.end);
        let end = fresh[..take].last().map_or(end, |run| run.end);
        let start = partition.map_or(Offset::ZERO, |partition| partition.log_start);
        let live = fresh[..take].iter().filter(|run| run.end > start).count();
        let kept = old.len() - dropped.len() + live + usize::from(step.wrong);
        let manifest = ManifestRef {
            version: before.map_or(0, |before| before.version) + 1,
            start: Offset::ZERO,
            end,
            bytes: 1,
            runs: u64::try_from(kept).unwrap(),
            oldest_timestamp: Millis(0),
        };
        let replaces = manifest.version - 1;
        Record::ManifestPublished { partition: id, replaces, manifest, dropped }
    }

    fn clear(&self, step: Step) -> Record {
        let deleted = nth(self.state.deleted_partitions.keys().copied(), step.a);
        let partition = deleted.unwrap_or_else(|| self.partition(step.a));
        let held = self.manifests.get(&partition).map_or(&[][..], |held| held);
        let some = &held[..step.b % (held.len() + 1)];
        let done = (some.len() == held.len()) != step.wrong;
        Record::DeletedPartitionCleared { partition, objects: some.to_vec(), done }
    }

    fn create(&self, step: Step) -> Record {
        Record::TopicCreated {
            topic: TopicId(Uuid::from_u128(u128::from(self.state.index.0) + 1)),
            name: format!("t{}", step.a % 4),
            partitions: i32::try_from(step.b % 4).unwrap(),
            replication_factor: 1,
            leader: BrokerId(i32::try_from(step.a % 3).unwrap()),
            configs: BTreeMap::new(),
        }
    }

    fn record(&self, step: Step) -> Record {
        let number = u64::try_from(step.b).unwrap();
        let id = self.partition(step.a);
        match step.kind {
            0 => register(i32::try_from(step.a % 3).unwrap(), step.b % 4),
            1 if step.b.is_multiple_of(4) => {
                Record::Fence { incarnation: self.incarnation(step.a) }
            }
            1 => Record::Drained { incarnation: self.incarnation(step.a) },
            2 | 3 => self.open(step),
            4..=7 => self.upload(step),
            8 | 9 => self.recover(step),
            10 => Record::ObjectIdsReserved {
                incarnation: self.incarnation(step.a),
                count: number % 9,
            },
            11 if step.wrong => Record::ObjectIdsVoided { below: ObjectId(number % 20) },
            11..=13 => self.create(step),
            14 if step.wrong => Record::TopicDeleted { topic: id.topic },
            14 => Record::PartitionsAdded { topic: id.topic, count: 4 },
            15 => Record::LogStartRaised {
                partition: id,
                to: Offset(i64::try_from(step.b % 30).unwrap()),
            },
            16 | 17 => self.manifest(step),
            18 => self.clear(step),
            _ => Record::ObjectsPurged {
                objects: self.state.unlinked.keys().take(step.a % 3).copied().collect(),
                manifests: self.state.unlinked_manifests.keys().take(step.b % 3).copied().collect(),
            },
        }
    }
}

/// Whatever is proposed the state stays whole.
fn live(steps: impl IntoIterator<Item = Step>, bugs: Bugs) -> World {
    let mut world = World::with_bugs(bugs);
    for disk in 0..3 {
        world.commit(vec![register(i32::try_from(disk).unwrap(), disk)]).unwrap();
    }
    for step in steps {
        let record = world.record(step);
        let holds = world.state.check(&record);
        assert_eq!(holds.is_ok(), world.commit(vec![record]).is_ok());
        world.check();
    }
    let (bytes, name) = snapshot::encode(&world.state);
    let read = snapshot::decode(&bytes, &name).unwrap().with_bugs(bugs);
    assert_eq!(read, world.state);
    assert_eq!(snapshot::encode(&read).0, bytes);
    // The same entries make the same state.
    let mut again = State::new(CLUSTER).with_bugs(bugs);
    for entry in &world.entries {
        let (bytes, _) = entry.entry.seal();
        again.apply(&SealedEntry::decode(&bytes).unwrap()).unwrap();
    }
    assert_eq!(again, world.state);
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_proposed_the_state_stays_whole(steps in steps()) {
        live(steps, Bugs::NONE);
    }
}

const STATE: Seeded =
    Seeded { name: "state", test: "cluster::tests::state::every_seed", run, reaches: &[] };

fn run(seed: u64, bugs: Bugs) -> u64 {
    let dice = Dice::new(seed);
    let steps = 1 + dice.below(100);
    let step = |_| {
        let kind = u8::try_from(dice.below(20)).unwrap();
        Step { kind, a: dice.index(1000), b: dice.index(1000), wrong: dice.one_in(8) }
    };
    let world = live((0..steps).map(step), bugs);
    let mut trace = Trace::default();
    trace.note((world.state.hash, world.state.objects.len()));
    trace.value()
}

#[test]
fn every_seed_keeps_the_state_whole() {
    STATE.holds(0..300);
}

#[test]
#[ignore = "CI: many seeds"]
fn many_seeds_keep_the_state_whole() {
    STATE.holds(0..3000);
}

#[test]
fn a_seed_is_the_same_twice() {
    STATE.repeats(0..3);
}

#[test]
fn each_mistake_in_the_rules_of_the_state_is_caught() {
    let bugs = [
        Bug::LogStartBackwards,
        Bug::GapPublished,
        Bug::UnreservedPublished,
        Bug::MovedRunUncounted,
    ];
    STATE.catches(&bugs, &(0..1000));
}

/// A broker with a topic `t` of one partition, ids to publish under, and a segment open.
pub(super) fn lone() -> (World, Incarnation, PartitionId) {
    let mut world = World::new();
    let registered = world.commit(vec![register(1, 1)]).unwrap();
    let [Applied::Registered { incarnation, .. }] = registered[..] else { panic!("registered") };
    world.commit(vec![Record::ObjectIdsReserved { incarnation, count: 100 }]).unwrap();
    let topic = TopicId(Uuid::from_u128(50));
    world.commit(vec![topic_created(topic, "t")]).unwrap();
    world.commit(vec![opened(incarnation, 0)]).unwrap();
    (world, incarnation, PartitionId { topic, index: 0 })
}

fn topic_created(topic: TopicId, name: &str) -> Record {
    Record::TopicCreated {
        topic,
        name: name.to_owned(),
        partitions: 1,
        replication_factor: 1,
        leader: BrokerId(1),
        configs: BTreeMap::new(),
    }
}

fn opened(incarnation: Incarnation, sequence: u64) -> Record {
    let segment = SegmentId { incarnation, sequence };
    let member = Member { broker: BrokerId(1), storage: storage(1), incarnation };
    Record::SegmentOpen { segment, nonce: 1, ensemble: vec![member] }
}

fn object(id: u64, incarnation: Incarnation, runs: &[(PartitionId, i64, i64)]) -> NewObject {
    let run = |(partition, base, end): &(PartitionId, i64, i64)| NewRun {
        partition: *partition,
        leader_epoch: LeaderEpoch(0),
        base: Offset(*base),
        end: Offset(*end),
        bytes: 1,
        max_timestamp: Millis(0),
        last_append: Millis(0),
    };
    let runs = runs.iter().map(run).collect();
    NewObject { object: ObjectId(id), incarnation, nonce: 3, bytes: 10, runs }
}

fn uploaded(incarnation: Incarnation, sequence: u64, objects: Vec<NewObject>) -> Vec<Record> {
    let segment = SegmentId { incarnation, sequence };
    vec![Record::SegmentUploaded { segment, entries: 1, objects }]
}

fn recovered(former: Incarnation, segments: &[u64], objects: Vec<NewObject>) -> Vec<Record> {
    let segment = |sequence: &u64| (SegmentId { incarnation: former, sequence: *sequence }, 1);
    vec![Record::SegmentsRecovered {
        incarnation: former,
        segments: segments.iter().map(segment).collect(),
        objects,
        successor: BrokerId(1),
        possible_loss: false,
    }]
}

#[test]
fn a_fourth_open_segment_is_refused() {
    let (mut world, incarnation, _) = lone();
    world.commit(vec![opened(incarnation, 1)]).unwrap();
    world.commit(vec![opened(incarnation, 2)]).unwrap();
    let refused = world.commit(vec![opened(incarnation, 3)]);
    assert_eq!(refused, Err(Rejection::TooManySegments(incarnation)));
    let both = [uploaded(incarnation, 0, vec![]), vec![opened(incarnation, 3)]].concat();
    world.commit(both).expect("close, upload and next open go in one proposal");
}

#[test]
fn a_gap_between_segments_is_refused_whichever_comes_first() {
    let (mut world, incarnation, partition) = lone();
    world.commit(vec![opened(incarnation, 1)]).unwrap();
    let second = uploaded(incarnation, 1, vec![object(2, incarnation, &[(partition, 5, 9)])]);
    let refused = world.commit(second.clone());
    assert!(matches!(refused, Err(Rejection::NotContiguous { .. })), "{refused:?}");
    let first = uploaded(incarnation, 0, vec![object(1, incarnation, &[(partition, 0, 5)])]);
    world.commit(first).unwrap();
    world.commit(second).unwrap();
    world.check();
}

#[test]
fn the_same_segment_or_object_is_published_once() {
    let (mut world, incarnation, partition) = lone();
    let upload = uploaded(incarnation, 0, vec![object(1, incarnation, &[(partition, 0, 5)])]);
    world.commit(upload.clone()).unwrap();
    assert!(matches!(world.commit(upload), Err(Rejection::SegmentNotOpen(_))));
    world.commit(vec![opened(incarnation, 1)]).unwrap();
    let again = uploaded(incarnation, 1, vec![object(1, incarnation, &[(partition, 5, 6)])]);
    assert_eq!(world.commit(again), Err(Rejection::NotReserved(ObjectId(1))));
}

#[test]
fn a_void_id_is_never_published() {
    let (mut world, incarnation, partition) = lone();
    world.commit(vec![Record::ObjectIdsVoided { below: ObjectId(5) }]).unwrap();
    let upload = uploaded(incarnation, 0, vec![object(4, incarnation, &[(partition, 0, 5)])]);
    assert_eq!(world.commit(upload), Err(Rejection::NotReserved(ObjectId(4))));
    let upload = uploaded(incarnation, 0, vec![object(5, incarnation, &[(partition, 0, 5)])]);
    world.commit(upload).unwrap();
}

#[test]
fn a_new_registration_fences_and_recovery_moves_every_partition_at_its_end() {
    let (mut world, former, partition) = lone();
    world.commit(vec![opened(former, 1)]).unwrap();
    let upload = uploaded(former, 0, vec![object(1, former, &[(partition, 0, 5)])]);
    world.commit(upload).unwrap();
    world.commit(vec![opened(former, 2)]).unwrap();
    world.commit(vec![register(1, 1)]).unwrap();
    let now = world.state.living_broker(BrokerId(1)).unwrap();
    let late = uploaded(former, 1, vec![]);
    assert_eq!(world.commit(late), Err(Rejection::Fenced(former)));
    assert_eq!(world.commit(vec![opened(former, 3)]), Err(Rejection::Fenced(former)));
    assert_eq!(world.state.to_recover().count(), 1);
    assert_eq!(world.state.partition(partition).unwrap().incarnation, former);
    world.commit(vec![Record::ObjectIdsReserved { incarnation: now, count: 10 }]).unwrap();
    let rest = object(101, now, &[(partition, 5, 8)]);
    let some = world.commit(recovered(former, &[1], vec![rest.clone()]));
    assert!(some.is_err(), "all segments or none, the unused spare too");
    world.commit(recovered(former, &[1, 2], vec![rest.clone()])).unwrap();
    let moved = world.state.partition(partition).unwrap();
    assert_eq!(
        (moved.incarnation, moved.leader_epoch, moved.end),
        (now, LeaderEpoch(1), Offset(8))
    );
    assert_eq!(moved.epochs.iter().map(|epoch| epoch.start.0).collect::<Vec<_>>(), [0, 8]);
    assert_eq!(moved.end_of_epoch(LeaderEpoch(0), Offset(9)), Some((LeaderEpoch(0), Offset(8))));
    let again = world.commit(recovered(former, &[1, 2], vec![rest]));
    assert_eq!(again, Err(Rejection::NotRecovering(former)), "the first wins");
    world.check();
}

#[test]
fn an_epoch_without_a_record_leaves_no_trace() {
    let (mut world, mut former, partition) = lone();
    for _ in 0..3 {
        world.commit(vec![register(1, 1)]).unwrap();
        let segments: Vec<u64> =
            world.state.segments_of(former).map(|(id, _)| id.sequence).collect();
        world.commit(recovered(former, &segments, vec![])).unwrap();
        former = world.state.living_broker(BrokerId(1)).unwrap();
    }
    let partition = world.state.partition(partition).unwrap();
    assert_eq!(partition.leader_epoch, LeaderEpoch(3));
    assert_eq!(partition.epochs.len(), 1);
}

#[test]
fn deletion_never_blocks_an_upload() {
    let (mut world, incarnation, partition) = lone();
    world.commit(vec![opened(incarnation, 1)]).unwrap();
    let raise = Record::LogStartRaised { partition, to: Offset(7) };
    world.commit(vec![raise]).unwrap();
    // 0..5 is below the log start and left out altogether, 5..7 is uploaded though dead.
    let upload = uploaded(incarnation, 0, vec![object(1, incarnation, &[(partition, 5, 7)])]);
    world.commit(upload).unwrap();
    let runs = &world.state.partition(partition).unwrap().runs;
    assert_eq!(runs.len(), 1, "it ends with the newest producer state, which no manifest has yet");
    world.check();
    world.commit(vec![Record::TopicDeleted { topic: partition.topic }]).unwrap();
    let upload = uploaded(incarnation, 1, vec![object(2, incarnation, &[(partition, 900, 901)])]);
    world.commit(upload).unwrap();
    let unlinked: Vec<_> = world.state.unlinked.keys().map(|object| object.0).collect();
    assert_eq!(unlinked, [1, 2], "objects nobody names are unlinked");
    world.check();
}

#[test]
fn the_newest_run_stays_below_the_log_start_until_a_manifest_or_a_newer_run_covers_it() {
    let (mut world, incarnation, partition) = lone();
    let objects = vec![
        object(1, incarnation, &[(partition, 0, 5)]),
        object(2, incarnation, &[(partition, 5, 9)]),
    ];
    world.commit(uploaded(incarnation, 0, objects)).unwrap();
    world.commit(vec![Record::LogStartRaised { partition, to: Offset(12) }]).unwrap();
    let listed = |world: &World| {
        let runs = &world.state.partition(partition).unwrap().runs;
        runs.iter().map(|run| run.object.0).collect::<Vec<_>>()
    };
    assert_eq!(listed(&world), [2]);
    world.check();
    world.commit(vec![opened(incarnation, 1)]).unwrap();
    let newer = object(3, incarnation, &[(partition, 9, 12)]);
    world.commit(uploaded(incarnation, 1, vec![newer])).unwrap();
    assert_eq!(listed(&world), [3]);
    world.check();
    let manifest = ManifestRef {
        version: 1,
        start: Offset(12),
        end: Offset(12),
        bytes: 0,
        runs: 0,
        oldest_timestamp: Millis(0),
    };
    let published = Record::ManifestPublished { partition, replaces: 0, manifest, dropped: vec![] };
    world.commit(vec![published]).unwrap();
    assert!(listed(&world).is_empty() && world.state.objects.is_empty());
    world.check();
}

#[test]
fn a_topic_may_be_created_again_with_another_id() {
    let (mut world, _, partition) = lone();
    let other = TopicId(Uuid::from_u128(51));
    let exists = world.commit(vec![topic_created(other, "t")]);
    assert_eq!(exists, Err(Rejection::TopicExists("t".to_owned())));
    world.commit(vec![Record::TopicDeleted { topic: partition.topic }]).unwrap();
    world.commit(vec![topic_created(other, "t")]).unwrap();
    assert_eq!(world.state.topic("t").unwrap().id, other);
}

#[test]
fn a_run_that_died_does_not_come_back_in_a_manifest() {
    let (mut world, incarnation, partition) = lone();
    let first = object(1, incarnation, &[(partition, 0, 5)]);
    let second = object(2, incarnation, &[(partition, 5, 9)]);
    world.commit(uploaded(incarnation, 0, vec![first, second])).unwrap();
    let manifest = |runs| ManifestRef {
        version: 1,
        start: Offset(0),
        end: Offset(9),
        bytes: 2,
        runs,
        oldest_timestamp: Millis(0),
    };
    let publish = |runs| {
        let manifest = manifest(runs);
        vec![Record::ManifestPublished { partition, replaces: 0, manifest, dropped: vec![] }]
    };
    world.commit(vec![Record::LogStartRaised { partition, to: Offset(5) }]).unwrap();
    assert!(matches!(world.commit(publish(2)), Err(Rejection::Overtaken(_))));
    world.commit(publish(1)).unwrap();
    world.check();
    assert!(matches!(world.commit(publish(1)), Err(Rejection::Overtaken(_))));
}

#[test]
fn a_proposal_holds_whole_or_not_at_all() {
    let (mut world, incarnation, partition) = lone();
    let changes = BTreeMap::from([("a".to_owned(), Some("b".to_owned()))]);
    let change = Record::ConfigsChanged { resource: ConfigResource::Cluster, changes };
    let fails = Record::PartitionsAdded { topic: partition.topic, count: 1 };
    assert!(world.commit(vec![change.clone(), fails]).is_err());
    assert!(world.state.cluster_configs.is_empty());
    world.commit(vec![change, Record::ObjectIdsReserved { incarnation, count: 1 }]).unwrap();
    assert_eq!(world.state.cluster_configs.len(), 1);
}

#[test]
fn a_disk_keeps_its_broker_id() {
    let mut world = World::new();
    let register = |disk| {
        let (host, rack) = ("b".to_owned(), None);
        vec![Record::Register { broker: None, storage: storage(disk), host, port: 1, rack }]
    };
    let ids = [1, 2, 1].map(|disk| match world.commit(register(disk)).unwrap()[..] {
        [Applied::Registered { broker, .. }] => broker.0,
        _ => panic!("registered"),
    });
    assert_eq!(ids, [1, 2, 1]);
    assert_eq!(world.state.to_recover().count(), 1, "the former incarnation is fenced");
}

#[test]
fn a_drained_incarnation_may_do_nothing_and_has_nothing() {
    let (mut world, incarnation, partition) = lone();
    assert!(world.commit(vec![Record::Drained { incarnation }]).is_err(), "a segment is open");
    world.commit(uploaded(incarnation, 0, vec![])).unwrap();
    world.commit(vec![Record::Drained { incarnation }]).unwrap();
    assert_eq!(world.commit(vec![opened(incarnation, 1)]), Err(Rejection::Fenced(incarnation)));
    world.commit(vec![register(1, 1)]).unwrap();
    world.commit(recovered(incarnation, &[], vec![])).unwrap();
    assert_eq!(world.state.partition(partition).unwrap().leader_epoch, LeaderEpoch(1));
    world.check();
}
