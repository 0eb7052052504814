//! The owner task of one partition of the offsets topic.
//!
//! Owns: its groups' state while this broker leads the partition, who waits, what is on its way to
//! the log, time, the rewrite that keeps the log short. Does not own: what requests mean (`state`).
//! Invariants: an answer that tells what the log holds leaves only after a commit or a barrier
//! begun after the request came; once the partition is lost nothing more is answered.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Error, GroupId, MemberId, Metrics,
    classic::Ticket,
    load,
    log::{Lost, NotAppended, PartitionLog},
    record::Change,
    state::{Answer, Effect, Request, State, Then},
};
use crate::{
    env::{Env, bugs::Bug, clock},
    record::{BatchBuilder, Compression},
    types::{Millis, Offset, TopicId},
};

/// Requests taken from the queue at once: their commits share a batch, their reads a barrier.
const REQUESTS_AT_ONCE: usize = 256;
/// Rounds on their way to the log, after which no request is taken.
const IN_FLIGHT_MAX: usize = 1024;
/// A batch is closed when it has as much.
const BATCH_BYTES: usize = 256 * 1024;
/// Kafka's default for `max.message.bytes`, less room for the batch around it.
const RECORD_BYTES_MAX: usize = 1_048_588 - 1024;
/// Changes of one step of a rewrite.
const REWRITE_STEP: usize = 1000;
/// How long to leave a rewrite that found no room in the log.
const REWRITE_AGAIN_MS: i64 = 10_000;
/// How long to wait before a log that cannot be understood is read again.
const LOAD_AGAIN: Duration = Duration::from_secs(10);
/// Time without a coordinator that is worth writing everything again, so that it is on record.
const GAP_WORTH_A_RECORD_MS: i64 = 60 * 60 * 1000;
/// Client ids can be long; of a member's id, only its random part must be whole.
const CLIENT_ID_IN_MEMBER_ID: usize = 200;

/// What comes to a coordinator.
pub(super) enum Command {
    /// A request about a group.
    Ask { group: GroupId, request: Request, reply: oneshot::Sender<Answer> },
    /// Every group's name and state.
    List { reply: oneshot::Sender<Answer> },
    /// Every group with its committed offsets.
    Survey { reply: oneshot::Sender<Answer> },
    /// A topic is gone.
    TopicDeleted(Arc<str>, TopicId),
}

/// Finds a topic by its name.
pub(super) type TopicOf = Box<dyn Fn(&str) -> Option<TopicId> + Send + Sync>;

/// What a coordinator is made of.
pub(super) struct Parts {
    pub(super) index: i32,
    pub(super) log: Arc<dyn PartitionLog>,
    pub(super) env: Env,
    pub(super) config: Arc<Config>,
    pub(super) metrics: Metrics,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Set once the state is loaded.
    pub(super) is_ready: Arc<AtomicBool>,
    pub(super) stopping: CancellationToken,
    /// The topic called so, if there is one.
    pub(super) topic_of: TopicOf,
}

/// Loads the partition, when a permit is free, and serves it until it is lost or told to stop.
pub(super) async fn run(parts: Parts, permits: &Semaphore) {
    let stopping = parts.stopping.clone();
    let loaded = tokio::select! {
        biased;
        () = stopping.cancelled() => None,
        loaded = load_patiently(&parts, permits) => loaded,
    };
    let Some(loaded) = loaded else { return };
    let (wall, boot) = (parts.env.clock.wall(), parts.env.clock.boot());
    let gap_ms = loaded.last_seen.map_or(0, |seen| wall.since(seen));
    let is_ready = parts.is_ready.clone();
    let mut owner = Owner {
        state: loaded.state.with_bugs(parts.env.bugs),
        epoch: (wall, boot),
        waiting: BTreeMap::new(),
        next_ticket: 0,
        in_flight: FuturesUnordered::new(),
        gathered: Gathered::default(),
        confirmed: Vec::new(),
        log_bytes: loaded.bytes,
        live_bytes: 0,
        end: loaded.end,
        rewrite: None,
        counted: 0,
        no_rewrite_before: wall,
        next_expiry: wall,
        is_lost: false,
        parts,
    };
    owner.next_expiry = owner.after(owner.parts.config.offsets_retention_check);
    owner.state.start(wall, gap_ms);
    owner.forget_lost_topics().await;
    if gap_ms > GAP_WORTH_A_RECORD_MS && owner.state.len() > 0 {
        owner.begin_rewrite();
    }
    let (partition, groups) = (owner.parts.index, owner.state.len());
    tracing::debug!(partition, groups, bytes = owner.log_bytes, gap_ms, "groups loaded");
    is_ready.store(true, Ordering::Release);
    owner.parts.metrics.coordinators.inc();
    owner.serve().await;
    is_ready.store(false, Ordering::Release);
    owner.parts.metrics.coordinators.dec();
    owner.count_groups(0);
}

