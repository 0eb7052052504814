//! A decoded footer: which runs an object holds and where their blocks are.
//!
//! Owns: decoding with every bound checked, finding by partition, offset and time, block CRCs.
//! Does not own: getting the bytes. Invariants of a decoded footer: runs are sorted and do not
//! overlap; blocks tile their run and runs tile the object up to the footer.

use std::ops::Range;

use bytes::Bytes;

use super::{
    Error,
    format::{self, TRAILER_BYTES, Trailer},
    producer::{ProducerSnapshot, decode_producers},
};
use crate::crc::crc32c;
use crate::types::{Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId, TopicId};

/// What an object says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The object's id, to tell a swapped body.
    pub object: ObjectId,
    /// Who built it.
    pub incarnation: Incarnation,
    runs: Vec<Run>,
}

/// One partition's part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose records.
    pub partition: PartitionId,
    /// Offset of the first record.
    pub base: Offset,
    /// Offset after the last one.
    pub end: Offset,
    /// Greatest timestamp of a record, as its producer or the log set it.
    pub max_timestamp: Millis,
    /// When the last batch was appended.
    pub last_append: Millis,
    /// Leader epochs of the batches, oldest first; at least one.
    pub epochs: Vec<EpochStart>,
    /// Its blocks in order; at least one.
    pub blocks: Vec<Block>,
    /// Transactions aborted by a marker in this run.
    pub aborted: Vec<AbortedTransaction>,
    /// Producer state after the last batch, encoded (see [`Run::producers`]).
    pub producers: Bytes,
}

/// Where a leader epoch begins within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Base offset of its first batch here.
    pub start: Offset,
}

/// Whole batches, the unit of reading and checking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its bytes in the object.
    pub range: Range<u64>,
    /// Base offset of its first batch.
    pub base: Offset,
    /// Greatest timestamp of a record in it.
    pub max_timestamp: Millis,
    crc: u32,
}

/// A transaction whose records no committed reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: crate::types::ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of its abort marker.
    pub last_offset: Offset,
    /// Last stable offset when the marker was appended.
    pub last_stable_offset: Offset,
}

impl Footer {
    /// Where footer and trailer are, told by `tail`, any last bytes of an object of
    /// `object_bytes` that hold the trailer.
    ///
    /// # Errors
    /// `Damaged` or `TooNew`.
    pub fn locate(object_bytes: u64, tail: &[u8]) -> Result<Range<u64>, Error> {
        Ok(Trailer::decode(object_bytes, tail)?.tail_range(object_bytes))
    }

    /// Decodes the footer of an object of `object_bytes` out of its last bytes.
    ///
    /// # Errors
    /// `Damaged` (also when `tail` does not hold the whole footer) or `TooNew`.
    pub fn decode(object_bytes: u64, tail: &Bytes) -> Result<Self, Error> {
        let trailer = Trailer::decode(object_bytes, tail)?;
        let wire = trailer.footer(tail)?;
        let blocks_end = object_bytes - trailer.footer_bytes - TRAILER_BYTES;
        let mut runs: Vec<Run> = Vec::with_capacity(wire.runs.len());
        let mut position = 0;
        for run in wire.runs {
            let run = decode_run(run, position)?;
            let before = runs.last().map(|last| (last.partition, last.end));
            if before.is_some_and(|before| before > (run.partition, run.base)) {
                return Err(Error::Damaged("runs out of order"));
            }
            position = run.range().end;
            runs.push(run);
        }
        if position != blocks_end {
            return Err(Error::Damaged("blocks do not fill the object"));
        }
        Ok(Self { object: ObjectId(wire.object), incarnation: Incarnation(wire.incarnation), runs })
    }

    /// All runs, sorted by partition and base offset.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The run of `partition` that covers `offset`.
    #[must_use]
    pub fn find(&self, partition: PartitionId, offset: Offset) -> Option<&Run> {
        let after =
            self.runs.partition_point(|run| (run.partition, run.base) <= (partition, offset));
        let run = self.runs.get(after.checked_sub(1)?)?;
        (run.partition == partition && offset < run.end).then_some(run)
    }

    /// Roughly the memory it takes, for cache budgets.
    #[must_use]
    pub fn weight(&self) -> usize {
        let run = |run: &Run| {
            size_of::<Run>()
                + run.blocks.len() * size_of::<Block>()
                + run.epochs.len() * size_of::<EpochStart>()
                + run.aborted.len() * size_of::<AbortedTransaction>()
                + run.producers.len()
        };
        size_of::<Self>() + self.runs.iter().map(run).sum::<usize>()
    }
}

