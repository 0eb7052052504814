//! One batch as a view over its bytes.
//!
//! Layout, big endian:
//! ```text
//!  0 i64 base offset            *      43 i64 producer id, -1 for none
//!  8 i32 bytes after this field        51 i16 producer epoch
//! 12 i32 leader epoch           *      53 i32 base sequence
//! 16 i8  magic, 2                      57 i32 record count
//! 17 u32 CRC32C of 21..end      *      61 the records, compressed or not
//! 21 i16 attributes: 0..=2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon
//! 23 i32 last offset delta
//! 27 i64 base timestamp
//! 35 i64 max timestamp
//! ```
//! `*`: outside the CRC. The leader writes base offset and leader epoch without touching the rest.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::{Compression, Error, Limits, Records, compress};
use crate::{
    crc::{Crc32c, crc32c},
    types::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId},
};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;

/// Bytes of the fields before the part whose length the batch states.
const LENGTH_END: usize = 12;
const EPOCH: Range<usize> = 12..16;
const BASE_OFFSET: Range<usize> = 0..8;
const CRC: Range<usize> = 17..21;
const CRC_START: usize = 21;
/// From here on a pass over a batch costs more than putting CRCs together.
const OWN_CRC_FROM: usize = 16 * 1024;
const ATTRIBUTES: Range<usize> = 21..23;
const MAX_TIMESTAMP: Range<usize> = 35..43;

pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
pub(super) const TRANSACTIONAL: i16 = 1 << 4;
pub(super) const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// Which time a batch's records carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// Each record its producer's.
    CreateTime,
    /// All records the batch's max timestamp: when the broker appended it.
    LogAppendTime,
}

/// One whole batch of format 2. Cheap to clone; holds its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: Millis,
    max_timestamp: Millis,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    record_count: i32,
    bytes: Bytes,
}

impl BatchView {
    /// The one batch that `bytes` is. Checks lengths, magic and the signs of counts, not the CRC.
    ///
    /// # Errors
    /// When `bytes` is anything but exactly one batch of format 2.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        match Self::length(&bytes)? {
            length if length == bytes.len() => Self::read(bytes),
            _ => Err(Error::Malformed("bytes after the batch")),
        }
    }

    /// The batches that stand one after the other in `bytes`.
    ///
    /// # Errors
    /// When `bytes` is anything but whole batches of format 2.
    pub fn split(mut bytes: Bytes) -> Result<Vec<Self>, Error> {
        let mut batches = Vec::new();
        while !bytes.is_empty() {
            let length = Self::length(&bytes)?;
            batches.push(Self::read(bytes.split_to(length))?);
        }
        Ok(batches)
    }

    /// Length of the batch that `bytes` starts with; at most `bytes.len()`.
    fn length(bytes: &[u8]) -> Result<usize, Error> {
        // The magic is read before the length is trusted: older formats have other lengths.
        match bytes.get(16) {
            None => return Err(Error::Malformed("shorter than a header")),
            Some(2) => {}
            Some(other) => return Err(Error::Magic(i8::from_be_bytes([*other]))),
        }
        let Some(mut stated) = bytes.get(8..LENGTH_END) else {
            return Err(Error::Malformed("shorter than a header"));
        };
        let stated =
            usize::try_from(stated.get_i32()).map_err(|_| Error::Malformed("negative length"))?;
        let length = stated.saturating_add(LENGTH_END);
        if length < HEADER_BYTES {
            return Err(Error::Malformed("length below a header's"));
        }
        if length > bytes.len() {
            return Err(Error::Malformed("cut short"));
        }
        Ok(length)
    }

    fn read(bytes: Bytes) -> Result<Self, Error> {
        let Some(mut header) = bytes.get(..HEADER_BYTES) else {
            return Err(Error::Malformed("shorter than a header"));
        };
        let base_offset = Offset(header.get_i64());
        header.advance(4);
        let leader_epoch = LeaderEpoch(header.get_i32());
        header.advance(5);
        let view = Self {
            base_offset,
            leader_epoch,
            attributes: header.get_i16(),
            last_offset_delta: header.get_i32(),
            base_timestamp: Millis(header.get_i64()),
            max_timestamp: Millis(header.get_i64()),
            producer_id: ProducerId(header.get_i64()),
            producer_epoch: ProducerEpoch(header.get_i16()),
            base_sequence: header.get_i32(),
            record_count: header.get_i32(),
            bytes,
        };
        if view.last_offset_delta < 0 || view.record_count < 0 {
            return Err(Error::Malformed("negative count"));
        }
        if view.base_offset.0.checked_add(i64::from(view.last_offset_delta) + 1).is_none() {
            return Err(Error::Malformed("offsets past the last one"));
        }
        Ok(view)
    }

    /// Offset of the first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// The offset after the last record's.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.base_offset.advance(self.offset_count())
    }

    /// How many offsets the batch takes: its record count, or more once compacted.
    #[must_use]
    pub fn offset_count(&self) -> i64 {
        i64::from(self.last_offset_delta) + 1
    }

    /// Epoch of the leader that appended it.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The raw attribute bits.
    #[must_use]
    pub fn attributes(&self) -> i16 {
        self.attributes
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`Error::UnknownCompression`].
    pub fn compression(&self) -> Result<Compression, Error> {
        Compression::from_attributes(self.attributes)
    }

    /// Which time the records carry.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// What record timestamps are stored relative to.
    #[must_use]
    pub fn base_timestamp(&self) -> Millis {
        self.base_timestamp
    }

    /// The latest timestamp of the records, as the header says.
    #[must_use]
    pub fn max_timestamp(&self) -> Millis {
        self.max_timestamp
    }

    /// Who wrote it, if the producer is idempotent.
    #[must_use]
    pub fn producer_id(&self) -> Option<ProducerId> {
        (self.producer_id.0 >= 0).then_some(self.producer_id)
    }

    /// The producer's epoch; -1 without a producer id.
    #[must_use]
    pub fn producer_epoch(&self) -> ProducerEpoch {
        self.producer_epoch
    }

    /// Sequence of the first record; -1 for none.
    #[must_use]
    pub fn base_sequence(&self) -> i32 {
        self.base_sequence
    }

    /// Sequence of the last record, counted on from the first; after `i32::MAX` comes 0.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        i32::try_from(last & i64::from(i32::MAX)).unwrap_or(i32::MAX)
    }

    /// How many records it has, as the header says.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether it is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds markers of transactions, not data.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon; only the cleaner sets it.
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// The whole batch.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records as they are stored, compressed or not.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Compares the CRC with the bytes.
    ///
    /// # Errors
    /// [`Error::Crc`].
    pub fn check_crc(&self) -> Result<(), Error> {
        check_crc(&self.bytes)
    }

    /// The records, decompressed within `limits`.
    ///
    /// # Errors
    /// When they do not decompress within `limits`; malformed records come as the iterator's items.
    pub fn records(&self, limits: &Limits) -> Result<Records, Error> {
        Ok(Records::new(self, self.decompressed(limits)?))
    }

    /// The records' bytes, decompressed within `limits`.
    ///
    /// # Errors
    /// When they do not decompress within `limits`.
    pub fn decompressed(&self, limits: &Limits) -> Result<Bytes, Error> {
        match self.compression()? {
            Compression::None => Ok(self.body()),
            codec => compress::decompress(codec, &self.body(), limits),
        }
    }
}

