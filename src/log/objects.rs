//! Reads published records: footers and blocks of objects, manifests, each through its cache.
//!
//! Owns: which bytes of which object to ask for. Does not own: which object (the metadata and
//! manifests tell), the tail, read-ahead. Invariants: every block's CRC is checked when it enters
//! the cache; an object that is gone is `Gone`, never an end of the log (H44).

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::future;

use crate::{
    cache::{BlockCache, BlockKey, Cache, Weigh},
    cluster::State,
    manifest::{self, Manifest, Manifests},
    object::{self, Block, Footer, ProducerSnapshot},
    record::BatchView,
    store::{Failure, GetError, Key, Store, path},
    types::{ByteCount, Incarnation, Millis, ObjectId, Offset, PartitionId},
};

/// The first read of an object's end: most footers fit, so one request gets them whole.
const TAIL_BYTES: u64 = 64 * 1024;
/// Blocks of one read asked for at a time.
const PARALLEL: usize = 8;

/// Published records; clones share the caches.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Store,
    blocks: BlockCache,
    footers: Cache<ObjectId, Arc<Footer>>,
    manifests: Manifests,
}

/// All it takes to read an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its id.
    pub object: ObjectId,
    /// Who made it.
    pub incarnation: Incarnation,
    /// The attempt that was published.
    pub nonce: u64,
    /// Its length.
    pub bytes: u64,
}

/// Where a partition's published offset is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a fresh run of this object.
    Object(ObjectRef),
    /// In a run that this manifest version names.
    Manifest(u64),
    /// Below the log start, or not published yet.
    Nowhere,
}

/// The newest published of a partition, which producer state is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// A fresh run that ends there.
    Run(ObjectRef, Offset),
    /// The last run of this manifest version, or what it keeps in its stead.
    Manifest(u64),
    /// Nothing is published, or was.
    Nothing,
}

/// Why published records cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Deleted since: look again in the newest metadata.
    #[error("the object is gone")]
    Gone,
    /// The bucket did not answer: try again later.
    #[error(transparent)]
    Away(Failure),
    /// The bucket's bytes are not what was written.
    #[error(transparent)]
    Object(#[from] object::Error),
    /// As above, of a manifest.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
}

impl Objects {
    /// A reader of `store` whose caches take at most `budget` together.
    #[must_use]
    pub fn new(store: Store, budget: ByteCount) -> Self {
        let eighth = ByteCount(budget.0 / 8);
        Self {
            manifests: Manifests::new(store.clone(), eighth),
            store,
            blocks: BlockCache::new(ByteCount(budget.0 - 2 * eighth.0)),
            footers: Cache::new(eighth),
        }
    }

    /// A manifest version that the metadata names.
    ///
    /// # Errors
    /// As `ReadError` says.
    pub async fn manifest(
        &self,
        partition: PartitionId,
        version: u64,
    ) -> Result<Arc<Manifest>, ReadError> {
        Ok(self.manifests.get(partition, version).await?)
    }

    /// An object's footer.
    ///
    /// # Errors
    /// As `ReadError` says.
    pub async fn footer(&self, at: &ObjectRef) -> Result<Arc<Footer>, ReadError> {
        let footer = self.footers.get(at.object, self.fill_footer(at)).await;
        footer.map_err(|error| ReadError::clone(&error))
    }

    /// Whole batches of `partition` from the one that covers `from` on: at least one, further ones
    /// while they fit in `max_bytes`, to the end of the run at most.
    ///
    /// # Errors
    /// As `ReadError` says; `Gone` also when the object has no such run, which a newer metadata
    /// explains.
    pub async fn read(
        &self,
        at: &ObjectRef,
        partition: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, ReadError> {
        let footer = self.footer(at).await?;
        let run = footer.find(partition, from).ok_or(ReadError::Gone)?;
        let first = run.block_of(from).ok_or(ReadError::Gone)?;
        let mut blocks = run.blocks.get(first..).unwrap_or_default();
        let mut found = Found { from, max_bytes, bytes: 0, batches: Vec::new() };
        while !blocks.is_empty() {
            let wanted = found.blocks_wanted(blocks);
            let (now, later) = blocks.split_at(wanted.min(blocks.len()));
            for block in future::join_all(now.iter().map(|block| self.block(at, block))).await {
                if !found.take(block?)? {
                    return Ok(found.batches);
                }
            }
            blocks = later;
        }
        Ok(found.batches)
    }

    /// Batches of `partition` in the first block with a record at or after `time`.
    ///
    /// # Errors
    /// As `ReadError` says.
    pub async fn batches_at_time(
        &self,
        at: &ObjectRef,
        partition: PartitionId,
        base: Offset,
        time: Millis,
    ) -> Result<Vec<BatchView>, ReadError> {
        let footer = self.footer(at).await?;
        let run = footer.find(partition, base).ok_or(ReadError::Gone)?;
        let block = run.block_of_time(time).and_then(|index| run.blocks.get(index));
        let Some(block) = block else { return Ok(Vec::new()) };
        split(self.block(at, block).await?)
    }

    /// Producer state of `partition` where `newest` ends.
    ///
    /// # Errors
    /// As `ReadError` says; `Gone` when the metadata that `newest` comes from is old.
    pub async fn producers_of(
        &self,
        partition: PartitionId,
        newest: Newest,
    ) -> Result<Vec<ProducerSnapshot>, ReadError> {
        let (at, end) = match newest {
            Newest::Nothing => return Ok(Vec::new()),
            Newest::Run(at, end) => (at, end),
            Newest::Manifest(version) => {
                let manifest = self.manifest(partition, version).await?;
                match manifest.runs().last() {
                    Some(run) => (ObjectRef::of_run(run), run.end),
                    None => return Ok(object::decode_producers(manifest.producers().clone())?),
                }
            }
        };
        let footer = self.footer(&at).await?;
        let run = footer.find(partition, end.advance(-1)).ok_or(ReadError::Gone)?;
        Ok(run.producers()?)
    }

    async fn block(&self, at: &ObjectRef, block: &Block) -> Result<Bytes, ReadError> {
        let key = BlockKey { object: at.object, range: block.range.clone() };
        let filled = self.blocks.get(key, async {
            let bytes = self.range(&at.key(), block.range.clone()).await?;
            block.check(&bytes)?;
            Ok::<_, ReadError>(bytes)
        });
        filled.await.map_err(|error| ReadError::clone(&error))
    }

    async fn fill_footer(&self, at: &ObjectRef) -> Result<Arc<Footer>, ReadError> {
        let key = at.key();
        let mut start = at.bytes.saturating_sub(TAIL_BYTES);
        let mut tail = self.range(&key, start..at.bytes).await?;
        let wanted = Footer::locate(at.bytes, &tail)?;
        if wanted.start < start {
            start = wanted.start;
            tail = self.range(&key, start..at.bytes).await?;
        }
        let footer = Footer::decode(at.bytes, &tail)?;
        if footer.object != at.object {
            return Err(object::Error::Damaged("names another object").into());
        }
        Ok(Arc::new(footer))
    }

    async fn range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, ReadError> {
        Ok(self.store.get_range(key, range).await?)
    }
}

impl ObjectRef {
    /// Its key.
    #[must_use]
    pub fn key(&self) -> Key {
        path::data(self.object, self.incarnation, self.nonce)
    }

