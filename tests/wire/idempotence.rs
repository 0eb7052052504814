//! Idempotent producers (kafka.md I).

use std::collections::BTreeSet;

use proto_kafka::messages::{InitProducerIdRequest, ProduceRequest, TransactionalId};

use crate::{
    broker::{Wire, together},
    requests::{batch_of, create, produce, producer_id, put, put_good},
};

#[test]
fn every_producer_gets_an_id_of_its_own() {
    let _turn = together();
    let mut wire = Wire::open();
    let ids: BTreeSet<_> = (0..1500).map(|_| producer_id(&mut wire)).collect();
    assert_eq!(ids.len(), 1500);
    for version in 0..=5 {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        assert_eq!(wire.call(version, &request).error_code, 0, "version {version}");
    }
}

#[test]
fn a_transactional_id_is_refused_at_once_and_an_empty_one_is_invalid() {
    let _turn = together();
    let code = |id: &'static str| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(id.into())))
            .with_transaction_timeout_ms(60_000);
        Wire::open().call(4, &request).error_code
    };
    assert_eq!((code("tx"), code("")), (53, 42));
}

#[test]
fn a_batch_sent_again_is_acknowledged_with_its_first_offset() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "again-sent", 1, &[]);
    let id = producer_id(&mut wire);
    for sequence in 0..5 {
        put_good(&mut wire, "again-sent", &batch_of(id, 0, sequence, &["x"]));
    }
    for sequence in 0..5 {
        let offset = put_good(&mut wire, "again-sent", &batch_of(id, 0, sequence, &["x"]));
        assert_eq!(offset, i64::from(sequence));
    }
    assert_eq!(put_good(&mut wire, "again-sent", &batch_of(id, 0, 5, &["x"])), 5);
    let forgotten = put(&mut wire, "again-sent", &batch_of(id, 0, 0, &["x"]));
    assert_eq!(forgotten.error_code, 45, "older than the last five");
}

#[test]
fn a_batch_sent_again_is_told_its_time_as_kafka_does() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "again-created", 1, &[]);
    create(&mut wire, "again-stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let id = producer_id(&mut wire);
    let records = batch_of(id, 0, 0, &["x"]);
    assert_eq!(put(&mut wire, "again-created", &records).log_append_time_ms, -1);
    assert_eq!(put(&mut wire, "again-created", &records).log_append_time_ms, 1000);
    let first = put(&mut wire, "again-stamped", &records);
    let again = put(&mut wire, "again-stamped", &records);
    assert!(first.log_append_time_ms > 1000);
    assert_eq!(again.log_append_time_ms, first.log_append_time_ms);
}

#[test]
fn a_refused_sequence_tells_where_the_log_begins() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "refused-sequence", 1, &[]);
    let id = producer_id(&mut wire);
    put_good(&mut wire, "refused-sequence", &batch_of(id, 1, 0, &["x"]));
    for (epoch, sequence, code) in [(1, 7, 45), (0, 1, 47)] {
        let answer = put(&mut wire, "refused-sequence", &batch_of(id, epoch, sequence, &["x"]));
        assert_eq!((answer.error_code, answer.log_start_offset, answer.base_offset), (code, 0, -1));
    }
}

#[test]
fn a_producer_is_known_after_all_its_records_are_deleted() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "deleted-known", 1, &[]);
    let id = producer_id(&mut wire);
    for sequence in 0..3 {
        put_good(&mut wire, "deleted-known", &batch_of(id, 0, sequence, &["x"]));
    }
    assert_eq!(crate::offsets::delete_records(&mut wire, "deleted-known", -1), (0, 3));
    let again = put(&mut wire, "deleted-known", &batch_of(id, 0, 2, &["x"]));
    assert_eq!((again.error_code, again.base_offset, again.log_start_offset), (0, 2, 3));
    let gap = put(&mut wire, "deleted-known", &batch_of(id, 0, 4, &["x"]));
    assert_eq!((gap.error_code, gap.log_start_offset), (45, 3));
    assert_eq!(put_good(&mut wire, "deleted-known", &batch_of(id, 0, 3, &["x"])), 3);
}

