//! Syncing, heartbeats, leaving, time, and changes of protocol (kafka.md G6-G8, G11, G12).

use std::time::Duration;

use proto_kafka::messages::{
    HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest, leave_group_request::MemberIdentity,
};

use crate::{
    broker::{Wire, together},
    groups::{
        ILLEGAL_GENERATION, INCONSISTENT_PROTOCOL, INVALID_GROUP_ID, Member, REBALANCE_IN_PROGRESS,
        UNITED, UNKNOWN_MEMBER, find, group, pair, stable_pair, text, unite,
    },
};

/// A time that is waited for, and in which a slow machine still does what comes before.
const SHORT_MS: i32 = 4000;

#[test]
fn a_sync_is_refused_for_what_it_lacks_in_every_version() {
    let _turn = together();
    let mut member = Member::new("sync-refused");
    member.settle();
    let mut wire = Wire::open();
    for version in 0..=5 {
        let good = |version: i16| {
            let request = SyncGroupRequest::default()
                .with_group_id(group("sync-refused"))
                .with_generation_id(1)
                .with_member_id(text(&member.id));
            if version < 5 {
                return request;
            }
            request
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range")))
        };
        let answer = wire.call(version, &good(version));
        assert_eq!((answer.error_code, &answer.assignment[..]), (0, &b"mine"[..]));
        assert_eq!(answer.protocol_name.is_some(), version >= 5);
        let mut cases = vec![
            (good(version).with_group_id(group("")), INVALID_GROUP_ID),
            (good(version).with_group_id(group("nobody's")), UNKNOWN_MEMBER),
            (good(version).with_member_id(text("who")), UNKNOWN_MEMBER),
            (good(version).with_generation_id(2), ILLEGAL_GENERATION),
        ];
        if version >= 5 {
            let other = |request: SyncGroupRequest| (request, INCONSISTENT_PROTOCOL);
            cases.push(other(good(5).with_protocol_type(Some(text("connect")))));
            cases.push(other(good(5).with_protocol_name(Some(text("sticky")))));
            cases.push(other(good(5).with_protocol_name(None)));
            cases.push(other(good(5).with_protocol_type(None)));
        }
        for (request, code) in cases {
            let answer = wire.call(version, &request);
            assert_eq!(answer.error_code, code, "version {version} {request:?}");
            assert!(answer.assignment.is_empty());
            assert_eq!((answer.protocol_type, answer.protocol_name), (None, None));
        }
    }
}

#[test]
fn followers_wait_for_the_leader_and_who_is_left_out_gets_nothing() {
    let _turn = together();
    let (mut leader, mut other) = pair("wait");
    other.ask_sync(&[]);
    assert!(other.wire.is_silent(Duration::from_millis(200)), "the leader has not assigned");
    let own = leader.id.clone();
    assert_eq!(leader.sync(&[(&own, "all")]), Ok("all".to_owned()));
    let answer = other.synced();
    assert_eq!((answer.error_code, answer.assignment.len()), (0, 0));
}

#[test]
fn while_members_join_syncs_and_heartbeats_say_to_join_again() {
    let _turn = together();
    let (mut leader, mut other) = stable_pair("prepare");
    leader.ask_join();
    other.beat_until_rebalance();
    assert_eq!(other.sync(&[]), Err(REBALANCE_IN_PROGRESS));
    other.generation = 7;
    assert_eq!((other.beat(), other.sync(&[])), (ILLEGAL_GENERATION, Err(ILLEGAL_GENERATION)));
}

#[test]
fn a_waiting_sync_is_sent_back_when_a_rebalance_begins() {
    let _turn = together();
    let (_leader, mut other) = pair("sent-back");
    other.ask_sync(&[]);
    let mut third = Member::new("sent-back");
    third.begin();
    assert_eq!(other.synced().error_code, REBALANCE_IN_PROGRESS);
}

