//! A controller that dies at every request it makes to the bucket, done or not done.
//!
//! The script makes a cluster, commits, writes snapshots, raises the floor, deletes behind it, and
//! releases its lease. Invariant: whoever starts then finds all that was answered as done, nothing
//! that was refused, and one whole chain; and may die the same way.

use std::time::Duration;

use super::controller::{Bench, set};
use crate::{
    cluster::{Config, State},
    env::sim::proof::{grouped, on_one_thread},
    store::path,
    types::MetadataIndex,
};

const COMMITS: u64 = 14;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.config =
        Config { snapshot_entries: 4, keep_entries: 2, keep_for: Duration::ZERO, ..bench.config };
    bench
}

/// Lives until the bucket goes away, which it does after so many requests; the names that were
/// answered as done.
async fn live(bench: &Bench, life: usize, cut: Option<(u64, bool)>, done: &mut Vec<String>) {
    bench.faulty.calm();
    // It is there now.
    drop(bench.store.get(&path::cluster()).await);
    if let Some((requests, applied)) = cut {
        bench.faulty.cut_after(requests, applied);
    }
    let mut away = bench.store.subscribe_away();
    let living = async {
        // The same folder each time: a start takes its lease at once.
        let (cluster, tasks) = bench.start(1).await;
        for number in 0..COMMITS {
            let name = format!("c{life}.{number}");
            if cluster.commit(set(&name)).await.is_ok() {
                done.push(name);
            }
            // The keeper gets a turn.
            tokio::task::yield_now().await;
        }
        cluster.release_lease().await;
        tasks.abort().await;
    };
    tokio::select! {
        biased;
        _ = away.changed() => {}
        () = living => {}
    }
}

/// Everything that was answered is there, in one chain.
async fn check(bench: &Bench, done: &[String], told: &str) {
    let (cluster, tasks) = bench.start(1).await;
    let state = cluster.state();
    let lost: Vec<_> =
        done.iter().filter(|name| !state.cluster_configs.contains_key(*name)).collect();
    assert!(lost.is_empty(), "{told}: lost {lost:?}");
    tasks.abort().await;
    let floor = bench.floor().await.map_or(MetadataIndex(0), |floor| floor.floor);
    if floor == MetadataIndex(0) {
        let mut again = State::new(state.cluster_id);
        while let Some(entry) = bench.entry(again.index.next()).await {
            again.apply(&entry).unwrap();
        }
        assert_eq!(again.hash, state.hash, "{told}: the log is another than its controller's");
    }
    for index in floor.0 + 1..=state.index.0 {
        assert!(bench.entry(MetadataIndex(index)).await.is_some(), "{told}: no entry {index}");
    }
    let newest = bench.floor().await.and_then(|floor| floor.snapshots.first().copied());
    if let Some(name) = newest {
        let key = path::snapshot(name.index, &name.digest.to_string());
        assert!(bench.store.get(&key).await.is_ok(), "{told}: the floor names no snapshot");
    }
}

/// How many requests the whole script makes.
fn requests() -> u64 {
    on_one_thread(async {
        let bench = bench();
        live(&bench, 1, None, &mut Vec::new()).await;
        bench.faulty.requests()
    })
}

/// Cut at every `step`th request, twice in a row; how many images were looked at.
fn cut_everywhere(step: usize) -> (u64, u64) {
    let (mut points, mut images) = (0, 0);
    for request in (1..=requests()).step_by(step) {
        for done in [false, true] {
            on_one_thread(async {
                let (bench, mut answered) = (bench(), Vec::new());
                live(&bench, 1, Some((request, done)), &mut answered).await;
                // The one after it dies as well, somewhere in its start or soon after it.
                live(&bench, 2, Some((1 + request % 23, !done)), &mut answered).await;
                bench.faulty.calm();
                drop(bench.store.get(&path::cluster()).await);
                check(&bench, &answered, &format!("cut at request {request}, done: {done}")).await;
            });
            points += 2;
            images += 1;
        }
    }
    (points, images)
}

fn told(what: &str, (points, images): (u64, u64)) {
    println!("layer crash-points: {} points, {} images ({what})", grouped(points), grouped(images));
}

#[test]
fn a_controller_that_dies_at_a_request_loses_nothing_it_answered() {
    told("metadata, sampled", cut_everywhere(9));
}

#[test]
#[ignore = "CI: every request"]
fn a_controller_that_dies_at_any_request_loses_nothing_it_answered() {
    told("metadata", cut_everywhere(1));
}