#[test]
fn a_producer_id_without_a_sequence_is_invalid() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "no-sequence", 1, &[]);
    assert_eq!(put(&mut wire, "no-sequence", &batch_of(5, 0, -1, &["x"])).error_code, 87);
}

#[test]
fn who_brings_its_old_id_gets_a_new_one_in_epoch_0() {
    let _turn = together();
    let mut wire = Wire::open();
    let old = producer_id(&mut wire);
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id(old.into())
        .with_producer_epoch(3);
    for version in 3..=5 {
        let answer = wire.call(version, &request);
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        assert_ne!(answer.producer_id.0, old, "version {version}");
    }
}

#[test]
fn half_an_old_id_is_an_invalid_request() {
    let _turn = together();
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let requests = [request.clone().with_producer_id(5.into()), request.with_producer_epoch(5)];
    for request in requests {
        let answer = Wire::open().call(4, &request);
        let told = (answer.error_code, answer.producer_id.0, answer.producer_epoch);
        assert_eq!(told, (42, -1, -1));
    }
}

#[test]
fn a_gap_an_old_epoch_and_a_new_epochs_late_start_are_refused() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "fenced", 1, &[]);
    let id = producer_id(&mut wire);
    put_good(&mut wire, "fenced", &batch_of(id, 3, 0, &["x", "y"]));
    assert_eq!(put(&mut wire, "fenced", &batch_of(id, 3, 3, &["x"])).error_code, 45);
    assert_eq!(put(&mut wire, "fenced", &batch_of(id, 2, 0, &["x"])).error_code, 47);
    assert_eq!(put(&mut wire, "fenced", &batch_of(id, 4, 1, &["x"])).error_code, 45);
    put_good(&mut wire, "fenced", &batch_of(id, 4, 0, &["x"]));
}

#[test]
fn a_batch_that_overlaps_one_before_is_out_of_order() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "overlaps", 1, &[]);
    let id = producer_id(&mut wire);
    put_good(&mut wire, "overlaps", &batch_of(id, 0, 0, &["a", "b", "c"]));
    for (first, values) in [(0, &["a", "b"][..]), (1, &["b", "c"]), (2, &["c", "d"])] {
        let answer = put(&mut wire, "overlaps", &batch_of(id, 0, first, values));
        assert_eq!((answer.error_code, answer.base_offset), (45, -1), "from {first}");
    }
    assert_eq!(put_good(&mut wire, "overlaps", &batch_of(id, 0, 0, &["a", "b", "c"])), 0);
    assert_eq!(put_good(&mut wire, "overlaps", &batch_of(id, 0, 3, &["d"])), 3);
}

#[test]
fn a_producer_the_partition_does_not_know_begins_where_it_likes() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "begins", 1, &[]);
    let id = producer_id(&mut wire);
    assert_eq!(put_good(&mut wire, "begins", &batch_of(id, 7, 41, &["x"])), 0);
    assert_eq!(put_good(&mut wire, "begins", &batch_of(id, 7, 42, &["x"])), 1);
}

#[test]
fn sequences_go_on_at_0_after_the_largest() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "wrap", 1, &[]);
    let id = producer_id(&mut wire);
    put_good(&mut wire, "wrap", &batch_of(id, 0, i32::MAX, &["x"]));
    put_good(&mut wire, "wrap", &batch_of(id, 0, 0, &["x"]));
}

#[test]
fn five_batches_in_flight_land_in_order() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "flight", 1, &[]);
    let id = producer_id(&mut wire);
    for round in 0..40 {
        let mut frames = Vec::new();
        for sequence in round * 5..round * 5 + 5 {
            let request = produce("flight", 0, -1, &batch_of(id, 0, sequence, &["x"]));
            frames.extend(wire.frame(9, &request));
        }
        wire.send(&frames);
        for sequence in round * 5..round * 5 + 5 {
            let (_, answer) = wire.reply::<ProduceRequest>(9);
            let partition = &answer.responses[0].partition_responses[0];
            let told = (partition.error_code, partition.base_offset);
            assert_eq!(told, (0, i64::from(sequence)));
        }
    }
}
