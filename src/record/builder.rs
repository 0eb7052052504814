//! Building batches: for internal topics, for another codec, for tests.
//!
//! Owns: the writing side of the batch layout (`batch` has the reading side and the table).
//! Invariant: what it builds passes [`Check`](super::Check) unless asked
//! not to (an offset, a control batch).

use bytes::{BufMut, BytesMut};

use super::{
    BatchView, Compression, Error, HEADER_BYTES, Header, Limits, TimestampType,
    batch::{CONTROL, LOG_APPEND_TIME, TRANSACTIONAL, write_crc},
    compress, records,
};
use crate::types::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId};

/// Collects records into one batch.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    attributes: i16,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer: (ProducerId, ProducerEpoch, i32),
    base_timestamp: Millis,
    max_timestamp: Millis,
    count: i32,
    body: BytesMut,
}

impl BatchBuilder {
    /// An empty batch at offset 0, of no leader and no producer.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            attributes: 0,
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch(-1),
            producer: (ProducerId(-1), ProducerEpoch(-1), -1),
            base_timestamp: Millis(-1),
            max_timestamp: Millis(-1),
            count: 0,
            body: BytesMut::new(),
        }
    }

    /// Sets base offset and leader epoch, as a leader would stamp them.
    #[must_use]
    pub fn at(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        self.base_offset = base_offset;
        self.leader_epoch = leader_epoch;
        self
    }

    /// Sets the idempotent producer and the first record's sequence.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Marks it as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL;
        self
    }

    /// Marks it as a control batch.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= CONTROL;
        self
    }

    /// Sets which time the records carry.
    #[must_use]
    pub fn timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => self.attributes &= !LOG_APPEND_TIME,
            TimestampType::LogAppendTime => self.attributes |= LOG_APPEND_TIME,
        }
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
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        records::write(&mut self.body, delta, self.count, key, value, headers);
        self.count += 1;
    }

    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or_default()
    }

    /// Whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes it would have uncompressed.
    #[must_use]
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// The batch.
    ///
    /// # Errors
    /// When it is empty or the codec fails.
    pub fn build(self) -> Result<BatchView, Error> {
        if self.is_empty() {
            return Err(Error::Malformed("no records"));
        }
        let body = compress::compress(self.compression, None, &self.body.freeze())?;
        let mut batch = BytesMut::with_capacity(HEADER_BYTES + body.len());
        batch.put_i64(self.base_offset.0);
        batch.put_i32(stated_length(body.len())?);
        batch.put_i32(self.leader_epoch.0);
        batch.put_i8(2);
        batch.put_u32(0);
        batch.put_i16(self.attributes | self.compression.id());
        batch.put_i32(self.count - 1);
        batch.put_i64(self.base_timestamp.0);
        batch.put_i64(self.max_timestamp.0);
        let (id, epoch, sequence) = self.producer;
        batch.put_i64(id.0);
        batch.put_i16(epoch.0);
        batch.put_i32(sequence);
        batch.put_i32(self.count);
        batch.put(body);
        write_crc(&mut batch);
        BatchView::parse(batch.freeze())
    }
}

/// `batch` with its records compressed by `codec` at `level` (`None`: the codec's own choice), all
/// else the same; CRC anew. Memory is what the new batch takes, and that is at most `most` bytes.
///
/// # Errors
/// `TooLarge` when it would be larger; others when the records do not decompress.
pub fn recompress(
    batch: &BatchView,
    codec: Compression,
    level: Option<i32>,
    most: usize,
) -> Result<BatchView, Error> {
    let limit = Limits::for_batches_of(most).max_bytes;
    let records = compress::reader(batch.compression()?, batch.body(), limit)?;
    let body = compress::transcode(codec, level, records, most.saturating_sub(HEADER_BYTES))?;
    let header = batch.bytes().get(..HEADER_BYTES).unwrap_or_default();
    let mut output = BytesMut::with_capacity(HEADER_BYTES + body.len());
    output.put_slice(header.get(..8).unwrap_or_default());
    output.put_i32(stated_length(body.len())?);
    output.put_slice(header.get(12..21).unwrap_or_default());
    output.put_i16(batch.attributes() & !7 | codec.id());
    output.put_slice(header.get(23..).unwrap_or_default());
    output.put(body);
    write_crc(&mut output);
    BatchView::parse(output.freeze())
}

/// The length field of a batch whose records take `body_bytes`.
fn stated_length(body_bytes: usize) -> Result<i32, Error> {
    i32::try_from(body_bytes + HEADER_BYTES - 12).map_err(|_| Error::Malformed("over 2 GiB"))
}
