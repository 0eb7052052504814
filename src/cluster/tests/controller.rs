//! The controller over a bucket that misbehaves, and controllers against each other.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use uuid::Uuid;

use super::state::{register, storage};
use crate::{
    cluster::{
        Abdication, Applied, AtRisk, Cluster, CommitError, Config, ConfigResource, Entry, FORMAT,
        Holder, Metrics, Parts, Phase, Record, SealedEntry, State, TakeOverError,
        documents::{self, FloorDocument, LeaseDocument},
        snapshot,
    },
    env::{
        Env,
        bugs::{Bug, Bugs},
        clock,
        entropy::Entropy,
        sim::{SimClock, SimEntropy, proof::catches_waiting},
        task::Tasks,
    },
    metrics::Registry,
    store::{FailureKind, Fault, Faulty, Memory, Rates, Store, path},
    types::{BrokerId, ClusterId, Incarnation, MetadataIndex, Millis, ProducerId, SegmentId},
};

/// A bucket under control and what is started over it.
#[derive(Clone)]
pub(super) struct Bench {
    env: Env,
    pub(super) faulty: Faulty,
    pub(super) store: Store,
    pub(super) config: Config,
    alive: Arc<AtomicBool>,
    phases: Arc<Mutex<Vec<Phase>>>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with_bugs(Bugs::NONE)
    }

    fn with_bugs(bugs: Bugs) -> Self {
        let env = Env { bugs, ..Env::real() };
        let faulty = Faulty::new(Arc::new(Memory::new(Arc::clone(&env.clock))));
        let store = Store::over(Arc::new(faulty.clone()), &env);
        let alive = Arc::new(AtomicBool::new(false));
        Self { env, faulty, store, config: Config::default(), alive, phases: Arc::default() }
    }

    fn parts(&self, disk: usize, tasks: &Tasks) -> Parts {
        let (alive, phases) = (Arc::clone(&self.alive), Arc::clone(&self.phases));
        Parts {
            store: self.store.clone(),
            env: self.env.clone(),
            tasks: tasks.clone(),
            holder: Holder {
                storage: storage(disk),
                address: format!("b{disk}:9092"),
                cluster: None,
            },
            config: self.config,
            metrics: Metrics::new(&mut Registry::default()),
            at_risk: Arc::new(|| Some(AtRisk { bytes: 5, ..AtRisk::default() })),
            phase: Arc::new(move |phase| phases.lock().unwrap().push(phase)),
            is_alive: Arc::new(move |_, _| {
                let alive = alive.load(Ordering::Relaxed);
                async move { alive }.boxed()
            }),
        }
    }

    async fn try_start(&self, disk: usize) -> Result<(Cluster, Tasks), TakeOverError> {
        let tasks = Tasks::new();
        Ok((Cluster::take_over(self.parts(disk, &tasks)).await?, tasks))
    }

    pub(super) async fn start(&self, disk: usize) -> (Cluster, Tasks) {
        self.try_start(disk).await.unwrap()
    }

    /// The entry at `index`, straight from the bucket.
    pub(super) async fn entry(&self, index: MetadataIndex) -> Option<SealedEntry> {
        let found = self.store.get(&path::log_entry(index)).await.ok()?;
        Some(SealedEntry::decode(&found.bytes).unwrap())
    }

    async fn lease(&self) -> LeaseDocument {
        let found = self.store.get(&path::lease()).await.unwrap();
        documents::decode(&found.bytes, None).unwrap()
    }

    pub(super) async fn floor(&self) -> Option<FloorDocument> {
        let found = self.store.get(&path::floor()).await.ok()?;
        Some(documents::decode(&found.bytes, None).unwrap())
    }

    /// Waits until `holds`, which must come soon.
    async fn until<F: Future<Output = bool>>(&self, mut holds: impl FnMut() -> F) {
        for _ in 0..500 {
            if holds().await {
                return;
            }
            clock::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not come about");
    }
}

