//! Static members, KIP-345 and KIP-814 (kafka.md G5).

use proto_kafka::messages::{LeaveGroupRequest, leave_group_request::MemberIdentity};

use crate::{
    broker::together,
    groups::{FENCED_INSTANCE, Member, UNITED, UNKNOWN_MEMBER, group, text, topic, unite},
};

/// Two static members with their assignments, the leader first.
fn stable(id: &str) -> (Member, Member) {
    let (mut leader, mut other) = (Member::named(id, "a"), Member::named(id, "b"));
    unite(&mut leader, &mut other);
    let (first, second) = (leader.id.clone(), other.id.clone());
    leader.sync(&[(&first, "1"), (&second, "2")]).unwrap();
    other.sync(&[]).unwrap();
    (leader, other)
}

/// The process of a static member, started again.
fn again(member: &Member) -> Member {
    Member::named(&member.group, member.instance.unwrap())
}

#[test]
fn a_static_member_is_named_after_its_instance_and_joins_at_once() {
    let _turn = together();
    let mut member = Member::named("static-named", "host-7");
    let answer = member.join();
    assert!(member.id.starts_with("host-7-"), "{}", member.id);
    assert_eq!(answer.members[0].group_instance_id.as_ref().unwrap().as_str(), "host-7");
}

#[test]
fn a_static_follower_that_comes_back_gets_its_assignment_without_a_rebalance() {
    let _turn = together();
    let (mut leader, other) = stable("static-follower");
    let mut back = again(&other);
    let answer = back.join();
    assert_eq!((answer.generation_id, answer.members.len()), (UNITED, 0));
    assert_ne!(back.id, other.id, "under a new id");
    assert_eq!((answer.leader.as_str(), answer.skip_assignment), (&*leader.id, false));
    assert_eq!(back.sync(&[]), Ok("2".to_owned()));
    assert_eq!(leader.beat(), 0);
}

#[test]
fn a_static_leader_that_comes_back_is_told_to_skip_the_assignment_from_9_on() {
    let _turn = together();
    let (leader, mut other) = stable("static-leader");
    let mut back = again(&leader);
    let answer = back.join();
    assert_eq!((answer.generation_id, answer.leader.as_str()), (UNITED, &*back.id));
    assert_eq!((answer.skip_assignment, answer.members.len()), (true, 2));
    assert_eq!(back.sync(&[]), Ok("1".to_owned()));
    assert_eq!(other.beat(), 0);

    // Before, it is told of the leader it was, and so does not assign.
    let before = back.id.clone();
    let mut old = again(&leader);
    old.version = 8;
    let answer = old.join();
    assert_eq!((answer.leader.as_str(), answer.members.len()), (&*before, 0));
    assert_eq!(old.sync(&[]), Ok("1".to_owned()));
    assert_eq!(other.beat(), 0);
}

#[test]
fn the_process_whose_place_was_taken_is_fenced_in_every_request() {
    let _turn = together();
    let (_leader, mut other) = stable("static-fenced");
    topic(&mut other.wire, "static-fenced", 1);
    let mut back = again(&other);
    back.join();
    assert_eq!(other.beat(), FENCED_INSTANCE);
    assert_eq!(other.sync(&[]), Err(FENCED_INSTANCE));
    assert_eq!(other.commit("static-fenced", 1), FENCED_INSTANCE);
    assert_eq!(other.leave(), FENCED_INSTANCE);
    other.ask_join();
    assert_eq!(other.joined().error_code, FENCED_INSTANCE);
    other.instance = None;
    assert_eq!(other.beat(), UNKNOWN_MEMBER, "its id alone is nobody's");
    assert_eq!(back.commit("static-fenced", 1), 0);
}

#[test]
fn a_waiting_join_of_the_process_before_is_fenced() {
    let _turn = together();
    let (mut leader, mut other) = stable("static-waiting");
    other.protocols = vec![("range", b"\0\0\0\0\0\0\0\0\0\x07changed")];
    other.ask_join();
    leader.beat_until_rebalance();
    let mut back = again(&other);
    back.ask_join();
    assert_eq!(other.joined().error_code, FENCED_INSTANCE);
    leader.ask_join();
    let (one, two) = (leader.joined(), back.joined());
    assert_eq!((one.generation_id, two.generation_id), (UNITED + 1, UNITED + 1));
}

#[test]
fn a_static_member_that_comes_back_while_the_leader_assigns_starts_a_rebalance() {
    let _turn = together();
    let (mut a, mut b) = (Member::named("static-late", "a"), Member::named("static-late", "b"));
    unite(&mut a, &mut b);
    let mut back = again(&b);
    back.ask_join();
    a.beat_until_rebalance();
    a.ask_join();
    let next = (a.joined().generation_id, back.joined().generation_id);
    assert_eq!(next, (UNITED + 1, UNITED + 1));
}

#[test]
fn a_static_member_that_comes_back_with_another_protocol_starts_a_rebalance() {
    let _turn = together();
    let mut member = Member::named("static-protocol", "a");
    member.protocols = vec![("range", b""), ("sticky", b"")];
    member.settle();
    let mut back = again(&member);
    back.protocols = vec![("sticky", b"")];
    let answer = back.join();
    assert_eq!(answer.generation_id, 2);
    assert_eq!(answer.protocol_name.unwrap().as_str(), "sticky");
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_alone() {
    let _turn = together();
    let (mut leader, mut other) = stable("static-removed");
    let one = MemberIdentity::default()
        .with_member_id(text(""))
        .with_group_instance_id(other.instance.map(text));
    let request =
        LeaveGroupRequest::default().with_group_id(group("static-removed")).with_members(vec![one]);
    for version in 3..=5 {
        let answer = leader.wire.call(version, &request);
        let code = if version == 3 { 0 } else { UNKNOWN_MEMBER };
        assert_eq!((answer.error_code, answer.members[0].error_code), (0, code));
    }
    assert_eq!(other.beat(), UNKNOWN_MEMBER);
    leader.beat_until_rebalance();
}
