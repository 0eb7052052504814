//! Seeds over the lone broker's log: the cores of writer, member and recovery over a real WAL
//! folder on a simulated disk, through several lives.
//!
//! Fault budget: power cuts at any operation (in recovery too), kills, failing operations, a full
//! disk; and, where a seed has it, one damage or loss of acknowledged bytes, which is not of the
//! very last entry. Invariants: what was committed is recovered (I1), in order and without a gap
//! (I3, I4), with its own bytes (I2); or it is refused loudly, and only when something was damaged.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::{
    crc::crc32c,
    env::{
        Env,
        bugs::{Bug, Bugs},
        sim::{
            self,
            disk::{Fault, SimDisk},
            proof::{Dice, Seeded, Trace, reached},
        },
    },
    replication::{
        EntryReader,
        member::{self, Member},
        recover::{self, Unrecoverable},
        writer::{self, Content, Writer},
    },
    types::{
        BrokerId, ByteCount, ClusterId, Incarnation, LeaderEpoch, Millis, Offset, PartitionId,
        SegmentId, TopicId,
    },
    wal::{
        self, BATCH_PREFIX_BYTES, ENTRY_HEADER_BYTES, Folder, OpenSegment, SegmentHeader,
        put_batch_prefix,
    },
};

const LONE: Seeded = Seeded {
    name: "lone",
    test: "replication::tests::lone::every_seed",
    run,
    reaches: &[
        "H11b: an entry that was not acknowledged is cut",
        "H11b: an entry that was not acknowledged survives",
        "H12: a disk error ends the life",
        "H12: killed after a disk error, the page cache still there",
        "H13: damage is refused",
        "H13: a lost file is refused",
        "H15: a chain of several segments is recovered",
        "H22: the disk is full",
        "a start is cut short",
        "a segment of several files",
    ],
};

const FILE: ByteCount = ByteCount::kib(8);
const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

fn path() -> &'static Path {
    Path::new("/wal")
}

/// The life ended by a disk error, as a crash or a full stop.
struct Dead;

impl From<io::Error> for Dead {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<wal::Error> for Dead {
    fn from(_: wal::Error) -> Self {
        Self
    }
}

/// A number as a batch, whose every byte tells it.
pub(super) fn payload(number: u64, bytes: usize) -> Bytes {
    let mut out = BytesMut::new();
    let partition = PartitionId { topic: TopicId(Uuid::from_u128(9)), index: 0 };
    let base = Offset(i64::try_from(number).unwrap());
    let length = u32::try_from(bytes).unwrap();
    put_batch_prefix(&mut out, partition, LeaderEpoch(1), base..base.advance(1), length);
    out.resize(BATCH_PREFIX_BYTES + bytes, u8::try_from(number % 251).unwrap());
    out.freeze()
}

/// The numbers of a segment's entries.
pub(super) fn numbers(entries: EntryReader) -> Result<Vec<u64>, wal::Error> {
    let mut numbers = Vec::new();
    for entry in entries {
        for batch in entry?.batches {
            let number = u64::try_from(batch.base_offset.0).unwrap();
            let own = u8::try_from(number % 251).unwrap();
            assert!(batch.bytes.iter().all(|byte| *byte == own), "entry {number} has other bytes");
            numbers.push(number);
        }
    }
    Ok(numbers)
}

struct World {
    dice: Dice,
    trace: Trace,
    env: Env,
    disk: SimDisk,
    /// Open in the metadata, oldest first.
    opened: Vec<OpenSegment>,
    incarnation: u64,
    /// The next number to append.
    next: u64,
    /// This life's first number, and what is known of its log.
    first: u64,
    sealed: Vec<u64>,
    committed: u64,
    /// Where acknowledged entries lie, oldest first.
    places: Vec<(PathBuf, u64, u64)>,
    damaged: bool,
    lost_file: bool,
    may_damage: bool,
    may_fail: bool,
    small_files: bool,
}

/// A running broker.
struct Life {
    folder: Folder,
    writer: Writer<u64>,
    member: Member,
    files: BTreeMap<SegmentId, wal::Writer>,
    sequence: u64,
    closed: Vec<(SegmentId, u64)>,
}

impl World {
    fn new(seed: u64, bugs: Bugs) -> Self {
        let (dice, disk) = (Dice::new(seed), SimDisk::new());
        let env = Env { bugs, ..sim::env(&disk, seed) };
        let (may_damage, may_fail) = (dice.one_in(2), dice.one_in(2));
        let small_files = dice.one_in(2);
        Self {
            dice,
            trace: Trace::default(),
            env,
            disk,
            opened: Vec::new(),
            incarnation: 0,
            next: 1,
            first: 1,
            sealed: Vec::new(),
            committed: 0,
            places: Vec::new(),
            damaged: false,
            lost_file: false,
            may_damage,
            may_fail,
            small_files,
        }
    }

