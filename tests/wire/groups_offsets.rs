//! Committing and fetching offsets (kafka.md G9, G10), and topics made again.

use bytes::{BufMut, Bytes, BytesMut};
use proto_kafka::{
    messages::{
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, TopicName,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use crate::{
    broker::{Wire, together},
    groups::{
        ILLEGAL_GENERATION, Member, REBALANCE_IN_PROGRESS, UNITED, UNKNOWN_MEMBER, find, group,
        pair, stable_pair, text, topic,
    },
    requests::{delete, name},
};

const UNKNOWN_TOPIC: i16 = 3;
const METADATA_TOO_LARGE: i16 = 12;
const GROUP_ID_NOT_FOUND: i16 = 69;
const SUBSCRIBED: i16 = 86;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// A commit without a member, of one partition.
fn simple(id: &str, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("meta")));
    let topic = OffsetCommitRequestTopic::default().with_name(name(topic));
    OffsetCommitRequest::default()
        .with_group_id(group(id))
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

fn commit(wire: &mut Wire, version: i16, request: &OffsetCommitRequest) -> i16 {
    wire.call(version, request).topics[0].partitions[0].error_code
}

/// Offset, leader epoch, metadata and code of a partition.
type Told = (i64, i32, String, i16);

fn fetch(wire: &mut Wire, version: i16, id: &str, topic: &str, partition: i32) -> Told {
    let words = |words: Option<StrBytes>| words.unwrap().to_string();
    if version < 8 {
        let topic = OffsetFetchRequestTopic::default().with_name(name(topic));
        let request = OffsetFetchRequest::default()
            .with_group_id(group(id))
            .with_topics(Some(vec![topic.with_partition_indexes(vec![partition])]));
        let answer = wire.call(version, &request);
        assert_eq!(answer.error_code, 0);
        let told = &answer.topics[0].partitions[0];
        let (offset, epoch) = (told.committed_offset, told.committed_leader_epoch);
        return (offset, epoch, words(told.metadata.clone()), told.error_code);
    }
    let topic = OffsetFetchRequestTopics::default().with_name(name(topic));
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group(id))
        .with_topics(Some(vec![topic.with_partition_indexes(vec![partition])]));
    let answer = wire.call(version, &OffsetFetchRequest::default().with_groups(vec![asked]));
    assert_eq!((answer.groups[0].error_code, answer.groups[0].group_id.0.as_str()), (0, id));
    let told = &answer.groups[0].topics[0].partitions[0];
    let (offset, epoch) = (told.committed_offset, told.committed_leader_epoch);
    (offset, epoch, words(told.metadata.clone()), told.error_code)
}

fn nothing() -> Told {
    (-1, -1, String::new(), 0)
}

/// The topic's name, its error and its partitions' codes, of a group's whole offsets.
fn all(wire: &mut Wire, version: i16, id: &str) -> Vec<(String, Vec<i64>)> {
    let of = |name: &TopicName, offsets: Vec<i64>| (name.0.to_string(), offsets);
    let mut told: Vec<_> = if version < 8 {
        let request = OffsetFetchRequest::default().with_group_id(group(id)).with_topics(None);
        let answer = wire.call(version, &request);
        let offsets =
            |topic: &proto_kafka::messages::offset_fetch_response::OffsetFetchResponseTopic| {
                topic.partitions.iter().map(|it| it.committed_offset).collect()
            };
        answer.topics.iter().map(|topic| of(&topic.name, offsets(topic))).collect()
    } else {
        let asked = OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(None);
        let answer = wire.call(version, &OffsetFetchRequest::default().with_groups(vec![asked]));
        let topics = answer.groups[0].topics.iter();
        topics
            .map(|it| of(&it.name, it.partitions.iter().map(|p| p.committed_offset).collect()))
            .collect()
    };
    told.sort();
    told
}

fn compact(body: &mut BytesMut, text: &str) {
    body.put_u8(u8::try_from(text.len() + 1).unwrap());
    body.put_slice(text.as_bytes());
}

