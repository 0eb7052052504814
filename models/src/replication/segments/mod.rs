//! One incarnation's segments from the first entry to the seal: the product's writer, members and
//! recovery, with disks that forget, links that delay for ever, and recoverers that come at any
//! time, whether the writer is dead or not.
//!
//! Owns: links, disks, the bucket and what the metadata log says of the segments. Does not own: any
//! decision of the cores. Links are cumulative: an entry is what a segment has at its number, an
//! acknowledgement the highest one sent. Publishing a segment opens the next in the same entry.

mod disks;
mod recover;
mod worlds;
mod write;

use stateright::{Model, Property};

use disks::Disk;
use recover::Recoverer;

pub use worlds::{
    a_record_outlives_a_chain_of_three, a_record_outlives_a_lost_disk_and_a_damaged_one,
    a_record_outlives_slow_disks_that_restart, each_rule_of_segments_is_needed,
    two_records_outlive_a_lost_disk_and_a_damaged_one, two_records_outlive_recovery,
    two_recoverers_agree,
};

use super::writer::Writer;
use crate::{
    types::{BrokerId, Incarnation, SegmentId, StorageId},
    wal::{Member, OpenSegment, Previous},
};

/// Disks there may be; the writer's own is 0.
const DISKS: usize = 4;
/// Segments there may be.
const SEGMENTS: usize = 3;

/// How large the world is.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Disks of an ensemble, of one more that there are.
    copies: usize,
    /// Records appended.
    entries: u8,
    segments: usize,
    /// Members found slow or dead.
    leaves: u8,
    rolls: bool,
    /// The writer closes all it has.
    drains: bool,
    recoverers: usize,
    /// Disks lost for good.
    wipes: u8,
    /// Disks that lose the end of what they had, and know that something is wrong.
    losses: u8,
    /// Disks take their time, and restart without what they had not synced.
    slow_disks: bool,
    restarts: u8,
}

/// One rule less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// H1: the ensemble is changed in place.
    SwapLocal,
    /// H4: a segment that was left goes on counting acknowledgements.
    NoFreeze,
    /// H4: the header names what was sent, not what was committed.
    HeaderOfSent,
    /// One member's acknowledgement is enough.
    OneMemberAcks,
    /// H2: recovery begins without a record.
    NoRecoveringCas,
    /// H3: the spare is left out.
    SkipSpare,
    /// H5: a length is read from a member that is not fenced.
    ReadUnfenced,
    /// H6: a fence is answered before it is durable.
    FenceNotSynced,
    /// An entry is acknowledged before it is synced.
    AckBeforeSync,
    /// H8: the seal comes before its objects.
    SealBeforeUpload,
    /// H9: whoever comes last seals.
    SealNoCas,
    /// H10: an empty disk under the old name is believed.
    WipedSameId,
    /// H11: a damaged end is believed.
    SuspectAuthoritative,
    /// H15: each segment is decided by itself.
    IndependentSeal,
    /// H42: a fenced writer publishes.
    PublishFenced,
    /// H43: a segment is published before the one before it.
    PublishOutOfOrder,
    /// I19: a member lets go of what is not published.
    TrimBeforePublish,
}

#[derive(Clone, Copy, Debug)]
struct Segments {
    shape: Shape,
    mutant: Mutant,
}

/// What the metadata log says of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Status {
    Unopened,
    Open,
    Recovering,
    Sealed,
}

/// A segment as its writer filled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Content {
    /// Entries sent, the header among them.
    sent: u8,
    /// The record of entry 1; the others follow it.
    base: u8,
    previous: Option<Previous>,
    closed: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    writer: Writer<u8>,
    appended: u8,
    left: u8,
    /// Segments the writer knows of.
    told: usize,
    dead: bool,
    /// The member replaced in place, by the mutant.
    swapped: Option<usize>,
    /// Acknowledgements heard of segments left, for the mutant that goes on counting.
    heard: [[u8; DISKS]; SEGMENTS],
    contents: [Content; SEGMENTS],
    disks: [Disk; DISKS],
    wipes: u8,
    losses: u8,
    restarts: u8,
    // The metadata log and the bucket.
    status: [Status; SEGMENTS],
    fenced: bool,
    /// Records published: all up to this one.
    published: u8,
    /// Where the next leader goes on.
    recovered: Option<u8>,
    recoverers: [Recoverer; 2],
    /// Sealed without an object, by the mutant.
    promised: [u8; SEGMENTS],
    // What happened.
    /// The highest record acknowledged.
    acked: u8,
    /// Something was published twice or over a gap.
    torn: bool,
    /// It was sealed again at another end.
    twice: bool,
    disordered: bool,
    diverged: bool,
    refused: bool,
    blocked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Append,
    Leave(usize),
    Roll,
    Drain,
    /// The next entry of a segment reaches a disk.
    Deliver(usize, usize),
    /// A disk has synced what it wrote of a segment.
    Sync(usize, usize),
    /// The fence of a segment is durable.
    SyncFence(usize, usize),
    /// The writer hears the newest acknowledgement.
    Hear(usize, usize),
    Publish(usize),
    /// The writer learns what the metadata log says.
    Learn,
    Recover(usize),
    /// A recoverer fences a segment on a disk and asks for its length.
    Ask(usize, usize, usize),
    /// It decides with the answers it has and puts the objects into the bucket.
    Decide(usize),
    Seal(usize),
    Wipe(usize),
    LoseTail(usize),
    Restart(usize),
    /// A mutant's.
    TrimEarly(usize, usize),
}

fn id(segment: usize) -> SegmentId {
    SegmentId { incarnation: Incarnation(1), sequence: u64::try_from(segment).unwrap() }
}

fn number(id: SegmentId) -> usize {
    usize::try_from(id.sequence).unwrap()
}

