//! A batch's way into the log: check, compare with producer state, give offsets, stamp, append.
//!
//! Owns: that order, and what a client learns of it. Does not own: the rules of a batch
//! (`record`), of sequences (`producer`), durability (`replication`).
//! Invariants: everything slow (CRC, decompression, loading producer state) is before the lock; a
//! refused batch leaves no trace; a duplicate is answered no sooner than its original (I11).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{
    AppendError, Partition,
    history::HistoryError,
    partition::Ledger,
    producer::{self, Claim, Producers, Verdict},
};
use crate::{
    cluster::configs::{self, TopicConfig},
    env::{bugs::Bug, clock},
    record::{
        self, BatchView, Check, Checked, Compression, HEADER_BYTES, Limits, Progress, Reject,
        Rules, Stamp, TimestampType, Timestamps, stamped_header,
    },
    replication::{self, Append, Commit, Room, Sink},
    types::{Millis, Offset},
};

/// How much of a batch is read on the thread its connection shares with others: a third of a
/// millisecond of the slowest codec (ADR 0008).
const UNPACKED_INLINE_BYTES: usize = 128 << 10;
/// The same of one that is not packed.
const READ_INLINE_BYTES: usize = 2 << 20;

/// How long a batch waits for a disk that does not keep up before its producer is told to try again.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// Who brings a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client: everything is checked.
    Client,
    /// The broker itself, to an internal topic.
    Internal,
}

/// An appended batch that is not committed yet.
#[derive(Debug)]
pub struct Pending {
    partition: Arc<Partition>,
    base_offset: Offset,
    log_append_time: Option<Millis>,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    Appended(Commit),
    /// Its original ends here.
    Duplicate(Offset),
}

/// A committed batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; of the original, when it was a duplicate.
    pub base_offset: Offset,
    /// The time the log gave it, under LogAppendTime; of a duplicate, always its time.
    pub log_append_time: Option<Millis>,
    /// First offset of the partition.
    pub log_start: Offset,
}

/// A checked batch with all of its header but offset and epoch.
struct Prepared {
    batch: BatchView,
    header: [u8; HEADER_BYTES],
    max_timestamp: Millis,
    log_append_time: Option<Millis>,
    at: producer::Moment,
    room: Option<Room>,
}

impl Pending {
    /// The offset given to the first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// What it will be once it is committed, if it is.
    #[must_use]
    pub fn appended(&self) -> Appended {
        Appended {
            base_offset: self.base_offset,
            log_append_time: self.log_append_time,
            log_start: self.partition.log_start(),
        }
    }

    /// Waits until every member has it.
    ///
    /// # Errors
    /// `Unknown`: it may be committed all the same.
    pub async fn committed(self) -> Result<Appended, AppendError> {
        let mut appended = self.appended();
        match self.fate {
            Fate::Appended(commit) => {
                let at = commit.await.map_err(|_| AppendError::Unknown)?;
                let around = &self.partition.around;
                around.metrics.wake_seconds.observe(around.clock.boot().saturating_sub(at));
            }
            Fate::Duplicate(end) => self.partition.until_committed(end).await?,
        }
        appended.log_start = self.partition.log_start();
        Ok(appended)
    }
}

impl Partition {
    /// Checks a batch, gives it offsets and appends it; its effects are in the order of the calls.
    /// Does not wait for the commit.
    ///
    /// # Errors
    /// Nothing was appended then.
    pub async fn append(
        self: &Arc<Self>,
        batch: Bytes,
        origin: Origin,
    ) -> Result<Pending, AppendError> {
        let appended = self.check_and_place(batch, origin).await;
        if appended.is_err() {
            self.around.metrics.refused_batches.inc();
        }
        appended
    }

    async fn check_and_place(
        self: &Arc<Self>,
        batch: Bytes,
        origin: Origin,
    ) -> Result<Pending, AppendError> {
        let mut prepared = self.prepare(batch, origin).await?;
        let claim = Claim::of(&prepared.batch);
        if claim.is_some() {
            self.load_producers().await?;
        }
        if origin == Origin::Client {
            // Who waits here is not read from: that is what holds producers back.
            let room = self.around.replication.room(prepared.batch.bytes().len());
            let room = clock::timeout(ROOM_WAIT, room).await;
            prepared.room = room.map_err(|_| AppendError::Full)?;
        }
        self.place(prepared, claim)
    }

