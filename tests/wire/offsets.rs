//! ListOffsets and leader epochs (kafka.md L).

use proto_kafka::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    list_offsets_response::ListOffsetsPartitionResponse,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use strandline::record::Compression;

use crate::{
    broker::{Wire, together},
    requests::{batch_with, create, fetch, fetch_partition, metadata, name, put_good},
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
    for (version, time) in [(6, -3), (7, -4), (8, -5), (10, -6), (11, -7), (1, -9)] {
        let refused = ask(&mut wire, version, "times", time);
        assert_eq!((refused.error_code, refused.offset, refused.timestamp), (35, -1, -1));
    }
    let epoch = wire.call(9, &metadata(&["times"])).topics[0].partitions[0].leader_epoch;
    for (time, known) in [(-1, epoch), (-2, epoch), (-3, epoch), (-4, epoch), (0, epoch), (-5, -1)]
    {
        assert_eq!(ask(&mut wire, 9, "times", time).leader_epoch, known, "timestamp {time}");
    }
    assert_eq!(ask(&mut wire, 3, "times", -1).leader_epoch, -1, "no room before version 4");
}

#[test]
fn an_empty_partition_has_ends_and_no_times() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "no-times", 1, &[]);
    for (time, offset) in [(-1, 0), (-2, 0), (-3, -1), (-4, 0), (0, -1), (i64::MAX, -1)] {
        let told = ask(&mut wire, 8, "no-times", time);
        assert_eq!((told.error_code, told.offset, told.timestamp), (0, offset, -1), "{time}");
    }
}

#[test]
fn times_lead_to_records_in_every_codec_and_under_log_append_time() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "codec-times", 1, &[]);
    let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (codec, time) in codecs.into_iter().zip((1000..).step_by(1000)) {
        put_good(&mut wire, "codec-times", &batch_with(codec, time, &["a", "b", "c"]));
    }
    for (at, time) in [(0, 1000), (1, 1001), (2, 1002), (3, 1003), (5, 2002), (7, 3001), (11, 4002)]
    {
        assert_eq!(ask(&mut wire, 5, "codec-times", time).offset, at, "time {time}");
    }
    create(&mut wire, "append-times", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let mut stamped = Vec::new();
    for codec in codecs {
        let records = batch_with(codec, 1, &["a", "b"]);
        stamped.push(crate::requests::put(&mut wire, "append-times", &records).log_append_time_ms);
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    for (time, offset) in stamped.iter().zip((0..).step_by(2)) {
        let told = ask(&mut wire, 7, "append-times", *time);
        assert_eq!((told.offset, told.timestamp), (offset, *time), "the first of its batch");
    }
    assert_eq!(ask(&mut wire, 7, "append-times", -3).offset, 6);
    assert_eq!(ask(&mut wire, 7, "append-times", 2).offset, 0, "the producer's time is not told");
}

#[test]
fn deleted_records_are_in_no_answer() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "deleted-times", 1, &[]);
    put_good(&mut wire, "deleted-times", &batch_with(Compression::Lz4, 1000, &["a", "b", "c"]));
    put_good(&mut wire, "deleted-times", &batch_with(Compression::None, 900, &["d"]));
    assert_eq!(delete_records(&mut wire, "deleted-times", 2), (0, 2));
    for (time, offset) in [(-2, 2), (-4, 2), (-3, 2), (0, 2), (1000, 2), (1002, 2), (1003, -1)] {
        assert_eq!(ask(&mut wire, 8, "deleted-times", time).offset, offset, "time {time}");
    }
    assert_eq!(delete_records(&mut wire, "deleted-times", 3), (0, 3));
    let greatest = ask(&mut wire, 8, "deleted-times", -3);
    assert_eq!((greatest.offset, greatest.timestamp), (3, 900), "1002 was beside it, and is gone");
    assert_eq!(delete_records(&mut wire, "deleted-times", -1), (0, 4), "the high watermark");
    for (time, offset) in [(-1, 4), (-2, 4), (-3, -1), (0, -1)] {
        assert_eq!(ask(&mut wire, 8, "deleted-times", time).offset, offset, "time {time}");
    }
}

/// Code and low watermark.
pub fn delete_records(wire: &mut Wire, topic: &str, before: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(before);
    let topic =
        DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
    let answer = wire.call(2, &request);
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

#[test]
fn records_are_deleted_below_an_offset_and_only_where_the_policy_lets_them() {
    let _turn = together();
    let mut wire = Wire::open();
    for (topic, policy) in [
        ("deletes", "delete"),
        ("deletes-both", "compact,delete"),
        ("deletes-none", ""),
        ("deletes-not", "compact"),
    ] {
        create(&mut wire, topic, 1, &[("cleanup.policy", policy)]);
        for _ in 0..4 {
            put_good(&mut wire, topic, &batch_with(Compression::None, 1000, &["x"]));
        }
    }
    for topic in ["deletes", "deletes-both", "deletes-none"] {
        assert_eq!(delete_records(&mut wire, topic, 5), (1, -1), "above the high watermark");
        assert_eq!(delete_records(&mut wire, topic, -2), (1, -1));
        assert_eq!(delete_records(&mut wire, topic, 3), (0, 3));
        assert_eq!(delete_records(&mut wire, topic, 1), (0, 3), "never back");
        let below = wire.call(11, &fetch(topic, vec![fetch_partition(0, 2)]));
        assert_eq!(below.responses[0].partitions[0].error_code, 1);
        let rest = wire.call(11, &fetch(topic, vec![fetch_partition(0, 3)]));
        assert_eq!(rest.responses[0].partitions[0].log_start_offset, 3);
        assert_eq!(put_good(&mut wire, topic, &batch_with(Compression::None, 1, &["x"])), 4);
    }
    assert_eq!(delete_records(&mut wire, "deletes-not", 3), (44, -1));
    assert_eq!(delete_records(&mut wire, "deletes-not", 99), (44, -1), "the policy first");
    assert_eq!(delete_records(&mut wire, "nowhere", 0), (3, -1));
}

#[test]
fn a_partition_asked_twice_is_an_invalid_request() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "twice", 1, &[]);
    let answer = wire.call(5, &list("twice", &[-1, -2]));
    let codes: Vec<_> = answer.topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [42], "told once");
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
        assert_eq!(end(version, -2, current).0, 74, "no epoch is below 0, so it is an old one");
    }
}
