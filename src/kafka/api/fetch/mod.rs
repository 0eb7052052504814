//! Fetch (1), versions 4 to 18.
//!
//! Waits until `min_bytes` can be read, something is wrong, or the time is up; then reads the
//! partitions in order. The first that has anything gives at least one whole batch, whatever the
//! limits. read_committed reads what read_uncommitted does: there are no transactions.

mod codec;
mod hostile;
mod measured;
mod session;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

pub(super) use codec::epoch;
use codec::{Answered, Asked, Head, Key, Request};
pub(in crate::kafka) use hostile::agrees as decodes_as_another_codec;
pub(in crate::kafka) use measured::encode as encode_measured;
use session::{Plan, Sessions};

use super::{
    Answer, Call, Errors, Later,
    leader::{self, Endpoint, Leader},
    produce::TopicKey,
};
use crate::{
    env::clock,
    kafka::{
        Metrics,
        context::Context,
        error::{BadRequest, Code, Coded},
        replies::Grant,
    },
    log::{NotHere, Partition, ReadError},
    types::{LeaderEpoch, Offset},
};

/// Most record bytes of one reply (`fetch.max.bytes` of a broker).
const MAX_BYTES: usize = 55 * 1024 * 1024;

/// The fetch sessions of a broker.
#[derive(Debug, Default)]
pub struct FetchSessions {
    sessions: Mutex<Sessions>,
    open: Gauge,
}

impl FetchSessions {
    /// None yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self { sessions: Mutex::default(), open: metrics.fetch_sessions.clone() }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Sessions) -> R) -> R {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut sessions);
        self.open.set(i64::try_from(sessions.len()).unwrap_or(i64::MAX));
        result
    }
}

pub(super) fn run(call: Call) -> Later {
    Box::pin(async move {
        let Call { context, version, body } = call;
        let mut request = Request::decode(body, version)?;
        let serving = &context.serving;
        let now = serving.env.clock.boot();
        let read_committed = request.read_committed;
        let mut head = Head { version, error: 0, session_id: 0, read_committed };
        let begun = serving.fetch_sessions.with(|s| s.begin(version, &mut request, now));
        let plan: Plan = match begun {
            Ok(plan) => plan,
            Err(code) => return Ok(refused(head, code)),
        };
        wait(&context, &request, &plan.partitions).await;
        let (mut answered, room) = granted(&context, version, &request, &plan.partitions).await;
        let fresh = || i32::try_from(serving.env.entropy.next_u64() >> 33).unwrap_or(0);
        let now = serving.env.clock.boot();
        let told = serving.fetch_sessions.with(|s| s.finish(&plan, &mut answered, now, fresh));
        match told {
            Ok(id) => head.session_id = id,
            Err((code, session_id)) => return Ok(refused(Head { session_id, ..head }, code)),
        }
        let leaders = answered.iter().filter_map(|(_, answer)| answer.leader);
        let endpoints = leader::endpoints(&context, leaders);
        let errors = errors_of(&head, &answered);
        let body = codec::encode(head, answered, &endpoints);
        Ok(Answer::Records(body, room, errors))
    })
}

/// The same error for every partition; a session is not known, and its client begins another.
pub(super) fn refuse(version: i16, body: Bytes, code: Code) -> Result<Answer, BadRequest> {
    let request = Request::decode(body, version)?;
    let read_committed = request.read_committed;
    let head = Head { version, error: 0, session_id: 0, read_committed };
    if request.session_id != 0 && request.session_epoch > 0 {
        return Ok(refused(head, Code::FetchSessionIdNotFound));
    }
    let partitions = request.partitions.into_iter();
    let partitions = partitions.map(|(key, _)| (key, Answered::error(code.code(), None)));
    Ok(reply(head, partitions.collect(), &[]))
}

fn refused(head: Head, code: Code) -> Answer {
    reply(Head { error: code.code(), ..head }, Vec::new(), &[])
}

fn reply(head: Head, answered: Vec<(Key, Answered)>, endpoints: &[Endpoint]) -> Answer {
    let errors = errors_of(&head, &answered);
    Answer::Reply(codec::encode(head, answered, endpoints), errors)
}

fn errors_of(head: &Head, answered: &[(Key, Answered)]) -> Errors {
    let codes = answered.iter().map(|(_, answer)| answer.error);
    Errors::of(codes.chain(std::iter::once(head.error)))
}

