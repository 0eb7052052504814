//! The rules a client's batch must keep before it may enter a log.
//!
//! Owns: the checks and their order, which is Kafka's (`UnifiedLog.analyzeAndValidateRecords`, then
//! `LogValidator`). Does not own: sequences (producer state), error codes (`kafka`).

use super::{BatchView, Compression, Error, Limits, TimestampType, records::RawRecord};
use crate::types::{Millis, Offset};

/// What a partition asks of a batch.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `max.message.bytes`: the largest batch.
    pub max_bytes: usize,
    /// `segment.bytes`: the most that one request may bring.
    pub segment_bytes: usize,
    /// Every record needs a key (`cleanup.policy` has `compact`).
    pub compacted: bool,
    /// The broker sets the timestamps (`message.timestamp.type=LogAppendTime`).
    pub log_append_time: bool,
    /// The wall clock.
    pub now: Millis,
    /// `message.timestamp.before.max.ms`: how far in the past a record may be.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future a record may be.
    pub after_max_ms: i64,
    /// Bounds of decompression.
    pub limits: Limits,
}

/// What the checks learnt on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The true latest timestamp, where the records were looked at and the header is wrong.
    pub corrected_max_timestamp: Option<Millis>,
}

/// Why a batch is refused; one Kafka error code each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// `INVALID_RECORD`, with the record at fault when it is one.
    #[error("{reason}")]
    InvalidRecord {
        /// Index of the record in the batch.
        record: Option<i32>,
        /// For the client's log.
        reason: &'static str,
    },
    /// `MESSAGE_TOO_LARGE`.
    #[error("the batch has {bytes} bytes, the topic takes {max_bytes}")]
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// The topic's limit.
        max_bytes: usize,
    },
    /// `RECORD_LIST_TOO_LARGE`.
    #[error("the batch has {bytes} bytes, a segment of the topic {segment_bytes}")]
    LargerThanSegment {
        /// Bytes of the batch.
        bytes: usize,
        /// The topic's limit.
        segment_bytes: usize,
    },
    /// `CORRUPT_MESSAGE`: retriable, the bytes may have been damaged on the way.
    #[error("corrupt batch: {0}")]
    Corrupt(super::Error),
    /// `INVALID_TIMESTAMP`, with the record at fault when it is one.
    #[error("{reason}")]
    InvalidTimestamp {
        /// Index of the record in the batch.
        record: Option<i32>,
        /// For the client's log.
        reason: &'static str,
    },
    /// `UNSUPPORTED_COMPRESSION_TYPE`.
    #[error("compression type is not supported")]
    UnsupportedCompression,
}

/// Checks a batch from a client against `rules`.
///
/// # Errors
/// The first rule it breaks.
pub fn check_client_batch(batch: &BatchView, rules: &Rules) -> Result<Checked, Reject> {
    let bytes = batch.bytes().len();
    if batch.base_offset() != Offset::ZERO {
        return Err(invalid("the base offset of a new batch must be 0"));
    }
    if bytes > rules.max_bytes {
        return Err(Reject::TooLarge { bytes, max_bytes: rules.max_bytes });
    }
    if bytes > rules.segment_bytes {
        return Err(Reject::LargerThanSegment { bytes, segment_bytes: rules.segment_bytes });
    }
    batch.check_crc().map_err(Reject::Corrupt)?;
    if batch.record_count() == 0 {
        return Err(invalid("the batch has no records"));
    }
    if i64::from(batch.record_count()) != batch.offset_count() {
        return Err(invalid("the record count does not match the last offset delta"));
    }
    if batch.is_control() {
        return Err(invalid("clients may not write control batches"));
    }
    if batch.has_delete_horizon() || batch.attributes() & UNUSED_ATTRIBUTES != 0 {
        return Err(invalid("the batch has reserved attributes"));
    }
    if batch.producer_id().is_some() && batch.base_sequence() < 0 {
        return Err(invalid("an idempotent batch must have a base sequence"));
    }
    if batch.timestamp_type() == TimestampType::LogAppendTime {
        let reason = "clients may not set LogAppendTime";
        return Err(Reject::InvalidTimestamp { record: None, reason });
    }
    let compression = batch.compression().map_err(|_| Reject::UnsupportedCompression)?;
    if compression != Compression::None && !needs_every_record(rules) {
        // Later is all a broker needs to bound: the header's max is what retention goes by.
        return match check_time(batch.max_timestamp(), rules) {
            Err(reason) => Err(Reject::InvalidTimestamp { record: None, reason }),
            Ok(()) => Ok(Checked { corrected_max_timestamp: None }),
        };
    }
    let body = batch.decompressed(&rules.limits).map_err(Reject::from_compressed)?;
    check_records(batch, &body, rules)
}

