//! `group list`.

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
    /// Only groups whose name holds this text
    #[arg(value_name = "TEXT")]
    matching: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    state: String,
    protocol: String,
    protocol_type: String,
    coordinator: i32,
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let wanted = order.matching.as_deref().unwrap_or_default();
    let groups = order.target.connect().await?.groups().await?;
    let groups: Vec<Listed> = groups
        .into_iter()
        .filter(|group| group.name.contains(wanted))
        .map(|group| Listed {
            name: group.name,
            state: group.state,
            protocol: group.kind,
            protocol_type: group.protocol_type,
            coordinator: group.coordinator,
        })
        .collect();
    if order.json {
        output::json(&groups)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["NAME", "STATE", "PROTOCOL", "COORDINATOR"]);
    for group in &groups {
        let state = state(&group.state);
        let protocol = Cell::from(&group.protocol);
        table.row([Cell::from(&group.name), state, protocol, group.coordinator.into()]);
    }
    if table.is_empty() {
        output::note("no groups; one appears when a consumer joins it or commits an offset");
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}

/// A group's state, in a colour when it is neither at work nor at rest.
pub(super) fn state(state: &str) -> Cell {
    match state {
        "Stable" | "Empty" => Cell::from(state),
        "" => Cell::from("-"),
        "Dead" => Cell::bad(state),
        other => Cell::warning(other),
    }
}
