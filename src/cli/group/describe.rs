//! `group describe`: who is in it and how far it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::{
    cli::{
        output,
        table::{Cell, Table},
        target::{self, Target, Trouble},
    },
    client::{Cluster, Committed, Described, Named, Place},
    types::Offset,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Names of the groups
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// Every group there is
    #[arg(short, long)]
    all: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    state: String,
    protocol_type: String,
    assignor: String,
    coordinator: String,
    members: Vec<Member>,
    total_lag: i64,
    partitions: Vec<Partition>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    instance: Option<String>,
    client_id: String,
    host: String,
    partitions: usize,
}

#[derive(Debug, Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    committed: Option<i64>,
    log_end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    client_id: Option<String>,
    host: Option<String>,
}

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    let names = if order.all {
        cluster.groups().await?.into_iter().map(|group| group.name).collect()
    } else {
        order.names.clone()
    };
    let (mut all, mut missing) = (Vec::new(), None);
    for name in &names {
        match describe(&mut cluster, name).await? {
            Some(group) => all.push(group),
            None => {
                let error: anyhow::Error = target::no_group(name).into();
                if names.len() > 1 {
                    output::error(&error);
                }
                missing = Some(error);
            }
        }
    }
    if order.json {
        output::json(&all)?;
    } else {
        for (at, group) in all.iter().enumerate() {
            if at > 0 {
                output::line("");
            }
            print(group);
        }
    }
    match missing {
        Some(error) if names.len() == 1 => Err(error),
        Some(_) => Ok(ExitCode::from(3)),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn describe(cluster: &mut Cluster, name: &str) -> anyhow::Result<Option<Group>> {
    let context = || format!("cannot describe the group {name}");
    let Some(described) = cluster.group(name).await.with_context(context)? else {
        return Ok(None);
    };
    let committed = cluster.committed(name).await.with_context(context)?;
    let coordinator = cluster.coordinator(name).await.with_context(context)?;
    let ends = ends(cluster, &described, &committed).await.with_context(context)?;
    let partitions: Vec<Partition> = partitions(&described, &committed, &ends);
    let members = described.members.iter().map(|member| Member {
        id: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        host: member.host.clone(),
        partitions: member.partitions.len(),
    });
    Ok(Some(Group {
        name: name.to_owned(),
        members: members.collect(),
        total_lag: partitions.iter().filter_map(|partition| partition.lag).sum(),
        state: described.state,
        protocol_type: described.protocol_type,
        assignor: described.assignor,
        coordinator,
        partitions,
    }))
}

/// Where the partitions end that the group reads or has read, as far as they are there.
async fn ends(
    cluster: &mut Cluster,
    described: &Described,
    committed: &BTreeMap<Named, Committed>,
) -> Result<BTreeMap<Named, Option<Offset>>, crate::client::Error> {
    let assigned = described.members.iter().flat_map(|member| &member.partitions);
    let known: BTreeSet<Named> = committed.keys().chain(assigned).cloned().collect();
    let names: BTreeSet<String> = known.iter().map(|(topic, _)| topic.clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let metadata = cluster.metadata(Some(&names), false).await?;
    let is_there = |(topic, partition): &Named| metadata.leader(topic, *partition).is_some();
    let there: Vec<Named> = known.into_iter().filter(is_there).collect();
    cluster.offsets(&there, Place::End).await
}

fn partitions(
    described: &Described,
    committed: &BTreeMap<Named, Committed>,
    ends: &BTreeMap<Named, Option<Offset>>,
) -> Vec<Partition> {
    let mut readers = BTreeMap::new();
    for member in &described.members {
        readers.extend(member.partitions.iter().map(|partition| (partition.clone(), member)));
    }
    let known: BTreeSet<&Named> = committed.keys().chain(readers.keys()).collect();
    let partition = |key: &Named| {
        let at = committed.get(key).map(|committed| committed.offset);
        let end = ends.get(key).copied().flatten();
        let reader = readers.get(key);
        Partition {
            topic: key.0.clone(),
            partition: key.1,
            committed: at.map(|offset| offset.0),
            log_end: end.map(|offset| offset.0),
            lag: at.zip(end).map(|(at, end)| end.since(at).max(0)),
            member: reader.map(|member| member.id.clone()),
            client_id: reader.map(|member| member.client_id.clone()),
            host: reader.map(|member| member.host.clone()),
        }
    };
    known.into_iter().map(partition).collect()
}

fn print(group: &Group) {
    let assignor =
        if group.assignor.is_empty() { String::new() } else { format!(" ({})", group.assignor) };
    output::line(format!(
        "{}: {}, {}{assignor}, coordinator {}, total lag {}",
        console::style(&group.name).bold(),
        if group.state.is_empty() { "state not told" } else { &group.state },
        output::count(group.members.len(), "member"),
        group.coordinator,
        indicatif::HumanCount(u64::try_from(group.total_lag).unwrap_or_default()),
    ));
    if !group.partitions.is_empty() {
        output::line("");
    }
    let heads = ["TOPIC", "#PARTITION", "#COMMITTED", "#LOG-END", "#LAG", "CLIENT", "HOST"];
    let mut table = Table::new(&heads);
    for partition in &group.partitions {
        let lag = match partition.lag {
            Some(0) => Cell::from("0"),
            Some(lag) => Cell::warning(lag),
            None => Cell::from("-"),
        };
        table.row([
            Cell::from(&partition.topic),
            partition.partition.into(),
            Cell::or_none(partition.committed),
            Cell::or_none(partition.log_end),
            lag,
            Cell::or_none(partition.client_id.as_ref()),
            Cell::or_none(partition.host.as_ref()),
        ]);
    }
    table.print();
    let idle: Vec<&Member> = group.members.iter().filter(|it| it.partitions == 0).collect();
    if !idle.is_empty() {
        output::line("");
        let mut table = Table::new(&["MEMBER WITHOUT PARTITIONS", "CLIENT", "HOST"]);
        for member in idle {
            let client = Cell::from(&member.client_id);
            table.row([Cell::from(&member.id), client, Cell::from(&member.host)]);
        }
        table.print();
    }
}

/// The error for a group that must have no members to be changed.
pub(super) fn in_use(name: &str, described: &Described) -> Option<Trouble> {
    if described.is_empty() {
        return None;
    }
    let mut clients: Vec<String> = described
        .members
        .iter()
        .map(|member| format!("{} at {}", member.client_id, member.host))
        .collect();
    clients.dedup();
    let who = if clients.is_empty() { String::new() } else { format!(": {}", clients.join(", ")) };
    let count = output::count(described.members.len(), "member");
    Some(Trouble::Refused(format!(
        "the group {name} has {count}{who}; stop them first, for they would go on from where they \
         are and undo it"
    )))
}
