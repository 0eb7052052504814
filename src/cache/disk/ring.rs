//! Which blocks lie where on the disk, and which go first: a queue of files, oldest first.
//!
//! Owns: the index, the budget, second chances. Does not own: files, bytes, checks.
//! Invariants: files together never exceed the budget; the index has at most `MOST_ENTRIES`; what
//! an eviction carries over is at most a quarter of what it frees.
//!
//! FIFO by file with a second chance by block: what was hit since it was written is written once
//! more when its file goes. Deleting a file frees space at once and moves nothing.

use std::collections::{BTreeMap, VecDeque};

use super::format::{ENTRY_HEADER_BYTES, FILE_HEADER_BYTES};
use crate::cache::BlockKey;

/// Entries at most, whatever their size: some 100 bytes of memory each.
pub(super) const MOST_ENTRIES: usize = 65_536;
/// Files at most: each is held open. Only restarts make small ones.
const MOST_FILES: usize = 512;
/// A file is at most this part of the budget, so that an eviction takes little at a time...
const FILES: u64 = 8;
/// ...and at most this long.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The part of a file that an eviction may carry over.
const CARRY: u64 = 4;

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// In which file.
    pub(super) generation: u64,
    /// Where its entry begins there.
    pub(super) at: u64,
    /// CRC32C of the block.
    pub(super) crc: u32,
}

/// What has to be done before an entry can be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Nothing: there is room in this file.
    In(u64),
    /// This file has to be made.
    Begin(u64),
    /// This file has to go, and these of its blocks deserve to be written again.
    Evict(u64, Vec<(BlockKey, Place)>),
    /// It never fits.
    Never,
}

#[derive(Clone, Copy, Debug)]
struct Indexed {
    place: Place,
    hit: bool,
}

#[derive(Clone, Copy, Debug)]
struct File {
    generation: u64,
    bytes: u64,
    entries: usize,
}

/// The decisions of the disk tier.
#[derive(Debug)]
pub(super) struct Ring {
    budget: u64,
    file_bytes: u64,
    files: VecDeque<File>,
    index: BTreeMap<BlockKey, Indexed>,
    next_generation: u64,
    /// Whether the newest file is closed: it is older than this process, or its disk failed it.
    closed: bool,
}

impl Ring {
    /// Nothing yet.
    pub(super) fn new(budget: u64) -> Self {
        Self {
            budget,
            file_bytes: file_bytes(budget),
            files: VecDeque::new(),
            index: BTreeMap::new(),
            next_generation: 1,
            closed: true,
        }
    }

    /// Takes in a file of a former process; they come oldest first.
    pub(super) fn recover(&mut self, generation: u64, bytes: u64, found: &[(BlockKey, Place)]) {
        self.next_generation = self.next_generation.max(generation.saturating_add(1));
        self.files.push_back(File { generation, bytes, entries: found.len() });
        let indexed =
            |(key, place): &(BlockKey, Place)| (*key, Indexed { place: *place, hit: false });
        self.index.extend(found.iter().map(indexed));
    }

    /// What is to be done before a block of `bytes` can be placed. Ask again after doing it.
    pub(super) fn room(&self, bytes: u64) -> Room {
        let entry = entry_bytes(bytes);
        if entry > self.file_bytes / 2 {
            return Room::Never;
        }
        let more = if self.fits(entry) { entry } else { entry + FILE_HEADER_BYTES };
        let crowded = self.entries() >= MOST_ENTRIES || self.files.len() > MOST_FILES;
        if (crowded || self.bytes() + more > self.budget)
            && let Some(oldest) = self.files.front()
        {
            return Room::Evict(oldest.generation, self.deserving(oldest));
        }
        match self.files.back() {
            Some(newest) if self.fits(entry) => Room::In(newest.generation),
            _ => Room::Begin(self.next_generation),
        }
    }

    /// The file that `room` asked for is made.
    pub(super) fn begun(&mut self, generation: u64) {
        self.next_generation = self.next_generation.max(generation.saturating_add(1));
        self.files.push_back(File { generation, bytes: FILE_HEADER_BYTES, entries: 0 });
        self.closed = false;
    }

