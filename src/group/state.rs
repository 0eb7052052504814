//! The groups of one partition of the offsets topic, as a pure state machine.
//!
//! Owns: which groups there are, what each request means for group and offsets together, what is
//! to be appended, expiry, the whole state as records. Does not own: IO, clocks, who waits.
//! Invariants: offsets change only through changes the log has taken (`accept`), so what is shown
//! after a later barrier is committed; deletions too.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Caller, Committed, Config, Description, Error, GroupId, GroupState, Join, JoinRefused, Joined,
    Leaving, Listed, MemberId, Position, Surveyed, Sync, Synced, TopicPartition,
    classic::{self, Ticket},
    offsets::Offsets,
    record::Change,
};
use crate::{
    env::bugs::{Bug, Bugs},
    types::{Millis, TopicId},
};

/// Changes appended together when many are made at once.
const CHANGES_AT_ONCE: usize = 1000;

/// What is asked of a group.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Join(Join),
    Sync(Sync),
    Heartbeat(Caller),
    Leave(Vec<Leaving>),
    Commit(Caller, Vec<(TopicPartition, Position)>),
    Committed(Option<Vec<TopicPartition>>),
    Describe,
    Delete,
    DeleteOffsets(Vec<TopicPartition>),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Joined(Result<Joined, JoinRefused>),
    Synced(Synced),
    Done,
    Each(Vec<Result<(), Error>>),
    Committed(Vec<(TopicPartition, Option<Position>)>),
    Described(Description),
    Listed(Vec<Listed>),
    Surveyed(Vec<Surveyed>),
    Failed(Error),
}

/// What the owner is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Answer now.
    Answer(Ticket, Answer),
    /// Answer when a barrier begun from now on has passed: it tells what the log holds.
    Confirm(Ticket, Answer),
    /// Append these, `accept` what the log takes, and go on with `then` when it is committed.
    Append { changes: Vec<Change>, then: Then },
}

/// How to go on when changes are committed, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Answer(Ticket, Answer),
    Group(GroupId, classic::Then),
}

#[derive(Clone, Debug)]
struct Group {
    classic: classic::Group,
    offsets: Offsets,
    /// The log has a record of the group itself.
    is_logged: bool,
    /// Offsets are on their way to the log, which it may take or not.
    is_ahead: bool,
    /// When it is to be looked at next, as `wakes` has it.
    wake: Option<Millis>,
}

/// Groups by name.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    groups: BTreeMap<GroupId, Group>,
    wakes: BTreeSet<(Millis, GroupId)>,
    bugs: Bugs,
}

impl State {
    /// The same, with mistakes.
    pub(super) fn with_bugs(self, bugs: Bugs) -> Self {
        Self { bugs, ..self }
    }

    /// Takes over a change the log holds, while loading.
    pub(super) fn replay(&mut self, change: Change) {
        match change {
            Change::Group { group, record: Some(record) } => {
                let slot = self.slot(&group, Millis(0));
                slot.classic = classic::Group::from_record(record);
                slot.is_logged = true;
            }
            other => self.accept(&other, Millis(0)),
        }
    }

    /// Loading is done. What was recorded counts as `gap_ms` younger: for so long nobody was
    /// coordinator, and that is not held against anybody (H61).
    pub(super) fn start(&mut self, now: Millis, gap_ms: i64) {
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        for id in ids {
            let slot = self.slot(&id, now);
            slot.classic.shift(gap_ms);
            slot.offsets.shift(gap_ms);
            slot.classic.start(now);
            self.settle(&id);
        }
    }

    /// Takes over a change the log has taken.
    pub(super) fn accept(&mut self, change: &Change, now: Millis) {
        match change {
            Change::Offset { group, partition, committed: Some(committed) } => {
                let slot = self.slot(group, now);
                slot.is_ahead = false;
                slot.offsets.put(partition.clone(), committed.clone());
            }
            Change::Offset { group, partition, committed: None } => {
                if let Some(slot) = self.groups.get_mut(group) {
                    slot.offsets.remove(partition);
                }
            }
            Change::Group { group, record: Some(_) } => self.slot(group, now).is_logged = true,
            Change::Group { group, record: None } => {
                if let Some(slot) = self.groups.get_mut(group) {
                    slot.classic = classic::Group::new(now);
                    slot.is_logged = false;
                    if slot.offsets.is_empty() {
                        self.remove(group);
                    }
                }
            }
        }
    }

