//! Produce (kafka.md P).

use bytes::Bytes;
use proto_kafka::messages::ProduceRequest;
use strandline::{
    record::{BatchBuilder, BatchView, Compression, Limits, compress::compress},
    types::Millis,
};
use uuid::Uuid;

use crate::{
    broker::{Wire, together},
    requests::{
        batch, batch_with, create, fetch, fetch_partition, name, produce, put, put_good, seal,
        transactional,
    },
};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// The batch that was stored at an offset.
fn stored(wire: &mut Wire, topic: &str, offset: i64) -> BatchView {
    let partition = fetch_partition(0, offset).with_partition_max_bytes(1);
    let read = wire.call(11, &fetch(topic, vec![partition]));
    BatchView::parse(read.responses[0].partitions[0].records.clone().unwrap()).unwrap()
}

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
    let none = |batch: &mut Vec<u8>| {
        batch[57..61].fill(0);
        batch[23..27].fill(0xff);
        batch.truncate(61);
        batch[8..12].copy_from_slice(&49_i32.to_be_bytes());
    };
    assert_eq!(refused(&none, true), 87, "no records");
    assert_eq!(refused(&|batch| batch[26] = 7, true), 87, "last offset delta");
    assert_eq!(refused(&|batch| batch[22] |= 0x20, true), 87, "control batch");
    assert_eq!(refused(&|batch| batch[22] |= 0x40, true), 87, "delete horizon");
    assert_eq!(refused(&|batch| batch[22] |= 0x07, true), 76, "no such codec");
    assert_eq!(refused(&|batch| batch[60] = 3, false), 2, "the CRC comes first");
    assert_eq!(refused(&|_| {}, true), 0, "and the truth is taken");
}

/// A batch of one record which says it is these bytes.
fn forge(codec: Compression, body: &[u8]) -> Vec<u8> {
    let packed = compress(codec, None, &Bytes::copy_from_slice(body)).unwrap();
    let mut records = batch_with(codec, 1000, &["x"])[..61].to_vec();
    records.extend_from_slice(&packed);
    let length = i32::try_from(records.len() - 12).unwrap();
    records[8..12].copy_from_slice(&length.to_be_bytes());
    seal(&mut records);
    records
}

#[test]
fn records_come_back_byte_for_byte_with_headers_of_one_name_in_every_codec() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "untouched", 1, &[]);
    // Null key and value; a header of value 1, one of the same name and value 2, one of null.
    let body = [34, 0, 0, 0, 1, 1, 6, 2, b'h', 2, b'1', 2, b'h', 2, b'2', 2, b'h', 1];
    for (codec, offset) in CODECS.into_iter().zip(0..) {
        let mut sent = forge(codec, &body);
        assert_eq!(put_good(&mut wire, "untouched", &sent), offset);
        let came = stored(&mut wire, "untouched", offset);
        assert_eq!(came.bytes()[..8], offset.to_be_bytes());
        // Base offset and leader epoch are the broker's and outside the checksum.
        sent[..8].copy_from_slice(&came.bytes()[..8]);
        sent[12..16].copy_from_slice(&came.bytes()[12..16]);
        assert_eq!(came.bytes()[..], sent, "{codec:?}");
    }
}

#[test]
fn records_that_lie_are_refused_in_every_codec() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "liars", 1, &[]);
    // One record: length, attributes, time, offset, key -1, value -1, headers.
    let lies: [(&[u8], &str); 5] = [
        (&[12, 0, 0, 4, 1, 1, 0], "offset delta 2"),
        (&[12, 0, 0, 0, 1, 1, 2], "a header that is not there"),
        (&[14, 0, 0, 0, 1, 1, 0], "longer than the batch"),
        (&[12, 0, 0, 0, 1, 1, 0, 9], "bytes after the last record"),
        (&[10, 0, 0, 0, 1, 1, 0], "longer than its length"),
    ];
    for codec in CODECS {
        let mut forged = |body: &[u8]| put(&mut wire, "liars", &forge(codec, body));
        for (body, lie) in lies {
            let answer = forged(body);
            assert_eq!((answer.error_code, answer.base_offset), (87, -1), "{codec:?}: {lie}");
            assert_eq!((answer.record_errors, answer.log_start_offset), (Vec::new(), 0));
        }
        assert_eq!(forged(&[12, 0, 0, 0, 1, 1, 0]).error_code, 0, "{codec:?}: the truth");
    }
    let mut garbage = batch_with(Compression::Gzip, 1000, &["x"]);
    garbage.truncate(80);
    garbage[8..12].copy_from_slice(&68_i32.to_be_bytes());
    seal(&mut garbage);
    assert_eq!(put(&mut wire, "liars", &garbage).error_code, -1, "as Kafka: no codec's fault");
}