/// Loads; what cannot be understood is left for people, and tried again. `None` when it is lost.
async fn load_patiently(parts: &Parts, permits: &Semaphore) -> Option<load::Loaded> {
    let _permit = permits.acquire().await.ok()?;
    loop {
        match load::load(&*parts.log).await {
            Ok(loaded) => return Some(loaded),
            Err(load::Error::Lost(_)) => return None,
            Err(error @ load::Error::Corrupt { .. }) => {
                tracing::error!(
                    partition = parts.index, %error,
                    advice = "its groups cannot commit until then: a newer release may have \
                              written it, start with that one",
                    "groups cannot be loaded, trying again"
                );
                clock::sleep(LOAD_AGAIN).await;
            }
        }
    }
}

struct Owner {
    parts: Parts,
    state: State,
    /// Wall and boot time at the start: time goes on from here by the boot clock alone.
    epoch: (Millis, Duration),
    waiting: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    next_ticket: u64,
    in_flight: FuturesUnordered<BoxFuture<'static, Settled>>,
    gathered: Gathered,
    /// To be answered after a barrier.
    confirmed: Vec<(Ticket, Answer)>,
    log_bytes: u64,
    /// What the last rewrite took.
    live_bytes: u64,
    /// Where the next batch goes.
    end: Offset,
    rewrite: Option<Rewrite>,
    /// Groups the metric was told of.
    counted: i64,
    no_rewrite_before: Millis,
    next_expiry: Millis,
    is_lost: bool,
}

/// Changes to be appended together.
#[derive(Default)]
struct Gathered {
    changes: Vec<Change>,
    thens: Vec<Then>,
}

/// What has come of something in flight.
enum Settled {
    Changes(Vec<Then>, Result<(), Error>),
    Confirmed(Vec<(Ticket, Answer)>, Result<(), Error>),
    Dropped,
    Lost,
}

/// A rewrite under way: everything alive is appended again from `start` on.
struct Rewrite {
    start: Offset,
    after: Option<GroupId>,
    bytes: u64,
}

