//! Rebalances: preparing, completing, syncing, leaving, and what time brings about.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Config, Effect, Error, Group, GroupState, Leaving, MemberId, Sync, Synced, Then, Ticket,
    member::after,
};
use crate::types::Millis;

impl Group {
    /// A member asks for its assignment.
    pub(in crate::group) fn sync(
        &mut self,
        sync: Sync,
        ticket: Ticket,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(error) = self.check_sync(&sync) {
            effects.push(Effect::Synced(ticket, Err(error)));
            return;
        }
        let id = sync.caller.member;
        self.unsynced.remove(&id);
        if self.unsynced.is_empty() {
            self.sync_ends = None;
        }
        let is_stable = self.state == GroupState::Stable;
        let Some(member) = self.members.get_mut(&id) else { return };
        if is_stable {
            member.touch(now);
            let answer = self.synced(&id);
            effects.push(Effect::Synced(ticket, Ok(answer)));
            return;
        }
        // A client that asks again has given up on its first question.
        if let Some(earlier) = member.awaiting_sync.replace(ticket) {
            effects.push(Effect::Synced(earlier, Err(Error::RebalanceInProgress)));
        }
        // Only the first assignment of a generation counts, or two could be handed out (I16).
        if self.is_leader(&id) && !self.is_assigning {
            self.is_assigning = true;
            self.store_assignment(sync.assignments.into_iter().collect(), effects);
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), Error> {
        if self.state == GroupState::Empty {
            return Err(Error::UnknownMember);
        }
        self.check_member(&sync.caller.member, sync.caller.instance.as_ref())?;
        if sync.caller.generation != self.generation {
            return Err(Error::IllegalGeneration);
        }
        let differs = |theirs: &Option<_>, ours: &Option<_>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(Error::InconsistentProtocol);
        }
        if self.state == GroupState::PreparingRebalance {
            return Err(Error::RebalanceInProgress);
        }
        Ok(())
    }

