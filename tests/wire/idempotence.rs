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