pub(super) fn set(name: &str) -> Vec<Record> {
    let changes = BTreeMap::from([(name.to_owned(), Some("x".to_owned()))]);
    vec![Record::ConfigsChanged { resource: ConfigResource::Cluster, changes }]
}

/// The entry that somebody else puts after `state`.
fn anothers(state: &State, epoch: u64) -> (Entry, bytes::Bytes) {
    let entry = Entry {
        format: FORMAT,
        cluster_id: state.cluster_id,
        index: state.index.next(),
        epoch,
        commit_id: Uuid::from_u128(77),
        prev_hash: state.hash,
        time_ms: crate::types::Millis(0),
        proposals: vec![vec![Record::EpochStart { epoch, holder: storage(9) }]],
    };
    let bytes = entry.seal().0;
    (entry, bytes)
}

#[tokio::test]
async fn an_empty_bucket_becomes_a_cluster_and_a_restart_finds_its_state() {
    let bench = Bench::new();
    let (cluster, tasks) = bench.start(1).await;
    let committed = cluster.commit(vec![register(1, 1)]).await.unwrap();
    assert!(matches!(committed.applied[..], [Applied::Registered { .. }]));
    assert_eq!(committed.index, MetadataIndex(2), "the first is the epoch's");
    cluster.commit(set("a")).await.unwrap();
    let before = cluster.state();
    tasks.abort().await;
    let (cluster, _tasks) = bench.start(1).await;
    let after = cluster.state();
    assert_eq!(after.cluster_configs, before.cluster_configs);
    assert_eq!((after.epoch, after.index), (2, before.index.next()));
    let entry = bench.entry(after.index).await.unwrap();
    let mut replayed = State::clone(&before);
    replayed.apply(&entry).unwrap();
    assert_eq!(snapshot::encode(&replayed).0, snapshot::encode(&after).0, "live equals replayed");
}

#[tokio::test]
async fn a_refused_proposal_costs_no_entry() {
    let bench = Bench::new();
    let (cluster, _tasks) = bench.start(1).await;
    let fence = vec![Record::Fence { incarnation: Incarnation(9) }];
    assert!(matches!(cluster.commit(fence).await, Err(CommitError::Refused(_))));
    assert_eq!(cluster.state().index, MetadataIndex(1));
    let large = "x".repeat(17 << 20);
    assert!(matches!(cluster.commit(set(&large)).await, Err(CommitError::TooLarge { .. })));
    // What a WAL holds has no other way to the bucket, however much it is.
    let segment = SegmentId { incarnation: Incarnation(99), sequence: 0 };
    let recovered = Record::SegmentsRecovered {
        incarnation: segment.incarnation,
        segments: vec![(segment, 1); 2 << 20],
        objects: Vec::new(),
        successor: BrokerId(1),
        possible_loss: false,
    };
    assert!(matches!(cluster.commit(vec![recovered]).await, Err(CommitError::Refused(_))));
}

#[tokio::test]
async fn what_waits_goes_into_one_entry() {
    let bench = Bench::new();
    let (cluster, _tasks) = bench.start(1).await;
    bench.faulty.next_put("meta/log", Fault::Slow(Duration::from_millis(100)));
    let names: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
    let commits = names.iter().map(|name| cluster.commit(set(name)));
    let indexes: std::collections::BTreeSet<_> =
        futures::future::join_all(commits).await.into_iter().map(|it| it.unwrap().index).collect();
    assert!(indexes.len() <= 3, "{indexes:?}");
    assert_eq!(cluster.with(|state| state.cluster_configs.len()), 200);
}

#[tokio::test]
async fn a_put_applied_but_reported_failed_is_committed_once() {
    commit_once(Bugs::NONE).await;
}

