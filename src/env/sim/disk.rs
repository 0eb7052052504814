//! A disk in memory that loses what was not synced.
//!
//! Owns: files as their durable bytes plus the writes since the last sync, names as a journal,
//! and the faults. Does not own: which fault comes when; a test says.
//! Invariants: a crash keeps any subset of the unsynced 512-byte sectors and any prefix of the
//! unsynced name changes; a failed sync loses its writes for good, though reads still see them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::env::disk::{Disk, DiskFile};

/// Bytes that land on the disk together or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What happens at a chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails once with this error.
    Error(io::ErrorKind),
    /// The power goes: a write may have landed in part, all later operations fail.
    PowerCut,
}

/// A simulated disk; clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Clone, Default)]
struct Inner {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    journal: Vec<NameChange>,
    locked: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    unreadable: bool,
    read_only: bool,
    dead: bool,
    cut: Arc<Notify>,
}

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<(usize, Bytes)>,
}

#[derive(Clone)]
enum NameChange {
    Set(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk without limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the sum of file lengths; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Changing operations so far: creates, writes, syncs, renames and the like.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Lets the changing operation numbered `operation` (from 0) meet `fault`.
    pub fn fault_at(&self, operation: u64, fault: Fault) {
        self.lock().faults.insert(operation, fault);
    }

    /// Lets every read of an open file fail, or none.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.lock().unreadable = unreadable;
    }

    /// Lets every change fail as on a file system that was mounted for reading, or none.
    pub fn set_read_only(&self, read_only: bool) {
        self.lock().read_only = read_only;
    }

    /// Forgets the faults that are still to come.
    pub fn calm(&self) {
        let mut inner = self.lock();
        inner.faults.clear();
        (inner.capacity, inner.unreadable, inner.read_only) = (None, false, false);
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        let mut inner = self.lock();
        inner.dead = true;
        inner.cut.notify_one();
    }

    /// Resolves when the power is cut.
    pub async fn power_cut(&self) {
        let cut = Arc::clone(&self.lock().cut);
        cut.notified().await;
    }

    /// The disk as a reboot finds it; `landed` is asked for each unsynced sector and name change.
    /// This one stays dead.
    #[must_use]
    pub fn reboot(&self, mut landed: impl FnMut() -> bool) -> Self {
        let mut old = self.lock();
        old.dead = true;
        let mut new = Inner {
            files: old.files.clone(),
            durable_names: old.durable_names.clone(),
            capacity: old.capacity,
            ..Inner::default()
        };
        for change in &old.journal {
            if !landed() {
                break;
            }
            apply(&mut new.durable_names, change);
        }
        new.names = new.durable_names.clone();
        for file in &mut new.files {
            for (position, bytes) in std::mem::take(&mut file.unsynced) {
                for (index, sector) in sectors(position, &bytes) {
                    if landed() {
                        put(&mut file.durable, index, sector);
                    }
                }
            }
            file.seen = file.durable.clone();
        }
        Self { inner: Arc::new(Mutex::new(new)) }
    }

    /// Another disk with the same content, as a snapshot of a running volume gives.
    #[must_use]
    pub fn copy(&self) -> Self {
        let files = |file: &Content| Content {
            unsynced: Vec::new(),
            durable: file.seen.clone(),
            ..file.clone()
        };
        let old = self.lock();
        let new = Inner {
            files: old.files.iter().map(files).collect(),
            names: old.names.clone(),
            durable_names: old.names.clone(),
            capacity: old.capacity,
            ..Inner::default()
        };
        Self { inner: Arc::new(Mutex::new(new)) }
    }