impl Owner {
    async fn serve(&mut self) {
        let mut commands = Vec::with_capacity(REQUESTS_AT_ONCE);
        while !self.is_lost {
            self.count_groups(self.state.len());
            let wake = self.until_wake();
            let may_take = self.in_flight.len() < IN_FLIGHT_MAX;
            tokio::select! {
                biased;
                () = self.parts.stopping.cancelled() => return,
                Some(settled) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.settle(settled).await;
                }
                taken = self.parts.commands.recv_many(&mut commands, REQUESTS_AT_ONCE),
                    if may_take =>
                {
                    if taken == 0 {
                        return;
                    }
                    self.take(&mut commands).await;
                    // However busy it is, a rewrite gets on.
                    if self.rewrite.is_some() {
                        self.rewrite_step().await;
                    }
                }
                () = std::future::ready(()), if self.rewrite.is_some() && may_take => {
                    self.rewrite_step().await;
                }
                () = clock::sleep(wake) => self.tick().await,
            }
        }
    }

    /// Topics deleted while nobody was coordinator take their offsets with them now.
    async fn forget_lost_topics(&mut self) {
        let mut effects = Vec::new();
        let topic_of = &self.parts.topic_of;
        let is_lost = |name: &str, topic: Option<TopicId>| {
            topic_of(name).is_none_or(|now| topic.is_some_and(|topic| topic != now))
        };
        self.state.forget_topics(is_lost, &mut effects);
        self.perform(effects);
        self.flush().await;
    }

    async fn take(&mut self, commands: &mut Vec<Command>) {
        for command in commands.drain(..) {
            let mut effects = Vec::new();
            match command {
                Command::Ask { group, request, reply } => {
                    let is_commit = matches!(request, Request::Commit(..));
                    if !is_commit {
                        self.flush().await;
                    }
                    let ticket = self.wait(reply);
                    let fresh = self.fresh_member(&request);
                    let (now, config) = (self.now(), self.parts.config.clone());
                    let asker = (ticket, fresh);
                    self.state.handle(&group, request, asker, now, &config, &mut effects);
                    self.perform(effects);
                    if !is_commit {
                        self.flush().await;
                    }
                }
                Command::List { reply } => {
                    let ticket = self.wait(reply);
                    self.answer(ticket, Answer::Listed(self.state.list()));
                }
                Command::Survey { reply } => {
                    let ticket = self.wait(reply);
                    self.answer(ticket, Answer::Surveyed(self.state.survey()));
                }
                Command::TopicDeleted(name, id) => {
                    self.flush().await;
                    let is_lost = |topic: &str, its: Option<TopicId>| {
                        topic == &*name && its.is_none_or(|its| its == id)
                    };
                    self.state.forget_topics(is_lost, &mut effects);
                    self.perform(effects);
                }
            }
        }
        self.flush().await;
        self.confirm();
    }

    async fn settle(&mut self, settled: Settled) {
        match settled {
            Settled::Lost => self.is_lost = true,
            Settled::Dropped => {}
            Settled::Confirmed(answers, outcome) => {
                for (ticket, answer) in answers {
                    self.answer(ticket, outcome.map_or_else(Answer::Failed, |()| answer));
                }
            }
            Settled::Changes(thens, outcome) => {
                for then in thens {
                    match then {
                        Then::Nothing => {}
                        Then::Answer(ticket, answer) => {
                            self.answer(ticket, outcome.map_or_else(Answer::Failed, |()| answer));
                        }
                        Then::Group(group, then) => {
                            let (now, mut effects) = (self.now(), Vec::new());
                            self.state.stored(&group, then, outcome, now, &mut effects);
                            self.perform(effects);
                        }
                    }
                }
                self.flush().await;
                self.confirm();
            }
        }
    }

    async fn tick(&mut self) {
        let (now, config, mut effects) = (self.now(), self.parts.config.clone(), Vec::new());
        self.state.tick(now, &config, &mut effects);
        if now >= self.next_expiry {
            self.next_expiry = self.after(config.offsets_retention_check);
            self.state.expire(now, &config, &mut effects);
        }
        self.perform(effects);
        self.flush().await;
        self.confirm();
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, answer) => self.answer(ticket, answer),
                Effect::Confirm(ticket, answer) => self.confirmed.push((ticket, answer)),
                Effect::Append { changes, then } => {
                    self.gathered.changes.extend(changes);
                    if self.parts.env.bugs.has(Bug::OffsetAckEarly)
                        && let Then::Answer(ticket, answer) = &then
                    {
                        self.answer(*ticket, answer.clone());
                    }
                    self.gathered.thens.push(then);
                }
            }
        }
    }

    /// Appends what is gathered; what it leads to comes back through `in_flight`.
    async fn flush(&mut self) {
        let Gathered { changes, thens } = std::mem::take(&mut self.gathered);
        if thens.is_empty() || self.is_lost {
            return;
        }
        match self.append(changes).await {
            Ok(committed) => {
                let limit = self.parts.config.commit_timeout;
                self.in_flight.push(Box::pin(async move {
                    match within(limit, committed).await {
                        Ok(outcome) => Settled::Changes(thens, outcome),
                        Err(Lost) => Settled::Lost,
                    }
                }));
            }
            Err(error) => {
                let settled = Settled::Changes(thens, Err(error));
                self.in_flight.push(std::future::ready(settled).boxed());
            }
        }
        self.begin_rewrite_if_due();
    }

    /// Appends `changes` in one or more batches and takes over what the log took.
    async fn append(
        &mut self,
        changes: Vec<Change>,
    ) -> Result<BoxFuture<'static, Result<(), Lost>>, Error> {
        let now = self.now();
        let mut committed = std::future::ready(Ok(())).boxed();
        for (batch, changes) in batches(changes, now)? {
            let length = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
            match self.parts.log.append(batch).await {
                Ok(taken) => {
                    self.end = taken.base_offset.advance(count);
                    committed = taken.committed;
                }
                Err(NotAppended::Full) => return Err(Error::NotAvailable),
                Err(NotAppended::Lost) => {
                    self.is_lost = true;
                    return Err(Error::NotCoordinator);
                }
            }
            for change in &changes {
                self.state.accept(change, now);
            }
            self.log_bytes = self.log_bytes.saturating_add(length);
            self.parts.metrics.appended_bytes.inc_by(length);
            self.parts.metrics.changes.inc_by(u64::try_from(count).unwrap_or_default());
        }
        Ok(committed)
    }

    /// Begins one barrier for all that wait for one.
    fn confirm(&mut self) {
        let answers = std::mem::take(&mut self.confirmed);
        if answers.is_empty() || self.is_lost {
            return;
        }
        let (limit, barrier) = (self.parts.config.commit_timeout, self.parts.log.barrier());
        self.in_flight.push(Box::pin(async move {
            match within(limit, barrier).await {
                Ok(outcome) => Settled::Confirmed(answers, outcome),
                Err(Lost) => Settled::Lost,
            }
        }));
    }

    fn begin_rewrite_if_due(&mut self) {
        // Twice what is alive at most, so that writing it again costs no more than writing it did.
        let due = self.parts.config.rewrite_bytes.max(self.live_bytes);
        let is_due = self.log_bytes.saturating_sub(self.live_bytes) >= due;
        if is_due && self.rewrite.is_none() && self.now() >= self.no_rewrite_before {
            self.begin_rewrite();
        }
    }

    fn begin_rewrite(&mut self) {
        self.rewrite = Some(Rewrite { start: self.end, after: None, bytes: self.log_bytes });
    }

    /// Appends some more of what is alive; after the last of it, drops what is before.
    async fn rewrite_step(&mut self) {
        let Some(mut rewrite) = self.rewrite.take() else { return };
        let (changes, rest) = self.state.dump(rewrite.after.as_ref(), REWRITE_STEP);
        let is_empty = changes.is_empty();
        let committed = match self.append(changes).await {
            // Then what is to be dropped is what must be committed.
            Ok(_) if is_empty => self.parts.log.barrier(),
            Ok(committed) => committed,
            Err(error) => {
                tracing::warn!(%error, "offsets were not written anew, trying again later");
                self.no_rewrite_before = Millis(self.now().0.saturating_add(REWRITE_AGAIN_MS));
                return;
            }
        };
        rewrite.after = rest;
        if rewrite.after.is_some() {
            self.rewrite = Some(rewrite);
            return;
        }
        self.log_bytes = self.log_bytes.saturating_sub(rewrite.bytes);
        self.live_bytes = self.log_bytes;
        self.parts.metrics.rewrites.inc();
        // What the bucket has goes only when the bucket has what replaces it: with the disk, the
        // last seconds may be lost and never all.
        let (log, end) = (self.parts.log.clone(), self.end);
        self.in_flight.push(Box::pin(async move {
            match committed.await {
                Ok(()) => log.drop_before(rewrite.start, end).await,
                Err(Lost) => return Settled::Lost,
            }
            Settled::Dropped
        }));
    }

    fn wait(&mut self, reply: oneshot::Sender<Answer>) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.waiting.insert(ticket, reply);
        ticket
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            // Whoever asked may be gone.
            reply.send(answer).unwrap_or_default();
        }
    }

    /// The id of a member that joins for the first time, as Kafka makes it.
    fn fresh_member(&self, request: &Request) -> MemberId {
        let Request::Join(join) = request else { return MemberId::default() };
        let name = join.instance.as_ref().map_or(&*join.client_id, |instance| instance.as_str());
        let name: String = name.chars().take(CLIENT_ID_IN_MEMBER_ID).collect();
        let uuid = self.parts.env.entropy.uuid();
        MemberId(format!("{name}-{}", uuid.as_hyphenated()).into())
    }

    fn now(&self) -> Millis {
        let (wall, boot) = self.epoch;
        let since = self.parts.env.clock.boot().saturating_sub(boot);
        Millis(wall.0.saturating_add(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
    }

    fn after(&self, time: Duration) -> Millis {
        Millis(self.now().0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }

    fn until_wake(&self) -> Duration {
        let wake = self.state.next_tick().map_or(self.next_expiry, |w| w.min(self.next_expiry));
        Duration::from_millis(u64::try_from(wake.since(self.now())).unwrap_or_default())
    }

    fn count_groups(&mut self, groups: usize) {
        let groups = i64::try_from(groups).unwrap_or(i64::MAX);
        self.parts.metrics.groups.inc_by(groups - self.counted);
        self.counted = groups;
    }
}

/// `done`, or `NotAvailable` when that takes too long: the record may be committed all the same.
async fn within(
    limit: Duration,
    done: BoxFuture<'static, Result<(), Lost>>,
) -> Result<Result<(), Error>, Lost> {
    match clock::timeout(limit, done).await {
        Ok(Ok(())) => Ok(Ok(())),
        Ok(Err(lost)) => Err(lost),
        Err(_) => Ok(Err(Error::NotAvailable)),
    }
}

/// `changes` as batches, with the changes in each.
fn batches(changes: Vec<Change>, now: Millis) -> Result<Vec<(Bytes, Vec<Change>)>, Error> {
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(Compression::None);
    let mut inside = Vec::new();
    for change in changes {
        let (key, value) = change.encode().map_err(|_| Error::InvalidRequest)?;
        let length = key.len() + value.as_ref().map_or(0, Bytes::len);
        if length > RECORD_BYTES_MAX {
            return Err(Error::GroupTooLarge);
        }
        if !builder.is_empty() && builder.bytes() + length > BATCH_BYTES {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(Compression::None));
            batches.push((build(full), std::mem::take(&mut inside)));
        }
        builder.push(now, Some(&key), value.as_deref());
        inside.push(change);
    }
    if !builder.is_empty() {
        batches.push((build(builder), inside));
    }
    Ok(batches)
}

fn build(builder: BatchBuilder) -> Bytes {
    let batch = builder.build().expect("a batch with records and no codec can be built");
    batch.bytes().clone()
}