/// Attribute bits that mean nothing yet.
const UNUSED_ATTRIBUTES: i16 = !0x7f;

fn invalid(reason: &'static str) -> Reject {
    Reject::InvalidRecord { record: None, reason }
}

impl Reject {
    /// Why bytes that are not one batch are refused.
    #[must_use]
    pub fn from_parse(error: Error) -> Self {
        match error {
            Error::Magic(_) => invalid("the batch must be of format 2"),
            Error::Malformed(reason) | Error::Record(reason) => invalid(reason),
            Error::Crc { .. }
            | Error::UnknownCompression(_)
            | Error::Compressed { .. }
            | Error::TooLarge { .. } => Self::Corrupt(error),
        }
    }

    /// Why a batch whose records do not decompress is refused.
    #[must_use]
    pub fn from_compressed(error: Error) -> Self {
        match error {
            Error::TooLarge { .. } => invalid("the batch decompresses to too many bytes"),
            Error::UnknownCompression(_) => Self::UnsupportedCompression,
            Error::Compressed { .. }
            | Error::Malformed(_)
            | Error::Magic(_)
            | Error::Crc { .. }
            | Error::Record(_) => Self::Corrupt(error),
        }
    }
}

/// Whether a compressed batch must be opened: its header does not tell keys or the oldest time.
fn needs_every_record(rules: &Rules) -> bool {
    rules.compacted || (!rules.log_append_time && rules.before_max_ms != i64::MAX)
}

fn check_records(batch: &BatchView, body: &[u8], rules: &Rules) -> Result<Checked, Reject> {
    let mut rest = body;
    let mut max_timestamp = Millis(-1);
    for index in 0..batch.record_count() {
        let at = |reason| Reject::InvalidRecord { record: Some(index), reason };
        let record = RawRecord::read(&mut rest).map_err(|error| match error {
            Error::Record(reason) => at(reason),
            _ => Reject::Corrupt(error),
        })?;
        if record.offset_delta != index {
            return Err(at("offset deltas must count up from 0"));
        }
        if rules.compacted && record.key.is_none() {
            return Err(at("a compacted topic takes no record without a key"));
        }
        let timestamp = Millis(batch.base_timestamp().0.saturating_add(record.timestamp_delta));
        check_time(timestamp, rules)
            .map_err(|reason| Reject::InvalidTimestamp { record: Some(index), reason })?;
        max_timestamp = max_timestamp.max(timestamp);
    }
    if !rest.is_empty() {
        return Err(invalid("bytes after the last record"));
    }
    let wrong = max_timestamp != batch.max_timestamp();
    Ok(Checked { corrected_max_timestamp: wrong.then_some(max_timestamp) })
}

