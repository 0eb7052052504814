//! Coordinators over a log in memory.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{
    coordinator::{self, Command, Parts},
    load,
    log::{Lost, NotAppended, PartitionLog, Taken},
    record::Change,
    state::{Answer, Request},
    *,
};
use crate::{
    env::{
        Env,
        bugs::{Bug, Bugs},
        sim::{SimClock, SimEntropy, proof::catches_waiting},
        task::Tasks,
    },
    record::{BatchBuilder, BatchView, Compression, Limits},
    types::{Millis, Offset, TopicId},
};

const START: Millis = Millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A partition in memory whose commits, reads and barriers wait while it is held.
struct FakeLog {
    batches: Mutex<Vec<(Offset, Bytes)>>,
    start: Mutex<Offset>,
    is_held: watch::Sender<bool>,
    is_full: AtomicBool,
    is_lost: AtomicBool,
    barriers: AtomicUsize,
}

impl FakeLog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            batches: Mutex::default(),
            start: Mutex::default(),
            is_held: watch::channel(false).0,
            is_full: AtomicBool::default(),
            is_lost: AtomicBool::default(),
            barriers: AtomicUsize::default(),
        })
    }

    fn hold(&self, held: bool) {
        self.is_held.send_replace(held);
    }

    fn passed(&self) -> BoxFuture<'static, Result<(), Lost>> {
        let mut held = self.is_held.subscribe();
        let lost = self.is_lost.load(Ordering::SeqCst);
        Box::pin(async move {
            held.wait_for(|held| !held).await.unwrap();
            if lost { Err(Lost) } else { Ok(()) }
        })
    }

    fn records(&self) -> Vec<Change> {
        let batches = self.batches.lock().unwrap();
        let records = batches.iter().flat_map(|(_, batch)| {
            let view = BatchView::parse(batch.clone()).unwrap();
            view.records(&Limits::default()).unwrap().map(Result::unwrap).collect::<Vec<_>>()
        });
        records.map(|r| Change::decode(r.key.unwrap(), r.value).unwrap().unwrap()).collect()
    }

    fn bytes(&self) -> usize {
        self.batches.lock().unwrap().iter().map(|(_, batch)| batch.len()).sum()
    }

    fn push(&self, key: &[u8], value: Option<&[u8]>) {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(START, Some(key), value);
        let base = self.end();
        let batch = builder.at(base, crate::types::LeaderEpoch(0)).build().unwrap();
        self.batches.lock().unwrap().push((base, batch.bytes().clone()));
    }
}

#[async_trait]
impl PartitionLog for FakeLog {
    fn start(&self) -> Offset {
        *self.start.lock().unwrap()
    }

    fn end(&self) -> Offset {
        let batches = self.batches.lock().unwrap();
        let end = batches.last().map(|(_, batch)| BatchView::parse(batch.clone()).unwrap());
        end.map_or(self.start(), |batch| batch.end_offset())
    }

    async fn read(&self, from: Offset, max_bytes: usize) -> Result<Vec<Bytes>, Lost> {
        self.passed().await?;
        let batches = self.batches.lock().unwrap();
        let mut left = max_bytes;
        let mut read = Vec::new();
        for (_, batch) in batches.iter().filter(|(base, _)| *base >= from) {
            if !read.is_empty() && batch.len() > left {
                break;
            }
            left = left.saturating_sub(batch.len());
            read.push(batch.clone());
        }
        Ok(read)
    }

    async fn append(&self, batch: Bytes) -> Result<Taken, NotAppended> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(NotAppended::Full);
        }
        if self.is_lost.load(Ordering::SeqCst) {
            return Err(NotAppended::Lost);
        }
        let base_offset = self.end();
        let mut stamped = batch.to_vec();
        stamped[..8].copy_from_slice(&base_offset.0.to_be_bytes());
        self.batches.lock().unwrap().push((base_offset, stamped.into()));
        Ok(Taken { base_offset, committed: self.passed() })
    }

    fn barrier(&self) -> BoxFuture<'static, Result<(), Lost>> {
        self.barriers.fetch_add(1, Ordering::SeqCst);
        self.passed()
    }

    fn drop_before(&self, to: Offset, published: Offset) -> BoxFuture<'static, ()> {
        assert_eq!(published, self.end(), "all that was written again");
        *self.start.lock().unwrap() = to;
        self.batches.lock().unwrap().retain(|(base, _)| *base >= to);
        Box::pin(std::future::ready(()))
    }
}

