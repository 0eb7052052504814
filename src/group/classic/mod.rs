//! One classic group as a pure state machine: join, sync, heartbeat, leave, time.
//!
//! Owns: membership, generations, static members (KIP-345), protocol choice, sessions.
//! Does not own: offsets, IO, clocks, randomness, wire versions.
//! Invariants: an assignment is handed out only once its record is stored, so a generation has one
//! (I16); every waiting join and sync is answered in bounded time; a replaced static member is
//! fenced from the moment its place is taken.

mod join;
mod member;
mod rebalance;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use self::member::Member;
use super::{
    Caller, Config, Description, Error, GroupState, InstanceId, Join, JoinRefused, Joined,
    JoinedMember, Leaving, MemberId, Sync, Synced,
    record::{GroupRecord, subscribed_topics},
};
use crate::types::Millis;

/// Names a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// What a group has to say or to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Answers a join.
    Joined(Ticket, Result<Joined, JoinRefused>),
    /// Answers a sync.
    Synced(Ticket, Result<Synced, Error>),
    /// Append this record, then call `stored` with `then`.
    Store { record: GroupRecord, then: Then },
}

/// What to do when a record is stored, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Hand out the generation's assignment.
    Assign { generation: i32, assignments: BTreeMap<MemberId, Bytes> },
    /// Welcome a static member that took its old place without a rebalance.
    Welcome { member: MemberId, leader_before: MemberId, can_skip_assignment: bool },
    /// Nothing: an empty group whose record is lost comes back with members that time out.
    Nothing,
}

/// A classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    state: GroupState,
    /// The rebalance under way is the first since the group was empty: it waits for more members.
    is_initial: bool,
    since: Option<Millis>,
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    generation: i32,
    leader: Option<MemberId>,
    members: BTreeMap<MemberId, Member>,
    statics: BTreeMap<InstanceId, MemberId>,
    /// Ids handed out with MEMBER_ID_REQUIRED, and until when they are good.
    pending: BTreeMap<MemberId, Millis>,
    /// Members of this generation that have not synced.
    unsynced: BTreeSet<MemberId>,
    awaiting_join: usize,
    /// How many members support each protocol.
    supported: BTreeMap<Arc<str>, usize>,
    /// Topics read, if that can be told.
    topics: Option<BTreeSet<Arc<str>>>,
    join_ends: Option<Millis>,
    /// What is left of the first rebalance's longest delay, in milliseconds.
    initial_left_ms: i64,
    joined_since_delay: bool,
    sync_ends: Option<Millis>,
    /// The leader's assignment is being stored.
    is_assigning: bool,
    /// While it rebalances: the group's newest record in the log.
    stored: Option<Box<GroupRecord>>,
}

impl Group {
    /// A group nobody has joined.
    pub(super) fn new(now: Millis) -> Self {
        Self {
            state: GroupState::Empty,
            is_initial: false,
            since: Some(now),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            awaiting_join: 0,
            supported: BTreeMap::new(),
            topics: None,
            join_ends: None,
            initial_left_ms: 0,
            joined_since_delay: false,
            sync_ends: None,
            is_assigning: false,
            stored: None,
        }
    }

    /// The group as its record tells; sessions begin when `start` is called.
    pub(super) fn from_record(record: GroupRecord) -> Self {
        let mut group = Self::new(Millis(0));
        group.since = record.since;
        group.protocol_type = record.protocol_type.filter(|text| !text.is_empty());
        group.protocol = record.protocol;
        group.generation = record.generation;
        group.leader = record.leader;
        for member in record.members {
            let id = member.member.clone();
            let member = Member::from_record(member, group.protocol.as_ref());
            group.insert(id, member);
        }
        if !group.members.is_empty() {
            group.state = GroupState::Stable;
        }
        group.topics = group.find_topics();
        group
    }

    /// The record that makes this group again; while it rebalances, the one last stored.
    pub(super) fn to_record(&self) -> GroupRecord {
        if let Some(stored) = &self.stored {
            return GroupRecord::clone(stored);
        }
        let protocol = self.protocol.as_deref();
        GroupRecord {
            protocol_type: self.protocol_type.clone(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members: self.members.iter().map(|(id, m)| m.to_record(id, protocol)).collect(),
        }
    }

    /// Begins the sessions of a group that was just loaded.
    pub(super) fn start(&mut self, now: Millis) {
        for member in self.members.values_mut() {
            member.touch(now);
        }
    }

    /// Lets what was recorded as long ago as `gap_ms` count as so much younger.
    pub(super) fn shift(&mut self, gap_ms: i64) {
        self.since = self.since.map(|since| Millis(since.0.saturating_add(gap_ms)));
    }

    pub(super) fn state(&self) -> GroupState {
        self.state
    }

    /// When it came to where it stands, if known.
    pub(super) fn since(&self) -> Option<Millis> {
        self.since
    }

    pub(super) fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody waits to become a member either.
    pub(super) fn is_deserted(&self) -> bool {
        self.state == GroupState::Empty && self.pending.is_empty()
    }

    fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some("consumer")
    }

