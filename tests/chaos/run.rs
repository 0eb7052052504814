//! One run: load, trouble, healing, and judgement of all that came of it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    history::{Log, Outcome, What, check},
    librdkafka::Clients,
    load::{self, Load},
    support::topics,
    trouble::{Kind, schedule},
    world::{Home, SOON, World},
};

/// What a run is made of; the same plan gives the same schedule.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) home: Home,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) length: Duration,
    /// With librdkafka beside our own clients.
    pub(crate) librdkafka: bool,
    /// Where everything is kept when something is wrong.
    pub(crate) keep: Option<PathBuf>,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) steps: usize,
    pub(crate) faults: u64,
    pub(crate) operations: usize,
    pub(crate) acknowledged: usize,
    pub(crate) violations: Vec<String>,
    pub(crate) line: String,
}

impl Plan {
    /// What makes this schedule again.
    pub(crate) fn command(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|kind| format!("{kind:?}")).collect();
        format!(
            "STRANDLINE_TEST_CHAOS_SEED={} STRANDLINE_TEST_CHAOS_SECONDS={} STRANDLINE_TEST_CHAOS_HOME={:?} \
             STRANDLINE_TEST_CHAOS_KINDS={}{} cargo test --test chaos one_schedule -- --ignored \
             --nocapture",
            self.seed,
            self.length.as_secs(),
            self.home,
            kinds.join(","),
            if self.librdkafka { " STRANDLINE_TEST_CHAOS_LIBRDKAFKA=1" } else { "" }
        )
    }

    /// Runs it, prints a line, and panics with all that is wrong.
    pub(crate) async fn prove(&self) -> Told {
        let told = self.run().await;
        println!("{}", told.line);
        assert!(
            told.violations.is_empty(),
            "{} violations:\n{}\nto see this schedule again: {}",
            told.violations.len(),
            told.violations.join("\n"),
            self.command()
        );
        told
    }

    pub(crate) async fn run(&self) -> Told {
        let root = tempfile::tempdir().unwrap();
        let mut world = World::start(root.path(), self.home).await;
        let mut control = topics::connect(&world.address()).await;
        let configs = [("retention.ms", "-1")];
        topics::create(&mut control, load::TOPIC, load::PARTITIONS, &configs).await;
        let load = Load::start(&world.address());
        let began = load.recorder().began();
        let mut others = self.librdkafka.then(|| Clients::start(&world.address(), began));
        let steps = schedule(self.seed, &self.kinds, self.length);
        for step in &steps {
            world.go_through(step).await;
        }
        let mut told =
            Told { steps: steps.len(), operations: load.operations(), ..Told::default() };
        world.heal();
        let healing = Instant::now();
        // Producers of every partition are served again.
        let from = load.recorder().now();
        let served = wait(SOON, || served_since(&load, from)).await;
        let writes = healing.elapsed();
        if !served {
            told.violations.push(format!("no partition was written within {SOON:?} of healing"));
        }
        let mut sent = Vec::new();
        if let Some(others) = &mut others {
            others.stop_producers(&mut sent);
        }
        let mut trouble = Vec::new();
        let address = world.address();
        let (mut history, complaints) =
            load.finish(SOON, async || logs(&address, &mut trouble).await).await;
        if let Some(others) = others {
            others.finish(sent, &mut history);
        }
        let reads = healing.elapsed();
        told.violations.append(&mut trouble);
        told.violations.extend(complaints.iter().map(|text| format!("a client: {text}")));
        let judgement = check::judge(&history);
        told.violations.extend(judgement.anomalies.iter().map(ToString::to_string));
        told.faults = world.faults + world.double.as_ref().map_or(0, |double| double.struck());
        told.acknowledged = judgement.acknowledged;
        let drained = self.bucket_alone(&mut world, &history.finals, &mut told).await;
        if world.log().contains("panicked at") {
            told.violations.push("the broker panicked".to_owned());
        }
        let times = [writes, reads].map(|time| time.as_secs_f64());
        told.line = self.line(&told, &judgement, &world, times, &drained);
        if let (false, Some(keep)) = (told.violations.is_empty(), &self.keep) {
            self.keep_all(&world, &history, &told, keep);
        }
        told
    }

    fn line(
        &self,
        told: &Told,
        judgement: &check::Judgement,
        world: &World,
        [writes, reads]: [f64; 2],
        drained: &str,
    ) -> String {
        let mut line = String::new();
        let gap = judgement.longest_gap.values().max().copied().unwrap_or(0);
        write!(
            line,
            "chaos seed {} on {:?}: {} steps, {} faults, {} operations, {} sent, {} acked, {} \
             unknown, {} read; longest gap {:.1} s, healed in {:.1} s for writes and {:.1} s for \
             all, {drained}, {} ends of its own",
            self.seed,
            self.home,
            told.steps,
            told.faults,
            told.operations,
            judgement.sent,
            judgement.acknowledged,
            judgement.unknown,
            judgement.read,
            Duration::from_micros(gap).as_secs_f64(),
            writes,
            reads,
            world.own_ends
        )
        .unwrap();
        for (reason, count) in reasons(&world.log()) {
            write!(line, "; {count} times {reason:?}").unwrap();
        }
        for left_out in &world.left_out {
            write!(line, "; left out: {left_out}").unwrap();
        }
        line
    }

    /// Drains the broker; then the bucket alone must be whole, and hold all that was read.
    async fn bucket_alone(
        &self,
        world: &mut World,
        finals: &BTreeMap<i32, Log>,
        told: &mut Told,
    ) -> String {
        let began = Instant::now();
        let mut broker = world.broker.take().unwrap();
        if broker.ended().is_none() {
            broker.signal("-TERM");
        }
        let until = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = broker.ended() {
                break Some(status);
            }
            if Instant::now() > until {
                break None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        if !status.is_some_and(|status| status.success()) {
            told.violations.push(format!("the drain ended with {status:?}"));
        }
        drop(broker);
        let drained = format!("drained in {:.1} s", began.elapsed().as_secs_f64());
        let audit = world.fsck();
        if !audit.status.success() {
            let said = String::from_utf8_lossy(&audit.stdout).into_owned();
            let trouble = String::from_utf8_lossy(&audit.stderr).into_owned();
            told.violations.push(format!("fsck: {said}{trouble}"));
        }
        let elsewhere = world.setup.elsewhere(&self.elsewhere(world)).start();
        let mut trouble = Vec::new();
        let alone = logs(&elsewhere.kafka(), &mut trouble).await;
        told.violations.extend(trouble.iter().map(|text| format!("the bucket alone: {text}")));
        for ((partition, log), found) in finals.iter().zip(&alone) {
            if records(found) != records(log) {
                told.violations.push(format!(
                    "the bucket alone has {}..{} of partition {partition}, {}..{} was read",
                    found.start, found.end, log.start, log.end
                ));
            }
        }
        drained
    }

    fn elsewhere(&self, world: &World) -> PathBuf {
        world.setup.log.parent().unwrap().to_owned()
    }

    fn keep_all(&self, world: &World, history: &crate::history::History, told: &Told, keep: &Path) {
        world.keep(keep);
        let lines: Vec<String> =
            history.ops.iter().map(|op| serde_json::to_string(op).unwrap()).collect();
        std::fs::write(keep.join("history.jsonl"), lines.join("\n")).unwrap();
        let steps = schedule(self.seed, &self.kinds, self.length);
        let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
        let text = format!(
            "{}\n\n{}\n\n{}\n\n{}\n",
            told.line,
            told.violations.join("\n"),
            self.command(),
            steps.join("\n")
        );
        std::fs::write(keep.join("told.txt"), text).unwrap();
    }
}

