//! `strandline bench`: load on any Kafka-compatible cluster, and what it measured.
//!
//! Owns: the loads, their settings, the report. Does not own: the wire (`client`).
//! Invariants: a request that was due is measured from when it was due, sent or not (no
//! coordinated omission); with no rate given it is measured from when it was sent.

mod bucket;
mod consume;
mod pace;
mod payload;
mod produce;
mod progress;
mod report;
mod target;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};

use self::{report::Report, target::Target};
use crate::{config, record::Compression, types::ByteCount};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Write as fast as the cluster takes it, or at a rate
    Produce(Produce),
    /// Read a topic once, its partitions shared among the connections
    Consume(Consume),
    /// Write single records at a steady rate and measure each acknowledgement
    Latency(Latency),
    /// Read a topic from its beginning by many consumers at once, each all of it
    Replay(Replay),
    /// Read the objects of records in a bucket by parallel ranged GETs, with no broker: what a
    /// replay from it can reach
    Bucket(bucket::Bucket),
}

/// How long a load goes on and how it is reported.
#[derive(Args, Debug)]
struct Run {
    #[command(flatten)]
    target: Target,
    /// Stop after this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = config::duration)]
    duration: Duration,
    /// Go on this long before anything is measured
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = config::duration)]
    warm_up: Duration,
    /// Stop after this many records, those of the warm-up among them, if that comes first
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Produce {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    shape: Shape,
    /// Bytes of records in one request
    #[arg(long, value_name = "SIZE", default_value = "1000KiB", value_parser = config::bytes)]
    batch_bytes: ByteCount,
    /// Records per second in all; without it, as fast as possible
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Requests each connection may have unanswered
    #[arg(long, value_name = "N", default_value_t = 5)]
    in_flight: u32,
    /// Compression of the batches; records are then half as compressible as text
    #[arg(long, value_name = "CODEC", default_value = "none", value_parser = codec)]
    compression: Compression,
}

#[derive(Args, Debug)]
pub(super) struct Latency {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    shape: Shape,
    /// Records per second in all, one to a request
    #[arg(long, value_name = "N", default_value_t = 500.0)]
    rate: f64,
}

/// What is written and by whom.
#[derive(Args, Debug)]
struct Shape {
    /// Bytes of one record's value
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = config::bytes)]
    record_bytes: ByteCount,
    /// Connections, the partitions shared among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Partitions of the topic, if it has to be created
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    partitions: i32,
    /// Who must have a record before it is acknowledged: all, or the leader alone (1)
    #[arg(long, value_name = "all|1", default_value = "all", value_parser = acks)]
    acks: i16,
}

#[derive(Args, Debug)]
pub(super) struct Consume {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    reading: Reading,
    /// Connections, the partitions shared among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Start at the end and read what is being written
    #[arg(long, conflicts_with = "times")]
    tail: bool,
    /// Read all of it so many times, one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
}

#[derive(Args, Debug)]
pub(super) struct Replay {
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    reading: Reading,
    /// Consumers, each with a connection to every leader
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    consumers: u32,
}

/// How much one fetch asks for.
#[derive(Args, Clone, Copy, Debug)]
struct Reading {
    /// Most bytes of one partition in one fetch
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = config::bytes)]
    partition_bytes: ByteCount,
    /// Most bytes of one fetch
    #[arg(long, value_name = "SIZE", default_value = "50MiB", value_parser = config::bytes)]
    fetch_bytes: ByteCount,
}

fn codec(text: &str) -> Result<Compression, String> {
    match text {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        "lz4" => Ok(Compression::Lz4),
        "zstd" => Ok(Compression::Zstd),
        other => Err(format!("{other} is none of none, gzip, snappy, lz4, zstd")),
    }
}

fn acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        other => {
            Err(format!("{other} is neither all nor 1; without an answer nothing is measured"))
        }
    }
}

pub(super) fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Produce(order) => put(produce::at_full_speed(order), &order.run),
        Action::Latency(order) => put(produce::one_by_one(order), &order.run),
        Action::Consume(order) => put(consume::once(order), &order.run),
        Action::Replay(order) => put(consume::many_times(order), &order.run),
        Action::Bucket(order) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(bucket::read(order))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Puts the load on and reports.
fn put(load: impl Future<Output = anyhow::Result<Report>>, run: &Run) -> anyhow::Result<ExitCode> {
    // One thread: the load generator should leave the other cores to the broker beside it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(load)?;
    report.print(run.json)?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