    /// An object that some run in `state` names.
    #[must_use]
    pub fn of(state: &State, object: ObjectId) -> Option<Self> {
        let found = state.objects.get(&object)?;
        let (incarnation, nonce, bytes) = (found.incarnation, found.nonce, found.bytes);
        Some(Self { object, incarnation, nonce, bytes })
    }

    /// The object of a manifest's run.
    #[must_use]
    pub fn of_run(run: &manifest::Run) -> Self {
        Self {
            object: run.object,
            incarnation: run.incarnation,
            nonce: run.nonce,
            bytes: run.object_bytes,
        }
    }
}

/// Where `state` says that `offset` of a partition is to be read.
#[must_use]
pub fn locate(state: &State, partition: PartitionId, offset: Offset) -> Place {
    let Some(found) = state.partition(partition) else { return Place::Nowhere };
    if offset < found.log_start {
        return Place::Nowhere;
    }
    let after = found.runs.partition_point(|run| run.base <= offset);
    let run = after.checked_sub(1).and_then(|index| found.runs.get(index));
    if let Some(run) = run.filter(|run| offset < run.end) {
        return ObjectRef::of(state, run.object).map_or(Place::Nowhere, Place::Object);
    }
    match found.manifest {
        Some(manifest) if offset < manifest.end => Place::Manifest(manifest.version),
        _ => Place::Nowhere,
    }
}

/// What `state` says is the newest published of a partition.
#[must_use]
pub fn newest(state: &State, partition: PartitionId) -> Newest {
    let Some(found) = state.partition(partition) else { return Newest::Nothing };
    let fresh =
        found.runs.last().and_then(|run| Some((ObjectRef::of(state, run.object)?, run.end)));
    match (fresh, found.manifest) {
        (Some((at, end)), _) => Newest::Run(at, end),
        (None, Some(manifest)) => Newest::Manifest(manifest.version),
        (None, None) => Newest::Nothing,
    }
}

/// Batches gathered for one read.
struct Found {
    from: Offset,
    max_bytes: usize,
    bytes: usize,
    batches: Vec<Bytes>,
}

impl Found {
    /// How many of `blocks` to ask for at once.
    fn blocks_wanted(&self, blocks: &[Block]) -> usize {
        let mut room = u64::try_from(self.max_bytes - self.bytes).unwrap_or(u64::MAX);
        let fits = |block: &&Block| {
            let more = room > 0;
            room = room.saturating_sub(block.range.end - block.range.start);
            more
        };
        blocks.iter().take_while(fits).count().clamp(1, PARALLEL)
    }

    /// Takes a block's batches as far as they are wanted; whether more may be.
    fn take(&mut self, block: Bytes) -> Result<bool, ReadError> {
        for batch in split(block)? {
            if batch.end_offset() <= self.from {
                continue;
            }
            let bytes = self.bytes.saturating_add(batch.bytes().len());
            if bytes > self.max_bytes && !self.batches.is_empty() {
                return Ok(false);
            }
            self.bytes = bytes.min(self.max_bytes);
            self.batches.push(batch.bytes().clone());
        }
        Ok(self.bytes < self.max_bytes)
    }
}

fn split(block: Bytes) -> Result<Vec<BatchView>, ReadError> {
    let views = BatchView::split(block);
    views.map_err(|_| object::Error::Damaged("a block is not whole batches").into())
}

impl Weigh for Arc<Footer> {
    fn weight(&self) -> usize {
        Footer::weight(self)
    }
}

impl From<GetError> for ReadError {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Absent => Self::Gone,
            GetError::Failed(failure) => Self::Away(failure),
        }
    }
}

impl From<manifest::LoadError> for ReadError {
    fn from(error: manifest::LoadError) -> Self {
        match error {
            manifest::LoadError::Gone => Self::Gone,
            manifest::LoadError::Away(failure) => Self::Away(failure),
            manifest::LoadError::Bad(error) => Self::Manifest(error),
        }
    }
}