/// Why the process ended by itself, without what differs each time.
fn reasons(log: &str) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for line in log.lines().filter_map(|line| line.strip_prefix("error: ")) {
        let plain = line.split_whitespace().filter(|word| !word.contains(['/', '0', '1', '2']));
        let reason: String = plain.collect::<Vec<_>>().join(" ").chars().take(70).collect();
        *reasons.entry(reason).or_default() += 1;
    }
    reasons
}

fn records(log: &Log) -> Vec<(i64, crate::history::Value)> {
    log.batches.iter().flat_map(|batch| batch.records.iter().copied()).collect()
}

/// Whether each partition had a send that began since `from` and was acknowledged.
fn served_since(load: &Load, from: u64) -> bool {
    (0..load::PARTITIONS).all(|partition| {
        load.recorder().any(|op| {
            let sent = matches!(op.what, What::Send { .. });
            sent && op.partition == partition && op.start > from && op.outcome == Outcome::Ok
        })
    })
}

async fn wait(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if fact() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    false
}

/// All partitions as a fresh reader finds them; again while a reader has to.
async fn logs(address: &str, trouble: &mut Vec<String>) -> Vec<Log> {
    let mut logs = Vec::new();
    for partition in 0..load::PARTITIONS {
        let until = Instant::now() + SOON;
        let log = loop {
            match load::read_whole(address, partition).await {
                Ok(log) => break log,
                Err(text) if Instant::now() > until => {
                    trouble.push(format!("a fresh reader: {text}"));
                    break Log::default();
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        logs.push(log);
    }
    logs
}
