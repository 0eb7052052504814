//! Fetch sessions (KIP-227): a client says once what it reads and then only what changes.
//!
//! Owns: the sessions of a broker as a pure machine. Does not own: reading, the clock.
//! Invariants: at most [`MAX_SESSIONS`] sessions and [`MAX_PARTITIONS`] partitions in all;
//! no session holds a name longer than a topic's; a
//! session is only replaced when it was silent for [`STALE`] or is smaller and as old; a partition
//! that gave records moves behind the others, so that none starves.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::codec::{Answered, Asked, Key, Request, TOPIC_IDS};
use crate::kafka::error::Code;

/// Sessions of one broker (`max.incremental.fetch.session.cache.slots`).
const MAX_SESSIONS: usize = 1000;
/// Partitions of all sessions.
const MAX_PARTITIONS: usize = 1_000_000;
/// After this a silent session gives way to any new one, an old one to any larger one.
const STALE: Duration = Duration::from_secs(120);
/// The session epoch of a request that opens a session.
const OPEN: i32 = 0;
/// The session epoch of a request outside any session.
const NONE: i32 = -1;

/// What a request is part of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// No session; everything is answered.
    Sessionless,
    /// Everything is answered, and a session opened if there is room.
    Opening,
    /// A session: what did not change is left out.
    Incremental { id: i32, epoch: i32 },
}

/// The partitions a request reads, in order, and what it is part of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) part: Part,
    pub(super) partitions: Vec<(Key, Asked)>,
    by_id: bool,
}

/// What a client was last told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    asked: Asked,
    high_watermark: i64,
    log_start: i64,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    created: Duration,
    used: Duration,
    next_place: u64,
    order: BTreeMap<u64, Key>,
    partitions: HashMap<Key, (u64, Told)>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: HashMap<i32, Session>,
    partitions: usize,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// What `request` reads.
    ///
    /// # Errors
    /// The code for the whole reply.
    pub(super) fn begin(
        &mut self,
        version: i16,
        request: &mut Request,
        now: Duration,
    ) -> Result<Plan, Code> {
        let by_id = version >= TOPIC_IDS;
        let partitions = std::mem::take(&mut request.partitions);
        let (id, epoch) = (request.session_id, request.session_epoch);
        // Others name nothing there is, and would be kept as long as the session.
        let are_short = partitions.iter().all(|(key, _)| key.topic.is_short());
        if epoch == OPEN || epoch == NONE {
            self.remove(id);
            let opens = epoch == OPEN && are_short;
            let part = if opens { Part::Opening } else { Part::Sessionless };
            let partitions = each_once(partitions);
            return Ok(Plan { part, partitions, by_id });
        }
        let session = self.sessions.get_mut(&id).ok_or(Code::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(Code::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(Code::FetchSessionTopicIdError);
        }
        let before = session.partitions.len();
        for (key, asked) in partitions {
            session.ask(key, asked);
        }
        for key in &request.forgotten {
            session.forget(key);
        }
        self.partitions = self.partitions.saturating_sub(before) + session.partitions.len();
        if session.partitions.is_empty() || self.partitions > MAX_PARTITIONS || !are_short {
            let partitions = session.plan();
            self.remove(id);
            return Ok(Plan { part: Part::Sessionless, partitions, by_id });
        }
        session.epoch = next_epoch(epoch);
        session.used = now;
        let part = Part::Incremental { id, epoch: session.epoch };
        Ok(Plan { part, partitions: session.plan(), by_id })
    }

    /// Leaves out what the client knows; the session id of the reply. `fresh` makes ids.
    ///
    /// # Errors
    /// The code and the session id for the whole reply.
    pub(super) fn finish(
        &mut self,
        plan: &Plan,
        answered: &mut Vec<(Key, Answered)>,
        now: Duration,
        fresh: impl FnMut() -> i32,
    ) -> Result<i32, (Code, i32)> {
        match plan.part {
            Part::Sessionless => Ok(0),
            Part::Opening => Ok(self.open(plan, answered, now, fresh)),
            Part::Incremental { id, epoch } => {
                let session = self.sessions.get_mut(&id);
                let session = session.ok_or((Code::FetchSessionIdNotFound, 0))?;
                if session.epoch != epoch {
                    return Err((Code::InvalidFetchSessionEpoch, id));
                }
                answered.retain(|(key, answer)| session.tell(key, answer));
                Ok(id)
            }
        }
    }

    fn open(
        &mut self,
        plan: &Plan,
        answered: &[(Key, Answered)],
        now: Duration,
        mut fresh: impl FnMut() -> i32,
    ) -> i32 {
        let size = plan.partitions.len();
        if size == 0 || !self.make_room(size, now) {
            return 0;
        }
        let mut session = Session {
            epoch: 1,
            by_id: plan.by_id,
            created: now,
            used: now,
            next_place: 0,
            order: BTreeMap::new(),
            partitions: HashMap::new(),
        };
        for (key, asked) in &plan.partitions {
            session.ask(key.clone(), *asked);
        }
        for (key, answer) in answered {
            session.tell(key, answer);
        }
        let mut id = fresh();
        while id <= 0 || self.sessions.contains_key(&id) {
            id = fresh();
        }
        self.partitions += session.partitions.len();
        self.sessions.insert(id, session);
        id
    }

    fn make_room(&mut self, size: usize, now: Duration) -> bool {
        if self.sessions.len() >= MAX_SESSIONS || self.partitions + size > MAX_PARTITIONS {
            let age = |at: Duration| now.saturating_sub(at);
            let stale = |session: &Session| age(session.used) > STALE;
            let smaller =
                |session: &Session| age(session.created) > STALE && session.partitions.len() < size;
            let longest_silent = self.sessions.iter().min_by_key(|(_, session)| session.used);
            let smallest = || {
                let smaller = self.sessions.iter().filter(|(_, session)| smaller(session));
                smaller.min_by_key(|(_, session)| session.partitions.len())
            };
            let victim = longest_silent.filter(|(_, session)| stale(session)).or_else(smallest);
            let Some(id) = victim.map(|(id, _)| *id) else { return false };
            self.remove(id);
        }
        self.sessions.len() < MAX_SESSIONS && self.partitions + size <= MAX_PARTITIONS
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions -= session.partitions.len();
        }
    }
}