/// A coordinator at work.
struct Broker {
    log: Arc<FakeLog>,
    clock: Arc<SimClock>,
    tasks: Tasks,
    commands: mpsc::Sender<Command>,
    is_ready: Arc<AtomicBool>,
}

impl Broker {
    fn launch(log: &Arc<FakeLog>, clock: &Arc<SimClock>, config: Config, topics: &str) -> Self {
        Self::launch_with(log, clock, (config, Bugs::NONE), topics)
    }

    fn launch_with(
        log: &Arc<FakeLog>,
        clock: &Arc<SimClock>,
        (config, bugs): (Config, Bugs),
        topics: &str,
    ) -> Self {
        struct Shared(Arc<FakeLog>);
        #[async_trait]
        impl PartitionLog for Shared {
            fn start(&self) -> Offset {
                self.0.start()
            }
            fn end(&self) -> Offset {
                self.0.end()
            }
            async fn read(&self, from: Offset, max: usize) -> Result<Vec<Bytes>, Lost> {
                self.0.read(from, max).await
            }
            async fn append(&self, batch: Bytes) -> Result<Taken, NotAppended> {
                self.0.append(batch).await
            }
            fn barrier(&self) -> BoxFuture<'static, Result<(), Lost>> {
                self.0.barrier()
            }
            fn drop_before(&self, to: Offset, published: Offset) -> BoxFuture<'static, ()> {
                self.0.drop_before(to, published)
            }
        }
        let (commands, queue) = mpsc::channel(100);
        let is_ready = Arc::new(AtomicBool::new(false));
        let tasks = Tasks::new();
        let topics = topics.to_owned();
        let parts = Parts {
            index: 0,
            log: Arc::new(Shared(log.clone())),
            env: Env {
                clock: clock.clone(),
                entropy: Arc::new(SimEntropy::seeded(1)),
                bugs,
                ..Env::real()
            },
            config: Arc::new(config),
            metrics: Metrics::default(),
            commands: queue,
            is_ready: is_ready.clone(),
            stopping: tasks.stopping(),
            topic_of: Box::new(move |name| {
                topics.split(' ').any(|known| known == name).then_some(TOPIC_ID)
            }),
        };
        tasks.spawn("coordinator", async move {
            coordinator::run(parts, &Semaphore::new(1)).await;
        });
        Self { log: log.clone(), clock: clock.clone(), tasks, commands, is_ready }
    }

    async fn start_with(log: &Arc<FakeLog>, clock: &Arc<SimClock>, config: Config) -> Self {
        Self::launch(log, clock, config, "t u").ready().await
    }

    async fn with_bugs(bugs: Bugs) -> Self {
        let (log, clock) = (FakeLog::new(), Arc::new(SimClock::at(START)));
        Self::launch_with(&log, &clock, (Config::default(), bugs), "t u").ready().await
    }

    async fn ready(self) -> Self {
        while !self.is_ready.load(Ordering::SeqCst) {
            crate::env::clock::sleep(Duration::from_millis(1)).await;
        }
        self
    }

    async fn new() -> Self {
        let clock = Arc::new(SimClock::at(START));
        Self::start_with(&FakeLog::new(), &clock, Config::default()).await
    }

    /// The process ends, and another begins after `away`.
    async fn restart(self, away: Duration) -> Self {
        self.tasks.stop().await;
        self.clock.pass(away);
        Self::start_with(&self.log, &self.clock, Config::default()).await
    }

    async fn send(&self, group: &str, request: Request) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Ask { group: group.into(), request, reply };
        assert!(self.commands.send(command).await.is_ok());
        answer
    }

    async fn ask(&self, group: &str, request: Request) -> Answer {
        self.send(group, request).await.await.unwrap()
    }

    async fn commit(&self, group: &str, offset: i64) -> Answer {
        self.ask(group, commit(offset)).await
    }

    async fn committed(&self, group: &str) -> Option<i64> {
        match self.ask(group, Request::Committed(Some(vec![partition()]))).await {
            Answer::Committed(positions) => {
                positions[0].1.as_ref().map(|position| position.offset.0)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn list(&self) -> Vec<String> {
        let (reply, answer) = oneshot::channel();
        assert!(self.commands.send(Command::List { reply }).await.is_ok());
        match answer.await.unwrap() {
            Answer::Listed(groups) => {
                groups.iter().map(|g| format!("{} {}", g.group, g.state.name())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Lets `time` pass and everything happen that it brings.
    async fn pass(&self, time: Duration) {
        self.list().await;
        self.clock.pass(time);
        for _ in 0..3 {
            self.list().await;
            crate::env::clock::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn join(&self, group: &str) -> Joined {
        let join = self.send(group, Request::Join(join())).await;
        self.pass(Duration::from_secs(3)).await;
        match join.await.unwrap() {
            Answer::Joined(Ok(joined)) => joined,
            other => panic!("{other:?}"),
        }
    }

    async fn sync(&self, group: &str, joined: &Joined) -> Answer {
        let caller = caller(joined);
        let assignments = vec![(joined.member.clone(), Bytes::from_static(b"all"))];
        let sync = Sync { caller, protocol_type: None, protocol: None, assignments };
        self.ask(group, Request::Sync(sync)).await
    }
}

fn partition() -> TopicPartition {
    TopicPartition { topic: "t".into(), index: 0 }
}

/// The topic called so, whatever its name.
const TOPIC_ID: TopicId = TopicId(uuid::Uuid::from_u128(1));

fn commit(offset: i64) -> Request {
    commit_of(TOPIC_ID, offset)
}

fn commit_of(topic: TopicId, offset: i64) -> Request {
    let nobody = Caller { generation: -1, ..Caller::default() };
    let position = Position { topic: Some(topic), ..position(offset, "") };
    Request::Commit(nobody, vec![(partition(), position)])
}

fn position(offset: i64, metadata: &str) -> Position {
    Position {
        offset: Offset(offset),
        leader_epoch: None,
        metadata: metadata.into(),
        topic: None,
        retention_ms: None,
    }
}

fn caller(joined: &Joined) -> Caller {
    Caller { member: joined.member.clone(), instance: None, generation: joined.generation }
}

fn join() -> Join {
    Join {
        member: MemberId::default(),
        instance: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
        needs_known_id: false,
        can_skip_assignment: true,
    }
}

fn is_open(answer: &mut oneshot::Receiver<Answer>) -> bool {
    matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Empty))
}

async fn a_moment() {
    crate::env::clock::sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn a_commit_survives_a_restart() {
    let broker = Broker::new().await;
    assert_eq!(broker.committed("g").await, None);
    assert_eq!(broker.commit("g", 7).await, Answer::Each(vec![Ok(())]));
    let broker = broker.restart(HOUR).await;
    assert_eq!(broker.committed("g").await, Some(7));
    assert_eq!(broker.list().await, ["g Empty"]);
}

#[tokio::test]
async fn nothing_is_answered_before_it_is_committed() {
    answer_nothing_early(Bugs::NONE).await;
}

#[test]
fn each_mistake_of_a_coordinator_is_caught() {
    catches_waiting("a coordinator over a held log", Bug::OffsetAckEarly, answer_nothing_early);
    catches_waiting("a coordinator", Bug::GenerationIgnored, refuse_past_generations);
}

async fn answer_nothing_early(bugs: Bugs) {
    let broker = Broker::with_bugs(bugs).await;
    broker.log.hold(true);
    let mut commit = broker.send("g", commit(7)).await;
    let mut fetch = broker.send("g", Request::Committed(None)).await;
    a_moment().await;
    assert!(is_open(&mut commit) && is_open(&mut fetch));
    broker.log.hold(false);
    assert_eq!(commit.await.unwrap(), Answer::Each(vec![Ok(())]));
    assert!(matches!(fetch.await.unwrap(), Answer::Committed(all) if all.len() == 1));
}

#[tokio::test]
async fn nothing_is_answered_before_the_log_is_read() {
    let broker = Broker::new().await;
    broker.commit("g", 7).await;
    broker.tasks.stop().await;
    broker.log.hold(true);
    let broker = Broker::launch(&broker.log, &broker.clock, Config::default(), "t");
    a_moment().await;
    assert!(!broker.is_ready.load(Ordering::SeqCst));
    broker.log.hold(false);
    a_moment().await;
    assert!(broker.is_ready.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_log_that_cannot_be_understood_is_not_guessed_at() {
    let log = FakeLog::new();
    log.push(b"\0\x01\0\x01g\0\x01t\0\0\0\0", Some(b"\0\x03\0"));
    let error = load::load(&*log).await.unwrap_err();
    assert!(matches!(error, load::Error::Corrupt { .. }));
    let clock = Arc::new(SimClock::at(START));
    let broker = Broker::launch(&log, &clock, Config::default(), "t");
    a_moment().await;
    assert!(!broker.is_ready.load(Ordering::SeqCst));
    broker.tasks.stop().await;
}

#[tokio::test]
async fn records_of_newer_kinds_of_groups_do_no_harm() {
    let log = FakeLog::new();
    log.push(b"\0\x03\0\x01g", Some(b"\0\0\0\0\0\x01"));
    assert_eq!(load::load(&*log).await.unwrap().state.len(), 0);
}

#[tokio::test]
async fn an_equal_commit_appends_nothing_for_an_hour() {
    let broker = Broker::new().await;
    broker.commit("g", 7).await;
    let end = broker.log.end();
    assert_eq!(broker.commit("g", 7).await, Answer::Each(vec![Ok(())]));
    assert_eq!(broker.log.end(), end);
    let barriers = broker.log.barriers.load(Ordering::SeqCst);
    assert_eq!(barriers, 2, "one to load, one to answer it");
    broker.pass(HOUR).await;
    broker.commit("g", 7).await;
    assert!(broker.log.end() > end);
}

#[tokio::test]
async fn a_commit_equal_to_the_last_but_one_is_no_repetition() {
    let broker = Broker::new().await;
    broker.commit("g", 4).await;
    // Both are taken together, as those of one connection are.
    let forward = broker.send("g", commit(5)).await;
    let back = broker.send("g", commit(4)).await;
    for answer in [forward, back] {
        assert_eq!(answer.await, Ok(Answer::Each(vec![Ok(())])));
    }
    assert_eq!(broker.committed("g").await, Some(4));
    let end = broker.log.end();
    broker.commit("g", 4).await;
    assert_eq!(broker.log.end(), end, "this one is");
}

#[tokio::test]
async fn a_commit_the_log_has_no_room_for_leaves_no_trace() {
    let broker = Broker::new().await;
    broker.commit("g", 7).await;
    broker.log.is_full.store(true, Ordering::SeqCst);
    assert_eq!(broker.commit("g", 8).await, Answer::Failed(Error::NotAvailable));
    assert_eq!(broker.committed("g").await, Some(7));
    broker.log.is_full.store(false, Ordering::SeqCst);
    assert_eq!(broker.commit("g", 8).await, Answer::Each(vec![Ok(())]));
}

#[tokio::test]
async fn once_the_partition_is_lost_nobody_is_answered() {
    let broker = Broker::new().await;
    let waiting = broker.send("g", Request::Join(join())).await;
    broker.log.is_lost.store(true, Ordering::SeqCst);
    let commit = broker.send("other", commit(7)).await;
    assert_eq!((commit.await.ok(), waiting.await.ok()), (None, None));
    assert!(!broker.is_ready.load(Ordering::SeqCst));
    assert!(broker.commands.is_closed());
}

#[tokio::test]
async fn a_barrier_that_fails_answers_nothing() {
    let broker = Broker::new().await;
    broker.log.is_lost.store(true, Ordering::SeqCst);
    let fetch = broker.send("g", Request::Committed(None)).await;
    assert!(fetch.await.is_err());
}

#[tokio::test]
async fn a_group_survives_a_restart_with_its_members_and_assignment() {
    let broker = Broker::new().await;
    let joined = broker.join("g").await;
    assert_eq!(joined.leader, joined.member);
    assert!(matches!(broker.sync("g", &joined).await, Answer::Synced(_)));
    let broker = broker.restart(HOUR).await;
    let beat = Request::Heartbeat(caller(&joined));
    assert_eq!(broker.ask("g", beat).await, Answer::Done);
    match broker.sync("g", &joined).await {
        Answer::Synced(synced) => assert_eq!(synced.assignment, "all"),
        other => panic!("{other:?}"),
    }
    broker.pass(Duration::from_secs(10)).await;
    assert_eq!(broker.list().await, ["g Empty"], "its session ended");
}

#[tokio::test]
async fn commits_of_a_past_generation_are_refused() {
    refuse_past_generations(Bugs::NONE).await;
}

async fn refuse_past_generations(bugs: Bugs) {
    let broker = Broker::with_bugs(bugs).await;
    let joined = broker.join("g").await;
    broker.sync("g", &joined).await;
    let position = position(1, "");
    let commit = |generation| {
        let caller = Caller { generation, ..caller(&joined) };
        Request::Commit(caller, vec![(partition(), position.clone())])
    };
    assert_eq!(broker.ask("g", commit(1)).await, Answer::Each(vec![Ok(())]));
    let refused = Answer::Failed(Error::IllegalGeneration);
    assert_eq!(broker.ask("g", commit(0)).await, refused);
    let unknown = Answer::Failed(Error::GroupNotFound);
    assert_eq!(broker.ask("other", commit(1)).await, unknown);
}

#[tokio::test]
async fn a_group_that_only_was_asked_for_is_shown_till_the_next_check_and_never_written() {
    let broker = Broker::new().await;
    let known = Join { needs_known_id: true, ..join() };
    assert!(matches!(
        broker.ask("g", Request::Join(known)).await,
        Answer::Joined(Err(refused)) if refused.error == Error::MemberIdRequired
    ));
    assert_eq!(broker.list().await, ["g Empty"]);
    broker.pass(Duration::from_secs(10)).await;
    assert_eq!(broker.list().await, ["g Empty"], "its pending id is gone, it is not");
    broker.pass(Config::default().offsets_retention_check).await;
    assert!(broker.list().await.is_empty());
    assert_eq!(broker.log.end(), Offset(0));
}

#[tokio::test]
async fn a_deleted_group_is_gone_for_good() {
    let broker = Broker::new().await;
    let not_found = Answer::Failed(Error::GroupNotFound);
    assert_eq!(broker.ask("g", Request::Delete).await, not_found);
    let joined = broker.join("g").await;
    broker.sync("g", &joined).await;
    let in_use = Answer::Failed(Error::NonEmptyGroup);
    assert_eq!(broker.ask("g", Request::Delete).await, in_use);
    broker.pass(Duration::from_secs(10)).await;
    broker.commit("g", 3).await;
    assert_eq!(broker.ask("g", Request::Delete).await, Answer::Done);
    assert!(broker.list().await.is_empty());
    let broker = broker.restart(HOUR).await;
    assert!(broker.list().await.is_empty());
    assert_eq!(broker.committed("g").await, None);
}

#[tokio::test]
async fn offsets_of_topics_in_use_cannot_be_deleted() {
    let broker = Broker::new().await;
    broker.commit("g", 3).await;
    let delete = || Request::DeleteOffsets(vec![partition()]);
    let not_found = Answer::Failed(Error::GroupNotFound);
    assert_eq!(broker.ask("other", delete()).await, not_found);
    assert_eq!(broker.ask("g", delete()).await, Answer::Each(vec![Ok(())]));
    assert_eq!(broker.list().await, ["g Empty"], "till the next check");
    let joined = broker.join("g").await;
    broker.sync("g", &joined).await;
    let in_use = Answer::Each(vec![Err(Error::SubscribedToTopic)]);
    assert_eq!(broker.ask("g", delete()).await, in_use);
}

#[tokio::test]
async fn metadata_longer_than_kafka_allows_is_refused_alone() {
    let broker = Broker::new().await;
    let position = |text: String| position(1, &text);
    let nobody = Caller { generation: -1, ..Caller::default() };
    let other = TopicPartition { index: 1, ..partition() };
    let positions =
        vec![(partition(), position("x".repeat(4097))), (other, position("x".repeat(4096)))];
    let answer = broker.ask("g", Request::Commit(nobody, positions)).await;
    assert_eq!(answer, Answer::Each(vec![Err(Error::MetadataTooLarge), Ok(())]));
}

#[tokio::test]
async fn offsets_expire_after_the_retention_and_their_group_with_them() {
    let broker = Broker::new().await;
    broker.commit("g", 7).await;
    broker.pass(7 * DAY - HOUR).await;
    assert_eq!(broker.committed("g").await, Some(7));
    broker.pass(HOUR).await;
    broker.pass(HOUR).await;
    assert_eq!(broker.committed("g").await, None);
    assert!(broker.list().await.is_empty());
    let records = broker.log.records();
    let [.., offset, group] = &records[..] else { panic!("{records:?}") };
    assert!(matches!(offset, Change::Offset { committed: None, .. }), "the log says so");
    assert!(matches!(group, Change::Group { record: None, .. }), "of the group as well");
}

#[tokio::test]
async fn time_nobody_was_coordinator_does_not_expire_anything() {
    let broker = Broker::new().await;
    broker.commit("g", 7).await;
    let broker = broker.restart(30 * DAY).await;
    broker.pass(DAY).await;
    assert_eq!(broker.committed("g").await, Some(7));
    // What was away stays uncounted also for whoever comes next.
    broker.commit("other", 1).await;
    let broker = broker.restart(Duration::from_secs(1)).await;
    broker.pass(5 * DAY).await;
    assert_eq!(broker.committed("g").await, Some(7));
    broker.pass(DAY + HOUR).await;
    broker.pass(HOUR).await;
    assert_eq!(broker.committed("g").await, None);
}

#[tokio::test]
async fn a_deleted_topic_takes_its_offsets_with_it() {
    let broker = Broker::new().await;
    broker.commit("g", 7).await;
    assert!(broker.commands.send(Command::TopicDeleted("t".into(), TOPIC_ID)).await.is_ok());
    assert_eq!(broker.committed("g").await, None);

    broker.commit("g", 8).await;
    broker.tasks.stop().await;
    let broker = Broker::launch(&broker.log, &broker.clock, Config::default(), "u");
    a_moment().await;
    assert_eq!(broker.committed("g").await, None, "it was deleted while nobody was there");
}

#[tokio::test]
async fn a_topic_made_again_keeps_its_own_offsets_and_none_of_the_one_before() {
    let again = TopicId(uuid::Uuid::from_u128(2));
    let broker = Broker::new().await;
    broker.commit("old", 7).await;
    assert_eq!(broker.ask("new", commit_of(again, 1)).await, Answer::Each(vec![Ok(())]));
    let deleted = Command::TopicDeleted("t".into(), TOPIC_ID);
    assert!(broker.commands.send(deleted).await.is_ok());
    assert_eq!(broker.committed("old").await, None);
    assert_eq!(broker.committed("new").await, Some(1));

    let broker = broker.restart(Duration::ZERO).await;
    assert_eq!(broker.committed("new").await, None, "the topic called so is the first one");
}

#[tokio::test]
async fn the_log_stays_short_and_holds_everything_after_any_number_of_commits() {
    let clock = Arc::new(SimClock::at(START));
    let config = Config { rewrite_bytes: 16 * 1024, ..Config::default() };
    let broker = Broker::start_with(&FakeLog::new(), &clock, config).await;
    let joined = broker.join("members").await;
    broker.sync("members", &joined).await;
    for round in 0..100 {
        let mut answers = Vec::new();
        for group in 0..50 {
            let group = format!("g{group}");
            answers.push(broker.send(&group, commit(round)).await);
            if round == 50 && group == "g9" {
                answers.push(broker.send(&group, Request::Delete).await);
            }
        }
        for answer in answers {
            assert!(!matches!(answer.await.unwrap(), Answer::Failed(_)));
        }
    }
    a_moment().await;
    assert!(broker.log.start() > Offset(4000), "{}", broker.log.start());
    assert!(broker.log.bytes() < 64 * 1024, "{}", broker.log.bytes());
    let before = broker.list().await;
    assert_eq!(before.len(), 51);
    let broker = broker.restart(Duration::from_secs(1)).await;
    assert_eq!(broker.list().await, before);
    for group in 0..50 {
        assert_eq!(broker.committed(&format!("g{group}")).await, Some(99));
    }
    assert_eq!(broker.ask("members", Request::Heartbeat(caller(&joined))).await, Answer::Done);
}

#[tokio::test]
async fn a_rewrite_that_finds_no_room_is_left_for_later() {
    let clock = Arc::new(SimClock::at(START));
    let config = Config { rewrite_bytes: 100, ..Config::default() };
    let broker = Broker::start_with(&FakeLog::new(), &clock, config).await;
    broker.commit("g", 1).await;
    broker.log.is_full.store(true, Ordering::SeqCst);
    broker.commit("g", 2).await;
    a_moment().await;
    broker.log.is_full.store(false, Ordering::SeqCst);
    assert_eq!(broker.committed("g").await, Some(1));
    broker.pass(Duration::from_secs(10)).await;
    for offset in 3..10 {
        broker.commit("g", offset).await;
    }
    a_moment().await;
    assert!(broker.log.start() > Offset(0));
    let broker = broker.restart(HOUR).await;
    assert_eq!(broker.committed("g").await, Some(9));
}

#[tokio::test]
async fn a_group_too_large_for_a_record_is_told_so() {
    let broker = Broker::new().await;
    let joined = broker.join("g").await;
    let large = Bytes::from(vec![0; 2 * 1024 * 1024]);
    let assignments = vec![(joined.member.clone(), large)];
    let sync = Sync { caller: caller(&joined), protocol_type: None, protocol: None, assignments };
    let answer = broker.ask("g", Request::Sync(sync)).await;
    assert_eq!(answer, Answer::Failed(Error::GroupTooLarge));
}
