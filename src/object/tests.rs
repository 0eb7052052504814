use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    env::sim::proof::{each_turned_bit, grouped},
    types::{
        ByteCount, Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId, ProducerEpoch,
        ProducerId, TopicId,
    },
};

fn partition(topic: u128, index: i32) -> PartitionId {
    PartitionId { topic: TopicId(Uuid::from_u128(topic)), index }
}

fn batch(base: i64, records: i64, bytes: &'static [u8]) -> BatchInput {
    BatchInput {
        bytes: Bytes::from_static(bytes),
        base: Offset(base),
        end: Offset(base + records),
        max_timestamp: Millis(1000 + base),
        append_ms: Millis(2000 + base),
        leader_epoch: LeaderEpoch(1),
    }
}

fn snapshot() -> ProducerSnapshot {
    ProducerSnapshot {
        producer_id: ProducerId(17),
        epoch: ProducerEpoch(3),
        last_append: Millis(2001),
        batches: vec![ProducerBatch {
            first_sequence: 4,
            last_sequence: 5,
            base_offset: Offset(1),
            end_offset: Offset(3),
            append_ms: Millis(2001),
        }],
        transaction: Some(OpenTransaction { first_offset: Offset(1), started: Millis(2001) }),
        coordinator_epoch: -1,
    }
}

fn aborted() -> AbortedTransaction {
    AbortedTransaction {
        producer_id: ProducerId(17),
        first_offset: Offset(0),
        last_offset: Offset(2),
        last_stable_offset: Offset(0),
    }
}

fn small() -> Built {
    let mut builder = Builder::new(ObjectId(0x51), Incarnation(6), ByteCount(8));
    let run = RunInput {
        partition: partition(1, 0),
        batches: vec![
            batch(0, 1, b"first"),
            BatchInput { leader_epoch: LeaderEpoch(4), ..batch(1, 2, b"second") },
            batch(3, 1, b"third"),
        ],
        producers: vec![snapshot()],
        aborted: vec![aborted()],
    };
    builder.push_run(run).unwrap();
    let other = RunInput {
        partition: partition(1, 1),
        batches: vec![batch(40, 2, b"other")],
        producers: Vec::new(),
        aborted: Vec::new(),
    };
    builder.push_run(other).unwrap();
    builder.finish()
}

fn whole(built: &Built) -> Bytes {
    built.payload.concat().into()
}

#[test]
fn the_bytes_are_golden() {
    let hex: String = whole(&small()).iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = include_str!("golden.hex").split_whitespace().collect::<String>();
    assert_eq!(hex, golden);
}

#[test]
fn what_was_built_is_read_back() {
    let built = small();
    let bytes = whole(&built);
    assert_eq!(built.bytes, length(&bytes));
    let tail = bytes.slice(bytes.len() - index(TRAILER_BYTES)..);
    let range = Footer::locate(built.bytes, &tail).unwrap();
    let tail = bytes.slice(index(range.start)..);
    assert_eq!(&tail, built.tail());
    let footer = Footer::decode(built.bytes, &tail).unwrap();
    assert_eq!((footer.object, footer.incarnation), (ObjectId(0x51), Incarnation(6)));
    let run = footer.find(partition(1, 0), Offset(2)).unwrap();
    assert_eq!((run.base, run.end), (Offset(0), Offset(4)));
    assert_eq!(run.producers().unwrap(), [snapshot()]);
    assert_eq!(run.aborted, [aborted()]);
    let epochs: Vec<_> = run.epochs.iter().map(|at| (at.epoch.0, at.start.0)).collect();
    assert_eq!(epochs, [(1, 0), (4, 1)]);
    // The first two batches fill a block of 8 bytes, the third begins another.
    assert_eq!(run.blocks.len(), 2);
    let block = &run.blocks[run.block_of(Offset(2)).unwrap()];
    let content = bytes.slice(index(block.range.start)..index(block.range.end));
    assert_eq!(content, b"firstsecond".as_slice());
    check_block(&content, block.crc()).unwrap();
    assert_eq!(run.block_of(Offset(3)), Some(1));
    assert_eq!(run.block_of(Offset(4)), None);
    assert_eq!(run.block_of_time(Millis(1002)), Some(1));
    assert_eq!(run.block_of_time(Millis(1004)), None);
    assert_eq!(footer.find(partition(1, 0), Offset(4)), None);
    assert_eq!(footer.find(partition(1, 1), Offset(39)), None);
    assert_eq!(footer.find(partition(1, 1), Offset(41)).unwrap().base, Offset(40));
}

