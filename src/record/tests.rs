//! The whole of `record` against another implementation and against hostile bytes.

use bytes::{Bytes, BytesMut};
use proptest::{prelude::*, sample::Index};
use proto_kafka::{
    protocol::StrBytes,
    records::{
        Compression as TheirCompression, Record as TheirRecord, RecordBatchDecoder,
        RecordBatchEncoder, RecordEncodeOptions, TimestampType as TheirTimestampType,
    },
};

use super::*;
use crate::types::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn some_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..40))
}

type RecordParts = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn record_parts() -> impl Strategy<Value = RecordParts> {
    let headers = prop::collection::vec(("[a-c]{0,2}", some_bytes()), 0..4);
    (0..2_000_000_000_000_i64, some_bytes(), some_bytes(), headers)
}

fn headers_of(parts: &RecordParts) -> Vec<Header> {
    let one = |(key, value): &(String, Option<Vec<u8>>)| Header {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.clone().map(Bytes::from),
    };
    parts.3.iter().map(one).collect()
}

fn expected(at: usize, parts: &RecordParts) -> Record {
    Record {
        offset: Offset(100 + i64::try_from(at).unwrap()),
        timestamp: Millis(parts.0),
        key: parts.1.clone().map(Bytes::from),
        value: parts.2.clone().map(Bytes::from),
        headers: headers_of(parts),
    }
}

fn built(codec: Compression, parts: &[RecordParts]) -> BatchView {
    let mut builder = BatchBuilder::new(codec).at(Offset(100), LeaderEpoch(3)).producer(
        ProducerId(9),
        ProducerEpoch(2),
        40,
    );
    for part in parts {
        let headers = headers_of(part);
        builder.push_with_headers(Millis(part.0), part.1.as_deref(), part.2.as_deref(), &headers);
    }
    builder.build().unwrap()
}

fn theirs(at: usize, parts: &RecordParts) -> TheirRecord {
    let at = i64::try_from(at).unwrap();
    TheirRecord {
        transactional: false,
        control: false,
        delete_horizon_ms: None,
        partition_leader_epoch: 3,
        producer_id: 9,
        producer_epoch: 2,
        timestamp_type: TheirTimestampType::Creation,
        offset: 100 + at,
        sequence: 40 + i32::try_from(at).unwrap(),
        timestamp: parts.0,
        key: parts.1.clone().map(Bytes::from),
        value: parts.2.clone().map(Bytes::from),
        headers: (parts.3.iter())
            .map(|(key, value)| {
                (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from))
            })
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_is_read_back(parts in prop::collection::vec(record_parts(), 1..30)) {
        let expected: Vec<_> =
            parts.iter().enumerate().map(|(at, parts)| expected(at, parts)).collect();
        for codec in CODECS {
            let batch = built(codec, &parts);
            batch.check_crc().unwrap();
            let read: Vec<_> =
                batch.records(&Limits::default()).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(&read, &expected);
            let other = recompress(&batch, Compression::Zstd, Some(9), 1 << 20).unwrap();
            let back = recompress(&other, Compression::None, None, 1 << 20).unwrap();
            prop_assert_eq!(&back, &built(Compression::None, &parts));
        }
    }

    #[test]
    fn others_read_what_we_write(parts in prop::collection::vec(record_parts(), 1..10)) {
        let mut bytes = built(Compression::None, &parts).bytes().clone();
        let read = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
        let expected: Vec<_> =
            parts.iter().enumerate().map(|(at, parts)| theirs(at, parts)).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn we_read_what_others_write(parts in prop::collection::vec(record_parts(), 1..10)) {
        let records: Vec<_> =
            parts.iter().enumerate().map(|(at, parts)| theirs(at, parts)).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: TheirCompression::None };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        let batch = BatchView::parse(bytes.freeze()).unwrap();
        batch.check_crc().unwrap();
        let read: Vec<_> = batch.records(&Limits::default()).unwrap().map(Result::unwrap).collect();
        let expected: Vec<_> =
            parts.iter().enumerate().map(|(at, parts)| expected(at, parts)).collect();
        prop_assert_eq!(read, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn hostile_batches_are_refused_or_read(
        codec in 0..5_usize,
        parts in prop::collection::vec(record_parts(), 1..4),
        flips in prop::collection::vec((any::<Index>(), any::<u8>()), 0..6),
        cut in any::<Index>(),
        random in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut bytes = built(CODECS[codec], &parts).bytes().to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let cut = bytes[..cut.index(bytes.len())].to_vec();
        for bytes in [bytes, cut, random] {
            drop(BatchView::parse(bytes.clone().into()));
            for batch in BatchView::split(bytes.into()).into_iter().flatten() {
                let rules = Rules {
                    max_bytes: 1 << 20,
                    compacted: true,
                    log_append_time: false,
                    now: Millis(0),
                    before_max_ms: 0,
                    after_max_ms: i64::MAX,
                    limits: Limits { max_bytes: 1 << 20 },
                };
                // What passes the check is read to its end by whoever reads it.
                let checked = Check::begin(batch.bytes().clone(), rules).and_then(Check::finish);
                if checked.is_ok() {
                    let read = batch.records(&rules.limits).unwrap();
                    prop_assert!(read.map(Result::unwrap).count() > 0);
                }
                if let Ok(records) = batch.records(&rules.limits) {
                    prop_assert!(records.count() <= 1 << 20);
                }
            }
        }
    }
}