    fn synced(&self, id: &MemberId) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|m| m.assignment.clone()).unwrap_or_default(),
        }
    }

    fn store_assignment(
        &mut self,
        assignments: BTreeMap<MemberId, Bytes>,
        effects: &mut Vec<Effect>,
    ) {
        self.stored = None;
        let mut record = self.to_record();
        for member in &mut record.members {
            member.assignment = assignments.get(&member.member).cloned().unwrap_or_default();
        }
        self.stored = Some(Box::new(record.clone()));
        let then = Then::Assign { generation: self.generation, assignments };
        effects.push(Effect::Store { record, then });
    }

    /// What was to be stored is, or could not be.
    pub(in crate::group) fn stored(
        &mut self,
        then: Then,
        outcome: Result<(), Error>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        match then {
            Then::Nothing => {}
            Then::Welcome { member, leader_before, can_skip_assignment } => {
                let is_stored = outcome.is_ok();
                self.welcome(&member, leader_before, can_skip_assignment, is_stored, effects);
            }
            Then::Assign { generation, assignments } => {
                // Another rebalance may have begun meanwhile.
                if self.state != GroupState::CompletingRebalance || self.generation != generation {
                    return;
                }
                self.is_assigning = false;
                match outcome {
                    Ok(()) => self.hand_out(&assignments, now, effects),
                    Err(error) => {
                        self.refuse_syncs(error, now, effects);
                        self.prepare_rebalance(now, None, effects);
                    }
                }
            }
        }
    }

    fn hand_out(
        &mut self,
        assignments: &BTreeMap<MemberId, Bytes>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        self.enter(GroupState::Stable, now);
        self.stored = None;
        let (protocol_type, protocol) = (&self.protocol_type, &self.protocol);
        for (id, member) in &mut self.members {
            member.assignment = assignments.get(id).cloned().unwrap_or_default();
            if let Some(ticket) = member.awaiting_sync.take() {
                member.touch(now);
                let (protocol_type, protocol) = (protocol_type.clone(), protocol.clone());
                let assignment = member.assignment.clone();
                let answer = Synced { protocol_type, protocol, assignment };
                effects.push(Effect::Synced(ticket, Ok(answer)));
            }
        }
    }

    fn refuse_syncs(&mut self, error: Error, now: Millis, effects: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_sync.take() {
                member.touch(now);
                effects.push(Effect::Synced(ticket, Err(error)));
            }
        }
    }

    /// Members leave, or are removed by their instance id: one result each.
    pub(in crate::group) fn leave(
        &mut self,
        leaving: &[Leaving],
        now: Millis,
        effects: &mut Vec<Effect>,
    ) -> Vec<Result<(), Error>> {
        let results: Vec<_> = leaving.iter().map(|one| self.leave_one(one, effects)).collect();
        if results.iter().any(Result::is_ok) {
            match self.state {
                GroupState::Empty => {}
                GroupState::PreparingRebalance => self.complete_join_if_all_are_here(now, effects),
                GroupState::CompletingRebalance | GroupState::Stable => {
                    self.prepare_rebalance(now, None, effects);
                }
            }
        }
        results
    }

    fn leave_one(&mut self, one: &Leaving, effects: &mut Vec<Effect>) -> Result<(), Error> {
        let id = if one.member.as_str().is_empty() {
            let holder = one.instance.as_ref().and_then(|instance| self.statics.get(instance));
            holder.cloned().ok_or(Error::UnknownMember)?
        } else if self.pending.contains_key(&one.member) {
            one.member.clone()
        } else {
            self.check_member(&one.member, one.instance.as_ref())?;
            one.member.clone()
        };
        self.remove(&id, Error::UnknownMember, effects);
        Ok(())
    }

    /// What has run out by `now`: ids never used, sessions, joins and syncs.
    pub(in crate::group) fn tick(
        &mut self,
        now: Millis,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        let mut is_fewer = self.pending.len() < before;
        let members = self.members.iter();
        let dead = members.filter(|(_, m)| !m.is_excused() && m.session_ends <= now);
        let dead: Vec<_> = dead.map(|(id, _)| id.clone()).collect();
        for id in &dead {
            self.remove(id, Error::UnknownMember, effects);
            is_fewer = true;
        }
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance if !dead.is_empty() => {
                self.prepare_rebalance(now, None, effects);
            }
            GroupState::PreparingRebalance if is_fewer && self.are_all_here() => {
                self.complete_join(now, effects);
            }
            _ => {}
        }
        if self.join_ends.is_some_and(|ends| ends <= now) {
            self.end_join(now, config, effects);
        }
        if self.sync_ends.is_some_and(|ends| ends <= now) {
            for id in std::mem::take(&mut self.unsynced) {
                self.remove(&id, Error::UnknownMember, effects);
            }
            self.prepare_rebalance(now, None, effects);
        }
    }

    /// When `tick` has something to do, if nothing else happens.
    pub(in crate::group) fn next_tick(&self) -> Option<Millis> {
        let members = self.members.values().filter(|member| !member.is_excused());
        let sessions = members.map(|member| member.session_ends);
        let waits = self.join_ends.into_iter().chain(self.sync_ends);
        sessions.chain(self.pending.values().copied()).chain(waits).min()
    }

    /// The time to join is over; a first rebalance waits on while members keep coming.
    fn end_join(&mut self, now: Millis, config: &Config, effects: &mut Vec<Effect>) {
        if self.is_initial && self.joined_since_delay && self.initial_left_ms > 0 {
            self.joined_since_delay = false;
            self.wait_initially(now, config);
        } else {
            self.complete_join(now, effects);
        }
    }

    /// One more delay of a first rebalance, out of what is left for all of them.
    fn wait_initially(&mut self, now: Millis, config: &Config) {
        let delay = i64::try_from(config.initial_rebalance_delay.as_millis()).unwrap_or(i64::MAX);
        let delay = delay.min(self.initial_left_ms);
        self.initial_left_ms -= delay;
        self.join_ends = Some(Millis(now.0.saturating_add(delay)));
    }

    pub(super) fn rebalance_or_complete(
        &mut self,
        now: Millis,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) {
        if self.state == GroupState::PreparingRebalance {
            self.complete_join_if_all_are_here(now, effects);
        } else {
            self.prepare_rebalance(now, Some(config), effects);
        }
    }

    /// Begins a rebalance; an empty group's needs `config` for its delay.
    pub(super) fn prepare_rebalance(
        &mut self,
        now: Millis,
        config: Option<&Config>,
        effects: &mut Vec<Effect>,
    ) {
        if self.stored.is_none() {
            self.stored = Some(Box::new(self.to_record()));
        }
        if self.state == GroupState::CompletingRebalance {
            self.refuse_syncs(Error::RebalanceInProgress, now, effects);
        }
        self.is_assigning = false;
        self.unsynced.clear();
        self.sync_ends = None;
        self.is_initial = self.state == GroupState::Empty;
        self.enter(GroupState::PreparingRebalance, now);
        if let Some(config) = config.filter(|_| self.is_initial) {
            self.joined_since_delay = false;
            // The first delay is waited in full, also where members would wait less.
            let delay = config.initial_rebalance_delay.as_millis();
            let delay = i64::try_from(delay).unwrap_or(i64::MAX);
            self.initial_left_ms = delay.max(i64::from(self.rebalance_timeout_ms()));
            self.wait_initially(now, config);
        } else if self.are_all_here() {
            self.complete_join(now, effects);
        } else {
            self.join_ends = Some(after(now, self.rebalance_timeout_ms()));
        }
    }

    fn are_all_here(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending.is_empty()
    }

    pub(super) fn complete_join_if_all_are_here(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let may = self.state == GroupState::PreparingRebalance && !self.is_initial;
        if may && self.are_all_here() {
            self.complete_join(now, effects);
        }
    }

    /// Begins the next generation with whoever is here; static members stay till their session
    /// ends.
    fn complete_join(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let members = self.members.iter();
        let silent = members.filter(|(_, m)| m.awaiting_join.is_none() && m.instance.is_none());
        let silent: Vec<_> = silent.map(|(id, _)| id.clone()).collect();
        for id in silent {
            self.remove(&id, Error::UnknownMember, effects);
        }
        self.join_ends = None;
        if self.members.is_empty() {
            self.become_empty(now, effects);
        } else if self.elect_leader() {
            self.begin_generation(now, effects);
        } else {
            // Only silent static members are left: wait until they come or their sessions end.
            self.join_ends = Some(after(now, self.rebalance_timeout_ms().max(1000)));
        }
    }

    fn become_empty(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.generation = self.generation.wrapping_add(1).max(0);
        self.protocol = None;
        self.topics = self.find_topics();
        self.enter(GroupState::Empty, now);
        self.stored = None;
        effects.push(Effect::Store { record: self.to_record(), then: Then::Nothing });
    }

    fn begin_generation(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.generation = self.generation.wrapping_add(1).max(0);
        self.protocol = self.choose_protocol();
        self.topics = self.find_topics();
        self.enter(GroupState::CompletingRebalance, now);
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined(&id, self.is_leader(&id), false);
            let Some(member) = self.members.get_mut(&id) else { continue };
            if let Some(ticket) = member.awaiting_join.take() {
                self.awaiting_join -= 1;
                effects.push(Effect::Joined(ticket, Ok(answer)));
            }
            member.touch(now);
            member.is_new = false;
            self.unsynced.insert(id);
        }
        self.sync_ends = Some(after(now, self.rebalance_timeout_ms()));
    }

    /// Whether the leader is here, or somebody who is took its place.
    fn elect_leader(&mut self) -> bool {
        let is_here =
            |id: &&MemberId| self.members.get(*id).is_some_and(|m| m.awaiting_join.is_some());
        if self.leader.as_ref().filter(is_here).is_some() {
            return true;
        }
        let Some(heir) = self.members.keys().find(is_here).cloned() else { return false };
        self.leader = Some(heir);
        true
    }

    fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    fn enter(&mut self, state: GroupState, now: Millis) {
        self.state = state;
        self.since = Some(now);
    }
}
