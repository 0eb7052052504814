//! What a partition remembers of its producers, as footers and manifests carry it.
//!
//! Owns: the words and their bytes (message `Producers` of format.rs). Does not own: the rules
//! that make one snapshot out of another and a batch; those are the log's.

use bytes::Bytes;
use prost::Message;

use super::{Error, format};
use crate::types::{Millis, Offset, ProducerEpoch, ProducerId};

/// One producer at one offset of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSnapshot {
    /// Who.
    pub producer_id: ProducerId,
    /// Its newest epoch seen.
    pub epoch: ProducerEpoch,
    /// Append time of its newest batch or marker; expiry counts from here.
    pub last_append: Millis,
    /// Its last batches (five at most), oldest first.
    pub batches: Vec<ProducerBatch>,
    /// The transaction it has open here.
    pub transaction: Option<OpenTransaction>,
    /// Epoch of the coordinator that wrote its last marker; -1 when none has.
    pub coordinator_epoch: i32,
}

/// One batch of a producer, to recognise its retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record.
    pub end_offset: Offset,
    /// When it was appended.
    pub append_ms: Millis,
}

/// A transaction without its marker yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Offset of its first record here.
    pub first_offset: Offset,
    /// When that was appended.
    pub started: Millis,
}

/// The bytes of a snapshot.
#[must_use]
pub fn encode_producers(snapshots: &[ProducerSnapshot]) -> Bytes {
    let producers = snapshots.iter().map(to_wire).collect();
    format::Producers { producers }.encode_to_vec().into()
}

/// The snapshot in `bytes`; empty bytes are an empty snapshot.
///
/// # Errors
/// `Damaged` when they are none.
pub fn decode_producers(bytes: Bytes) -> Result<Vec<ProducerSnapshot>, Error> {
    let wire = format::Producers::decode(bytes).map_err(|_| Error::Damaged("producer snapshot"))?;
    wire.producers.into_iter().map(from_wire).collect()
}

fn to_wire(snapshot: &ProducerSnapshot) -> format::Producer {
    format::Producer {
        id: snapshot.producer_id.0,
        epoch: i32::from(snapshot.epoch.0),
        last_append: snapshot.last_append.0,
        batches: snapshot
            .batches
            .iter()
            .map(|batch| format::ProducerBatch {
                first_sequence: batch.first_sequence,
                last_sequence: batch.last_sequence,
                base: batch.base_offset.0,
                end: batch.end_offset.0,
                append_ms: batch.append_ms.0,
            })
            .collect(),
        transaction: snapshot.transaction.map(|open| format::Transaction {
            first: open.first_offset.0,
            started_ms: open.started.0,
        }),
        coordinator_epoch: snapshot.coordinator_epoch,
    }
}

fn from_wire(wire: format::Producer) -> Result<ProducerSnapshot, Error> {
    let epoch = i16::try_from(wire.epoch).map_err(|_| Error::Damaged("producer epoch"))?;
    Ok(ProducerSnapshot {
        producer_id: ProducerId(wire.id),
        epoch: ProducerEpoch(epoch),
        last_append: Millis(wire.last_append),
        batches: wire
            .batches
            .into_iter()
            .map(|batch| ProducerBatch {
                first_sequence: batch.first_sequence,
                last_sequence: batch.last_sequence,
                base_offset: Offset(batch.base),
                end_offset: Offset(batch.end),
                append_ms: Millis(batch.append_ms),
            })
            .collect(),
        transaction: wire.transaction.map(|open| OpenTransaction {
            first_offset: Offset(open.first),
            started: Millis(open.started_ms),
        }),
        coordinator_epoch: wire.coordinator_epoch,
    })
}
