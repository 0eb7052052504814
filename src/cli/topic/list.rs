//! `topic list`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cli::{
    output,
    table::{Cell, Table},
    target::Target,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Only topics whose name holds this text
    #[arg(value_name = "TEXT")]
    matching: Option<String>,
    /// The cluster's own topics too
    #[arg(short, long)]
    internal: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
    /// Partitions that nobody leads.
    without_leader: usize,
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let metadata = order.target.connect().await?.metadata(None, false).await?;
    let wanted = order.matching.as_deref().unwrap_or_default();
    let is_wanted =
        |listed: &Listed| listed.name.contains(wanted) && (order.internal || !listed.internal);
    let listed = metadata.topics.iter().map(|(name, topic)| Listed {
        name: name.clone(),
        partitions: topic.partitions.len(),
        replication_factor: topic.replication(),
        internal: topic.is_internal,
        without_leader: topic.partitions.values().filter(|it| it.leader.is_none()).count(),
    });
    let topics: Vec<Listed> = listed.filter(is_wanted).collect();
    if order.json {
        output::json(&topics)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["NAME", "#PARTITIONS", "#REPLICAS", "NOTE"]);
    for topic in &topics {
        let note = match (topic.without_leader, topic.internal) {
            (0, true) => Cell::from("internal"),
            (0, false) => Cell::from(""),
            (count, _) => Cell::bad(format!("{count} without leader")),
        };
        let (partitions, replicas) = (topic.partitions, topic.replication_factor);
        table.row([Cell::from(&topic.name), partitions.into(), replicas.into(), note]);
    }
    if table.is_empty() {
        let what = if wanted.is_empty() { String::new() } else { format!(" with {wanted:?}") };
        output::note(format!("no topics{what} yet; `strandline topic create NAME` makes one"));
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}