/// A starter whose first record is overtaken by a higher epoch writes nothing more.
async fn start_overtaken(bugs: Bugs) {
    let bench = Bench::with_bugs(bugs);
    let (cluster, tasks) = bench.start(1).await;
    let (entry, bytes) = anothers(&cluster.state(), 9);
    tasks.abort().await;
    bench.faulty.next_put("meta/log", Fault::Overtaken(bytes));
    let started = bench.try_start(1).await;
    assert!(bench.entry(entry.index.next()).await.is_none(), "an old epoch goes on");
    assert!(matches!(started, Err(TakeOverError::Overtaken { epoch: 9 })));
}

#[tokio::test]
async fn a_starter_that_is_overtaken_by_a_higher_epoch_writes_nothing_more() {
    start_overtaken(Bugs::NONE).await;
}

/// Whatever the keeper did until the floor is written, every entry is there.
async fn delete_behind_the_floor(bugs: Bugs) {
    let mut bench = Bench::with_bugs(bugs);
    bench.config =
        Config { snapshot_entries: 4, keep_entries: 1, keep_for: Duration::ZERO, ..bench.config };
    let (cluster, tasks) = bench.start(1).await;
    for _ in 0..10 {
        bench.faulty.next_put("meta/floor", Fault::FailBefore(FailureKind::Timeout));
    }
    let snapshots = || async {
        let found = bench.store.list(&path::snapshot_prefix(), None).await.unwrap();
        found.listed.len()
    };
    let mut names = 0;
    // The second one is begun when all is done that the first one brought.
    while snapshots().await < 3 {
        cluster.commit(set(&format!("c{names}"))).await.unwrap();
        names += 1;
        clock::sleep(Duration::from_millis(1)).await;
    }
    tasks.abort().await;
    assert!(bench.floor().await.is_none());
    for index in 1..=names {
        let there = bench.entry(MetadataIndex(index)).await.is_some();
        assert!(there, "entry {index} is deleted and no floor says so");
    }
}

#[tokio::test]
async fn no_entry_is_deleted_before_the_floor_says_so() {
    delete_behind_the_floor(Bugs::NONE).await;
}

#[test]
fn each_mistake_around_the_log_is_caught() {
    let layer = "a controller over a lying bucket";
    catches_waiting(layer, Bug::ContentRewritten, commit_once);
    catches_waiting(layer, Bug::EffectsBeforeCommit, lose_an_index);
    catches_waiting(layer, Bug::EpochIgnored, start_overtaken);
    catches_waiting(layer, Bug::DeleteBeforeFloor, delete_behind_the_floor);
}

async fn commit_once(bugs: Bugs) {
    let bench = Bench::with_bugs(bugs);
    let (cluster, _tasks) = bench.start(1).await;
    for fault in [
        Fault::FailAfter(FailureKind::Timeout),
        Fault::FailAfter(FailureKind::Conflict),
        Fault::FailBefore(FailureKind::Throttled),
        Fault::Late(1),
        Fault::Late(3),
        Fault::Twice(2),
    ] {
        bench.faulty.next_put("meta/log", fault);
        let before = cluster.state().next_producer_id;
        let incarnation = match cluster.commit(vec![register(1, 1)]).await.unwrap().applied[..] {
            [Applied::Registered { incarnation, .. }] => incarnation,
            _ => panic!("registered"),
        };
        let reserve = vec![Record::ProducerIdsReserved { incarnation, count: 10 }];
        cluster.commit(reserve).await.unwrap();
        assert_eq!(cluster.state().next_producer_id, ProducerId(before.0 + 10));
    }
    assert_eq!(cluster.state().index, MetadataIndex(13));
}

#[tokio::test]
async fn losing_an_index_to_a_higher_epoch_is_the_end() {
    lose_an_index(Bugs::NONE).await;
}

