//! Builds an object out of runs of batches.
//!
//! Owns: cutting into blocks, CRCs, the footer. Does not own: which batches go where, the PUT.
//! Invariant: the payload's record bytes are the caller's buffers, never copies.

use bytes::Bytes;

use super::{
    Error,
    footer::AbortedTransaction,
    format,
    producer::{ProducerSnapshot, encode_producers},
};
use crate::types::{ByteCount, Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId};
use crate::{crc::Crc32c, record::update_crc};

/// An object under construction.
#[derive(Debug)]
pub struct Builder {
    object: ObjectId,
    incarnation: Incarnation,
    block_bytes: u64,
    payload: Vec<Bytes>,
    position: u64,
    wire: Vec<format::Run>,
    built: Vec<BuiltRun>,
}

/// One partition's batches, in offset order.
#[derive(Clone, Debug)]
pub struct RunInput {
    /// Whose.
    pub partition: PartitionId,
    /// At least one, each beginning at or after the end of the one before.
    pub batches: Vec<BatchInput>,
    /// Producer state after the last batch.
    pub producers: Vec<ProducerSnapshot>,
    /// Transactions aborted by a marker among the batches.
    pub aborted: Vec<AbortedTransaction>,
}

/// One record batch.
#[derive(Clone, Debug)]
pub struct BatchInput {
    /// The whole batch as stamped, its CRC right.
    pub bytes: Bytes,
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last.
    pub end: Offset,
    /// Its greatest record timestamp.
    pub max_timestamp: Millis,
    /// When it was appended.
    pub append_ms: Millis,
    /// Under which leader epoch.
    pub leader_epoch: LeaderEpoch,
}

/// A finished object.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its id.
    pub object: ObjectId,
    /// The whole content in parts, the last one being footer and trailer.
    pub payload: Vec<Bytes>,
    /// Length of the content.
    pub bytes: u64,
    /// What it holds, for the metadata record that publishes it.
    pub runs: Vec<BuiltRun>,
}

/// What a publishing record says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltRun {
    /// Whose.
    pub partition: PartitionId,
    /// Leader epoch of its last batch.
    pub leader_epoch: LeaderEpoch,
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last.
    pub end: Offset,
    /// Bytes of its batches.
    pub bytes: u64,
    /// Greatest record timestamp.
    pub max_timestamp: Millis,
    /// When its last batch was appended.
    pub last_append: Millis,
}

impl Builder {
    /// An empty object that cuts its blocks at the first batch border past `block_bytes`.
    #[must_use]
    pub fn new(object: ObjectId, incarnation: Incarnation, block_bytes: ByteCount) -> Self {
        Self {
            object,
            incarnation,
            block_bytes: block_bytes.0,
            payload: Vec::new(),
            position: 0,
            wire: Vec::new(),
            built: Vec::new(),
        }
    }

    /// Adds the next run. Runs come sorted by partition, those of one partition by offset.
    ///
    /// # Errors
    /// `OutOfOrder` when the run or a batch in it does not come after the one before; the builder
    /// is then of no further use.
    ///
    /// # Panics
    /// When the run has no batch.
    pub fn push_run(&mut self, run: RunInput) -> Result<(), Error> {
        let first = run.batches.first().expect("a run has a batch");
        let partition = run.partition;
        if let Some(last) = self.built.last()
            && (partition, first.base) < (last.partition, last.end)
        {
            return Err(Error::OutOfOrder { partition, base: first.base, end: last.end });
        }
        let mut open = OpenRun::new(self.position, first);
        let mut end = first.base;
        for batch in run.batches {
            if batch.base < end || batch.end <= batch.base {
                return Err(Error::OutOfOrder { partition, base: batch.base, end });
            }
            end = batch.end;
            open.push(&batch, self.block_bytes);
            self.payload.push(batch.bytes);
        }
        let (wire, built) = open.finish(partition, end);
        self.position += built.bytes;
        self.built.push(built);
        self.wire.push(format::Run {
            producers: encode_producers(&run.producers),
            aborted: run.aborted.iter().map(aborted_to_wire).collect(),
            ..wire
        });
        Ok(())
    }

