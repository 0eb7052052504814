//! The folder: lock, identity, the segments in it, their files and fences.
//!
//! Owns: which files belong to which segment, durably. Does not own: the bytes of entries.
//! Invariants: one process at a time; a fence is durable before `fence` returns; a file leaves a
//! segment only by `trim`.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;

use crate::{
    env::{
        Env,
        bugs::{Bug, Bugs},
        disk::DiskFile,
    },
    types::{BrokerId, ByteCount, ClusterId, Incarnation, SegmentId, StorageId},
};

use super::{
    Entry, Error, FoundSegment, Identity, OpenSegment, WalPosition,
    format::FileHeader,
    found::examine,
    ledger::{self, Ledger, Listed},
    pool::{Name, Pool},
    reader::{Files, Reader, read_position},
    writer::Writer,
};

/// Given up when the disk is full, so that a fence can still be noted.
const BALLAST: ByteCount = ByteCount::mib(1);
/// Segments a writer may hold open ahead of use.
const MOST_AHEAD: u64 = 3;

/// Handle of an open, locked WAL folder; clones share it.
#[derive(Clone)]
pub struct Folder {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    env: Env,
    state: Mutex<State>,
    /// Apart from `state`, so that a fetch never waits for a sync of the folder.
    files: Mutex<BTreeMap<SegmentId, Arc<Files>>>,
    _lock: Box<dyn Send + Sync>,
}

