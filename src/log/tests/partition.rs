//! What a client may rely on of one partition.

use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::{
    env::{bugs::Bug, sim::proof::catches_waiting},
    log::{
        AppendError, Appended, DeleteError, Origin, Pending, ReadError, SequenceError, TimeMatch,
    },
    object::{ProducerBatch, ProducerSnapshot},
    record::{Limits, Reject, TimestampType},
    replication::Sink,
};

async fn append(partition: &Arc<Partition>, batch: &BatchView) -> Result<Appended, AppendError> {
    let pending = partition.append(batch.bytes().clone(), Origin::Client).await?;
    soon(pending.committed()).await
}

async fn pending(partition: &Arc<Partition>, batch: &BatchView) -> Pending {
    partition.append(batch.bytes().clone(), Origin::Client).await.unwrap()
}

async fn read(partition: &Partition, from: i64) -> Vec<(i64, i64, i32)> {
    shapes(&soon(partition.read(Offset(from), usize::MAX, true)).await.unwrap().batches)
}

/// Lets batches below `end` be in the bucket, and nowhere else if `only`.
fn publish(bench: &Bench, partition: &Partition, batches: Vec<Bytes>, end: i64, only: bool) {
    let views = batches.into_iter().map(|bytes| BatchView::parse(bytes).unwrap());
    bench.shelf.set(|inner| inner.batches = views.collect());
    partition.update(Offset(0), Offset(end), &partition.config());
    if only {
        partition.ledger.evicted(Offset(end));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_get_offsets_in_order_and_are_read_back() {
    let bench = Bench::new();
    let partition = bench.open(7, &[]);
    for (records, base) in [(2, 7), (1, 9), (3, 10)] {
        let appended = append(&partition, &batch(&vec![0; records])).await.unwrap();
        let expected =
            Appended { base_offset: Offset(base), log_append_time: None, log_start: Offset(0) };
        assert_eq!(appended, expected);
    }
    assert_eq!(partition.high_watermark(), Offset(13));
    assert_eq!(read(&partition, 7).await, [(7, 9, 3), (9, 10, 3), (10, 13, 3)]);
    assert_eq!(read(&partition, 11).await, [(10, 13, 3)]);
    assert_eq!(read(&partition, 13).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_seen_before_it_is_committed() {
    see_nothing_early(Bugs::NONE).await;
}

async fn see_nothing_early(bugs: Bugs) {
    let bench = Bench::with_bugs(bugs);
    // Whatever goes wrong, the WAL thread must come to its end.
    let _open = OpenAtLast(bench.gate.clone());
    let partition = bench.open(0, &[]);
    bench.gate.shut();
    let first = pending(&partition, &batch(&[0])).await;
    assert_eq!(first.base_offset(), Offset(0));
    assert_eq!(partition.high_watermark(), Offset(0));
    // At or below the log end: nothing there yet, but not out of range.
    assert_eq!(read(&partition, 0).await, []);
    assert_eq!(read(&partition, 1).await, []);
    bench.gate.open();
    soon(first.committed()).await.unwrap();
    assert_eq!(read(&partition, 0).await, [(0, 1, 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_gets_the_originals_offset_and_not_before_it_is_committed() {
    retry_early(Bugs::NONE).await;
}

#[test]
fn each_mistake_in_what_is_shown_too_early_is_caught() {
    catches_waiting("a partition over a held disk", Bug::HighWatermarkEarly, see_nothing_early);
    catches_waiting("a partition over a held disk", Bug::DuplicateEarly, retry_early);
}

struct OpenAtLast(Arc<Gate>);

impl Drop for OpenAtLast {
    fn drop(&mut self) {
        self.0.open();
    }
}

async fn retry_early(bugs: Bugs) {
    let bench = Bench::with_bugs(bugs);
    let _open = OpenAtLast(bench.gate.clone());
    let partition = bench.open(0, &[]);
    append(&partition, &batch(&[0])).await.unwrap();
    bench.gate.shut();
    let original = pending(&partition, &sequenced(4, 0, 0, 2)).await;
    let retry = pending(&partition, &sequenced(4, 0, 0, 2)).await;
    assert_eq!(retry.base_offset(), Offset(1));
    let mut retry = tokio::spawn(retry.committed());
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut retry).await.is_err());
    bench.gate.open();
    assert_eq!(soon(retry).await.unwrap().unwrap().base_offset, Offset(1));
    assert_eq!(soon(original.committed()).await.unwrap().base_offset, Offset(1));
    assert_eq!(append(&partition, &sequenced(4, 0, 0, 2)).await.unwrap().base_offset, Offset(1));
    assert_eq!(partition.high_watermark(), Offset(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_out_of_order_leaves_no_trace() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    append(&partition, &sequenced(4, 1, 0, 2)).await.unwrap();
    let gap = append(&partition, &sequenced(4, 1, 3, 1)).await.unwrap_err();
    assert_eq!(gap, SequenceError::OutOfOrder { expected: 2, found: 3 }.into());
    let old = append(&partition, &sequenced(4, 0, 2, 1)).await.unwrap_err();
    assert_eq!(old, SequenceError::OldEpoch { newest: 1, found: 0 }.into());
    assert_eq!(append(&partition, &sequenced(4, 1, 2, 1)).await.unwrap().base_offset, Offset(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_knows_the_producers_of_the_old_one() {
    let bench = Bench::new();
    let original = ProducerBatch {
        first_sequence: 5,
        last_sequence: 6,
        base_offset: Offset(40),
        end_offset: Offset(42),
        append_ms: NOW,
    };
    bench.shelf.set(|inner| {
        inner.producers = vec![ProducerSnapshot {
            producer_id: ProducerId(4),
            epoch: ProducerEpoch(0),
            last_append: NOW,
            batches: vec![original],
            transaction: None,
            coordinator_epoch: -1,
        }];
        inner.gone = 1;
    });
    let partition = bench.open(42, &[]);
    append(&partition, &batch(&[0])).await.unwrap();
    assert_eq!(bench.shelf.set(|inner| inner.producers_asked), 0);
    assert_eq!(append(&partition, &sequenced(4, 0, 5, 2)).await.unwrap().base_offset, Offset(40));
    assert_eq!(append(&partition, &sequenced(4, 0, 7, 1)).await.unwrap().base_offset, Offset(43));
    assert_eq!(bench.shelf.set(|inner| inner.producers_asked), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_producer_state_no_idempotent_batch_is_taken() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    bench.shelf.set(|inner| inner.away = true);
    let refused = append(&partition, &sequenced(4, 0, 0, 1)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    append(&partition, &batch(&[0])).await.unwrap();
    bench.shelf.set(|inner| inner.away = false);
    assert_eq!(append(&partition, &sequenced(4, 0, 0, 1)).await.unwrap().base_offset, Offset(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_append_time_is_stamped_and_told_again_to_a_retry() {
    let bench = Bench::new();
    let partition = bench.open(0, &[("message.timestamp.type", "LogAppendTime")]);
    let first = append(&partition, &sequenced(4, 0, 0, 2)).await.unwrap();
    assert_eq!(first.log_append_time, Some(NOW));
    bench.clock.pass(Duration::from_secs(5));
    let retry = append(&partition, &sequenced(4, 0, 0, 2)).await.unwrap();
    assert_eq!(retry.log_append_time, Some(NOW));
    let batches = partition.read(Offset(0), 1, true).await.unwrap().batches;
    let view = BatchView::parse(batches[0].clone()).unwrap();
    view.check_crc().unwrap();
    assert_eq!(view.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(view.max_timestamp(), NOW);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topics_own_codec_replaces_the_producers() {
    let bench = Bench::new();
    let partition = bench.open(0, &[("compression.type", "zstd")]);
    append(&partition, &filled(BatchBuilder::new(Compression::Gzip), &[1, 2])).await.unwrap();
    let batches = partition.read(Offset(0), 1, true).await.unwrap().batches;
    let view = BatchView::parse(batches[0].clone()).unwrap();
    view.check_crc().unwrap();
    assert_eq!(view.compression(), Ok(Compression::Zstd));
    let times: Vec<_> =
        view.records(&Limits::default()).unwrap().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(times, [Millis(NOW.0 + 1), Millis(NOW.0 + 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_their_reason() {
    let bench = Bench::new();
    let partition = bench.open(0, &[("max.message.bytes", "100"), ("cleanup.policy", "compact")]);
    let large = append(&partition, &batch(&[0, 0])).await;
    assert!(matches!(large, Err(AppendError::Reject(Reject::TooLarge { max_bytes: 100, .. }))));
    let mut keyless = BatchBuilder::new(Compression::None);
    keyless.push(NOW, None, Some(b"v"));
    let refused = append(&partition, &keyless.build().unwrap()).await;
    assert!(matches!(
        refused,
        Err(AppendError::Reject(Reject::InvalidRecord { records, .. })) if records.len() == 1
    ));
    let partition = bench.open(0, &[]);
    let builder = BatchBuilder::new(Compression::None);
    let builder = builder.producer(ProducerId(1), ProducerEpoch(0), 0).transactional();
    let refused = append(&partition, &filled(builder, &[0])).await;
    assert_eq!(refused, Err(AppendError::NoTransaction));
    let two = [batch(&[0]).bytes().as_ref(), batch(&[0]).bytes()].concat();
    let refused = partition.append(two.into(), Origin::Client).await.unwrap_err();
    assert!(matches!(refused, AppendError::Reject(Reject::Corrupt(_))));
    assert_eq!(partition.high_watermark(), Offset(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_but_for_the_first_batch() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    for _ in 0..4 {
        append(&partition, &batch(&[0])).await.unwrap();
    }
    let one = batch(&[0]).bytes().len();
    for (max_bytes, at_least_one, expected) in
        [(0, false, 0), (0, true, 1), (one - 1, false, 0), (2 * one, false, 2), (one * 9, true, 4)]
    {
        let read = partition.read(Offset(0), max_bytes, at_least_one).await.unwrap();
        assert_eq!(read.batches.len(), expected, "{max_bytes} {at_least_one}");
        assert_eq!(read.high_watermark, Offset(4));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_memory_is_read_from_the_wal_and_then_from_the_bucket() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    for _ in 0..4 {
        append(&partition, &batch(&[0, 0])).await.unwrap();
    }
    let all = [(0, 2, 3), (2, 4, 3), (4, 6, 3), (6, 8, 3)];
    let batches = partition.read(Offset(0), usize::MAX, true).await.unwrap().batches;
    partition.ledger.evicted(Offset(6));
    assert_eq!(partition.bytes_after(Offset(1)), u64::MAX);
    assert_eq!(read(&partition, 0).await, all);
    assert_eq!(read(&partition, 5).await, all[2..]);
    assert!(bench.around.metrics.read_wal_bytes.get() > 0);

    publish(&bench, &partition, batches[..2].to_vec(), 4, true);
    assert_eq!(read(&partition, 0).await, all);
    assert_eq!(read(&partition, 3).await, all[1..]);
    assert!(bench.around.metrics.read_bucket_bytes.get() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_gone_is_looked_for_again_and_never_out_of_range() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    append(&partition, &batch(&[0])).await.unwrap();
    let batches = partition.read(Offset(0), 1, true).await.unwrap().batches;
    publish(&bench, &partition, batches, 1, true);
    bench.shelf.set(|inner| inner.gone = 3);
    assert_eq!(read(&partition, 0).await, [(0, 1, 3)]);
    for away in [false, true] {
        bench.shelf.set(|inner| (inner.gone, inner.away) = (u32::MAX, away));
        let answer = soon(partition.read(Offset(0), 1, true)).await;
        assert!(matches!(answer, Err(ReadError::Unavailable(_))), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_outside_the_log_are_out_of_range() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    for _ in 0..3 {
        append(&partition, &batch(&[0])).await.unwrap();
    }
    assert_eq!(soon(partition.delete_records(Some(Offset(1)))).await, Ok(Offset(1)));
    for outside in [-1, 0, 4] {
        let expected = ReadError::OutOfRange { log_start: Offset(1), high_watermark: Offset(3) };
        assert_eq!(soon(partition.read(Offset(outside), 1, true)).await, Err(expected));
    }
    assert_eq!(read(&partition, 1).await, [(1, 2, 3), (2, 3, 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_deleted_up_to_the_high_watermark_at_most() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    for _ in 0..3 {
        append(&partition, &batch(&[0])).await.unwrap();
    }
    assert_eq!(partition.delete_records(Some(Offset(4))).await, Err(DeleteError::OutOfRange));
    assert_eq!(partition.delete_records(Some(Offset(2))).await, Ok(Offset(2)));
    assert_eq!(partition.delete_records(Some(Offset(1))).await, Ok(Offset(2)));
    assert_eq!(partition.delete_records(None).await, Ok(Offset(3)));
    assert_eq!(bench.shelf.set(|inner| inner.raised.clone()), [Offset(2), Offset(3)]);
    let compacted = bench.open(0, &[("cleanup.policy", "compact")]);
    assert_eq!(compacted.delete_records(None).await, Err(DeleteError::Policy));
    bench.shelf.set(|inner| inner.away = true);
    append(&partition, &batch(&[0])).await.unwrap();
    assert!(matches!(partition.delete_records(None).await, Err(DeleteError::Unknown(_))));
    assert_eq!(partition.log_start(), Offset(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_lead_to_the_very_record_wherever_it_is() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    for times in [[10, 30], [20, 25], [40, 35], [50, 60]] {
        append(&partition, &filled(BatchBuilder::new(Compression::Lz4), &times)).await.unwrap();
    }
    let check = || async {
        let cases =
            [(0, Some((0, 10))), (11, Some((1, 30))), (31, Some((4, 40))), (60, Some((7, 60)))];
        for (time, expected) in cases.into_iter().chain([(61, None)]) {
            let expected = expected.map(|(offset, time)| TimeMatch {
                offset: Offset(offset),
                timestamp: Millis(NOW.0 + time),
                leader_epoch: EPOCH,
            });
            let found = soon(partition.offset_for_time(Millis(NOW.0 + time))).await;
            assert_eq!(found, Ok(expected), "{time}");
        }
        let newest = soon(partition.offset_of_max_timestamp()).await.unwrap().unwrap();
        assert_eq!(newest.offset, Offset(7));
    };
    check().await;
    let batches = partition.read(Offset(0), usize::MAX, true).await.unwrap().batches;
    partition.ledger.evicted(Offset(8));
    check().await;
    publish(&bench, &partition, batches[..2].to_vec(), 4, true);
    check().await;

    partition.delete_records(Some(Offset(5))).await.unwrap();
    let found = partition.offset_for_time(Millis(NOW.0)).await.unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(5), Millis(NOW.0 + 35)));
    assert_eq!(partition.end_of_epoch(EPOCH), Some((EPOCH, Offset(8))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_greatest_time_is_one_of_a_record_that_is_not_deleted_wherever_it_is() {
    // Memory, the WAL, the bucket: deletes, and looks after each what the greatest is now.
    for place in 0..3 {
        let bench = Bench::new();
        let partition = bench.open(0, &[]);
        for (times, codec) in [
            (&[90, 80, 85, 85][..], Compression::Zstd),
            (&[70, 50], Compression::None),
            (&[60, 84, 10], Compression::Lz4),
            (&[20], Compression::None),
        ] {
            append(&partition, &filled(BatchBuilder::new(codec), times)).await.unwrap();
        }
        let batches = partition.read(Offset(0), usize::MAX, true).await.unwrap().batches;
        match place {
            0 => {}
            1 => partition.ledger.evicted(Offset(10)),
            _ => publish(&bench, &partition, batches, 9, true),
        }
        for (start, expected) in [
            (0, Some((0, 90))),
            (1, Some((2, 85))),
            (3, Some((3, 85))),
            (4, Some((7, 84))),
            (8, Some((9, 20))),
            (9, Some((9, 20))),
            (10, None),
        ] {
            partition.delete_records(Some(Offset(start))).await.unwrap();
            let found = soon(partition.offset_of_max_timestamp()).await.unwrap();
            let found = found.map(|found| (found.offset.0, found.timestamp.0 - NOW.0));
            assert_eq!(found, expected, "place {place} from {start}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_lies_about_its_times_hides_nothing() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    // Compressed batches are not opened: the header says 90, the record 0.
    let lying = filled(BatchBuilder::new(Compression::Zstd), &[90]);
    let mut honest = BatchBuilder::new(Compression::Zstd);
    honest.push(NOW, Some(b"key"), Some(&[b'v'; 50]));
    let mut bytes = honest.build().unwrap().bytes().to_vec();
    bytes[35..43].copy_from_slice(&lying.bytes()[35..43]);
    let crc = crc_fast::crc32_iscsi(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    append(&partition, &BatchView::parse(bytes.into()).unwrap()).await.unwrap();
    append(&partition, &batch(&[50])).await.unwrap();
    let found = partition.offset_for_time(Millis(NOW.0 + 40)).await.unwrap().unwrap();
    assert_eq!(found.offset, Offset(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_wake_when_something_is_committed_or_the_partition_closes() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    let waiter = Arc::new(Notify::new());
    partition.wake_on_append(&waiter);
    append(&partition, &batch(&[0])).await.unwrap();
    soon(waiter.notified()).await;
    partition.wake_on_append(&waiter);
    partition.close();
    soon(waiter.notified()).await;
    partition.wake_on_append(&waiter);
    soon(waiter.notified()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_partition_answers_nothing() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    partition.close();
    assert_eq!(append(&partition, &batch(&[0])).await, Err(AppendError::NotLeader));
    assert_eq!(partition.read(Offset(0), 1, true).await, Err(ReadError::NotLeader));
    assert_eq!(partition.barrier().await, Err(ReadError::NotLeader));
    assert_eq!(partition.delete_records(None).await, Err(DeleteError::NotLeader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_wal_has_ended_nothing_is_promised() {
    let bench = Bench::new();
    let partition = bench.open(0, &[]);
    append(&partition, &batch(&[0])).await.unwrap();
    soon(bench.around.replication.stop()).await;
    assert_eq!(append(&partition, &batch(&[0])).await, Err(AppendError::NotLeader));
    assert_eq!(partition.read(Offset(9), 1, true).await, Err(ReadError::NotLeader));
    assert_eq!(read(&partition, 0).await, [(0, 1, 3)]);
}

#[test]
fn an_idle_partition_is_small() {
    assert!(size_of::<Partition>() <= 512, "{}", size_of::<Partition>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Producers retry at will while batches leave memory and WAL: each lands once, in order.
    #[test]
    fn every_read_sees_each_batch_once(
        steps in prop::collection::vec((0..6_u8, 0..3_i64, 1..4_usize), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let partition = bench.open(0, &[]);
            let mut next = [0_i32; 3];
            let mut last: [Option<(BatchView, Offset)>; 3] = [None, None, None];
            let mut expected = Vec::new();
            let mut end = 0;
            for (kind, producer, records) in steps {
                let at = usize::try_from(producer).unwrap();
                match kind {
                    0 => partition.ledger.evicted(Offset(end - i64::try_from(records).unwrap())),
                    1 => {
                        let all = partition.read(Offset(0), usize::MAX, true).await.unwrap();
                        publish(&bench, &partition, all.batches, end, false);
                    }
                    2 => {
                        if let Some((batch, offset)) = &last[at] {
                            let again = append(&partition, batch).await.unwrap();
                            assert_eq!(again.base_offset, *offset);
                        }
                    }
                    _ => {
                        let batch = sequenced(producer, 0, next[at], records);
                        let appended = append(&partition, &batch).await.unwrap();
                        assert_eq!(appended.base_offset, Offset(end));
                        let records = i64::try_from(records).unwrap();
                        expected.push((end, end + records, EPOCH.0));
                        end += records;
                        next[at] = batch.last_sequence() + 1;
                        last[at] = Some((batch, appended.base_offset));
                    }
                }
                assert_eq!(read(&partition, 0).await, expected);
            }
        });
    }
}
