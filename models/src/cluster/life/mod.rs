//! The life of objects: uploaded, published, moved to manifests, expired, deleted with a topic,
//! given up, swept; read all the while by somebody whose view is old.
//!
//! Owns: the bucket, and the steps of uploader, retention, reader, purge and sweep, each as the
//! product takes them: what it saw, what it put, what it proposed, what it deleted, with anything
//! between. Does not own: what the metadata makes of a record, that is the product's own `apply`.
//! Time is left out: a grace is over when nobody reads who began before, and anything may be old.

mod check;
mod retention;
mod sweep;
mod upload;
mod worlds;

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};
use uuid::Uuid;

use super::{
    apply::{Applied, At, Rejection},
    record::{Member, Record},
    state::State,
};
use crate::types::{
    BrokerId, ClusterId, Incarnation, MetadataIndex, Millis, PartitionId, SegmentId, StorageId,
    TopicId,
};
use retention::{Content, Proposal};
use sweep::Doomed;
use upload::Upload;

pub use worlds::{
    each_rule_of_objects_is_needed, no_schedule_harms_two_objects_in,
    one_object_lives_and_dies_whole, two_looks_at_a_partition_harm_nothing,
    two_objects_live_and_die_whole,
};

/// The uploader's incarnation.
const UPLOADER: Incarnation = Incarnation(1);
/// Topics, of one partition each; the first may be deleted.
const TOPICS: usize = 2;
/// Segments, of one object each with a record of every topic.
const SEGMENTS: usize = 3;

/// How large the world is.
#[derive(Clone, Copy, Debug)]
struct Shape {
    segments: usize,
    /// Tries at an object.
    tries: u8,
    /// Manifest numbers of a partition.
    versions: u64,
    /// Looks at a partition at a time: retention's, and that of somebody who deletes records.
    looks: usize,
    /// Whether a topic is deleted, log starts raised, somebody reads, an incarnation fenced.
    deletes: bool,
    raises: bool,
    reads: bool,
    fences: bool,
}

/// One rule less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// H45: who does not know what became of a publication deletes its object.
    DeleteOnError,
    /// I20: a put of unknown end is taken for done.
    PutUnverified,
    /// I19: the segment is given up when its object is put.
    TrimBeforePublish,
    /// An id may be published twice.
    PublishTwice,
    /// H46: given-up ids are not made void.
    NoVoid,
    /// H46: an id that is made void stays reserved.
    VoidKeepsReserved,
    /// H46: what an id is worth is not looked at again once it is void.
    JudgedBeforeVoid,
    /// H46: the sweep overlooks that an id is reserved.
    SweepReserved,
    /// The sweep overlooks that a manifest may still be published.
    SweepManifestAbove,
    /// H44: what is unlinked is deleted at once.
    NoGrace,
    /// H48: a run in a manifest does not count.
    CountNotKept,
    /// H48: an object goes with the first topic of which it has a run.
    UnlinkWhileReferenced,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    shape: Shape,
    mutant: Mutant,
}

/// Something in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Item {
    /// An object by its id and the try that made it.
    Object(u64, u8),
    /// A manifest version of a topic's partition.
    Manifest(usize, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    state: State,
    /// Objects that are there.
    objects: BTreeSet<(u64, u8)>,
    /// Manifest versions that are there.
    manifests: BTreeMap<(usize, u64), Content>,
    uploads: [Upload; SEGMENTS],
    uploader_over: bool,
    /// A publication whose end its uploader never learnt; it may still take effect.
    unheard: Option<usize>,
    proposals: [Vec<Proposal>; TOPICS],
    /// What somebody is about to read, as the metadata was when it began.
    reader: Option<Item>,
    /// Unlinked since the reader began.
    waiting: BTreeSet<Item>,
    doomed: Option<Doomed>,
    // What happened.
    missed: bool,
    orphan_swept: bool,
    void_refused: bool,
    purged: bool,
    moved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// A try at a segment's object: done, or of unknown end with the object there or not.
    Put(usize, PutEnd),
    Publish(usize),
    /// The uploader never learns what became of it.
    PublishUnheard(usize),
    /// An unheard publication takes effect after all.
    Land,
    Fence,
    /// Retention looks at a partition: so many runs are over, and fresh runs move or do not.
    Look(usize, usize, bool),
    /// One of the looks at a partition becomes a record, or nothing comes of it.
    Retain(usize, usize),
    Abandon(usize, usize),
    RaiseLogStart(usize),
    DeleteTopic(usize),
    ClearDeleted(usize),
    Plan(usize),
    Read,
    Purge(Item),
    /// The sweep finds something old, judges it, makes its id void, deletes it.
    Judge(Item),
    Void,
    Sweep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PutEnd {
    Done,
    UnknownThere,
    UnknownNot,
}

fn topic_id(topic: usize) -> TopicId {
    TopicId(Uuid::from_u128(u128::try_from(topic).unwrap() + 1))
}

fn partition_id(topic: usize) -> PartitionId {
    PartitionId { topic: topic_id(topic), index: 0 }
}

fn topic_of(id: PartitionId) -> usize {
    usize::try_from(id.topic.0.as_u128()).unwrap() - 1
}

fn segment_id(segment: usize) -> SegmentId {
    SegmentId { incarnation: UPLOADER, sequence: u64::try_from(segment).unwrap() }
}

impl Life {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == mutant
    }

    /// One entry of the log. Its index and time make no difference here, so they stay the same.
    fn commit(&self, world: &mut World, proposal: &[Record]) -> Result<Vec<Applied>, Rejection> {
        let at = At { index: MetadataIndex(UPLOADER.0), epoch: 1, time: Millis(0) };
        let before: BTreeSet<_> = world.unlinked().collect();
        let applied = world.state.propose(at, proposal)?;
        if world.reader.is_some() {
            let now: Vec<_> = world.unlinked().filter(|item| !before.contains(item)).collect();
            world.waiting.extend(now);
        }
        Ok(applied)
    }
}