struct State {
    identity: Identity,
    ledger: Ledger,
    pool: Pool,
    /// Findings of the segments that were here when the folder was opened.
    found: BTreeMap<SegmentId, FoundSegment>,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Folder {
    /// Locks the folder, making it when it is new, and scans every segment in it. Blocking.
    ///
    /// # Errors
    /// `Locked`, `Format` or `Disk`.
    pub fn open(path: &Path, env: &Env) -> Result<Self, Error> {
        env.disk.create_folder(path)?;
        let lock = env.disk.lock(&path.join("lock"))?;
        let lock = lock.ok_or_else(|| Error::Locked { folder: path.to_owned() })?;
        let names = env.disk.list(path)?;
        let identity = open_identity(path, env, &names)?;
        let ledger = open_small(path, env, &names, "segments.json")?.unwrap_or_default();
        let pool = Pool::open(env.disk.clone(), path, &names)?;
        let state = State { identity, ledger, pool, found: BTreeMap::new() };
        let inner = Inner {
            path: path.to_owned(),
            env: env.clone(),
            state: Mutex::new(state),
            files: Mutex::default(),
            _lock: lock,
        };
        let folder = Self { inner: Arc::new(inner) };
        folder.keep_ballast(&names)?;
        folder.open_files(&names)?;
        let ids: Vec<_> = folder.known();
        let found = folder.examine(&ids)?;
        folder.state().found = found.into_iter().map(|segment| (segment.id, segment)).collect();
        Ok(folder)
    }

    /// Whether no broker ever used the folder, or there is none. Changes nothing.
    ///
    /// # Errors
    /// `Disk`.
    pub fn is_new(path: &Path, env: &Env) -> Result<bool, Error> {
        let names = match env.disk.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            names => names?,
        };
        let known = |name: &String| name == "identity.json" || holds_segments(name);
        Ok(!names.iter().any(known))
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.state().identity
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What it was told to do wrong.
    pub(crate) fn bugs(&self) -> Bugs {
        self.inner.env.bugs
    }

    /// Bytes the file system has left.
    ///
    /// # Errors
    /// `Disk`.
    pub fn free_bytes(&self) -> Result<ByteCount, Error> {
        Ok(ByteCount(self.inner.env.disk.free_bytes(&self.inner.path)?))
    }

    /// Makes it a folder of `cluster`, for good.
    ///
    /// # Errors
    /// `OtherCluster` when it is another's; `Disk`.
    pub fn bind(&self, cluster: ClusterId) -> Result<(), Error> {
        match self.identity().cluster {
            Some(has) if has == cluster => Ok(()),
            Some(has) => {
                let folder = self.inner.path.clone();
                Err(Error::OtherCluster { folder, has, wants: cluster })
            }
            None => self.change_identity(|identity| identity.cluster = Some(cluster)),
        }
    }

    /// Notes that a registration is about to be tried, after checking against a put-back copy:
    /// `newest` is the newest incarnation the metadata has for this storage (H10).
    ///
    /// # Errors
    /// `RolledBack`, `OlderBucket`; `Disk`.
    pub fn begin_registration(&self, newest: Option<Incarnation>) -> Result<(), Error> {
        self.check_newest(newest)?;
        self.change_identity(|identity| identity.registering = true)
    }

    /// Whether neither folder nor bucket is a put-back copy (H10, H38); `newest` as above.
    ///
    /// # Errors
    /// `RolledBack`, `OlderBucket`.
    pub fn check_newest(&self, newest: Option<Incarnation>) -> Result<(), Error> {
        let Identity { incarnation: local, registering, .. } = self.identity();
        if let Some(newest) = newest.filter(|newest| Some(*newest) > local && !registering) {
            return Err(Error::RolledBack { folder: self.inner.path.clone(), local, newest });
        }
        if let (Some(local), Some(newest)) = (local, newest)
            && newest < local
        {
            return Err(Error::OlderBucket { folder: self.inner.path.clone(), local, newest });
        }
        Ok(())
    }

    /// Notes the registration; to be called before any segment of it is written.
    ///
    /// # Errors
    /// `Disk`.
    pub fn registered(&self, broker: BrokerId, incarnation: Incarnation) -> Result<(), Error> {
        self.change_identity(|identity| {
            identity.broker = Some(broker);
            identity.incarnation = Some(incarnation);
            identity.registering = false;
        })
    }

    /// The segments that were in it when it was opened, oldest first, trimmed ones left out.
    #[must_use]
    pub fn found(&self) -> Vec<FoundSegment> {
        self.state().found.values().cloned().collect()
    }

    /// Gives a segment's files back to the pool. Blocking. One that is not there is fine.
    ///
    /// # Errors
    /// `Disk`.
    pub fn trim(&self, segment: SegmentId) -> Result<(), Error> {
        let mut state = self.state();
        state.found.remove(&segment);
        if state.ledger.segments.remove(&segment).is_some() {
            self.save_ledger(&state.ledger)?;
        }
        if self.files().remove(&segment).is_none() {
            return Ok(());
        }
        for name in self.inner.env.disk.list(&self.inner.path)? {
            if Name::decode(&name).is_some_and(|name| name.segment == segment) {
                state.pool.give_back(&self.inner.path.join(name))?;
            }
        }
        Ok(self.inner.env.disk.sync_folder(&self.inner.path)?)
    }

    /// Trims what a crash left between a seal and its trim: every segment of incarnations before
    /// `incarnation` that is not among `unsealed`, the segments an applied metadata still has open
    /// or recovering. Blocking.
    ///
    /// # Errors
    /// `Disk`.
    pub fn trim_sealed(
        &self,
        incarnation: Incarnation,
        unsealed: &[SegmentId],
    ) -> Result<(), Error> {
        let known = self.known().into_iter();
        let sealed = known.filter(|id| id.incarnation < incarnation && !unsealed.contains(id));
        sealed.into_iter().try_for_each(|id| self.trim(id))
    }

    /// Fences segments for good and durably; ones never written here too (H6). Blocking.
    ///
    /// # Errors
    /// `Disk`: nothing may be answered then.
    pub fn fence(&self, segments: &[SegmentId]) -> Result<(), Error> {
        let mut state = self.state();
        for segment in segments {
            state.ledger.segments.entry(*segment).or_default().fenced = true;
        }
        Ok(self.save_ledger(&state.ledger)?)
    }

    /// What the files of these segments hold, read now; one never written here is left out.
    ///
    /// # Errors
    /// `Disk` or `Format`.
    pub(crate) fn examine(&self, segments: &[SegmentId]) -> Result<Vec<FoundSegment>, Error> {
        let known = |id: &SegmentId| (*id, self.listed(*id), self.segment_files(*id).ok());
        examine(segments.iter().map(known), self.inner.env.bugs)
    }

    /// Whether this folder must have had `segment` though nothing here tells of it: writers open
    /// few segments ahead, so one far beyond the newest made here was made by a lost state (H10).
    pub(crate) fn must_have_held(&self, segment: SegmentId) -> bool {
        let newest = self.state().ledger.newest;
        let newest = newest.filter(|newest| newest.incarnation == segment.incarnation);
        newest.is_some_and(|newest| segment.sequence > newest.sequence + MOST_AHEAD)
    }

    /// Makes a segment's first file and its writer. Blocking.
    ///
    /// # Errors
    /// `NoRoom`, `Fenced` or `Disk`.
    pub(crate) fn create(&self, open: &OpenSegment, bytes: ByteCount) -> Result<Writer, Error> {
        let file = self.add_part(open.id, open.nonce, bytes)?;
        Ok(Writer::new(open.id, open.nonce, file, self.inner.env.bugs)?)
    }

    /// Makes one more file of a segment. Blocking.
    ///
    /// # Errors
    /// `NoRoom`, `Fenced` or `Disk`.
    pub(crate) fn add_part(
        &self,
        segment: SegmentId,
        nonce: u64,
        bytes: ByteCount,
    ) -> Result<Arc<dyn DiskFile>, Error> {
        let mut state = self.state();
        let listed = state.ledger.segments.get(&segment).copied().unwrap_or_default();
        if listed.fenced {
            return Err(Error::Fenced(segment));
        }
        let part = listed.parts;
        let file = state.pool.take(Name { segment, nonce, part }, bytes)?;
        let mut ledger = state.ledger.clone();
        ledger.newest = ledger.newest.max(Some(segment));
        if !self.inner.env.bugs.has(Bug::SegmentUnlisted) {
            ledger.segments.insert(segment, Listed { parts: part + 1, fenced: false });
        }
        self.save_ledger(&ledger)?;
        state.ledger = ledger;
        let Identity { cluster, storage, .. } = state.identity;
        let cluster = cluster.unwrap_or_default();
        let header = FileHeader { cluster, storage, segment, nonce, part };
        // What the ledger tells of is there from now on, whatever becomes of the write: recovery by
        // this very process would take it for lost.
        {
            let mut files = self.files();
            let mut parts = files.get(&segment).map_or(Vec::new(), |files| files.parts.clone());
            parts.push(file.clone());
            let bugs = self.inner.env.bugs;
            files.insert(segment, Arc::new(Files { id: segment, nonce, parts, bugs }));
        }
        file.write_at(0, &[header.encode()])?;
        Ok(file)
    }

    /// How many used files are kept for the next segments.
    pub(crate) fn keep_free(&self, files: usize) {
        self.state().pool.most_free = files;
    }

    /// Keeps one free file ready, filled with zeros. Blocking; ends early when `enough`.
    ///
    /// # Errors
    /// `NoRoom` or `Disk`.
    pub(crate) fn prepare(&self, bytes: ByteCount, enough: impl Fn() -> bool) -> Result<(), Error> {
        if self.state().pool.has_free() {
            return Ok(());
        }
        let names = self.inner.env.disk.list(&self.inner.path)?;
        self.keep_ballast(&names)?;
        let new = self.state().pool.begin(bytes)?;
        new.fill(enough)?;
        Ok(self.state().pool.add(&new)?)
    }

    /// A segment's entries from its files.
    ///
    /// # Errors
    /// `Gone`.
    pub(crate) fn reader(&self, segment: SegmentId) -> Result<Reader, Error> {
        Ok(Reader::new(self.segment_files(segment)?))
    }

    /// One entry from the files. Blocking.
    ///
    /// # Errors
    /// `Gone`, `Damaged` or `Disk`.
    pub(crate) fn read_at(&self, position: WalPosition) -> Result<Entry, Error> {
        let files = self.segment_files(position.segment)?;
        let entry = read_position(&files, position);
        // Trimmed meanwhile: the file may hold another segment by now.
        self.segment_files(position.segment)?;
        entry
    }

    fn segment_files(&self, segment: SegmentId) -> Result<Arc<Files>, Error> {
        self.files().get(&segment).cloned().ok_or(Error::Gone(segment))
    }

    fn listed(&self, segment: SegmentId) -> Option<Listed> {
        self.state().ledger.segments.get(&segment).copied()
    }

    fn known(&self) -> Vec<SegmentId> {
        let mut ids: Vec<_> = self.files().keys().copied().collect();
        ids.extend(self.state().ledger.segments.keys());
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Opens the files of every segment, as far as they follow one another from the first.
    fn open_files(&self, names: &[String]) -> Result<(), Error> {
        let mut all: Vec<_> = names.iter().filter_map(|name| Name::decode(name)).collect();
        all.sort_unstable();
        let mut files: BTreeMap<SegmentId, Files> = BTreeMap::new();
        for name in all {
            let path = self.inner.path.join(name.encode());
            let file = self.inner.env.disk.open(&path, false)?;
            self.check_file(&*file, &path, name)?;
            let Name { segment: id, nonce, part } = name;
            let bugs = self.inner.env.bugs;
            let segment = files.entry(id).or_insert(Files { id, nonce, parts: Vec::new(), bugs });
            if u32::try_from(segment.parts.len()) == Ok(part) && segment.nonce == nonce {
                segment.parts.push(file);
            }
        }
        let files = files.into_iter().map(|(id, files)| (id, Arc::new(files)));
        *self.files() = files.collect();
        Ok(())
    }

    /// Refuses a newer release's file and another cluster's; a header not readable is no loss.
    fn check_file(&self, file: &dyn DiskFile, path: &Path, name: Name) -> Result<(), Error> {
        let mut sector = [0; 512];
        match file.read_at(0, &mut sector) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let path = || path.to_owned();
        match FileHeader::decode(&sector) {
            Some(Err(version)) => {
                let why = format!("WAL files of version {version}, this release reads 1");
                Err(Error::Format { path: path(), why })
            }
            Some(Ok(header)) if header.nonce == name.nonce => {
                let storage = self.identity().storage;
                let why = format!("it was written on storage {}", header.storage);
                if header.storage == storage {
                    Ok(())
                } else {
                    Err(Error::Format { path: path(), why })
                }
            }
            // Torn, damaged or still the header of the file's former use.
            Some(Ok(_)) | None => Ok(()),
        }
    }

    fn change_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<(), Error> {
        let mut state = self.state();
        let mut identity = state.identity;
        change(&mut identity);
        let path = self.inner.path.join("identity.json");
        self.inner.env.disk.replace(&path, &ledger::encode(&identity))?;
        state.identity = identity;
        Ok(())
    }

    fn save_ledger(&self, ledger: &Ledger) -> io::Result<()> {
        let path = self.inner.path.join("segments.json");
        let text = ledger::encode(ledger);
        match self.inner.env.disk.replace(&path, &text) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.inner.env.disk.delete(&self.inner.path.join("ballast"))?;
                self.inner.env.disk.replace(&path, &text)
            }
            other => other,
        }
    }

