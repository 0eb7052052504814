//! `topic describe`.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use serde::Serialize;

use crate::{
    cli::{
        output,
        table::{Cell, Table},
        target::{self, Target, Trouble},
    },
    client::{Cluster, Named, Place, Resource, Source, Topic},
    types::{ByteCount, Offset},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Names of the topics
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Every config, not only those that differ from the default
    #[arg(long)]
    all_configs: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Described {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    internal: bool,
    replication_factor: usize,
    partitions: Vec<Partition>,
    configs: Vec<Config>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    log_start: Option<i64>,
    high_watermark: Option<i64>,
    bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Config {
    name: String,
    value: Option<String>,
    source: &'static str,
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    let metadata = cluster.metadata(Some(&order.names), false).await?;
    let (mut all, mut missing) = (Vec::new(), None);
    for name in &order.names {
        match target::topic(&metadata, name) {
            Ok(topic) => all.push(describe(order, &mut cluster, name, topic).await?),
            Err(error) if error.downcast_ref::<Trouble>().is_some() => {
                if order.names.len() > 1 {
                    output::error(&error);
                }
                missing = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    if order.json {
        output::json(&all)?;
    } else {
        for (at, described) in all.iter().enumerate() {
            if at > 0 {
                output::line("");
            }
            print(described);
        }
    }
    match missing {
        Some(error) if order.names.len() == 1 => Err(error),
        Some(_) => Ok(ExitCode::from(3)),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn describe(
    order: &Order,
    cluster: &mut Cluster,
    name: &str,
    topic: &Topic,
) -> anyhow::Result<Described> {
    let led = topic.partitions.iter().filter(|(_, partition)| partition.leader.is_some());
    let led: Vec<Named> = led.map(|(index, _)| (name.to_owned(), *index)).collect();
    let starts = cluster.offsets(&led, Place::Start).await?;
    let ends = cluster.offsets(&led, Place::End).await?;
    let wanted = BTreeMap::from([(name.to_owned(), topic.partitions.keys().copied().collect())]);
    // Not every cluster tells sizes, or to everybody.
    let sizes = cluster.sizes(&wanted).await.unwrap_or_default();
    let configs = cluster.configs(&Resource::Topic(name.to_owned())).await?;
    let partitions = topic.partitions.iter().map(|(index, partition)| {
        let key = (name.to_owned(), *index);
        let offset = |of: &BTreeMap<Named, Option<Offset>>| of.get(&key).copied().flatten();
        Partition {
            partition: *index,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            in_sync: partition.in_sync.clone(),
            log_start: offset(&starts).map(|offset| offset.0),
            high_watermark: offset(&ends).map(|offset| offset.0),
            bytes: sizes.get(&key).copied(),
        }
    });
    let differs = |source: Source| order.all_configs || source == Source::Topic;
    let configs = configs.into_iter().filter(|entry| differs(entry.source));
    Ok(Described {
        name: name.to_owned(),
        id: topic.id.map(output::id),
        internal: topic.is_internal,
        replication_factor: topic.replication(),
        partitions: partitions.collect(),
        configs: configs
            .map(|entry| Config {
                name: entry.name,
                value: entry.value,
                source: entry.source.word(),
            })
            .collect(),
    })
}

fn print(topic: &Described) {
    let partitions = &topic.partitions;
    let records: i64 = partitions.iter().filter_map(Partition::records).sum();
    let bytes: Option<u64> = partitions.iter().map(|partition| partition.bytes).sum();
    let size = bytes.map(|bytes| format!(", {}", ByteCount(bytes))).unwrap_or_default();
    let internal = if topic.internal { ", internal" } else { "" };
    output::line(format!(
        "{}: {}, replication factor {}, {}{size}{internal}",
        console::style(&topic.name).bold(),
        output::count(partitions.len(), "partition"),
        topic.replication_factor,
        output::count(records, "offset"),
    ));
    output::line("");
    let mut table = Table::new(&[
        "#PARTITION",
        "LEADER",
        "#EPOCH",
        "REPLICAS",
        "#LOG-START",
        "#HIGH-WATERMARK",
        "#SIZE",
    ]);
    for partition in partitions {
        let leader = match partition.leader {
            Some(leader) => Cell::from(leader),
            None => Cell::bad("none"),
        };
        let behind = partition.in_sync.len() < partition.replicas.len();
        let replicas = ids(&partition.replicas);
        let replicas = if behind {
            Cell::warning(format!("{replicas} (in sync: {})", ids(&partition.in_sync)))
        } else {
            Cell::from(replicas)
        };
        table.row([
            partition.partition.into(),
            leader,
            partition.leader_epoch.into(),
            replicas,
            Cell::or_none(partition.log_start),
            Cell::or_none(partition.high_watermark),
            Cell::or_none(partition.bytes.map(ByteCount)),
        ]);
    }
    table.print();
    if !topic.configs.is_empty() {
        output::line("");
        let mut table = Table::new(&["CONFIG", "VALUE", "FROM"]);
        for config in &topic.configs {
            let value = Cell::or_none(config.value.as_ref());
            table.row([Cell::from(&config.name), value, config.source.into()]);
        }
        table.print();
    }
}

impl Partition {
    fn records(&self) -> Option<i64> {
        Some(self.high_watermark?.saturating_sub(self.log_start?).max(0))
    }
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
