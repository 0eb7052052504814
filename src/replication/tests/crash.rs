//! Every crash point of a WAL folder's life, with every image a power cut may leave.
//!
//! One script of everything the folder does: made, bound, registered, files made, filled and used
//! again, headers, entries, rolls, parts, trims, fences. It is cut after every operation; of the
//! writes and names not synced then every subset lands (up to ten of them; 200 seeded ones beyond),
//! and the start after it is cut again. Invariant: what was acknowledged is recovered, in order and
//! with its own bytes; nothing that was only cut is called damaged.

use std::{collections::BTreeMap, io, path::Path};

use uuid::Uuid;

use super::lone::{numbers, payload};
use crate::{
    crc::crc32c,
    env::{
        Env,
        disk::Disk,
        sim::{
            self,
            disk::{Fault, SimDisk},
            proof::{Dice, grouped},
        },
    },
    replication::recover::recover,
    types::{BrokerId, ByteCount, ClusterId, Incarnation, Millis, SegmentId},
    wal::{self, Error, Folder, OpenSegment, Previous, SegmentHeader, Writer},
};

const FILE: ByteCount = ByteCount::kib(8);
const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));
const INCARNATION: Incarnation = Incarnation(7);
/// Unsynced sectors and names whose every subset is tried.
const EXHAUSTIVE: u32 = 10;
const SEEDED: u64 = 200;

fn path() -> &'static Path {
    Path::new("/wal")
}

fn env(disk: &SimDisk) -> Env {
    sim::env(disk, 1)
}

/// What the metadata and the clients know.
#[derive(Clone, Default)]
struct Truth {
    /// Open, oldest first.
    opened: Vec<OpenSegment>,
    /// Entries acknowledged, the header among them.
    acked: BTreeMap<SegmentId, u64>,
    /// Numbers in sealed segments.
    sealed: u64,
    /// Numbers acknowledged in all.
    numbers: u64,
    fenced: bool,
}

struct Script<'a> {
    folder: Folder,
    truth: &'a mut Truth,
    lengths: BTreeMap<SegmentId, u64>,
    previous: Option<Previous>,
}

impl Script<'_> {
    fn open(&mut self, sequence: u64) -> Result<Writer, Error> {
        let id = SegmentId { incarnation: INCARNATION, sequence };
        let storage = self.folder.identity().storage;
        let member = wal::Member { broker: BrokerId(1), storage, incarnation: INCARNATION };
        let open = OpenSegment { id, nonce: 0xabc0 + sequence, ensemble: vec![member] };
        self.truth.opened.push(open.clone());
        self.folder.create(&open, FILE)
    }

    fn header(&mut self, id: SegmentId, writer: &mut Writer) -> Result<(), Error> {
        let open = self.truth.opened.iter().find(|open| open.id == id).expect("it was opened");
        let (cluster, previous, ensemble) = (CLUSTER, self.previous, open.ensemble.clone());
        let header = SegmentHeader { segment: id, cluster, previous, ensemble };
        writer.write_header(&header, Millis(1))?;
        writer.sync()?;
        self.truth.acked.insert(id, 1);
        Ok(())
    }

    fn entry(&mut self, id: SegmentId, writer: &mut Writer, bytes: usize) -> Result<(), Error> {
        let lac = self.truth.acked[&id];
        let payload = payload(self.truth.numbers + 1, bytes);
        let crc = crc32c(&payload);
        if !writer.fits(u64::try_from(payload.len()).unwrap()) {
            let part = self.folder.add_part(id, writer.nonce(), FILE)?;
            writer.add_file(part)?;
        }
        writer.write_batches(lac, Millis(2), &[payload], crc)?;
        writer.sync()?;
        self.truth.numbers += 1;
        self.truth.acked.insert(id, lac + 1);
        self.lengths.insert(id, lac + 1);
        self.previous = Some(Previous { segment: id, entries: lac + 1 });
        Ok(())
    }

    /// The oldest segment is published, then trimmed.
    fn seal(&mut self) -> Result<(), Error> {
        let open = self.truth.opened.remove(0);
        let acked = self.truth.acked.remove(&open.id).unwrap_or_default();
        self.truth.sealed += acked.saturating_sub(1);
        self.folder.trim(open.id)
    }
}