async fn lose_an_index(bugs: Bugs) {
    let bench = Bench::with_bugs(bugs);
    let (cluster, _tasks) = bench.start(1).await;
    let (entry, bytes) = anothers(&cluster.state(), 2);
    bench.faulty.next_put("meta/log", Fault::Overtaken(bytes));
    assert_eq!(cluster.commit(set("a")).await, Err(CommitError::Abdicated), "nothing happened");
    assert_eq!(cluster.abdicated().await, Abdication::Superseded { epoch: 2 });
    assert!(cluster.with(|state| state.cluster_configs.is_empty()), "and nothing is shown");
    assert_eq!(cluster.commit(set("b")).await, Err(CommitError::Abdicated));
    assert_eq!(bench.entry(entry.index).await.unwrap().entry, entry);
}

#[tokio::test]
async fn an_entry_behind_the_floor_has_an_unknown_fate() {
    let mut bench = Bench::new();
    // Every put is slower than what the floor protects.
    bench.config.keep_for = Duration::ZERO;
    let (cluster, _tasks) = bench.start(1).await;
    let mut floor = FloorDocument::new(cluster.state().cluster_id, Uuid::from_u128(1));
    floor.floor = cluster.state().index.next();
    let put = bench.store.create(&path::floor(), vec![documents::encode(&floor)]).await;
    assert!(put.done().is_some());
    assert_eq!(cluster.commit(set("a")).await, Err(CommitError::Unknown));
    assert_eq!(cluster.abdicated().await, Abdication::BehindFloor(MetadataIndex(2)));
}

/// As after a sleep of the machine between the look at the lease and the put.
#[tokio::test]
async fn an_entry_put_long_after_the_lease_is_committed_only_above_the_floor() {
    let mut bench = Bench::new();
    let clock = Arc::new(SimClock::at(crate::types::Millis(1)));
    bench.env.clock = clock.clone();
    bench.config.keep_for = Duration::from_secs(100);
    let (cluster, _tasks) = bench.start(1).await;
    let mut floor = FloorDocument::new(cluster.state().cluster_id, Uuid::from_u128(1));
    floor.floor = cluster.state().index.next();
    let put = bench.store.create(&path::floor(), vec![documents::encode(&floor)]).await;
    assert!(put.done().is_some());
    // The lease is not old yet, and older than what the floor protects.
    clock.pass(Duration::from_secs(60));
    assert_eq!(cluster.commit(set("a")).await, Err(CommitError::Unknown));
    assert_eq!(cluster.abdicated().await, Abdication::BehindFloor(MetadataIndex(2)));
}

#[tokio::test]
async fn a_controller_that_slept_trusts_no_quick_put() {
    let mut bench = Bench::new();
    let clock = Arc::new(SimClock::at(Millis(0)));
    bench.env.clock = clock.clone();
    let (cluster, _tasks) = bench.start(1).await;
    cluster.commit(set("a")).await.unwrap();
    // While it sleeps, others go on, and the log is trimmed beyond what it knows: its next put
    // meets no entry and is done at once.
    clock.pass(bench.config.keep_for);
    let next = cluster.state().index.next();
    let mut floor = FloorDocument::new(cluster.state().cluster_id, Uuid::from_u128(1));
    floor.floor = next;
    let put = bench.store.create(&path::floor(), vec![documents::encode(&floor)]).await;
    assert!(put.done().is_some());
    assert_eq!(cluster.commit(set("b")).await, Err(CommitError::Unknown));
    assert_eq!(cluster.abdicated().await, Abdication::BehindFloor(next));
}

#[tokio::test]
async fn of_two_controllers_the_later_epoch_goes_on_alone() {
    let bench = Bench::new();
    let (first, _tasks) = bench.start(1).await;
    first.commit(set("a")).await.unwrap();
    // The same WAL folder's lease: taken at once, as after a kill.
    let (second, _others) = bench.start(1).await;
    second.commit(set("b")).await.unwrap();
    assert_eq!(first.commit(set("c")).await, Err(CommitError::Abdicated));
    assert!(matches!(first.abdicated().await, Abdication::Superseded { epoch: 2 }));
    second.commit(set("d")).await.unwrap();
    let names: Vec<_> = second.with(|state| state.cluster_configs.keys().cloned().collect());
    assert_eq!(names, ["a", "b", "d"]);
}

