//! Fetch (kafka.md F).

use std::{
    thread,
    time::{Duration, Instant},
};

use proto_kafka::messages::{
    FetchRequest, FetchResponse,
    fetch_request::{FetchTopic, ForgottenTopic},
    fetch_response::PartitionData,
};
use uuid::Uuid;

use crate::{
    broker::{Wire, together},
    requests::{batch, create, delete, fetch, fetch_partition, name, put_good},
};

fn only(response: &FetchResponse) -> &PartitionData {
    assert_eq!(response.responses.len(), 1, "{response:?}");
    &response.responses[0].partitions[0]
}

fn offsets(partition: &PartitionData) -> Vec<i64> {
    let mut records = &partition.records.as_ref().unwrap()[..];
    let mut offsets = Vec::new();
    while !records.is_empty() {
        offsets.push(i64::from_be_bytes(records[..8].try_into().unwrap()));
        let length = u32::from_be_bytes(records[8..12].try_into().unwrap());
        records = &records[12 + usize::try_from(length).unwrap()..];
    }
    offsets
}

#[test]
fn every_version_reads_what_was_written() {
    let _turn = together();
    let mut wire = Wire::open();
    let id = create(&mut wire, "read", 1, &[]);
    put_good(&mut wire, "read", &batch(&["a", "b"]));
    put_good(&mut wire, "read", &batch(&["c"]));
    for version in 4..=18 {
        let mut request = fetch("read", vec![fetch_partition(0, 0)]);
        if version >= 13 {
            request.topics[0].topic = name("");
            request.topics[0].topic_id = id;
        }
        if version < 7 {
            request.session_epoch = -1;
        }
        let response = wire.call(version, &request);
        let partition = only(&response);
        assert_eq!(partition.error_code, 0, "version {version}");
        assert_eq!(offsets(partition), [0, 2]);
        assert_eq!((partition.high_watermark, partition.last_stable_offset), (3, 3));
        assert_eq!(partition.aborted_transactions, None);
        assert_eq!(response.session_id, 0);
    }
}

#[test]
fn an_offset_inside_a_batch_gets_the_whole_batch() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "inside", 1, &[]);
    put_good(&mut wire, "inside", &batch(&["a", "b", "c"]));
    let response = wire.call(11, &fetch("inside", vec![fetch_partition(0, 2)]));
    assert_eq!(offsets(only(&response)), [0]);
}

#[test]
fn the_first_partition_with_anything_gives_a_whole_batch_whatever_the_limits() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "first", 3, &[]);
    let large = "x".repeat(5000);
    for partition in [1, 2] {
        let request = crate::requests::produce("first", partition, -1, &batch(&[&large]));
        wire.call(9, &request);
    }
    let partitions = (0..3).map(|index| fetch_partition(index, 0).with_partition_max_bytes(1));
    let request = fetch("first", partitions.collect()).with_max_bytes(1);
    let response = wire.call(11, &request);
    let sizes: Vec<_> = response.responses[0]
        .partitions
        .iter()
        .map(|partition| partition.records.as_ref().unwrap().len() > 5000)
        .collect();
    assert_eq!(sizes, [false, true, false]);
    let partitions = [0, 2, 1].map(|index| fetch_partition(index, 0).with_partition_max_bytes(1));
    let request = fetch("first", partitions.into()).with_max_bytes(1);
    let response = wire.call(11, &request);
    let full = response.responses[0].partitions.iter().filter(|it| !offsets(it).is_empty());
    let full: Vec<_> = full.map(|it| it.partition_index).collect();
    assert_eq!(full, [2], "the first in the order of the request");
}

#[test]
fn limits_are_kept_beyond_the_first_batch() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "limits", 1, &[]);
    let value = "x".repeat(1000);
    for _ in 0..10 {
        put_good(&mut wire, "limits", &batch(&[&value]));
    }
    let partition = fetch_partition(0, 0).with_partition_max_bytes(3500);
    let response = wire.call(11, &fetch("limits", vec![partition]));
    assert_eq!(offsets(only(&response)), [0, 1, 2]);
    let request = fetch("limits", vec![fetch_partition(0, 0)]).with_max_bytes(2500);
    assert_eq!(offsets(only(&wire.call(11, &request))), [0, 1]);
}

#[test]
fn an_answer_has_at_most_55_mib_whatever_was_asked() {
    const MOST: usize = 55 << 20;
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "most", 2, &[]);
    let large = batch(&[&"x".repeat(1_000_000)]);
    for partition in [0, 1] {
        for _ in 0..30 {
            wire.call(9, &crate::requests::produce("most", partition, 1, &large));
        }
    }
    let all = |index| fetch_partition(index, 0).with_partition_max_bytes(i32::MAX);
    let request = fetch("most", vec![all(0), all(1)]).with_max_bytes(i32::MAX);
    let response = wire.call(12, &request);
    let counts = response.responses[0].partitions.iter().map(|part| offsets(part).len());
    assert!(counts.eq([30, MOST / large.len() - 30]));
}