impl World {
    fn unlinked(&self) -> impl Iterator<Item = Item> {
        let objects = self.state.unlinked.iter();
        let objects =
            objects.map(|(id, unlinked)| Item::Object(id.0, u8::try_from(unlinked.nonce).unwrap()));
        let manifests = self.state.unlinked_manifests.keys();
        objects.chain(manifests.map(|(id, version)| Item::Manifest(topic_of(*id), *version)))
    }

    fn is_there(&self, item: Item) -> bool {
        match item {
            Item::Object(id, attempt) => self.objects.contains(&(id, attempt)),
            Item::Manifest(topic, version) => self.manifests.contains_key(&(topic, version)),
        }
    }

    fn delete(&mut self, item: Item) {
        match item {
            Item::Object(id, attempt) => {
                self.objects.remove(&(id, attempt));
            }
            Item::Manifest(topic, version) => {
                self.manifests.remove(&(topic, version));
            }
        }
    }
}

impl Model for Life {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            state: State::new(ClusterId(Uuid::from_u128(9))),
            objects: BTreeSet::new(),
            manifests: BTreeMap::new(),
            uploads: [Upload::default(); SEGMENTS],
            uploader_over: false,
            unheard: None,
            proposals: Default::default(),
            reader: None,
            waiting: BTreeSet::new(),
            doomed: None,
            missed: false,
            orphan_swept: false,
            void_refused: false,
            purged: false,
            moved: false,
        };
        let (broker, storage) = (BrokerId(1), StorageId(Uuid::from_u128(7)));
        let host = "broker".to_owned();
        let register =
            Record::Register { broker: Some(broker), storage, host, port: 1, rack: None };
        let count = u64::try_from(self.shape.segments).unwrap();
        let reserve = Record::ObjectIdsReserved { incarnation: UPLOADER, count };
        let topic = |topic: usize| Record::TopicCreated {
            topic: topic_id(topic),
            name: format!("topic-{topic}"),
            partitions: 1,
            replication_factor: 1,
            leader: broker,
            configs: BTreeMap::new(),
        };
        let member = Member { broker, storage, incarnation: UPLOADER };
        let open = |segment: usize| Record::SegmentOpen {
            segment: segment_id(segment),
            nonce: 0,
            ensemble: vec![member],
        };
        let mut records = vec![register, reserve];
        records.extend((0..TOPICS).map(topic));
        records.extend((0..self.shape.segments).map(open));
        for record in records {
            self.commit(&mut world, &[record]).expect("a first state that holds");
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.upload_actions(world, actions);
        self.retention_actions(world, actions);
        self.sweep_actions(world, actions);
        self.reader_actions(world, actions);
        for item in world.unlinked() {
            if !world.waiting.contains(&item) || self.is(Mutant::NoGrace) {
                actions.push(Action::Purge(item));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Put(segment, end) => self.put(&mut world, segment, end),
            Action::Publish(segment) => self.publish(&mut world, segment),
            Action::PublishUnheard(segment) => self.publish_unheard(&mut world, segment),
            Action::Land => self.land(&mut world),
            Action::Fence => self.fence(&mut world),
            Action::Look(topic, over, moves) => self.look(&mut world, topic, over, moves)?,
            Action::Retain(topic, look) => self.retain(&mut world, topic, look),
            Action::Abandon(topic, look) => drop(world.proposals[topic].remove(look)),
            Action::RaiseLogStart(topic) => self.raise_log_start(&mut world, topic)?,
            Action::DeleteTopic(topic) => self.delete_topic(&mut world, topic)?,
            Action::ClearDeleted(topic) => self.clear_deleted(&mut world, topic)?,
            Action::Plan(topic) => self.plan(&mut world, topic)?,
            Action::Read => self.read(&mut world)?,
            Action::Purge(item) => self.purge(&mut world, item),
            Action::Judge(item) => self.judge(&mut world, item)?,
            Action::Void => self.void(&mut world),
            Action::Sweep => self.sweep(&mut world),
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(check::NAMED_IS_THERE, |_, world| {
                check::named_is_there(world)
            }),
            Property::<Self>::always(check::READERS_FIND, |_, world| !world.missed),
            Property::<Self>::always(check::COUNTS, |_, world| check::counts_are_right(world)),
            Property::<Self>::always(check::TILE, |_, world| check::runs_tile(world)),
            Property::<Self>::always(check::TRIMMED, |_, world| check::trimmed_is_published(world)),
            Property::<Self>::always(check::ORPHANS, |model, world| model.orphans_can_go(world)),
            Property::<Self>::sometimes("every segment is published and moved", {
                |model, world| {
                    world.moved && (0..model.shape.segments).all(|at| world.is_sealed(at))
                }
            }),
            Property::<Self>::sometimes("something is purged", |_, world| world.purged),
            Property::<Self>::sometimes("an orphan is swept", |_, world| world.orphan_swept),
            Property::<Self>::sometimes("a void id is refused", |_, world| world.void_refused),
            Property::<Self>::sometimes("all of a deleted topic is gone", |model, world| {
                let gone = !world.state.topics.contains_key(&topic_id(0));
                let none = world.state.deleted_partitions.is_empty();
                let mut manifests = world.manifests.keys();
                !model.shape.deletes
                    || gone && none && manifests.all(|(topic, _)| *topic != 0) && world.moved
            }),
        ]
    }
}
