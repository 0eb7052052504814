//! The world of one seed: one bucket and one disk, and brokers that live on them one after the
//! other.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use strandline::{
    broker::{self, Ended, Outside, StopAsked},
    env::{
        Env,
        background::Background,
        bugs::Bugs,
        clock,
        sim::{
            Lag, SimEntropy, Turns, TurnsClock,
            disk::{self, SimDisk},
            net::Network,
        },
    },
    store::{Bucket, Faulty, Memory, Rates, Store},
    types::Millis,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    bucket::{KillAt, Way},
    chance::Chance,
    clients::Clients,
    model::Model,
    plan::{Ending, Kind, Life, Plan},
    run::{Ran, panicked},
    trace::{Trace, note},
    watch::Seen,
};

/// How long a broker may take, after all faults, until everything acknowledged is readable.
const HEALED: Duration = Duration::from_secs(60);
/// How long nothing happens at the end, so that what nobody refers to is swept.
const QUIET: Duration = Duration::from_secs(100);

pub struct World {
    seed: u64,
    bugs: Bugs,
    plan: Arc<Plan>,
    turns: Turns,
    clock: Arc<TurnsClock>,
    faulty: Faulty,
    way: Arc<Way>,
    disk: Mutex<SimDisk>,
    model: Arc<Model>,
    trace: Arc<Trace>,
    clients: Arc<Clients>,
    chance: Chance,
    seen: Seen,
    faults: Mutex<u64>,
}

/// How a life ended.
#[derive(Debug)]
enum End {
    Killed,
    PowerCut,
    Drained,
    Left,
    Failed(String),
    /// An invariant broke, or something panicked.
    Broken,
}

impl World {
    pub fn new(seed: u64, bugs: Bugs, seen: Seen) -> Self {
        let plan = Arc::new(Plan::draw(seed));
        let turns = Turns::seeded(seed);
        let clock = Arc::new(turns.clock(Millis(1_700_000_000_000)));
        let shown = std::env::var("STRANDLINE_TEST_SIM_SHOW").is_ok();
        let trace = Arc::new(Trace::new(&turns, shown));
        let model = Arc::new(Model::new(plan.partitions));
        let memory: Arc<dyn Bucket> = Arc::new(Memory::new(clock.clone()));
        let faulty = Faulty::new(memory);
        let way = Way::new(
            Arc::new(faulty.clone()),
            Chance::of(seed, 2),
            Arc::clone(&trace),
            Arc::clone(&model),
            plan.bucket_ms,
        );
        let clients =
            Clients::new(&model, &trace, &plan, &seen, Chance::of(seed, 3), clock.clone());
        if plan.has(Kind::Retention) {
            for partition in 0..plan.partitions {
                model.may_go(partition, i64::MAX);
            }
        }
        Self {
            seed,
            bugs,
            turns,
            clock,
            faulty,
            way: Arc::new(way),
            disk: Mutex::new(SimDisk::new()),
            model,
            trace,
            clients,
            chance: Chance::of(seed, 4),
            plan,
            seen,
            faults: Mutex::default(),
        }
    }

    /// Lives the whole plan, then heals and judges.
    pub fn run(&self) -> Ran {
        note!(self.trace, "seed {}: {:?}", self.seed, self.plan.kinds);
        let (mut lives, mut crashes) = (0, 0);
        for life in &self.plan.lives {
            let end = self.live(life);
            note!(self.trace, "end of a life: {end:?}");
            lives += 1;
            crashes += u64::from(matches!(end, End::Killed | End::PowerCut));
            self.count_end(&end);
            self.after(&end, life);
            if self.is_broken() {
                break;
            }
        }
        if !self.is_broken() {
            lives += 1;
            self.heal();
        }
        let (acknowledged, read) = self.model.counts();
        let mut reached = self.seen.take();
        reached.retain(|name, _| !name.is_empty());
        Ran {
            hash: self.trace.hash(),
            events: self.trace.events(),
            lives,
            crashes,
            faults: *self.faults.lock().unwrap(),
            requests: self.way.requests(),
            acknowledged,
            read,
            seconds: self.turns.now().as_secs(),
            reached,
            failed: self.model.violation(),
        }
    }