/// Compares the CRC of a whole batch with its bytes, whatever else is wrong with it.
pub(super) fn check_crc(batch: &[u8]) -> Result<(), Error> {
    let Some(mut stated) = batch.get(CRC).filter(|_| batch.len() >= HEADER_BYTES) else {
        return Err(Error::Malformed("shorter than a header"));
    };
    let (expected, found) = (stated.get_u32(), crc32c(batch.get(CRC_START..).unwrap_or_default()));
    if found == expected { Ok(()) } else { Err(Error::Crc { expected, found }) }
}

/// Goes on with a whole batch whose own CRC is right, as that of every stored batch is; where it is
/// long enough to pay, it is not read again.
pub fn update_crc(crc: &mut Crc32c, batch: &[u8]) {
    let stated = batch.get(CRC).filter(|_| batch.len() >= OWN_CRC_FROM);
    let (Some(mut stated), Some((head, covered))) = (stated, batch.split_at_checked(CRC_START))
    else {
        return crc.update(batch);
    };
    let stated = stated.get_u32();
    debug_assert_eq!(stated, crc32c(covered), "a stored batch's CRC was checked");
    crc.update(head);
    crc.update_known(stated, u64::try_from(covered.len()).unwrap_or(u64::MAX));
}

/// What the leader does to a batch's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// Nothing.
    Keep,
    /// Each record keeps its own; what the header says of them was wrong, this is the latest.
    Max(Millis),
    /// Every record gets this time (`message.timestamp.type=LogAppendTime`).
    LogAppend(Millis),
}

/// What the leader writes into a batch it appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The timestamps.
    pub timestamps: Timestamps,
}

/// The header `batch` gets in the log. The CRC is computed anew only when timestamps change: a pass
/// over the whole batch, so do that before taking a lock and [`place`] under it.
#[must_use]
pub fn stamped_header(batch: &BatchView, stamp: &Stamp) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(batch.bytes.get(..HEADER_BYTES).unwrap_or(&[0; HEADER_BYTES]));
    place(&mut header, stamp.base_offset, stamp.leader_epoch);
    let (attributes, max_timestamp) = match stamp.timestamps {
        Timestamps::Keep => return header,
        Timestamps::Max(max) => (batch.attributes & !LOG_APPEND_TIME, max),
        Timestamps::LogAppend(now) => (batch.attributes | LOG_APPEND_TIME, now),
    };
    put(&mut header, ATTRIBUTES, &attributes.to_be_bytes());
    put(&mut header, MAX_TIMESTAMP, &max_timestamp.0.to_be_bytes());
    let mut crc = Crc32c::default();
    crc.update(header.get(CRC_START..).unwrap_or_default());
    crc.update(batch.bytes.get(HEADER_BYTES..).unwrap_or_default());
    put(&mut header, CRC, &crc.value().to_be_bytes());
    header
}