#[test]
fn a_fetch_waits_for_its_bytes_and_wakes_when_they_come() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "wakes", 1, &[]);
    let began = Instant::now();
    let writer = thread::spawn(|| {
        thread::sleep(Duration::from_millis(300));
        put_good(&mut Wire::open(), "wakes", &batch(&["x"]));
    });
    let request = fetch("wakes", vec![fetch_partition(0, 0)]).with_max_wait_ms(15_000);
    let response = wire.call(11, &request);
    let waited = began.elapsed();
    assert_eq!(offsets(only(&response)), [0]);
    assert!(waited > Duration::from_millis(200) && waited < Duration::from_secs(10), "{waited:?}");
    writer.join().unwrap();
}

#[test]
fn a_fetch_of_nothing_is_answered_when_its_time_is_up() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "late", 1, &[]);
    put_good(&mut wire, "late", &batch(&["x"]));
    let began = Instant::now();
    let request =
        fetch("late", vec![fetch_partition(0, 0)]).with_max_wait_ms(300).with_min_bytes(1_000_000);
    let response = wire.call(11, &request);
    assert!(began.elapsed() >= Duration::from_millis(290));
    assert_eq!(offsets(only(&response)), [0], "what there is comes all the same");
}

#[test]
fn bytes_of_several_partitions_add_up_to_what_a_fetch_waits_for() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "sums", 3, &[]);
    let one = batch(&["x"]);
    for partition in [0, 2] {
        wire.call(9, &crate::requests::produce("sums", partition, -1, &one));
    }
    let both = i32::try_from(one.len() * 2).unwrap();
    let partitions: Vec<_> = (0..3).map(|index| fetch_partition(index, 0)).collect();
    let request = fetch("sums", partitions).with_max_wait_ms(15_000).with_min_bytes(both);
    let began = Instant::now();
    let response = wire.call(11, &request);
    assert!(began.elapsed() < Duration::from_secs(10), "enough was there from the beginning");
    let counts = response.responses[0].partitions.iter().map(|part| offsets(part).len());
    assert!(counts.eq([1, 0, 1]));
    let writer = thread::spawn(|| {
        thread::sleep(Duration::from_millis(200));
        let request = crate::requests::produce("sums", 1, -1, &batch(&["y"]));
        Wire::open().call(9, &request);
    });
    let response = wire.call(11, &request.with_min_bytes(both + 1));
    assert_eq!(offsets(&response.responses[0].partitions[1]), [0], "the third made it enough");
    writer.join().unwrap();
}

#[test]
fn who_wants_more_than_fits_an_answer_gets_what_fits() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "fits", 1, &[]);
    put_good(&mut wire, "fits", &batch(&[&"x".repeat(2000)]));
    let request = fetch("fits", vec![fetch_partition(0, 0)])
        .with_max_wait_ms(15_000)
        .with_min_bytes(1_000_000)
        .with_max_bytes(1000);
    let began = Instant::now();
    assert_eq!(offsets(only(&wire.call(11, &request))), [0]);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_partition_asked_for_twice_is_answered_once_as_it_was_asked_last() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "asked-twice", 1, &[]);
    put_good(&mut wire, "asked-twice", &batch(&["x"]));
    put_good(&mut wire, "asked-twice", &batch(&["y"]));
    let request = fetch("asked-twice", vec![fetch_partition(0, 0), fetch_partition(0, 1)]);
    let response = wire.call(11, &request);
    assert_eq!(response.responses[0].partitions.len(), 1);
    assert_eq!(offsets(only(&response)), [1]);
}

#[test]
fn aborted_transactions_are_a_list_for_read_committed_and_null_otherwise() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "isolation", 1, &[]);
    put_good(&mut wire, "isolation", &batch(&["x"]));
    let mut aborted = |isolation: i8, offset| {
        let request = fetch("isolation", vec![fetch_partition(0, offset)]);
        let response = wire.call(11, &request.with_isolation_level(isolation));
        only(&response).aborted_transactions.as_ref().map(Vec::len)
    };
    assert_eq!((aborted(1, 0), aborted(1, 1)), (Some(0), Some(0)));
    assert_eq!((aborted(0, 0), aborted(1, 7)), (None, None));
    let unknown = wire.call(11, &fetch("no-isolation", vec![fetch_partition(0, 0)]));
    assert_eq!(only(&unknown).aborted_transactions, Some(Vec::new()), "as Kafka has it");
}