#[tokio::test]
async fn a_duel_of_many_leaves_one_chain() {
    let bench = Bench::new();
    let (mut known, mut tasks) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let (cluster, owner) = bench.start(1).await;
        tasks.push(owner);
        known.push(cluster);
        for (n, cluster) in known.iter().enumerate() {
            let result = cluster.commit(set(&format!("r{round}n{n}"))).await;
            assert_eq!(result.is_ok(), n == round, "only the newest commits");
        }
    }
    let last = known.last().unwrap().state();
    let mut state = State::new(last.cluster_id);
    while let Some(entry) = bench.entry(state.index.next()).await {
        state.apply(&entry).unwrap();
    }
    assert_eq!(state, *last);
    assert_eq!(state.cluster_configs.len(), 5);
}

#[tokio::test]
async fn commits_wait_for_a_bucket_that_is_away_and_go_on() {
    let mut bench = Bench::new();
    bench.config.lease = Duration::from_millis(150);
    let (cluster, _tasks) = bench.start(1).await;
    bench.faulty.set_down(Some(FailureKind::Connection));
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.commit(set("a")).await }
    });
    // Longer than the lease: its own clock says it expired.
    clock::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    bench.faulty.calm();
    waiting.await.unwrap().unwrap();
    cluster.commit(set("b")).await.unwrap();
    assert_eq!(bench.lease().await.epoch, 1);
}

#[tokio::test]
async fn a_lease_taken_by_another_ends_an_idle_controller() {
    let mut bench = Bench::new();
    bench.config.lease = Duration::from_millis(150);
    let (cluster, _tasks) = bench.start(1).await;
    let other = LeaseDocument { epoch: 7, nonce: Uuid::from_u128(4), ..bench.lease().await };
    bench.faulty.next_put("meta/lease", Fault::Overtaken(documents::encode(&other)));
    assert_eq!(cluster.abdicated().await, Abdication::Superseded { epoch: 7 });
}

#[tokio::test]
async fn a_lease_is_renewed_whatever_its_writes_report() {
    let mut bench = Bench::new();
    bench.config.lease = Duration::from_millis(120);
    let (cluster, _tasks) = bench.start(1).await;
    for fault in [
        Fault::FailAfter(FailureKind::Timeout),
        Fault::FailBefore(FailureKind::Timeout),
        Fault::Late(2),
    ] {
        let before = bench.lease().await.nonce;
        bench.faulty.next_put("meta/lease", fault);
        bench.until(|| async { bench.lease().await.nonce != before }).await;
    }
    assert_eq!(bench.lease().await.at_risk.bytes, 5);
    bench.store.delete(&path::lease()).await.unwrap();
    bench.until(|| async { bench.store.get(&path::lease()).await.is_ok() }).await;
    cluster.commit(set("a")).await.unwrap();
}

#[tokio::test]
async fn a_live_holder_is_refused_by_name() {
    let mut bench = Bench::new();
    bench.config.lease = Duration::from_millis(200);
    let (cluster, tasks) = bench.start(1).await;
    bench.alive.store(true, Ordering::Relaxed);
    let held = bench.try_start(2).await.unwrap_err();
    assert!(held.to_string().contains("b1:9092"), "{held}");
    // Unreachable, but its lease moves.
    bench.alive.store(false, Ordering::Relaxed);
    let held = bench.try_start(2).await.unwrap_err();
    assert!(matches!(held, TakeOverError::Held { how: "it renews its lease", .. }), "{held}");
    cluster.commit(set("a")).await.unwrap();
    // Dead: taken after its own time, with a countdown, and what it had at risk is known.
    tasks.abort().await;
    let began = bench.env.clock.boot();
    let (second, _tasks) = bench.start(2).await;
    assert!(bench.env.clock.boot() - began >= Duration::from_millis(200));
    assert_eq!(second.state().epoch, 2);
    assert_eq!(second.last_lease().unwrap().bytes, 5);
    let phases = bench.phases.lock().unwrap();
    assert!(phases.iter().any(|phase| matches!(phase, Phase::WaitingForLease { .. })));
}