    /// Reserves the ballast when it is not there; without room it waits for a better day.
    fn keep_ballast(&self, names: &[String]) -> io::Result<()> {
        if names.iter().any(|name| name == "ballast") {
            return Ok(());
        }
        let path = self.inner.path.join("ballast");
        let file = self.inner.env.disk.open(&path, true)?;
        match file.preallocate(BALLAST.0) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.inner.env.disk.delete(&path)
            }
            other => other,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<SegmentId, Arc<Files>>> {
        self.inner.files.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn open_identity(path: &Path, env: &Env, names: &[String]) -> Result<Identity, Error> {
    if let Some(identity) = open_small(path, env, names, "identity.json")? {
        return Ok(identity);
    }
    if names.iter().any(|name| holds_segments(name)) {
        let why = "it is missing, though there are WAL files beside it".to_owned();
        return Err(Error::Format { path: path.join("identity.json"), why });
    }
    let identity = Identity::new(StorageId(env.entropy.uuid()));
    env.disk.replace(&path.join("identity.json"), &ledger::encode(&identity))?;
    Ok(identity)
}

/// Whether a file of this name tells of segments that were written.
fn holds_segments(name: &str) -> bool {
    name == "segments.json" || Name::decode(name).is_some()
}

fn open_small<T: serde::de::DeserializeOwned>(
    path: &Path,
    env: &Env,
    names: &[String],
    name: &str,
) -> Result<Option<T>, Error> {
    if !names.iter().any(|found| found == name) {
        return Ok(None);
    }
    let path = path.join(name);
    let text = Bytes::from(env.disk.read(&path)?);
    ledger::decode(&text).map(Some).map_err(|why| Error::Format { path, why })
}
