//! A member of a group, as its client speaks for it; and joining, in every version (kafka.md G1-G4).

use std::time::Duration;

use bytes::Bytes;
use proto_kafka::{
    messages::{
        FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest, SyncGroupResponse,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use crate::{
    broker::{Wire, start, together},
    requests::{create, metadata, name},
};

pub const ILLEGAL_GENERATION: i16 = 22;
pub const INCONSISTENT_PROTOCOL: i16 = 23;
pub const INVALID_GROUP_ID: i16 = 24;
pub const UNKNOWN_MEMBER: i16 = 25;
pub const INVALID_SESSION_TIMEOUT: i16 = 26;
pub const REBALANCE_IN_PROGRESS: i16 = 27;
pub const MEMBER_ID_REQUIRED: i16 = 79;
pub const GROUP_FULL: i16 = 81;
pub const FENCED_INSTANCE: i16 = 82;

/// A subscription to nothing with a text beside it. Kafka looks into subscriptions, and of those
/// that are none some make its coordinator wait for ever.
pub const AS_RANGE: &[u8] = b"\0\0\0\0\0\0\0\0\0\x08as range";

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

/// Finds a group's coordinator, waiting while there is none yet.
pub fn find(wire: &mut Wire, id: &str) {
    for _ in 0..1000 {
        let request = FindCoordinatorRequest::default().with_key(text(id));
        if wire.call(2, &request).error_code == 0 {
            let beat = HeartbeatRequest::default().with_group_id(group(id));
            if wire.call(0, &beat).error_code == UNKNOWN_MEMBER {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no coordinator of {id}");
}

/// Creates a topic, waits until it is told of, and tells its id.
pub fn topic(wire: &mut Wire, topic: &str, partitions: i32) -> Uuid {
    let id = create(wire, topic, partitions, &[]);
    while wire.call(9, &metadata(&[topic])).topics[0].error_code != 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    id
}

/// A client in a group, on a connection of its own.
pub struct Member {
    pub wire: Wire,
    /// Of JoinGroup; the others are the newest that go with it.
    pub version: i16,
    pub group: String,
    pub id: String,
    pub instance: Option<&'static str>,
    pub generation: i32,
    pub session_ms: i32,
    pub rebalance_ms: i32,
    pub protocols: Vec<(&'static str, &'static [u8])>,
}

impl Member {
    pub fn new(group: &str) -> Self {
        Self::on(Wire::open(), group)
    }

    pub fn on(mut wire: Wire, group: &str) -> Self {
        find(&mut wire, group);
        Self {
            wire,
            version: 9,
            group: group.to_owned(),
            id: String::new(),
            instance: None,
            generation: -1,
            session_ms: 30_000,
            rebalance_ms: 30_000,
            protocols: vec![("range", AS_RANGE)],
        }
    }

    pub fn of_version(group: &str, version: i16) -> Self {
        Self { version, ..Self::new(group) }
    }

    pub fn named(group: &str, instance: &'static str) -> Self {
        Self { instance: Some(instance), ..Self::new(group) }
    }

    pub fn join_request(&self) -> JoinGroupRequest {
        let protocols = self.protocols.iter().map(|(name, metadata)| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(Bytes::from_static(metadata))
        });
        let request = JoinGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_member_id(text(&self.id))
            .with_session_timeout_ms(self.session_ms)
            .with_protocol_type(text("consumer"))
            .with_protocols(protocols.collect());
        let request = if self.version >= 5 {
            request.with_group_instance_id(self.instance())
        } else {
            request
        };
        if self.version >= 1 {
            return request.with_rebalance_timeout_ms(self.rebalance_ms);
        }
        request
    }

    fn instance(&self) -> Option<StrBytes> {
        self.instance.map(text)
    }

    /// Asks to join; the answer comes when the generation begins.
    pub fn ask_join(&mut self) {
        let frame = self.wire.frame(self.version, &self.join_request());
        self.wire.send(&frame);
    }

    /// The answer to `ask_join`; a member id in it is taken.
    pub fn joined(&mut self) -> JoinGroupResponse {
        let (_, answer) = self.wire.reply::<JoinGroupRequest>(self.version);
        if [0, MEMBER_ID_REQUIRED].contains(&answer.error_code) {
            self.id = answer.member_id.to_string();
            self.generation = answer.generation_id;
        }
        answer
    }

    /// Gets an id where the version wants one first, then asks to join.
    pub fn begin(&mut self) {
        self.ask_join();
        if self.version >= 4 && self.instance.is_none() && self.id.is_empty() {
            assert_eq!(self.joined().error_code, MEMBER_ID_REQUIRED);
            self.ask_join();
        }
    }

    /// Joins, alone or with others that have begun.
    pub fn join(&mut self) -> JoinGroupResponse {
        self.begin();
        let answer = self.joined();
        assert_eq!(answer.error_code, 0, "{answer:?}");
        answer
    }

    pub fn sync_request(&self, assignments: &[(&str, &'static str)]) -> SyncGroupRequest {
        let assignments = assignments.iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(Bytes::from_static(assignment.as_bytes()))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_assignments(assignments.collect());
        if self.sync_version() < 3 {
            return request;
        }
        request.with_group_instance_id(self.instance())
    }

    /// As old as the JoinGroup spoken.
    fn sync_version(&self) -> i16 {
        (self.version - 2).clamp(0, 4)
    }

    pub fn ask_sync(&mut self, assignments: &[(&str, &'static str)]) {
        let request = self.sync_request(assignments);
        let frame = self.wire.frame(self.sync_version(), &request);
        self.wire.send(&frame);
    }

    pub fn synced(&mut self) -> SyncGroupResponse {
        self.wire.reply::<SyncGroupRequest>(self.sync_version()).1
    }

    /// The assignment, or the code instead.
    pub fn sync(&mut self, assignments: &[(&str, &'static str)]) -> Result<String, i16> {
        self.ask_sync(assignments);
        let answer = self.synced();
        match answer.error_code {
            0 => Ok(String::from_utf8(answer.assignment.to_vec()).unwrap()),
            code => Err(code),
        }
    }

    /// Joins an empty group and hands itself `mine`.
    pub fn settle(&mut self) {
        let answer = self.join();
        assert_eq!(answer.leader, answer.member_id);
        let id = self.id.clone();
        assert_eq!(self.sync(&[(&id, "mine")]), Ok("mine".to_owned()));
    }

    pub fn beat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance());
        self.wire.call(4, &request).error_code
    }

    pub fn commit(&mut self, topic: &str, offset: i64) -> i16 {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = OffsetCommitRequestTopic::default().with_name(name(topic));
        let request = OffsetCommitRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance())
            .with_topics(vec![topic.with_partitions(vec![partition])]);
        self.wire.call(8, &request).topics[0].partitions[0].error_code
    }

    pub fn leave(&mut self) -> i16 {
        let one = MemberIdentity::default()
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance());
        let request =
            LeaveGroupRequest::default().with_group_id(group(&self.group)).with_members(vec![one]);
        self.wire.call(4, &request).members[0].error_code
    }

    /// Heartbeats until the group tells it to join again.
    pub fn beat_until_rebalance(&mut self) {
        for _ in 0..1000 {
            match self.beat() {
                0 => std::thread::sleep(Duration::from_millis(10)),
                code => return assert_eq!(code, REBALANCE_IN_PROGRESS),
            }
        }
        panic!("no rebalance");
    }
}

/// The generation that `unite` brings about in a new group.
pub const UNITED: i32 = 2;

/// Brings two new members into one generation, whatever time either takes: the first settles alone
/// and joins again when it hears of the second. Neither is synced then; the leader's answer.
pub fn unite(leader: &mut Member, other: &mut Member) -> JoinGroupResponse {
    leader.settle();
    other.begin();
    leader.beat_until_rebalance();
    leader.ask_join();
    let (one, two) = (leader.joined(), other.joined());
    assert_eq!((one.error_code, two.error_code), (0, 0));
    assert_eq!((one.generation_id, two.generation_id), (UNITED, UNITED));
    assert_eq!((&one.leader, &two.leader), (&one.member_id, &one.member_id));
    one
}

/// Two members in one generation: the leader and the other, not yet synced.
pub fn pair(id: &str) -> (Member, Member) {
    let (mut leader, mut other) = (Member::new(id), Member::new(id));
    unite(&mut leader, &mut other);
    (leader, other)
}

/// Two members, each with its assignment.
pub fn stable_pair(id: &str) -> (Member, Member) {
    let (mut leader, mut other) = pair(id);
    let (one, two) = (leader.id.clone(), other.id.clone());
    assert_eq!(leader.sync(&[(&one, "1"), (&two, "2")]), Ok("1".to_owned()));
    assert_eq!(other.sync(&[]), Ok("2".to_owned()));
    (leader, other)
}

#[test]
fn a_coordinator_is_found_in_every_version_in_kafkas_words() {
    let _turn = together();
    let mut wire = Wire::open();
    find(&mut wire, "found");
    for version in 0..=6 {
        let request = FindCoordinatorRequest::default();
        if version < 4 {
            let answer = wire.call(version, &request.with_key(text("found")));
            assert_eq!(answer.error_code, 0);
            assert!(answer.node_id.0 >= 0 && answer.port > 0);
            let words = answer.error_message.map(|words| words.to_string());
            assert_eq!(words.as_deref(), Some(if version < 1 { "" } else { "NONE" }));
        } else {
            let keys = vec![text("found"), text("other")];
            let answer = wire.call(version, &request.with_coordinator_keys(keys));
            let found: Vec<_> = answer.coordinators.iter().map(|one| one.key.as_str()).collect();
            assert_eq!((answer.error_code, found), (0, vec!["found", "other"]));
            for one in &answer.coordinators {
                assert_eq!((one.error_code, one.host.as_str()), (0, "127.0.0.1"));
                assert_eq!(one.error_message.as_ref().unwrap().as_str(), "");
            }
        }
    }
}

#[test]
fn a_type_of_coordinator_that_is_not_there_is_an_invalid_request() {
    let _turn = together();
    let mut wire = Wire::open();
    for version in [1, 3, 4, 5] {
        for kind in [2, 3, 9] {
            let request = FindCoordinatorRequest::default().with_key_type(kind);
            let (code, node) = if version < 4 {
                let answer = wire.call(version, &request.with_key(text("x")));
                (answer.error_code, answer.node_id.0)
            } else {
                let answer = wire.call(version, &request.with_coordinator_keys(vec![text("x")]));
                (answer.coordinators[0].error_code, answer.coordinators[0].node_id.0)
            };
            assert_eq!((code, node), (42, -1), "version {version} type {kind}");
        }
    }
}

#[test]
fn a_member_joins_syncs_and_leaves_in_every_version() {
    let _turn = together();
    for version in 0..=9 {
        let id = format!("every-{version}");
        let mut member = Member::of_version(&id, version);
        let answer = member.join();
        assert_eq!((answer.generation_id, &answer.leader), (1, &answer.member_id));
        let protocol = answer.protocol_name.as_ref().map(|name| name.to_string());
        assert_eq!(protocol.as_deref(), Some("range"));
        assert_eq!(answer.protocol_type.is_some(), version >= 7);
        assert_eq!((answer.members.len(), &answer.members[0].metadata[..]), (1, AS_RANGE));
        assert!(!answer.skip_assignment);
        assert!(member.id.starts_with("wire-"), "{}: the client id and a uuid", member.id);
        assert_eq!(member.id.len(), "wire-".len() + 36);
        let own = member.id.clone();
        assert_eq!(member.sync(&[(&own, "all")]), Ok("all".to_owned()));
        assert_eq!(member.beat(), 0);
        let left = LeaveGroupRequest::default().with_group_id(group(&id));
        let version = version.min(5);
        if version < 3 {
            let left = left.with_member_id(text(&own));
            assert_eq!(member.wire.call(version, &left).error_code, 0);
        } else {
            let one = MemberIdentity::default().with_member_id(text(&own));
            let answer = member.wire.call(version, &left.with_members(vec![one]));
            assert_eq!((answer.error_code, answer.members[0].error_code), (0, 0));
            assert_eq!(answer.members[0].member_id.as_str(), own);
        }
        assert_eq!(member.beat(), UNKNOWN_MEMBER);
    }
}

#[test]
fn a_join_that_cannot_be_is_refused_in_every_version() {
    let _turn = together();
    let mut member = Member::new("refused");
    for version in 0..=9 {
        member.version = version;
        let good = member.join_request();
        let cases = [
            (good.clone().with_group_id(group("")), INVALID_GROUP_ID),
            (good.clone().with_session_timeout_ms(299), INVALID_SESSION_TIMEOUT),
            (good.clone().with_session_timeout_ms(1_800_001), INVALID_SESSION_TIMEOUT),
            (good.clone().with_member_id(text("who")), UNKNOWN_MEMBER),
            (good.clone().with_protocol_type(text("")), INCONSISTENT_PROTOCOL),
            (good.clone().with_protocols(vec![]), INCONSISTENT_PROTOCOL),
        ];
        for (request, code) in cases {
            let answer = member.wire.call(version, &request);
            assert_eq!(answer.error_code, code, "version {version}");
            assert_eq!(answer.member_id, request.member_id);
            assert_eq!((answer.generation_id, answer.leader.as_str()), (-1, ""));
            assert!(answer.members.is_empty());
            let name = answer.protocol_name.as_ref().map(|name| name.to_string());
            assert_eq!(name, if version < 7 { Some(String::new()) } else { None });
            assert_eq!(answer.protocol_type, None);
        }
    }
}

#[test]
fn from_4_on_a_dynamic_member_is_first_told_its_id_and_before_it_joins_at_once() {
    let _turn = together();
    for version in 0..=9 {
        let mut member = Member::of_version(&format!("first-{version}"), version);
        member.ask_join();
        let first = member.joined();
        let code = if version >= 4 { MEMBER_ID_REQUIRED } else { 0 };
        assert_eq!(first.error_code, code);
        assert!(!first.member_id.is_empty());
        if version >= 4 {
            assert_eq!((first.generation_id, first.leader.as_str()), (-1, ""));
            assert_eq!(member.join().member_id, first.member_id);
        }
    }
}

#[test]
fn a_protocol_type_or_protocols_that_others_do_not_share_are_refused() {
    let _turn = together();
    let mut member = Member::new("shared");
    member.settle();
    let mut other = Member::new("shared");
    let good = other.join_request();
    let connect = good.clone().with_protocol_type(text("connect"));
    assert_eq!(other.wire.call(9, &connect).error_code, INCONSISTENT_PROTOCOL);
    other.protocols = vec![("sticky", b"")];
    other.ask_join();
    assert_eq!(other.joined().error_code, INCONSISTENT_PROTOCOL);
    assert_eq!(member.beat(), 0, "it was not disturbed");
}

#[test]
fn a_full_group_takes_nobody_more_till_one_leaves() {
    let _turn = together();
    let address = start(&[("group.max.size", "1"), ("group.initial.rebalance.delay.ms", "0")]);
    let mut member = Member::on(Wire::open_at(&address), "full");
    member.settle();
    for version in 0..=9 {
        let mut other = Member::on(Wire::open_at(&address), "full");
        other.version = version;
        other.ask_join();
        assert_eq!(other.joined().error_code, GROUP_FULL, "version {version}");
    }
    assert_eq!(member.beat(), 0, "it was not disturbed");
    assert_eq!(member.leave(), 0);
    Member::on(Wire::open_at(&address), "full").settle();
}

#[test]
fn the_leader_alone_is_told_the_members_and_every_rebalance_is_a_generation() {
    let _turn = together();
    let (mut first, mut second) = (Member::new("told"), Member::new("told"));
    first.settle();
    second.begin();
    first.beat_until_rebalance();
    first.ask_join();
    let (one, two) = (first.joined(), second.joined());
    assert_eq!((one.generation_id, two.generation_id), (2, 2));
    assert_eq!((&one.leader, &two.leader), (&one.member_id, &one.member_id));
    let mut ids: Vec<_> = one.members.iter().map(|member| &member.member_id).collect();
    let mut all = [&one.member_id, &two.member_id];
    ids.sort();
    all.sort();
    assert_eq!((ids, two.members.len()), (all.to_vec(), 0));

    // The next generation begins as soon as everybody is back.
    let mut third = Member::new("told");
    third.begin();
    for member in [&mut first, &mut second] {
        member.beat_until_rebalance();
        member.begin();
    }
    let generations = [&mut first, &mut second, &mut third].map(|member| member.joined());
    assert!(generations.iter().all(|it| (it.error_code, it.generation_id) == (0, 3)));
}

#[test]
fn a_rejoin_that_changes_nothing_starts_no_rebalance_but_a_leaders_does() {
    let _turn = together();
    let (mut leader, mut other) = pair("rejoin");
    // The generation is not yet synced: both get their answer again.
    for member in [&mut leader, &mut other] {
        member.ask_join();
        assert_eq!(member.joined().generation_id, UNITED);
    }
    let (one, two) = (leader.id.clone(), other.id.clone());
    assert_eq!(leader.sync(&[(&one, "1"), (&two, "2")]), Ok("1".to_owned()));
    assert_eq!(other.sync(&[]), Ok("2".to_owned()));
    other.ask_join();
    let again = other.joined();
    assert_eq!((again.generation_id, again.members.len()), (UNITED, 0));
    assert_eq!(other.sync(&[]), Ok("2".to_owned()), "the assignment is kept");
    assert_eq!(leader.beat(), 0);

    leader.ask_join();
    other.beat_until_rebalance();
    other.ask_join();
    let next = (leader.joined().generation_id, other.joined().generation_id);
    assert_eq!(next, (UNITED + 1, UNITED + 1));
}

#[test]
fn changed_metadata_starts_a_rebalance() {
    const OTHER: &[u8] = b"\0\0\0\0\0\0\0\0\0\x05other";
    let _turn = together();
    let (mut leader, mut other) = stable_pair("changed");
    other.protocols = vec![("range", OTHER)];
    other.ask_join();
    leader.beat_until_rebalance();
    leader.ask_join();
    let answer = leader.joined();
    let next = (answer.generation_id, other.joined().generation_id);
    assert_eq!(next, (UNITED + 1, UNITED + 1));
    let seen = answer.members.iter().find(|member| member.member_id.as_str() == other.id).unwrap();
    assert_eq!(seen.metadata, OTHER);
}

/// Kafka's coordinator tries to read the topics of a subscription; the last of these makes it wait
/// for ever.
#[test]
fn metadata_that_is_no_subscription_is_passed_on_all_the_same() {
    let _turn = together();
    for (at, metadata) in [&b""[..], b"\x7f", b"not a subscription"].into_iter().enumerate() {
        let mut member = Member::new(&format!("opaque-{at}"));
        member.protocols = vec![("range", metadata)];
        assert_eq!(member.join().members[0].metadata, metadata);
    }
}