fn check_time(timestamp: Millis, rules: &Rules) -> Result<(), &'static str> {
    // -1 is a record without a time.
    if rules.log_append_time || timestamp == Millis(-1) {
        return Ok(());
    }
    let behind_ms = rules.now.0.saturating_sub(timestamp.0);
    if behind_ms > rules.before_max_ms {
        return Err("the timestamp is further back than message.timestamp.before.max.ms");
    }
    if behind_ms.saturating_neg() > rules.after_max_ms {
        return Err("the timestamp is further ahead than message.timestamp.after.max.ms");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::{
        record::{BatchBuilder, HEADER_BYTES, batch::write_crc},
        types::{LeaderEpoch, ProducerEpoch, ProducerId},
    };

    fn rules() -> Rules {
        Rules {
            max_bytes: 1 << 20,
            segment_bytes: 1 << 30,
            compacted: false,
            log_append_time: false,
            now: Millis(1_000_000),
            before_max_ms: i64::MAX,
            after_max_ms: 1000,
            limits: Limits::for_batches_of(1 << 20),
        }
    }

    fn filled(mut builder: BatchBuilder) -> BatchView {
        builder.push(Millis(1_000_000), Some(b"key"), Some(b"value"));
        builder.push(Millis(999_000), None, Some(b"value"));
        builder.build().unwrap()
    }

    fn batch(compression: Compression) -> BatchView {
        filled(BatchBuilder::new(compression))
    }

    /// `batch` with bytes of its header replaced and the CRC right.
    fn forged(batch: &BatchView, at: usize, bytes: &[u8]) -> BatchView {
        let mut forged = BytesMut::from(batch.bytes().as_ref());
        forged[at..at + bytes.len()].copy_from_slice(bytes);
        write_crc(&mut forged);
        BatchView::parse(forged.freeze()).unwrap()
    }

    fn reason(batch: &BatchView, rules: &Rules) -> (Option<i32>, &'static str) {
        match check_client_batch(batch, rules) {
            Err(Reject::InvalidRecord { record, reason }) => (record, reason),
            other => panic!("{other:?}"),
        }
    }

    const EVERY: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    #[test]
    fn a_good_batch_passes_in_every_codec() {
        for codec in EVERY {
            let good = check_client_batch(&batch(codec), &rules()).unwrap();
            assert_eq!(good, Checked { corrected_max_timestamp: None });
        }
    }

    #[test]
    fn a_base_offset_is_the_brokers_to_give() {
        let batch = filled(BatchBuilder::new(Compression::None).at(Offset(1), LeaderEpoch(0)));
        assert_eq!(reason(&batch, &rules()).1, "the base offset of a new batch must be 0");
    }

    #[test]
    fn a_batch_over_the_limit_is_too_large_even_if_corrupt() {
        let small = Rules { max_bytes: 70, ..rules() };
        let answer = check_client_batch(&batch(Compression::None), &small);
        assert!(matches!(answer, Err(Reject::TooLarge { max_bytes: 70, .. })));
        let small = Rules { segment_bytes: 70, ..rules() };
        let answer = check_client_batch(&batch(Compression::None), &small);
        assert!(matches!(answer, Err(Reject::LargerThanSegment { segment_bytes: 70, .. })));
    }

    #[test]
    fn a_wrong_crc_is_corrupt() {
        let mut bytes = batch(Compression::Zstd).bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let answer = check_client_batch(&BatchView::parse(bytes.into()).unwrap(), &rules());
        assert!(matches!(answer, Err(Reject::Corrupt(Error::Crc { .. }))));
    }

    #[test]
    fn counts_must_agree() {
        let good = batch(Compression::None);
        let none = forged(&good, 57, &[0, 0, 0, 0]);
        assert_eq!(reason(&none, &rules()).1, "the batch has no records");
        let lying = forged(&good, 57, &[0, 0, 0, 3]);
        let expected = "the record count does not match the last offset delta";
        assert_eq!(reason(&lying, &rules()).1, expected);
        let both = forged(&forged(&good, 57, &[0, 0, 0, 3]), 23, &[0, 0, 0, 2]);
        assert_eq!(reason(&both, &rules()), (Some(2), "cut short"));
        let fewer = forged(&forged(&good, 57, &[0, 0, 0, 1]), 23, &[0, 0, 0, 0]);
        assert_eq!(reason(&fewer, &rules()).1, "bytes after the last record");
    }

    #[test]
    fn what_only_brokers_may_write_is_refused() {
        let control = filled(BatchBuilder::new(Compression::None).control());
        assert_eq!(reason(&control, &rules()).1, "clients may not write control batches");
        let horizon = forged(&batch(Compression::None), 21, &[0, 0x40]);
        assert_eq!(reason(&horizon, &rules()).1, "the batch has reserved attributes");
        let append_time = forged(&batch(Compression::None), 21, &[0, 8]);
        let answer = check_client_batch(&append_time, &rules());
        assert!(matches!(answer, Err(Reject::InvalidTimestamp { record: None, .. })));
    }

    #[test]
    fn an_idempotent_batch_has_a_sequence() {
        let builder = BatchBuilder::new(Compression::None);
        let batch = filled(builder.producer(ProducerId(1), ProducerEpoch(0), -1));
        let expected = "an idempotent batch must have a base sequence";
        assert_eq!(reason(&batch, &rules()).1, expected);
    }

    #[test]
    fn an_unknown_codec_is_unsupported() {
        let unknown = forged(&batch(Compression::None), 21, &[0, 5]);
        let answer = check_client_batch(&unknown, &rules());
        assert_eq!(answer, Err(Reject::UnsupportedCompression));
    }

    #[test]
    fn a_compacted_topic_wants_keys_in_every_codec() {
        let compacted = Rules { compacted: true, ..rules() };
        for codec in EVERY {
            let (record, _) = reason(&batch(codec), &compacted);
            assert_eq!(record, Some(1));
        }
    }

    #[test]
    fn times_out_of_bounds_name_their_record() {
        let late = Rules { now: Millis(998_999), ..rules() };
        let answer = check_client_batch(&batch(Compression::None), &late);
        assert!(matches!(answer, Err(Reject::InvalidTimestamp { record: Some(0), .. })));
        let answer = check_client_batch(&batch(Compression::Lz4), &late);
        assert!(matches!(answer, Err(Reject::InvalidTimestamp { .. })));
        let early = Rules { before_max_ms: 500, ..rules() };
        for codec in EVERY {
            let answer = check_client_batch(&batch(codec), &early);
            assert!(matches!(answer, Err(Reject::InvalidTimestamp { record: Some(1), .. })));
        }
        let ignored = Rules { log_append_time: true, ..early };
        check_client_batch(&batch(Compression::None), &ignored).unwrap();
    }

    #[test]
    fn a_wrong_max_timestamp_is_corrected() {
        let wrong = forged(&batch(Compression::None), 35, &5_i64.to_be_bytes());
        let checked = check_client_batch(&wrong, &rules()).unwrap();
        assert_eq!(checked.corrected_max_timestamp, Some(Millis(1_000_000)));
    }

    #[test]
    fn offset_deltas_count_up() {
        let mut bytes = BytesMut::from(batch(Compression::None).bytes().as_ref());
        bytes[HEADER_BYTES + 3] = 2;
        write_crc(&mut bytes);
        let batch = BatchView::parse(bytes.freeze()).unwrap();
        assert_eq!(reason(&batch, &rules()), (Some(0), "offset deltas must count up from 0"));
    }

    #[test]
    fn garbage_behind_a_codec_is_corrupt() {
        let header = batch(Compression::None).bytes().slice(..HEADER_BYTES);
        let mut bytes = BytesMut::from(header.as_ref());
        bytes.put_slice(b"not gzip");
        bytes[8..12].copy_from_slice(&57_i32.to_be_bytes());
        bytes[21..23].copy_from_slice(&1_i16.to_be_bytes());
        write_crc(&mut bytes);
        let batch = BatchView::parse(bytes.freeze()).unwrap();
        let compacted = Rules { compacted: true, ..rules() };
        let answer = check_client_batch(&batch, &compacted);
        assert!(matches!(answer, Err(Reject::Corrupt(Error::Compressed { .. }))));
    }
}
