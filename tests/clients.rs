//! Real clients in other languages against a real broker on real stores. They need what
//! `scripts/setup` installs, so plain `cargo test` leaves them out: `scripts/test` runs them.

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use support::{
    installed::{cache, run as client},
    process::Setup,
    topics,
};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// The whole package index of this Debian.
fn index(root: &Path) -> PathBuf {
    let dumped = Command::new("apt-cache").arg("dumpavail").output().unwrap();
    assert!(dumped.status.success());
    let file = root.join("index");
    std::fs::write(&file, dumped.stdout).unwrap();
    file
}

/// A setup on the S3 server whose start `localstack/servers env` told of.
fn on_server(root: &Path, name: &str) -> Setup {
    let variable = format!("STRANDLINE_TEST_S3_{name}");
    let told = std::env::var(&variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test"));
    let [endpoint, bucket, key, secret] = told.split(',').collect::<Vec<_>>()[..] else {
        panic!("{variable} is ENDPOINT,BUCKET,KEY,SECRET");
    };
    let mut setup = Setup::folders(root).with(&["--s3-endpoint", endpoint]);
    setup.bucket = format!("s3://{bucket}/{}", root.file_name().unwrap().to_str().unwrap());
    setup.variables = [
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    setup
}

/// Every stanza of the index through librdkafka in, through a kafkajs group out; then once more
/// from the bucket alone, after a drain and on another disk.
async fn the_index_goes_through(root: &Path, setup: &Setup) {
    let file = index(root);
    let broker = setup.start();
    let mut control = topics::connect(&broker.kafka()).await;
    topics::create(&mut control, "debian", 8, &[]).await;
    let python = cache().join("clients/bin/python");
    let produced = client(
        Command::new(python).arg(script("debian.py")).args([&broker.kafka(), "debian"]).arg(&file),
    );
    let produced: u64 = produced.trim().parse().unwrap();
    assert!(produced > 50_000, "only {produced} records in the index");
    let consume = |address: &str, group: &str| {
        let mut command = Command::new("node");
        command.arg(script("debian.mjs")).args([address, "debian"]).arg(&file).arg(group);
        client(&mut command).trim().parse::<u64>().unwrap()
    };
    assert_eq!(consume(&broker.kafka(), "tail"), produced);
    assert!(broker.drain(Duration::from_secs(90)).success());
    let elsewhere = setup.elsewhere(root).start();
    assert_eq!(consume(&elsewhere.kafka(), "bucket"), produced);
    println!("{produced} records on {}", setup.bucket);
}

#[tokio::test]
#[ignore = "needs scripts/setup"]
async fn the_debian_index_survives_the_folder_record_by_record() {
    let root = tempfile::tempdir().unwrap();
    the_index_goes_through(root.path(), &Setup::folders(root.path())).await;
}

#[tokio::test]
#[ignore = "needs scripts/setup"]
async fn the_debian_index_survives_minio_record_by_record() {
    let root = tempfile::tempdir().unwrap();
    the_index_goes_through(root.path(), &on_server(root.path(), "MINIO")).await;
}

#[tokio::test]
#[ignore = "needs scripts/setup"]
async fn the_debian_index_survives_localstack_record_by_record() {
    let root = tempfile::tempdir().unwrap();
    the_index_goes_through(root.path(), &on_server(root.path(), "LOCALSTACK")).await;
}

/// What the broker says of a client that wants transactions.
const NO_TRANSACTIONS: &str = "refused: transactions are not served yet";

/// Every fact of a suite holds, each with topics of its own, and the broker has nothing to
/// complain about but the protocols and the transactional id it is offered on purpose.
fn the_suite_holds(suite: &mut Command) {
    let root = tempfile::tempdir().unwrap();
    let broker = Setup::folders(root.path()).start();
    print!("{}", client(suite.arg(broker.kafka())));
    let log = broker.log();
    let noise = |line: &&str| {
        (line.contains("WARN") || line.contains("ERROR"))
            && !line.contains("is not served")
            && !line.contains(NO_TRANSACTIONS)
    };
    assert_eq!(log.lines().find(noise), None, "noise in the log");
    assert_eq!(log.matches(NO_TRANSACTIONS).count(), 1, "one line, so it asked once");
}

fn python(name: &str) -> Command {
    let mut command = Command::new(cache().join("clients/bin/python"));
    command.arg(script(name));
    command
}

/// One of the Go clients.
fn go(name: &str) -> Command {
    let mut command = Command::new(cache().join("clients/go/suites"));
    command.arg(name);
    command
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_librdkafka_depend_on_holds() {
    the_suite_holds(&mut python("confluent_suite.py"));
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_an_old_librdkafka_depend_on_holds() {
    the_suite_holds(&mut python("kcat_suite.py"));
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_kafka_python_depend_on_holds() {
    the_suite_holds(&mut python("kafka_python_suite.py"));
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_aiokafka_depend_on_holds() {
    the_suite_holds(&mut python("aiokafka_suite.py"));
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_franz_go_depend_on_holds() {
    the_suite_holds(&mut go("franz"));
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_sarama_depend_on_holds() {
    the_suite_holds(&mut go("sarama"));
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_segmentio_kafka_go_depend_on_holds() {
    the_suite_holds(&mut go("segmentio"));
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_rdkafka_depend_on_holds() {
    the_suite_holds(&mut Command::new(cache().join("clients/rust/debug/rust-suite")));
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_kafkajs_depend_on_holds() {
    the_suite_holds(Command::new("node").arg(script("kafkajs_suite.mjs")));
}