    /// Changes a file's bytes behind its owner's back.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let Some(&id) = inner.names.get(path) else { return };
        if let Some(file) = inner.files.get_mut(id) {
            change(&mut file.seen);
            file.durable = file.seen.clone();
        }
    }

    /// A file's bytes as reads see them; empty when it is not there.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let mut inner = self.lock();
        let id = inner.id(path).unwrap_or(usize::MAX);
        inner.file(id).map(|file| file.seen.clone()).unwrap_or_default()
    }

    /// Whether the file is there.
    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        self.lock().names.contains_key(path)
    }

    /// Loses a file behind its owner's back.
    pub fn delete_file(&self, path: &Path) {
        let mut inner = self.lock();
        inner.names.remove(path);
        inner.durable_names.remove(path);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Inner {
    /// Counts a changing operation. True when it may still happen though its answer is lost.
    fn step(&mut self) -> io::Result<bool> {
        self.alive()?;
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let fault = self.faults.remove(&self.operations);
        self.operations += 1;
        match fault {
            None => Ok(false),
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::PowerCut) => {
                self.dead = true;
                self.cut.notify_one();
                Ok(true)
            }
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is cut")) } else { Ok(()) }
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.journal.push(change);
    }

    fn id(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, id: usize) -> io::Result<&mut Content> {
        self.files.get_mut(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free(&self) -> u64 {
        let length = |id: &usize| self.files.get(*id).map_or(0, |file| size(file.seen.len()));
        let used = self.names.values().map(length).sum();
        self.capacity.unwrap_or(u64::MAX / 4).saturating_sub(used)
    }

    fn grow(&mut self, id: usize, bytes: usize) -> io::Result<()> {
        let free = self.free();
        let file = self.file(id)?;
        let more = bytes.saturating_sub(file.seen.len());
        if size(more) > free {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = file.seen.len() + more;
        file.seen.resize(length, 0);
        Ok(())
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    match change {
        NameChange::Set(path, id) => {
            names.insert(path.clone(), *id);
        }
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
    }
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn put(into: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    if into.len() < position + bytes.len() {
        into.resize(position + bytes.len(), 0);
    }
    if let Some(target) = into.get_mut(position..position + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}

/// A write cut at sector borders.
fn sectors(position: usize, bytes: &Bytes) -> Vec<(usize, &[u8])> {
    let first = (SECTOR_BYTES - position % SECTOR_BYTES).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let mut all = vec![(position, head)];
    let mut at = position + first;
    for sector in rest.chunks(SECTOR_BYTES) {
        all.push((at, sector));
        at += sector.len();
    }
    all
}

impl Disk for SimDisk {
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        self.lock().alive()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        inner.alive()?;
        let here = inner.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.alive()?;
        let id = if create {
            if inner.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let lost = inner.step()?;
            let id = inner.files.len();
            inner.files.push(Content::default());
            inner.change(NameChange::Set(path.to_owned(), id));
            if lost {
                inner.alive()?;
            }
            id
        } else {
            inner.id(path)?
        };
        Ok(Arc::new(SimFile { disk: self.clone(), id }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut inner = self.lock();
        inner.alive()?;
        let id = inner.id(path)?;
        Ok(inner.file(id)?.seen.clone())
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        if size(content.len()) > inner.free() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let lost = inner.step()?;
        let id = inner.files.len();
        let (durable, seen) = (content.to_vec(), content.to_vec());
        inner.files.push(Content { durable, seen, unsynced: Vec::new() });
        inner.change(NameChange::Set(path.to_owned(), id));
        if lost {
            return inner.alive();
        }
        inner.durable_names = inner.names.clone();
        inner.journal.clear();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.id(from)?;
        inner.step()?;
        inner.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        inner.alive()
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        inner.change(NameChange::Remove(path.to_owned()));
        inner.alive()
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        inner.alive()?;
        inner.durable_names = inner.names.clone();
        inner.journal.clear();
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut inner = SimDisk::lock(self);
        inner.alive()?;
        let free = inner.locked.insert(path.to_owned());
        Ok(free.then(|| {
            let guard: Box<dyn Send + Sync> = Box::new(Unlock(self.clone(), path.to_owned()));
            guard
        }))
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        Ok(SimDisk::lock(self).free())
    }
}

struct Unlock(SimDisk, PathBuf);

impl Drop for Unlock {
    fn drop(&mut self) {
        SimDisk::lock(&self.0).locked.remove(&self.1);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: usize,
}

impl DiskFile for SimFile {
    fn write_at(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.step()?;
        let mut at = index(position);
        for part in parts {
            inner.grow(self.id, at + part.len())?;
            let file = inner.file(self.id)?;
            put(&mut file.seen, at, part);
            file.unsynced.push((at, part.clone()));
            at += part.len();
        }
        inner.alive()
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.alive()?;
        if inner.unreadable {
            return Err(io::Error::other("unreadable"));
        }
        let at = index(position);
        let seen = &inner.file(self.id)?.seen;
        let bytes = seen.get(at..at + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let outcome = inner.step();
        inner.alive()?;
        let file = inner.file(self.id)?;
        let unsynced = std::mem::take(&mut file.unsynced);
        // Linux marks the pages clean either way: a second sync would succeed with data lost.
        outcome?;
        for (position, bytes) in unsynced {
            put(&mut file.durable, position, &bytes);
        }
        Ok(())
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.step()?;
        inner.alive()?;
        inner.grow(self.id, index(bytes))?;
        let file = inner.file(self.id)?;
        let length = file.seen.len().max(file.durable.len());
        file.durable.resize(length, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut inner = self.disk.lock();
        Ok(size(inner.file(self.id)?.seen.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(disk: &SimDisk) -> Arc<dyn DiskFile> {
        let file = disk.open(Path::new("/f/a"), true).unwrap();
        disk.sync_folder(Path::new("/f")).unwrap();
        file.preallocate(2048).unwrap();
        file
    }

    fn content(disk: &SimDisk) -> Vec<u8> {
        disk.read(Path::new("/f/a")).unwrap()
    }

    #[test]
    fn unsynced_sectors_land_one_by_one() {
        let disk = SimDisk::new();
        let file = file(&disk);
        file.write_at(0, &[Bytes::from(vec![1; 1024])]).unwrap();
        file.sync().unwrap();
        file.write_at(512, &[Bytes::from(vec![2; 1024])]).unwrap();
        let mut turn = 0;
        let after = disk.reboot(|| {
            turn += 1;
            turn == 2
        });
        let bytes = content(&after);
        assert_eq!((bytes[0], bytes[512], bytes[1024], bytes[1536]), (1, 1, 2, 0));
        assert!(file.sync().is_err(), "the old disk is dead");
    }

    #[test]
    fn a_failed_sync_loses_its_writes_though_reads_see_them() {
        let disk = SimDisk::new();
        let file = file(&disk);
        file.write_at(0, &[Bytes::from_static(b"x")]).unwrap();
        disk.fault_at(disk.operations(), Fault::Error(io::ErrorKind::Other));
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(content(&disk)[0], b'x');
        assert_eq!(content(&disk.reboot(|| true))[0], 0);
    }

    #[test]
    fn a_rename_never_loses_the_file() {
        let disk = SimDisk::new();
        file(&disk);
        disk.rename(Path::new("/f/a"), Path::new("/f/b")).unwrap();
        assert_eq!(disk.reboot(|| false).list(Path::new("/f")).unwrap(), ["a"]);
        assert_eq!(disk.reboot(|| true).list(Path::new("/f")).unwrap(), ["b"]);
    }

    #[test]
    fn capacity_is_checked_when_a_file_grows() {
        let disk = SimDisk::new();
        let file = file(&disk);
        disk.set_capacity(Some(3000));
        assert_eq!(file.preallocate(4096).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.preallocate(3000).unwrap();
        assert_eq!(disk.free_bytes(Path::new("/f")).unwrap(), 0);
    }
}
