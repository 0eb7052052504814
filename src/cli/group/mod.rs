//! `strandline group`: consumer groups, their members, how far they are.

mod delete;
mod describe;
mod list;
mod reset;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// List groups with their states
    #[command(visible_alias = "ls")]
    List(list::Order),
    /// Show members, offsets and lag of groups, partition by partition
    Describe(describe::Order),
    /// Move the offsets of a group without members; only shows what it would do without --yes
    Reset(reset::Order),
    /// Delete groups without members, or only their offsets of a topic
    #[command(visible_alias = "rm")]
    Delete(delete::Order),
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List(order) => list::run(order).await,
        Action::Describe(order) => describe::run(order).await,
        Action::Reset(order) => reset::run(order).await,
        Action::Delete(order) => delete::run(order).await,
    }
}
