//! Joining: new, pending, returning and static members.

use std::{collections::BTreeSet, sync::Arc};

use super::{Config, Effect, Error, Group, Join, JoinRefused, Member, MemberId, Then, Ticket};
use crate::{
    group::{GroupState, InstanceId, Protocol},
    types::Millis,
};

/// A new member's join waits at most this long: it has no id to send heartbeats with, and a client
/// that gave up and came again would leave a ghost.
const NEW_MEMBER_JOIN_MS: i32 = 5 * 60 * 1000;
/// Ids handed out and not yet used; each costs memory until its session would end.
const MAX_PENDING: usize = 10_000;

impl Group {
    /// A member asks to be in the next generation. `fresh` is the id it gets if it has none.
    pub(in crate::group) fn join(
        &mut self,
        join: &Join,
        fresh: MemberId,
        ticket: Ticket,
        now: Millis,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) {
        let is_new = join.member.as_str().is_empty();
        let refusal = if !self.has_room(&join.member, config) {
            self.remove(&join.member, Error::GroupFull, effects);
            Some(JoinRefused { member: MemberId::default(), error: Error::GroupFull })
        } else if !self.supports(join) {
            let member = join.member.clone();
            Some(JoinRefused { member, error: Error::InconsistentProtocol })
        } else if is_new {
            self.join_new(join, fresh, ticket, now, config, effects)
        } else {
            self.join_known(join, ticket, now, config, effects)
                .err()
                .map(|error| JoinRefused { member: join.member.clone(), error })
        };
        if let Some(refused) = refusal {
            effects.push(Effect::Joined(ticket, Err(refused)));
        }
    }

    fn has_room(&self, member: &MemberId, config: &Config) -> bool {
        match self.state {
            GroupState::Empty => true,
            // Those who wait are counted, not the members: the last to come back are turned away
            // when the bound was lowered.
            GroupState::PreparingRebalance => {
                self.members.get(member).is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join < config.max_members
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(member) || self.members.len() < config.max_members
            }
        }
    }

    fn supports(&self, join: &Join) -> bool {
        let names: BTreeSet<_> = join.protocols.iter().map(|protocol| &protocol.name).collect();
        if names.len() != join.protocols.len() {
            return false;
        }
        if self.state == GroupState::Empty {
            return !join.protocol_type.is_empty() && !names.is_empty();
        }
        let is_common = |name: &Arc<str>| {
            self.supported.get(name).copied().unwrap_or_default() == self.members.len()
        };
        self.protocol_type.as_ref() == Some(&join.protocol_type) && names.into_iter().any(is_common)
    }

    fn join_new(
        &mut self,
        join: &Join,
        fresh: MemberId,
        ticket: Ticket,
        now: Millis,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) -> Option<JoinRefused> {
        if let Some(instance) = &join.instance {
            if let Some(old) = self.statics.get(instance).cloned() {
                self.replace(join, instance, &old, fresh, ticket, now, effects);
            } else {
                self.add(join, fresh, ticket, now, config, effects);
            }
        } else if join.needs_known_id {
            if self.pending.len() >= MAX_PENDING {
                let member = MemberId::default();
                return Some(JoinRefused { member, error: Error::GroupFull });
            }
            let until = super::member::after(now, join.session_timeout_ms);
            self.pending.insert(fresh.clone(), until);
            return Some(JoinRefused { member: fresh, error: Error::MemberIdRequired });
        } else {
            self.add(join, fresh, ticket, now, config, effects);
        }
        None
    }

    fn join_known(
        &mut self,
        join: &Join,
        ticket: Ticket,
        now: Millis,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let id = &join.member;
        if self.pending.contains_key(id) {
            // An id is only ever handed out this way to a dynamic member.
            if join.instance.is_some() {
                return Err(Error::UnknownMember);
            }
            self.add(join, id.clone(), ticket, now, config, effects);
            return Ok(());
        }
        self.check_member(id, join.instance.as_ref())?;
        let is_same = self.members.get(id).is_some_and(|m| m.protocols == join.protocols);
        let is_leader = self.is_leader(id);
        match self.state {
            GroupState::Empty => return Err(Error::UnknownMember),
            // The answer to its first join was lost: the generation stands.
            GroupState::CompletingRebalance if is_same => {
                effects.push(Effect::Joined(ticket, Ok(self.joined(id, is_leader, false))));
                return Ok(());
            }
            // A leader rejoins for what its metadata does not show, such as new partitions.
            GroupState::Stable if is_same && !is_leader => {
                effects.push(Effect::Joined(ticket, Ok(self.joined(id, false, false))));
                return Ok(());
            }
            _ => {}
        }
        self.update(id, join, ticket, effects);
        self.rebalance_or_complete(now, config, effects);
        Ok(())
    }

