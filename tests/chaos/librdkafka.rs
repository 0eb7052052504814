//! librdkafka beside our own clients: producers and followers in processes of their own.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    history::{History, Op, Outcome, What},
    load::{PARTITIONS, TOPIC},
    support::installed::cache,
    world::SOON,
};

const PRODUCER: u32 = 20;
const FOLLOWER: u32 = 300;

/// Processes under load.
pub(crate) struct Clients {
    producers: Vec<Client>,
    followers: Vec<Client>,
    /// The machine's monotonic clock where the history began.
    began: u64,
}

struct Client {
    process: u32,
    partition: i32,
    child: Child,
    told: JoinHandle<Vec<String>>,
}

/// An operation as the script tells it.
#[derive(Deserialize)]
struct Line {
    start: u64,
    end: u64,
    outcome: Outcome,
    what: What,
}

impl Clients {
    pub(crate) fn start(address: &str, began: u64) -> Self {
        let all = |kind, first| {
            let client = |partition| Client::start(address, partition, kind, first);
            (0..PARTITIONS).map(client).collect()
        };
        Self { producers: all("produce", PRODUCER), followers: all("follow", FOLLOWER), began }
    }

    /// Ends the producers: what they sent is delivered, or given up.
    pub(crate) fn stop_producers(&mut self, history: &mut Vec<Op>) {
        for producer in self.producers.drain(..) {
            let ops = producer.finish("", self.began);
            assert!(ops.iter().any(|op| op.outcome == Outcome::Ok), "nothing was delivered");
            history.extend(ops);
        }
    }

    /// Lets the followers read to the ends, and adds all to the history.
    pub(crate) fn finish(self, sent: Vec<Op>, history: &mut History) {
        history.ops.extend(sent);
        for follower in self.followers {
            let (partition, process) = (follower.partition, follower.process);
            let end = history.finals.get(&partition).map_or(0, |log| log.end);
            history.ops.extend(follower.finish(&end.to_string(), self.began));
            let name = format!("librdkafka-{partition}");
            history.followers.insert(name, vec![process]);
            history.in_order.push(PRODUCER + u32::try_from(partition).unwrap());
        }
        history.ops.sort_by_key(|op| op.start);
    }
}

impl Client {
    fn start(address: &str, partition: i32, kind: &str, first: u32) -> Self {
        let process = first + u32::try_from(partition).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(cache().join("clients/bin/python"))
            .arg(root.join("tests/chaos/librdkafka.py"))
            .args([address, TOPIC, &partition.to_string(), kind, &process.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let told = std::thread::spawn(move || out.lines().map_while(Result::ok).collect());
        Self { process, partition, child, told }
    }

    fn finish(mut self, last: &str, began: u64) -> Vec<Op> {
        let mut stdin = self.child.stdin.take().unwrap();
        writeln!(stdin, "{last}").unwrap();
        drop(stdin);
        let until = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "librdkafka client {} ended with {status}", self.process);
                break;
            }
            if Instant::now() > until {
                // What it did not come to see is seen in the history.
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let lines = self.told.join().unwrap();
        let op = |line: String| {
            let Line { start, end, outcome, what } = serde_json::from_str(&line).unwrap();
            let reset = matches!((&what, outcome), (What::Assign { .. }, Outcome::Fail));
            assert!(!reset, "an offset that librdkafka had reached was out of range");
            let (process, partition) = (self.process, self.partition);
            let (start, end) = (start.saturating_sub(began), end.saturating_sub(began));
            Op { process, partition, start, end, outcome, what }
        };
        lines.into_iter().map(op).collect()
    }
}
