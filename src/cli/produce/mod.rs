//! `strandline produce`: records from standard input to a topic.
//!
//! Owns: what a line becomes, batches, who gets them, what became of each record. Does not own: the
//! wire (`client`). Invariants: records of one partition land in the order they were read, each
//! once unless `--acks` is less than all; a record that was not taken is named by its number.

mod batch;
mod input;
mod send;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use self::{batch::Router, input::Source, send::Producer};
use super::{
    grammar::{self, Separator},
    output,
    target::{self, Target, Trouble},
};
use crate::{
    client::Cluster,
    env::{clock, standard, task},
    record::{Compression, Header},
    types::ByteCount,
};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  echo hello | strandline produce tide
  strandline produce tide -K : < keyed-lines
  strandline produce tide -k boat -H kind=test -f whole < photo.jpg
  strandline consume tide --json -e | strandline produce copy -f json

A line of JSON may have key, value, headers, partition and timestamp (milliseconds), all optional:
  {\"key\":\"a\",\"value\":\"1\",\"headers\":[{\"key\":\"h\",\"value\":\"x\"}],\"partition\":0,\"timestamp\":0}
key_base64 and value_base64 are for bytes that are not text; a value that is not a string is
written as JSON; a value of null is a tombstone.")]
pub(super) struct Order {
    #[command(flatten)]
    target: Target,
    /// Name of the topic; one that is not there is made if the brokers are set to
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// What a record is in the input
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "lines")]
    format: Format,
    /// Key of every record that has none of its own
    #[arg(short, long, value_name = "KEY", conflicts_with = "key_separator")]
    key: Option<String>,
    /// What parts key and value in a line, as : or \t
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = grammar::separator)]
    key_separator: Option<Separator>,
    /// A header of every record; repeat it for more
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = grammar::pair)]
    header: Vec<(String, String)>,
    /// Write to this partition; without it by key as Kafka's Java clients do, keyless in turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// An empty value is a tombstone
    #[arg(short = 'Z', long)]
    tombstone: bool,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = codec)]
    compression: Compression,
    /// Who must have a record before it counts: all, the leader alone (1), nobody (0)
    #[arg(long, value_name = "all|1|0", default_value = "all", value_parser = acks)]
    acks: i16,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What a record is in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line
    Lines,
    /// A line of JSON
    Json,
    /// A line in hexadecimal
    Hex,
    /// A line in Base64
    Base64,
    /// All of the input
    Whole,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    topic: String,
    records: u64,
    bytes: u64,
    failed: u64,
}

fn codec(text: &str) -> Result<Compression, String> {
    let all = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let found = all.into_iter().find(|codec| codec.name() == text);
    found.ok_or_else(|| "there are none, gzip, snappy, lz4, zstd".to_owned())
}

fn acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        "0" => Ok(0),
        _ => Err("there are all, 1, 0".to_owned()),
    }
}

/// Chunks of the input that are read and not yet taken, at most; the reader then waits.
const READ_AHEAD: usize = 8;
/// How long records wait for more to go with.
const LINGER: std::time::Duration = std::time::Duration::from_millis(5);

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    let count = partitions(order, &mut cluster).await?;
    let header = |(name, value): &(String, String)| Header {
        key: name.clone().into_bytes().into(),
        value: Some(value.clone().into_bytes().into()),
    };
    let router = Router {
        partitions: count,
        fixed: order.partition,
        key: order.key.clone().map(|key| key.into_bytes().into()),
        headers: order.header.iter().map(header).collect(),
        turn: 0,
    };
    let source = Source {
        format: order.format,
        separator: order.key_separator.clone().map(|separator| separator.0),
        empty_is_tombstone: order.tombstone,
    };
    let (read, mut reading) = mpsc::channel(READ_AHEAD);
    if std::io::stdin().is_terminal() {
        output::note(format!("each line is a record of {}; end with Ctrl-D", order.topic));
    }
    task::thread("stdin", move || source.read_all(&read))?;
    let bar = progress();
    let mut producer = Producer::new(order, cluster, router).await?;
    let mut failed = None;
    while failed.is_none()
        && let Some(chunk) = reading.recv().await
    {
        failed = producer.take_all(chunk).err();
        // What comes at once goes together; nobody waits for a line that is still typed.
        while failed.is_none()
            && !producer.is_full()
            && let Ok(Some(chunk)) = clock::timeout(LINGER, reading.recv()).await
        {
            failed = producer.take_all(chunk).err();
        }
        producer.flush().await?;
        bar.set_position(producer.input_bytes());
    }
    producer.flush().await?;
    bar.finish_and_clear();
    if let Some(failed) = failed {
        return Err(failed);
    }
    report(order, producer.report())
}

