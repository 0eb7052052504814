//! The disk tier without its thread: recovery, writes, reads, giving way.
//!
//! Owns: the folder's files and their handles, what each error of the disk means.
//! Does not own: decisions (`ring`), when writes happen (the face). Invariants: bytes leave only
//! after key, length and CRC were checked; nothing here is synced, for nothing here is needed; a
//! file that is not ours is never touched.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, ErrorKind},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    format::{self, ENTRY_HEADER_BYTES, EntryHeader, FILE_HEADER_BYTES},
    ring::{Place, Ring, Room, entry_bytes},
};
use crate::crc::crc32c;
use crate::{
    cache::{BlockKey, Metrics},
    env::disk::{Disk, DiskFile},
    types::{ByteCount, ClusterId},
};

/// Of the disk's free space this much is left to others (the WAL above all), or half the budget
/// if that is less.
const RESERVE: u64 = 1024 * 1024 * 1024;
/// So often a full disk may be met without a write in between before the tier ends.
const FULL_TRIES: u32 = 3;
const LOCK: &str = "lock";

/// A block to be kept.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) key: BlockKey,
    pub(super) crc: u32,
    pub(super) bytes: Bytes,
}

/// What a tier is opened with.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) cluster: ClusterId,
    pub(super) budget: ByteCount,
    pub(super) metrics: Metrics,
}

/// What readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Debug)]
struct State {
    /// `None` while it is not open, and for ever after it failed.
    ring: Option<Ring>,
    files: BTreeMap<u64, Arc<dyn DiskFile>>,
}

/// The writer's side.
pub(super) struct Tier {
    opening: Opening,
    shared: Arc<Shared>,
    full: u32,
    /// A person was told that the disk is full.
    warned: bool,
    _lock: Box<dyn Send + Sync>,
}

