//! What a connection may cost: how many there are, how long they idle, how much they bring.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use proto_kafka::{
    messages::{
        ApiVersionsRequest, FetchRequest, IncrementalAlterConfigsRequest,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
    protocol::StrBytes,
};

use crate::{
    broker::{Wire, alone, start, together},
    requests::{batch, create, fetch, fetch_partition, put_good},
};

fn is_served(wire: &mut Wire) -> bool {
    let frame = wire.frame(0, &ApiVersionsRequest::default());
    wire.send(&frame);
    wire.receive().is_some()
}

/// A connection that is served, once those closed before are counted out.
fn served(address: &str) -> Wire {
    for _ in 0..1000 {
        let mut wire = Wire::open_at(address);
        if is_served(&mut wire) {
            return wire;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no connection is served");
}

fn set(wire: &mut Wire, name: &str, value: &str) {
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_value(Some(StrBytes::from_string(value.to_owned())));
    let resource = AlterConfigsResource::default().with_resource_type(4).with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    assert_eq!(wire.call(1, &request).responses[0].error_code, 0);
}

#[test]
fn a_connection_over_max_connections_is_closed_at_once() {
    let _turn = together();
    let address = start(&[("max.connections", "2")]);
    let _held = [served(&address), served(&address)];
    assert!(Wire::open_at(&address).is_closed());
}

#[test]
fn max_connections_changes_while_the_broker_runs() {
    let _turn = together();
    let address = start(&[]);
    let mut held = [served(&address), served(&address)];
    set(&mut held[0], "max.connections", "2");
    assert!(Wire::open_at(&address).is_closed());
    set(&mut held[0], "max.connections", "3");
    served(&address);
}

#[test]
fn an_address_has_no_more_connections_than_max_connections_per_ip() {
    let _turn = together();
    let address = start(&[("max.connections.per.ip", "1")]);
    let held = served(&address);
    assert!(Wire::open_at(&address).is_closed());
    drop(held);
    served(&address);
}

#[test]
fn max_connections_per_ip_overrides_name_single_addresses() {
    let _turn = together();
    let settings = [
        ("max.connections.per.ip", "1"),
        ("max.connections.per.ip.overrides", "127.0.0.1:3,10.0.0.1:1"),
    ];
    let address = start(&settings);
    let _held = [served(&address), served(&address), served(&address)];
    assert!(Wire::open_at(&address).is_closed());
}

#[test]
fn no_more_connections_are_taken_in_a_second_than_the_creation_rate() {
    let _turn = together();
    let address = start(&[("max.connection.creation.rate", "5")]);
    let began = Instant::now();
    for _ in 0..16 {
        assert!(is_served(&mut Wire::open_at(&address)));
    }
    // Three full seconds must have begun; how long each took is the machine's business.
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn an_idle_connection_is_closed_and_one_whose_reply_is_owed_is_not() {
    let _turn = together();
    let address = start(&[("connections.max.idle.ms", "1000")]);
    let mut idle = served(&address);
    let mut waiting = served(&address);
    create(&mut waiting, "idle", 1, &[]);
    let request = fetch("idle", vec![fetch_partition(0, 0)]).with_max_wait_ms(3000);
    let frame = waiting.frame(12, &request);
    waiting.send(&frame);
    assert!(idle.is_closed());
    assert_eq!(waiting.reply::<FetchRequest>(12).1.error_code, 0);
    assert!(is_served(&mut waiting), "the reply was activity as well");
    assert!(waiting.is_closed());
}

#[test]
fn a_frame_that_never_completes_is_given_up_after_the_idle_time_however_it_trickles() {
    let _turn = together();
    let address = start(&[("connections.max.idle.ms", "1000")]);
    let heads: [&[u8]; 3] = [&[0, 0], &[0, 0, 0, 50, 0, 18], &[0, 0x0f, 0, 0, 0, 0, 0, 9]];
    for head in heads {
        let wire = Wire::open_at(&address);
        let mut writer: TcpStream = wire.stream.try_clone().unwrap();
        writer.write_all(head).unwrap();
        // A byte now and then is no excuse.
        let trickle = std::thread::spawn(move || {
            for _ in 0..40 {
                if head.len() == 2 || writer.write_all(&[0]).is_err() {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            false
        });
        let mut wire = wire;
        assert!(wire.is_closed(), "{head:?}");
        assert!(trickle.join().unwrap(), "it was given up before it was whole: {head:?}");
    }
}

#[test]
fn a_client_that_never_reads_is_closed_and_is_not_read_from() {
    let _turn = alone();
    let address = start(&[("connections.max.idle.ms", "1000")]);
    let mut wire = served(&address);
    create(&mut wire, "unread", 1, &[]);
    let large = "x".repeat(900_000);
    for _ in 0..30 {
        put_good(&mut wire, "unread", &batch(&[&large]));
    }
    let one = fetch_partition(0, 0).with_partition_max_bytes(50 << 20);
    let frame = wire.frame(12, &fetch("unread", vec![one]));
    let mut sent = 0;
    // Requests are taken until the socket's buffers are full, then the connection is reset.
    while sent < 2_000_000 && wire.stream.write_all(&frame).is_ok() {
        sent += 1;
    }
    assert!(sent < 2_000_000, "the broker took request after request");
}

#[test]
fn a_request_over_socket_request_max_bytes_is_refused_before_it_is_read() {
    let _turn = together();
    let address = start(&[("socket.request.max.bytes", "2000")]);
    let mut wire = served(&address);
    let mut head = 2001_i32.to_be_bytes().to_vec();
    head.extend([0, 18, 0, 0, 0, 0, 0, 7]);
    wire.send(&head);
    assert!(wire.is_closed());
    let mut wire = served(&address);
    wire.send(&[&2000_i32.to_be_bytes()[..], &[0, 18, 0, 0, 0, 0, 0, 7]].concat());
    assert!(wire.is_silent(Duration::from_millis(200)), "the rest is waited for");
}

#[test]
fn large_requests_wait_for_queued_max_request_bytes() {
    let _turn = together();
    // Room for one of them: the largest request always fits.
    let settings =
        [("queued.max.request.bytes", "200000"), ("socket.request.max.bytes", "1000000")];
    let address = start(&settings);
    let mut first = served(&address);
    create(&mut first, "queued", 1, &[]);
    let large = "x".repeat(800_000);
    let request = crate::requests::produce("queued", 0, -1, &batch(&[&large]));
    let frame = first.frame(12, &request);
    first.send(&frame[..100_000]);
    let mut second = served(&address);
    let again = second.frame(12, &request);
    let mut writer = second.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&again));
    assert!(second.is_silent(Duration::from_millis(500)), "the first holds the memory");
    first.send(&frame[100_000..]);
    assert!(first.receive().is_some());
    assert!(second.receive().is_some());
    sender.join().unwrap().unwrap();
}

#[test]
fn the_largest_request_fits_whatever_memory_is_left_to_requests() {
    let _turn = together();
    let settings = [("queued.max.request.bytes", "1000"), ("socket.request.max.bytes", "200000")];
    let mut wire = served(&start(&settings));
    let mut request = [&200_000_i32.to_be_bytes()[..], &[0, 18, 0, 0, 0, 0, 0, 7, 0, 0]].concat();
    request.resize(200_004, 0);
    wire.send(&request);
    assert!(!wire.is_silent(Duration::from_secs(20)), "it is read whole, whatever is said to it");
}

#[test]
fn tls_and_http_on_the_plain_port_end_at_once() {
    let _turn = together();
    let hello = [0x16, 0x03, 0x01, 0x00, 0xf4, 0x01, 0x00, 0x00, 0xf0];
    for bytes in [&hello[..], b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n"] {
        let mut wire = Wire::open();
        wire.send(bytes);
        assert!(wire.is_closed());
    }
}
