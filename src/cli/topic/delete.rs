//! `topic delete`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cli::{
    confirm::Consent,
    output,
    target::{self, Target},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Names of the topics
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Done is also that a topic is not there
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    consent: Consent,
}

/// UNKNOWN_TOPIC_OR_PARTITION
const NOT_THERE: i16 = 3;

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    let metadata = cluster.metadata(Some(&order.names), false).await?;
    let mut there = Vec::new();
    for name in &order.names {
        // All are looked for before one is gone: a slip of the pen deletes nothing.
        match target::topic(&metadata, name) {
            Ok(_) => there.push(name.clone()),
            Err(_) if order.if_exists => output::line(format!("there is no topic {name}")),
            Err(error) => return Err(error),
        }
    }
    if there.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let what = output::count(there.len(), "topic");
    let what = format!("delete {what} with all records: {}", there.join(", "));
    if !order.consent.to(&what)? {
        output::note("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    for name in &there {
        match cluster.delete_topic(name).await {
            Err(error) if error.code() == Some(NOT_THERE) && order.if_exists => {}
            done => done.with_context(|| format!("cannot delete the topic {name}"))?,
        }
        output::line(format!("deleted topic {name}"));
    }
    Ok(ExitCode::SUCCESS)
}