#[test]
fn heartbeats_are_good_while_syncing_and_stable_in_every_version() {
    let _turn = together();
    let (mut leader, mut other) = pair("beats");
    assert_eq!((leader.beat(), other.beat()), (0, 0), "before the assignment");
    let (one, two) = (leader.id.clone(), other.id.clone());
    leader.sync(&[(&one, "1"), (&two, "2")]).unwrap();
    for version in 0..=4 {
        let good = HeartbeatRequest::default()
            .with_group_id(group("beats"))
            .with_generation_id(UNITED)
            .with_member_id(text(&one));
        let cases = [
            (good.clone(), 0),
            (good.clone().with_group_id(group("")), INVALID_GROUP_ID),
            (good.clone().with_group_id(group("nobody's")), UNKNOWN_MEMBER),
            (good.clone().with_member_id(text("who")), UNKNOWN_MEMBER),
            (good.clone().with_member_id(text("")), UNKNOWN_MEMBER),
            (good.with_generation_id(0), ILLEGAL_GENERATION),
        ];
        for (request, code) in cases {
            assert_eq!(leader.wire.call(version, &request).error_code, code, "version {version}");
        }
    }
}

#[test]
fn several_members_leave_at_once_and_each_has_its_result() {
    let _turn = together();
    let (mut leader, other) = stable_pair("leave");
    let one = |member: &str, instance: Option<&str>| {
        MemberIdentity::default()
            .with_member_id(text(member))
            .with_group_instance_id(instance.map(text))
    };
    let leaving =
        vec![one(&other.id, None), one("who", None), one("", Some("none")), one(&other.id, None)];
    let request = LeaveGroupRequest::default().with_group_id(group("leave")).with_members(leaving);
    let answer = leader.wire.call(3, &request);
    let codes: Vec<_> = answer.members.iter().map(|member| member.error_code).collect();
    assert_eq!(codes, [0, UNKNOWN_MEMBER, UNKNOWN_MEMBER, UNKNOWN_MEMBER]);
    assert_eq!(answer.members[2].group_instance_id.as_ref().unwrap().as_str(), "none");
    leader.beat_until_rebalance();
    leader.ask_join();
    assert_eq!(leader.joined().members.len(), 1);
}

#[test]
fn who_leaves_a_group_that_is_not_there_is_unknown() {
    let _turn = together();
    let mut wire = Wire::open();
    find(&mut wire, "no-group");
    for version in 0..=5 {
        let request = LeaveGroupRequest::default().with_group_id(group("no-group"));
        if version < 3 {
            let answer = wire.call(version, &request.with_member_id(text("m")));
            assert_eq!(answer.error_code, UNKNOWN_MEMBER);
        } else {
            let member = MemberIdentity::default().with_member_id(text("m"));
            let answer = wire.call(version, &request.with_members(vec![member]));
            assert_eq!((answer.error_code, answer.members[0].error_code), (0, UNKNOWN_MEMBER));
        }
        let nameless = LeaveGroupRequest::default();
        assert_eq!(wire.call(version, &nameless).error_code, INVALID_GROUP_ID);
    }
}

#[test]
fn a_member_that_falls_silent_is_removed_and_the_others_rebalance() {
    let _turn = together();
    let (mut first, mut second) = (Member::new("silent"), Member::new("silent"));
    second.session_ms = 400;
    unite(&mut first, &mut second);
    let (a, b) = (first.id.clone(), second.id.clone());
    for answer in [first.sync(&[(&a, "1"), (&b, "2")]), second.sync(&[])] {
        // On a slow machine its time is up already.
        let late = [REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER];
        assert!(answer.as_ref().err().is_none_or(|code| late.contains(code)), "{answer:?}");
    }
    first.beat_until_rebalance();
    first.ask_join();
    let alone = first.joined();
    assert_eq!((alone.generation_id, alone.members.len()), (UNITED + 1, 1));
    assert_eq!(second.beat(), UNKNOWN_MEMBER);
}

#[test]
fn who_does_not_come_back_within_the_rebalance_timeout_is_left_behind() {
    let _turn = together();
    let (mut leader, mut late) = (Member::new("late"), Member::new("late"));
    (leader.rebalance_ms, late.rebalance_ms) = (SHORT_MS, SHORT_MS);
    unite(&mut leader, &mut late);
    let (a, b) = (leader.id.clone(), late.id.clone());
    leader.sync(&[(&a, "1"), (&b, "2")]).unwrap();
    late.sync(&[]).unwrap();
    leader.ask_join();
    let alone = leader.joined();
    assert_eq!((alone.error_code, alone.generation_id, alone.members.len()), (0, UNITED + 1, 1));
    assert_eq!(late.beat(), UNKNOWN_MEMBER);
}