/// Waits for something worth an answer, at most as long as the client wants.
async fn wait(context: &Context, request: &Request, partitions: &[(Key, Asked)]) {
    if due(context, request, partitions) {
        return;
    }
    let patience = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let late = clock::sleep(patience);
    tokio::pin!(late);
    let waiter = Arc::new(Notify::new());
    loop {
        let woken = waiter.notified();
        tokio::pin!(woken);
        // Registered before looking again, so that no append goes unseen in between.
        woken.as_mut().enable();
        for (key, _) in partitions {
            if let Ok(partition) = find(context, key) {
                partition.wake_on_append(&waiter);
            }
        }
        if due(context, request, partitions) {
            return;
        }
        tokio::select! {
            biased;
            () = woken => {}
            () = &mut late => return,
        }
    }
}

/// Whether the answer is due: enough bytes, an error, or nothing to wait for.
fn due(context: &Context, request: &Request, partitions: &[(Key, Asked)]) -> bool {
    if request.max_wait_ms <= 0 || partitions.is_empty() {
        return true;
    }
    // Who wants more than fits an answer gets what fits.
    let wanted = request.min_bytes.min(request.max_bytes);
    let wanted = u64::try_from(wanted).unwrap_or(0).min(u64::try_from(MAX_BYTES).unwrap_or(0));
    let mut have = 0_u64;
    for (key, asked) in partitions {
        let Ok(partition) = find(context, key) else { return true };
        let range = partition.log_start()..=partition.high_watermark();
        if !range.contains(&asked.offset) || strays(&partition, request, asked).is_some() {
            return true;
        }
        let most = u64::try_from(asked.max_bytes).unwrap_or(0);
        have = have.saturating_add(partition.bytes_after(asked.offset).min(most.max(1)));
    }
    have >= wanted
}

fn find(context: &Context, key: &Key) -> Result<Arc<Partition>, NotHere> {
    match &key.topic {
        TopicKey::Name(name) => context.serving.log.find(name, key.index),
        TopicKey::Id(id) => context.serving.log.find_by_id(*id, key.index),
    }
}

/// How a client's view of a partition differs from the partition.
#[derive(Debug, PartialEq, Eq)]
enum Stray {
    /// It knows an older or a newer leader epoch, or says it is a replica and is none.
    Refused(Code),
    /// Its records are not this log's from here on (KIP-320).
    Diverging(LeaderEpoch, Offset),
    /// It has an epoch this log never had.
    UnknownHistory,
}

fn strays(partition: &Partition, request: &Request, asked: &Asked) -> Option<Stray> {
    if let Err(code) = check_epoch(asked.current_epoch, partition.leader_epoch()) {
        return Some(Stray::Refused(code));
    }
    if request.as_replica {
        // No replica fetches this way: who knows the leader's epoch is told to wait until it is
        // one, as in Kafka.
        return Some(Stray::Refused(match asked.current_epoch {
            Some(_) => Code::UnknownLeaderEpoch,
            None => Code::NotLeaderOrFollower,
        }));
    }
    let last = asked.last_epoch?;
    let Some((epoch, end)) = partition.end_of_epoch(last) else {
        return Some(Stray::UnknownHistory);
    };
    let diverges = epoch < last || end < asked.offset;
    diverges.then_some(Stray::Diverging(epoch, end))
}

/// Compares the leader epoch a client knows with the one there is.
///
/// # Errors
/// `FENCED_LEADER_EPOCH` for an older, `UNKNOWN_LEADER_EPOCH` for a newer one.
pub(super) fn check_epoch(known: Option<LeaderEpoch>, current: LeaderEpoch) -> Result<(), Code> {
    match known.map(|known| known.cmp(&current)) {
        Some(std::cmp::Ordering::Less) => Err(Code::FencedLeaderEpoch),
        Some(std::cmp::Ordering::Greater) => Err(Code::UnknownLeaderEpoch),
        Some(std::cmp::Ordering::Equal) | None => Ok(()),
    }
}

/// Reads what there is memory for.
async fn granted(
    context: &Context,
    version: i16,
    request: &Request,
    partitions: &[(Key, Asked)],
) -> (Vec<(Key, Answered)>, Grant) {
    let (wanted, cold) = wanted(context, request, partitions);
    let mut room = context.replies.up_to(wanted, cold).await;
    loop {
        let answered = read(context, version, request, partitions, room.bytes()).await;
        let bytes: usize = answered.iter().map(|(_, answer)| answer.bytes()).sum();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if bytes <= room.bytes() || room.is_whole() {
            room.shrink(bytes);
            return (answered, room);
        }
        // Its first batch is larger than was granted: the memory first, then the batch.
        drop((answered, room));
        room = context.replies.exactly(bytes, cold).await;
    }
}