/// OffsetCommit 10 of partition 0 to a topic by its id: the code.
fn commit_by_id(wire: &mut Wire, id: &str, topic: Uuid, partition: i32, offset: i64) -> i16 {
    let mut body = BytesMut::new();
    compact(&mut body, id);
    body.put_i32(-1);
    compact(&mut body, "");
    body.put_u8(0);
    body.put_u8(2);
    body.put_slice(topic.as_bytes());
    body.put_u8(2);
    body.put_i32(partition);
    body.put_i64(offset);
    body.put_i32(-1);
    compact(&mut body, "meta");
    body.put_slice(&[0, 0, 0]);
    let frame = wire.framed(8, 10, &body);
    wire.send(&frame);
    let reply = wire.receive().unwrap();
    // Correlation, tags; throttle; one topic: its id; one partition: index, code.
    assert_eq!((&reply[9..10], &reply[10..26], reply[26]), (&[2][..], &topic.as_bytes()[..], 2));
    assert_eq!(reply[27..31], partition.to_be_bytes());
    assert_eq!((&reply[33..], reply.len()), (&[0, 0, 0][..], 36));
    i16::from_be_bytes([reply[31], reply[32]])
}

/// OffsetFetch 10 of a group, of partition 0 of a topic by its id or of all: the answer's body.
fn fetch_by_id(wire: &mut Wire, id: &str, topic: Option<Uuid>) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(2);
    compact(&mut body, id);
    body.put_u8(0);
    body.put_i32(-1);
    match topic {
        Some(topic) => {
            body.put_u8(2);
            body.put_slice(topic.as_bytes());
            body.put_u8(2);
            body.put_i32(0);
            body.put_u8(0);
        }
        None => body.put_u8(0),
    }
    body.put_slice(&[0, 1, 0]);
    let frame = wire.framed(9, 10, &body);
    wire.send(&frame);
    wire.receive().unwrap().slice(5..)
}

/// A whole answer of `fetch_by_id` that tells of partition 0 of one topic.
fn told_by_id(id: &str, topic: Uuid, offset: i64, metadata: &str, code: i16) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i32(0);
    body.put_u8(2);
    compact(&mut body, id);
    body.put_u8(2);
    body.put_slice(topic.as_bytes());
    body.put_u8(2);
    body.put_i32(0);
    body.put_i64(offset);
    body.put_i32(-1);
    compact(&mut body, metadata);
    body.put_i16(code);
    body.put_slice(&[0, 0]);
    body.put_i16(0);
    body.put_slice(&[0, 0]);
    body.freeze()
}

#[test]
fn an_offset_is_committed_and_fetched_in_every_version() {
    let _turn = together();
    let mut wire = Wire::open();
    let id = topic(&mut wire, "offsets", 2);
    find(&mut wire, "offsets");
    for version in 2..=9 {
        let offset = i64::from(version) * 10;
        assert_eq!(commit(&mut wire, version, &simple("offsets", "offsets", 0, offset)), 0);
        for reading in 1..=9 {
            let told = (offset, -1, "meta".to_owned(), 0);
            assert_eq!(fetch(&mut wire, reading, "offsets", "offsets", 0), told);
            assert_eq!(fetch(&mut wire, reading, "offsets", "offsets", 1), nothing());
        }
    }
    assert_eq!(commit_by_id(&mut wire, "offsets", id, 0, 100), 0);
    assert_eq!(fetch(&mut wire, 9, "offsets", "offsets", 0).0, 100);
    let told = told_by_id("offsets", id, 100, "meta", 0);
    assert_eq!(fetch_by_id(&mut wire, "offsets", Some(id)), told);
    assert_eq!(fetch_by_id(&mut wire, "offsets", None), told);
}