    /// Whether members read `topic`; a consumer group that cannot be understood reads everything.
    pub(super) fn reads(&self, topic: &str) -> bool {
        self.topics.as_ref().map_or(self.is_consumer(), |topics| topics.contains(topic))
    }

    /// Whether the topics its members read are known.
    pub(super) fn knows_topics(&self) -> bool {
        self.is_consumer() && self.topics.is_some()
    }

    pub(super) fn describe(&self) -> Description {
        let protocol =
            self.protocol.as_ref().filter(|_| self.state == GroupState::Stable).map(|p| &**p);
        Description {
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.unwrap_or_default().into(),
            members: self.members.iter().map(|(id, m)| m.describe(id, protocol)).collect(),
        }
    }

    /// Whether `caller` may commit offsets; counts as a sign of life.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn commit(&mut self, caller: &Caller, now: Millis) -> Result<(), Error> {
        if caller.generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        let is_somebody = caller.generation >= 0
            || !caller.member.as_str().is_empty()
            || caller.instance.is_some();
        if !is_somebody {
            return Err(Error::UnknownMember);
        }
        self.check_member(&caller.member, caller.instance.as_ref())?;
        if caller.generation != self.generation {
            return Err(Error::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            return Err(Error::RebalanceInProgress);
        }
        self.touch(&caller.member, now);
        Ok(())
    }

    /// Whether offsets may be deleted at all while the group is as it is.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_delete_offsets(&self) -> Result<(), Error> {
        if self.state == GroupState::Empty || self.is_consumer() {
            return Ok(());
        }
        Err(Error::NonEmptyGroup)
    }

    /// Keeps a session alive.
    ///
    /// # Errors
    /// What the member is to do instead.
    pub(super) fn heartbeat(&mut self, caller: &Caller, now: Millis) -> Result<(), Error> {
        self.check_member(&caller.member, caller.instance.as_ref())?;
        if caller.generation != self.generation {
            return Err(Error::IllegalGeneration);
        }
        self.touch(&caller.member, now);
        match self.state {
            GroupState::Empty => Err(Error::UnknownMember),
            GroupState::PreparingRebalance => Err(Error::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    fn touch(&mut self, member: &MemberId, now: Millis) {
        if let Some(member) = self.members.get_mut(member) {
            member.touch(now);
        }
    }

    /// Whether `member` is one, and still the holder of its instance id.
    fn check_member(&self, member: &MemberId, instance: Option<&InstanceId>) -> Result<(), Error> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(Error::UnknownMember),
                Some(holder) if holder != member => return Err(Error::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(Error::UnknownMember) }
    }

    fn insert(&mut self, id: MemberId, member: Member) {
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        for protocol in &member.protocols {
            *self.supported.entry(protocol.name.clone()).or_default() += 1;
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.pending.remove(&id);
        self.members.insert(id, member);
    }

    /// Takes a member out; whatever it waits for is answered with `error`.
    fn remove(&mut self, id: &MemberId, error: Error, effects: &mut Vec<Effect>) {
        self.pending.remove(id);
        self.unsynced.remove(id);
        let Some(mut member) = self.members.remove(id) else { return };
        self.retract(&member.protocols);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        self.refuse_waiting(id, &mut member, error, effects);
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    fn retract(&mut self, protocols: &[super::Protocol]) {
        for protocol in protocols {
            if let Some(count) = self.supported.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
    }

    fn refuse_waiting(
        &mut self,
        id: &MemberId,
        member: &mut Member,
        error: Error,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(ticket) = member.awaiting_join.take() {
            self.awaiting_join -= 1;
            // The id is given back empty where it is no longer good, so that a client joins anew.
            let unknown = error == Error::UnknownMember;
            let member = if unknown { MemberId::default() } else { id.clone() };
            effects.push(Effect::Joined(ticket, Err(JoinRefused { member, error })));
        }
        if let Some(ticket) = member.awaiting_sync.take() {
            effects.push(Effect::Synced(ticket, Err(error)));
        }
    }

    /// Topics all members together read, from the part of a subscription all its versions share.
    fn find_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.is_consumer() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscribed_topics(&member.metadata(self.protocol.as_deref()))?);
        }
        Some(topics)
    }

    fn joined(&self, id: &MemberId, with_members: bool, skip_assignment: bool) -> Joined {
        let protocol = self.protocol.as_deref();
        let members = self.members.iter().map(|(id, member)| JoinedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        });
        Joined {
            member: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment,
            members: if with_members { members.collect() } else { Vec::new() },
        }
    }

    fn is_leader(&self, id: &MemberId) -> bool {
        self.leader.as_ref() == Some(id)
    }
}

#[cfg(test)]
mod tests;
