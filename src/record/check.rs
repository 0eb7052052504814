//! The rules a client's batch must keep before it may enter a log.
//!
//! Owns: the checks and their order, which is Kafka's (`UnifiedLog.analyzeAndValidateRecords`, then
//! `LogValidator`). Does not own: sequences (producer state), error codes (`kafka`).
//! Invariant: of a batch that passes, every record is one, in order, as many as the header says:
//! Kafka takes some batches that are not so, and their readers pay for it.

use bytes::Bytes;

use super::{
    BatchView, Compression, Error, Limits, RecordFault, TimestampType,
    batch::check_crc,
    walk::{Stop, Walk},
};
use crate::types::Millis;

/// What a partition asks of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `max.message.bytes`: the largest batch.
    pub max_bytes: usize,
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

/// A batch that keeps every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The batch.
    pub batch: BatchView,
    /// The true latest timestamp, where the header does not say that its records' own times hold
    /// and that this is the latest.
    pub corrected_max_timestamp: Option<Millis>,
}

/// Why a batch is refused; one Kafka error code each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// `INVALID_RECORD`, with the records at fault when it is single ones.
    #[error("{reason}")]
    InvalidRecord {
        /// They, in order; not all when they are very many.
        records: Vec<RecordFault>,
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
    Corrupt(Error),
    /// `UNKNOWN_SERVER_ERROR`, which is what Kafka answers: the bytes came as they were sent, and
    /// their codec cannot read them.
    #[error("unreadable batch: {0}")]
    Unreadable(Error),
    /// `INVALID_TIMESTAMP`, with the records at fault.
    #[error("{reason}")]
    InvalidTimestamp {
        /// They, in order; not all when they are very many.
        records: Vec<RecordFault>,
        /// For the client's log.
        reason: &'static str,
    },
    /// `UNSUPPORTED_COMPRESSION_TYPE`.
    #[error("compression type is not supported")]
    UnsupportedCompression,
}

/// A check under way. It reads every record, which takes long for a large batch, and longer for a
/// small one that unpacks to much: it can be interrupted and taken up again on another thread.
#[derive(Debug)]
pub struct Check {
    batch: BatchView,
    walk: Walk,
}

/// How far a check came.
#[derive(Debug)]
pub enum Progress {
    /// To its end.
    Done(Checked),
    /// There are more records to read.
    More(Check),
}

impl Check {
    /// Checks a batch from a client against `rules` as far as its header goes.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn begin(batch: Bytes, rules: Rules) -> Result<Self, Reject> {
        let bytes = batch.len();
        if !batch.starts_with(&[0; 8]) {
            return Err(invalid("the base offset of a new batch must be 0"));
        }
        if bytes > rules.max_bytes {
            return Err(Reject::TooLarge { bytes, max_bytes: rules.max_bytes });
        }
        check_crc(&batch).map_err(Reject::Corrupt)?;
        let batch = BatchView::parse(batch).map_err(Reject::from_parse)?;
        check_header(&batch)?;
        let walk = Walk::new(&batch, rules).map_err(Reject::from_compressed)?;
        Ok(Self { batch, walk })
    }

    /// Whether the records are compressed, so that reading them is slow.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        self.batch.compression() != Ok(Compression::None)
    }

    /// Reads records, about `budget` bytes of them.
    ///
    /// # Errors
    /// The first rule the batch breaks.
    pub fn run(mut self, budget: usize) -> Result<Progress, Reject> {
        if !self.walk.run(budget)? {
            return Ok(Progress::More(self));
        }
        let found = self.walk.into_found();
        let records = found.faults;
        if found.bad_time {
            let reason = "records were refused for their timestamps";
            return Err(Reject::InvalidTimestamp { records, reason });
        }
        if !records.is_empty() {
            return Err(Reject::InvalidRecord { records, reason: "records were refused" });
        }
        let appended = self.batch.timestamp_type() == TimestampType::LogAppendTime;
        let wrong = appended || found.max_timestamp != self.batch.max_timestamp();
        let corrected_max_timestamp = wrong.then_some(found.max_timestamp);
        Ok(Progress::Done(Checked { batch: self.batch, corrected_max_timestamp }))
    }

    /// Reads all records there are.
    ///
    /// # Errors
    /// The first rule the batch breaks.
    pub fn finish(mut self) -> Result<Checked, Reject> {
        loop {
            match self.run(usize::MAX)? {
                Progress::Done(checked) => return Ok(checked),
                Progress::More(more) => self = more,
            }
        }
    }
}