    /// Does what is asked. `fresh` is the id a new member gets.
    pub(super) fn handle(
        &mut self,
        group: &GroupId,
        request: Request,
        (ticket, fresh): (Ticket, MemberId),
        now: Millis,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) {
        let mut told = Vec::new();
        let answer = match request {
            Request::Join(join) => {
                if join.member.as_str().is_empty() || self.groups.contains_key(group) {
                    let slot = self.slot(group, now);
                    slot.classic.join(&join, fresh, ticket, now, config, &mut told);
                    None
                } else {
                    let refused = JoinRefused { member: join.member, error: Error::UnknownMember };
                    Some(Answer::Joined(Err(refused)))
                }
            }
            Request::Sync(sync) => match self.groups.get_mut(group) {
                Some(slot) => {
                    slot.classic.sync(sync, ticket, now, &mut told);
                    None
                }
                None => Some(Answer::Failed(Error::UnknownMember)),
            },
            Request::Heartbeat(caller) => Some(self.heartbeat(group, &caller, now)),
            Request::Leave(leaving) => Some(Answer::Each(match self.groups.get_mut(group) {
                Some(slot) => slot.classic.leave(&leaving, now, &mut told),
                None => vec![Err(Error::UnknownMember); leaving.len()],
            })),
            Request::Commit(caller, positions) => {
                let of = (ticket, &caller);
                self.commit(group, of, positions, now, config, effects)
            }
            Request::Committed(partitions) => {
                let positions = self.committed(group, partitions);
                effects.push(Effect::Confirm(ticket, Answer::Committed(positions)));
                None
            }
            Request::Describe => Some(match self.groups.get(group) {
                Some(slot) => Answer::Described(slot.classic.describe()),
                None => Answer::Failed(Error::GroupNotFound),
            }),
            Request::Delete => self.delete(group, ticket, effects),
            Request::DeleteOffsets(partitions) => {
                self.delete_offsets(group, ticket, &partitions, effects)
            }
        };
        if let Some(answer) = answer {
            effects.push(Effect::Answer(ticket, answer));
        }
        self.tell(group, told, effects);
    }

    /// Changes appended for `group` are committed, or could not be.
    pub(super) fn stored(
        &mut self,
        group: &GroupId,
        then: classic::Then,
        outcome: Result<(), Error>,
        now: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let mut told = Vec::new();
        if let Some(slot) = self.groups.get_mut(group) {
            slot.classic.stored(then, outcome, now, &mut told);
        }
        self.tell(group, told, effects);
    }

    /// Lets time do what it does.
    pub(super) fn tick(&mut self, now: Millis, config: &Config, effects: &mut Vec<Effect>) {
        while let Some((wake, group)) = self.wakes.first().cloned() {
            if wake > now {
                break;
            }
            self.wakes.pop_first();
            let mut told = Vec::new();
            if let Some(slot) = self.groups.get_mut(&group) {
                slot.wake = None;
                slot.classic.tick(now, config, &mut told);
            }
            self.tell(&group, told, effects);
        }
    }

    /// When `tick` has something to do.
    pub(super) fn next_tick(&self) -> Option<Millis> {
        self.wakes.first().map(|(wake, _)| *wake)
    }