    async fn prepare(&self, batch: Bytes, origin: Origin) -> Result<Prepared, AppendError> {
        let config = self.config();
        let now = self.around.clock.wall();
        let (batch, corrected) = match origin {
            Origin::Internal => (BatchView::parse(batch).map_err(Reject::from_parse)?, None),
            Origin::Client => {
                let checked = self.checked(batch, rules(&config, now)).await?;
                if checked.batch.is_transactional() {
                    return Err(AppendError::NoTransaction);
                }
                let batch = self.recompressed(checked.batch, &config).await?;
                check_segment(&batch, &config)?;
                (batch, checked.corrected_max_timestamp)
            }
        };
        let log_append_time = match config.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(now),
        };
        let timestamps = match (log_append_time, corrected) {
            (Some(now), _) => Timestamps::LogAppend(now),
            (None, Some(max)) => Timestamps::Max(max),
            (None, None) => Timestamps::Keep,
        };
        let stamp =
            Stamp { base_offset: Offset::ZERO, leader_epoch: self.leader_epoch, timestamps };
        Ok(Prepared {
            header: stamped_header(&batch, &stamp),
            max_timestamp: log_append_time.or(corrected).unwrap_or(batch.max_timestamp()),
            batch,
            log_append_time,
            room: None,
            at: producer::Moment { time: now, expiration_ms: config.producer_expiration_ms },
        })
    }

    fn place(
        self: &Arc<Self>,
        mut prepared: Prepared,
        claim: Option<Claim>,
    ) -> Result<Pending, AppendError> {
        let metrics = &self.around.metrics;
        let mut state = self.state();
        if state.closed {
            return Err(AppendError::NotLeader);
        }
        if let (Some(claim), Some(producers)) = (&claim, &state.producers)
            && let Verdict::Duplicate(original) = producers.check(claim)?
        {
            metrics.duplicate_batches.inc();
            return Ok(Pending {
                partition: Arc::clone(self),
                base_offset: original.base_offset,
                // As Kafka does, who tells the batch's time as well where the producer gave it.
                log_append_time: Some(match prepared.log_append_time {
                    Some(_) => original.append_ms,
                    None => prepared.max_timestamp,
                }),
                fate: Fate::Duplicate(match self.around.bugs.has(Bug::DuplicateEarly) {
                    true => original.base_offset,
                    false => original.end_offset,
                }),
            });
        }
        let sink: Arc<dyn Sink> = Arc::<Ledger>::clone(&self.ledger);
        let base_offset = state.log_end;
        let end_offset = base_offset.advance(prepared.batch.offset_count());
        record::place(&mut prepared.header, base_offset, self.leader_epoch);
        let commit = self.around.replication.append(Append {
            partition: self.id,
            leader_epoch: self.leader_epoch,
            header: prepared.header,
            batch: prepared.batch.bytes(),
            base_offset,
            end_offset,
            max_timestamp: prepared.max_timestamp,
            internal: self.is_internal(),
            sink,
            room: prepared.room,
        });
        let commit = commit.map_err(|error| refused(error, prepared.batch.bytes().len()))?;
        state.log_end = end_offset;
        if let (Some(claim), Some(producers)) = (&claim, &mut state.producers) {
            producers.record(claim, base_offset..end_offset, prepared.at);
        }
        drop(state);
        metrics.appended_batches.inc();
        metrics.appended_bytes.inc_by(u64::try_from(prepared.batch.bytes().len()).unwrap_or(0));
        Ok(Pending {
            partition: Arc::clone(self),
            base_offset,
            log_append_time: prepared.log_append_time,
            fate: Fate::Appended(commit),
        })
    }

    /// Checks a client's batch; one that takes long to read is read where nobody else waits.
    async fn checked(&self, batch: Bytes, rules: Rules) -> Result<Checked, AppendError> {
        let check = Check::begin(batch, rules)?;
        let inline_bytes =
            if check.is_packed() { UNPACKED_INLINE_BYTES } else { READ_INLINE_BYTES };
        match check.run(inline_bytes)? {
            Progress::Done(checked) => Ok(checked),
            Progress::More(check) => {
                let finished = self.around.cores.blocking(|| check.finish()).await;
                Ok(finished.map_err(|error| AppendError::Unavailable(error.to_string()))??)
            }
        }
    }

    /// The batch in the topic's own codec, if it has one and the producer chose another.
    async fn recompressed(
        &self,
        batch: BatchView,
        config: &TopicConfig,
    ) -> Result<BatchView, AppendError> {
        let (codec, level) = match config.compression {
            configs::Compression::Producer => return Ok(batch),
            configs::Compression::Uncompressed => (Compression::None, None),
            configs::Compression::Gzip(level) => (Compression::Gzip, Some(level)),
            configs::Compression::Snappy => (Compression::Snappy, None),
            configs::Compression::Lz4(level) => (Compression::Lz4, Some(level)),
            configs::Compression::Zstd(level) => (Compression::Zstd, Some(level)),
        };
        if batch.compression() == Ok(codec) {
            return Ok(batch);
        }
        let max_bytes = usize::try_from(config.max_message_bytes.0).unwrap_or(usize::MAX);
        let work = move || record::recompress(&batch, codec, level, max_bytes);
        let done = self.around.cores.blocking(work).await;
        let done = done.map_err(|error| AppendError::Unavailable(error.to_string()))?;
        Ok(done.map_err(|error| match error {
            // It grew beyond the limit: how far is not known.
            record::Error::TooLarge { .. } => {
                Reject::TooLarge { bytes: max_bytes.saturating_add(1), max_bytes }
            }
            other => Reject::from_compressed(other),
        })?)
    }

    /// Waits until the high watermark is at least `end`, which something appended before reaches.
    async fn until_committed(&self, end: Offset) -> Result<(), AppendError> {
        let waiter = Arc::new(Notify::new());
        loop {
            self.wake_on_append(&waiter);
            let (high_watermark, closed) = {
                let state = self.state();
                (state.tail.end(), state.closed)
            };
            if high_watermark >= end {
                return Ok(());
            }
            if closed {
                return Err(AppendError::Unknown);
            }
            tokio::select! {
                biased;
                () = waiter.notified() => {}
                _ = self.around.replication.ended() => {
                    let committed = self.high_watermark() >= end;
                    return if committed { Ok(()) } else { Err(AppendError::Unknown) };
                }
            }
        }
    }

    /// Loads producer state as of the newest published run. No idempotent batch was appended here
    /// before, and others do not change it.
    async fn load_producers(&self) -> Result<(), AppendError> {
        let load = || async {
            let mut tries = 0;
            let snapshots = loop {
                tries += 1;
                match self.around.history.producers(self.id).await {
                    // What it named is gone: newer metadata names another run.
                    Err(HistoryError::Gone) if tries < 3 => {}
                    other => break other,
                }
            };
            let snapshots =
                snapshots.map_err(|error| AppendError::Unavailable(error.to_string()))?;
            self.state().producers = Some(Box::new(Producers::from_snapshots(snapshots)));
            Ok(())
        };
        self.producers_loaded.get_or_try_init(load).await.map(|_| ())
    }
}