/// How many partitions the topic has.
async fn partitions(order: &Order, cluster: &mut Cluster) -> anyhow::Result<i32> {
    /// LEADER_NOT_AVAILABLE, what a broker says of a topic it just makes
    const COMING: i16 = 5;
    /// UNKNOWN_TOPIC_OR_PARTITION
    const NOT_THERE: i16 = 3;
    let names = [order.topic.clone()];
    let before = cluster.metadata(Some(&names), false).await?;
    let is_new = before.topics.get(&order.topic).is_none_or(|topic| topic.code == NOT_THERE);
    let metadata = cluster.patiently(async |cluster| {
        let metadata = cluster.metadata(Some(&names), true).await?;
        match metadata.topics.get(&order.topic).map(|topic| topic.code) {
            Some(COMING) => Err(crate::client::Error::Refused(COMING)),
            // Kafka says so too while it makes the topic, and for ever where it may not.
            Some(NOT_THERE) if is_new => Ok(None),
            _ => Ok(Some(metadata)),
        }
    });
    let metadata = match metadata.await? {
        Some(metadata) => metadata,
        None => made(cluster, &names).await?,
    };
    let topic = target::topic(&metadata, &order.topic)?;
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    if is_new {
        let count = output::count(count, "partition");
        output::note(format!("the topic {} was not there; made it with {count}", order.topic));
    }
    if let Some(partition) = order.partition.filter(|partition| *partition >= count) {
        let (name, last) = (&order.topic, count.saturating_sub(1));
        let text = format!("the topic {name} has no partition {partition}; it has 0 to {last}");
        return Err(Trouble::NotThere(text).into());
    }
    Ok(count)
}

/// Waits a little for a topic that Kafka makes after it has said it is not there.
async fn made(
    cluster: &mut Cluster,
    names: &[String; 1],
) -> anyhow::Result<crate::client::Metadata> {
    const TRIES: u32 = 20;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
    let [name] = names;
    for _ in 0..TRIES {
        let metadata = cluster.metadata(Some(names), false).await?;
        let topic = metadata.topics.get(name);
        if topic.is_some_and(|it| it.code == 0 && !it.partitions.is_empty()) {
            return Ok(metadata);
        }
        clock::sleep(PAUSE).await;
    }
    let text = format!(
        "there is no topic {name}, and the brokers make none on demand; \
         `strandline topic create {name}` makes it"
    );
    Err(Trouble::NotThere(text).into())
}

/// How much of a file is read, for one who watches.
fn progress() -> ProgressBar {
    let length = standard::input_file_bytes();
    match length {
        Some(length) if std::io::stderr().is_terminal() => {
            let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            let style = ProgressStyle::with_template(style);
            let bar = ProgressBar::new(length);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        }
        _ => ProgressBar::hidden(),
    }
}

fn report(order: &Order, report: &Report) -> anyhow::Result<ExitCode> {
    if order.json {
        output::json(report)?;
    } else if std::io::stderr().is_terminal() {
        let count = output::count(report.records, "record");
        let bytes = ByteCount(report.bytes);
        output::note(format!("wrote {count} ({bytes}) to {}", order.topic));
    }
    if report.failed > 0 {
        let count = output::count(report.failed, "record");
        output::error(&anyhow::anyhow!("{count} of the input did not get into {}", order.topic));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
