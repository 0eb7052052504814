//! Uploads closed WAL segments: entries to objects, objects to the bucket, one record that
//! publishes them, and only then the trim.
//!
//! Owns: the order of that, the spare segments it opens along the way, object ids.
//! Does not own: when a segment closes (`replication`), object bytes, who reads.
//! Invariants: segments are published in order; a segment is trimmed only after the record that
//! publishes it is applied (I19); a bucket that is away delays and never loses; objects being
//! built or put have their memory granted from before their records are read.

mod error;
mod ids;
mod metrics;
mod pack;
mod put;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{self, BoxFuture, FutureExt},
    stream::FuturesOrdered,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::{debug, error};

pub use error::Error;
pub use metrics::Metrics;
pub use pack::TopicConfigs;

pub(in crate::log) use ids::Ids;
#[cfg(test)]
pub(in crate::log) use pack::Folded;
pub(in crate::log) use pack::{Packer, Stretch};
pub(in crate::log) use put::Bucket;

use crate::{
    cluster::{Cluster, Member, NewObject, Record},
    env::{Env, background::Background, bugs::Bug, task::Tasks},
    log::objects::Objects,
    object::{BLOCK_BYTES, Built},
    replication::{ClosedSegment, EntryReader, Replication},
    store::{self, Pace, Store},
    types::{ByteCount, Incarnation, SegmentId},
    wal::{self, OpenSegment},
};

/// Segments under way at a time: one in the bucket's hands while the next is built.
const PARALLEL: usize = 2;
/// More object ids are reserved, in a record that is written anyway, when fewer are left.
const FEW_IDS: u64 = 100;
/// No upload is made slower than this, in bytes a second.
const SLOWEST_UPLOAD: u64 = 8 * 1024 * 1024;

/// Sizes of objects.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// An object is cut at the first entry past this many bytes.
    pub object_bytes: ByteCount,
    /// A block is cut at the first batch past this many bytes.
    pub block_bytes: ByteCount,
    /// Bytes of objects being built and on their way.
    pub memory: ByteCount,
}

/// What an object may be longer than it should: an entry, and what the footer needs.
const OVERSHOOT: ByteCount = ByteCount::mib(4);
/// Shorter objects would be too many.
const LEAST_OBJECT: ByteCount = ByteCount::mib(4);

impl Settings {
    /// For so many bytes of objects being built and put together: two at a time.
    #[must_use]
    pub fn within(memory: ByteCount) -> Self {
        let half = ByteCount((memory.0 / 2).saturating_sub(OVERSHOOT.0));
        let defaults = Self::default();
        Self { object_bytes: half.clamp(LEAST_OBJECT, defaults.object_bytes), memory, ..defaults }
    }

    /// What one object is granted of the memory, in KiB: all of it where that is less.
    fn grant(&self) -> u32 {
        kib(ByteCount((self.object_bytes.0 + OVERSHOOT.0).min(self.memory.0)))
    }
}

fn kib(bytes: ByteCount) -> u32 {
    u32::try_from(bytes.0 / 1024).unwrap_or(u32::MAX)
}

impl Default for Settings {
    fn default() -> Self {
        let memory = ByteCount::mib(2 * (64 + 4));
        Self { object_bytes: ByteCount::mib(64), block_bytes: BLOCK_BYTES, memory }
    }
}

/// What the uploader of one incarnation works with.
#[derive(Clone)]
pub struct Parts {
    /// The metadata.
    pub cluster: Cluster,
    /// The log whose segments it uploads.
    pub replication: Replication,
    /// The bucket.
    pub store: Store,
    /// Published records, for the producer state they end with.
    pub objects: Objects,
    /// Clock and chance.
    pub env: Env,
    /// Whose log it is.
    pub incarnation: Incarnation,
    /// How topics are configured.
    pub configs: TopicConfigs,
    /// Sizes.
    pub settings: Settings,
    /// Metrics.
    pub metrics: Metrics,
}

/// Handle of the upload task.
#[derive(Clone, Debug)]
pub struct Uploader {
    ids: Ids,
    ended: watch::Receiver<Option<Arc<Error>>>,
}