/// Most bytes of records that an answer could have now, and whether some are out of memory.
fn wanted(context: &Context, request: &Request, partitions: &[(Key, Asked)]) -> (u64, bool) {
    let (mut bytes, mut cold) = (0_u64, false);
    for (key, asked) in partitions {
        if let Ok(partition) = find(context, key) {
            let after = partition.bytes_after(asked.offset);
            cold |= after == u64::MAX;
            bytes = bytes.saturating_add(after.min(u64::try_from(asked.max_bytes).unwrap_or(0)));
        }
    }
    let most = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES);
    (bytes.min(u64::try_from(most).unwrap_or(u64::MAX)), cold)
}

/// Reads the partitions in order within the limits of the request, and `most` bytes.
async fn read(
    context: &Context,
    version: i16,
    request: &Request,
    partitions: &[(Key, Asked)],
    most: u64,
) -> Vec<(Key, Answered)> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(MAX_BYTES).min(most);
    let mut first = true;
    let mut answered = Vec::with_capacity(partitions.len());
    for (key, asked) in partitions {
        let mut answer = one(context, request, key, asked, left, first).await;
        if version <= 5 && answer.error == Code::KafkaStorageError.code() {
            // Clients this old do not know it; this code makes them try again, as it should.
            answer.error = Code::NotLeaderOrFollower.code();
        }
        first &= answer.batches.is_empty();
        left = left.saturating_sub(answer.bytes());
        answered.push((key.clone(), answer));
    }
    answered
}

async fn one(
    context: &Context,
    request: &Request,
    key: &Key,
    asked: &Asked,
    left: usize,
    first: bool,
) -> Answered {
    let partition = match find(context, key) {
        Ok(partition) => partition,
        Err(error) => {
            let code = match (&key.topic, error) {
                (TopicKey::Id(_), NotHere::UnknownTopic) => Code::UnknownTopicId,
                _ => error.code(),
            };
            return Answered::error(code.code(), Leader::elsewhere(&error));
        }
    };
    let here = Leader { id: context.serving.broker, epoch: partition.leader_epoch() };
    match strays(&partition, request, asked) {
        None => {}
        Some(Stray::Refused(code)) => {
            let elsewhere = [Code::FencedLeaderEpoch, Code::NotLeaderOrFollower];
            let leader = elsewhere.contains(&code).then_some(here);
            return Answered::error(code.code(), leader);
        }
        Some(Stray::Diverging(epoch, end)) if asked.offset >= partition.log_start() => {
            return Answered { diverging: Some((epoch, end)), ..without_records(&partition) };
        }
        Some(Stray::Diverging(..) | Stray::UnknownHistory) => {
            return Answered::error(Code::OffsetOutOfRange.code(), None);
        }
    }
    let most = usize::try_from(asked.max_bytes).unwrap_or(0).min(left);
    let range = partition.log_start()..=partition.high_watermark();
    if most == 0 && !first && range.contains(&asked.offset) {
        return without_records(&partition);
    }
    match partition.read(asked.offset, most, first).await {
        Ok(read) => Answered {
            error: 0,
            high_watermark: read.high_watermark.0,
            last_stable_offset: read.last_stable_offset.0,
            log_start: read.log_start.0,
            diverging: None,
            leader: None,
            batches: read.batches,
        },
        Err(error) => {
            let leader = match error {
                ReadError::NotLeader => Leader::of(context, partition.id()),
                ReadError::OutOfRange { .. } | ReadError::Unavailable(_) => None,
            };
            Answered::error(error.code().code(), leader)
        }
    }
}

fn without_records(partition: &Partition) -> Answered {
    Answered {
        high_watermark: partition.high_watermark().0,
        last_stable_offset: partition.last_stable_offset().0,
        log_start: partition.log_start().0,
        ..Answered::error(0, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_epoch_is_fenced_and_a_newer_one_unknown() {
        let check = |known| check_epoch(known, LeaderEpoch(5)).map_err(|code| code.code());
        assert_eq!(check(None), Ok(()));
        assert_eq!(check(Some(LeaderEpoch(5))), Ok(()));
        assert_eq!(check(Some(LeaderEpoch(4))), Err(74));
        assert_eq!(check(Some(LeaderEpoch(6))), Err(75));
    }
}