    fn count_end(&self, end: &End) {
        let name = match end {
            End::Killed => "life: killed",
            End::PowerCut => "life: power cut",
            End::Drained => "life: drained",
            End::Left => "life: left",
            End::Failed(_) => "life: failed",
            End::Broken => "life: broken",
        };
        self.seen.count(name);
    }

    fn is_broken(&self) -> bool {
        if let Some(text) = panicked() {
            self.model.violated("nothing panics", text);
        }
        self.model.violation().is_some()
    }

    fn disk(&self) -> SimDisk {
        self.disk.lock().unwrap().clone()
    }

    /// What becomes of the disk between two lives.
    fn after(&self, end: &End, life: &Life) {
        self.turns.set_lag(Lag::default());
        *self.way.kill_at.lock().unwrap() = None;
        let disk = self.disk();
        disk.calm();
        if matches!(end, End::PowerCut) || matches!(life.ending, Ending::PowerAtDisk(_)) {
            disk.cut_power();
            let share = self.chance.pick(&[0, 20, 50, 80, 100]);
            *self.disk.lock().unwrap() = disk.reboot(|| self.chance.percent(share));
            self.turns.boot();
        }
        if matches!(end, End::Drained) && self.chance.percent(50) {
            note!(self.trace, "the empty folder is given up");
            *self.disk.lock().unwrap() = SimDisk::new();
        }
        // Rightly refused: a clock that is far from the bucket's is found at the first start.
        let is_clock = |reason: &str| self.plan.has(Kind::Jump) && reason.contains("its clock");
        if let End::Failed(reason) = end
            && !self.may_fail()
            && !is_clock(reason)
        {
            self.model.violated("L3 a broker starts", reason.clone());
        }
    }

    /// Whether some fault explains that a broker gives up.
    fn may_fail(&self) -> bool {
        let disk = [Kind::DiskError, Kind::DiskFull, Kind::ReadOnly];
        disk.iter().any(|kind| self.plan.has(*kind))
    }

    fn env(&self) -> Env {
        let entropy = SimEntropy::seeded(self.chance.below(u64::MAX));
        Env {
            clock: self.clock.clone(),
            entropy: Arc::new(entropy),
            disk: Arc::new(self.disk()),
            background: Background::none(),
            bugs: self.bugs,
        }
    }

    fn live(&self, life: &Life) -> End {
        note!(self.trace, "a life: {life:?}");
        let (network, listener) = Network::new();
        let (ask, asked) = watch::channel(StopAsked::No);
        let (_operator, orders) = mpsc::channel::<oneshot::Sender<_>>(1);
        let env = self.env();
        let outside = self.outside(&env, listener, orders, |_| {});
        self.arm(life);
        let main = async {
            let broker = broker::run_over(self.plan.config.clone(), env, asked, outside);
            let creating = Arc::clone(&self.clients);
            let reached = network.clone();
            tokio::spawn(async move {
                creating.create(&reached).await;
                creating.start(&reached);
            });
            let ends = async {
                clock::sleep(life.time).await;
                self.end(life, &ask).await
            };
            let faults = self.faults(life);
            let disk = self.disk();
            tokio::select! {
                biased;
                () = self.model.failed.notified() => End::Broken,
                () = self.way.killed.notified() => End::Killed,
                () = disk.power_cut() => End::PowerCut,
                ended = broker => told(ended),
                end = ends => end,
                () = faults => End::Broken,
            }
        };
        self.turns.run(main).unwrap()
    }

