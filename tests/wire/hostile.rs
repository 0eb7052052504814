//! What no client may bring about: a crash, a hang, memory beyond what it sent.

use std::time::Duration;

use bytes::BytesMut;
use proto_kafka::{messages::*, protocol::Request};
use strandline::env::{entropy::Entropy, sim::SimEntropy};

use crate::{
    ALLOCATED,
    broker::{Wire, alone},
};

/// What the broker itself may allocate meanwhile: WAL arenas, uploads, snapshots.
const OWN_BYTES: usize = 4 << 20;
/// Bytes a request may cost for each byte of it: a reserved element is larger than its bytes.
const COST: usize = 24;

/// Runs a deed and tells by how much memory rose at most.
fn weigh(deed: impl FnOnce()) -> usize {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    deed();
    ALLOCATED.peak_usage().saturating_sub(before)
}

fn advertised() -> Vec<(i16, i16)> {
    let request = ApiVersionsRequest::default();
    let rows = Wire::open().call(0, &request).api_keys;
    rows.iter()
        .flat_map(|row| (row.min_version..=row.max_version).map(|v| (row.api_key, v)))
        .collect()
}

fn send_and_forget(key: i16, version: i16, body: &[u8]) {
    let mut wire = Wire::open();
    wire.stream.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
    let frame = wire.framed(key, version, body);
    wire.send(&frame);
    // A reply, the end of the connection or a wait: all are fine.
    wire.stream.peek(&mut [0]).ok();
}

fn is_alive() {
    let rows = Wire::open().call(0, &ApiVersionsRequest::default()).api_keys;
    assert!(!rows.is_empty());
}

#[test]
fn random_bytes_in_every_version_of_every_api() {
    let _turn = alone();
    let entropy = SimEntropy::seeded(7);
    for (key, version) in advertised() {
        for round in 0..6 {
            let size = usize::try_from(entropy.below(300)).unwrap();
            let mut body: Vec<u8> =
                (0..size).map(|_| u8::try_from(entropy.below(256)).unwrap()).collect();
            if round % 2 == 0 {
                // Lengths that promise what never comes.
                body.splice(0..0, [0x7f, 0xff, 0xff, 0xff]);
                body.splice(0..0, [0xff, 0xff, 0xff, 0xff, 0x07]);
            }
            let rose = weigh(|| send_and_forget(key, version, &body));
            assert!(rose < OWN_BYTES, "api {key} version {version}: {rose} bytes");
        }
    }
    is_alive();
}

fn mutate<R: Request + Default>(entropy: &SimEntropy) {
    for version in R::VERSIONS.min..=R::VERSIONS.max {
        let mut body = BytesMut::new();
        if R::default().encode(&mut body, version).is_err() {
            continue;
        }
        for _ in 0..6 {
            let mut mutant = body.to_vec();
            for _ in 0..=entropy.below(3) {
                let bound = u64::try_from(mutant.len()).unwrap();
                let at = usize::try_from(entropy.below(bound)).unwrap();
                let byte = u8::try_from(entropy.below(256)).unwrap();
                match entropy.below(3) {
                    0 if at < mutant.len() => mutant[at] = byte,
                    1 => mutant.insert(at, byte),
                    _ => mutant.truncate(at),
                }
            }
            let rose = weigh(|| send_and_forget(R::KEY, version, &mutant));
            assert!(rose < OWN_BYTES, "api {} version {version}: {rose} bytes", R::KEY);
        }
    }
}