/// The life.
fn script(disk: &SimDisk, truth: &mut Truth) -> Result<(), Error> {
    let folder = Folder::open(path(), &env(disk))?;
    folder.bind(CLUSTER)?;
    folder.begin_registration(None)?;
    folder.registered(BrokerId(1), INCARNATION)?;
    folder.keep_free(2);
    let mut script = Script { folder, truth, lengths: BTreeMap::new(), previous: None };
    let mut next = script.open(0)?;
    for sequence in 0..5 {
        let id = SegmentId { incarnation: INCARNATION, sequence };
        let mut writer = next;
        next = script.open(sequence + 1)?;
        script.header(id, &mut writer)?;
        // Of one page, of several, over the end of the file, of no byte more than it must.
        for bytes in [20, 900, 3000, 3500, 450] {
            script.entry(id, &mut writer, bytes)?;
        }
        if sequence % 2 == 1 {
            script.seal()?;
        }
        if sequence == 2 {
            script.folder.prepare(FILE, || false)?;
        }
    }
    let last = SegmentId { incarnation: INCARNATION, sequence: 5 };
    script.header(last, &mut next)?;
    script.entry(last, &mut next, 100)?;
    let all: Vec<_> = script.truth.opened.iter().map(|open| open.id).collect();
    script.folder.fence(&all)?;
    script.truth.fenced = true;
    Ok(())
}

/// What is there after a crash is what it should be.
fn check(disk: &SimDisk, truth: &Truth, told: &dyn Fn() -> String) {
    let folder = match Folder::open(path(), &env(disk)) {
        Ok(folder) => folder,
        Err(error) => panic!("{}: {error}", told()),
    };
    if truth.fenced {
        let all = folder.found();
        assert!(all.iter().all(|found| found.fenced), "{}: a fence is lost", told());
    }
    let recovered = match recover(&folder, &truth.opened) {
        Ok(recovered) => recovered,
        Err(error) => panic!("{}: {error:?}", told()),
    };
    let mut log = Vec::new();
    for segment in recovered.segments.iter().filter(|segment| segment.entries > 0) {
        log.extend(numbers(recovered.read(segment.id).unwrap()).unwrap());
    }
    let length = u64::try_from(log.len()).unwrap();
    let first = truth.sealed + 1;
    assert_eq!(log, (first..first + length).collect::<Vec<_>>(), "{}", told());
    let last = truth.sealed + length;
    assert!(last >= truth.numbers, "{}: {last} of {} acknowledged", told(), truth.numbers);
    assert!(last <= truth.numbers + 1, "{}: more than was written", told());
}

/// How much is tried.
#[derive(Clone, Copy)]
struct Extent {
    /// Images of one crash point at most.
    images: u64,
    /// Of how many images the recovery is cut too, one after each of its operations.
    twice: u64,
}

#[derive(Default)]
struct Counts {
    points: u64,
    images: u64,
}

/// The images that the dead `disk` may leave.
fn images(disk: &SimDisk, extent: Extent, dice: &Dice) -> Vec<SimDisk> {
    let mut asked = 0;
    drop(disk.reboot(|| {
        asked += 1;
        true
    }));
    let all = if asked <= EXHAUSTIVE { 1 << asked } else { SEEDED };
    let tried = extent.images.min(all);
    let image = |number: u64| {
        let mut bit = 0;
        disk.reboot(|| {
            let landed = match number {
                // None, all; then each subset, or some of them.
                0 => false,
                1 => true,
                _ if tried == 1 << asked => (number - 1) >> bit & 1 == 1,
                _ => dice.one_in(2),
            };
            bit += 1;
            landed
        })
    };
    (0..tried).map(image).collect()
}

