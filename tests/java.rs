//! Java clients, Kafka's own tools and a Streams application against a real broker. They need what `scripts/setup kafka` installs, so plain
//! `cargo test` leaves them out: `scripts/test` runs them where Java is.

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
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use support::{
    installed::{cache, run},
    process::{Broker, Setup},
};

/// What a program prints when it wants the broker killed and started again; it then waits for a
/// line that says it is done.
const KILL: &str = "kill -9 the broker";

/// The jars of a pom in `tests/java`.
fn jars(name: &str) -> String {
    cache().join("java").join(name).join("*").display().to_string()
}

/// Compiles the sources in folders of `tests/java` against jars; gives the class path of both.
fn compile(root: &Path, jars: &str, folders: &[&str]) -> String {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java");
    let files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(sources.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    let classes = root.join("classes");
    let mut javac = Command::new("javac");
    run(javac.args(["-nowarn", "-cp", jars, "-d"]).arg(&classes).args(files));
    format!("{}:{jars}", classes.display())
}

fn java(class_path: &str, main: &str) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java.args(["-cp", class_path, main]);
    java
}

/// A broker that publishes while the clients run.
fn broker(root: &Path) -> Broker {
    Setup::folders(root).with(&["--roll-after", "1s"]).start()
}

/// Clients that behave are no news: since it serves the broker has had nothing to say but to the one
/// that wanted transactions.
fn nothing_was_logged(broker: &Broker) {
    let log = broker.log();
    let (_, since) = log.rsplit_once(r#""message":"started""#).unwrap();
    let news =
        |line: &&str| line.starts_with('{') && !line.contains("transactions are not served yet");
    let said: Vec<_> = since.lines().filter(news).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
}

/// Facts, each with topics of its own, run by a main class.
fn the_facts_hold(version: &str, folders: &[&str], main: &str) {
    let root = tempfile::tempdir().unwrap();
    let class_path = compile(root.path(), &jars(version), folders);
    let broker = broker(root.path());
    print!("{}", run(java(&class_path, main).arg(broker.kafka())));
    nothing_was_logged(&broker);
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_the_current_java_client_depend_on_holds() {
    the_facts_hold("kafka-4.3", &["clients", "current"], "Suite");
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_an_old_java_client_depend_on_holds() {
    the_facts_hold("clients-2.8", &["clients", "old"], "Suite");
}

#[test]
#[ignore = "needs scripts/setup"]
fn what_users_of_kafka_s_own_tools_depend_on_holds() {
    the_facts_hold("kafka-4.3", &["clients", "current", "tools"], "Tools");
}

/// The descriptions of all packages of this Debian, one a line.
fn descriptions(root: &Path) -> PathBuf {
    let index = run(Command::new("apt-cache").arg("dumpavail"));
    let lines: Vec<_> = index.lines().filter(|line| line.starts_with("Description: ")).collect();
    assert!(lines.len() > 10_000, "only {} packages", lines.len());
    let file = root.join("descriptions");
    std::fs::write(&file, lines.join("\n")).unwrap();
    file
}

/// Runs a main class that asks for kills of the broker in between.
fn lives_through_kills(main: &str, arguments: impl FnOnce(&Path) -> Vec<PathBuf>) {
    let root = tempfile::tempdir().unwrap();
    let class_path = compile(root.path(), &jars("kafka-4.3"), &["clients", "current", "kills"]);
    let mut broker = broker(root.path());
    let mut told = java(&class_path, main)
        .arg(broker.kafka())
        .args(arguments(root.path()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for line in BufReader::new(told.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        println!("{line}");
        if line == KILL {
            let setup = broker.setup.clone();
            broker.kill();
            broker = setup.start();
            told.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        }
    }
    assert!(told.wait().unwrap().success(), "{}", broker.log());
    nothing_was_logged(&broker);
}

#[test]
#[ignore = "needs scripts/setup"]
fn an_idempotent_producer_and_a_group_keep_order_through_kills_of_the_broker() {
    lives_through_kills("Order", |_| Vec::new());
}

#[test]
#[ignore = "needs scripts/setup"]
fn a_streams_word_count_is_right_through_kills_of_it_and_of_the_broker() {
    lives_through_kills("Counting", |root| vec![descriptions(root), root.join("state")]);
}
