//! Reads published records: footers and blocks of objects, manifests, each through its cache.
//!
//! Owns: which bytes of which object to ask for. Does not own: which object (the metadata and
//! manifests tell), the tail, how far to read ahead. Invariants: every block's CRC is checked when it enters
//! the cache; an object that is gone is `Gone`, never an end of the log (H44).

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::future;

use crate::{
    cache::{self, Ask, Blocks, Cache, Coming, DiskTier, Fetch, ReaderId, Wanted, Weigh},
    cluster::State,
    env::{
        background::Background,
        bugs::{Bug, Bugs},
    },
    manifest::{self, Manifest, Manifests},
    object::{self, Block, Footer, ProducerSnapshot},
    record::BatchView,
    store::{Failure, FailureKind, GetError, Key, Store, path},
    types::{ByteCount, Incarnation, Millis, ObjectId, Offset, PartitionId},
};

/// The first read of an object's end: most footers fit, so one request gets them whole.
const TAIL_BYTES: u64 = 64 * 1024;
/// Blocks of one read asked for at a time, in bytes.
const AT_A_TIME: u64 = 16 * 1024 * 1024;
/// Whose share reads take that nobody goes on from: look-ups by time.
const NOBODY: ReaderId = ReaderId(0);

/// Published records; clones share the caches.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Store,
    blocks: Blocks<ReadError>,
    footers: Cache<ObjectId, Arc<Footer>>,
    manifests: Manifests,
    most_ahead: u64,
    background: Background,
    bugs: Bugs,
    metrics: cache::Metrics,
}

/// What a reader of published records is built of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The bucket, through the client for large reads.
    pub store: Store,
    /// Memory for all that is cached.
    pub memory: ByteCount,
    /// Bytes on their way from disk or bucket.
    pub in_flight: ByteCount,
    /// The disk tier, if any.
    pub disk: Option<DiskTier>,
    /// Where the work of reading is done.
    pub background: Background,
    /// Mistakes.
    pub bugs: Bugs,
    /// Metrics of the tiers.
    pub metrics: cache::Metrics,
}

/// What a read gives.
#[derive(Debug)]
pub struct Read {
    /// Whole batches, in order.
    pub batches: Vec<Bytes>,
    /// Whether some of it was not in memory.
    pub waited: bool,
}