#[tokio::test]
async fn a_released_lease_is_taken_at_once() {
    let bench = Bench::new();
    let (cluster, _tasks) = bench.start(1).await;
    cluster.release_lease().await;
    assert!(bench.lease().await.released);
    assert_eq!(cluster.commit(set("a")).await, Err(CommitError::Abdicated));
    bench.alive.store(true, Ordering::Relaxed);
    let (second, _others) = bench.start(2).await;
    second.commit(set("b")).await.unwrap();
}

#[tokio::test]
async fn a_start_waits_for_the_bucket_and_says_why() {
    let bench = Bench::new();
    bench.faulty.set_down(Some(FailureKind::Denied));
    let starting = tokio::spawn({
        let bench = bench.clone();
        async move { bench.try_start(1).await }
    });
    clock::sleep(Duration::from_millis(200)).await;
    assert!(!starting.is_finished());
    let waiting = bench.phases.lock().unwrap().last().cloned();
    assert!(matches!(waiting, Some(Phase::WaitingForBucket { .. })), "{waiting:?}");
    bench.faulty.calm();
    starting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_folder_of_another_cluster_touches_nothing() {
    let bench = Bench::new();
    let tasks = Tasks::new();
    let own = ClusterId(Uuid::from_u128(6));
    let mut parts = bench.parts(1, &tasks);
    parts.holder.cluster = Some(own);
    let error = Cluster::take_over(parts).await.unwrap_err();
    assert_eq!(error, TakeOverError::NoCluster { expected: own });
    assert!(bench.store.get(&path::cluster()).await.is_err());
    let (cluster, _tasks) = bench.start(1).await;
    let found = cluster.state().cluster_id;
    let mut parts = bench.parts(1, &tasks);
    parts.holder.cluster = Some(own);
    let error = Cluster::take_over(parts).await.unwrap_err();
    assert_eq!(error, TakeOverError::OtherCluster { expected: own, found });
    cluster.commit(set("a")).await.unwrap();
}

#[tokio::test]
async fn the_log_is_trimmed_behind_the_floor_and_a_start_still_finds_all() {
    let mut bench = Bench::new();
    bench.config =
        Config { snapshot_entries: 5, keep_entries: 3, keep_for: Duration::ZERO, ..bench.config };
    let (cluster, tasks) = bench.start(1).await;
    for n in 0..60 {
        cluster.commit(set(&format!("c{n}"))).await.unwrap();
        // The keeper gets a turn.
        clock::sleep(Duration::from_millis(1)).await;
    }
    bench.until(|| async { bench.floor().await.is_some_and(|floor| floor.trimmed.0 > 30) }).await;
    let floor = bench.floor().await.unwrap();
    assert_eq!(floor.snapshots.len(), 3);
    assert!(floor.snapshots.is_sorted_by(|a, b| a.index > b.index));
    assert!(floor.floor.0 + 3 <= floor.snapshots[0].index.0);
    let before = cluster.state();
    tasks.abort().await;
    for index in 1..=floor.trimmed.0 {
        assert!(bench.entry(MetadataIndex(index)).await.is_none(), "{index} is deleted");
    }
    assert!(bench.entry(floor.floor.next()).await.is_some());
    let snapshots = bench.store.list(&path::snapshot_prefix(), None).await.unwrap();
    assert!(snapshots.listed.len() <= 4, "old snapshots are deleted");
    let (cluster, _tasks) = bench.start(1).await;
    assert_eq!(cluster.state().cluster_configs, before.cluster_configs);
}

#[tokio::test]
async fn a_damaged_newest_snapshot_costs_a_longer_replay_only() {
    let mut bench = Bench::new();
    bench.config.snapshot_entries = 4;
    let (cluster, tasks) = bench.start(1).await;
    for n in 0..12 {
        cluster.commit(set(&format!("c{n}"))).await.unwrap();
        clock::sleep(Duration::from_millis(2)).await;
    }
    let two = || async { bench.floor().await.is_some_and(|floor| floor.snapshots.len() >= 2) };
    bench.until(two).await;
    tasks.abort().await;
    let newest = bench.floor().await.unwrap().snapshots[0];
    let key = path::snapshot(newest.index, &newest.digest.to_string());
    bench.store.delete(&key).await.unwrap();
    let (cluster, _tasks) = bench.start(1).await;
    assert_eq!(cluster.with(|state| state.cluster_configs.len()), 12);
}

#[tokio::test]
async fn a_snapshot_behind_the_floor_is_no_beginning() {
    let mut bench = Bench::new();
    bench.config =
        Config { snapshot_entries: 20, keep_entries: 1, keep_for: Duration::ZERO, ..bench.config };
    let (cluster, tasks) = bench.start(1).await;
    for round in 1..=3 {
        for n in 0..25 {
            cluster.commit(set(&format!("c{round}.{n}"))).await.unwrap();
        }
        let taken =
            || async { bench.floor().await.is_some_and(|floor| floor.snapshots.len() >= round) };
        bench.until(taken).await;
    }
    let trimmed = || async {
        bench.floor().await.is_some_and(|floor| floor.trimmed.0 > floor.snapshots[1].index.0 + 16)
    };
    bench.until(trimmed).await;
    tasks.abort().await;
    let newest = bench.floor().await.unwrap().snapshots[0];
    let key = path::snapshot(newest.index, &newest.digest.to_string());
    bench.store.delete(&key).await.unwrap();
    // The entries after the second newest are deleted: it would pass for the whole log.
    assert!(bench.try_start(1).await.is_err());
}

#[tokio::test]
async fn a_hole_in_the_log_is_damage_not_its_end() {
    let bench = Bench::new();
    let (cluster, tasks) = bench.start(1).await;
    for n in 0..4 {
        cluster.commit(set(&format!("c{n}"))).await.unwrap();
    }
    tasks.abort().await;
    bench.store.delete(&path::log_entry(MetadataIndex(3))).await.unwrap();
    let error = bench.try_start(1).await.unwrap_err();
    assert!(error.to_string().contains("missing in the log"), "{error}");
}

#[tokio::test]
async fn under_random_faults_every_answer_is_true() {
    let rates =
        Rates { fail_before: 100, fail_after: 100, late: 60, twice: 60, ..Rates::default() };
    // Many seeds of the same are `seeds`', without the waiting.
    let seed = 0;
    let mut bench = Bench::new();
    bench.config = Config {
        lease: Duration::from_millis(400),
        snapshot_entries: 7,
        keep_entries: 2,
        ..bench.config
    };
    let (mut cluster, mut tasks) = bench.start(1).await;
    let entropy: Arc<dyn Entropy> = Arc::new(SimEntropy::seeded(seed));
    bench.faulty.at_random(rates, Arc::clone(&entropy));
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for n in 0..40 {
        let name = format!("c{n}");
        match cluster.commit(set(&name)).await {
            Ok(_) => done.push(name),
            Err(CommitError::Abdicated | CommitError::Refused(_)) => refused.push(name),
            Err(CommitError::Unknown | CommitError::TooLarge { .. }) => {}
        }
        if entropy.below(8) == 0 {
            tasks.abort().await;
            (cluster, tasks) = bench.start(1).await;
        }
    }
    bench.faulty.calm();
    tasks.abort().await;
    let (cluster, _tasks) = bench.start(1).await;
    let state = cluster.state();
    assert!(done.iter().all(|name| state.cluster_configs.contains_key(name)), "seed {seed}");
    assert!(!refused.iter().any(|name| state.cluster_configs.contains_key(name)));
}
