//! Whole brokers in a simulation: disk, bucket, clock and clients follow from a seed.
//!
//! A seed that fails is reproduced by `STRANDLINE_TEST_SIM=SEED cargo test --test sim seeds`, with
//! `STRANDLINE_TEST_SIM_SHOW=1` for all that happened; once understood it goes into `seeds.txt`,
//! which always runs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    unreachable_pub
)]

mod after;
mod bucket;
mod chance;
mod clients;
mod model;
mod plan;
mod run;
mod trace;
mod watch;
mod wire;
mod world;

use std::collections::BTreeMap;

use run::{Ran, run, run_all};

/// Seeds of a plain `cargo test`.
const FEW: std::ops::Range<u64> = 0..30;

fn chosen() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("STRANDLINE_TEST_SIM") else { return FEW };
    match text.split_once("..") {
        Some((first, end)) => first.parse().unwrap()..end.parse().unwrap(),
        None => {
            let seed = text.parse().unwrap();
            seed..seed + 1
        }
    }
}

#[test]
fn seeds_keep_every_promise() {
    let seeds: Vec<u64> = chosen().collect();
    let ran = run_all(&seeds);
    report("whole-brokers", &ran);
}

#[test]
fn seeds_that_once_failed_keep_every_promise() {
    let seeds: Vec<u64> = include_str!("seeds.txt")
        .lines()
        .filter_map(|line| line.split('#').next()?.trim().parse().ok())
        .collect();
    let ran = run_all(&seeds);
    report("whole-brokers-failed-once", &ran);
}

#[test]
fn a_seed_is_the_same_twice_and_differs_from_others() {
    let first: Vec<_> = (0..3).map(|seed| run(seed).hash).collect();
    let second: Vec<_> = (0..3).map(|seed| run(seed).hash).collect();
    assert_eq!(first, second, "one seed twice");
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
}

/// What one broker can meet of correctness.md's situations, by what tells of it: the broker's log,
/// what clients were told, the ends of lives. A run of many seeds must reach each.
const SITUATIONS: &[(&str, &str)] = &[
    ("H2 H9 a former incarnation is fenced and sealed", "former incarnation sealed"),
    ("H8 recovered records are in the bucket before they are served", "recovered"),
    ("H11b the power goes between write and sync", "life: power cut"),
    (
        "H12 a failed write or sync ends the incarnation",
        "the write-ahead log's disk failed, nothing more is acknowledged",
    ),
    ("H18 a batch's fate is unknown", "told: produce 7"),
    ("H18 a batch is refused for certain", "told: produce 6"),
    ("H21 a drain empties the folder", "life: drained"),
    (
        "H22 the bucket is away and the WAL is full",
        "the WAL budget is used up, writes are refused until the bucket takes what waits",
    ),
    ("H28 H29 a put's answer is lost", "put unknown"),
    ("H29 a put lands late", "delayed put arrives"),
    ("H32 entries go behind the floor", "log trimmed"),
    ("H34 a snapshot is not written", "a snapshot was not written, the next one makes good for it"),
    (
        "H36 the bucket is slow or away",
        "the bucket is away, writes go on until the WAL budget is used up",
    ),
    ("H44 an unlinked object is deleted", "deleted from the bucket"),
    ("H45 H46 an orphan is swept", "orphans deleted"),
    ("H50 bytes come damaged out of the bucket", "the bucket holds damaged bytes"),
    ("H53 the wall clock jumps", "fault: Jump"),
    ("H53 retention takes records", "retention"),
    ("H55 a batch sent again is acknowledged", "told: produce 0, of a batch sent again"),
    ("H60 a group is asked before it is loaded", "told: committed 14"),
];
/// So many seeds must reach them all.
const MANY: usize = 300;

fn report(what: &str, ran: &[Ran]) {
    let sum = |of: fn(&Ran) -> u64| ran.iter().map(of).sum::<u64>();
    println!(
        "layer {what}: {} seeds, {} events, {} lives, {} crashes, {} faults, {} requests to the bucket, \
         {} records acknowledged, {} read, {} virtual seconds",
        ran.len(),
        sum(|ran| ran.events),
        sum(|ran| ran.lives),
        sum(|ran| ran.crashes),
        sum(|ran| ran.faults),
        sum(|ran| ran.requests),
        sum(|ran| ran.acknowledged),
        sum(|ran| ran.read),
        sum(|ran| ran.seconds),
    );
    let mut reached = BTreeMap::new();
    for (name, times) in ran.iter().flat_map(|ran| &ran.reached) {
        *reached.entry(name.clone()).or_insert(0) += times;
    }
    for (name, times) in &reached {
        println!("{times:>8}  {name}");
    }
    let mut never = Vec::new();
    for (situation, by) in SITUATIONS {
        let times = reached.get(*by).copied().unwrap_or(0);
        println!("{times:>8}  {situation}");
        if times == 0 {
            never.push(*situation);
        }
    }
    let failed: Vec<_> = ran.iter().filter_map(|ran| ran.failed.as_deref()).collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(ran.len() < MANY || never.is_empty(), "never reached: {never:?}");
}