#[test]
fn a_leader_epoch_is_kept_from_6_on_and_told_from_5_on() {
    let _turn = together();
    let mut wire = Wire::open();
    topic(&mut wire, "commit-epochs", 1);
    find(&mut wire, "commit-epochs");
    for version in 6..=9 {
        let mut request = simple("commit-epochs", "commit-epochs", 0, 5);
        request.topics[0].partitions[0].committed_leader_epoch = i32::from(version);
        assert_eq!(commit(&mut wire, version, &request), 0);
        for reading in 1..=9 {
            let epoch = if reading < 5 { -1 } else { i32::from(version) };
            assert_eq!(fetch(&mut wire, reading, "commit-epochs", "commit-epochs", 0).1, epoch);
        }
    }
}

#[test]
fn a_topic_or_partition_that_is_not_there_is_refused_alone() {
    let _turn = together();
    let mut wire = Wire::open();
    let id = topic(&mut wire, "not-there", 1);
    find(&mut wire, "not-there");
    for version in 2..=9 {
        assert_eq!(
            commit(&mut wire, version, &simple("not-there", "nothing", 0, 1)),
            UNKNOWN_TOPIC
        );
        assert_eq!(
            commit(&mut wire, version, &simple("not-there", "not-there", 1, 1)),
            UNKNOWN_TOPIC
        );
        let mut both = simple("not-there", "not-there", 0, 1);
        both.topics.extend(simple("not-there", "nothing", 0, 1).topics);
        let answer = wire.call(version, &both);
        let code = |topic: &str| {
            let topic = answer.topics.iter().find(|it| it.name == name(topic)).unwrap();
            topic.partitions[0].error_code
        };
        assert_eq!((code("not-there"), code("nothing")), (0, UNKNOWN_TOPIC));
    }
    assert_eq!(commit_by_id(&mut wire, "not-there", Uuid::from_u128(9), 0, 1), UNKNOWN_TOPIC_ID);
    assert_eq!(commit_by_id(&mut wire, "not-there", Uuid::nil(), 0, 1), UNKNOWN_TOPIC_ID);
    assert_eq!(commit_by_id(&mut wire, "not-there", id, 1, 1), UNKNOWN_TOPIC);
    let unknown = Uuid::from_u128(9);
    let told = told_by_id("not-there", unknown, -1, "", UNKNOWN_TOPIC_ID);
    assert_eq!(fetch_by_id(&mut wire, "not-there", Some(unknown)), told);
}

#[test]
fn metadata_may_have_4096_characters() {
    let _turn = together();
    let mut wire = Wire::open();
    topic(&mut wire, "metadata", 1);
    find(&mut wire, "metadata");
    for (length, code) in [(4096, 0), (4097, METADATA_TOO_LARGE)] {
        let mut request = simple("metadata", "metadata", 0, 1);
        let long = StrBytes::from_string("ü".repeat(length));
        request.topics[0].partitions[0].committed_metadata = Some(long);
        assert_eq!(commit(&mut wire, 8, &request), code);
    }
}

#[test]
fn what_a_group_that_is_not_there_committed_is_nothing_and_no_error() {
    let _turn = together();
    let mut wire = Wire::open();
    find(&mut wire, "no-such-group");
    for version in 1..=9 {
        assert_eq!(fetch(&mut wire, version, "no-such-group", "whatever", 3), nothing());
        if version >= 2 {
            assert!(all(&mut wire, version, "no-such-group").is_empty());
        }
    }
    let mut none = BytesMut::new();
    none.put_i32(0);
    none.put_u8(2);
    compact(&mut none, "no-such-group");
    none.put_slice(&[1, 0, 0, 0, 0]);
    assert_eq!(fetch_by_id(&mut wire, "no-such-group", None), none);
}

