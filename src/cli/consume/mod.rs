//! `strandline consume`: records of topics to standard output.
//!
//! Owns: from where to where, when to end, how records are written. Does not own: the wire
//! (`client`). Invariants: records of one partition come out in order; a reader of ours that has
//! seen enough and closed the pipe is a good end.

mod format;
mod group;
mod lanes;

use std::{
    collections::BTreeMap,
    io::{BufWriter, Stdout, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;

use self::{
    format::{Format, Shown},
    lanes::{Fetched, Lanes},
};
use super::{
    grammar::{self, Partitions, Separator, Where},
    place,
    target::{self, Target},
};
use crate::{
    client::{Cluster, Named},
    record::{BatchView, Limits},
    types::Offset,
};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  strandline consume tide                     all of it, then what comes
  strandline consume tide -e                  all of it, then end
  strandline consume tide -o end              what comes
  strandline consume tide -o -10 -e           the last 10 of each partition
  strandline consume tide -o @1h --until @30m a time
  strandline consume tide -g readers          as a member of a group
  strandline consume tide -n 1 --json         one record with everything
  strandline consume tide -f '%p:%o %k=%v\\n'  as you like

In a format:
  %t topic, %p partition, %o offset, %k key, %v or %s value, %h headers,
  %T timestamp in milliseconds, %d as a date, %K and %S lengths of key and value,
  %k{hex} %v{base64} %v{json} other forms, %% a percent sign, \\n \\t \\xFF bytes.
  A format without \\n at its end gets none.")]
pub(super) struct Order {
    #[command(flatten)]
    target: Target,
    /// Names of the topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Where to begin: start, end, an offset, -N (the last N), +N (after the first N), @TIME
    #[arg(
        short,
        long,
        visible_alias = "from",
        value_name = "PLACE",
        default_value = "start",
        allow_hyphen_values = true,
        value_parser = grammar::place
    )]
    offset: Where,
    /// Where to end, itself not included, in the same words
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true, value_parser = grammar::place)]
    until: Option<Where>,
    /// Only these partitions, as 3, 0,2 or 0-3
    #[arg(long, value_name = "N", value_parser = grammar::partitions)]
    partition: Option<Partitions>,
    /// Read as a member of this group: go on where it is, commit what is written
    #[arg(short, long, value_name = "NAME", conflicts_with = "partition")]
    group: Option<String>,
    /// End at the end, as it was when this began
    #[arg(short, long, conflicts_with = "until")]
    exit: bool,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// value, json, hex, base64, or a text with % signs
    #[arg(short, long, value_name = "FORMAT", default_value = "value", value_parser = format::parse)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write the key too, this between it and the value
    #[arg(
        short = 'K',
        long,
        value_name = "TEXT",
        conflicts_with = "json",
        value_parser = grammar::separator
    )]
    key_separator: Option<Separator>,
}

/// Where a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    next: Offset,
    /// Where it ends; none for never.
    end: Option<Offset>,
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    if let Some(group) = &order.group {
        let metadata = cluster.metadata(Some(&order.topics), false).await?;
        for name in &order.topics {
            target::topic(&metadata, name)?;
        }
        return group::run(order, group, cluster).await;
    }
    let reaches = reaches(order, &mut cluster).await?;
    let mut printer = Printer::new(order);
    let mut lanes = Lanes::new(cluster, reaches);
    while !printer.is_done()
        && let Some(fetched) = lanes.next().await?
    {
        if !printer.print(&fetched)? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where each partition that is read begins and ends.
async fn reaches(order: &Order, cluster: &mut Cluster) -> anyhow::Result<BTreeMap<Named, Reach>> {
    let metadata = cluster.metadata(Some(&order.topics), false).await?;
    let mut partitions = Vec::new();
    for name in &order.topics {
        let topic = target::topic(&metadata, name)?;
        partitions.extend(place::chosen(name, topic, order.partition.as_ref())?);
    }
    let begins = place::resolve(cluster, &partitions, order.offset).await?;
    let ends = ends_of(order, cluster, &partitions).await?;
    let is_endless = ends.is_empty();
    let reach = |(key, span): (Named, place::Span)| {
        // An offset that is yet to be is waited for.
        let next = match order.offset {
            Where::At(offset) if is_endless => offset.max(span.start),
            _ => span.place,
        };
        let end = ends.get(&key).copied();
        (key, Reach { next, end })
    };
    Ok(begins.into_iter().map(reach).collect())
}

/// Where to end, if anywhere.
async fn ends_of(
    order: &Order,
    cluster: &mut Cluster,
    partitions: &[Named],
) -> anyhow::Result<BTreeMap<Named, Offset>> {
    let Some(until) = order.until.or(order.exit.then_some(Where::End)) else {
        return Ok(BTreeMap::new());
    };
    let ends = place::resolve(cluster, partitions, until).await?;
    let end = |span: place::Span| match until {
        // It may be yet to be.
        Where::At(offset) => offset,
        _ => span.place,
    };
    Ok(ends.into_iter().map(|(key, span)| (key, end(span))).collect())
}

/// Writes records until enough are written or nobody reads.
struct Printer {
    out: BufWriter<Stdout>,
    format: Format,
    left: Option<u64>,
    /// The offset after the last record written, of each partition.
    positions: BTreeMap<Named, Offset>,
}

/// Bytes that wait to be written, at most.
const OUT_BYTES: usize = 256 * 1024;

impl Printer {
    fn new(order: &Order) -> Self {
        let mut format = if order.json { Format::Json } else { order.format.clone() };
        if let Some(separator) = &order.key_separator {
            format = format.with_key(&separator.0);
        }
        let out = BufWriter::with_capacity(OUT_BYTES, std::io::stdout());
        Self { out, format, left: order.count, positions: BTreeMap::new() }
    }

    fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// Writes what was fetched; false when nobody reads any more.
    fn print(&mut self, fetched: &Fetched) -> anyhow::Result<bool> {
        let mut next = fetched.from;
        let written = self.write(fetched, &mut next)?;
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => {
                self.positions.insert(fetched.partition.clone(), next);
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error).context("cannot write to standard output"),
        }
    }

    fn write(
        &mut self,
        fetched: &Fetched,
        next: &mut Offset,
    ) -> anyhow::Result<std::io::Result<()>> {
        let (topic, partition) = &fetched.partition;
        let context = || format!("records of {topic}-{partition} cannot be read");
        for batch in &fetched.batches {
            for record in records(batch).with_context(context)? {
                let record = record.with_context(context)?;
                if record.offset < fetched.from {
                    continue;
                }
                if self.is_done() || fetched.end.is_some_and(|end| record.offset >= end) {
                    return Ok(Ok(()));
                }
                let shown = Shown { topic, partition: *partition, record: &record };
                if let Err(error) = self.format.write(&mut self.out, &shown) {
                    return Ok(Err(error));
                }
                *next = record.offset.advance(1);
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
        }
        Ok(Ok(()))
    }
}

/// The largest batch any topic takes unpacks to less.
const UNPACKED_BYTES_MAX: usize = 1024 * 1024 * 1024;

fn records(batch: &BatchView) -> Result<crate::record::Records, crate::record::Error> {
    batch.records(&Limits { max_bytes: UNPACKED_BYTES_MAX })
}