/// Cuts a start on `image` after each of its operations.
fn cut_recovery(image: &SimDisk, truth: &Truth, dice: &Dice, counts: &mut Counts, at: &str) {
    for step in 0.. {
        let again = image.reboot(|| true);
        again.fault_at(step, Fault::PowerCut);
        let outcome = Folder::open(path(), &env(&again))
            .map(|folder| recover(&folder, &truth.opened).map(drop).is_ok());
        if matches!(outcome, Ok(true)) && again.list(path()).is_ok() {
            return;
        }
        counts.points += 1;
        for kind in 0..3 {
            let after = again.reboot(|| match kind {
                0 => false,
                1 => true,
                _ => dice.one_in(2),
            });
            counts.images += 1;
            check(&after, truth, &|| format!("{at}, and step {step} of the recovery"));
        }
    }
}

fn cut_everywhere(extent: Extent) -> Counts {
    let whole = SimDisk::new();
    script(&whole, &mut Truth::default()).unwrap();
    let (dice, mut counts) = (Dice::new(1), Counts::default());
    for step in 0..whole.operations() {
        let disk = SimDisk::new();
        disk.fault_at(step, Fault::PowerCut);
        let mut truth = Truth::default();
        assert!(script(&disk, &mut truth).is_err(), "step {step} is cut");
        counts.points += 1;
        for (number, image) in (0..).zip(images(&disk, extent, &dice)) {
            counts.images += 1;
            let at = format!("cut at step {step}, image {number}");
            // As it is found; the start leaves another folder behind.
            let untouched = image.copy();
            check(&image, &truth, &|| at.clone());
            if number < extent.twice {
                cut_recovery(&untouched, &truth, &dice, &mut counts, &at);
            }
        }
    }
    counts
}

/// An error of each operation in turn: what was acknowledged before it is there after a power cut
/// that takes all it may, and after a mere kill.
fn fail_everywhere(kind: io::ErrorKind) -> Counts {
    let whole = SimDisk::new();
    script(&whole, &mut Truth::default()).unwrap();
    let mut counts = Counts::default();
    for step in 0..whole.operations() {
        let disk = SimDisk::new();
        disk.fault_at(step, Fault::Error(kind));
        let mut truth = Truth::default();
        // A full disk is met with the ballast, or told as no room.
        let ended = script(&disk, &mut truth);
        assert!(ended.is_err() || kind == io::ErrorKind::StorageFull, "step {step}");
        counts.points += 1;
        counts.images += 2;
        check(&disk.copy(), &truth, &|| format!("{kind:?} at step {step}, killed"));
        check(&disk.reboot(|| false), &truth, &|| format!("{kind:?} at step {step}, power cut"));
    }
    counts
}

fn told(what: &str, counts: &Counts) {
    let (points, images) = (grouped(counts.points), grouped(counts.images));
    println!("layer crash-points: {points} points, {images} images ({what})");
}

#[test]
fn a_cut_after_any_operation_keeps_what_was_acknowledged() {
    told("wal, sampled", &cut_everywhere(Extent { images: 8, twice: 1 }));
}

#[test]
#[ignore = "CI: every image of every crash point"]
fn every_crash_point_keeps_what_was_acknowledged_in_every_image() {
    told("wal", &cut_everywhere(Extent { images: u64::MAX, twice: 3 }));
}

#[test]
fn an_error_of_any_operation_takes_nothing_that_was_acknowledged() {
    told("wal, an error of each call", &fail_everywhere(io::ErrorKind::Other));
    told("wal, each call finds the disk full", &fail_everywhere(io::ErrorKind::StorageFull));
}

#[test]
fn a_small_file_cut_anywhere_is_refused_or_whole() {
    let disk = SimDisk::new();
    let mut truth = Truth::default();
    script(&disk, &mut truth).unwrap();
    let mut points = 0;
    for name in ["identity.json", "segments.json"] {
        let file = path().join(name);
        let whole = disk.bytes(&file);
        for length in 0..whole.len() {
            let image = disk.copy();
            image.damage(&file, |bytes| bytes.truncate(length));
            points += 1;
            match Folder::open(path(), &env(&image)) {
                Err(Error::Format { .. }) => {}
                // All but the line's end.
                Ok(_) => assert_eq!(length, whole.len() - 1, "{name} of {length} bytes"),
                Err(error) => panic!("{name} of {length} bytes: {error}"),
            }
        }
    }
    told("small files, each length", &Counts { points, images: points });
}