#[test]
fn null_topics_are_all_and_an_empty_list_is_none() {
    let _turn = together();
    let mut wire = Wire::open();
    topic(&mut wire, "all-a", 1);
    topic(&mut wire, "all-b", 1);
    find(&mut wire, "all");
    assert_eq!(commit(&mut wire, 8, &simple("all", "all-a", 0, 1)), 0);
    assert_eq!(commit(&mut wire, 8, &simple("all", "all-b", 0, 2)), 0);
    for version in 2..=9 {
        let told = all(&mut wire, version, "all");
        assert_eq!(told, [("all-a".to_owned(), vec![1]), ("all-b".to_owned(), vec![2])]);
    }
    let none = OffsetFetchRequest::default().with_group_id(group("all")).with_topics(Some(vec![]));
    assert!(wire.call(2, &none).topics.is_empty());
}

#[test]
fn several_groups_are_asked_at_once_from_8_on_and_stable_offsets_from_7_on() {
    let _turn = together();
    let mut wire = Wire::open();
    topic(&mut wire, "several", 1);
    find(&mut wire, "several-a");
    find(&mut wire, "several-b");
    assert_eq!(commit(&mut wire, 8, &simple("several-a", "several", 0, 1)), 0);
    for version in 8..=9 {
        let asked = ["several-a", "several-b"].map(|id| {
            OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(None)
        });
        let request =
            OffsetFetchRequest::default().with_groups(asked.into()).with_require_stable(true);
        let answer = wire.call(version, &request);
        let told = answer.groups.iter().map(|it| (it.group_id.0.to_string(), it.topics.len()));
        let mut told: Vec<_> = told.collect();
        told.sort();
        assert_eq!(told, [("several-a".to_owned(), 1), ("several-b".to_owned(), 0)]);
    }
    let request = OffsetFetchRequest::default()
        .with_group_id(group("several-a"))
        .with_topics(None)
        .with_require_stable(true);
    assert_eq!(wire.call(7, &request).topics[0].partitions[0].committed_offset, 1);
}

#[test]
fn without_a_member_only_an_empty_group_may_be_committed_to() {
    let _turn = together();
    let mut member = Member::new("who-simple");
    topic(&mut member.wire, "who-simple", 1);
    let request = simple("who-simple", "who-simple", 0, 1);
    for version in 2..=9 {
        assert_eq!(commit(&mut member.wire, version, &request), 0);
    }
    member.settle();
    for version in 2..=9 {
        assert_eq!(commit(&mut member.wire, version, &request), UNKNOWN_MEMBER);
    }
    assert_eq!(member.leave(), 0);
    assert_eq!(commit(&mut member.wire, 8, &request), 0, "it is empty again");
}

#[test]
fn a_member_commits_in_its_generation_and_not_while_the_leader_assigns() {
    let _turn = together();
    let (mut leader, mut other) = pair("who-member");
    topic(&mut leader.wire, "who-member", 1);
    assert_eq!(leader.commit("who-member", 1), REBALANCE_IN_PROGRESS);
    let (one, two) = (leader.id.clone(), other.id.clone());
    leader.sync(&[(&one, "1"), (&two, "2")]).unwrap();
    assert_eq!((leader.commit("who-member", 1), other.commit("who-member", 2)), (0, 0));
    other.protocols = vec![("range", b"\0\0\0\0\0\0\0\0\0\x07changed")];
    other.ask_join();
    leader.beat_until_rebalance();
    assert_eq!(leader.commit("who-member", 3), 0, "while members join, to finish what they had");
    leader.generation = 0;
    assert_eq!(leader.commit("who-member", 4), ILLEGAL_GENERATION);
    leader.id = "who".to_owned();
    assert_eq!(leader.commit("who-member", 4), UNKNOWN_MEMBER);
    assert_eq!(fetch(&mut Wire::open(), 8, "who-member", "who-member", 0).0, 3);
}

#[test]
fn a_generation_of_a_group_that_is_not_there_is_wrong_and_from_9_on_the_group_is_unknown() {
    let _turn = together();
    let mut wire = Wire::open();
    topic(&mut wire, "no-generation", 1);
    find(&mut wire, "no-generation");
    let request = simple("no-generation", "no-generation", 0, 1)
        .with_generation_id_or_member_epoch(3)
        .with_member_id(text("m"));
    for version in 2..=9 {
        let code = if version < 9 { ILLEGAL_GENERATION } else { GROUP_ID_NOT_FOUND };
        assert_eq!(commit(&mut wire, version, &request), code);
    }
}

