use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    env::sim::proof::{each_turned_bit, grouped},
    types::TopicId,
};

fn partition() -> PartitionId {
    PartitionId { topic: TopicId(Uuid::from_u128(7)), index: 3 }
}

fn run(object: u64, base: i64, end: i64) -> Run {
    Run {
        object: ObjectId(object),
        incarnation: Incarnation(5),
        nonce: 0x0123_4567_89ab_cdef,
        object_bytes: 1_000_000,
        leader_epoch: LeaderEpoch(2),
        base: Offset(base),
        end: Offset(end),
        bytes: 4096,
        max_timestamp: Millis(1_700_000_000_000),
        last_append: Millis(1_700_000_000_123),
    }
}

#[test]
fn the_bytes_are_golden() {
    let manifest = Manifest::empty(partition(), Offset(10)).with_runs([run(9, 10, 20)]).unwrap();
    let hex: String = manifest.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = include_str!("golden.hex").split_whitespace().collect::<String>();
    assert_eq!(hex, golden);
    assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
}

#[test]
fn a_gap_is_refused() {
    let manifest = Manifest::empty(partition(), Offset(10)).with_runs([run(9, 10, 20)]).unwrap();
    let gap = manifest.with_runs([run(10, 21, 30)]);
    assert_eq!(gap, Err(Error::Gap { expected: Offset(20), found: Offset(21) }));
}

#[test]
fn a_version_without_runs_goes_on_above_what_was_deleted() {
    let full = Manifest::empty(partition(), Offset(0)).with_runs([run(1, 0, 5)]).unwrap();
    let (empty, dropped) = full.emptied(Offset(5));
    assert_eq!(dropped, [ObjectId(1)]);
    let next = empty.with_runs([run(2, 8, 9), run(3, 9, 12)]).unwrap();
    assert_eq!((next.version(), next.start(), next.end()), (3, Offset(8), Offset(12)));
    assert_eq!(Manifest::decode(&next.encode()), Ok(next));
    assert!(empty.with_runs([run(2, 3, 5)]).is_err());
    assert_eq!(empty.with_runs([run(2, 3, 9)]).unwrap().start(), Offset(5));
}

#[test]
fn producers_stay_when_the_last_run_goes_and_yield_to_the_next_run() {
    let full = Manifest::empty(partition(), Offset(0)).with_runs([run(1, 0, 5)]).unwrap();
    let (empty, dropped) = full.without_below(Offset(5));
    assert_eq!(dropped, [ObjectId(1)]);
    assert_eq!((empty.start(), empty.end()), (Offset(5), Offset(5)));
    let empty = empty.with_producers(Bytes::from_static(b"state"));
    assert_eq!(Manifest::decode(&empty.encode()), Ok(empty.clone()));
    assert!(empty.with_runs([run(2, 5, 6)]).unwrap().producers().is_empty());
}

#[test]
fn every_flipped_bit_is_seen() {
    let manifest = Manifest::empty(partition(), Offset(0)).with_runs([run(1, 0, 5)]).unwrap();
    let bytes = manifest.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Manifest::decode(&flipped.into()).is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn finds_what_a_naive_scan_finds(
        lengths in prop::collection::vec(1i64..50, 0..30),
        first in 0i64..100,
        below in 0i64..2000,
        wanted in 0i64..2000,
    ) {
        let mut base = first;
        let runs: Vec<Run> = lengths
            .iter()
            .zip(1..)
            .map(|(length, object)| {
                let run = run(object, base, base + length);
                base = run.end.0;
                run
            })
            .collect();
        let full = Manifest::empty(partition(), Offset(first)).with_runs(runs.clone()).unwrap();
        let (cut, dropped) = full.without_below(Offset(below));
        let below = below.clamp(first, base);
        let gone: Vec<ObjectId> =
            runs.iter().filter(|run| run.end.0 <= below).map(|run| run.object).collect();
        prop_assert_eq!(&dropped, &gone);
        let naive = runs
            .iter()
            .find(|run| run.end.0 > below && (run.base.0..run.end.0).contains(&wanted));
        prop_assert_eq!(cut.find(Offset(wanted)), naive);
        let rest = runs.iter().filter(|run| run.end.0 > below && run.end.0 > wanted);
        prop_assert!(cut.runs_from(Offset(wanted)).iter().eq(rest));
        prop_assert_eq!(Manifest::decode(&cut.encode()), Ok(cut));
    }

    #[test]
    fn hostile_bytes_are_refused_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        prop_assert!(Manifest::decode(&bytes.clone().into()).is_err());
        // With a header that is right, so that the parser sees the bytes too.
        let mut sealed = b"STRANDMF\0\x01\0\0".to_vec();
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes);
        sealed.extend_from_slice(&u32::try_from(crc).unwrap().to_be_bytes());
        sealed.extend_from_slice(&bytes);
        if let Ok(manifest) = Manifest::decode(&sealed.into()) {
            prop_assert!(manifest.runs().len() <= bytes.len());
        }
    }
}

#[test]
fn every_turned_bit_of_a_manifest_is_seen() {
    let manifest = Manifest::empty(partition(), Offset(10));
    let manifest = manifest.with_runs([run(9, 10, 20), run(10, 20, 31)]).unwrap();
    let turned = each_turned_bit(&manifest.encode(), |bit, turned| {
        let found = Manifest::decode(&Bytes::copy_from_slice(turned));
        assert!(found.is_err(), "bit {bit}: {found:?}");
    });
    println!("layer bit-flips: {} images of a manifest", grouped(turned));
}