    /// Gives a block of `bytes` its place in the newest file, which has room. The block is found
    /// there after `landed`.
    pub(super) fn place(&mut self, bytes: u64, crc: u32) -> Option<Place> {
        let newest = self.files.back_mut()?;
        let place = Place { generation: newest.generation, at: newest.bytes, crc };
        newest.bytes += entry_bytes(bytes);
        newest.entries += 1;
        Some(place)
    }

    /// The block is written.
    pub(super) fn landed(&mut self, key: BlockKey, place: Place) {
        if self.files.iter().any(|file| file.generation == place.generation) {
            self.index.insert(key, Indexed { place, hit: false });
        }
    }

    /// Where a block lies; it deserves a second chance from now on.
    pub(super) fn find(&mut self, key: &BlockKey) -> Option<Place> {
        let indexed = self.index.get_mut(key)?;
        indexed.hit = true;
        Some(indexed.place)
    }

    /// Where a block lies, without asking for it.
    pub(super) fn peek(&self, key: &BlockKey) -> Option<Place> {
        self.index.get(key).map(|indexed| indexed.place)
    }

    /// The bytes at `place` are not the block.
    pub(super) fn forget(&mut self, key: &BlockKey, place: Place) {
        if self.peek(key) == Some(place) {
            self.index.remove(key);
        }
    }

    /// A file is gone; how many bytes that freed.
    pub(super) fn evicted(&mut self, generation: u64) -> u64 {
        let gone = self.files.iter().filter(|file| file.generation == generation);
        let bytes = gone.map(|file| file.bytes).sum();
        self.closed |= self.files.back().is_some_and(|newest| newest.generation == generation);
        self.files.retain(|file| file.generation != generation);
        self.index.retain(|_, indexed| indexed.place.generation != generation);
        bytes
    }

    /// Nothing more is written to the newest file.
    pub(super) fn close_newest(&mut self) {
        self.closed = true;
    }

    /// Changes the budget; the files that do not fit any more, oldest first.
    pub(super) fn set_budget(&mut self, bytes: u64) -> Vec<u64> {
        self.budget = bytes;
        self.file_bytes = file_bytes(bytes);
        let mut over = self.bytes().saturating_sub(bytes);
        let mut gone = Vec::new();
        for file in &self.files {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(file.bytes);
            gone.push(file.generation);
        }
        gone
    }

    /// Bytes all files have together.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes they may have.
    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    /// Blocks that can be found.
    pub(super) fn blocks(&self) -> usize {
        self.index.len()
    }

    /// Entries that were written, found or not.
    fn entries(&self) -> usize {
        self.files.iter().map(|file| file.entries).sum()
    }

    fn fits(&self, entry: u64) -> bool {
        let fits = |newest: &File| newest.bytes + entry <= self.file_bytes;
        !self.closed && self.files.back().is_some_and(fits)
    }

    /// Blocks of `file` that were hit, as many as may be carried over.
    fn deserving(&self, file: &File) -> Vec<(BlockKey, Place)> {
        let mut left = file.bytes / CARRY;
        let mut deserving = Vec::new();
        for (key, indexed) in &self.index {
            let bytes = entry_bytes(key.end - key.start);
            if indexed.place.generation == file.generation && indexed.hit && bytes <= left {
                left -= bytes;
                deserving.push((*key, indexed.place));
            }
        }
        deserving
    }
}

fn file_bytes(budget: u64) -> u64 {
    (budget / FILES).min(FILE_BYTES_MAX)
}

