//! `serve --check`: a checklist that is right, and changes nothing.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    process::{Broker, Setup, files, free_port},
    s3_double::S3Double,
    topics::{self, batch},
};

const SOON: Duration = Duration::from_secs(60);

fn run(setup: &Setup, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(["serve", "--check", "--bucket", &setup.bucket, "--wal-dir"])
        .arg(&setup.wal)
        .args(["--kafka-listen", &format!("127.0.0.1:{}", setup.kafka)])
        .args(["--http-listen", &format!("127.0.0.1:{}", setup.http)])
        .args(&setup.arguments)
        .args(more)
        .envs(setup.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Whether a broker could start, and of each check its verdict, text and advice.
struct Checked {
    ok: bool,
    checks: Vec<Value>,
}

impl Checked {
    fn of(setup: &Setup) -> Self {
        Self::with(setup, &[])
    }

    fn with(setup: &Setup, more: &[&str]) -> Self {
        let done = run(setup, &[&["--json"], more].concat());
        let document: Value = serde_json::from_slice(&done.stdout).unwrap();
        let ok = document["ok"].as_bool().unwrap();
        assert_eq!(done.status.code(), Some(i32::from(!ok)), "{document:#}");
        Self { ok, checks: document["checks"].as_array().unwrap().clone() }
    }

    fn check(&self, about: &str) -> &Value {
        let found = self.checks.iter().find(|check| check["about"] == about);
        found.unwrap_or_else(|| panic!("no check of {about}: {:#?}", self.checks))
    }

    /// That this was found of it, with these words.
    fn is(&self, about: &str, verdict: &str, words: &str) {
        let check = self.check(about);
        let found = check["found"].as_str().unwrap();
        assert!(check["verdict"] == verdict && found.contains(words), "{check:#}");
        let advised = check["advice"].as_str().is_some_and(|advice| !advice.is_empty());
        assert_eq!(advised, verdict != "ok", "{check:#}");
    }
}

fn drained(broker: Broker) {
    assert!(broker.drain(SOON).success());
}

/// Everything below `folder` but the places of the contract test's throw-away objects.
fn kept(folder: &Path) -> Vec<String> {
    let mut found = files(folder);
    found.retain(|name| !name.ends_with("broker.log"));
    found
}

#[test]
fn a_new_place_is_found_good_and_nothing_is_made() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let checked = Checked::of(&setup);
    assert!(checked.ok, "{:#?}", checked.checks);
    checked.is("settings", "ok", "every setting holds");
    checked.is("wal folder", "ok", "is new");
    checked.is("bucket", "ok", "is new");
    checked.is("cluster", "ok", "the first start makes one");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "something was made");
    let said = String::from_utf8(run(&setup, &[]).stdout).unwrap();
    assert!(said.ends_with("a broker can start with this\n"), "{said}");
}

#[test]
fn a_running_broker_is_in_the_way_and_a_drained_one_is_not() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    let broker = setup.start();
    let checked = Checked::of(&setup);
    assert!(!checked.ok);
    checked.is("kafka port", "failed", "in use");
    checked.is("http port", "failed", "in use");
    checked.is("wal folder", "failed", "another process uses");
    let elsewhere = Checked::of(&setup.elsewhere(root.path()));
    elsewhere.is("lease", "failed", "holds this cluster and answers");
    drained(broker);
    let before = kept(root.path());
    let checked = Checked::of(&setup);
    assert!(checked.ok, "{:#?}", checked.checks);
    checked.is("contract", "ok", "promises tried and kept");
    checked.is("lease", "ok", "released");
    checked.is("not uploaded", "ok", "nothing");
    assert_eq!(kept(root.path()), before, "the check left something or took it away");
    // And the broker goes on as if nobody had looked.
    drained(setup.start());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_uploaded_is_counted_and_a_dead_holder_is_named() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path()).with(&["--roll-after", "1h"]);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, "t", 1, &[]).await;
    client.produce("t", 0, batch(&[&[b'x'; 30_000]])).await.unwrap();
    broker.kill();
    let checked = Checked::of(&setup);
    assert!(checked.ok, "{:#?}", checked.checks);
    checked.is("not uploaded", "note", "a start uploads them");
    checked.is("lease", "ok", "a start takes it back at once");
    let elsewhere = Checked::of(&setup.elsewhere(root.path()));
    elsewhere.is("lease", "note", "does not answer");
    drained(setup.start());
}

#[test]
fn folder_and_bucket_of_two_clusters_are_not_taken_for_one() {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    let (one, two) = (Setup::folders(&one), Setup::folders(&two));
    for setup in [&one, &two] {
        std::fs::create_dir(setup.log.parent().unwrap()).unwrap();
        drained(setup.start());
    }
    let mixed = Setup { wal: two.wal.clone(), ..one.clone() };
    Checked::of(&mixed).is("cluster", "failed", "the bucket to");
    let lost = Setup { bucket: format!("{}/elsewhere", one.bucket), ..one };
    Checked::of(&lost).is("cluster", "failed", "the bucket has none");
}

#[test]
fn a_copy_of_the_wal_folder_that_was_put_back_is_found() {
    let root = tempfile::tempdir().unwrap();
    let setup = Setup::folders(root.path());
    drained(setup.start());
    let copy = root.path().join("copy");
    let copied = Command::new("cp").arg("-r").args([&setup.wal, &copy]).status().unwrap();
    assert!(copied.success());
    drained(setup.start());
    assert!(Checked::of(&setup).ok);
    let back = Setup { wal: copy, ..setup };
    Checked::of(&back).is("cluster", "failed", "a copy or snapshot was put back");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failed_line_says_what_to_do() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double);
    let checked = Checked::of(&setup);
    assert!(checked.ok, "{:#?}", checked.checks);
    double.always(Some((403, "AccessDenied")));
    let denied = Checked::of(&setup);
    denied.is("bucket", "failed", "AccessDenied");
    assert!(denied.check("bucket")["advice"].as_str().unwrap().contains("credentials"));
    let gone = setup.clone().with(&["--s3-endpoint", &format!("http://127.0.0.1:{}", free_port())]);
    let mut gone = gone;
    gone.arguments.drain(..2);
    let gone = Checked::of(&gone);
    assert!(gone.check("bucket")["advice"].as_str().unwrap().contains("reachable"));
    let folders = Setup::folders(root.path());
    Checked::with(&folders, &["--kafka", "num.partitions=0"]).is("settings", "failed", "--kafka");
    let checked = Checked::with(&folders, &["--roll-bytes", "5GiB"]);
    checked.is("settings", "failed", "between 64KiB and 1GiB");
    let file = root.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let nowhere = Setup { wal: file.join("wal"), ..folders };
    Checked::of(&nowhere).is("wal folder", "failed", "");
}
