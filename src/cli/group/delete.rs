//! `group delete`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::describe::in_use;
use crate::{
    cli::{
        confirm::Consent,
        output,
        target::{self, Target},
    },
    client::{Cluster, Named},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Names of the groups
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Forget only how far they are in this topic; repeat it for more
    #[arg(short, long, value_name = "NAME")]
    topic: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    for name in &order.names {
        let context = || format!("cannot delete the group {name}");
        let group = cluster.group(name).await.with_context(context)?;
        let Some(group) = group else { return Err(target::no_group(name).into()) };
        if order.topic.is_empty()
            && let Some(trouble) = in_use(name, &group)
        {
            return Err(trouble.into());
        }
    }
    let names = order.names.join(", ");
    let what = match order.topic.as_slice() {
        [] => format!("delete {}: {names}", output::count(order.names.len(), "group")),
        topics => format!("forget how far {names} is in {}", topics.join(", ")),
    };
    if !order.consent.to(&what)? {
        output::note("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    for name in &order.names {
        if order.topic.is_empty() {
            let done = cluster.delete_group(name).await;
            done.with_context(|| format!("cannot delete the group {name}"))?;
            output::line(format!("deleted group {name}"));
        } else {
            forget(&mut cluster, name, &order.topic).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn forget(cluster: &mut Cluster, name: &str, topics: &[String]) -> anyhow::Result<()> {
    let context = || format!("cannot delete the offsets of the group {name}");
    let committed = cluster.committed(name).await.with_context(context)?;
    let is_meant = |(topic, _): &&Named| topics.contains(topic);
    let meant: Vec<Named> = committed.keys().filter(is_meant).cloned().collect();
    if meant.is_empty() {
        output::note(format!("the group {name} has no offsets there"));
        return Ok(());
    }
    cluster.delete_offsets(name, &meant).await.with_context(context)?;
    let what = output::count(meant.len(), "partition");
    output::line(format!("deleted the offsets of the group {name} in {what}"));
    Ok(())
}
