use proptest::prelude::*;

use super::*;
use crate::{
    env::sim::proof::{Seeded, drawn},
    group::Protocol,
};

const SESSION: i64 = 10_000;
const REBALANCE: i64 = 60_000;

/// A group with its clock, and what it said last.
struct World {
    group: Group,
    config: Config,
    now: i64,
    tickets: u64,
    fresh: u32,
    said: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        let group = Group::new(Millis(0));
        let config = Config { max_members: 5, ..Config::default() };
        Self { group, config, now: 0, tickets: 0, fresh: 0, said: Vec::new() }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn join_as(&mut self, join: &Join) -> Ticket {
        let ticket = self.ticket();
        self.fresh += 1;
        let fresh = MemberId::from(format!("m{}", self.fresh).as_str());
        let now = Millis(self.now);
        self.group.join(join, fresh, ticket, now, &self.config, &mut self.said);
        ticket
    }

    fn join(&mut self, member: &str) -> Ticket {
        self.join_as(&join(member))
    }

    fn sync(&mut self, member: &str, assignments: &[(&str, &'static str)]) -> Ticket {
        let generation = self.group.generation;
        self.sync_in(generation, member, assignments)
    }

    fn sync_in(
        &mut self,
        generation: i32,
        member: &str,
        assignments: &[(&str, &'static str)],
    ) -> Ticket {
        let ticket = self.ticket();
        let assignments = assignments
            .iter()
            .map(|(id, text)| (MemberId::from(*id), Bytes::from_static(text.as_bytes())))
            .collect();
        let caller = Caller { member: member.into(), instance: None, generation };
        let sync = Sync { caller, protocol_type: None, protocol: None, assignments };
        self.group.sync(sync, ticket, Millis(self.now), &mut self.said);
        ticket
    }

    /// Lets everything asked to be stored be stored.
    fn store(&mut self, outcome: Result<(), Error>) {
        for effect in std::mem::take(&mut self.said) {
            match effect {
                Effect::Store { then, .. } => {
                    self.group.stored(then, outcome, Millis(self.now), &mut self.said);
                }
                other => self.said.push(other),
            }
        }
    }

    fn pass(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(next) = self.group.next_tick().filter(|next| next.0 <= until) {
            self.now = self.now.max(next.0);
            self.group.tick(Millis(self.now), &self.config, &mut self.said);
        }
        self.now = until;
    }

    fn leave(&mut self, member: &str) -> Result<(), Error> {
        let leaving = [Leaving { member: member.into(), instance: None }];
        self.group.leave(&leaving, Millis(self.now), &mut self.said)[0]
    }

    fn beat(&mut self, member: &str) -> Result<(), Error> {
        let caller = self.caller(member);
        self.group.heartbeat(&caller, Millis(self.now))
    }

    fn caller(&self, member: &str) -> Caller {
        Caller { member: member.into(), instance: None, generation: self.group.generation }
    }

    fn joined(&self, ticket: Ticket) -> Option<Result<Joined, JoinRefused>> {
        self.said.iter().rev().find_map(|effect| match effect {
            Effect::Joined(of, answer) if *of == ticket => Some(answer.clone()),
            _ => None,
        })
    }

    fn refused(&self, ticket: Ticket) -> Option<Error> {
        self.joined(ticket)?.err().map(|refused| refused.error)
    }

    fn synced(&self, ticket: Ticket) -> Option<Result<String, Error>> {
        self.said.iter().rev().find_map(|effect| match effect {
            Effect::Synced(of, answer) if *of == ticket => {
                let text = |synced: Synced| String::from_utf8(synced.assignment.to_vec()).unwrap();
                Some(answer.clone().map(text))
            }
            _ => None,
        })
    }

    fn stores(&self) -> usize {
        self.said.iter().filter(|effect| matches!(effect, Effect::Store { .. })).count()
    }

    /// A stable group of `size` dynamic members m1, m2, ...; m1 leads.
    fn stable(size: u32) -> Self {
        let mut world = Self::new();
        for _ in 0..size {
            world.join("");
        }
        world.finish();
        world
    }

    /// Waits out the rebalance and syncs everybody that joined.
    fn finish(&mut self) {
        self.pass(6000);
        let ids: Vec<_> = self.group.members.keys().cloned().collect();
        for id in ids {
            self.sync(id.as_str(), &[]);
        }
        self.store(Ok(()));
        assert_eq!(self.group.state(), GroupState::Stable);
        self.said.clear();
    }
}

fn join(member: &str) -> Join {
    Join {
        member: member.into(),
        instance: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", b"\0\0\0\0\0\x01\0\x01t")],
        needs_known_id: false,
        can_skip_assignment: true,
    }
}

fn static_join(member: &str, instance: &str) -> Join {
    Join { instance: Some(instance.into()), ..join(member) }
}

fn protocol(name: &str, metadata: &'static [u8]) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::from_static(metadata) }
}

#[test]
fn the_first_rebalance_waits_for_more_members() {
    let mut world = World::new();
    let first = world.join("");
    world.pass(2999);
    assert_eq!(world.joined(first), None);
    world.pass(1);
    let joined = world.joined(first).unwrap().unwrap();
    assert_eq!((joined.generation, joined.leader.as_str()), (1, "m1"));
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn the_first_rebalance_waits_on_while_members_come_but_no_longer_than_they_would() {
    let mut world = World::new();
    let first = world.join("");
    for _ in 0..4 {
        world.pass(2900);
        world.join("");
    }
    world.pass(2900);
    assert_eq!(world.joined(first), None);
    world.pass(3000);
    assert_eq!(world.joined(first).unwrap().unwrap().members.len(), 5);

    let mut world = World::new();
    let quick = Join { rebalance_timeout_ms: 4000, ..join("") };
    let first = world.join_as(&quick);
    world.pass(2900);
    world.join_as(&quick);
    world.pass(1100);
    assert!(world.joined(first).is_some());
}

#[test]
fn without_a_delay_a_group_begins_at_once() {
    let mut world = World::new();
    world.config.initial_rebalance_delay = std::time::Duration::ZERO;
    let first = world.join("");
    world.pass(0);
    assert!(world.joined(first).is_some());
}

#[test]
fn only_the_leader_is_told_the_members() {
    let mut world = World::new();
    let (leader, follower) = (world.join(""), world.join(""));
    world.pass(6000);
    assert_eq!(world.joined(leader).unwrap().unwrap().members.len(), 2);
    assert_eq!(world.joined(follower).unwrap().unwrap().members.len(), 0);
}

#[test]
fn a_new_dynamic_member_is_first_told_its_id() {
    let mut world = World::new();
    let ticket = world.join_as(&Join { needs_known_id: true, ..join("") });
    let refused = world.joined(ticket).unwrap().unwrap_err();
    assert_eq!((refused.error, refused.member.as_str()), (Error::MemberIdRequired, "m1"));
    assert_eq!(world.group.state(), GroupState::Empty);
    let ticket = world.join("m1");
    world.pass(3000);
    assert!(world.joined(ticket).unwrap().is_ok());
}

#[test]
fn an_id_that_is_not_used_is_forgotten_after_the_session_timeout() {
    let mut world = World::new();
    world.join_as(&Join { needs_known_id: true, ..join("") });
    world.pass(SESSION);
    assert!(world.group.is_deserted());
    let ticket = world.join("m1");
    assert_eq!(world.refused(ticket), Some(Error::UnknownMember));
}

#[test]
fn a_rebalance_waits_for_ids_that_were_handed_out() {
    let mut world = World::stable(1);
    world.join_as(&Join { needs_known_id: true, ..join("") });
    let leader = world.join("m1");
    assert_eq!(world.joined(leader), None);
    world.pass(SESSION);
    assert_eq!(world.joined(leader).unwrap().unwrap().generation, 2);
}

#[test]
fn an_unknown_member_is_refused() {
    let mut world = World::stable(1);
    let ticket = world.join("stranger");
    assert_eq!(world.refused(ticket), Some(Error::UnknownMember));
    assert_eq!(world.beat("stranger"), Err(Error::UnknownMember));
    let ticket = world.sync("stranger", &[]);
    assert_eq!(world.synced(ticket), Some(Err(Error::UnknownMember)));
}

#[test]
fn a_member_must_share_protocol_type_and_a_protocol_with_all() {
    let mut world = World::stable(1);
    let other_type = Join { protocol_type: "connect".into(), ..join("") };
    let other_protocol = Join { protocols: vec![protocol("sticky", b"")], ..join("") };
    let none = Join { protocols: vec![], ..join("") };
    let twice = Join { protocols: vec![protocol("range", b""); 2], ..join("") };
    for wrong in [other_type, other_protocol, none.clone(), twice] {
        let ticket = world.join_as(&wrong);
        assert_eq!(world.refused(ticket), Some(Error::InconsistentProtocol));
    }
    let mut world = World::new();
    for wrong in [none, Join { protocol_type: "".into(), ..join("") }] {
        let ticket = world.join_as(&wrong);
        assert_eq!(world.refused(ticket), Some(Error::InconsistentProtocol));
    }
}

#[test]
fn the_protocol_most_members_prefer_is_chosen_among_those_all_support() {
    let mut world = World::new();
    let offer = |names: &[&str]| Join {
        protocols: names.iter().map(|name| protocol(name, b"")).collect(),
        ..join("")
    };
    let ticket = world.join_as(&offer(&["new", "range", "rr"]));
    world.join_as(&offer(&["rr", "range"]));
    world.join_as(&offer(&["rr", "range"]));
    world.pass(6000);
    assert_eq!(world.joined(ticket).unwrap().unwrap().protocol.as_deref(), Some("rr"));
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut world = World::stable(5);
    let ticket = world.join("");
    assert_eq!(world.refused(ticket), Some(Error::GroupFull));
    let member = world.join("m2");
    assert_eq!(world.refused(member), None);
}

#[test]
fn a_follower_that_rejoins_unchanged_starts_no_rebalance() {
    let mut world = World::stable(2);
    let ticket = world.join("m2");
    assert_eq!(world.joined(ticket).unwrap().unwrap().generation, 1);
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn a_leader_that_rejoins_or_changed_metadata_starts_a_rebalance() {
    let mut world = World::stable(2);
    world.join("m1");
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    let mut world = World::stable(2);
    world.join_as(&Join { protocols: vec![protocol("range", b"new")], ..join("m2") });
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    assert_eq!(world.beat("m1"), Err(Error::RebalanceInProgress));
}

#[test]
fn a_member_that_lost_its_join_answer_gets_it_again() {
    let mut world = World::new();
    world.join("");
    world.join("");
    world.pass(6000);
    assert_eq!(world.group.state(), GroupState::CompletingRebalance);
    let (leader, follower) = (world.join("m1"), world.join("m2"));
    assert_eq!(world.joined(leader).unwrap().unwrap().members.len(), 2);
    assert_eq!(world.joined(follower).unwrap().unwrap().members.len(), 0);
}

#[test]
fn a_rebalance_ends_when_all_are_back_and_drops_silent_members_when_time_is_up() {
    let mut world = World::stable(3);
    let (one, two) = (world.join("m1"), world.join("m2"));
    for _ in 0..REBALANCE / 5000 {
        assert_eq!(world.joined(one), None);
        assert_eq!(world.beat("m3"), Err(Error::RebalanceInProgress));
        world.pass(5000);
    }
    assert_eq!(world.joined(one).unwrap().unwrap().members.len(), 2);
    assert_eq!(world.joined(two).unwrap().unwrap().generation, 2);
    assert_eq!(world.beat("m3"), Err(Error::UnknownMember));
}

#[test]
fn a_silent_leader_is_replaced_by_one_who_is_here() {
    let mut world = World::stable(2);
    let ticket = world.join_as(&Join { protocols: vec![protocol("range", b"2")], ..join("m2") });
    world.pass(REBALANCE);
    let joined = world.joined(ticket).unwrap().unwrap();
    assert_eq!((joined.leader.as_str(), joined.members.len()), ("m2", 1));
}

#[test]
fn a_silent_member_is_removed_when_its_session_ends_and_the_rest_rebalances() {
    let mut world = World::stable(2);
    world.pass(SESSION / 2);
    world.beat("m1").unwrap();
    world.pass(SESSION / 2);
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    assert_eq!(world.beat("m2"), Err(Error::UnknownMember));
    assert_eq!(world.beat("m1"), Err(Error::RebalanceInProgress));
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut world = World::stable(1);
    for _ in 0..4 {
        world.pass(SESSION - 1);
        let caller = world.caller("m1");
        assert_eq!(world.group.commit(&caller, Millis(world.now)), Ok(()));
    }
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn a_group_whose_last_member_goes_is_empty_and_says_so_in_the_log() {
    let mut world = World::stable(1);
    world.leave("m1").unwrap();
    assert_eq!((world.group.state(), world.group.generation), (GroupState::Empty, 2));
    assert!(matches!(
        &world.said[..],
        [Effect::Store { record, then: Then::Nothing }] if record.members.is_empty()
    ));
}

#[test]
fn leaving_is_by_member_or_by_instance_and_each_has_its_result() {
    let mut world = World::new();
    world.join_as(&static_join("", "i1"));
    world.join("");
    world.finish();
    let leaving = |member: &str, instance: Option<&str>| Leaving {
        member: member.into(),
        instance: instance.map(InstanceId::from),
    };
    let all = [
        leaving("", Some("i1")),
        leaving("", Some("i9")),
        leaving("m9", None),
        leaving("m2", Some("i9")),
        leaving("m2", None),
    ];
    let results = world.group.leave(&all, Millis(0), &mut world.said);
    let unknown = Err(Error::UnknownMember);
    assert_eq!(results, [Ok(()), unknown, unknown, unknown, Ok(())]);
    assert_eq!(world.group.state(), GroupState::Empty);
}

#[test]
fn a_pending_member_can_leave() {
    let mut world = World::stable(1);
    world.join_as(&Join { needs_known_id: true, ..join("") });
    let leader = world.join("m1");
    assert_eq!(world.leave("m2"), Ok(()));
    assert!(world.joined(leader).unwrap().is_ok());
}

#[test]
fn an_assignment_is_handed_out_only_when_it_is_stored() {
    let mut world = World::new();
    world.join("");
    world.join("");
    world.pass(6000);
    let follower = world.sync("m2", &[]);
    assert_eq!(world.stores(), 0, "followers wait for the leader");
    let leader = world.sync("m1", &[("m1", "one")]);
    assert_eq!((world.synced(leader), world.synced(follower)), (None, None));
    world.store(Ok(()));
    assert_eq!(world.synced(leader), Some(Ok("one".into())));
    assert_eq!(world.synced(follower), Some(Ok(String::new())), "not named is empty");
    let again = world.sync("m1", &[("m1", "other")]);
    assert_eq!(world.synced(again), Some(Ok("one".into())));
}

#[test]
fn a_generation_has_one_assignment_however_often_its_leader_syncs() {
    let mut world = World::new();
    world.join("");
    world.pass(3000);
    let first = world.sync("m1", &[("m1", "one")]);
    let second = world.sync("m1", &[("m1", "two")]);
    assert_eq!(world.stores(), 1);
    world.store(Ok(()));
    assert_eq!(world.synced(first), Some(Err(Error::RebalanceInProgress)));
    assert_eq!(world.synced(second), Some(Ok("one".into())));
}

#[test]
fn when_an_assignment_cannot_be_stored_the_group_rebalances() {
    let mut world = World::new();
    world.join("");
    world.pass(3000);
    let ticket = world.sync("m1", &[("m1", "one")]);
    world.store(Err(Error::NotAvailable));
    assert_eq!(world.synced(ticket), Some(Err(Error::NotAvailable)));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_rebalance_sends_waiting_syncs_back() {
    let mut world = World::new();
    world.join("");
    world.join("");
    world.pass(6000);
    let sync = world.sync("m2", &[]);
    world.join("");
    assert_eq!(world.synced(sync), Some(Err(Error::RebalanceInProgress)));
    let sync = world.sync("m1", &[]);
    assert_eq!(world.synced(sync), Some(Err(Error::RebalanceInProgress)));
}

#[test]
fn a_late_store_of_a_past_generation_hands_out_nothing() {
    let mut world = World::new();
    world.join("");
    world.join("");
    world.pass(6000);
    world.sync("m1", &[("m1", "one")]);
    world.join_as(&Join { protocols: vec![protocol("range", b"2")], ..join("m2") });
    world.join("m1");
    assert_eq!(world.group.generation, 2);
    world.store(Ok(()));
    assert_eq!(world.group.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_sync_must_be_of_the_generation_and_of_its_protocols() {
    let mut world = World::stable(1);
    let ticket = world.sync_in(7, "m1", &[]);
    assert_eq!(world.synced(ticket), Some(Err(Error::IllegalGeneration)));
    let ticket = world.ticket();
    let sync = Sync {
        caller: world.caller("m1"),
        protocol_type: Some("connect".into()),
        protocol: None,
        assignments: vec![],
    };
    world.group.sync(sync, ticket, Millis(0), &mut world.said);
    assert_eq!(world.synced(ticket), Some(Err(Error::InconsistentProtocol)));
}

#[test]
fn members_that_join_but_never_sync_are_removed() {
    let mut world = World::new();
    world.join("");
    world.join("");
    world.pass(6000);
    let leader = world.sync("m1", &[]);
    world.store(Ok(()));
    assert_eq!(world.synced(leader), Some(Ok(String::new())));
    for _ in 0..REBALANCE / 5000 {
        assert_eq!(world.group.members.len(), 2);
        for member in ["m1", "m2"] {
            world.beat(member).unwrap();
        }
        world.pass(5000);
    }
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    assert_eq!(world.beat("m2"), Err(Error::UnknownMember));
}

#[test]
fn a_static_member_that_comes_back_takes_its_place_without_a_rebalance() {
    let mut world = World::new();
    world.join_as(&static_join("", "i1"));
    world.join_as(&static_join("", "i2"));
    world.finish();
    let ticket = world.join_as(&static_join("", "i2"));
    assert_eq!(world.joined(ticket), None, "its new id must be on record first");
    world.store(Ok(()));
    let joined = world.joined(ticket).unwrap().unwrap();
    assert_eq!((joined.member.as_str(), joined.generation), ("m3", 1));
    assert!(!joined.skip_assignment);
    assert_eq!(world.group.state(), GroupState::Stable);
}

#[test]
fn a_static_leader_that_comes_back_skips_the_assignment_or_is_not_called_leader() {
    let mut world = World::new();
    world.join_as(&static_join("", "i1"));
    world.finish();
    let ticket = world.join_as(&static_join("", "i1"));
    world.store(Ok(()));
    let joined = world.joined(ticket).unwrap().unwrap();
    assert!(joined.skip_assignment);
    assert_eq!((joined.leader.as_str(), joined.members.len()), ("m2", 1));

    let old = Join { can_skip_assignment: false, ..static_join("", "i1") };
    let ticket = world.join_as(&old);
    world.store(Ok(()));
    let joined = world.joined(ticket).unwrap().unwrap();
    assert_eq!((joined.member.as_str(), joined.leader.as_str()), ("m3", "m2"));
    assert!(!joined.skip_assignment);
}

#[test]
fn a_replaced_static_member_is_fenced_everywhere() {
    let mut world = World::new();
    world.join_as(&static_join("", "i1"));
    world.finish();
    world.join_as(&static_join("", "i1"));
    let old = Caller { instance: Some("i1".into()), ..world.caller("m1") };
    assert_eq!(world.group.heartbeat(&old, Millis(0)), Err(Error::FencedInstance));
    assert_eq!(world.group.commit(&old, Millis(0)), Err(Error::FencedInstance));
    let ticket = world.join_as(&static_join("m1", "i1"));
    assert_eq!(world.refused(ticket), Some(Error::FencedInstance));
    let leaving = [Leaving { member: "m1".into(), instance: Some("i1".into()) }];
    let result = world.group.leave(&leaving, Millis(0), &mut world.said);
    assert_eq!(result, [Err(Error::FencedInstance)]);
}

#[test]
fn a_static_member_that_waits_is_fenced_when_its_place_is_taken() {
    let mut world = World::new();
    let old = world.join_as(&static_join("", "i1"));
    let new = world.join_as(&static_join("", "i1"));
    assert_eq!(world.refused(old), Some(Error::FencedInstance));
    world.pass(3000);
    assert_eq!(world.joined(new).unwrap().unwrap().members.len(), 1);
}

#[test]
fn a_static_member_that_comes_back_during_assignment_or_changed_rebalances() {
    let mut world = World::new();
    world.join_as(&static_join("", "i1"));
    world.join_as(&static_join("", "i2"));
    world.pass(6000);
    world.join_as(&static_join("", "i2"));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);

    let mut world = World::new();
    world.join_as(&static_join("", "i1"));
    world.finish();
    let changed = Join {
        protocols: vec![protocol("sticky", b""), protocol("range", b"")],
        ..static_join("", "i1")
    };
    let ticket = world.join_as(&changed);
    assert_eq!(world.joined(ticket).unwrap().unwrap().generation, 2);
}

#[test]
fn a_silent_static_member_stays_through_a_rebalance_until_its_session_ends() {
    let mut world = World::new();
    world.join_as(&Join { session_timeout_ms: 120_000, ..static_join("", "i1") });
    world.join("");
    world.finish();
    let ticket = world.join_as(&Join { protocols: vec![protocol("range", b"2")], ..join("m2") });
    world.pass(REBALANCE);
    let joined = world.joined(ticket).unwrap().unwrap();
    assert_eq!((joined.leader.as_str(), joined.members.len()), ("m2", 2));
}

#[test]
fn who_may_commit() {
    let nobody = Caller { generation: -1, ..Caller::default() };
    let mut empty = Group::new(Millis(0));
    assert_eq!(empty.commit(&nobody, Millis(0)), Ok(()));
    let stranger = Caller { member: "x".into(), instance: None, generation: 3 };
    assert_eq!(empty.commit(&stranger, Millis(0)), Err(Error::UnknownMember));

    let mut world = World::stable(1);
    let mut may = |caller: &Caller| world.group.commit(caller, Millis(0));
    assert_eq!(may(&nobody), Err(Error::UnknownMember));
    let late = Caller { member: "m1".into(), instance: None, generation: 0 };
    assert_eq!(may(&late), Err(Error::IllegalGeneration));
    assert_eq!(may(&Caller { generation: 1, ..late.clone() }), Ok(()));
    let wrong = Caller { instance: Some("i".into()), generation: 1, ..late };
    assert_eq!(may(&wrong), Err(Error::UnknownMember));

    world.join("");
    let member = world.caller("m1");
    assert_eq!(world.group.commit(&member, Millis(0)), Ok(()), "before it rejoins");
    world.join("m1");
    assert_eq!(world.group.state(), GroupState::CompletingRebalance);
    let member = world.caller("m1");
    assert_eq!(world.group.commit(&member, Millis(0)), Err(Error::RebalanceInProgress));
}

#[test]
fn a_loaded_group_goes_on_where_it_was() {
    let mut world = World::stable(2);
    world.group = Group::from_record(world.group.to_record());
    world.group.start(Millis(world.now));
    assert_eq!(world.group.state(), GroupState::Stable);
    assert_eq!(world.beat("m2"), Ok(()));
    assert!(world.group.reads("t") && !world.group.reads("u"));
    world.pass(SESSION);
    assert_eq!(world.group.state(), GroupState::Empty);
}

#[test]
fn while_it_rebalances_a_group_is_recorded_as_it_was_last_stored() {
    let mut world = World::stable(2);
    let stable = world.group.to_record();
    world.join("m1");
    assert_eq!(world.group.to_record(), stable);
    world.join("m2");
    assert_eq!(world.group.to_record(), stable, "nobody has an assignment yet");
    world.sync("m1", &[("m1", "new")]);
    assert_eq!(world.group.to_record().generation, 2);
}

#[derive(Clone, Debug)]
enum Step {
    Join { who: usize, fresh: bool, known: bool, fixed: bool, metadata: u8 },
    Sync { who: usize, stale: bool },
    Leave(usize),
    Beat(usize),
    Pass(i64),
    Store(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_usize, any::<bool>(), any::<bool>(), any::<bool>(), 0..2_u8).prop_map(
            |(who, fresh, known, fixed, metadata)| Step::Join { who, fresh, known, fixed, metadata }
        ),
        4 => (0..6_usize, prop::bool::weighted(0.1))
            .prop_map(|(who, stale)| Step::Sync { who, stale }),
        1 => (0..6_usize).prop_map(Step::Leave),
        2 => (0..6_usize).prop_map(Step::Beat),
        2 => (0..20_000_i64).prop_map(Step::Pass),
        3 => prop::bool::weighted(0.8).prop_map(Step::Store),
    ]
}

/// What clients remember, and what they must never see.
#[derive(Default)]
struct Witness {
    ids: Vec<MemberId>,
    open_joins: BTreeSet<Ticket>,
    open_syncs: BTreeMap<Ticket, (MemberId, i32)>,
    assignments: BTreeMap<(i32, MemberId), Bytes>,
    leaders: BTreeMap<i32, MemberId>,
}

impl Witness {
    fn hear(&mut self, world: &mut World) {
        let mut kept = Vec::new();
        for effect in std::mem::take(&mut world.said) {
            match effect {
                Effect::Joined(ticket, answer) => {
                    assert!(self.open_joins.remove(&ticket), "a join is answered once");
                    match answer {
                        Ok(joined) => {
                            self.ids.push(joined.member.clone());
                            if !joined.members.is_empty() {
                                let leads = self.leaders.entry(joined.generation);
                                leads.or_insert(joined.leader);
                            }
                        }
                        Err(refused) => self.ids.push(refused.member),
                    }
                }
                Effect::Synced(ticket, answer) => {
                    let asked = self.open_syncs.remove(&ticket);
                    let (member, generation) = asked.expect("a sync is answered once");
                    if let Ok(synced) = answer {
                        let told = self.assignments.entry((generation, member));
                        let told = told.or_insert_with(|| synced.assignment.clone());
                        assert_eq!(*told, synced.assignment, "one generation, one assignment");
                    }
                }
                store @ Effect::Store { .. } => kept.push(store),
            }
        }
        world.said = kept;
    }

    fn check(&self, world: &World) {
        let group = &world.group;
        let waiting = group.members.values().filter(|m| m.awaiting_join.is_some()).count();
        assert_eq!(waiting, group.awaiting_join);
        assert_eq!(waiting, self.open_joins.len(), "nobody who waits is forgotten");
        let syncing = group.members.values().filter(|m| m.awaiting_sync.is_some()).count();
        assert_eq!(syncing, self.open_syncs.len());
        for (instance, id) in &group.statics {
            assert_eq!(group.members[id].instance.as_ref(), Some(instance));
        }
        assert_eq!(group.members.is_empty(), group.leader.is_none());
        assert!(group.leader.as_ref().is_none_or(|id| group.members.contains_key(id)));
        assert!(group.state != GroupState::Empty || group.members.is_empty());
        if !self.open_joins.is_empty() || !self.open_syncs.is_empty() {
            let is_storing = world.stores() > 0;
            assert!(group.next_tick().is_some() || is_storing, "time or the log ends every wait");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn whatever_happens_a_group_keeps_its_promises(
        steps in steps()
    ) {
        keep_promises(steps);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..80)
}

/// How many generations there were.
fn keep_promises(steps: Vec<Step>) -> i32 {
    let mut world = World::new();
    let mut witness = Witness::default();
    let mut generation = 0;
    for step in steps {
        run(step, &mut world, &mut witness);
        witness.hear(&mut world);
        witness.check(&world);
        assert!(world.group.generation >= generation, "generations only grow");
        generation = world.group.generation;
    }
    // After all clients fall silent everybody is answered and gone in bounded time.
    for _ in 0..6 {
        world.pass(10 * 60 * 1000);
        world.store(Ok(()));
        witness.hear(&mut world);
    }
    assert_eq!(witness.open_joins.len() + witness.open_syncs.len(), 0);
    assert!(world.group.is_deserted());
    generation
}

const GROUP: Seeded = Seeded {
    name: "group",
    test: "group::classic::tests::many_seeds",
    run: |seed, _| u64::try_from(keep_promises(drawn(&steps(), seed))).unwrap(),
    reaches: &[],
};

#[test]
#[ignore = "CI: many seeds"]
fn many_seeds_of_a_group_keep_its_promises() {
    GROUP.holds(0..3000);
}

#[allow(clippy::needless_pass_by_value, reason = "a step is used up")]
fn run(step: Step, world: &mut World, witness: &mut Witness) {
    let known = |who: usize| {
        let at = who.checked_rem(witness.ids.len()).unwrap_or_default();
        witness.ids.get(at).cloned().unwrap_or_default()
    };
    match step {
        Step::Join { who, fresh, known: needs_known_id, fixed, metadata } => {
            let member = if fresh { MemberId::default() } else { known(who) };
            let instance = fixed.then(|| InstanceId::from(["i0", "i1"][who % 2]));
            let metadata: &[u8] = if metadata == 0 { b"a" } else { b"b" };
            let protocols = vec![protocol("range", metadata)];
            let join = Join { member, instance, needs_known_id, protocols, ..join("") };
            // The ticket is known to wait before the answer can come.
            witness.open_joins.insert(Ticket(world.tickets + 1));
            world.join_as(&join);
        }
        Step::Sync { who, stale } => {
            let member = known(who);
            let generation = world.group.generation - i32::from(stale);
            let asked = (member.clone(), generation);
            witness.open_syncs.insert(Ticket(world.tickets + 1), asked);
            let texts = ["x", "y", "z"];
            let text = texts[usize::try_from(world.tickets).unwrap() % 3];
            world.sync_in(generation, member.as_str(), &[(member.as_str(), text)]);
        }
        Step::Leave(who) => {
            let member = known(who);
            world.leave(member.as_str()).ok();
        }
        Step::Beat(who) => {
            let member = known(who);
            world.beat(member.as_str()).ok();
        }
        Step::Pass(ms) => world.pass(ms),
        Step::Store(done) => {
            world.store(if done { Ok(()) } else { Err(Error::NotAvailable) });
        }
    }
}