impl Uploader {
    /// Starts uploading, until `tasks` stop.
    #[must_use]
    pub fn start(parts: Parts, tasks: &Tasks) -> Self {
        let (tell, ended) = watch::channel(None);
        let ids = parts.cluster.with(|state| Ids::of(state, parts.incarnation));
        let task = Task::new(parts, ids.clone(), tasks.clone());
        let stopping = tasks.stopping();
        tasks.spawn("upload", async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                why = task.run() => {
                    error!(
                        error = %why,
                        advice = "keep the WAL folder and start on it again",
                        "upload ended, nothing more leaves the write-ahead log"
                    );
                    tell.send_replace(Some(Arc::new(why)));
                }
            }
        });
        Self { ids, ended }
    }

    /// Resolves with the reason when the task gave up: the incarnation has to end.
    pub async fn ended(&self) -> Arc<Error> {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_else(|| Arc::new(Error::Stopped)),
            Err(_) => Arc::new(Error::Stopped),
        }
    }

    /// Ids the sweep must leave alone.
    pub(in crate::log) fn ids(&self) -> Ids {
        self.ids.clone()
    }
}

struct Task {
    cluster: Cluster,
    replication: Replication,
    env: Env,
    incarnation: Incarnation,
    bucket: put::Bucket,
    packer: Packer,
    /// KiB of memory that no object has.
    room: Arc<Semaphore>,
    tasks: Tasks,
    metrics: Metrics,
}

/// A segment whose content is in the bucket.
struct Uploaded {
    segment: ClosedSegment,
    objects: Vec<NewObject>,
}

impl Task {
    fn new(parts: Parts, ids: Ids, tasks: Tasks) -> Self {
        let Parts { cluster, replication, store, objects, env, incarnation, .. } = parts;
        let bucket = put::Bucket { store, env: env.clone(), incarnation };
        let packer = Packer {
            cluster: cluster.clone(),
            objects,
            env: env.clone(),
            ids,
            incarnation,
            configs: parts.configs,
            settings: parts.settings,
            folded: BTreeMap::new(),
        };
        let room = usize::try_from(kib(parts.settings.memory)).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)));
        let metrics = parts.metrics;
        metrics.start();
        Self { cluster, replication, env, incarnation, bucket, packer, room, tasks, metrics }
    }

    /// Uploads until it cannot go on.
    async fn run(mut self) -> Error {
        let mut under_way = FuturesOrdered::new();
        let mut spare = self.replication.wants_spare();
        let replication = self.replication.clone();
        loop {
            let idle = under_way.is_empty();
            let done = tokio::select! {
                biased;
                Some(uploaded) = under_way.next(), if !idle => match uploaded {
                    Ok(uploaded) => self.publish(uploaded).await,
                    Err(stopped) => Err(stopped),
                },
                segment = replication.next_closed(), if under_way.len() < PARALLEL => {
                    let pace = self.pace(&segment, idle);
                    self.upload(segment, pace).await.map(|rest| under_way.push_back(rest))
                }
                wanted = wanted(&mut spare), if idle => match wanted {
                    true => self.open_spare().await,
                    false => return Error::Stopped,
                },
            };
            if let Err(why) = done {
                return why;
            }
        }
    }

    /// How fast a segment goes out: in half the time it took to fill, so that it is gone before the
    /// next one comes. Who is behind does not wait.
    fn pace(&self, segment: &ClosedSegment, idle: bool) -> Option<Pace> {
        let filled_in = self.env.clock.wall().since(segment.first_append_ms?);
        let calm = idle && !self.replication.is_hurried();
        calm.then(|| pace_of(segment.bytes, filled_in))
    }

    /// Packs a segment and puts all but its last objects; the rest is the future.
    async fn upload(
        &mut self,
        segment: ClosedSegment,
        pace: Option<Pace>,
    ) -> Result<BoxFuture<'static, Result<Uploaded, Error>>, Error> {
        self.metrics.begun(segment.bytes);
        let replication = self.replication.clone();
        let mut objects = Vec::new();
        if segment.first_append_ms.is_none() {
            return Ok(future::ready(Ok(Uploaded { segment, objects })).boxed());
        }
        let id = segment.id;
        let background = self.env.background.clone();
        let mut reader = background.blocking(move || replication.read_segment(id)).await??;
        loop {
            let grant = self.packer.settings.grant();
            let room = Arc::clone(&self.room).acquire_many_owned(grant).await;
            let room = room.map_err(|_| Error::Stopped)?;
            let stretch;
            (reader, stretch) =
                next_stretch(&background, reader, self.packer.settings.object_bytes).await?;
            let last = stretch.last;
            let built = self.packer.pack(id.incarnation, stretch).await?;
            let put = self.put(built, pace, room);
            if last {
                let rest = async move {
                    objects.extend(put.await.map_err(|_| Error::Stopped)?);
                    Ok(Uploaded { segment, objects })
                };
                return Ok(rest.boxed());
            }
            objects.extend(put.await.map_err(|_| Error::Stopped)?);
        }
    }

    /// Puts objects beside whatever else goes on.
    /// `room` is the memory the objects have until they are there.
    fn put(
        &self,
        built: Vec<Arc<Built>>,
        pace: Option<Pace>,
        room: OwnedSemaphorePermit,
    ) -> oneshot::Receiver<Vec<NewObject>> {
        let (tell, put) = oneshot::channel();
        let (bucket, stopping) = (self.bucket.clone(), self.tasks.stopping());
        self.tasks.spawn_behind(&self.env.background, "put", async move {
            let put = store::paced(pace, bucket.put_all(built));
            if let Some(objects) = stopping.run_until_cancelled(put).await {
                // Nobody waits any more when the uploader is gone; the sweep finds them.
                drop(tell.send(objects));
            }
            drop(room);
        });
        put
    }

    /// Makes the segment's objects readable and lets go of its WAL files.
    async fn publish(&mut self, uploaded: Uploaded) -> Result<(), Error> {
        let Uploaded { segment, objects } = uploaded;
        let bytes: u64 = objects.iter().map(|object| object.bytes).sum();
        let ids: Vec<_> = objects.iter().map(|object| object.object).collect();
        let mut proposal = vec![Record::SegmentUploaded {
            segment: segment.id,
            entries: segment.entries,
            objects,
        }];
        let spare =
            if *self.replication.wants_spare().borrow() { self.next_segment() } else { None };
        proposal.extend(spare.as_ref().map(opening));
        if self.packer.ids.left() < FEW_IDS {
            proposal.push(self.packer.more_ids());
        }
        if self.env.bugs.has(Bug::TrimBeforePublish) {
            self.replication.trim(segment.id);
        }
        let committed = self.cluster.commit(proposal).await?;
        self.packer.add_ids(&committed.applied);
        if let Some(spare) = spare {
            self.replication.add_spare(spare);
        }
        self.replication.trim(segment.id);
        for id in &ids {
            self.packer.ids.published(*id);
        }
        let lag = segment.first_append_ms.map(|first| {
            let lag = self.env.clock.wall().since(first);
            Duration::from_millis(u64::try_from(lag).unwrap_or(0))
        });
        self.metrics.uploaded(ids.len(), bytes, lag);
        self.metrics.ended(segment.bytes);
        debug!(segment = %segment.id, objects = ids.len(), bytes, "segment published");
        Ok(())
    }

    async fn open_spare(&mut self) -> Result<(), Error> {
        let Some(spare) = self.next_segment() else { return Err(Error::Fenced(self.incarnation)) };
        self.cluster.commit(vec![opening(&spare)]).await?;
        self.replication.add_spare(spare);
        Ok(())
    }

    /// The incarnation's next segment, held by itself alone; `None` once it is fenced.
    fn next_segment(&self) -> Option<OpenSegment> {
        let incarnation = self.incarnation;
        self.cluster.with(|state| {
            let own = state.living(incarnation)?;
            let (broker, storage) = (own.broker, own.storage);
            let id = SegmentId { incarnation, sequence: own.next_segment };
            let ensemble = vec![wal::Member { broker, storage, incarnation }];
            Some(OpenSegment::new(id, ensemble, &self.env))
        })
    }
}