impl Run {
    /// Its bytes in the object.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        let first = self.blocks.first().map_or(0, |block| block.range.start);
        first..self.blocks.last().map_or(first, |block| block.range.end)
    }

    /// Index of the block that covers `offset`; `None` below `base` or at `end` and beyond.
    #[must_use]
    pub fn block_of(&self, offset: Offset) -> Option<usize> {
        if offset >= self.end {
            return None;
        }
        self.blocks.partition_point(|block| block.base <= offset).checked_sub(1)
    }

    /// Index of the first block with a record at or after `time`.
    #[must_use]
    pub fn block_of_time(&self, time: Millis) -> Option<usize> {
        self.blocks.iter().position(|block| block.max_timestamp >= time)
    }

    /// Producer state after the last batch.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn producers(&self) -> Result<Vec<ProducerSnapshot>, Error> {
        decode_producers(self.producers.clone())
    }
}

impl Block {
    /// CRC32C of its bytes.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }
}

/// Checks bytes read for a block with this CRC.
///
/// # Errors
/// `Damaged` when they are not what was written.
pub fn check_block(bytes: &[u8], crc: u32) -> Result<(), Error> {
    if crc32c(bytes) == crc { Ok(()) } else { Err(Error::Damaged("CRC of a block")) }
}

fn decode_run(wire: format::Run, position: u64) -> Result<Run, Error> {
    let topic: [u8; 16] =
        wire.topic.as_ref().try_into().map_err(|_| Error::Damaged("length of a topic id"))?;
    let topic = TopicId(uuid::Uuid::from_bytes(topic));
    let blocks = decode_blocks(&wire, position)?;
    let epochs = decode_epochs(&wire)?;
    let aborted = wire.aborted.into_iter().map(|aborted| AbortedTransaction {
        producer_id: crate::types::ProducerId(aborted.producer),
        first_offset: Offset(aborted.first),
        last_offset: Offset(aborted.last),
        last_stable_offset: Offset(aborted.last_stable),
    });
    Ok(Run {
        partition: PartitionId { topic, index: wire.partition },
        base: Offset(wire.base),
        end: Offset(wire.end),
        max_timestamp: Millis(wire.max_timestamp),
        last_append: Millis(wire.last_append),
        epochs,
        blocks,
        aborted: aborted.collect(),
        producers: wire.producers,
    })
}

fn decode_blocks(wire: &format::Run, position: u64) -> Result<Vec<Block>, Error> {
    const DAMAGED: Error = Error::Damaged("blocks do not tile their run");
    if wire.base < 0 || wire.end <= wire.base || wire.position != position {
        return Err(Error::Damaged("range of a run"));
    }
    let mut blocks: Vec<Block> = Vec::with_capacity(wire.blocks.len());
    let mut start = position;
    for block in &wire.blocks {
        let fits = match blocks.last() {
            None => block.base == wire.base,
            Some(last) => last.base < Offset(block.base) && block.base < wire.end,
        };
        if !fits || block.bytes == 0 {
            return Err(DAMAGED);
        }
        let end = start.checked_add(u64::from(block.bytes)).ok_or(DAMAGED)?;
        blocks.push(Block {
            range: start..end,
            base: Offset(block.base),
            max_timestamp: Millis(block.max_timestamp),
            crc: block.crc,
        });
        start = end;
    }
    if blocks.is_empty() { Err(DAMAGED) } else { Ok(blocks) }
}

fn decode_epochs(wire: &format::Run) -> Result<Vec<EpochStart>, Error> {
    let epochs: Vec<EpochStart> = wire
        .epochs
        .iter()
        .map(|wire| EpochStart { epoch: LeaderEpoch(wire.epoch), start: Offset(wire.start) })
        .collect();
    let first = epochs.first().is_some_and(|first| first.start == Offset(wire.base));
    let rising = epochs.iter().zip(epochs.iter().skip(1)).all(|(earlier, later)| {
        earlier.epoch < later.epoch && earlier.start < later.start && later.start.0 < wire.end
    });
    if first && rising { Ok(epochs) } else { Err(Error::Damaged("leader epochs of a run")) }
}