/// Why there is no tier (any more).
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Another process has the folder.
    #[error("another process uses the folder")]
    InUse,
    /// It was not wanted any more before it was open.
    #[error("stopped")]
    Stopped,
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier").field("folder", &self.opening.folder).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { state: Mutex::new(State { ring: None, files: BTreeMap::new() }), metrics }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a block with this CRC is said to be here.
    pub(super) fn has(&self, key: &BlockKey, crc: u32) -> bool {
        let state = self.state();
        let place = state.ring.as_ref().and_then(|ring| ring.peek(key));
        place.is_some_and(|place| place.crc == crc)
    }

    /// A block, checked; blocks the thread for a read of the disk.
    pub(super) fn read(&self, key: &BlockKey, crc: u32) -> Option<Bytes> {
        let (place, file) = {
            let mut state = self.state();
            let place = state.ring.as_mut()?.find(key).filter(|place| place.crc == crc)?;
            (place, Arc::clone(state.files.get(&place.generation)?))
        };
        match read_entry(file.as_ref(), key, place) {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => {
                self.metrics.disk_damaged.inc();
                if let Some(ring) = self.state().ring.as_mut() {
                    ring.forget(key, place);
                }
                None
            }
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// Ends the tier: from now on it has nothing and takes nothing.
    pub(super) fn fail(&self, error: &io::Error) {
        let mut state = self.state();
        state.files.clear();
        if state.ring.take().is_some() {
            tracing::warn!(
                %error,
                advice = "mend the disk, then start again; nothing is lost, reads are slower",
                "the cache's disk failed, reads go to the bucket from now on"
            );
        }
        self.metrics.show_disk(None);
    }

    /// Whether it has not failed.
    pub(super) fn is_open(&self) -> bool {
        self.state().ring.is_some()
    }

    fn show(&self, state: &State) {
        self.metrics.show_disk(state.ring.as_ref().map(|ring| super::Shown {
            bytes: ring.bytes(),
            budget: ring.budget(),
            blocks: ring.blocks(),
        }));
    }
}

/// The block at `place`; `None` when it is something else.
fn read_entry(file: &dyn DiskFile, key: &BlockKey, place: Place) -> io::Result<Option<Bytes>> {
    let Ok(length) = usize::try_from(entry_bytes(key.end - key.start)) else { return Ok(None) };
    let mut entry = vec![0; length];
    match file.read_at(place.at, &mut entry) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let entry = Bytes::from(entry);
    let wanted = EntryHeader { key: *key, crc: place.crc };
    let header = format::decode_entry(place.generation, &entry);
    let block = entry.slice(ENTRY_HEADER_BYTES..);
    let whole = header == Some(wanted) && crc32c(&block) == place.crc;
    Ok(whole.then_some(block))
}

impl Tier {
    /// Opens the folder and finds what a former process left, as long as it is `wanted`: a slow
    /// disk takes a while.
    ///
    /// # Errors
    /// There will be no tier.
    pub(super) fn open(
        opening: Opening,
        shared: Arc<Shared>,
        wanted: impl Fn() -> bool,
    ) -> Result<Self, Error> {
        let Opening { disk, folder, cluster, budget, .. } = &opening;
        disk.create_folder(folder)?;
        let lock = disk.lock(&folder.join(LOCK))?.ok_or(Error::InUse)?;
        let mut ring = Ring::new(budget.0);
        let mut files = BTreeMap::new();
        let names = disk.list(folder)?;
        // Names sort as their generations do.
        for generation in names.iter().filter_map(|name| format::generation_of(name)) {
            if !wanted() {
                return Err(Error::Stopped);
            }
            let path = folder.join(format::file_name(generation));
            let file = disk.open(&path, false)?;
            let found = scan(file.as_ref(), *cluster, generation)?;
            if found.is_empty() {
                disk.delete(&path)?;
                // Its generation must not be given again while an old entry may be read by it.
                ring.recover(generation, 0, &[]);
                ring.evicted(generation);
                continue;
            }
            ring.recover(generation, file.len()?, &found);
            files.insert(generation, file);
        }
        let over = ring.set_budget(budget.0);
        *shared.state() = State { ring: Some(ring), files };
        let mut tier = Self { opening, shared, full: 0, warned: false, _lock: lock };
        for generation in over {
            tier.delete(generation)?;
        }
        tier.look_at_room()?;
        Ok(tier)
    }

    /// Writes blocks, each where it has its place. Failures end in fewer blocks kept or none.
    pub(super) fn write(&mut self, blocks: &[Offered]) {
        for block in blocks {
            let known = self.shared.has(&block.key, block.crc);
            if known || !self.shared.is_open() {
                continue;
            }
            match self.write_one(block) {
                Ok(()) => {}
                Err(error) if is_full(&error) && self.full < FULL_TRIES => {
                    self.full += 1;
                    if let Err(error) = self.give_way() {
                        self.shared.fail(&error);
                    }
                }
                Err(error) => self.fail(&error),
            }
        }
        let state = self.shared.state();
        self.shared.show(&state);
    }

    /// Leaves the disk to others when it has little room, and takes the room back later.
    ///
    /// # Errors
    /// The disk failed.
    pub(super) fn look_at_room(&mut self) -> io::Result<()> {
        let free = self.opening.disk.free_bytes(&self.opening.folder)?;
        let most = self.opening.budget.0;
        let gone = {
            let mut state = self.shared.state();
            let Some(ring) = state.ring.as_mut() else { return Ok(()) };
            let all = ring.bytes().saturating_add(free);
            ring.set_budget(all.saturating_sub(RESERVE.min(most / 2)).min(most))
        };
        for generation in gone {
            self.delete(generation)?;
        }
        let state = self.shared.state();
        self.shared.show(&state);
        Ok(())
    }

    /// Ends the tier and tries to leave nothing behind.
    pub(super) fn fail(&mut self, error: &io::Error) {
        self.shared.fail(error);
        self.leave();
    }

    /// Deletes what a tier that ended left, if the disk lets it: others can use the room.
    pub(super) fn leave(&self) {
        let Opening { disk, folder, .. } = &self.opening;
        for name in disk.list(folder).unwrap_or_default() {
            if format::generation_of(&name).is_some() {
                disk.delete(&folder.join(name)).ok();
            }
        }
    }

    fn write_one(&mut self, block: &Offered) -> io::Result<()> {
        let bytes = block.key.end - block.key.start;
        let mut carried = Vec::new();
        let generation = loop {
            let room = match self.shared.state().ring.as_ref() {
                Some(ring) => ring.room(bytes),
                None => return Ok(()),
            };
            match room {
                Room::Never => return Ok(()),
                Room::In(generation) => break generation,
                Room::Begin(generation) => self.begin(generation)?,
                Room::Evict(generation, deserving) => {
                    carried.extend(self.carry(&deserving)?);
                    self.delete(generation)?;
                }
            }
        };
        self.put(generation, block)?;
        // One more time round for each: the first may have filled the file.
        for block in carried {
            self.write_one(&block)?;
        }
        Ok(())
    }

    fn put(&mut self, generation: u64, block: &Offered) -> io::Result<()> {
        let bytes = block.key.end - block.key.start;
        let (place, file) = {
            let mut state = self.shared.state();
            let place = state.ring.as_mut().and_then(|ring| ring.place(bytes, block.crc));
            let file = state.files.get(&generation).map(Arc::clone);
            let Some((place, file)) = place.zip(file) else { return Ok(()) };
            (place, file)
        };
        let header =
            format::encode_entry(generation, &EntryHeader { key: block.key, crc: block.crc });
        file.write_at(place.at, &[header, block.bytes.clone()])?;
        self.full = 0;
        self.opening.metrics.disk_written_bytes.inc_by(bytes);
        if let Some(ring) = self.shared.state().ring.as_mut() {
            ring.landed(block.key, place);
        }
        Ok(())
    }

    fn begin(&mut self, generation: u64) -> io::Result<()> {
        let Opening { disk, folder, cluster, .. } = &self.opening;
        let path = folder.join(format::file_name(generation));
        let file = disk.open(&path, true)?;
        if let Err(error) = file.write_at(0, &[format::encode_file(*cluster, generation)]) {
            // The next try makes a file of this name.
            return disk.delete(&path).and(Err(error));
        }
        let mut state = self.shared.state();
        let state = &mut *state;
        if let Some(ring) = state.ring.as_mut() {
            ring.begun(generation);
            state.files.insert(generation, file);
        }
        Ok(())
    }

    /// Reads what deserves to be written again.
    fn carry(&self, deserving: &[(BlockKey, Place)]) -> io::Result<Vec<Offered>> {
        let mut carried = Vec::new();
        for (key, place) in deserving {
            let file = self.shared.state().files.get(&place.generation).map(Arc::clone);
            let Some(file) = file else { continue };
            if let Some(bytes) = read_entry(file.as_ref(), key, *place)? {
                carried.push(Offered { key: *key, crc: place.crc, bytes });
            }
        }
        Ok(carried)
    }

    /// The disk is full: half of what is held goes.
    fn give_way(&mut self) -> io::Result<()> {
        let (gone, budget) = {
            let mut state = self.shared.state();
            let Some(ring) = state.ring.as_mut() else { return Ok(()) };
            ring.close_newest();
            let budget = ring.bytes() / 2;
            (ring.set_budget(budget), budget)
        };
        if !std::mem::replace(&mut self.warned, true) {
            let (folder, budget) = (self.opening.folder.display(), ByteCount(budget));
            tracing::warn!(%folder, %budget, "the disk is full, the cache gives way");
        }
        for generation in gone {
            self.delete(generation)?;
        }
        Ok(())
    }

    fn delete(&mut self, generation: u64) -> io::Result<()> {
        {
            let mut state = self.shared.state();
            let freed = state.ring.as_mut().map_or(0, |ring| ring.evicted(generation));
            state.files.remove(&generation);
            self.opening.metrics.disk_evicted_bytes.inc_by(freed);
        }
        self.opening.disk.delete(&self.opening.folder.join(format::file_name(generation)))
    }
}

/// Whether the error says that there is no room, in any of the words for it.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// The entries of a file by their headers alone, up to the first that is not whole.
fn scan(
    file: &dyn DiskFile,
    cluster: ClusterId,
    generation: u64,
) -> io::Result<Vec<(BlockKey, Place)>> {
    let length = file.len()?;
    let mut found = Vec::new();
    let mut header = vec![0; usize::try_from(FILE_HEADER_BYTES).unwrap_or_default()];
    if length < FILE_HEADER_BYTES {
        return Ok(found);
    }
    file.read_at(0, &mut header)?;
    if !format::is_file(&header, cluster, generation) {
        return Ok(found);
    }
    let mut at = FILE_HEADER_BYTES;
    let mut header = vec![0; ENTRY_HEADER_BYTES];
    while at + entry_bytes(0) <= length {
        file.read_at(at, &mut header)?;
        let Some(EntryHeader { key, crc }) = format::decode_entry(generation, &header) else {
            break;
        };
        let end = at.saturating_add(entry_bytes(key.end - key.start));
        if end > length {
            break;
        }
        found.push((key, Place { generation, at, crc }));
        at = end;
    }
    Ok(found)
}