    /// Deletes what has expired: offsets, then groups with nothing left. Till then a group that
    /// was only asked for stays to be seen, as Kafka's do.
    pub(super) fn expire(&mut self, now: Millis, config: &Config, effects: &mut Vec<Effect>) {
        let retention = i64::try_from(config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let (mut changes, mut unlogged) = (Vec::new(), Vec::new());
        for (id, slot) in &self.groups {
            let classic = &slot.classic;
            let expired = match classic.state() {
                GroupState::Empty => {
                    // Without members ever, an offset ages alone.
                    let since = classic.since().filter(|_| classic.protocol_type().is_some());
                    slot.offsets.expired(now, retention, since, |_| false)
                }
                GroupState::Stable if classic.knows_topics() => {
                    slot.offsets.expired(now, retention, None, |topic| classic.reads(topic))
                }
                _ => continue,
            };
            let is_last = expired.len() == slot.offsets.iter().count();
            let has_records = slot.is_logged || !expired.is_empty();
            changes.extend(forget(id, expired));
            if is_last && classic.is_deserted() {
                if has_records {
                    changes.push(Change::Group { group: id.clone(), record: None });
                } else {
                    unlogged.push(id.clone());
                }
            }
        }
        append_all(changes, effects);
        unlogged.iter().for_each(|id| self.remove(id));
    }

    /// Topics are gone, and with them what was committed for them. A topic made again under a name
    /// is another one: what has its id stays.
    pub(super) fn forget_topics(
        &self,
        is_lost: impl Fn(&str, Option<TopicId>) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let groups = self.groups.iter();
        let changes = groups.flat_map(|(id, slot)| forget(id, slot.offsets.of_topics(&is_lost)));
        append_all(changes.collect(), effects);
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let groups = self.groups.iter().map(|(group, slot)| Listed {
            group: group.clone(),
            protocol_type: slot.classic.protocol_type().cloned().unwrap_or_default(),
            state: slot.classic.state(),
        });
        groups.collect()
    }

    pub(super) fn survey(&self) -> Vec<Surveyed> {
        let groups = self.groups.iter().map(|(group, slot)| Surveyed {
            group: group.clone(),
            protocol_type: slot.classic.protocol_type().cloned().unwrap_or_default(),
            state: slot.classic.state(),
            members: slot.classic.member_count(),
            offsets: slot.offsets.iter().map(|(p, it)| (p, it.position.offset)).collect(),
        });
        groups.collect()
    }

    /// The state as changes that make it again, group by group after `after`, until there are
    /// `enough`; and where to go on, if anything is left.
    pub(super) fn dump(
        &self,
        after: Option<&GroupId>,
        enough: usize,
    ) -> (Vec<Change>, Option<GroupId>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut changes = Vec::new();
        let from = after.map_or(Unbounded, Excluded);
        for (id, slot) in self.groups.range::<GroupId, _>((from, Unbounded)) {
            if slot.is_logged {
                let record = Some(slot.classic.to_record());
                changes.push(Change::Group { group: id.clone(), record });
            }
            changes.extend(slot.offsets.iter().map(|(partition, committed)| Change::Offset {
                group: id.clone(),
                partition,
                committed: Some(committed.clone()),
            }));
            if changes.len() >= enough {
                return (changes, Some(id.clone()));
            }
        }
        (changes, None)
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    fn heartbeat(&mut self, group: &GroupId, caller: &Caller, now: Millis) -> Answer {
        let slot = self.groups.get_mut(group);
        let beat = slot.map_or(Err(Error::UnknownMember), |s| s.classic.heartbeat(caller, now));
        beat.map_or_else(Answer::Failed, |()| Answer::Done)
    }

    fn commit(
        &mut self,
        group: &GroupId,
        (ticket, caller): (Ticket, &Caller),
        positions: Vec<(TopicPartition, Position)>,
        now: Millis,
        config: &Config,
        effects: &mut Vec<Effect>,
    ) -> Option<Answer> {
        let allowed = match self.groups.get_mut(group) {
            Some(slot) => slot.classic.commit(caller, now),
            // Whoever manages its partitions itself makes a group by committing.
            None if caller.generation < 0 => Ok(()),
            None => Err(Error::GroupNotFound),
        };
        let ignored = self.bugs.has(Bug::GenerationIgnored);
        if let Err(error) = allowed
            && !(ignored && error == Error::IllegalGeneration)
        {
            return Some(Answer::Failed(error));
        }
        // What is equal to the stored one may differ from one that comes between.
        let settled = self.groups.get(group).filter(|slot| !slot.is_ahead);
        let mut results = Vec::with_capacity(positions.len());
        let mut changes = Vec::new();
        for (partition, position) in positions {
            // Kafka counts Java's characters.
            let metadata = position.metadata.encode_utf16().count();
            if metadata > config.offset_metadata_max_bytes {
                results.push(Err(Error::MetadataTooLarge));
                continue;
            }
            results.push(Ok(()));
            if settled.is_some_and(|slot| slot.offsets.holds(&partition, &position, now)) {
                continue;
            }
            let committed = Some(Committed { position, at: now });
            changes.push(Change::Offset { group: group.clone(), partition, committed });
        }
        if let Some(slot) = self.groups.get_mut(group).filter(|_| !changes.is_empty()) {
            slot.is_ahead = true;
        }
        let answer = Answer::Each(results);
        effects.push(if changes.is_empty() {
            Effect::Confirm(ticket, answer)
        } else {
            Effect::Append { changes, then: Then::Answer(ticket, answer) }
        });
        None
    }

    fn committed(
        &self,
        group: &GroupId,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Vec<(TopicPartition, Option<Position>)> {
        let offsets = self.groups.get(group).map(|slot| &slot.offsets);
        let Some(partitions) = partitions else {
            let all = offsets.into_iter().flat_map(Offsets::iter);
            return all.map(|(p, committed)| (p, Some(committed.position.clone()))).collect();
        };
        let find = |partition: TopicPartition| {
            let committed = offsets.and_then(|offsets| offsets.get(&partition));
            let position = committed.map(|committed| committed.position.clone());
            (partition, position)
        };
        partitions.into_iter().map(find).collect()
    }

    fn delete(
        &mut self,
        group: &GroupId,
        ticket: Ticket,
        effects: &mut Vec<Effect>,
    ) -> Option<Answer> {
        let Some(slot) = self.groups.get(group) else {
            return Some(Answer::Failed(Error::GroupNotFound));
        };
        if slot.classic.state() != GroupState::Empty {
            return Some(Answer::Failed(Error::NonEmptyGroup));
        }
        if !slot.is_logged && slot.offsets.is_empty() {
            self.remove(group);
            return Some(Answer::Done);
        }
        let mut changes: Vec<_> = forget(group, slot.offsets.partitions()).collect();
        changes.push(Change::Group { group: group.clone(), record: None });
        effects.push(Effect::Append { changes, then: Then::Answer(ticket, Answer::Done) });
        None
    }

    fn delete_offsets(
        &self,
        group: &GroupId,
        ticket: Ticket,
        partitions: &[TopicPartition],
        effects: &mut Vec<Effect>,
    ) -> Option<Answer> {
        let Some(slot) = self.groups.get(group) else {
            return Some(Answer::Failed(Error::GroupNotFound));
        };
        if let Err(error) = slot.classic.may_delete_offsets() {
            return Some(Answer::Failed(error));
        }
        let is_read = |partition: &TopicPartition| slot.classic.reads(&partition.topic);
        let result = |p| if is_read(p) { Err(Error::SubscribedToTopic) } else { Ok(()) };
        let results = partitions.iter().map(result).collect();
        let gone = partitions.iter().filter(|p| !is_read(p) && slot.offsets.get(p).is_some());
        let changes: Vec<_> = forget(group, gone.cloned()).collect();
        if changes.is_empty() {
            return Some(Answer::Each(results));
        }
        let then = Then::Answer(ticket, Answer::Each(results));
        effects.push(Effect::Append { changes, then });
        None
    }

    /// Passes on what a group has to say, and settles it.
    fn tell(&mut self, id: &GroupId, told: Vec<classic::Effect>, effects: &mut Vec<Effect>) {
        let is_logged = self.groups.get(id).is_some_and(|slot| slot.is_logged);
        for effect in told {
            effects.push(match effect {
                // A generation is told only by who is coordinator now (I16).
                classic::Effect::Joined(ticket, Ok(joined)) => {
                    Effect::Confirm(ticket, Answer::Joined(Ok(joined)))
                }
                classic::Effect::Joined(ticket, refused) => {
                    Effect::Answer(ticket, Answer::Joined(refused))
                }
                classic::Effect::Synced(ticket, synced) => {
                    Effect::Answer(ticket, synced.map_or_else(Answer::Failed, Answer::Synced))
                }
                // The log never heard of the group, and need not hear that it is empty.
                classic::Effect::Store { then: classic::Then::Nothing, .. } if !is_logged => {
                    continue;
                }
                classic::Effect::Store { record, then } => {
                    let change = Change::Group { group: id.clone(), record: Some(record) };
                    let then = Then::Group(id.clone(), then);
                    Effect::Append { changes: vec![change], then }
                }
            });
        }
        self.settle(id);
    }

    fn slot(&mut self, id: &GroupId, now: Millis) -> &mut Group {
        self.groups.entry(id.clone()).or_insert_with(|| Group {
            classic: classic::Group::new(now),
            offsets: Offsets::default(),
            is_logged: false,
            is_ahead: false,
            wake: None,
        })
    }

    /// Notes when to look at a group next.
    fn settle(&mut self, id: &GroupId) {
        let Some(slot) = self.groups.get_mut(id) else { return };
        // Waking too early is cheap, so a wake is moved only to an earlier time.
        let next = slot.classic.next_tick();
        if let Some(next) = next.filter(|next| slot.wake.is_none_or(|wake| *next < wake)) {
            if let Some(wake) = slot.wake.replace(next) {
                self.wakes.remove(&(wake, id.clone()));
            }
            self.wakes.insert((next, id.clone()));
        }
    }

    fn remove(&mut self, id: &GroupId) {
        if let Some(wake) = self.groups.remove(id).and_then(|slot| slot.wake) {
            self.wakes.remove(&(wake, id.clone()));
        }
    }
}

fn forget(
    group: &GroupId,
    partitions: impl IntoIterator<Item = TopicPartition>,
) -> impl Iterator<Item = Change> {
    partitions.into_iter().map(|partition| Change::Offset {
        group: group.clone(),
        partition,
        committed: None,
    })
}

fn append_all(mut changes: Vec<Change>, effects: &mut Vec<Effect>) {
    while !changes.is_empty() {
        let rest = changes.split_off(changes.len().min(CHANGES_AT_ONCE));
        effects.push(Effect::Append { changes, then: Then::Nothing });
        changes = rest;
    }
}