/// What a block of `bytes` takes on the disk.
pub(super) fn entry_bytes(bytes: u64) -> u64 {
    bytes.saturating_add(u64::try_from(ENTRY_HEADER_BYTES).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::ObjectId;

    type Blocks = Vec<(BlockKey, bool)>;

    /// The same, naively: files as lists of blocks, each with whether it was hit.
    #[derive(Default)]
    struct Model {
        files: Vec<(u64, u64, Blocks)>,
    }

    impl Model {
        fn bytes(&self) -> u64 {
            self.files.iter().map(|(_, bytes, _)| bytes).sum()
        }

        fn find(&mut self, key: &BlockKey) -> Option<u64> {
            self.files.iter_mut().find_map(|(generation, _, blocks)| {
                let found = blocks.iter_mut().find(|(block, _)| block == key)?;
                found.1 = true;
                Some(*generation)
            })
        }

        /// Puts a block into file `generation`, which is the last one or new.
        fn put(&mut self, generation: u64, key: BlockKey) {
            if self.files.last().is_none_or(|(last, ..)| *last != generation) {
                self.files.push((generation, FILE_HEADER_BYTES, Vec::new()));
            }
            let last = self.files.last_mut().unwrap();
            last.1 += entry_bytes(key.end - key.start);
            last.2.push((key, false));
        }
    }

    /// Places one block as the tier does, in both; what was carried over.
    fn place(ring: &mut Ring, model: &mut Model, key: BlockKey) -> Result<(), TestCaseError> {
        let mut queue = VecDeque::from([key]);
        while let Some(key) = queue.pop_front() {
            let bytes = key.end - key.start;
            loop {
                match ring.room(bytes) {
                    Room::Never => {
                        prop_assert!(entry_bytes(bytes) > ring.budget / FILES / 2);
                        break;
                    }
                    Room::Begin(generation) => {
                        prop_assert!(model.files.iter().all(|(old, ..)| *old < generation));
                        ring.begun(generation);
                    }
                    Room::Evict(generation, deserving) => {
                        // The ring may have begun a file that has no block yet.
                        let oldest = model.files.first().is_some_and(|it| it.0 == generation);
                        let gone = if oldest { model.files.remove(0).2 } else { Vec::new() };
                        let freed = ring.evicted(generation);
                        let carried: u64 =
                            deserving.iter().map(|(key, _)| entry_bytes(key.end - key.start)).sum();
                        prop_assert!(carried <= freed / CARRY);
                        for (key, _) in &deserving {
                            prop_assert!(gone.contains(&(*key, true)), "carried without a hit");
                        }
                        queue.extend(deserving.into_iter().map(|(key, _)| key));
                    }
                    Room::In(generation) => {
                        let place = ring.place(bytes, 0).unwrap();
                        prop_assert_eq!(place.generation, generation);
                        ring.landed(key, place);
                        model.put(generation, key);
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn it_finds_what_a_naive_model_finds_and_stays_in_the_budget(
            steps in prop::collection::vec((0..40_u64, 1..400_u64, any::<bool>()), 1..400),
            budget in 800..20_000_u64,
        ) {
            let mut ring = Ring::new(budget);
            let mut model = Model::default();
            for (object, bytes, write) in steps {
                // One length for each object: keys name content.
                let end = 1 + (object * 37 + bytes / 400) % 300;
                let key = BlockKey { object: ObjectId(object), start: 0, end };
                if write && ring.peek(&key).is_none() {
                    place(&mut ring, &mut model, key)?;
                } else {
                    let found = ring.find(&key).map(|place| place.generation);
                    prop_assert_eq!(found, model.find(&key));
                }
                prop_assert!(ring.bytes() <= budget, "{} of {}", ring.bytes(), budget);
                prop_assert!(model.bytes() <= ring.bytes());
                let blocks: usize = model.files.iter().map(|(.., blocks)| blocks.len()).sum();
                prop_assert_eq!(ring.blocks(), blocks);
            }
        }
    }

    #[test]
    fn the_index_is_bounded_however_small_the_blocks() {
        let mut ring = Ring::new(1 << 40);
        let mut model = Model::default();
        for object in 0..70_000 {
            let key = BlockKey { object: ObjectId(object), start: 0, end: 1 };
            if let Room::Evict(generation, _) = ring.room(1) {
                ring.evicted(generation);
            }
            if let Room::Begin(generation) = ring.room(1) {
                ring.begun(generation);
            }
            let place = ring.place(1, 0).unwrap();
            ring.landed(key, place);
            model.files.clear();
        }
        assert!(ring.blocks() <= MOST_ENTRIES);
    }
}
