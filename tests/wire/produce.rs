//! Produce (kafka.md P).

use proto_kafka::messages::ProduceRequest;
use strandline::record::Compression;
use uuid::Uuid;

use crate::{
    broker::{Wire, together},
    requests::{
        batch, batch_with, create, fetch, fetch_partition, name, produce, put, put_good, seal,
        transactional,
    },
};

#[test]
fn every_version_is_acknowledged_with_its_offset() {
    let _turn = together();
    let mut wire = Wire::open();
    let id = create(&mut wire, "versions", 1, &[]);
    for version in 3..=13 {
        let mut request = produce("versions", 0, 1, &batch(&["a", "b"]));
        if version >= 13 {
            request.topic_data[0].name = name("");
            request.topic_data[0].topic_id = id;
        }
        let answer = wire.call(version, &request);
        let topic = &answer.responses[0];
        let partition = &topic.partition_responses[0];
        let expected = i64::from(version - 3) * 2;
        assert_eq!((partition.error_code, partition.base_offset), (0, expected), "v{version}");
        assert_eq!(partition.log_append_time_ms, -1);
        assert_eq!(partition.log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(partition.error_message, None);
        assert_eq!(topic.topic_id, if version >= 13 { id } else { Uuid::nil() });
    }
}

#[test]
fn acks_are_0_1_or_all() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "acks", 1, &[]);
    for acks in [2, -2, i16::MAX] {
        let answer = wire.call(9, &produce("acks", 0, acks, &batch(&["x"])));
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 21);
    }
}

#[test]
fn a_partition_takes_exactly_one_batch_of_format_2() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "shape", 1, &[]);
    let good = batch(&["x"]);
    let mut old = good.clone();
    old[16] = 1;
    let cases = [Vec::new(), good.repeat(2), good[..good.len() - 1].to_vec(), old];
    for records in cases {
        let answer = put(&mut wire, "shape", &records);
        assert_eq!((answer.error_code, answer.base_offset), (87, -1));
        assert!(answer.error_message.is_some());
    }
    assert_eq!(put_good(&mut wire, "shape", &good), 0, "nothing was appended before");
}

#[test]
fn a_batch_that_lies_is_refused() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "lies", 1, &[]);
    let mut refused = |change: &dyn Fn(&mut Vec<u8>), sealed: bool| {
        let mut records = batch(&["x", "y"]);
        change(&mut records);
        if sealed {
            seal(&mut records);
        }
        put(&mut wire, "lies", &records).error_code
    };
    assert_eq!(refused(&|batch| batch[70] ^= 1, false), 2, "CRC");
    assert_eq!(refused(&|batch| batch[7] = 5, false), 87, "base offset");
    assert_eq!(refused(&|batch| batch[60] = 3, true), 87, "count");
    assert_eq!(refused(&|batch| batch[26] = 7, true), 87, "last offset delta");
    assert_eq!(refused(&|batch| batch[22] |= 0x20, true), 87, "control batch");
    assert_eq!(refused(&|batch| batch[22] |= 0x08, true), 32, "LogAppendTime");
    assert_eq!(refused(&|_| {}, true), 0, "and the truth is taken");
}

#[test]
fn a_batch_over_the_topics_limit_is_too_large() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "small", 1, &[("max.message.bytes", "500")]);
    let large = "x".repeat(600);
    assert_eq!(put(&mut wire, "small", &batch(&[&large])).error_code, 10);
    put_good(&mut wire, "small", &batch(&["x"]));
}

#[test]
fn a_compacted_topic_names_the_record_without_a_key() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "keyed", 1, &[("cleanup.policy", "compact")]);
    let keyless = crate::requests::batch_of(-1, -1, -1, &["x"]);
    let answer = put(&mut wire, "keyed", &keyless);
    assert_eq!(answer.error_code, 87);
    assert_eq!(answer.record_errors[0].batch_index, 0);
    put_good(&mut wire, "keyed", &batch(&["x"]));
}

#[test]
fn log_append_time_is_told_and_stored() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let answer = put(&mut wire, "stamped", &batch(&["x"]));
    assert!(answer.log_append_time_ms > 1_600_000_000_000);
    let read = wire.call(11, &fetch("stamped", vec![fetch_partition(0, 0)]));
    let records = read.responses[0].partitions[0].records.clone().unwrap();
    assert_eq!(records[22] & 0x08, 0x08);
    let mut sealed = records.to_vec();
    seal(&mut sealed);
    assert_eq!(sealed, records, "the CRC is right");
    let max = i64::from_be_bytes(records[35..43].try_into().unwrap());
    assert_eq!(max, answer.log_append_time_ms);
}

#[test]
fn unknown_topics_partitions_and_ids_have_their_codes() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "known", 1, &[]);
    let mut code = |version, request: &ProduceRequest| {
        wire.call(version, request).responses[0].partition_responses[0].error_code
    };
    assert_eq!(code(9, &produce("absent", 0, 1, &batch(&["x"]))), 3);
    assert_eq!(code(9, &produce("known", 9, 1, &batch(&["x"]))), 3);
    assert_eq!(code(9, &produce("known", -1, 1, &batch(&["x"]))), 3);
    let mut by_id = produce("", 0, 1, &batch(&["x"]));
    by_id.topic_data[0].topic_id = Uuid::from_u128(99);
    assert_eq!(code(13, &by_id), 100);
}

#[test]
fn more_copies_than_there_can_be_are_refused_for_acks_all_alone() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "copies", 1, &[("min.insync.replicas", "2")]);
    assert_eq!(put(&mut wire, "copies", &batch(&["x"])).error_code, 19);
    let answer = wire.call(9, &produce("copies", 0, 1, &batch(&["x"])));
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

#[test]
fn transactions_are_refused_at_once() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "tx", 1, &[]);
    let answer = wire.call(11, &transactional(produce("tx", 0, -1, &batch(&["x"]))));
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 53);
    let mut records = batch(&["x"]);
    records[22] |= 0x10;
    seal(&mut records);
    assert_ne!(put(&mut wire, "tx", &records).error_code, 0);
}

#[test]
fn zstd_needs_version_7_to_write_and_10_to_read() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "zstd", 1, &[]);
    let records = batch_with(Compression::Zstd, 1000, &["x"]);
    let answer = wire.call(6, &produce("zstd", 0, -1, &records));
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 76);
    put_good(&mut wire, "zstd", &records);
    let request = fetch("zstd", vec![fetch_partition(0, 0)]);
    assert_eq!(wire.call(9, &request).responses[0].partitions[0].error_code, 76);
    assert_eq!(wire.call(10, &request).responses[0].partitions[0].error_code, 0);
}

#[test]
fn every_partition_asked_for_is_answered() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "many", 3, &[]);
    let mut request = produce("many", 0, -1, &batch(&["x"]));
    for partition in [1, 2, 7] {
        let more = produce("many", partition, -1, &batch(&["x"])).topic_data.remove(0);
        request.topic_data[0].partition_data.extend(more.partition_data);
    }
    let answer = wire.call(9, &request);
    let told: Vec<_> = answer.responses[0]
        .partition_responses
        .iter()
        .map(|partition| (partition.index, partition.error_code))
        .collect();
    assert_eq!(told, [(0, 0), (1, 0), (2, 0), (7, 3)]);
}