#[test]
fn mutants_of_good_requests() {
    let _turn = alone();
    let entropy = SimEntropy::seeded(11);
    macro_rules! every {
        ($($request:ty),*) => { $(mutate::<$request>(&entropy);)* };
    }
    every!(
        ProduceRequest,
        FetchRequest,
        ListOffsetsRequest,
        MetadataRequest,
        OffsetCommitRequest,
        OffsetFetchRequest,
        FindCoordinatorRequest,
        JoinGroupRequest,
        HeartbeatRequest,
        LeaveGroupRequest,
        SyncGroupRequest,
        DescribeGroupsRequest,
        ListGroupsRequest,
        ApiVersionsRequest,
        CreateTopicsRequest,
        DeleteTopicsRequest,
        DeleteRecordsRequest,
        InitProducerIdRequest,
        OffsetForLeaderEpochRequest,
        DescribeConfigsRequest,
        AlterConfigsRequest,
        DescribeLogDirsRequest,
        CreatePartitionsRequest,
        DeleteGroupsRequest,
        ElectLeadersRequest,
        IncrementalAlterConfigsRequest,
        OffsetDeleteRequest,
        DescribeClusterRequest,
        DescribeTopicPartitionsRequest
    );
    is_alive();
}

#[test]
fn a_large_request_of_lies_costs_a_small_multiple_of_its_bytes() {
    let _turn = alone();
    let bytes = 1 << 20;
    // Arrays of as many elements as are let through, and of as many as there are bytes, in both
    // encodings and wherever they start.
    let most: [&[u8]; 4] = [
        &100_000_i32.to_be_bytes(),
        &[0xa1, 0x8d, 0x06],
        &983_040_i32.to_be_bytes(),
        &[0x81, 0x80, 0x3c],
    ];
    let rotated = most.into_iter().flat_map(|claim| {
        (0..claim.len()).map(|start| {
            let mut claim = claim.to_vec();
            claim.rotate_left(start);
            claim
        })
    });
    let claims: Vec<_> = [0x00, 0x01, 0x02, 0x7f, 0xff].map(|byte| vec![byte]).into();
    let claims = claims.into_iter().chain(rotated);
    let bodies: Vec<_> =
        claims.map(|claim| (claim.clone(), claim.repeat(bytes / claim.len()))).collect();
    for (key, version) in advertised().into_iter().filter(|&(key, version)| key != 0 || version > 2)
    {
        for (claim, body) in &bodies {
            let rose = weigh(|| send_and_forget(key, version, body));
            let limit = COST * bytes;
            assert!(rose < limit, "api {key} version {version} of {claim:?}: {rose} bytes");
        }
    }
    is_alive();
}

#[test]
fn a_declared_length_reserves_nothing() {
    let _turn = alone();
    let mut wires = Vec::new();
    let rose = weigh(|| {
        for _ in 0..100 {
            let mut wire = Wire::open();
            let mut head = (99_i32 << 20).to_be_bytes().to_vec();
            head.extend([0, 0, 0, 9, 0, 0, 0, 1]);
            wire.send(&head);
            wires.push(wire);
        }
        std::thread::sleep(Duration::from_millis(200));
    });
    assert!(rose < OWN_BYTES, "{rose} bytes for 100 promises of 99 MiB");
    is_alive();
}

#[test]
fn batches_of_noise_are_refused_and_the_partition_goes_on() {
    use crate::requests::{batch, create, put, put_good, seal};
    let _turn = alone();
    let mut wire = Wire::open();
    create(&mut wire, "noise", 1, &[]);
    let entropy = SimEntropy::seeded(13);
    let mut expected = put_good(&mut wire, "noise", &batch(&["x"])) + 1;
    for _ in 0..500 {
        let mut records = batch(&["one", "two", "three"]);
        for _ in 0..=entropy.below(3) {
            let at = usize::try_from(entropy.below(records.len().try_into().unwrap())).unwrap();
            records[at] = u8::try_from(entropy.below(256)).unwrap();
        }
        if entropy.below(2) == 0 {
            seal(&mut records);
        }
        let answer = put(&mut wire, "noise", &records);
        if answer.error_code == 0 {
            assert_eq!(answer.base_offset, expected);
            expected += 3;
        }
    }
    assert_eq!(put_good(&mut wire, "noise", &batch(&["y"])), expected);
}
