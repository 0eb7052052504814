//! `strandline topic`: what topics there are, and orders about them.

mod alter;
mod create;
mod delete;
mod describe;
mod list;
mod trim;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// List topics with their partitions and replicas
    #[command(visible_alias = "ls")]
    List(list::Order),
    /// Show partitions, offsets, sizes and configs of topics
    Describe(describe::Order),
    /// Create topics
    Create(create::Order),
    /// Give topics more partitions, change their configs
    Alter(alter::Order),
    /// Delete topics with all their records
    #[command(visible_alias = "rm")]
    Delete(delete::Order),
    /// Delete the oldest records of a topic, up to an offset or a time
    Trim(trim::Order),
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List(order) => list::run(order).await,
        Action::Describe(order) => describe::run(order).await,
        Action::Create(order) => create::run(order).await,
        Action::Alter(order) => alter::run(order).await,
        Action::Delete(order) => delete::run(order).await,
        Action::Trim(order) => trim::run(order).await,
    }
}