    /// Bytes of batches so far.
    #[must_use]
    pub fn bytes(&self) -> ByteCount {
        ByteCount(self.position)
    }

    /// Writes the footer.
    #[must_use]
    pub fn finish(mut self) -> Built {
        let tail = format::encode_tail(&format::Footer {
            object: self.object.0,
            incarnation: self.incarnation.0,
            runs: self.wire,
        });
        let bytes = self.position + super::length(&tail);
        self.payload.push(tail);
        Built { object: self.object, payload: self.payload, bytes, runs: self.built }
    }
}

impl Built {
    /// Footer and trailer: what a read-back of the object's end must equal.
    #[must_use]
    pub fn tail(&self) -> &Bytes {
        self.payload.last().expect("a built object ends with its footer")
    }
}

/// A run being cut into blocks.
struct OpenRun {
    wire: format::Run,
    block: OpenBlock,
    leader_epoch: LeaderEpoch,
    bytes: u64,
}

struct OpenBlock {
    crc: Crc32c,
    bytes: u64,
    base: Offset,
    max_timestamp: Millis,
}

impl OpenRun {
    fn new(position: u64, first: &BatchInput) -> Self {
        let wire = format::Run {
            base: first.base.0,
            position,
            max_timestamp: first.max_timestamp.0,
            last_append: first.append_ms.0,
            ..format::Run::default()
        };
        Self { wire, block: OpenBlock::new(first), leader_epoch: first.leader_epoch, bytes: 0 }
    }

    fn push(&mut self, batch: &BatchInput, block_bytes: u64) {
        if self.block.bytes >= block_bytes {
            let full = std::mem::replace(&mut self.block, OpenBlock::new(batch));
            self.wire.blocks.push(full.finish());
        }
        update_crc(&mut self.block.crc, &batch.bytes);
        self.block.bytes += super::length(&batch.bytes);
        self.block.max_timestamp = self.block.max_timestamp.max(batch.max_timestamp);
        self.bytes += super::length(&batch.bytes);
        self.wire.max_timestamp = self.wire.max_timestamp.max(batch.max_timestamp.0);
        self.wire.last_append = self.wire.last_append.max(batch.append_ms.0);
        if self.wire.epochs.is_empty() || batch.leader_epoch > self.leader_epoch {
            let (epoch, start) = (batch.leader_epoch.0, batch.base.0);
            self.wire.epochs.push(format::EpochStart { epoch, start });
            self.leader_epoch = batch.leader_epoch;
        }
    }

    fn finish(mut self, partition: PartitionId, end: Offset) -> (format::Run, BuiltRun) {
        self.wire.blocks.push(self.block.finish());
        self.wire.topic = Bytes::copy_from_slice(partition.topic.0.as_bytes());
        self.wire.partition = partition.index;
        self.wire.end = end.0;
        let built = BuiltRun {
            partition,
            leader_epoch: self.leader_epoch,
            base: Offset(self.wire.base),
            end,
            bytes: self.bytes,
            max_timestamp: Millis(self.wire.max_timestamp),
            last_append: Millis(self.wire.last_append),
        };
        (self.wire, built)
    }
}

impl OpenBlock {
    fn new(first: &BatchInput) -> Self {
        Self {
            crc: Crc32c::default(),
            bytes: 0,
            base: first.base,
            max_timestamp: first.max_timestamp,
        }
    }

    fn finish(self) -> format::Block {
        format::Block {
            bytes: u32::try_from(self.bytes).expect("a block is one batch past its size at most"),
            crc: self.crc.value(),
            base: self.base.0,
            max_timestamp: self.max_timestamp.0,
        }
    }
}

fn aborted_to_wire(aborted: &AbortedTransaction) -> format::Aborted {
    format::Aborted {
        producer: aborted.producer_id.0,
        first: aborted.first_offset.0,
        last: aborted.last_offset.0,
        last_stable: aborted.last_stable_offset.0,
    }
}
