//! The same requests to Apache Kafka and to a broker of this build, in every version of every API:
//! the answers are equal, or `docs/compatibility.md` says how and why they differ. Needs what
//! `scripts/setup kafka` installs, so plain `cargo test` leaves it out: `scripts/test` runs it.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::{
    fs::File,
    io::Write,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use support::process::{Setup, free_port};

/// What both brokers are told: one broker's id, and groups that do not wait long for more members.
const DELAY: &str = "group.initial.rebalance.delay.ms";
const DELAY_MS: u32 = 20;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Apache Kafka as a real process; dropped, it is killed.
struct Kafka {
    child: Child,
    port: u16,
}

impl Kafka {
    fn start(folder: &Path) -> Self {
        let port = two_free_ports();
        let log = File::create(folder.join("kafka.log")).unwrap();
        let child = Command::new(root().join("tests/java/apache-kafka"))
            .arg("run")
            .arg(folder.join("kafka"))
            .args([port.to_string(), format!("{DELAY}={DELAY_MS}")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, port }
    }

    fn wait_ready(&mut self, limit: Duration) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "Apache Kafka ended");
            assert!(began.elapsed() < limit, "Apache Kafka does not listen after {limit:?}");
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A free port with a free one above it: Kafka's controller listens there.
fn two_free_ports() -> u16 {
    loop {
        let port = free_port();
        if TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

/// A broker with the settings that are Kafka's here.
fn strandline(folder: &Path) -> Setup {
    let config = folder.join("strandline.toml");
    std::fs::write(&config, format!("[kafka]\n\"{DELAY}\" = {DELAY_MS}\n")).unwrap();
    let mut setup = Setup::folders(folder).with(&["--broker-id", "1"]);
    setup.bucket = "memory://".to_owned();
    setup.variables.push(("STRANDLINE_CONFIG".to_owned(), config.display().to_string()));
    setup
}

#[test]
#[ignore = "needs scripts/setup"]
fn every_answer_is_apache_kafkas_or_explained() {
    let folder = tempfile::tempdir().unwrap();
    let mut kafka = Kafka::start(folder.path());
    let broker = strandline(folder.path()).start();
    kafka.wait_ready(Duration::from_secs(120));
    let done = Command::new(root().join("tests/conformance/run"))
        .args([broker.kafka(), format!("127.0.0.1:{}", kafka.port)])
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&done.stdout));
    let trouble = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}\n{trouble}", done.status);
}

/// What a command printed, in sorted lines, and its exit code; the address it was told is not.
fn told(bootstrap: &str, arguments: &[&str], input: &[u8]) -> (i32, Vec<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(arguments)
        .env("STRANDLINE_BOOTSTRAP", bootstrap)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read everything.
    drop(stdin.write_all(input));
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&done.stdout).replace(bootstrap, "ADDRESS");
    let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    (done.status.code().unwrap(), lines)
}

#[test]
#[ignore = "needs scripts/setup"]
fn the_commands_do_and_say_the_same_at_apache_kafka() {
    let folder = tempfile::tempdir().unwrap();
    let mut kafka = Kafka::start(folder.path());
    let broker = strandline(folder.path()).start();
    kafka.wait_ready(Duration::from_secs(120));
    let (ours, theirs) = (broker.kafka(), format!("127.0.0.1:{}", kafka.port));
    let keyed = "a:1\nb:2\nc:3\na:4\n".repeat(1000);
    let commands: &[(&[&str], &str)] = &[
        (&["topic", "create", "tide", "-p", "3", "-r", "1", "-c", "retention.ms=3600000"], ""),
        (&["topic", "create", "tide"], ""),
        (&["topic", "create", "a b"], ""),
        (&["topic", "list", "tide"], ""),
        (&["produce", "tide", "-K", ":", "-z", "zstd", "-H", "kind=test", "--json"], &keyed),
        (&["produce", "tide", "--acks", "1", "--partition", "0"], "one\ntwo\n"),
        (&["consume", "tide", "-e", "-f", "%p %o %k %v %h\\n"], ""),
        (&["consume", "tide", "-e", "-o", "-2", "-f", "%p %o %k %v\\n"], ""),
        (&["consume", "tide", "-e", "-g", "readers"], ""),
        (&["consume", "tide", "-e", "-g", "readers"], ""),
        (&["group", "list", "--json"], ""),
        (&["group", "describe", "readers"], ""),
        (&["group", "reset", "readers", "-t", "tide", "--by", "-5", "--yes"], ""),
        (&["group", "describe", "readers", "--json"], ""),
        (&["topic", "trim", "tide", "-o", "10", "--yes"], ""),
        (&["topic", "alter", "tide", "-p", "4", "--unset", "retention.ms"], ""),
        (&["config", "set", "--topic", "tide", "max.message.bytes=2000"], ""),
        (&["config", "get", "--topic", "tide", "max.message.bytes"], ""),
        (&["config", "set", "--topic", "tide", "nope=1"], ""),
        (&["produce", "tide"], &"x".repeat(5000)),
        (&["group", "delete", "readers", "--topic", "tide", "--yes"], ""),
        (&["group", "delete", "readers", "--yes"], ""),
        (&["group", "describe", "readers"], ""),
        (&["topic", "delete", "tide", "--yes"], ""),
        (&["consume", "tied", "-e"], ""),
    ];
    for (command, input) in commands {
        let at_kafka = told(&theirs, command, input.as_bytes());
        assert_eq!(told(&ours, command, input.as_bytes()), at_kafka, "{command:?}");
    }
}