/// Kafka shows the offset of the topic before until it has heard that that is gone.
#[test]
fn a_topic_made_again_has_no_offsets_and_keeps_those_it_gets() {
    let _turn = together();
    let mut wire = Wire::open();
    find(&mut wire, "made-again");
    for round in 0..5 {
        let id = topic(&mut wire, "made-again", 1);
        assert_eq!(fetch(&mut wire, 9, "made-again", "made-again", 0), nothing(), "round {round}");
        assert_eq!(commit(&mut wire, 9, &simple("made-again", "made-again", 0, 7)), 0);
        assert_eq!(fetch(&mut wire, 9, "made-again", "made-again", 0).0, 7);
        assert_eq!(
            fetch_by_id(&mut wire, "made-again", Some(id)),
            told_by_id("made-again", id, 7, "meta", 0)
        );
        delete(&mut wire, "made-again");
    }
    let id = topic(&mut wire, "made-again", 1);
    assert_eq!(commit(&mut wire, 9, &simple("made-again", "made-again", 0, 1)), 0);
    // Whatever is still to be forgotten of the topics before is forgotten by then.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(
        fetch_by_id(&mut wire, "made-again", Some(id)),
        told_by_id("made-again", id, 1, "meta", 0)
    );
}

fn delete_offsets(wire: &mut Wire, id: &str, topic: &str, partitions: &[i32]) -> (i16, Vec<i16>) {
    let partitions = partitions
        .iter()
        .map(|index| OffsetDeleteRequestPartition::default().with_partition_index(*index));
    let topic = OffsetDeleteRequestTopic::default().with_name(name(topic));
    let request = OffsetDeleteRequest::default()
        .with_group_id(group(id))
        .with_topics(vec![topic.with_partitions(partitions.collect())]);
    let answer = wire.call(0, &request);
    let mut codes: Vec<_> = answer
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter())
        .map(|it| (it.partition_index, it.error_code))
        .collect();
    codes.sort_unstable();
    (answer.error_code, codes.into_iter().map(|(_, code)| code).collect())
}

#[test]
fn offsets_are_deleted_but_not_of_a_topic_the_group_reads() {
    let _turn = together();
    const READS_USED: &[u8] = b"\0\0\0\0\0\x01\0\x04used\0\0\0\0";
    let (mut leader, mut other) = stable_pair("offset-delete");
    topic(&mut leader.wire, "used", 1);
    topic(&mut leader.wire, "unused", 2);
    for member in [&mut leader, &mut other] {
        member.protocols = vec![("range", READS_USED)];
        member.ask_join();
    }
    let next = (leader.joined().generation_id, other.joined().generation_id);
    assert_eq!(next, (UNITED + 1, UNITED + 1));
    let (one, two) = (leader.id.clone(), other.id.clone());
    leader.sync(&[(&one, "1"), (&two, "2")]).unwrap();
    assert_eq!((leader.commit("used", 1), leader.commit("unused", 2)), (0, 0));
    let wire = &mut leader.wire;
    assert_eq!(delete_offsets(wire, "offset-delete", "used", &[0]), (0, vec![SUBSCRIBED]));
    let deleted = delete_offsets(wire, "offset-delete", "unused", &[0, 1, 2]);
    assert_eq!(deleted, (0, vec![0, 0, UNKNOWN_TOPIC]));
    assert_eq!(fetch(wire, 8, "offset-delete", "unused", 0), nothing());
    assert_eq!(fetch(wire, 8, "offset-delete", "used", 0).0, 1);
    let unknown = delete_offsets(wire, "no-group-to-delete-of", "used", &[0]);
    assert_eq!(unknown, (GROUP_ID_NOT_FOUND, vec![]));
    assert_eq!(delete_offsets(wire, "", "used", &[0]).0, 24);
}
