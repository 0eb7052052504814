//! ListOffsets and leader epochs (kafka.md L).

use proto_kafka::messages::{
    ListOffsetsRequest, OffsetForLeaderEpochRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    list_offsets_response::ListOffsetsPartitionResponse,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use strandline::record::Compression;

use crate::{
    broker::{Wire, together},
    requests::{batch_with, create, metadata, name, put_good},
};

/// Asks partition 0 of a topic for these timestamps.
pub fn list(topic: &str, timestamps: &[i64]) -> ListOffsetsRequest {
    let partition = |timestamp: &i64| {
        ListOffsetsPartition::default().with_partition_index(0).with_timestamp(*timestamp)
    };
    let topic = ListOffsetsTopic::default()
        .with_name(name(topic))
        .with_partitions(timestamps.iter().map(partition).collect());
    ListOffsetsRequest::default().with_topics(vec![topic])
}

fn ask(wire: &mut Wire, version: i16, topic: &str, time: i64) -> ListOffsetsPartitionResponse {
    // Version 11 has the bytes of version 10, beyond what the codec here writes.
    let request = list(topic, &[time]);
    let answer = if version > 10 {
        use bytes::BytesMut;
        use proto_kafka::{
            messages::{ListOffsetsResponse, ResponseHeader},
            protocol::{Decodable, Encodable},
        };
        let mut body = BytesMut::new();
        request.encode(&mut body, 10).unwrap();
        let frame = wire.framed(2, version, &body);
        wire.send(&frame);
        let mut reply = wire.receive().unwrap();
        ResponseHeader::decode(&mut reply, 1).unwrap();
        ListOffsetsResponse::decode(&mut reply, 10).unwrap()
    } else {
        wire.call(version, &request)
    };
    answer.topics[0].partitions[0].clone()
}

#[test]
fn every_special_timestamp_means_what_it_says() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "times", 1, &[]);
    for compression in [Compression::None, Compression::Lz4] {
        put_good(&mut wire, "times", &batch_with(compression, 5000, &["a", "b", "c"]));
        put_good(&mut wire, "times", &batch_with(compression, 2000, &["d"]));
    }
    let mut told = |version, time| {
        let told = ask(&mut wire, version, "times", time);
        assert_eq!(told.error_code, 0, "version {version} timestamp {time}");
        (told.offset, told.timestamp)
    };
    for version in 1..=11 {
        assert_eq!(told(version, -1), (8, -1), "latest");
        assert_eq!(told(version, -2), (0, -1), "earliest");
        assert_eq!(told(version, 0), (0, 5000));
        assert_eq!(told(version, 5001), (1, 5001), "inside a batch");
        assert_eq!(told(version, 5002), (2, 5002));
        assert_eq!(told(version, 5003), (-1, -1), "none is not an error");
    }
    assert_eq!(told(7, -3), (2, 5002), "the first of the greatest");
    assert_eq!(told(8, -4), (0, -1));
    assert_eq!(told(9, -5), (-1, -1));
    assert_eq!(told(11, -6), (-1, -1));
    assert_eq!(ask(&mut wire, 6, "times", -3).error_code, 35);
}

#[test]
fn a_partition_asked_twice_is_an_invalid_request() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "twice", 1, &[]);
    let answer = wire.call(5, &list("twice", &[-1, -2]));
    let codes: Vec<_> = answer.topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [42, 42]);
}

#[test]
fn an_unknown_partition_is_told_so() {
    let _turn = together();
    assert_eq!(ask(&mut Wire::open(), 5, "nowhere", -1).error_code, 3);
}

#[test]
fn an_epoch_ends_where_the_next_begins_and_the_newest_at_the_end() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "epoch-ends", 1, &[]);
    put_good(&mut wire, "epoch-ends", &batch_with(Compression::None, 1, &["a", "b"]));
    let current = wire.call(9, &metadata(&["epoch-ends"])).topics[0].partitions[0].leader_epoch;
    let mut end = |version, known, epoch| {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(known)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(name("epoch-ends"))
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let answer = wire.call(version, &request);
        let end = &answer.topics[0].partitions[0];
        (end.error_code, end.leader_epoch, end.end_offset)
    };
    for version in 2..=4 {
        assert_eq!(end(version, -1, current), (0, current, 2));
        assert_eq!(end(version, current, current), (0, current, 2));
        assert_eq!(end(version, -1, current + 1), (0, -1, -1), "not begun yet");
        assert_eq!(end(version, -1, -1), (0, -1, -1));
        assert_eq!(end(version, current + 1, current).0, 75);
    }
}