/// Writes offset and epoch into a header: 12 bytes, outside the CRC.
pub fn place(header: &mut [u8; HEADER_BYTES], base_offset: Offset, leader_epoch: LeaderEpoch) {
    put(header, BASE_OFFSET, &base_offset.0.to_be_bytes());
    put(header, EPOCH, &leader_epoch.0.to_be_bytes());
}

/// Computes the CRC of a whole batch and writes it where it belongs.
pub(super) fn write_crc(batch: &mut BytesMut) {
    let crc = crc32c(batch.get(CRC_START..).unwrap_or_default());
    if let Some(field) = batch.get_mut(CRC) {
        field.copy_from_slice(&crc.to_be_bytes());
    }
}

fn put(header: &mut [u8; HEADER_BYTES], at: Range<usize>, value: &[u8]) {
    if let Some(field) = header.get_mut(at) {
        field.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::BatchBuilder;

    fn batch() -> BatchView {
        let mut builder = BatchBuilder::new(Compression::None).producer(
            ProducerId(7),
            ProducerEpoch(1),
            i32::MAX,
        );
        builder.push(Millis(1000), Some(b"k"), Some(b"v"));
        builder.push(Millis(1005), None, Some(b"w"));
        builder.build().unwrap()
    }

    #[test]
    fn a_batch_has_kafkas_bytes() {
        #[rustfmt::skip]
        let golden: &[u8] = &[
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 66, 255, 255, 255, 255, 2,
            6, 54, 12, 12, 0, 0, 0, 0, 0, 1,
            0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 3, 237,
            0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 127, 255, 255, 255, 0, 0, 0, 2,
            16, 0, 0, 0, 2, b'k', 2, b'v', 0, 14, 0, 10, 2, 1, 2, b'w', 0,
        ];
        assert_eq!(batch().bytes().as_ref(), golden);
        batch().check_crc().unwrap();
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!((batch().base_sequence(), batch().last_sequence()), (i32::MAX, 0));
    }

    #[test]
    fn offset_and_epoch_are_outside_the_crc() {
        let batch = batch();
        let stamp = Stamp {
            base_offset: Offset(i64::from(u32::MAX)),
            leader_epoch: LeaderEpoch(9),
            timestamps: Timestamps::Keep,
        };
        let stamped = restamped(&batch, &stamp);
        stamped.check_crc().unwrap();
        assert_eq!(stamped.base_offset(), stamp.base_offset);
        assert_eq!(stamped.end_offset(), stamp.base_offset.advance(2));
        assert_eq!(stamped.leader_epoch(), LeaderEpoch(9));
    }

    #[test]
    fn log_append_time_is_every_records_time() {
        let stamp = Stamp {
            base_offset: Offset(5),
            leader_epoch: LeaderEpoch(0),
            timestamps: Timestamps::LogAppend(Millis(77)),
        };
        let stamped = restamped(&batch(), &stamp);
        stamped.check_crc().unwrap();
        assert_eq!(stamped.base_timestamp(), Millis(1000));
        let records = stamped.records(&Limits::default()).unwrap();
        let times: Vec<_> = records.map(|record| record.unwrap().timestamp).collect();
        assert_eq!(times, [Millis(77), Millis(77)]);
    }

    #[test]
    fn a_damaged_byte_is_noticed() {
        let mut bytes = batch().bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let damaged = BatchView::parse(bytes.into()).unwrap();
        assert!(matches!(damaged.check_crc(), Err(Error::Crc { .. })));
    }

    #[test]
    fn only_whole_batches_are_taken() {
        let one = batch().bytes().clone();
        let mut two = BytesMut::from(one.as_ref());
        two.extend_from_slice(&one);
        let two = two.freeze();
        assert_eq!(BatchView::split(two.clone()).unwrap(), [batch(), batch()]);
        assert_eq!(BatchView::parse(two.clone()), Err(Error::Malformed("bytes after the batch")));
        for length in 0..one.len() {
            BatchView::parse(one.slice(..length)).unwrap_err();
            if length > 0 {
                BatchView::split(two.slice(..one.len() + length)).unwrap_err();
            }
        }
        assert_eq!(BatchView::split(Bytes::new()).unwrap(), []);
    }

    #[test]
    fn other_formats_are_named() {
        let mut bytes = batch().bytes().to_vec();
        bytes[16] = 1;
        assert_eq!(BatchView::parse(bytes.into()), Err(Error::Magic(1)));
    }

    fn restamped(batch: &BatchView, stamp: &Stamp) -> BatchView {
        let mut bytes = BytesMut::from(stamped_header(batch, stamp).as_ref());
        bytes.extend_from_slice(&batch.body());
        BatchView::parse(bytes.freeze()).unwrap()
    }
}
