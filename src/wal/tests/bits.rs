//! Every bit of a 64 KiB segment file turned over, blocks in the wrong place, stale ones, and the
//! file cut at every byte.
//!
//! The segment has a successor, whose header names its length. Invariant: either every entry reads
//! back as it was written, or the segment is called damaged; what reads back is always a prefix.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use bytes::Bytes;

use super::*;
use crate::{
    env::{
        bugs::{Bug, Bugs},
        disk::DiskFile,
        sim::proof::{catches, grouped},
    },
    wal::{
        found::examine,
        ledger::Listed,
        reader::{Files, RawEntry, Reader},
    },
};

const BLOCK: usize = 4096;
const SEGMENT_BYTES: usize = 64 * 1024;

/// A file in memory.
#[derive(Debug)]
struct Ram(Mutex<Vec<u8>>);

impl Ram {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap()
    }
}

impl DiskFile for Ram {
    fn write_at(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        let mut at = usize::try_from(position).unwrap();
        for part in parts {
            self.bytes()[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(())
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(position).unwrap();
        let bytes = self.bytes();
        let found = bytes.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(found);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.bytes().len()).unwrap())
    }
}

/// A segment of 64 KiB and its successor.
struct Pair {
    file: Arc<Ram>,
    segment: Arc<Files>,
    successor: Arc<Files>,
    good: Vec<Bytes>,
    bugs: Bugs,
}

fn whole(entry: &RawEntry) -> Bytes {
    entry.payload()
}

fn all(files: &Arc<Files>) -> Vec<Bytes> {
    let mut reader = Reader::new(files.clone());
    std::iter::from_fn(|| reader.next().unwrap().map(|entry| whole(&entry))).collect()
}

impl Pair {
    /// Full of entries: of a few bytes, of a page, of several.
    fn new(bugs: Bugs) -> Self {
        let file = Arc::new(Ram(Mutex::new(vec![0; SEGMENT_BYTES])));
        let files = |sequence: u64, file: Arc<Ram>| {
            let part: Arc<dyn DiskFile> = file;
            let nonce = segment(sequence).nonce;
            Arc::new(Files { id: id(sequence), nonce, parts: vec![part], bugs })
        };
        let open = segment(0);
        let mut writer = Writer::new(open.id, open.nonce, file.clone(), Bugs::NONE).unwrap();
        writer.write_header(&header(&open, None), Millis(1)).unwrap();
        let mut entries = 1;
        for (number, size) in (0..).zip([10, 700, 4000, 30, 9000, 2500, 1].into_iter().cycle()) {
            let payload = payload(number, size);
            if !writer.fits(u64::try_from(payload.len()).unwrap()) {
                break;
            }
            let crc = crc32c(&payload);
            writer.write_batches(entries, Millis(2), &[payload], crc).unwrap();
            entries += 1;
        }
        let next = Arc::new(Ram(Mutex::new(vec![0; 2048])));
        let open = segment(1);
        let mut writer = Writer::new(open.id, open.nonce, next.clone(), Bugs::NONE).unwrap();
        let previous = Some(Previous { segment: id(0), entries });
        writer.write_header(&header(&open, previous), Millis(1)).unwrap();
        let segment = files(0, file.clone());
        let good = all(&segment);
        assert_eq!(u64::try_from(good.len()).unwrap(), entries);
        Self { file, segment, successor: files(1, next), good, bugs }
    }

    /// Panics when something is wrong and not loud.
    fn check(&self, told: &dyn Fn() -> String) {
        let mut reader = Reader::new(self.segment.clone());
        let mut read = 0;
        while let Some(entry) = reader.next().unwrap() {
            let good = self.good.get(read);
            assert!(good.is_some_and(|good| *good == whole(&entry)), "{}: wrong data", told());
            read += 1;
        }
        if read == self.good.len() {
            return;
        }
        let listed = Listed { parts: 1, fenced: false };
        let known = [&self.segment, &self.successor]
            .map(|files| (files.id, Some(listed), Some(Arc::clone(files))));
        let found = examine(known.into_iter(), self.bugs).unwrap();
        let is_loud = found[0].suspect && found[0].damage.is_some();
        assert!(is_loud, "{}: {read} entries of {}, quietly", told(), self.good.len());
    }