/// Blocks on their way ahead of a reader.
#[derive(Debug)]
pub struct Ahead {
    /// The blocks; dropped, they are not waited for.
    pub coming: Vec<Coming<ReadError>>,
    /// Where each ends, and its bytes.
    pub blocks: Vec<(Offset, u64)>,
    /// Where the last one ends.
    pub end: Offset,
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
    /// A reader of published records.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, memory, in_flight, disk, background, bugs, metrics } = parts;
        let eighth = ByteCount(memory.0 / 8);
        let blocks = ByteCount(memory.0 - 2 * eighth.0);
        Self {
            manifests: Manifests::new(store.clone(), eighth),
            store,
            // Half of what is in memory may be there ahead of its reader, and no more than may be
            // in flight.
            most_ahead: (blocks.0 / 2).min(in_flight.0),
            blocks: Blocks::new(cache::Parts {
                memory: blocks,
                in_flight,
                disk,
                background: background.clone(),
                bugs,
                metrics: metrics.clone(),
            }),
            footers: Cache::new(eighth),
            background,
            bugs,
            metrics,
        }
    }

    /// Bytes that may be read ahead of all readers together.
    #[must_use]
    pub fn most_ahead(&self) -> u64 {
        self.most_ahead
    }

    /// Where reads are counted.
    #[must_use]
    pub fn metrics(&self) -> &cache::Metrics {
        &self.metrics
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
        let fill = async {
            let (this, at) = (self.clone(), *at);
            let fill = Box::pin(async move { this.fill_footer(&at).await });
            let filled = self.background.run(fill).await;
            filled.unwrap_or_else(|interrupted| {
                let failure = Failure::new(FailureKind::Other, interrupted.to_string());
                Err(ReadError::Away(failure))
            })
        };
        let footer = self.footers.get(at.object, fill).await;
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
        reader: ReaderId,
        at: &ObjectRef,
        partition: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Read, ReadError> {
        let footer = self.footer(at).await?;
        let run = footer.find(partition, from).ok_or(ReadError::Gone)?;
        let first = run.block_of(from).ok_or(ReadError::Gone)?;
        let mut blocks = run.blocks.get(first..).unwrap_or_default();
        let mut waited = false;
        let mut found = Found { from, max_bytes, bytes: 0, batches: Vec::new() };
        while !blocks.is_empty() {
            let wanted = found.blocks_wanted(blocks);
            let (now, later) = blocks.split_at(wanted.min(blocks.len()));
            let (got, had_to_wait) = self.get(reader, at, now).await?;
            waited |= had_to_wait;
            for block in got {
                if !found.take(block)? {
                    return Ok(Read { batches: found.batches, waited });
                }
            }
            blocks = later;
        }
        Ok(Read { batches: found.batches, waited })
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
        let (blocks, _) = self.get(NOBODY, at, std::slice::from_ref(block)).await?;
        let batches: Result<Vec<_>, _> = blocks.into_iter().map(split).collect();
        Ok(batches?.concat())
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

    /// Begins to read blocks of `partition` from the one that covers `from` on: at least one,
    /// further ones until they have `bytes`, to the end of the run at most.
    ///
    /// # Errors
    /// As `read`.
    pub async fn ahead(
        &self,
        reader: ReaderId,
        at: &ObjectRef,
        partition: PartitionId,
        from: Offset,
        bytes: u64,
    ) -> Result<Ahead, ReadError> {
        let footer = self.footer(at).await?;
        let run = footer.find(partition, from).ok_or(ReadError::Gone)?;
        let first = run.block_of(from).ok_or(ReadError::Gone)?;
        let blocks = run.blocks.get(first..).unwrap_or_default();
        let ends = blocks.iter().skip(1).map(|block| block.base).chain([run.end]);
        let mut left = bytes.max(1);
        let mut end = from;
        let mut wanted = Vec::new();
        for (block, block_end) in blocks.iter().zip(ends) {
            if left == 0 {
                break;
            }
            let bytes = block.range.end - block.range.start;
            left = left.saturating_sub(bytes);
            wanted.push((block_end, bytes));
            end = block_end;
        }
        let now = blocks.get(..wanted.len()).unwrap_or_default();
        let coming = self.ask(reader, at, now).await;
        Ok(Ahead { coming, blocks: wanted, end })
    }

    /// Blocks of one run, in order, and whether some were not in memory.
    async fn get(
        &self,
        reader: ReaderId,
        at: &ObjectRef,
        blocks: &[Block],
    ) -> Result<(Vec<Bytes>, bool), ReadError> {
        let coming = self.ask(reader, at, blocks).await;
        let waits = coming.iter().any(|coming| matches!(coming, Coming::Filling(..)));
        // All at once: one that nobody polls does not come.
        let got = future::try_join_all(coming.into_iter().map(Coming::bytes)).await?;
        Ok((got, waits))
    }

    async fn ask(
        &self,
        reader: ReaderId,
        at: &ObjectRef,
        blocks: &[Block],
    ) -> Vec<Coming<ReadError>> {
        let wanted = |block: &Block| Wanted { range: block.range.clone(), crc: block.crc() };
        let blocks = blocks.iter().map(wanted).collect();
        self.blocks.ask(Ask { reader, object: at.object, blocks }, &self.fetch(at)).await
    }

    /// How blocks of an object are got out of the bucket.
    fn fetch(&self, at: &ObjectRef) -> Fetch<ReadError> {
        let (store, key) = (self.store.clone(), at.key());
        let unchecked = self.bugs.has(Bug::FillCrcUnchecked);
        Arc::new(move |blocks| {
            let (store, key) = (store.clone(), key.clone());
            Box::pin(async move {
                let start = blocks.first().map_or(0, |block| block.range.start);
                let length = |block: &Wanted| {
                    usize::try_from(block.range.end - block.range.start).unwrap_or(usize::MAX)
                };
                let lengths: Vec<_> = blocks.iter().map(length).collect();
                let pieces = store.get_pieces(&key, start, &lengths).await?;
                for (block, bytes) in blocks.iter().zip(&pieces).filter(|_| !unchecked) {
                    object::check_block(bytes, block.crc)?;
                }
                Ok(pieces)
            })
        })
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
        let room = u64::try_from(self.max_bytes - self.bytes).unwrap_or(u64::MAX);
        let mut room = room.min(AT_A_TIME);
        let fits = |block: &&Block| {
            let more = room > 0;
            room = room.saturating_sub(block.range.end - block.range.start);
            more
        };
        blocks.iter().take_while(fits).count().max(1)
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