fn check_header(batch: &BatchView) -> Result<(), Reject> {
    if batch.record_count() == 0 {
        return Err(invalid("the batch has no records"));
    }
    if i64::from(batch.record_count()) != batch.offset_count() {
        return Err(invalid("the record count does not match the last offset delta"));
    }
    if batch.is_control() {
        return Err(invalid("clients may not write control batches"));
    }
    // Kafka lets it pass; here it would make the cleaner drop tombstones nobody has read.
    if batch.has_delete_horizon() {
        return Err(invalid("clients may not set a delete horizon"));
    }
    if batch.producer_id().is_some() && batch.base_sequence() < 0 {
        return Err(invalid("an idempotent batch must have a base sequence"));
    }
    Ok(())
}

fn invalid(reason: &'static str) -> Reject {
    Reject::InvalidRecord { records: Vec::new(), reason }
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
            | Error::Record(_) => Self::Unreadable(error),
        }
    }
}

impl From<Stop> for Reject {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Structure(reason) => invalid(reason),
            Stop::Codec(error) => Self::from_compressed(error),
            Stop::TooLarge => invalid("the batch decompresses to too many bytes"),
        }
    }
}

impl Rules {
    /// What is wrong with the time of a record; `given` when the batch claims to give it.
    pub(super) fn time_fault(&self, timestamp: Millis, given: bool) -> Option<&'static str> {
        // -1 is a record without a time.
        if self.log_append_time || timestamp == Millis(-1) {
            return given.then_some("clients may not set LogAppendTime");
        }
        let behind_ms = self.now.0.saturating_sub(timestamp.0);
        if behind_ms > self.before_max_ms {
            return Some("the timestamp is further back than message.timestamp.before.max.ms");
        }
        let ahead_ms = behind_ms.saturating_neg();
        let ahead = ahead_ms > self.after_max_ms;
        ahead.then_some("the timestamp is further ahead than message.timestamp.after.max.ms")
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;
    use crate::{
        record::{BatchBuilder, HEADER_BYTES, Header, batch::write_crc, compress},
        types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId},
    };

    fn rules() -> Rules {
        Rules {
            max_bytes: 1 << 20,
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

    fn check(batch: &BatchView, rules: &Rules) -> Result<Option<Millis>, Reject> {
        let checked = Check::begin(batch.bytes().clone(), *rules)?.finish()?;
        assert_eq!(&checked.batch, batch);
        Ok(checked.corrected_max_timestamp)
    }

    /// `batch` with bytes of its header replaced and the CRC right.
    fn forged(batch: &BatchView, at: usize, bytes: &[u8]) -> BatchView {
        let mut forged = BytesMut::from(batch.bytes().as_ref());
        forged[at..at + bytes.len()].copy_from_slice(bytes);
        write_crc(&mut forged);
        BatchView::parse(forged.freeze()).unwrap()
    }

    fn reason(batch: &BatchView, rules: &Rules) -> &'static str {
        match check(batch, rules) {
            Err(Reject::InvalidRecord { records, reason }) if records.is_empty() => reason,
            other => panic!("{other:?}"),
        }
    }

    fn indexes(records: &[RecordFault]) -> Vec<i32> {
        records.iter().map(|fault| fault.record).collect()
    }

    /// `batch` with `body` for its records, and the CRC right.
    fn with_body(batch: &BatchView, body: &[u8]) -> BatchView {
        let mut bytes = BytesMut::from(&batch.bytes()[..HEADER_BYTES]);
        bytes.put_slice(body);
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        write_crc(&mut bytes);
        BatchView::parse(bytes.freeze()).unwrap()
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
            assert_eq!(check(&batch(codec), &rules()), Ok(None), "{codec:?}");
        }
    }

    #[test]
    fn a_base_offset_is_the_brokers_to_give() {
        let batch = filled(BatchBuilder::new(Compression::None).at(Offset(1), LeaderEpoch(0)));
        assert_eq!(reason(&batch, &rules()), "the base offset of a new batch must be 0");
    }

    #[test]
    fn a_batch_over_the_limit_is_too_large_even_if_corrupt() {
        let small = Rules { max_bytes: 70, ..rules() };
        let mut bytes = batch(Compression::None).bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let answer = Check::begin(bytes.into(), small);
        assert!(matches!(answer, Err(Reject::TooLarge { max_bytes: 70, .. })));
    }

    #[test]
    fn a_wrong_crc_is_corrupt_whatever_else_is_wrong() {
        for at in [26, 60, 80] {
            let mut bytes = batch(Compression::Zstd).bytes().to_vec();
            bytes[at] ^= 0x80;
            let answer = Check::begin(bytes.into(), rules());
            assert!(matches!(answer, Err(Reject::Corrupt(Error::Crc { .. }))), "byte {at}");
        }
        let short = batch(Compression::None).bytes().slice(..HEADER_BYTES - 1);
        let answer = Check::begin(short, rules());
        assert!(matches!(answer, Err(Reject::Corrupt(Error::Malformed(_)))));
    }

    #[test]
    fn counts_must_agree_with_the_records_in_every_codec() {
        for codec in EVERY {
            let good = batch(codec);
            let none = forged(&good, 57, &[0, 0, 0, 0]);
            assert_eq!(reason(&none, &rules()), "the batch has no records");
            let lying = forged(&good, 57, &[0, 0, 0, 3]);
            let expected = "the record count does not match the last offset delta";
            assert_eq!(reason(&lying, &rules()), expected);
            let both = forged(&forged(&good, 57, &[0, 0, 0, 3]), 23, &[0, 0, 0, 2]);
            let expected = "fewer records than the header says";
            assert_eq!(reason(&both, &rules()), expected, "{codec:?}");
            let fewer = forged(&forged(&good, 57, &[0, 0, 0, 1]), 23, &[0, 0, 0, 0]);
            assert_eq!(reason(&fewer, &rules()), "bytes after the last record", "{codec:?}");
        }
    }

    #[test]
    fn what_only_brokers_may_write_is_refused() {
        let control = filled(BatchBuilder::new(Compression::None).control());
        assert_eq!(reason(&control, &rules()), "clients may not write control batches");
        let horizon = forged(&batch(Compression::None), 21, &[0, 0x40]);
        assert_eq!(reason(&horizon, &rules()), "clients may not set a delete horizon");
    }

    #[test]
    fn attributes_without_a_meaning_are_let_pass() {
        let unused = forged(&batch(Compression::None), 21, &[0x11, 0x80]);
        assert_eq!(check(&unused, &rules()), Ok(None));
    }

    #[test]
    fn log_append_time_from_a_client_is_refused_or_made_create_time_as_kafka_does() {
        let claimed = forged(&batch(Compression::None), 21, &[0, 8]);
        assert_eq!(check(&claimed, &rules()), Ok(Some(Millis(1_000_000))));
        let appending = Rules { log_append_time: true, ..rules() };
        match check(&claimed, &appending) {
            Err(Reject::InvalidTimestamp { records, .. }) => assert_eq!(indexes(&records), [0, 1]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_idempotent_batch_has_a_sequence() {
        let builder = BatchBuilder::new(Compression::None);
        let batch = filled(builder.producer(ProducerId(1), ProducerEpoch(0), -1));
        let expected = "an idempotent batch must have a base sequence";
        assert_eq!(reason(&batch, &rules()), expected);
    }

    #[test]
    fn an_unknown_codec_is_unsupported() {
        for codec in 5..8 {
            let unknown = forged(&batch(Compression::None), 21, &[0, codec]);
            assert_eq!(check(&unknown, &rules()), Err(Reject::UnsupportedCompression));
        }
    }

    #[test]
    fn a_compacted_topic_names_every_record_without_a_key_in_every_codec() {
        let compacted = Rules { compacted: true, ..rules() };
        for codec in EVERY {
            let mut builder = BatchBuilder::new(codec);
            for key in [Some(&b"k"[..]), None, Some(b""), None] {
                builder.push(Millis(1_000_000), key, None);
            }
            match check(&builder.build().unwrap(), &compacted) {
                Err(Reject::InvalidRecord { records, .. }) => {
                    assert_eq!(indexes(&records), [1, 3], "{codec:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn times_out_of_bounds_name_their_records_in_every_codec() {
        for codec in EVERY {
            let refused = |rules: &Rules| match check(&batch(codec), rules) {
                Err(Reject::InvalidTimestamp { records, .. }) => indexes(&records),
                other => panic!("{codec:?}: {other:?}"),
            };
            let late = Rules { now: Millis(998_999), ..rules() };
            assert_eq!(refused(&late), [0]);
            let early = Rules { before_max_ms: 500, ..rules() };
            assert_eq!(refused(&early), [1]);
            assert_eq!(refused(&Rules { compacted: true, ..late }), [0, 1], "with what else is");
            let ignored = Rules { log_append_time: true, ..early };
            assert_eq!(check(&batch(codec), &ignored), Ok(None));
        }
    }

    #[test]
    fn a_record_without_a_time_is_in_no_bounds() {
        let mut builder = BatchBuilder::new(Compression::Lz4);
        builder.push(Millis(-1), None, Some(b"timeless"));
        let strict = Rules { before_max_ms: 0, after_max_ms: 0, ..rules() };
        assert_eq!(check(&builder.build().unwrap(), &strict), Ok(None));
    }

    #[test]
    fn a_wrong_max_timestamp_is_corrected_in_every_codec() {
        for codec in EVERY {
            let wrong = forged(&batch(codec), 35, &5_i64.to_be_bytes());
            assert_eq!(check(&wrong, &rules()), Ok(Some(Millis(1_000_000))), "{codec:?}");
        }
    }

    #[test]
    fn offset_deltas_count_up_in_every_codec() {
        for codec in EVERY {
            let mut body = batch(Compression::None).body().to_vec();
            body[3] = 2;
            let body = compress::compress(codec, None, &body.into()).unwrap();
            let lying = with_body(&batch(codec), &body);
            let expected = "offset deltas must count up from 0";
            assert_eq!(reason(&lying, &rules()), expected, "{codec:?}");
        }
    }

    #[test]
    fn lengths_within_a_record_are_checked_in_every_codec() {
        // one record: length, attributes, time, offset, key -1, value -1, headers
        let records: [(&[u8], &str); 6] = [
            (&[12, 0, 0, 0, 1, 1, 2], "impossible header count"),
            (&[12, 0, 0, 0, 1, 40, 0], "a record's fields pass its length"),
            (&[14, 0, 0, 0, 1, 1, 0, 0], "bytes after a record's headers"),
            (&[16, 0, 0, 0, 1, 1, 2, 1, 1], "a header without a key"),
            (&[16, 0, 0, 0, 1, 1, 2, 9, 1], "a header passes its record"),
            (&[1, 0, 0, 0, 1, 1, 0], "fewer records than the header says"),
        ];
        for codec in EVERY {
            let mut builder = BatchBuilder::new(codec);
            builder.push(Millis(1_000_000), None, None);
            let one = builder.build().unwrap();
            for (record, expected) in records {
                let body = Bytes::copy_from_slice(record);
                let body = compress::compress(codec, None, &body).unwrap();
                assert_eq!(reason(&with_body(&one, &body), &rules()), expected, "{codec:?}");
            }
        }
    }

    #[test]
    fn a_record_longer_than_any_window_is_walked_piece_by_piece() {
        let value: Vec<u8> = (0..900_000_u32).flat_map(u32::to_le_bytes).collect();
        let header = Header { key: Bytes::from(vec![b'k'; 300_000]), value: None };
        for codec in EVERY {
            let mut builder = BatchBuilder::new(codec);
            for _ in 0..3 {
                let headers = std::slice::from_ref(&header);
                builder.push_with_headers(Millis(1_000_000), None, Some(&value), headers);
                builder.push(Millis(1_000_000), Some(b"short"), None);
            }
            let large = builder.build().unwrap();
            let rules = Rules { max_bytes: 64 << 20, ..rules() };
            assert_eq!(check(&large, &rules), Ok(None), "{codec:?}");
            let cut = with_body(&large, &large.body()[..large.body().len() / 2]);
            assert!(check(&cut, &rules).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn a_check_stops_at_its_budget_and_goes_on() {
        let mut builder = BatchBuilder::new(Compression::Zstd);
        for _ in 0..20_000 {
            builder.push(Millis(1_000_000), None, Some(&[7; 100]));
        }
        let large = builder.build().unwrap();
        let mut check = Check::begin(large.bytes().clone(), rules()).unwrap();
        let mut stops = 0;
        let checked = loop {
            match check.run(100_000).unwrap() {
                Progress::Done(checked) => break checked,
                Progress::More(more) => check = more,
            }
            stops += 1;
        };
        assert_eq!((checked.batch, checked.corrected_max_timestamp), (large, None));
        assert!((5..40).contains(&stops), "{stops}");
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let limits = Limits { max_bytes: 1 << 20 };
        for codec in EVERY {
            let mut builder = BatchBuilder::new(codec);
            builder.push(Millis(1_000_000), None, Some(&[0; 3 << 20]));
            let bomb = builder.build().unwrap();
            let rules = Rules { max_bytes: 4 << 20, limits, ..rules() };
            let answer = check(&bomb, &rules);
            let bare = codec == Compression::Snappy || codec == Compression::None;
            assert!(bare || bomb.bytes().len() < 100_000);
            let expected = "the batch decompresses to too many bytes";
            assert_eq!(answer, Err(invalid(expected)), "{codec:?}");
        }
    }

    #[test]
    fn many_faults_are_listed_up_to_a_limit() {
        let mut builder = BatchBuilder::new(Compression::Lz4);
        for _ in 0..10_100 {
            builder.push(Millis(1_000_000), None, None);
        }
        let compacted = Rules { compacted: true, ..rules() };
        match check(&builder.build().unwrap(), &compacted) {
            Err(Reject::InvalidRecord { records, .. }) => assert_eq!(records.len(), 10_000),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn garbage_behind_a_codec_is_unreadable() {
        for codec in EVERY.into_iter().skip(1) {
            let garbage = with_body(&batch(codec), b"not compressed at all");
            let answer = check(&garbage, &rules());
            assert!(matches!(answer, Err(Reject::Unreadable(_))), "{codec:?}: {answer:?}");
        }
    }
}