fn storage(disk: usize) -> StorageId {
    StorageId(uuid::Uuid::from_u128(u128::try_from(disk).unwrap() + 1))
}

fn disk_of(storage: StorageId) -> usize {
    usize::try_from(storage.0.as_u128()).unwrap() - 1
}

fn short(entries: u64) -> u8 {
    u8::try_from(entries).unwrap()
}

impl Shape {
    fn disks(&self) -> usize {
        self.copies + 1
    }

    /// The writer's disk and all others but one, each time another.
    fn ensemble(&self, segment: usize) -> Vec<usize> {
        let others = self.copies;
        let without = others - segment % others;
        (0..self.disks()).filter(|disk| *disk != without).collect()
    }

    fn open(&self, segment: usize) -> OpenSegment {
        let member = |disk| Member {
            broker: BrokerId(0),
            storage: storage(disk),
            incarnation: Incarnation(1),
        };
        let ensemble = self.ensemble(segment).into_iter().map(member).collect();
        OpenSegment { id: id(segment), nonce: 0, ensemble }
    }
}

impl Segments {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == mutant
    }

    /// The disks that hold a segment, as the writer has it.
    fn holders(&self, world: &World, segment: usize) -> Vec<usize> {
        let mut disks = self.shape.ensemble(segment);
        if let Some(swapped) = world.swapped.filter(|_| segment == 0) {
            disks.iter_mut().filter(|disk| **disk == swapped).for_each(|disk| {
                *disk = self.shape.copies;
            });
        }
        disks
    }
}

impl Model for Segments {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let nothing = Content { sent: 0, base: 0, previous: None, closed: None };
        let mut world = World {
            writer: Writer::new(),
            appended: 0,
            left: 0,
            told: 0,
            dead: false,
            swapped: None,
            heard: Default::default(),
            contents: [nothing; SEGMENTS],
            disks: Default::default(),
            wipes: 0,
            losses: 0,
            restarts: 0,
            status: [Status::Unopened; SEGMENTS],
            fenced: false,
            published: 0,
            recovered: None,
            recoverers: Default::default(),
            promised: [0; SEGMENTS],
            acked: 0,
            torn: false,
            twice: false,
            disordered: false,
            diverged: false,
            refused: false,
            blocked: false,
        };
        // A broker opens two segments before it serves.
        for segment in 0..2 {
            world.status[segment] = Status::Open;
            self.tell_spare(&mut world);
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.writer_actions(world, actions);
        self.disk_actions(world, actions);
        self.recovery_actions(world, actions);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Append => self.append(&mut world),
            Action::Leave(disk) => self.leave(&mut world, disk),
            Action::Roll => self.roll(&mut world),
            Action::Drain => self.drain(&mut world),
            Action::Deliver(segment, disk) => self.deliver(&mut world, segment, disk),
            Action::Sync(segment, disk) => self.sync(&mut world, segment, disk),
            Action::SyncFence(segment, disk) => self.sync_fence(&mut world, segment, disk),
            Action::Hear(segment, disk) => self.hear(&mut world, segment, disk),
            Action::Publish(segment) => self.publish(&mut world, segment),
            Action::Learn => self.learn(&mut world),
            Action::Recover(recoverer) => self.recover(&mut world, recoverer),
            Action::Ask(recoverer, segment, disk) => {
                self.ask(&mut world, recoverer, segment, disk);
            }
            Action::Decide(recoverer) => self.decide(&mut world, recoverer),
            Action::Seal(recoverer) => self.seal(&mut world, recoverer),
            Action::Wipe(disk) => self.wipe(&mut world, disk),
            Action::LoseTail(disk) => self.lose_tail(&mut world, disk)?,
            Action::Restart(disk) => self.restart(&mut world, disk),
            Action::TrimEarly(segment, disk) => world.disks[disk].forget(segment),
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("acknowledged records outlive recovery", |_, world| {
                world.recovered.is_none_or(|end| world.acked <= end)
            }),
            Property::<Self>::always("the log has every record once", |_, world| !world.torn),
            Property::<Self>::always("what is sealed can be read", |model, world| {
                (0..SEGMENTS).all(|segment| {
                    let held = |disk: &usize| {
                        world.disks[*disk].synced[segment] >= world.promised[segment]
                    };
                    world.promised[segment] == 0 || model.shape.ensemble(segment).iter().any(held)
                })
            }),
            Property::<Self>::always("an incarnation ends once", |_, world| !world.twice),
            Property::<Self>::always("acknowledged in order", |_, world| !world.disordered),
            Property::<Self>::always("members agree", |_, world| !world.diverged),
            Property::<Self>::sometimes("everything is acknowledged and recovered", {
                |model, world| {
                    world.recovered == Some(model.shape.entries)
                        && world.acked == model.shape.entries
                }
            }),
            Property::<Self>::sometimes("acknowledged in the next segment, then recovered", {
                |_, world| {
                    let next = world.contents[1];
                    let beyond = next.sent > 1 && world.acked >= next.base;
                    world.recovered.is_some() && beyond
                }
            }),
            Property::<Self>::sometimes("what was not acknowledged is kept", |_, world| {
                world.recovered.is_some_and(|end| end > world.acked)
            }),
            Property::<Self>::sometimes("a spare is sealed without use", |_, world| {
                world.recovered.is_some() && world.contents[1].sent == 0
            }),
            Property::<Self>::sometimes("a fenced writer is refused", |_, world| world.refused),
            Property::<Self>::sometimes("a writer publishes, then it is recovered", |_, world| {
                world.recovered.is_some()
                    && world.contents[0].closed.is_some_and(|entries| entries > 1)
                    && world.recoverers[0].known & 1 == 0
            }),
        ]
    }
}
