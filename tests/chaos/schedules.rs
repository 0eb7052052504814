//! The runs: a short one always, longer ones for CI, one of a given seed, and hours by
//! `scripts/soak`.

use std::time::{Duration, Instant};

use strandline::env::{
    entropy::{Entropy, SystemEntropy},
    sim::SimEntropy,
};

use crate::{
    run::{Plan, Told},
    trouble::{EVERY_KIND, Kind},
    world::Home,
};

/// A seed nobody had before: it is printed, and what it finds is a bug.
fn fresh() -> u64 {
    SystemEntropy.next_u64() % 1_000_000_000
}

fn plan(home: Home, kinds: &[Kind], seconds: u64) -> Plan {
    let length = Duration::from_secs(seconds);
    Plan { seed: fresh(), home, kinds: kinds.to_vec(), length, librdkafka: false, keep: None }
}

/// One line of all runs of a test, for the sum of the layers.
fn layer(told: &[Told]) {
    let sum = |of: fn(&Told) -> u64| told.iter().map(of).sum::<u64>();
    println!(
        "layer chaos: {} schedules, {} steps, {} faults, {} operations, {} records acknowledged",
        told.len(),
        sum(|told| told.steps as u64),
        sum(|told| told.faults),
        sum(|told| told.operations as u64),
        sum(|told| told.acknowledged as u64)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_schedule_of_kills_pauses_and_lies_leaves_nothing_wrong() {
    let kinds = [Kind::Kill, Kind::Pause, Kind::Lies, Kind::Outage];
    layer(&[plan(Home::Double, &kinds, 4).prove().await]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute: CI"]
async fn killed_paused_and_drained_over_a_lying_bucket_nothing_acknowledged_is_lost_or_moved() {
    let kinds = [Kind::Kill, Kind::Pause, Kind::Drain, Kind::Lies];
    layer(&[plan(Home::Double, &kinds, 30).prove().await]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute, and root for the disk: CI"]
async fn a_full_and_a_read_only_disk_lose_nothing_acknowledged() {
    let kinds = [Kind::Disk, Kind::Disk, Kind::Kill, Kind::Outage];
    layer(&[plan(Home::Double, &kinds, 30).prove().await]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "twenty seconds, and scripts/setup chaos for the clock: CI"]
async fn a_wall_clock_that_jumps_an_hour_changes_no_answer() {
    let kinds = [Kind::Clock, Kind::Clock, Kind::Kill];
    layer(&[plan(Home::Double, &kinds, 20).prove().await]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "twenty seconds: CI"]
async fn a_bucket_that_is_away_or_slow_loses_nothing_acknowledged() {
    let kinds = [Kind::Outage, Kind::Outage, Kind::Kill, Kind::Drain];
    layer(&[plan(Home::Double, &kinds, 20).prove().await]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "twenty seconds: CI"]
async fn on_a_folder_kills_pauses_and_drains_lose_nothing_acknowledged() {
    let kinds = [Kind::Kill, Kind::Pause, Kind::Drain];
    layer(&[plan(Home::Folder, &kinds, 20).prove().await]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute, and root and scripts/setup chaos for some of it: CI"]
async fn everything_at_once_loses_nothing_acknowledged() {
    layer(&[
        plan(Home::Double, &EVERY_KIND, 25).prove().await,
        plan(Home::Double, &EVERY_KIND, 25).prove().await,
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute, and librdkafka (scripts/setup clients): CI"]
async fn librdkafka_loses_nothing_and_is_given_nothing_twice_through_kills_pauses_and_lies() {
    let kinds = [Kind::Kill, Kind::Pause, Kind::Drain, Kind::Lies];
    let plan = Plan { librdkafka: true, ..plan(Home::Double, &kinds, 25) };
    layer(&[plan.prove().await]);
}

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("STRANDLINE_TEST_CHAOS_{name}")).ok()
}

fn kinds_of(text: &str) -> Vec<Kind> {
    let kind = |name: &str| {
        let found = EVERY_KIND.iter().find(|kind| format!("{kind:?}") == name);
        *found.unwrap_or_else(|| panic!("{name} is none of {EVERY_KIND:?}"))
    };
    text.split(',').map(kind).collect()
}

/// The plan that the variables name.
fn given(seed: u64) -> Plan {
    let home =
        if variable("HOME").as_deref() == Some("Folder") { Home::Folder } else { Home::Double };
    let seconds = variable("SECONDS").map_or(20, |text| text.parse().unwrap());
    Plan {
        seed,
        home,
        kinds: variable("KINDS").map_or(EVERY_KIND.to_vec(), |text| kinds_of(&text)),
        length: Duration::from_secs(seconds),
        librdkafka: variable("LIBRDKAFKA").is_some(),
        keep: variable("KEEP").map(Into::into),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the schedule of STRANDLINE_TEST_CHAOS_SEED"]
async fn one_schedule() {
    let seed = variable("SEED").map_or_else(fresh, |text| text.parse().unwrap());
    given(seed).prove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "STRANDLINE_TEST_CHAOS_MINUTES of it: scripts/soak"]
async fn soak() {
    let Some(minutes) = variable("MINUTES") else {
        println!("left out: STRANDLINE_TEST_CHAOS_MINUTES is not set; see scripts/soak");
        return;
    };
    let length = Duration::from_secs_f64(minutes.parse::<f64>().unwrap() * 60.0);
    let first = variable("SEED").map_or_else(fresh, |text| text.parse().unwrap());
    let chance = SimEntropy::seeded(first);
    let (began, mut told) = (Instant::now(), Vec::new());
    let mut seed = first;
    while began.elapsed() < length {
        // Every third one on a folder, which has no double between.
        let mut plan = given(seed);
        if told.len() % 3 == 2 {
            plan.home = Home::Folder;
        }
        told.push(plan.prove().await);
        seed = chance.next_u64() % 1_000_000_000;
    }
    layer(&told);
}