#[test]
fn a_waiting_fetch_learns_that_its_topic_is_gone() {
    let _turn = together();
    let mut wire = Wire::open();
    for (version, code) in [(11, 3), (12, 3), (13, 100), (18, 100)] {
        let id = create(&mut wire, "gone", 1, &[]);
        let mut request = fetch("gone", vec![fetch_partition(0, 0)]).with_max_wait_ms(15_000);
        if version >= 13 {
            request.topics[0].topic = name("");
            request.topics[0].topic_id = id;
        }
        let deleter = thread::spawn(|| {
            thread::sleep(Duration::from_millis(200));
            delete(&mut Wire::open(), "gone");
        });
        let began = Instant::now();
        assert_eq!(only(&wire.call(version, &request)).error_code, code, "version {version}");
        assert!(began.elapsed() < Duration::from_secs(10));
        deleter.join().unwrap();
    }
}

#[test]
fn a_fetch_that_can_gain_nothing_by_waiting_is_answered_at_once() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "no-wait", 2, &[]);
    put_good(&mut wire, "no-wait", &batch(&["x"]));
    let epoch =
        wire.call(9, &crate::requests::metadata(&["no-wait"])).topics[0].partitions[0].leader_epoch;
    let waiting = fetch_partition(1, 0);
    let cases = [
        (vec![waiting.clone(), fetch_partition(9, 0)], 3, "an unknown partition"),
        (vec![waiting.clone(), fetch_partition(0, 7)], 1, "an offset out of range"),
        (vec![waiting.clone(), fetch_partition(0, 1).with_current_leader_epoch(epoch + 1)], 75, ""),
        (vec![waiting, fetch_partition(0, 7).with_last_fetched_epoch(epoch)], 0, "diverging"),
    ];
    let began = Instant::now();
    for (partitions, code, what) in cases {
        let request = fetch("no-wait", partitions).with_max_wait_ms(15_000);
        let response = wire.call(12, &request);
        let told = &response.responses[0].partitions[1];
        assert_eq!(told.error_code, code, "{what}");
        let ends = if what == "diverging" { (epoch, 1) } else { (-1, -1) };
        assert_eq!((told.diverging_epoch.epoch, told.diverging_epoch.end_offset), ends);
    }
    let nothing = fetch("no-wait", vec![]).with_topics(vec![]).with_max_wait_ms(15_000);
    assert!(wire.call(12, &nothing).responses.is_empty());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_partition_in_error_has_no_offsets_and_no_records_that_are_null() {
    let _turn = together();
    let mut wire = Wire::open();
    let id = create(&mut wire, "in-error", 1, &[]);
    put_good(&mut wire, "in-error", &batch(&["x"]));
    for version in 4..=18 {
        for (partition, offset, code) in [(0, 7, 1), (3, 0, 3)] {
            let mut request = fetch("in-error", vec![fetch_partition(partition, offset)]);
            if version >= 13 {
                request.topics[0].topic = name("");
                request.topics[0].topic_id = id;
            }
            let response = wire.call(version, &request);
            let told = only(&response);
            assert_eq!(told.error_code, code, "version {version}");
            let offsets = (told.high_watermark, told.last_stable_offset, told.log_start_offset);
            assert_eq!(offsets, (-1, -1, -1), "version {version}");
            assert_eq!(told.records.as_ref().map(|records| records.len()), Some(0));
        }
    }
}

#[test]
fn offsets_beyond_the_ends_are_out_of_range_and_the_end_is_empty() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "range", 1, &[]);
    put_good(&mut wire, "range", &batch(&["x"]));
    for (offset, code) in [(0, 0), (1, 0), (2, 1), (-1, 1), (i64::MAX, 1)] {
        let response = wire.call(11, &fetch("range", vec![fetch_partition(0, offset)]));
        let partition = only(&response);
        assert_eq!(partition.error_code, code, "offset {offset}");
        assert_eq!(partition.high_watermark, if code == 0 { 1 } else { -1 });
        assert!(partition.records.is_some(), "never null");
    }
}

#[test]
fn unknown_topics_and_ids_have_their_codes() {
    let _turn = together();
    let mut wire = Wire::open();
    let response = wire.call(11, &fetch("not-there", vec![fetch_partition(0, 0)]));
    assert_eq!(only(&response).error_code, 3);
    let mut request = fetch("", vec![fetch_partition(0, 0)]);
    request.topics[0].topic_id = Uuid::from_u128(4);
    assert_eq!(only(&wire.call(13, &request)).error_code, 100);
}

#[test]
fn leader_epochs_fence_and_histories_that_diverge_are_told() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "epochs", 1, &[]);
    put_good(&mut wire, "epochs", &batch(&["x"]));
    let current = {
        let answer = wire.call(9, &crate::requests::metadata(&["epochs"]));
        answer.topics[0].partitions[0].leader_epoch
    };
    let mut code = |epoch| {
        let partition = fetch_partition(0, 0).with_current_leader_epoch(epoch);
        only(&wire.call(12, &fetch("epochs", vec![partition]))).error_code
    };
    assert_eq!((code(current), code(-1)), (0, 0));
    assert_eq!(code(current + 1), 75);
    assert_eq!(code(-2), 0, "below 0 is none");
    let partition = fetch_partition(0, 1).with_last_fetched_epoch(current);
    let response = wire.call(12, &fetch("epochs", vec![partition]));
    assert_eq!(only(&response).diverging_epoch.end_offset, -1, "the histories agree");
}

