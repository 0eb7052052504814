//! What must hold for any bytes taken for record batches or compressed records.
//!
//! Owns: the properties, and good bytes to start from. Does not own: where bytes come from
//! (`crate::hostile`). Invariant: a property panics when it is broken and for nothing else.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    BatchBuilder, BatchView, Check, Checked, Compression, HEADER_BYTES, Header, Limits, Record,
    Reject, Rules, Stamp, Timestamps, batch::write_crc, compress, recompress, stamped_header,
};
use crate::types::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId};

const LIMITS: Limits = Limits { max_bytes: 1 << 20 };
const EVERY: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn codec(of: u8) -> Compression {
    let at = usize::from(of) % EVERY.len();
    EVERY.get(at).copied().unwrap_or(Compression::None)
}

/// Batches one after the other, as they are and with length, magic and CRC made right.
pub fn batches(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(views) = BatchView::split(bytes.clone()) {
        let whole: Vec<u8> = views.iter().flat_map(|view| view.bytes().to_vec()).collect();
        assert_eq!(whole, bytes, "batches are the bytes they were split from");
        views.iter().for_each(one);
    }
    if let Some(view) = put_right(&bytes) {
        one(&view);
    }
}

/// What a broker that reads only headers would have to believe: everything but the fields it sets.
fn put_right(bytes: &Bytes) -> Option<BatchView> {
    let mut forged = BytesMut::from(bytes.as_ref());
    let length = i32::try_from(bytes.len().checked_sub(12)?).ok()?;
    forged.get_mut(..8)?.fill(0);
    forged.get_mut(8..12)?.copy_from_slice(&length.to_be_bytes());
    *forged.get_mut(16)? = 2;
    write_crc(&mut forged);
    BatchView::parse(forged.freeze()).ok()
}

fn one(view: &BatchView) {
    assert_eq!(BatchView::parse(view.bytes().clone()).as_ref(), Ok(view));
    assert!(view.end_offset() > view.base_offset(), "a batch takes an offset at least");
    assert!(view.last_sequence() >= view.base_sequence().min(0), "sequences wrap to 0, not below");
    if let Ok(records) = view.records(&LIMITS) {
        let given = records.count();
        let stated = usize::try_from(view.record_count()).unwrap_or(0);
        assert!(given <= stated.saturating_add(1), "an error is the last item");
    }
    for (compacted, log_append_time) in [(true, false), (false, false), (false, true)] {
        let rules = Rules {
            max_bytes: 1 << 20,
            compacted,
            log_append_time,
            now: Millis(1_000_000),
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
            limits: LIMITS,
        };
        if let Ok(checked) = check(view, &rules) {
            accepted(view, &rules, &checked);
        }
    }
}

fn check(view: &BatchView, rules: &Rules) -> Result<Checked, Reject> {
    Check::begin(view.bytes().clone(), *rules)?.finish()
}

fn accepted(view: &BatchView, rules: &Rules, checked: &Checked) {
    view.check_crc().expect("an accepted batch has its CRC");
    assert_eq!(i64::from(view.record_count()), view.offset_count());
    stamped(view, rules, checked);
    let records = all(view);
    let offsets = records.iter().map(|record| record.offset);
    assert!(offsets.eq((0..view.offset_count()).map(Offset)), "offsets count up from the base");
    let latest = records.iter().map(|record| record.timestamp).max().unwrap_or(Millis(-1));
    let told = checked.corrected_max_timestamp.unwrap_or(view.max_timestamp());
    assert_eq!(told, latest.max(Millis(-1)), "the latest time is the records'");
    assert!(!rules.compacted || records.iter().all(|record| record.key.is_some()));

    let other = codec(view.bytes().last().copied().unwrap_or(0));
    let again = recompress(view, other, None, 2 << 20).expect("an opened batch is packed again");
    again.check_crc().expect("with its CRC");
    assert_eq!(all(&again), records, "in another codec the records are the same");
    if again.bytes().len() <= rules.max_bytes {
        check(&again, rules).expect("what was accepted is accepted in another codec");
    }
}