#[test]
fn a_member_that_joined_but_never_syncs_is_removed() {
    let _turn = together();
    let (mut leader, mut idle) = (Member::new("unsynced"), Member::new("unsynced"));
    (leader.rebalance_ms, idle.rebalance_ms) = (SHORT_MS, SHORT_MS);
    unite(&mut leader, &mut idle);
    let (a, b) = (leader.id.clone(), idle.id.clone());
    leader.sync(&[(&a, "1"), (&b, "2")]).unwrap();
    leader.beat_until_rebalance();
    assert_eq!(idle.beat(), UNKNOWN_MEMBER);
}

#[test]
fn an_id_handed_out_and_not_used_holds_up_a_rebalance_no_longer_than_its_session() {
    let _turn = together();
    let mut member = Member::new("pending");
    member.settle();
    let mut pending = Member::new("pending");
    pending.session_ms = SHORT_MS;
    pending.ask_join();
    pending.joined();
    member.ask_join();
    assert!(member.wire.is_silent(Duration::from_millis(100)), "it may come");
    let answer = member.joined();
    assert_eq!((answer.generation_id, answer.members.len()), (2, 1));
    assert_eq!(pending.beat(), UNKNOWN_MEMBER);
}

/// KIP-429's two rolling steps: first every member offers both, then only the new one.
#[test]
fn the_protocol_changes_while_members_run() {
    let _turn = together();
    const OLD: (&str, &[u8]) = ("range", b"\0\0\0\0\0\0\0\0\0\x01r");
    const NEW: (&str, &[u8]) = ("cooperative-sticky", b"\0\x03\0\0\0\0\0\0\0\x01n\0\0\0\0");
    let (mut leader, mut other) = stable_pair("upgrade");
    let mut chosen = Vec::new();
    for (who, offers) in [(0, vec![NEW, OLD]), (1, vec![NEW, OLD]), (0, vec![NEW]), (1, vec![NEW])]
    {
        let (one, two) =
            if who == 0 { (&mut leader, &mut other) } else { (&mut other, &mut leader) };
        one.protocols = offers;
        one.ask_join();
        two.beat_until_rebalance();
        two.ask_join();
        let (answer, same) = (one.joined(), two.joined());
        assert_eq!((answer.error_code, same.error_code), (0, 0));
        assert_eq!(answer.protocol_name, same.protocol_name);
        chosen.push(answer.protocol_name.clone().unwrap().to_string());
        let is_leader = answer.leader == answer.member_id;
        let (first, second) = if is_leader { (one, two) } else { (two, one) };
        let (a, b) = (first.id.clone(), second.id.clone());
        first.sync(&[(&a, "1"), (&b, "2")]).unwrap();
        assert_eq!(second.sync(&[]), Ok("2".to_owned()));
    }
    assert_eq!(chosen, ["range", NEW.0, NEW.0, NEW.0]);
}

/// A cooperative member gives partitions up in one generation and asks at once for the next.
#[test]
fn a_cooperative_rebalance_is_two_generations_in_a_row() {
    let _turn = together();
    let (mut leader, mut other) = stable_pair("cooperative");
    for generation in [UNITED + 1, UNITED + 2] {
        let metadata: &[u8] = if generation == UNITED + 1 {
            b"\0\0\0\0\0\0\0\0\0\x06owns 1"
        } else {
            b"\0\0\0\0\0\0\0\0\0\x0cowns nothing"
        };
        leader.protocols = vec![("range", metadata)];
        leader.ask_join();
        other.beat_until_rebalance();
        other.ask_join();
        let (one, two) = (leader.joined(), other.joined());
        assert_eq!((one.generation_id, two.generation_id), (generation, generation));
        let (a, b) = (leader.id.clone(), other.id.clone());
        assert_eq!(one.leader.as_str(), a);
        leader.sync(&[(&a, "1"), (&b, "2")]).unwrap();
        other.sync(&[]).unwrap();
    }
}
