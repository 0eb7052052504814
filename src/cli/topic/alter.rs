//! `topic alter`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::{
    cli::{
        grammar, output,
        target::{self, Target, Trouble},
    },
    client::{Change, Cluster, Resource, Topic},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Names of the topics
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Partitions each shall have in all; keys of old records stay where they are
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// A config to set, as retention.ms=3600000; repeat it for more
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = grammar::pair)]
    config: Vec<(String, String)>,
    /// A config to give back to the brokers' choice; repeat it for more
    #[arg(long, visible_alias = "delete-config", value_name = "NAME")]
    unset: Vec<String>,
    /// Only find out whether it could be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let set = order.config.iter().map(|(name, value)| Change::Set(name.clone(), value.clone()));
    let unset = order.unset.iter().map(|name| Change::Unset(name.clone()));
    let changes: Vec<Change> = set.chain(unset).collect();
    if changes.is_empty() && order.partitions.is_none() {
        let text = "nothing to alter: give --partitions N, --config NAME=VALUE or --unset NAME";
        return Err(Trouble::Usage(text.to_owned()).into());
    }
    let mut cluster = order.target.connect().await?;
    let metadata = cluster.metadata(Some(&order.names), false).await?;
    for name in &order.names {
        let topic = target::topic(&metadata, name)?;
        let context = || format!("cannot alter the topic {name}");
        add_partitions(order, &mut cluster, name, topic).await.with_context(context)?;
        if !changes.is_empty() {
            let resource = Resource::Topic(name.clone());
            cluster
                .alter_configs(&resource, &changes, order.dry_run)
                .await
                .with_context(context)?;
        }
        output::line(if order.dry_run {
            format!("topic {name} could be altered; nothing was changed")
        } else {
            format!("altered topic {name}")
        });
    }
    Ok(ExitCode::SUCCESS)
}

async fn add_partitions(
    order: &Order,
    cluster: &mut Cluster,
    name: &str,
    topic: &Topic,
) -> anyhow::Result<()> {
    let Some(wanted) = order.partitions else { return Ok(()) };
    let has = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    if wanted == has {
        return Ok(());
    }
    anyhow::ensure!(
        wanted > has,
        "it has {has} partitions, and partitions cannot be taken away; create another topic with \
         {wanted} and copy what is needed"
    );
    Ok(cluster.add_partitions(name, wanted, order.dry_run).await?)
}
