//! `topic trim`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::{
    cli::{
        confirm::Consent,
        grammar::{self, Partitions, Where},
        output, place,
        table::Table,
        target::{self, Target},
    },
    types::Offset,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Name of the topic
    #[arg(value_name = "NAME")]
    name: String,
    /// Up to where, itself not included: an offset, end, -N to keep the last N, @TIME
    #[arg(
        short,
        long,
        value_name = "PLACE",
        allow_hyphen_values = true,
        value_parser = grammar::place
    )]
    offset: Where,
    /// Only these partitions, as 3, 0,2 or 0-3
    #[arg(long, value_name = "N", value_parser = grammar::partitions)]
    partition: Option<Partitions>,
    #[command(flatten)]
    consent: Consent,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Trimmed {
    partition: i32,
    deleted: i64,
    log_start: i64,
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    let metadata = cluster.metadata(Some(std::slice::from_ref(&order.name)), false).await?;
    let topic = target::topic(&metadata, &order.name)?;
    let partitions = place::chosen(&order.name, topic, order.partition.as_ref())?;
    let spans = place::resolve(&mut cluster, &partitions, order.offset).await?;
    let records: i64 = spans.values().map(|span| span.place.since(span.start).max(0)).sum();
    let what = output::count(records, "record");
    let name = &order.name;
    if records == 0 {
        output::note(format!("no record of {name} lies before that; nothing was changed"));
        return Ok(ExitCode::SUCCESS);
    }
    if !order.consent.to(&format!("delete up to {what} of the topic {name}"))? {
        output::note("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let mut all = Vec::new();
    for ((_, partition), span) in spans.iter().filter(|(_, span)| span.place > span.start) {
        let start: Offset = cluster
            .delete_records(name, *partition, span.place)
            .await
            .with_context(|| format!("cannot trim partition {partition} of {name}"))?;
        let deleted = start.since(span.start).max(0);
        all.push(Trimmed { partition: *partition, deleted, log_start: start.0 });
    }
    if order.json {
        output::json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["#PARTITION", "#DELETED", "#LOG-START"]);
    for one in &all {
        table.row([one.partition.into(), one.deleted.into(), one.log_start.into()]);
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}