#[test]
fn lengths_and_formats_that_never_were_are_corrupt() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "corrupt", 1, &[]);
    let changed = |at: usize, bytes: &[u8]| {
        let mut records = batch(&["x"]);
        records[at..at + bytes.len()].copy_from_slice(bytes);
        records
    };
    let cases = [changed(8, &13_i32.to_be_bytes()), changed(8, &[0xff; 4]), changed(16, &[3])];
    for records in cases {
        assert_eq!(put(&mut wire, "corrupt", &records).error_code, 2);
    }
    let short = changed(8, &40_i32.to_be_bytes())[..52].to_vec();
    assert_eq!(put(&mut wire, "corrupt", &short).error_code, 2, "shorter than a header");
    let more = [batch(&["x"]), batch(&["y"])[..60].to_vec()].concat();
    assert_eq!(put(&mut wire, "corrupt", &more).error_code, 0, "the beginning of another is cut");
    let read = wire.call(11, &fetch("corrupt", vec![fetch_partition(0, 0)]));
    let records = read.responses[0].partitions[0].records.clone().unwrap();
    assert_eq!(records.len(), batch(&["x"]).len());
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
    assert_eq!((answer.error_code, answer.log_start_offset), (87, 0));
    let mut mixed = BatchBuilder::new(Compression::Zstd);
    for key in [None, Some(&b"k"[..]), None] {
        mixed.push(Millis(1000), key, Some(b"v"));
    }
    let mixed = mixed.build().unwrap();
    let answer = put(&mut wire, "keyed", mixed.bytes());
    assert_eq!(answer.error_code, 87);
    let indexes: Vec<_> = answer.record_errors.iter().map(|fault| fault.batch_index).collect();
    assert_eq!(indexes, [0, 2], "every one");
    assert!(answer.record_errors[0].batch_index_error_message.is_some());
    let old = wire.call(7, &produce("keyed", 0, -1, &keyless));
    let old = &old.responses[0].partition_responses[0];
    assert_eq!((old.error_code, old.record_errors.len()), (87, 0), "no room before version 8");
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
    let mut claimed = batch(&["x"]);
    claimed[22] |= 0x08;
    seal(&mut claimed);
    assert_eq!(put(&mut wire, "stamped", &claimed).error_code, 32, "it is the broker's to give");
}

#[test]
fn log_append_time_holds_in_every_codec_and_across_codecs() {
    let _turn = together();
    let mut wire = Wire::open();
    for (topic, codec) in [("append-any", "producer"), ("append-zstd", "zstd")] {
        let configs = [("message.timestamp.type", "LogAppendTime"), ("compression.type", codec)];
        create(&mut wire, topic, 1, &configs);
        for (compression, offset) in CODECS.into_iter().zip(0..) {
            let records = batch_with(compression, 1000, &["x"]);
            let answer = put(&mut wire, topic, &records);
            assert_eq!(answer.error_code, 0);
            let stored = stored(&mut wire, topic, offset);
            stored.check_crc().unwrap();
            assert_eq!(stored.max_timestamp().0, answer.log_append_time_ms, "{compression:?}");
            let read: Vec<_> = stored.records(&Limits::default()).unwrap().collect();
            assert_eq!(read[0].as_ref().unwrap().timestamp.0, answer.log_append_time_ms);
        }
    }
}

#[test]
fn log_append_time_claimed_by_a_client_becomes_create_time() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "claimed", 1, &[]);
    let mut claimed = batch(&["x", "y"]);
    claimed[22] |= 0x08;
    seal(&mut claimed);
    let answer = put(&mut wire, "claimed", &claimed);
    assert_eq!((answer.error_code, answer.log_append_time_ms), (0, -1));
    let stored = stored(&mut wire, "claimed", 0);
    stored.check_crc().unwrap();
    assert_eq!(stored.attributes() & 0x08, 0);
}

#[test]
fn timestamps_out_of_bounds_are_told_record_by_record() {
    let _turn = together();
    let mut wire = Wire::open();
    let configs =
        [("message.timestamp.before.max.ms", "10000"), ("message.timestamp.after.max.ms", "10000")];
    create(&mut wire, "bounds", 1, &configs);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(clock.as_millis()).unwrap();
    for codec in CODECS {
        let mut builder = BatchBuilder::new(codec);
        for time in [now, now - 60_000, now + 60_000, -1] {
            builder.push(Millis(time), Some(b"k"), Some(b"v"));
        }
        let answer = put(&mut wire, "bounds", builder.build().unwrap().bytes());
        let indexes: Vec<_> = answer.record_errors.iter().map(|fault| fault.batch_index).collect();
        assert_eq!((answer.error_code, answer.log_start_offset), (32, 0), "{codec:?}");
        assert_eq!(indexes, [1, 2]);
        let mut builder = BatchBuilder::new(codec);
        builder.push(Millis(now), Some(b"k"), Some(b"v"));
        put_good(&mut wire, "bounds", builder.build().unwrap().bytes());
    }
}