    fn add(
        &mut self,
        join: &Join,
        id: MemberId,
        ticket: Ticket,
        now: Millis,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) {
        let mut member = Member::new(join);
        member.awaiting_join = Some(ticket);
        member.session_ends = super::member::after(now, NEW_MEMBER_JOIN_MS);
        self.awaiting_join += 1;
        self.joined_since_delay |= self.state == GroupState::PreparingRebalance && self.is_initial;
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        self.insert(id, member);
        self.rebalance_or_complete(now, config, effects);
    }

    /// Takes over what the member says of itself now, and that it waits.
    fn update(&mut self, id: &MemberId, join: &Join, ticket: Ticket, effects: &mut Vec<Effect>) {
        let Some(mut member) = self.members.remove(id) else { return };
        self.retract(&member.protocols);
        // A client that asks again has given up on its first question.
        self.refuse_waiting(id, &mut member, Error::RebalanceInProgress, effects);
        member.protocols.clone_from(&join.protocols);
        member.session_timeout_ms = join.session_timeout_ms;
        member.rebalance_timeout_ms = join.rebalance_timeout_ms;
        member.awaiting_join = Some(ticket);
        self.awaiting_join += 1;
        self.insert(id.clone(), member);
    }

    /// A static member came back under a new id: it takes the old one's place.
    #[allow(clippy::too_many_arguments)] // one caller; the names are the caller's own
    fn replace(
        &mut self,
        join: &Join,
        instance: &InstanceId,
        old: &MemberId,
        fresh: MemberId,
        ticket: Ticket,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let was_leader = self.is_leader(old);
        let leader_before = self.leader.clone().unwrap_or_default();
        let Some(mut member) = self.members.remove(old) else { return };
        self.retract(&member.protocols);
        self.unsynced.remove(old);
        self.refuse_waiting(old, &mut member, Error::FencedInstance, effects);
        member.touch(now);
        // It knows its id from an earlier answer, or will wait as one that does.
        member.is_new = false;
        self.statics.insert(instance.clone(), fresh.clone());
        if was_leader {
            self.leader = Some(fresh.clone());
        }
        self.insert(fresh.clone(), member);
        self.update(&fresh, join, ticket, effects);
        match self.state {
            GroupState::Stable if self.protocol == self.choose_protocol() => {
                let can_skip_assignment = join.can_skip_assignment;
                let then = Then::Welcome { member: fresh, leader_before, can_skip_assignment };
                effects.push(Effect::Store { record: self.to_record(), then });
            }
            // The leader may be assigning to the old id just now.
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare_rebalance(now, None, effects);
            }
            GroupState::PreparingRebalance | GroupState::Empty => {
                self.complete_join_if_all_are_here(now, effects);
            }
        }
    }

    /// The record of a static member that took its old place is stored, or not.
    pub(super) fn welcome(
        &mut self,
        id: &MemberId,
        leader_before: MemberId,
        can_skip_assignment: bool,
        is_stored: bool,
        effects: &mut Vec<Effect>,
    ) {
        // A rebalance that began meanwhile answers it instead.
        if self.state != GroupState::Stable {
            return;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        let Some(ticket) = member.awaiting_join.take() else { return };
        self.awaiting_join -= 1;
        let answer = if is_stored {
            let skip = can_skip_assignment && self.is_leader(id);
            let mut joined = self.joined(id, skip, skip);
            // An old client that finds itself the leader would assign anew; it is told of the
            // leader before it.
            if !can_skip_assignment {
                joined.leader = leader_before;
            }
            Ok(joined)
        } else {
            Err(JoinRefused { member: MemberId::default(), error: Error::NotAvailable })
        };
        effects.push(Effect::Joined(ticket, answer));
    }

    /// The protocol that all members support and most like best.
    pub(super) fn choose_protocol(&self) -> Option<std::sync::Arc<str>> {
        let everybody = self.members.len();
        let is_common =
            |protocol: &&Protocol| self.supported.get(&protocol.name) == Some(&everybody);
        let mut votes = std::collections::BTreeMap::<_, usize>::new();
        for member in self.members.values() {
            if let Some(protocol) = member.protocols.iter().find(is_common) {
                *votes.entry(&protocol.name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.clone())
    }
}