#[test]
fn every_flipped_bit_of_a_footer_is_seen() {
    let built = small();
    let tail = built.tail();
    for bit in 0..tail.len() * 8 {
        let mut flipped = tail.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Footer::decode(built.bytes, &flipped.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn every_flipped_bit_of_a_block_is_seen() {
    let built = small();
    let bytes = whole(&built);
    let footer = Footer::decode(built.bytes, built.tail()).unwrap();
    for block in footer.runs().iter().flat_map(|run| &run.blocks) {
        let content = &bytes[index(block.range.start)..index(block.range.end)];
        for bit in 0..content.len() * 8 {
            let mut flipped = content.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(check_block(&flipped, block.crc()).is_err());
        }
        assert!(check_block(&content[1..], block.crc()).is_err());
    }
}

#[test]
fn a_footer_cut_short_or_of_another_length_is_refused() {
    let built = small();
    let tail = built.tail();
    for start in 1..=tail.len() {
        assert!(Footer::decode(built.bytes, &tail.slice(start..)).is_err());
    }
    assert!(Footer::decode(built.bytes + 1, tail).is_err());
    assert!(Footer::decode(built.bytes - 1, tail).is_err());
}

#[test]
fn runs_and_batches_out_of_order_are_refused() {
    let run = |index, base, second| RunInput {
        partition: partition(1, index),
        batches: vec![batch(base, 5, b"one"), batch(second, 1, b"two")],
        producers: Vec::new(),
        aborted: Vec::new(),
    };
    let fresh = || Builder::new(ObjectId(1), Incarnation(1), BLOCK_BYTES);
    assert!(fresh().push_run(run(0, 10, 14)).is_err());
    let mut builder = fresh();
    builder.push_run(run(1, 10, 15)).unwrap();
    assert!(builder.push_run(run(1, 15, 20)).is_err());
    let mut builder = fresh();
    builder.push_run(run(1, 10, 15)).unwrap();
    assert!(builder.push_run(run(0, 16, 21)).is_err());
}

#[test]
fn record_bytes_are_not_copied() {
    let bytes = Bytes::from(vec![7; 100]);
    let mut builder = Builder::new(ObjectId(1), Incarnation(1), BLOCK_BYTES);
    let input = BatchInput { bytes: bytes.clone(), ..batch(0, 1, b"") };
    let (producers, aborted) = (Vec::new(), Vec::new());
    let run = RunInput { partition: partition(1, 0), batches: vec![input], producers, aborted };
    builder.push_run(run).unwrap();
    assert_eq!(builder.finish().payload[0].as_ptr(), bytes.as_ptr());
}

prop_compose! {
    fn batches()(
        shapes in prop::collection::vec(
            (1i64..20, 1usize..40, 0i64..1000, any::<bool>()), 1..20
        ),
        first in 0i64..1000,
    ) -> Vec<BatchInput> {
        let (mut base, mut epoch) = (Offset(first), 1);
        shapes.into_iter().map(|(records, bytes, time, change)| {
            epoch += i32::from(change);
            let start = base;
            base = base.advance(records);
            BatchInput {
                bytes: vec![u8::try_from(bytes).unwrap(); bytes].into(),
                base: start,
                end: base,
                max_timestamp: Millis(time),
                append_ms: Millis(time / 2),
                leader_epoch: LeaderEpoch(epoch),
            }
        }).collect()
    }
}

proptest! {
    #[test]
    fn any_object_reads_back_as_a_naive_list_of_batches(
        runs in prop::collection::btree_map((1u128..4, 0i32..4), batches(), 0..8),
        block_bytes in 1u64..100,
    ) {
        let mut builder = Builder::new(ObjectId(1), Incarnation(1), ByteCount(block_bytes));
        for ((topic, index), batches) in &runs {
            let (producers, aborted) = (Vec::new(), Vec::new());
            let (partition, batches) = (partition(*topic, *index), batches.clone());
            builder.push_run(RunInput { partition, batches, producers, aborted }).unwrap();
        }
        let built = builder.finish();
        let bytes = whole(&built);
        let footer = Footer::decode(built.bytes, built.tail()).unwrap();
        prop_assert_eq!(footer.runs().len(), runs.len());
        for ((topic, index), batches) in &runs {
            for (at, wanted) in batches.iter().enumerate() {
                let run = footer.find(partition(*topic, *index), Offset(wanted.end.0 - 1)).unwrap();
                let block = &run.blocks[run.block_of(wanted.base).unwrap()];
                let range = super::index(block.range.start)..super::index(block.range.end);
                let content = &bytes[range];
                check_block(content, block.crc()).unwrap();
                // Naive: skip the batches of this block that come before the wanted one.
                let skip: usize = batches[..at]
                    .iter()
                    .filter(|batch| batch.base >= block.base)
                    .map(|batch| batch.bytes.len())
                    .sum();
                prop_assert_eq!(&content[skip..skip + wanted.bytes.len()], wanted.bytes.as_ref());
                let epoch = run.epochs.iter().rfind(|epoch| epoch.start <= wanted.base).unwrap();
                prop_assert_eq!(epoch.epoch, wanted.leader_epoch);
            }
            let run = footer.find(partition(*topic, *index), batches[0].base).unwrap();
            let greatest = batches.iter().map(|batch| batch.max_timestamp).max();
            prop_assert_eq!(Some(run.max_timestamp), greatest);
            let first_at_500 = batches.iter().find(|batch| batch.max_timestamp >= Millis(500));
            let block = run.block_of_time(Millis(500)).map(|block| &run.blocks[block]);
            prop_assert_eq!(first_at_500.is_some(), block.is_some());
            if let (Some(batch), Some(block)) = (first_at_500, block) {
                prop_assert!(block.base <= batch.base);
            }
        }
    }

    #[test]
    fn hostile_bytes_are_refused_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let random = Bytes::from(bytes.clone());
        prop_assert!(Footer::decode(length(&bytes), &random).is_err());
        prop_assert!(decode_producers(random).map_or(0, |list| list.len()) <= bytes.len());
        // Sealed as a footer, so that the parser and the checks behind it see the bytes too.
        let built = small();
        let footer = built.tail().slice(..built.tail().len() - index(TRAILER_BYTES));
        let mut mutated = footer.to_vec();
        for (at, byte) in flips {
            let at = at.index(mutated.len());
            mutated[at] = byte;
        }
        for inner in [mutated, bytes] {
            let mut sealed = inner.clone();
            sealed.extend_from_slice(&u32::try_from(inner.len()).unwrap().to_be_bytes());
            sealed.extend_from_slice(&crate::crc::crc32c(&inner).to_be_bytes());
            sealed.extend_from_slice(b"\0\x01\0\0STRANDOB");
            let object_bytes = built.bytes - length(&footer) + length(&inner);
            if let Ok(footer) = Footer::decode(object_bytes, &sealed.into()) {
                prop_assert!(footer.runs().len() <= inner.len());
            }
        }
    }
}

#[test]
fn every_turned_bit_of_an_object_is_seen() {
    let built = small();
    let bytes = whole(&built);
    let tail_at = bytes.len() - built.tail().len();
    let good = Footer::decode(built.bytes, built.tail()).unwrap();
    let blocks: Vec<_> = good.runs().iter().flat_map(|run| run.blocks.clone()).collect();
    let turned = each_turned_bit(&bytes, |bit, turned| {
        let turned = Bytes::copy_from_slice(turned);
        match Footer::decode(built.bytes, &turned.slice(tail_at..)) {
            Err(_) => {}
            Ok(footer) if bit / 8 >= tail_at => panic!("bit {bit}: {footer:?}"),
            Ok(footer) => {
                assert_eq!(footer, good);
                let holds = |block: &&Block| {
                    let range = index(block.range.start)..index(block.range.end);
                    check_block(&turned.slice(range), block.crc()).is_err()
                };
                assert_eq!(blocks.iter().filter(holds).count(), 1, "bit {bit} of a block");
            }
        }
    });
    println!("layer bit-flips: {} images of an object", grouped(turned));
}
