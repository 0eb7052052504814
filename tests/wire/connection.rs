//! Connections, framing, versions (kafka.md C).

use std::time::Duration;

use bytes::Bytes;
use proto_kafka::{
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, FetchRequest, ListOffsetsRequest, MetadataRequest,
        ProduceRequest, ResponseHeader,
    },
    protocol::Decodable,
};

use crate::{
    broker::{Wire, together},
    requests::{batch, create, fetch, fetch_partition, metadata, produce, put_good},
};

fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name("wire".into())
        .with_client_software_version("1".into())
}

#[test]
fn a_length_that_cannot_be_ends_the_connection_at_once() {
    let _turn = together();
    let tls_hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01];
    let cases: [&[u8]; 6] = [
        &0_i32.to_be_bytes(),
        &(-1_i32).to_be_bytes(),
        &i32::MAX.to_be_bytes(),
        &(101_i32 << 20).to_be_bytes(),
        &tls_hello,
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in cases {
        let mut wire = Wire::open();
        wire.send(bytes);
        assert!(wire.is_closed(), "{bytes:?}");
    }
}

#[test]
fn only_produce_may_be_large() {
    let _turn = together();
    let mut wire = Wire::open();
    let mut head = (9_i32 << 20).to_be_bytes().to_vec();
    head.extend([0, 3, 0, 1]);
    wire.send(&head);
    assert!(wire.is_closed());
    let mut wire = Wire::open();
    let mut head = (9_i32 << 20).to_be_bytes().to_vec();
    head.extend([0, 0, 0, 9]);
    wire.send(&head);
    assert!(wire.is_silent(Duration::from_millis(100)), "the rest is waited for");
}

#[test]
fn unknown_apis_and_versions_end_the_connection() {
    let _turn = together();
    for (key, version) in [(4, 0), (1000, 0), (-1, 0), (0, 2), (0, 14), (1, 3), (3, 14), (3, -1)] {
        let mut wire = Wire::open();
        let mut frame = 10_i32.to_be_bytes().to_vec();
        frame.extend::<[u8; 2]>(i16::to_be_bytes(key));
        frame.extend::<[u8; 2]>(i16::to_be_bytes(version));
        frame.extend([0, 0, 0, 1, 0xff, 0xff]);
        wire.send(&frame);
        assert!(wire.is_closed(), "key {key} version {version}");
    }
}

#[test]
fn a_version_of_api_versions_from_the_future_gets_version_0_and_error_35() {
    let _turn = together();
    let mut wire = Wire::open();
    let frame = wire.framed(18, 99, b"whatever this is");
    wire.send(&frame);
    let mut reply = wire.receive().unwrap();
    assert_eq!(ResponseHeader::decode(&mut reply, 0).unwrap().correlation_id, 1);
    let response = ApiVersionsResponse::decode(&mut reply, 0).unwrap();
    assert_eq!(response.error_code, 35);
    let [own] = &response.api_keys[..] else { panic!("{:?}", response.api_keys) };
    assert_eq!((own.api_key, own.min_version, own.max_version), (18, 0, 4));
    assert_eq!(wire.call(4, &versions()).error_code, 0, "the connection goes on");
}

#[test]
fn what_is_advertised_is_kafkas_minima_and_produce_from_0() {
    let _turn = together();
    let rows = Wire::open().call(4, &versions()).api_keys;
    let row = |key| {
        let row = rows.iter().find(|row| row.api_key == key);
        row.map(|row| (row.min_version, row.max_version))
    };
    assert_eq!(row(0), Some((0, 13)));
    assert_eq!(row(1), Some((4, 18)));
    assert_eq!(row(2), Some((1, 11)));
    assert_eq!(row(3), Some((0, 13)));
    assert_eq!(row(18), Some((0, 4)));
    assert_eq!(row(22), Some((0, 5)));
    for removed in [4, 5, 6, 7, 71, 72] {
        assert_eq!(row(removed), None, "api {removed}");
    }
}

#[test]
fn api_versions_writes_no_tag_that_holds_its_default() {
    let _turn = together();
    let mut wire = Wire::open();
    let frame = wire.frame(3, &versions());
    wire.send(&frame);
    assert_eq!(wire.receive().unwrap().last(), Some(&0), "no tags at all");
}

#[test]
fn a_client_that_names_itself_badly_is_told_so() {
    let _turn = together();
    for version in [3, 4] {
        for bad in ["", "-bad-", "a b", "a.", "ä"] {
            for request in [
                versions().with_client_software_name(bad.into()),
                versions().with_client_software_version(bad.into()),
            ] {
                assert_eq!(Wire::open().call(version, &request).error_code, 42, "{bad:?}");
            }
        }
        let good = versions().with_client_software_name("a-b.C1".into());
        assert_eq!(Wire::open().call(version, &good).error_code, 0);
    }
}