    /// Lets an operation soon to come fail, or the power go there.
    fn plan_fault(&self) {
        if !self.may_fail || !self.dice.one_in(3) {
            return;
        }
        let at = self.disk.operations() + self.dice.below(25);
        let fault = match self.dice.below(4) {
            0 => Fault::Error(io::ErrorKind::Other),
            1 => Fault::Error(io::ErrorKind::StorageFull),
            _ => Fault::PowerCut,
        };
        self.disk.fault_at(at, fault);
    }

    /// Whatever the process was doing, it is gone; the machine too, or not.
    fn crash(&mut self) {
        if self.dice.one_in(4) {
            // Killed: the page cache is there still, unless the power is cut already.
            let dead = self.env.disk.list(path()).is_err();
            if !dead {
                return;
            }
        }
        self.disk.cut_power();
        let kind = self.dice.below(3);
        let after = self.disk.reboot(|| match kind {
            0 => false,
            1 => true,
            _ => self.dice.one_in(2),
        });
        self.disk = after;
        self.env.disk = Arc::new(self.disk.clone());
    }

    /// One damage of acknowledged bytes.
    fn damage(&mut self) {
        let [places @ .., _last] = self.places.as_slice() else { return };
        if !self.may_damage || self.damaged || !self.dice.one_in(2) {
            return;
        }
        let Some((file, start, end)) = self.dice.pick(places).cloned() else { return };
        if !self.disk.has(&file) {
            return;
        }
        self.damaged = true;
        if self.dice.one_in(4) {
            self.lost_file = true;
            self.disk.delete_file(&file);
            return;
        }
        let bit = self.dice.below((end - start) * 8);
        let byte = usize::try_from(start + bit / 8).unwrap();
        self.disk.damage(&file, |bytes| bytes[byte] ^= 1 << (bit % 8));
    }

    /// Recovers what is there; `None` when it is refused.
    fn start(&mut self) -> Result<Option<Life>, Dead> {
        let folder = Folder::open(path(), &self.env)?;
        folder.bind(CLUSTER)?;
        folder.begin_registration(folder.identity().incarnation)?;
        if !self.opened.is_empty() {
            let recovered = match recover::recover(&folder, &self.opened) {
                Ok(recovered) => recovered,
                Err(Unrecoverable::Wal(error)) => return Err(error.into()),
                Err(refused) => {
                    assert!(self.damaged, "a whole log is refused: {refused}");
                    reached(if self.lost_file {
                        "H13: a lost file is refused"
                    } else {
                        "H13: damage is refused"
                    });
                    if let Unrecoverable::Missing { missing, suspect } = &refused {
                        assert!(missing.len() + suspect.len() > 0, "refused and nothing named");
                    }
                    return Ok(None);
                }
            };
            let mut log = self.sealed.clone();
            for segment in &recovered.segments {
                if segment.entries > 0 {
                    log.extend(numbers(recovered.read(segment.id)?)?);
                }
            }
            self.check(&log);
            if recovered.segments.iter().filter(|segment| segment.entries > 1).count() > 1 {
                reached("H15: a chain of several segments is recovered");
            }
            let length = u64::try_from(log.len()).unwrap();
            if self.first + length < self.next {
                reached("H11b: an entry that was not acknowledged is cut");
            } else if length > self.committed {
                reached("H11b: an entry that was not acknowledged survives");
            }
            // Sealed in the metadata: from here on the files are of no more use.
            for open in std::mem::take(&mut self.opened) {
                folder.trim(open.id)?;
            }
        }
        self.incarnation += 1;
        folder.registered(BrokerId(1), Incarnation(self.incarnation))?;
        folder.trim_sealed(Incarnation(self.incarnation), &[])?;
        (self.first, self.committed) = (self.next, 0);
        (self.sealed, self.places) = (Vec::new(), Vec::new());
        Ok(Some(Life {
            folder,
            writer: Writer::new().with_bugs(self.env.bugs),
            member: Member::default().with_bugs(self.env.bugs),
            files: BTreeMap::new(),
            sequence: 0,
            closed: Vec::new(),
        }))
    }