    /// Every `step`th bit of the file from bit `from` on; how many.
    fn turn_bits(&self, from: usize, step: usize) -> u64 {
        let mut turned = 0;
        for bit in (from..SEGMENT_BYTES * 8).step_by(step) {
            let turn = || self.file.bytes()[bit / 8] ^= 1 << (bit % 8);
            turn();
            self.check(&|| format!("bit {bit}"));
            turn();
            turned += 1;
        }
        turned
    }

    fn put(&self, block: usize, bytes: &[u8]) {
        self.file.bytes()[block * BLOCK..][..bytes.len()].copy_from_slice(bytes);
    }

    fn block(&self, block: usize) -> Vec<u8> {
        self.file.bytes()[block * BLOCK..][..BLOCK].to_vec()
    }
}

/// Bits of all the file, on two threads.
fn turned(step: usize) -> u64 {
    thread::scope(|threads| {
        let halves = [0, 1].map(|half| {
            threads.spawn(move || Pair::new(Bugs::NONE).turn_bits(half * step, step * 2))
        });
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    })
}

#[test]
fn a_turned_bit_of_a_segment_is_harmless_or_loud() {
    println!("layer bit-flips: {} images of a segment, sampled", grouped(turned(61)));
}

#[test]
#[ignore = "CI: each of 524,288 bits"]
fn every_turned_bit_of_a_segment_is_harmless_or_loud() {
    println!("layer bit-flips: {} images of a segment", grouped(turned(1)));
}

#[test]
fn blocks_in_the_wrong_place_or_of_another_time_are_loud() {
    let pair = Pair::new(Bugs::NONE);
    let blocks = SEGMENT_BYTES / BLOCK;
    let mut images = 0_u64;
    for first in 0..blocks {
        for second in (0..blocks).filter(|second| *second != first) {
            let (one, other) = (pair.block(first), pair.block(second));
            // Written to the other's place as well, then both changed round.
            pair.put(second, &one);
            pair.check(&|| format!("block {first} at {second} too"));
            pair.put(first, &other);
            pair.check(&|| format!("blocks {first} and {second} changed round"));
            pair.put(first, &one);
            pair.put(second, &other);
            images += 2;
        }
    }
    // What was there before: zeros, or another segment's entries in a file used again.
    let other = Pair::new(Bugs::NONE);
    let before: Vec<u8> = {
        let mut bytes = other.file.bytes().clone();
        bytes.rotate_left(BLOCK);
        bytes
    };
    for stale in [vec![0; SEGMENT_BYTES], before] {
        for block in 0..blocks {
            let good = pair.block(block);
            pair.put(block, &stale[block * BLOCK..][..BLOCK]);
            pair.check(&|| format!("block {block} is stale"));
            pair.put(block, &good);
            images += 1;
        }
    }
    println!("layer bit-flips: {} images of misplaced and stale blocks", grouped(images));
}

/// The file cut to each `step`th length.
fn cut(step: usize) -> u64 {
    let pair = Pair::new(Bugs::NONE);
    let good = pair.file.bytes().clone();
    let mut images = 0;
    for length in (0..good.len()).rev().step_by(step) {
        pair.file.bytes().truncate(length);
        pair.check(&|| format!("{length} bytes"));
        images += 1;
    }
    images
}

#[test]
fn a_segment_file_cut_anywhere_is_loud() {
    println!("layer bit-flips: {} lengths of a segment, sampled", grouped(cut(97)));
}

#[test]
#[ignore = "CI: each of 65,536 lengths"]
fn a_segment_file_cut_at_every_byte_is_loud() {
    println!("layer bit-flips: {} lengths of a segment", grouped(cut(1)));
}

#[test]
fn each_mistake_in_reading_a_segment_back_is_caught() {
    for bug in [Bug::EntryCrcUnchecked, Bug::SuccessorIgnored] {
        catches("the bit flips of a segment", bug, |bugs| {
            Pair::new(bugs).turn_bits(0, 331);
        });
    }
}