fn all(view: &BatchView) -> Vec<Record> {
    let records = view.records(&LIMITS).expect("an accepted batch opens");
    records.map(|record| record.expect("an accepted batch has whole records")).collect()
}

fn stamped(view: &BatchView, rules: &Rules, checked: &Checked) {
    let (base_offset, leader_epoch) = (Offset(1 << 40), LeaderEpoch(7));
    let timestamps = match checked.corrected_max_timestamp {
        _ if rules.log_append_time => Timestamps::LogAppend(rules.now),
        Some(max) => Timestamps::Max(max),
        None => Timestamps::Keep,
    };
    let stamp = Stamp { base_offset, leader_epoch, timestamps };
    let mut bytes = BytesMut::from(&stamped_header(view, &stamp)[..]);
    bytes.extend_from_slice(&view.body());
    let stamped = BatchView::parse(bytes.freeze()).expect("a stamped batch is a batch");
    stamped.check_crc().expect("with its CRC");
    assert_eq!((stamped.base_offset(), stamped.leader_epoch()), (base_offset, leader_epoch));
    assert_eq!(stamped.offset_count(), view.offset_count());
    assert_eq!(stamped.body(), view.body(), "stamping leaves records alone");
}

/// A codec's number and bytes taken for its output.
pub fn compressed(bytes: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(bytes);
    let Ok(first) = bytes.try_get_u8() else { return };
    let codec = codec(first);
    let Ok(data) = compress::decompress(codec, &bytes, &LIMITS) else { return };
    assert!(data.len() <= LIMITS.max_bytes, "the limit holds");
    let packed = compress::compress(codec, None, &data).expect("any bytes can be packed");
    let again = compress::decompress(codec, &packed, &LIMITS);
    assert_eq!(again.as_ref(), Ok(&data), "what was packed opens to the same");
}

/// Good batches.
#[must_use]
pub fn batch_seeds() -> Vec<Vec<u8>> {
    let header = |key: &'static [u8], value| Header { key: Bytes::from_static(key), value };
    let headers = [header(b"h", Some(Bytes::from_static(b"v"))), header(b"", None)];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for codec in EVERY {
        let mut builder = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(1), 5);
        builder.push_with_headers(Millis(1_000_000), Some(b"key"), Some(b"value"), &headers);
        builder.push(Millis(999_000), Some(b"key"), Some(&[b'x'; 200]));
        builder.push(Millis(999_500), Some(b""), None);
        seeds.push(builder.build().expect("a good batch").bytes().to_vec());
    }
    let mut bare = BatchBuilder::new(Compression::None);
    bare.push(Millis(-1), None, Some(b"v"));
    seeds.push(bare.build().expect("a good batch").bytes().to_vec());
    let mut marker = BatchBuilder::new(Compression::None).transactional().control();
    marker.push(Millis(5), Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 1]));
    seeds.push(marker.build().expect("a good batch").bytes().to_vec());
    let joined: Vec<u8> = seeds.iter().flatten().copied().collect();
    assert!(joined.len() > HEADER_BYTES * seeds.len(), "each has records");
    seeds.push(joined);
    seeds
}

/// Good output of every codec.
#[must_use]
pub fn compressed_seeds() -> Vec<Vec<u8>> {
    let text = Bytes::from(b"strandline keeps what the sea brings, ".repeat(40));
    let mut seeds = Vec::new();
    for (number, codec) in (0_u8..).zip(EVERY) {
        for data in [Bytes::new(), Bytes::from_static(b"a"), text.clone()] {
            let packed = compress::compress(codec, None, &data).expect("any bytes can be packed");
            seeds.push([&[number][..], &packed].concat());
        }
    }
    let bare = snap::raw::Encoder::new().compress_vec(&text).expect("any bytes can be packed");
    seeds.push([&[2][..], &bare].concat());
    seeds
}
