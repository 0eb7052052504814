//! The commands for people, run as they run them.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "cli/buckets.rs"]
mod buckets;
#[path = "cli/fsck.rs"]
mod fsck;
#[path = "cli/groups.rs"]
mod groups;
#[path = "cli/looks.rs"]
mod looks;
#[path = "cli/records.rs"]
mod records;
#[path = "cli/run.rs"]
mod run;
mod support;
#[path = "cli/topics.rs"]
mod topics;

use std::process::{Command, Output};

use support::process::Setup;

fn strandline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strandline")).args(arguments).output().unwrap()
}

/// What a load of `bench` measured.
fn bench(load: &str, bootstrap: &str, more: &[&str]) -> serde_json::Value {
    let fixed = ["bench", load, "--bootstrap", bootstrap, "--json"];
    let done = strandline(&[&fixed, more].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn bench_reads_what_it_wrote() {
    let root = tempfile::tempdir().unwrap();
    let broker = Setup::folders(root.path()).start();
    let address = broker.kafka();
    let more = ["--partitions", "3", "--connections", "2", "--records", "500"];
    let written = bench("produce", &address, &[&more[..], &["--batch-bytes", "100KiB"]].concat());
    assert_eq!((&written["records"], &written["partitions"]), (&500.into(), &3.into()));
    let single = bench("latency", &address, &["--rate", "1000", "--records", "20"]);
    assert_eq!((&single["records"], &single["requests"]), (&20.into(), &20.into()));
    let read = bench("consume", &address, &["--connections", "2"]);
    assert_eq!(read["records"], 520);
    let read = bench("replay", &address, &["--consumers", "4"]);
    assert_eq!(read["records"], 4 * 520);
    assert_eq!(
        read["bytes"],
        4 * (written["bytes"].as_u64().unwrap() + single["bytes"].as_u64().unwrap())
    );
}

#[test]
fn bench_measures_what_came_after_the_warm_up_and_reads_as_often_as_told() {
    let root = tempfile::tempdir().unwrap();
    let broker = Setup::folders(root.path()).start();
    let address = broker.kafka();
    let warm = ["--warm-up", "300ms", "--duration", "300ms", "--rate", "1000"];
    let written = bench("latency", &address, &warm);
    let (all, measured) = (written["bytes_in_all"].as_u64().unwrap(), &written["bytes"]);
    assert!(measured.as_u64().unwrap() < all, "{written}");
    let requests = written["requests"].as_u64().unwrap();
    assert!((1..=300).contains(&requests), "what was due before is not measured: {written}");
    let read = bench("consume", &address, &["--times", "3"]);
    assert_eq!(read["bytes"].as_u64().unwrap(), 3 * all);
}

#[test]
fn bench_reads_the_objects_of_a_bucket() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let broker = setup.start();
    let written = bench("produce", &broker.kafka(), &["--records", "5000"]);
    assert!(broker.drain(std::time::Duration::from_secs(60)).success());
    let more = ["--bucket", &setup.bucket, "--range-bytes", "1MiB", "--json"];
    let done = strandline(&[&["bench", "bucket"], &more[..]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let read: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let (read, written) = (read["bytes"].as_u64().unwrap(), written["bytes"].as_u64().unwrap());
    assert!(read >= written, "{read} bytes in the bucket of {written} written");
}

#[test]
fn bench_says_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    let broker = Setup::folders(root.path()).start();
    let done = strandline(&["bench", "consume", "--bootstrap", &broker.kafka(), "--topic", "no"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1));
    assert!(said.contains("there is no topic no"), "{said}");
    let done = strandline(&["bench", "produce", "--bootstrap", "127.0.0.1:1"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("no broker answers at 127.0.0.1:1"), "{said}");
}
