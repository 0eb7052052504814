//! `strandline config`: configs of topics and brokers.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    grammar, output,
    table::{Cell, Table},
    target::{self, Target, Trouble},
};
use crate::client::{Change, Cluster, Entry, Resource, Source};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// List configs with their values and where they are from
    #[command(visible_alias = "describe")]
    List(List),
    /// Print the value of one config
    Get(Get),
    /// Set configs, all of those given or none
    Set(Set),
    /// Give configs back to what holds without them
    #[command(visible_alias = "delete")]
    Unset(Unset),
}

/// Whose configs.
#[derive(Args, Debug)]
struct Whose {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    resource: Which,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// Of this topic
    #[arg(short, long, value_name = "NAME")]
    topic: Option<String>,
    /// Of the broker with this id
    #[arg(long, value_name = "ID")]
    broker: Option<i32>,
    /// Of all brokers, where one does not say otherwise
    #[arg(long)]
    brokers: bool,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    whose: Whose,
    /// Only those that are not at their default
    #[arg(long)]
    changed: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Get {
    #[command(flatten)]
    whose: Whose,
    /// Name of the config
    #[arg(value_name = "NAME")]
    name: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Set {
    #[command(flatten)]
    whose: Whose,
    /// Configs, as retention.ms=3600000
    #[arg(value_name = "NAME=VALUE", required = true, value_parser = grammar::pair)]
    configs: Vec<(String, String)>,
    /// Only find out whether it could be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
pub(super) struct Unset {
    #[command(flatten)]
    whose: Whose,
    /// Names of configs
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Only find out whether it could be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    value: Option<&'a str>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
}

impl<'a> Shown<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            name: &entry.name,
            value: entry.value.as_deref(),
            source: entry.source.word(),
            read_only: entry.is_read_only,
            sensitive: entry.is_sensitive,
        }
    }
}

impl Which {
    fn resource(&self) -> Resource {
        match (&self.topic, self.broker) {
            (Some(topic), _) => Resource::Topic(topic.clone()),
            (None, Some(broker)) => Resource::Broker(broker),
            (None, None) => Resource::Brokers,
        }
    }
}

impl Whose {
    /// The cluster and the resource, which is there.
    async fn find(&self) -> anyhow::Result<(Cluster, Resource)> {
        let mut cluster = self.target.connect().await?;
        let resource = self.resource.resource();
        match &resource {
            Resource::Topic(name) => {
                let metadata = cluster.metadata(Some(std::slice::from_ref(name)), false).await?;
                target::topic(&metadata, name)?;
            }
            Resource::Broker(id) => {
                if cluster.metadata(Some(&[]), false).await?.address(*id).is_none() {
                    let text = format!(
                        "there is no broker {id}; `strandline cluster describe` shows those there \
                         are"
                    );
                    return Err(Trouble::NotThere(text).into());
                }
            }
            Resource::Brokers => {}
        }
        Ok((cluster, resource))
    }
}

fn called(resource: &Resource) -> String {
    match resource {
        Resource::Topic(name) => format!("the topic {name}"),
        Resource::Broker(id) => format!("broker {id}"),
        Resource::Brokers => "all brokers".to_owned(),
    }
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::List(order) => list(order).await,
        Action::Get(order) => get(order).await,
        Action::Set(order) => {
            let changes: Vec<Change> = order
                .configs
                .iter()
                .map(|(name, value)| Change::Set(name.clone(), value.clone()))
                .collect();
            change(&order.whose, &changes, order.dry_run).await
        }
        Action::Unset(order) => {
            let changes: Vec<Change> = order.names.iter().cloned().map(Change::Unset).collect();
            change(&order.whose, &changes, order.dry_run).await
        }
    }
}

async fn read(cluster: &mut Cluster, resource: &Resource) -> anyhow::Result<Vec<Entry>> {
    let configs = cluster.configs(resource).await;
    configs.with_context(|| format!("cannot read the configs of {}", called(resource)))
}

async fn list(order: &List) -> anyhow::Result<ExitCode> {
    let (mut cluster, resource) = order.whose.find().await?;
    let mut configs = read(&mut cluster, &resource).await?;
    configs.retain(|entry| !order.changed || entry.source != Source::Default);
    if order.json {
        let shown: Vec<Shown<'_>> = configs.iter().map(Shown::of).collect();
        output::json(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["NAME", "VALUE", "FROM"]);
    for entry in &configs {
        let value = match (&entry.value, entry.is_sensitive) {
            (_, true) => "(secret)",
            (Some(value), false) => value.as_str(),
            (None, false) => "-",
        };
        let from = if entry.is_read_only {
            format!("{}, read-only", entry.source.word())
        } else {
            entry.source.word().to_owned()
        };
        let from = match entry.source {
            Source::Default | Source::Start => Cell::from(from),
            Source::Topic | Source::Broker | Source::Brokers | Source::Other(_) => {
                Cell::warning(from)
            }
        };
        table.row([Cell::from(&entry.name), value.into(), from]);
    }
    if table.is_empty() {
        output::note(format!("no configs are set for {}", called(&resource)));
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}

async fn get(order: &Get) -> anyhow::Result<ExitCode> {
    let (mut cluster, resource) = order.whose.find().await?;
    let configs = read(&mut cluster, &resource).await?;
    let Some(entry) = configs.iter().find(|entry| entry.name == order.name) else {
        let text = format!(
            "{} has no config {}; `strandline config list` shows those there are",
            called(&resource),
            order.name
        );
        return Err(Trouble::NotThere(text).into());
    };
    if order.json {
        output::json(&Shown::of(entry))?;
    } else {
        output::line(entry.value.as_deref().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

async fn change(whose: &Whose, changes: &[Change], is_dry: bool) -> anyhow::Result<ExitCode> {
    let (mut cluster, resource) = whose.find().await?;
    let whom = called(&resource);
    let done = cluster.alter_configs(&resource, changes, is_dry).await;
    done.with_context(|| format!("cannot change the configs of {whom}"))?;
    let what = output::count(changes.len(), "config");
    output::line(if is_dry {
        format!("{what} of {whom} could be changed; nothing was")
    } else {
        format!("changed {what} of {whom}")
    });
    Ok(ExitCode::SUCCESS)
}