#[test]
fn who_says_it_is_a_replica_is_none_here() {
    let _turn = together();
    let mut wire = Wire::open();
    let id = create(&mut wire, "no-replica", 1, &[]);
    put_good(&mut wire, "no-replica", &batch(&["x"]));
    let leader = wire.call(9, &crate::requests::metadata(&["no-replica"]));
    let (node, epoch) = {
        let partition = &leader.topics[0].partitions[0];
        (partition.leader_id, partition.leader_epoch)
    };
    for version in 4..=18 {
        for (replica, known, code) in [(-1, -1, 0), (-2, -1, 0), (7, -1, 6), (node.0, -1, 6)]
            .into_iter()
            .chain((version >= 9).then_some((7, epoch, 75)))
        {
            let partition = fetch_partition(0, 0).with_current_leader_epoch(known);
            let mut request = fetch("no-replica", vec![partition]);
            if version >= 13 {
                request.topics[0].topic = name("");
                request.topics[0].topic_id = id;
            }
            if version >= 15 {
                request.replica_state.replica_id = replica.into();
            } else {
                request.replica_id = replica.into();
            }
            let response = wire.call(version, &request.with_max_wait_ms(20_000));
            let told = only(&response);
            assert_eq!(told.error_code, code, "version {version} replica {replica}");
            let none = (-1, -1, &b""[..]);
            if code != 0 {
                let records = told.records.as_deref().unwrap();
                assert_eq!((told.high_watermark, told.log_start_offset, records), none);
            }
            let here = if version >= 16 && code == 6 { (node.0, epoch) } else { (-1, -1) };
            let current = &told.current_leader;
            assert_eq!((current.leader_id.0, current.leader_epoch), here, "version {version}");
            assert_eq!(response.node_endpoints.len(), usize::from(here.1 >= 0));
        }
    }
}

fn in_session(id: i32, epoch: i32, request: FetchRequest) -> FetchRequest {
    request.with_session_id(id).with_session_epoch(epoch)
}

fn listed(response: &FetchResponse) -> Vec<i32> {
    let topics = response.responses.iter();
    topics.flat_map(|topic| &topic.partitions).map(|partition| partition.partition_index).collect()
}

#[test]
fn a_session_tells_only_what_changed() {
    let _turn = together();
    let mut wire = Wire::open();
    create(&mut wire, "session", 3, &[]);
    let partitions = (0..3).map(|index| fetch_partition(index, 0)).collect();
    let opened = wire.call(11, &in_session(0, 0, fetch("session", partitions)));
    let id = opened.session_id;
    assert_ne!(id, 0);
    assert_eq!(listed(&opened), [0, 1, 2]);
    let nothing = FetchRequest::default().with_max_wait_ms(0).with_max_bytes(1 << 20);
    let quiet = wire.call(11, &in_session(id, 1, nothing.clone()));
    assert_eq!((quiet.session_id, listed(&quiet)), (id, vec![]));
    let request = crate::requests::produce("session", 1, -1, &batch(&["x"]));
    wire.call(9, &request);
    let news = wire.call(11, &in_session(id, 2, nothing.clone()));
    assert_eq!(listed(&news), [1]);
    let moved = fetch("session", vec![fetch_partition(1, 1)]);
    assert_eq!(listed(&wire.call(11, &in_session(id, 3, moved))), [0; 0]);
    let forget = ForgottenTopic::default().with_topic(name("session")).with_partitions(vec![0, 2]);
    let fewer = nothing.clone().with_forgotten_topics_data(vec![forget]);
    assert_eq!(wire.call(11, &in_session(id, 4, fewer)).session_id, id);
    assert_eq!(wire.call(11, &in_session(id, 4, nothing.clone())).error_code, 71, "used epoch");
    assert_eq!(wire.call(11, &in_session(id + 1, 1, nothing.clone())).error_code, 70);
    let by_id = FetchTopic::default().with_topic_id(Uuid::from_u128(1));
    let mixed = nothing.clone().with_topics(vec![by_id]);
    assert_eq!(wire.call(13, &in_session(id, 5, mixed)).error_code, 106);
    let closing = in_session(id, -1, fetch("session", vec![fetch_partition(0, 0)]));
    assert_eq!(wire.call(11, &closing).session_id, 0);
    assert_eq!(wire.call(11, &in_session(id, 5, nothing)).error_code, 70, "it was closed");
}