#[test]
fn a_waiting_fetch_holds_back_its_own_connection_and_no_other() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "held-back", 1, &[]);
    let waiting = fetch("held-back", vec![fetch_partition(0, 0)]).with_max_wait_ms(15_000);
    let frames = [wire.frame(12, &waiting), wire.frame(3, &versions())].concat();
    wire.send(&frames);
    assert!(wire.is_silent(Duration::from_millis(200)), "answers keep their order");
    put_good(&mut Wire::open(), "held-back", &batch(&["x"]));
    assert_eq!(wire.reply::<FetchRequest>(12).1.error_code, 0);
    assert_eq!(wire.reply::<ApiVersionsRequest>(3).1.error_code, 0);
}

#[test]
fn replies_come_in_request_order_whatever_they_wait_for() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "order", 1, &[]);
    let mut frames = Vec::new();
    for index in 0..30 {
        let bytes = match index % 3 {
            0 => wire.frame(12, &produce("order", 0, -1, &batch(&["x"]))),
            1 => wire.frame(9, &metadata(&["order"])),
            _ => wire.frame(3, &versions()),
        };
        frames.extend(bytes);
    }
    let last = wire.correlation();
    wire.send(&frames);
    for index in 0..30 {
        let correlation = match index % 3 {
            0 => wire.reply::<ProduceRequest>(12).0,
            1 => wire.reply::<MetadataRequest>(9).0,
            _ => wire.reply::<ApiVersionsRequest>(3).0,
        };
        assert_eq!(correlation, last - 29 + index);
    }
}

#[test]
fn a_request_sees_the_effects_of_those_before_it() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "effects", 1, &[]);
    let mut frames = Vec::new();
    for _ in 0..10 {
        frames.extend(wire.frame(12, &produce("effects", 0, -1, &batch(&["x"]))));
    }
    frames.extend(wire.frame(5, &crate::offsets::list("effects", &[-1])));
    wire.send(&frames);
    for offset in 0..10 {
        let (_, answer) = wire.reply::<ProduceRequest>(12);
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, offset);
    }
    let (_, answer) = wire.reply::<ListOffsetsRequest>(5);
    assert_eq!(answer.topics[0].partitions[0].offset, 10);
}

#[test]
fn more_requests_than_may_be_in_flight_are_all_answered() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "flood", 1, &[]);
    let one = wire.frame(12, &produce("flood", 0, -1, &batch(&["x"])));
    let mut writer = wire.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        for _ in 0..1000 {
            writer.write_all(&one).unwrap();
        }
    });
    for offset in 0..1000 {
        let (_, answer) = wire.reply::<ProduceRequest>(12);
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, offset);
    }
    sender.join().unwrap();
}

#[test]
fn a_frame_may_come_byte_by_byte() {
    let _turn = together();
    let mut wire = Wire::open();
    let frame = wire.frame(3, &versions());
    for byte in frame {
        wire.send(&[byte]);
    }
    assert_eq!(wire.reply::<ApiVersionsRequest>(3).1.error_code, 0);
}

#[test]
fn requests_before_a_bad_one_are_answered_before_the_connection_ends() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "before", 1, &[]);
    let mut frames = wire.frame(12, &produce("before", 0, -1, &batch(&["x"])));
    frames.extend(wire.framed(3, 9, &[0xff; 30]));
    wire.send(&frames);
    let (_, answer) = wire.reply::<ProduceRequest>(12);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    assert!(wire.is_closed());
}

#[test]
fn acks_0_is_never_answered_and_its_errors_end_the_connection() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "acks0", 1, &[]);
    let frame = wire.frame(12, &produce("acks0", 0, 0, &batch(&["x"])));
    wire.send(&frame);
    assert!(wire.is_silent(Duration::from_millis(200)));
    assert_eq!(put_good(&mut wire, "acks0", &batch(&["y"])), 1, "it was appended");
    let frame = wire.frame(12, &produce("no-such-topic", 0, 0, &batch(&["x"])));
    wire.send(&frame);
    assert!(wire.is_closed());
}

#[test]
fn a_client_id_that_is_not_text_hurts_nobody() {
    let _turn = together();
    let mut wire = Wire::open();
    let frame = Bytes::from_static(&[0, 0, 0, 14, 0, 18, 0, 0, 0, 0, 0, 5, 0, 4, 0xff, 10, 0, 27]);
    wire.send(&frame);
    assert_eq!(wire.receive().unwrap()[..6], [0, 0, 0, 5, 0, 0]);
}