fn rules(config: &TopicConfig, now: Millis) -> Rules {
    let max_bytes = usize::try_from(config.max_message_bytes.0).unwrap_or(usize::MAX);
    Rules {
        max_bytes,
        compacted: config.cleanup.compact,
        log_append_time: config.timestamp_type == TimestampType::LogAppendTime,
        now,
        before_max_ms: config.timestamp_before_max_ms,
        after_max_ms: config.timestamp_after_max_ms,
        limits: Limits::for_batches_of(max_bytes),
    }
}

/// What one request brings must fit a segment, as it is stored.
fn check_segment(batch: &BatchView, config: &TopicConfig) -> Result<(), Reject> {
    let bytes = batch.bytes().len();
    let segment_bytes = usize::try_from(config.segment_bytes.0).unwrap_or(usize::MAX);
    if bytes > segment_bytes {
        return Err(Reject::LargerThanSegment { bytes, segment_bytes });
    }
    Ok(())
}

/// Nothing entered the WAL: the client may be told so (H18).
fn refused(error: replication::AppendError, bytes: usize) -> AppendError {
    match error {
        replication::AppendError::Full | replication::AppendError::DiskFull => AppendError::Full,
        replication::AppendError::TooLarge => {
            Reject::LargerThanSegment { bytes, segment_bytes: bytes.saturating_sub(1) }.into()
        }
        replication::AppendError::NoSegment | replication::AppendError::Failed => {
            AppendError::NotLeader
        }
    }
}