    fn outside(
        &self,
        env: &Env,
        listener: strandline::env::sim::net::Listener,
        orders: mpsc::Receiver<oneshot::Sender<Result<String, String>>>,
        show: impl FnOnce(watch::Receiver<strandline::http::Readiness>) + Send + 'static,
    ) -> Outside {
        let way: Arc<dyn Bucket> = self.way.clone();
        Outside {
            store: Store::over(way, env),
            metadata: self.plan.metadata,
            listener,
            orders,
            show: Box::new(show),
        }
    }

    /// Makes the faults of a life strike.
    fn arm(&self, life: &Life) {
        self.faulty.calm();
        let usual = Duration::from_millis(self.plan.disk_ms);
        if life.quiet {
            self.turns.set_lag(Lag { usual, ..Lag::default() });
            return;
        }
        let rate = |kind| if self.plan.has(kind) { self.plan.rate } else { 0 };
        let rates = Rates {
            fail_before: rate(Kind::FailBefore),
            fail_after: rate(Kind::FailAfter),
            late: rate(Kind::Late),
            twice: rate(Kind::Twice),
            slow: rate(Kind::Slow),
            damaged: rate(Kind::Damaged),
        };
        let entropy = SimEntropy::seeded(self.chance.below(u64::MAX));
        self.faulty.at_random(rates, Arc::new(entropy));
        let stalls = if self.plan.has(Kind::Stall) { 30 } else { 0 };
        let stalled = self.chance.millis(100, 12_000);
        self.turns.set_lag(Lag { usual, stalls, stalled });
    }

    /// Ends a life as planned.
    async fn end(&self, life: &Life, ask: &watch::Sender<StopAsked>) -> End {
        let requests = self.way.requests();
        match life.ending {
            Ending::Kill => return End::Killed,
            Ending::Power => return End::PowerCut,
            Ending::PowerAtDisk(after) => {
                let disk = self.disk();
                disk.fault_at(disk.operations() + after, disk::Fault::PowerCut);
                // A broker that does nothing is killed at last.
                clock::sleep(Duration::from_secs(30)).await;
                return End::PowerCut;
            }
            Ending::KillAtBucket(further, after) => {
                let kill = KillAt { request: requests + 1 + further, after };
                *self.way.kill_at.lock().unwrap() = Some(kill);
                clock::sleep(Duration::from_secs(300)).await;
                return End::Killed;
            }
            Ending::Drain => {
                ask.send_replace(StopAsked::Drain);
                if self.chance.percent(20) {
                    clock::sleep(self.chance.millis(0, 3000)).await;
                    ask.send_replace(StopAsked::AtOnce);
                }
            }
            Ending::AtOnce => {
                ask.send_replace(StopAsked::AtOnce);
            }
        }
        clock::sleep(Duration::from_secs(300)).await;
        self.model.violated("L3 a broker ends when it is asked to", format!("{:?}", life.ending));
        End::Broken
    }

    /// Faults that come and go.
    async fn faults(&self, life: &Life) {
        let kinds = [
            Kind::Outage,
            Kind::Storm,
            Kind::DiskError,
            Kind::DiskFull,
            Kind::ReadOnly,
            Kind::Jump,
        ];
        let kinds: Vec<_> = kinds.into_iter().filter(|kind| self.plan.has(*kind)).collect();
        if kinds.is_empty() || life.quiet {
            std::future::pending::<()>().await;
        }
        loop {
            clock::sleep(self.chance.millis(50, 5000)).await;
            let kind = self.chance.pick(&kinds);
            *self.faults.lock().unwrap() += 1;
            note!(self.trace, "fault: {kind:?}");
            self.seen.count(&format!("fault: {kind:?}"));
            self.strike(kind).await;
        }
    }