impl Session {
    fn ask(&mut self, key: Key, asked: Asked) {
        if let Some((_, told)) = self.partitions.get_mut(&key) {
            told.asked = asked;
            return;
        }
        let told = Told { asked, high_watermark: -1, log_start: -1 };
        let place = self.place(key.clone());
        self.partitions.insert(key, (place, told));
    }

    fn place(&mut self, key: Key) -> u64 {
        let place = self.next_place;
        self.next_place += 1;
        self.order.insert(place, key);
        place
    }

    fn forget(&mut self, key: &Key) {
        if let Some((place, _)) = self.partitions.remove(key) {
            self.order.remove(&place);
        }
    }

    fn plan(&self) -> Vec<(Key, Asked)> {
        let asked = |key: &Key| Some((key.clone(), self.partitions.get(key)?.1.asked));
        self.order.values().filter_map(asked).collect()
    }

    /// Whether a partition's answer says anything new.
    fn tell(&mut self, key: &Key, answer: &Answered) -> bool {
        let Some((place, told)) = self.partitions.get_mut(key) else { return true };
        let records = !answer.batches.is_empty();
        let news = records
            || told.high_watermark != answer.high_watermark
            || told.log_start != answer.log_start
            || answer.error != 0
            || answer.diverging.is_some();
        told.log_start = answer.log_start;
        // After an error whatever comes next is news.
        told.high_watermark = if answer.error == 0 { answer.high_watermark } else { -1 };
        if records {
            let old = *place;
            self.order.remove(&old);
            let new = self.place(key.clone());
            if let Some((place, _)) = self.partitions.get_mut(key) {
                *place = new;
            }
        }
        news
    }
}

/// Of a partition asked for twice the last word counts, in the place of the first.
fn each_once(partitions: Vec<(Key, Asked)>) -> Vec<(Key, Asked)> {
    let mut last: HashMap<Key, Asked> = partitions.iter().cloned().collect();
    if last.len() == partitions.len() {
        return partitions;
    }
    let once = |(key, _)| last.remove(&key).map(|asked| (key, asked));
    partitions.into_iter().filter_map(once).collect()
}

fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests;
