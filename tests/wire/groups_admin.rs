//! Describing, listing and deleting groups (kafka.md G11).

use proto_kafka::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    describe_groups_response::DescribedGroup,
};

use crate::{
    broker::{Wire, together},
    groups::{AS_RANGE, Member, UNKNOWN_MEMBER, find, group, pair, text},
};

const NON_EMPTY: i16 = 68;
const NOT_FOUND: i16 = 69;
/// Read, delete, describe, describe and alter configs.
const OPERATIONS: i32 = 0b1101_0100_1000;

fn describe(wire: &mut Wire, version: i16, id: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest::default().with_groups(vec![group(id)]);
    let request =
        if version >= 3 { request.with_include_authorized_operations(true) } else { request };
    wire.call(version, &request).groups.remove(0)
}

fn state(wire: &mut Wire, id: &str) -> String {
    describe(wire, 5, id).group_state.to_string()
}

#[test]
fn a_group_is_described_in_every_version() {
    let _turn = together();
    let mut member = Member::named("described", "i");
    member.settle();
    let mut wire = Wire::open();
    for version in 0..=6 {
        let told = describe(&mut wire, version, "described");
        assert_eq!((told.error_code, told.group_state.as_str()), (0, "Stable"));
        assert_eq!(
            (told.protocol_type.as_str(), told.protocol_data.as_str()),
            ("consumer", "range")
        );
        assert!(told.error_message.is_none());
        let [one] = &told.members[..] else { panic!("one member") };
        assert_eq!((one.member_id.as_str(), one.client_id.as_str()), (&*member.id, "wire"));
        assert_eq!(one.client_host.as_str(), "/127.0.0.1");
        assert_eq!(
            (&one.member_metadata[..], &one.member_assignment[..]),
            (AS_RANGE, &b"mine"[..])
        );
        assert_eq!(one.group_instance_id.is_some(), version >= 4);
        let operations = if version >= 3 { OPERATIONS } else { i32::MIN };
        assert_eq!(told.authorized_operations, operations);
    }
}

#[test]
fn a_group_that_is_not_there_is_dead_and_from_6_on_an_error() {
    let _turn = together();
    let mut wire = Wire::open();
    find(&mut wire, "dead");
    for version in 0..=6 {
        let told = describe(&mut wire, version, "dead");
        let (code, why) =
            if version < 6 { (0, None) } else { (NOT_FOUND, Some("Group dead not found.")) };
        assert_eq!((told.error_code, told.group_state.as_str()), (code, "Dead"));
        assert_eq!(told.error_message.as_ref().map(|words| words.as_str()), why);
        assert_eq!((told.protocol_type.as_str(), told.members.len()), ("", 0));
        let operations = if (3..6).contains(&version) { OPERATIONS } else { i32::MIN };
        assert_eq!(told.authorized_operations, operations);
    }
}

#[test]
fn a_group_goes_through_its_states() {
    let _turn = together();
    let mut wire = Wire::open();
    let mut first = Member::new("states");
    first.ask_join();
    first.joined();
    assert_eq!(state(&mut wire, "states"), "Empty", "an id was handed out");
    assert_eq!(first.leave(), 0);
    let (mut leader, mut other) = pair("states");
    assert_eq!(state(&mut wire, "states"), "CompletingRebalance");
    let told = describe(&mut wire, 5, "states");
    assert_eq!((told.protocol_type.as_str(), told.protocol_data.as_str()), ("consumer", ""));
    assert!(told.members.len() == 2 && told.members.iter().all(|it| it.member_metadata.is_empty()));
    let (one, two) = (leader.id.clone(), other.id.clone());
    leader.sync(&[(&one, "1"), (&two, "2")]).unwrap();
    assert_eq!(state(&mut wire, "states"), "Stable");
    leader.ask_join();
    other.beat_until_rebalance();
    assert_eq!(state(&mut wire, "states"), "PreparingRebalance");
    other.ask_join();
    assert_eq!((leader.joined().error_code, other.joined().error_code), (0, 0));
    assert_eq!((leader.leave(), other.leave()), (0, 0));
    let told = describe(&mut wire, 5, "states");
    assert_eq!((told.group_state.as_str(), told.protocol_type.as_str()), ("Empty", "consumer"));
    assert_eq!(leader.beat(), UNKNOWN_MEMBER);
}

#[test]
fn groups_are_listed_in_every_version_with_filters_by_state_and_type() {
    let _turn = together();
    let mut member = Member::new("listed");
    member.settle();
    let mut refused = Member::new("listed-only");
    let bad = refused.join_request().with_protocol_type(text(""));
    assert_eq!(refused.wire.call(9, &bad).error_code, 23);
    let mut wire = Wire::open();
    for version in 0..=5 {
        let answer = wire.call(version, &ListGroupsRequest::default());
        let find = |id| answer.groups.iter().find(|it| it.group_id == group(id)).unwrap();
        let (one, two) = (find("listed"), find("listed-only"));
        assert_eq!((one.protocol_type.as_str(), two.protocol_type.as_str()), ("consumer", ""));
        let states = if version < 4 { ("", "") } else { ("Stable", "Empty") };
        assert_eq!((one.group_state.as_str(), two.group_state.as_str()), states);
        let kind = if version < 5 { "" } else { "classic" };
        assert_eq!((one.group_type.as_str(), two.group_type.as_str()), (kind, kind));
    }
    let mut has = |version, states: &[&str], types: &[&str]| {
        let all = |names: &[&str]| names.iter().map(|name| text(name)).collect::<Vec<_>>();
        let request = ListGroupsRequest::default().with_states_filter(all(states));
        let request = if version >= 5 { request.with_types_filter(all(types)) } else { request };
        let answer = wire.call(version, &request);
        assert_eq!(answer.error_code, 0);
        answer.groups.iter().any(|it| it.group_id == group("listed"))
    };
    for version in 4..=5 {
        assert!(has(version, &["STABLE", "Dead"], &[]));
        assert!(!has(version, &["Empty"], &[]));
        assert!(!has(version, &["NoSuchState"], &[]));
    }
    assert!(has(5, &[], &["Classic"]) && has(5, &["stable"], &["classic", "consumer"]));
    assert!(!has(5, &[], &["consumer"]));
}

/// Names and codes.
fn delete(wire: &mut Wire, version: i16, ids: &[&str]) -> Vec<(String, i16)> {
    let names = ids.iter().map(|id| group(id)).collect();
    let request = DeleteGroupsRequest::default().with_groups_names(names);
    let results = wire.call(version, &request).results;
    let told = results.iter().map(|it| (it.group_id.0.to_string(), it.error_code));
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

#[test]
fn only_an_empty_group_is_deleted_in_every_version() {
    let _turn = together();
    for version in 0..=2 {
        let id = format!("deleted-{version}");
        let told = |code| (id.clone(), code);
        let mut member = Member::new(&id);
        member.settle();
        let both = delete(&mut member.wire, version, &[&id, "never-there", &id]);
        assert_eq!(both, [told(NON_EMPTY), ("never-there".to_owned(), NOT_FOUND)]);
        member.leave();
        assert_eq!(delete(&mut member.wire, version, &[&id]), [told(0)]);
        assert_eq!(delete(&mut member.wire, version, &[&id]), [told(NOT_FOUND)]);
        assert_eq!(state(&mut member.wire, &id), "Dead");
    }
}
