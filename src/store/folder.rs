//! A folder that plays the bucket: one file an object, safe for several processes.
//!
//! Owns: keys as paths, compare-and-set, durability. Does not own: files as such (`env::tree`).
//! Invariants: a create is one exclusive link; replaces and deletes hold the folder's lock;
//! `Done` means the file and every name on the way to it are synced.
//!
//! `.strandline/` in the folder holds the lock and drafts; no key begins with a dot. A version is
//! the length and CRC-64/NVME of the content: what is replaced carries a nonce.

use std::{
    collections::HashSet,
    fmt,
    io::{self, ErrorKind},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

use super::{
    Failure, FailureKind, GetError, Key, OpenError, Outcome,
    bucket::{Bucket, Condition, Found, Head, Listed, PAGE_KEYS, Page, Version, total_bytes},
};
use crate::env::{
    Env,
    task::Tasks,
    tree::{self, Draft},
};

/// The bucket.
#[derive(Clone)]
pub(super) struct Folder(Arc<Inner>);

struct Inner {
    root: PathBuf,
    work: PathBuf,
    env: Env,
    /// Folders whose names this process knows to be durable: another may have made a folder and
    /// not synced its name yet.
    durable: Mutex<HashSet<PathBuf>>,
}

/// Folders remembered before starting over.
const MAX_DURABLE: usize = 100_000;

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "folder {}", self.0.root.display())
    }
}

impl Folder {
    /// Opens the folder for reading: nothing is made and nothing swept.
    pub(super) fn open_as_it_is(path: &Path, env: &Env) -> Result<Self, OpenError> {
        let name = path.display();
        let cannot = |error: io::Error| OpenError(format!("the bucket folder {name}: {error}"));
        let root = tree::absolute(path).map_err(cannot)?;
        if !tree::is_folder(&root) {
            return Err(OpenError(format!("the bucket folder {name} is not there")));
        }
        // Nothing is drafted and nothing locked; the folder is there as long as its root is.
        let (work, env) = (root.clone(), env.clone());
        Ok(Self(Arc::new(Inner { root, work, env, durable: Mutex::default() })))
    }

    /// Opens or makes the folder and sweeps what dead writers left.
    pub(super) fn open(path: &Path, env: &Env) -> Result<Self, OpenError> {
        let name = path.display();
        let cannot = |error: io::Error| OpenError(format!("the bucket folder {name}: {error}"));
        let root = tree::absolute(path).map_err(cannot)?;
        let work = root.join(".strandline");
        env.disk.create_folder(&work).map_err(cannot)?;
        tree::sweep(&work, |name| name.starts_with("draft-")).map_err(cannot)?;
        let env = env.clone();
        Ok(Self(Arc::new(Inner { root, work, env, durable: Mutex::default() })))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let inner = Arc::clone(&self.0);
        Tasks::blocking(move || work(&inner))
            .await
            .map_err(|_| Failure::new(FailureKind::Other, "interrupted while shutting down"))
    }
}

impl Inner {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// What stands for a file that is not there: absent only while the folder itself is there.
    fn present<T>(&self, found: Option<T>) -> Result<T, GetError> {
        match found {
            Some(value) => Ok(value),
            None if tree::is_folder(&self.work) => Err(GetError::Absent),
            None => Err(self.gone().into()),
        }
    }

    fn gone(&self) -> Failure {
        let root = self.root.display();
        let text = format!("the bucket folder {root} is gone: is its file system mounted?");
        Failure::new(FailureKind::NoBucket, text)
    }

    fn create(&self, key: &Key, parts: &[Bytes]) -> Result<Outcome<Version>, Failure> {
        let target = self.path(key);
        self.make_folder_of(&target)?;
        let published = self.draft(parts)?.publish_new(&target).map_err(failure)?;
        Ok(if published { Outcome::Done(version_of(parts)) } else { Outcome::Refused })
    }

    fn replace(
        &self,
        key: &Key,
        version: &Version,
        parts: &[Bytes],
    ) -> Result<Outcome<Version>, Failure> {
        let target = self.path(key);
        let draft = self.draft(parts)?;
        let _lock = tree::lock(&self.work.join("lock")).map_err(failure)?;
        let current = tree::read(&target).map_err(failure)?;
        if current.map(|bytes| version_of(&[Bytes::from(bytes)])).as_ref() != Some(version) {
            return Ok(Outcome::Refused);
        }
        draft.publish_over(&target).map_err(failure)?;
        Ok(Outcome::Done(version_of(parts)))
    }

    fn draft(&self, parts: &[Bytes]) -> Result<Draft, Failure> {
        if !tree::is_folder(&self.work) {
            return Err(self.gone());
        }
        let name = format!("draft-{:016x}", self.env.entropy.next_u64());
        Draft::write(&self.work.join(name), parts).map_err(failure)
    }