    async fn strike(&self, kind: Kind) {
        use strandline::store::FailureKind;
        let disk = self.disk();
        match kind {
            Kind::Outage => {
                self.faulty.set_down(Some(FailureKind::Connection));
                clock::sleep(self.chance.millis(100, 15_000)).await;
                self.faulty.set_down(None);
            }
            Kind::Storm => {
                self.faulty.set_down(Some(FailureKind::Throttled));
                clock::sleep(self.chance.millis(50, 3000)).await;
                self.faulty.set_down(None);
            }
            Kind::DiskError => {
                let at = disk.operations() + self.chance.between(0, 10);
                disk.fault_at(at, disk::Fault::Error(std::io::ErrorKind::Other));
            }
            Kind::DiskFull => {
                disk.set_capacity(Some(self.chance.between(0, 100_000)));
                clock::sleep(self.chance.millis(100, 8000)).await;
                disk.set_capacity(None);
            }
            Kind::ReadOnly => {
                disk.set_read_only(true);
                clock::sleep(self.chance.millis(100, 5000)).await;
                disk.set_read_only(false);
            }
            Kind::Jump => {
                let by = self.chance.between(0, 7_200_000);
                self.turns.jump(i64::try_from(by).unwrap() - 3_600_000);
            }
            _ => {}
        }
    }

    /// The last life: no faults. Everything acknowledged must be readable soon, nothing that
    /// nobody refers to may stay, and the folder must empty itself.
    fn heal(&self) {
        note!(self.trace, "healing");
        if self.plan.has(Kind::Jump) {
            // What was written while the clock was ahead would look too young to be swept.
            self.turns.jump(12 * 3_600_000 - self.turns.ahead_ms());
        }
        self.faulty.calm();
        self.turns.set_lag(Lag { usual: Duration::from_millis(1), ..Lag::default() });
        let env = self.env();
        let (network, listener) = Network::new();
        let (ask, asked) = watch::channel(StopAsked::No);
        let (_operator, orders) = mpsc::channel::<oneshot::Sender<_>>(1);
        let outside = self.outside(&env, listener, orders, |_| {});
        let main = async {
            self.faulty.land_delayed().await;
            let broker = broker::run_over(self.plan.config.clone(), env, asked, outside);
            let judged = async {
                let healed = clock::timeout(HEALED, self.healed(&network)).await;
                if !matches!(healed, Ok(Ok(()))) {
                    self.model.violated("L3 everything is readable soon", format!("{healed:?}"));
                }
                self.clients.resting.store(true, Ordering::Relaxed);
                clock::sleep(QUIET).await;
                ask.send_replace(StopAsked::Drain);
                clock::sleep(Duration::from_secs(100)).await;
                self.model.violated("L3 a broker drains", "it does not");
            };
            tokio::select! {
                biased;
                () = self.model.failed.notified() => {}
                ended = broker => match ended {
                    Ok(Ended::Drained) => {}
                    other => self.model.violated("L3 a broker serves and drains", format!("{other:?}")),
                },
                () = judged => {}
            }
        };
        self.turns.run(main).unwrap();
        if !self.is_broken() {
            self.turns.run(crate::after::judge(self)).unwrap();
        }
    }

    async fn healed(&self, network: &Network) -> Result<(), String> {
        self.clients.create(network).await;
        self.clients.start(network);
        clock::sleep(Duration::from_secs(5)).await;
        self.clients.closing.store(true, Ordering::Relaxed);
        while !self.clients.is_done() {
            clock::sleep(Duration::from_millis(100)).await;
        }
        while let Err(reason) = self.clients.read_all(network).await {
            note!(self.trace, "not yet: {reason}");
            clock::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    pub fn store(&self) -> (Store, Env) {
        let env = self.env();
        let way: Arc<dyn Bucket> = self.way.clone();
        (Store::over(way, &env), env)
    }

    pub fn violated(&self, invariant: &str, text: impl Into<String>) {
        self.model.violated(invariant, text);
    }
}

fn told(ended: Result<Ended, broker::Error>) -> End {
    match ended {
        Ok(Ended::Drained) => End::Drained,
        Ok(Ended::Left { .. }) => End::Left,
        Err(error) => End::Failed(error.to_string()),
    }
}