#[test]
fn every_codec_becomes_the_topics_own() {
    let _turn = together();
    let mut wire = Wire::open();
    let targets = [
        ("uncompressed", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    for (name, target) in targets {
        let topic = format!("codec-{name}");
        create(&mut wire, &topic, 1, &[("compression.type", name)]);
        for (source, at) in CODECS.into_iter().zip(0..) {
            let sent = batch_with(source, 5000, &["a", "b"]);
            assert_eq!(put_good(&mut wire, &topic, &sent), at * 2);
            let stored = stored(&mut wire, &topic, at * 2);
            stored.check_crc().unwrap();
            assert_eq!(stored.compression(), Ok(target), "{source:?} to {name}");
            let values: Vec<_> = stored
                .records(&Limits::default())
                .unwrap()
                .map(|record| record.unwrap())
                .map(|record| (record.offset.0, record.timestamp.0, record.value.unwrap()))
                .collect();
            let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
            assert_eq!(values, [(at * 2, 5000, a), (at * 2 + 1, 5001, b)]);
        }
    }
}

#[test]
fn a_batch_that_outgrows_the_limit_in_the_topics_codec_is_too_large() {
    let _turn = together();
    let mut wire = Wire::open();
    let configs = [("max.message.bytes", "2000"), ("compression.type", "uncompressed")];
    create(&mut wire, "outgrown", 1, &configs);
    let large = "x".repeat(5000);
    let packed = batch_with(Compression::Zstd, 1000, &[&large]);
    assert!(packed.len() < 2000);
    let answer = put(&mut wire, "outgrown", &packed);
    assert_eq!((answer.error_code, answer.log_start_offset), (10, -1));
}

#[test]
fn a_batch_over_a_segment_is_a_list_too_large() {
    let _turn = together();
    let mut wire = Wire::open();
    let configs = [("segment.bytes", "1048576"), ("max.message.bytes", "4000000")];
    create(&mut wire, "segments", 1, &configs);
    let large = "x".repeat(2_000_000);
    assert_eq!(put(&mut wire, "segments", &batch(&[&large])).error_code, 18);
    let packed = batch_with(Compression::Lz4, 1000, &[&large]);
    put_good(&mut wire, "segments", &packed);
}

#[test]
fn a_batch_that_unpacks_to_too_much_is_refused_and_hurts_nobody() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "bombs", 1, &[]);
    let bomb = |megabytes: usize| {
        let value = vec![0; megabytes << 20];
        let mut builder = BatchBuilder::new(Compression::Zstd);
        builder.push(Millis(1000), None, Some(&value));
        builder.build().unwrap().bytes().to_vec()
    };
    let small = bomb(8);
    assert!(small.len() < 10_000, "a thousandfold is honest");
    put_good(&mut wire, "bombs", &small);
    assert_eq!(put(&mut wire, "bombs", &bomb(129)).error_code, 87);
}

#[test]
fn a_timeout_of_nothing_is_enough_for_the_brokers_own_disk() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "no-patience", 1, &[]);
    for timeout in [0, -1, i32::MIN] {
        let request = produce("no-patience", 0, -1, &batch(&["x"])).with_timeout_ms(timeout);
        let answer = wire.call(9, &request);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
}

#[test]
fn errors_come_in_kafkas_order() {
    let _turn = together();
    let mut wire = Wire::open();
    create(
        &mut wire,
        "error-order",
        1,
        &[("min.insync.replicas", "2"), ("max.message.bytes", "100")],
    );
    let mut code = |topic: &str, acks, records: &[u8]| {
        let answer = wire.call(9, &produce(topic, 0, acks, records));
        answer.responses[0].partition_responses[0].error_code
    };
    let large = batch(&[&"x".repeat(200)]);
    let mut corrupt = large.clone();
    corrupt[100] ^= 1;
    corrupt[7] = 1;
    assert_eq!(code("no-such", 7, &[]), 3, "the topic first");
    assert_eq!(code("error-order", 7, &[]), 87, "then the shape");
    assert_eq!(code("error-order", 7, &corrupt), 21, "then acks");
    assert_eq!(code("error-order", -1, &corrupt), 19, "then the copies");
    assert_eq!(code("error-order", 1, &corrupt), 87, "then the base offset");
    corrupt[7] = 0;
    assert_eq!(code("error-order", 1, &corrupt), 10, "then the size");
}

#[test]
fn clients_do_not_write_internal_topics() {
    let _turn = together();
    let mut wire = Wire::open();
    // Who looks for a coordinator brings the topic about.
    let find = proto_kafka::messages::FindCoordinatorRequest::default().with_key("g".into());
    for _ in 0..200 {
        let answer = wire.call(9, &produce("__consumer_offsets", 0, -1, &batch(&["x"])));
        match answer.responses[0].partition_responses[0].error_code {
            17 => return,
            code => assert_eq!(code, 3, "not created yet"),
        }
        wire.call(3, &find);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the topic of offsets never came");
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
    assert_eq!(put(&mut wire, "tx", &records).error_code, 53);
}

#[test]
fn zstd_needs_version_7_to_write_and_none_to_read() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "zstd", 1, &[]);
    let records = batch_with(Compression::Zstd, 1000, &["x"]);
    let answer = wire.call(6, &produce("zstd", 0, -1, &records));
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 76);
    put_good(&mut wire, "zstd", &records);
    let request = fetch("zstd", vec![fetch_partition(0, 0)]);
    for version in [4, 9, 10] {
        let read = wire.call(version, &request);
        assert_eq!(read.responses[0].partitions[0].records.as_ref().unwrap().len(), records.len());
    }
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
