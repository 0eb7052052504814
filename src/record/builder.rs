//! Building batches: for internal topics, for another codec, for tests.

use bytes::Bytes;

use super::{BatchView, Compression, Error, Header, Limits, TimestampType};
use crate::types::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId};

/// Collects records into one batch.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
}

impl BatchBuilder {
    /// An empty batch at offset 0.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self { compression }
    }

    /// Sets base offset and leader epoch, as a leader would stamp them.
    #[must_use]
    pub fn at(self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        let _ = (base_offset, leader_epoch);
        self
    }

    /// Sets the idempotent producer and the first record's sequence.
    #[must_use]
    pub fn producer(self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        let _ = (id, epoch, base_sequence);
        self
    }

    /// Marks it as part of a transaction.
    #[must_use]
    pub fn transactional(self) -> Self {
        self
    }

    /// Marks it as a control batch.
    #[must_use]
    pub fn control(self) -> Self {
        self
    }

    /// Sets which time the records carry.
    #[must_use]
    pub fn timestamp_type(self, timestamp_type: TimestampType) -> Self {
        let _ = timestamp_type;
        self
    }

    /// Adds a record without headers.
    pub fn push(&mut self, timestamp: Millis, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_with_headers(timestamp, key, value, &[]);
    }

    /// Adds a record.
    pub fn push_with_headers(
        &mut self,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        let _ = (self.compression, timestamp, key, value, headers);
        unimplemented!()
    }

    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    /// Whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes it would have uncompressed.
    #[must_use]
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }

    /// The batch.
    ///
    /// # Errors
    /// When it is empty or the codec fails.
    pub fn build(self) -> Result<BatchView, Error> {
        unimplemented!()
    }
}

/// `batch` with its records compressed by `codec`, all else the same; CRC anew.
///
/// # Errors
/// When the records do not decompress within `limits`.
pub fn recompress(
    batch: &BatchView,
    codec: Compression,
    limits: &Limits,
) -> Result<BatchView, Error> {
    let _: (&BatchView, Compression, &Limits, Option<Bytes>) = (batch, codec, limits, None);
    unimplemented!()
}