/// The record that opens `segment`.
fn opening(segment: &OpenSegment) -> Record {
    let member = |member: &wal::Member| Member {
        broker: member.broker,
        storage: member.storage,
        incarnation: member.incarnation,
    };
    Record::SegmentOpen {
        segment: segment.id,
        nonce: segment.nonce,
        ensemble: segment.ensemble.iter().map(member).collect(),
    }
}

fn pace_of(bytes: u64, filled_in_ms: i64) -> Pace {
    let filled_in_ms = u64::try_from(filled_in_ms).unwrap_or(0).max(1);
    Pace::per_second((bytes.saturating_mul(2_000) / filled_in_ms).max(SLOWEST_UPLOAD))
}

/// Reads on, off the runtime.
pub(in crate::log) async fn next_stretch(
    background: &Background,
    mut reader: EntryReader,
    bytes: ByteCount,
) -> Result<(EntryReader, Stretch), Error> {
    let read = move || Stretch::read(&mut reader, bytes.0).map(|stretch| (reader, stretch));
    background.blocking(read).await?
}

/// Waits until a spare segment is wanted; false when nobody can want one any more.
async fn wanted(spare: &mut watch::Receiver<bool>) -> bool {
    spare.wait_for(|wanted| *wanted).await.is_ok()
}

impl put::Bucket {
    pub(in crate::log) async fn put_all(&self, built: Vec<Arc<Built>>) -> Vec<NewObject> {
        future::join_all(built.into_iter().map(|object| self.put(object))).await
    }
}

#[cfg(test)]
mod tests;