    fn make_folder_of(&self, target: &Path) -> Result<(), Failure> {
        let known = |path: &Path| self.durable().contains(path);
        let mut missing: Vec<&Path> = target.ancestors().skip(1).collect();
        missing.retain(|path| path.starts_with(&self.root) && !known(path));
        for folder in missing.into_iter().rev() {
            self.env.disk.create_folder(folder).map_err(failure)?;
            let parent = folder.parent().unwrap_or(Path::new("/"));
            self.env.disk.sync_folder(parent).map_err(failure)?;
            let mut durable = self.durable();
            if durable.len() >= MAX_DURABLE {
                durable.clear();
            }
            durable.insert(folder.to_owned());
        }
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, prefix: &Key, after: &str) -> Result<Page, Failure> {
        let mut listed = Vec::new();
        let prefix = prefix.as_str();
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        self.collect(&prefix, after, &mut listed).map_err(failure)?;
        if listed.is_empty() && !tree::is_folder(&self.work) {
            return Err(self.gone());
        }
        let more = listed.len() > PAGE_KEYS;
        listed.truncate(PAGE_KEYS);
        Ok(Page { listed, more })
    }

    /// Takes objects below `prefix` that come after `after`, in key order, one more than a page.
    fn collect(&self, prefix: &str, after: &str, listed: &mut Vec<Listed>) -> io::Result<()> {
        let mut keys: Vec<String> = tree::list(&self.root.join(prefix))?
            .into_iter()
            .filter(|entry| !entry.name.starts_with('.'))
            .map(|entry| {
                format!("{prefix}{}{}", entry.name, if entry.is_folder { "/" } else { "" })
            })
            .collect();
        // With its slash a folder sorts where its keys do.
        keys.sort();
        for key in keys {
            if listed.len() > PAGE_KEYS {
                break;
            }
            if key.as_str() <= after && !after.starts_with(&key) {
                continue;
            }
            if key.ends_with('/') {
                self.collect(&key, after, listed)?;
            } else if key.as_str() > after
                && let Some((bytes, modified)) = tree::stat(&self.root.join(&key))?
            {
                listed.push(Listed { key: Key::listed(&key), bytes, modified });
            }
        }
        Ok(())
    }
}

fn version_of(parts: &[Bytes]) -> Version {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    parts.iter().for_each(|part| digest.update(part));
    Version::of_etag(format!("{}-{:016x}", total_bytes(parts), digest.finalize()))
}

#[allow(clippy::needless_pass_by_value)] // as map_err calls it
fn failure(error: io::Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::PermissionDenied => FailureKind::Denied,
        ErrorKind::TimedOut => FailureKind::Timeout,
        _ => FailureKind::Other,
    };
    Failure::new(kind, format!("the bucket folder: {error}"))
}

fn settled(outcome: Result<Result<Outcome<Version>, Failure>, Failure>) -> Outcome<Version> {
    outcome.flatten().unwrap_or_else(Outcome::Unknown)
}

#[async_trait]
impl Bucket for Folder {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        let key = key.clone();
        let read = move |inner: &Inner| -> Result<Bytes, GetError> {
            let found = tree::read(&inner.path(&key)).map_err(failure)?;
            inner.present(found).map(Bytes::from)
        };
        let bytes = self.blocking(read).await??;
        let version = version_of(std::slice::from_ref(&bytes));
        Ok((unless != Some(&version)).then_some(Found { bytes, version }))
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        let key = key.clone();
        let read = move |inner: &Inner| -> Result<Bytes, GetError> {
            let found = tree::read_range(&inner.path(&key), &range).map_err(failure)?;
            inner.present(found).map(Bytes::from)
        };
        self.blocking(read).await?
    }

    async fn get_pieces(
        &self,
        key: &Key,
        start: u64,
        lengths: &[usize],
    ) -> Result<Vec<Bytes>, GetError> {
        let (key, lengths) = (key.clone(), lengths.to_vec());
        let read = move |inner: &Inner| -> Result<Vec<Bytes>, GetError> {
            let found = tree::read_pieces(&inner.path(&key), start, &lengths).map_err(failure)?;
            inner.present(found).map(|pieces| pieces.into_iter().map(Bytes::from).collect())
        };
        self.blocking(read).await?
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        let key = key.clone();
        let stat = move |inner: &Inner| -> Result<Head, GetError> {
            let found = tree::stat(&inner.path(&key)).map_err(failure)?;
            inner.present(found).map(|(bytes, modified)| Head { bytes, modified })
        };
        self.blocking(stat).await?
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        let (key, condition) = (key.clone(), condition.clone());
        let put = move |inner: &Inner| match &condition {
            Condition::Absent => inner.create(&key, &parts),
            Condition::Matches(version) => inner.replace(&key, version, &parts),
        };
        settled(self.blocking(put).await)
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        let key = key.clone();
        let delete = move |inner: &Inner| {
            if !tree::is_folder(&inner.work) {
                return Err(inner.gone());
            }
            let _lock = tree::lock(&inner.work.join("lock")).map_err(failure)?;
            tree::delete(&inner.path(&key)).map_err(failure)
        };
        self.blocking(delete).await?
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        let prefix = prefix.clone();
        let after = after.map(|key| key.as_str().to_owned()).unwrap_or_default();
        self.blocking(move |inner: &Inner| inner.list(&prefix, &after)).await?
    }
}