    /// The log of this life: its first numbers, all that were committed among them.
    fn check(&self, log: &[u64]) {
        let length = u64::try_from(log.len()).unwrap();
        let whole: Vec<u64> = (self.first..self.first + length).collect();
        assert_eq!(log, whole, "the log has a gap, a repetition or a stranger");
        assert!(length >= self.committed, "lost: {length} of {} committed", self.committed);
        assert!(self.first + length <= self.next, "what nobody appended");
    }

    fn live(&mut self, life: &mut Life) -> Result<(), Dead> {
        for _ in 0..2 {
            life.open_spare(self)?;
        }
        for _ in 0..self.dice.below(40) {
            self.plan_fault();
            let act = self.dice.below(20);
            self.trace.note((act, self.next, self.committed));
            match act {
                0..=12 => life.append(self)?,
                13..=14 => life.drive(self, writer::Event::Roll)?,
                15..=16 => life.open_spare(self)?,
                17..=18 => life.seal(self)?,
                _ => life.folder.prepare(FILE, || false).or_else(|error| no_room(&error))?,
            }
        }
        if self.dice.one_in(3) {
            life.drive(self, writer::Event::Drain)?;
        }
        Ok(())
    }
}

/// A full disk ends nothing.
fn no_room(error: &wal::Error) -> Result<(), Dead> {
    if !matches!(error, wal::Error::NoRoom) {
        return Err(Dead);
    }
    reached("H22: the disk is full");
    Ok(())
}

impl Life {
    fn open_spare(&mut self, world: &mut World) -> Result<(), Dead> {
        if world.opened.len() >= 3 {
            return Ok(());
        }
        let incarnation = Incarnation(world.incarnation);
        let storage = self.folder.identity().storage;
        let id = SegmentId { incarnation, sequence: self.sequence };
        let ensemble = vec![wal::Member { broker: BrokerId(1), storage, incarnation }];
        let open = OpenSegment::new(id, ensemble, &world.env);
        self.sequence += 1;
        world.opened.push(open.clone());
        // It is in the metadata; the file may come later or never.
        match self.folder.create(&open, FILE) {
            Ok(file) => {
                self.files.insert(id, file);
                self.drive(world, writer::Event::Spare(open))
            }
            Err(error) => {
                no_room(&error)?;
                world.opened.pop();
                self.sequence -= 1;
                Ok(())
            }
        }
    }

    fn append(&mut self, world: &mut World) -> Result<(), Dead> {
        let Some(open) = self.writer.active().cloned() else { return Ok(()) };
        let bytes = 60 + world.dice.index(if world.small_files { 3000 } else { 400 });
        let needed = u64::try_from(BATCH_PREFIX_BYTES + bytes).unwrap();
        if !self.files[&open.id].fits(needed) {
            if self.writer.has_spare() && world.dice.one_in(2) {
                return self.drive(world, writer::Event::Roll);
            }
            match self.folder.add_part(open.id, open.nonce, FILE) {
                Ok(file) => {
                    reached("a segment of several files");
                    self.files.get_mut(&open.id).unwrap().add_file(file)?;
                }
                Err(error) => return no_room(&error),
            }
        }
        let number = world.next;
        world.next += 1;
        // The length comes back from the number alone, so that a repetition is the same.
        world.trace.note((number, bytes));
        self.drive(world, writer::Event::Append(number << 16 | u64::try_from(bytes).unwrap()))
    }

    /// Uploads the oldest closed segment and gives its files back.
    fn seal(&mut self, world: &mut World) -> Result<(), Dead> {
        if self.closed.is_empty() {
            return Ok(());
        }
        let (segment, entries) = self.closed.remove(0);
        if entries > 0 {
            let reader = EntryReader::new(&self.folder, segment, entries, None)?;
            world.sealed.extend(numbers(reader)?);
            let length = u64::try_from(world.sealed.len()).unwrap();
            let whole: Vec<u64> = (world.first..world.first + length).collect();
            assert_eq!(world.sealed, whole, "closed segments tile the log");
        }
        world.opened.retain(|open| open.id != segment);
        let name = format!("{segment}-");
        world
            .places
            .retain(|(file, ..)| !file.file_name().unwrap().to_str().unwrap().starts_with(&name));
        Ok(self.folder.trim(segment)?)
    }

    /// As the WAL thread does it: an entry is written when the one before is synced.
    fn drive(&mut self, world: &mut World, event: writer::Event<u64>) -> Result<(), Dead> {
        let mut effects = Vec::new();
        self.writer.apply(event, &mut effects);
        self.committed(world, &effects);
        for effect in effects {
            match effect {
                writer::Effect::Send { segment, number, lac, content } => {
                    let member = self.folder.identity().storage;
                    let entries = self.send(world, segment, (number, lac), content)?;
                    self.drive(world, writer::Event::Synced { segment, member, entries })?;
                }
                writer::Effect::Closed { segment, entries } => {
                    self.files.remove(&segment);
                    self.member.forget(segment);
                    self.closed.push((segment, entries));
                }
                writer::Effect::Committed { .. }
                | writer::Effect::Drained
                | writer::Effect::Ended => {}
            }
        }
        Ok(())
    }

    fn committed(&mut self, world: &mut World, effects: &[writer::Effect<u64>]) {
        for effect in effects {
            if let writer::Effect::Committed { payload, .. } = effect {
                world.committed += 1;
                assert_eq!(payload >> 16, world.first + world.committed - 1, "committed in order");
            }
        }
    }

    /// Gives an entry to the local member; how many entries it acknowledges.
    fn send(
        &mut self,
        world: &mut World,
        segment: SegmentId,
        (number, lac): (u64, u64),
        content: Content<u64>,
    ) -> Result<u64, Dead> {
        let (mut effects, mut acked) = (Vec::new(), 0);
        self.member.apply(member::Event::Append { segment, number, content }, &mut effects);
        while let Some(effect) = effects.pop() {
            match effect {
                member::Effect::Write { segment, number, content } => {
                    self.write(world, segment, lac, content)?;
                    let synced = member::Event::Synced { segment, entries: number + 1 };
                    self.member.apply(synced, &mut effects);
                }
                member::Effect::Ack { entries, .. } => acked = entries,
                other => panic!("a lone member has no such effect: {other:?}"),
            }
        }
        Ok(acked)
    }

    fn write(
        &mut self,
        world: &mut World,
        segment: SegmentId,
        lac: u64,
        content: Content<u64>,
    ) -> Result<(), Dead> {
        let file = self.files.get_mut(&segment).expect("its file was made");
        let (written, length) = match content {
            Content::Header { previous, ensemble } => {
                let header = SegmentHeader { segment, cluster: CLUSTER, previous, ensemble };
                (file.write_header(&header, Millis(1))?, header.encode().len())
            }
            Content::Payload(number) => {
                let bytes = usize::try_from(number & 0xffff).unwrap();
                let payload = payload(number >> 16, bytes);
                let (crc, length) = (crc32c(&payload), payload.len());
                (file.write_batches(lac, Millis(2), &[payload], crc)?, length)
            }
        };
        file.sync()?;
        let wal::WalPosition { part, byte, .. } = written.position;
        let name = format!("{segment}-{:016x}-{part}.wal", file.nonce());
        let end = byte + u64::try_from(ENTRY_HEADER_BYTES + length).unwrap();
        world.places.push((path().join(name), byte, end));
        Ok(())
    }
}

fn run(seed: u64, bugs: Bugs) -> u64 {
    let mut world = World::new(seed, bugs);
    for _ in 0..2 + world.dice.below(3) {
        // A start may be cut short as often as it likes.
        let mut life = loop {
            world.plan_fault();
            match world.start() {
                Ok(Some(life)) => break life,
                Ok(None) => return world.trace.value(),
                Err(Dead) => {
                    reached("a start is cut short");
                    world.crash();
                }
            }
        };
        let ended = world.live(&mut life);
        drop(life);
        let (failed, before) = (ended.is_err(), world.disk.operations());
        if failed && world.env.disk.list(path()).is_ok() {
            reached("H12: a disk error ends the life");
        }
        world.crash();
        if failed && before > 0 && world.disk.operations() == before {
            reached("H12: killed after a disk error, the page cache still there");
        }
        world.damage();
    }
    // Whatever is planned comes to an end: then the log is there, or was damaged.
    world.may_fail = false;
    for _ in 0..100 {
        match world.start() {
            Ok(_) => return world.trace.value(),
            Err(Dead) => world.crash(),
        }
    }
    panic!("a start does not come to an end");
}

#[test]
fn every_seed_keeps_what_was_committed() {
    LONE.holds(0..400);
}

#[test]
#[ignore = "CI: many seeds"]
fn many_seeds_keep_what_was_committed() {
    LONE.holds(0..6000);
}

#[test]
fn a_seed_is_the_same_twice() {
    LONE.repeats(0..3);
}

#[test]
fn each_mistake_of_the_lone_log_is_caught() {
    let bugs = [
        Bug::AckBeforeSync,
        Bug::SyncTriedAgain,
        Bug::SyncOfFirstFile,
        Bug::SegmentUnlisted,
        Bug::NonceReused,
        Bug::CutBeforeValid,
        Bug::EntryCrcUnchecked,
    ];
    LONE.catches(&bugs, &(0..500));
}
