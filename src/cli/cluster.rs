//! `strandline cluster`: what a cluster is made of, and orders to a running broker about it.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    output,
    table::{Cell, Table},
    target,
};
use crate::{
    client,
    http::{LossAtRisk, Readiness},
    types::ByteCount,
};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Show a cluster's brokers, controller, topics and partitions in trouble
    #[command(visible_alias = "info")]
    Describe(Describe),
    /// Show which requests a broker takes, and their versions
    Versions(Describe),
    /// Show whether a strandline broker serves, and if not, why
    Status(Target),
    /// Go on without records that only a lost disk held
    ///
    /// For a broker that waits because the WAL folder that holds the newest acknowledged records
    /// is gone. Without --yes it shows what would be lost and changes nothing.
    AcceptLoss(AcceptLoss),
}

#[derive(Args, Debug)]
pub(super) struct Describe {
    #[command(flatten)]
    target: target::Target,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Target {
    /// The broker's HTTP address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    http: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct AcceptLoss {
    #[command(flatten)]
    target: Target,
    /// Accept the loss; it cannot be undone
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Serialize)]
struct Described {
    cluster_id: Option<String>,
    controller: Option<i32>,
    brokers: Vec<Broker>,
    topics: usize,
    partitions: usize,
    /// Partitions that nobody leads, `topic-index`.
    without_leader: Vec<String>,
    /// Partitions that not every replica has whole, `topic-index`.
    under_replicated: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Broker {
    id: i32,
    address: String,
    rack: Option<String>,
    controller: bool,
    /// Partitions it leads.
    leads: usize,
}

#[derive(Debug, Serialize)]
struct Api {
    key: i16,
    name: String,
    min_version: i16,
    max_version: i16,
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Describe(order) => describe(order).await,
        Action::Versions(order) => versions(order).await,
        Action::AcceptLoss(order) => accept_loss(order).await,
        Action::Status(target) => status(target).await,
    }
}

async fn describe(order: &Describe) -> anyhow::Result<ExitCode> {
    let metadata = order.target.connect().await?.metadata(None, false).await?;
    let partitions = || {
        metadata.topics.iter().flat_map(|(topic, it)| {
            it.partitions.iter().map(move |(index, it)| (format!("{topic}-{index}"), it))
        })
    };
    let named = |is: fn(&client::Partition) -> bool| {
        partitions().filter(|(_, it)| is(it)).map(|(name, _)| name).collect()
    };
    let broker = |(id, it): (&i32, &client::Broker)| Broker {
        id: *id,
        address: it.address.clone(),
        rack: it.rack.clone(),
        controller: metadata.controller == Some(*id),
        leads: partitions().filter(|(_, it)| it.leader == Some(*id)).count(),
    };
    let described = Described {
        cluster_id: metadata.cluster_id.clone(),
        controller: metadata.controller,
        brokers: metadata.brokers.iter().map(broker).collect(),
        topics: metadata.topics.len(),
        partitions: partitions().count(),
        without_leader: named(|it| it.leader.is_none()),
        under_replicated: named(|it| it.in_sync.len() < it.replicas.len()),
    };
    if order.json {
        output::json(&described)?;
    } else {
        print(&described);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(cluster: &Described) {
    let id = cluster.cluster_id.as_deref().unwrap_or("without an id");
    output::line(format!(
        "cluster {}: {}, {}, {}",
        console::style(id).bold(),
        output::count(cluster.brokers.len(), "broker"),
        output::count(cluster.topics, "topic"),
        output::count(cluster.partitions, "partition"),
    ));
    output::line("");
    let mut table = Table::new(&["#BROKER", "ADDRESS", "RACK", "#LEADS", "NOTE"]);
    for broker in &cluster.brokers {
        let note = if broker.controller { "controller" } else { "" };
        table.row([
            broker.id.into(),
            Cell::from(&broker.address),
            Cell::or_none(broker.rack.as_ref()),
            broker.leads.into(),
            note.into(),
        ]);
    }
    table.print();
    for (what, which) in [
        ("without a leader", &cluster.without_leader),
        ("under-replicated", &cluster.under_replicated),
    ] {
        if !which.is_empty() {
            let text = format!("partitions {what}: {}", which.join(", "));
            output::line("");
            output::line(console::style(text).red());
        }
    }
}

async fn versions(order: &Describe) -> anyhow::Result<ExitCode> {
    let cluster = order.target.connect().await?;
    let peer = cluster.open(cluster.seed()).await?;
    let apis = peer.versions().iter().map(|(key, versions)| Api {
        key: *key,
        name: client::api_name(*key),
        min_version: versions.min,
        max_version: versions.max,
    });
    let apis: Vec<Api> = apis.collect();
    if order.json {
        output::json(&apis)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["#KEY", "REQUEST", "#FROM", "#TO"]);
    for api in &apis {
        let name = Cell::from(&api.name);
        table.row([api.key.into(), name, api.min_version.into(), api.max_version.into()]);
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}

async fn read_status(client: &reqwest::Client, target: &Target) -> anyhow::Result<Readiness> {
    let url = format!("http://{}/v1/status", target.http);
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
    let answer = answer.with_context(|| {
        format!("no broker answers at {}; give its HTTP address with --http", target.http)
    })?;
    answer.json().await.with_context(|| format!("{} is not a strandline broker", target.http))
}

fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(Duration::from_secs(120)).no_proxy().build()?)
}

async fn status(target: &Target) -> anyhow::Result<ExitCode> {
    let status = read_status(&client()?, target).await?;
    if target.json {
        output::json(&status)?;
    } else {
        let word = if status.ready { "ready" } else { "not ready" };
        output::line(format!("{word}: {}", status.reason));
    }
    Ok(if status.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn accept_loss(order: &AcceptLoss) -> anyhow::Result<ExitCode> {
    let client = client()?;
    let status = read_status(&client, &order.target).await?;
    let Some(risk) = status.at_risk else {
        bail!("this broker is not waiting for a loss to be accepted: {}", status.reason);
    };
    output::line(format!("segments missing: {}", risk.segments.join(", ")));
    output::line(format!("partitions:       {}", risk.partitions.join(", ")));
    output::line(format!("at risk:          {}", at_risk(&risk)));
    if !order.yes {
        output::line("nothing was changed; run again with --yes to go on without those records");
        return Ok(ExitCode::FAILURE);
    }
    let url = format!("http://{}/v1/cluster/accept-loss", order.target.http);
    let answer = client.post(url).send().await.context("the broker did not answer the order")?;
    let accepted = answer.status().is_success();
    let text = answer.text().await.unwrap_or_default();
    if !accepted {
        bail!("refused: {}", text.trim());
    }
    output::line(text.trim());
    Ok(ExitCode::SUCCESS)
}

/// How much, as far as anybody can tell.
fn at_risk(risk: &LossAtRisk) -> String {
    const SINCE: &str = "at the last renewal of the lease; what came after is not known";
    let Some(bytes) = risk.bytes else { return "not known: there was no lease".to_owned() };
    let bytes = ByteCount(bytes);
    match risk.oldest_append_ms.and_then(|oldest| u64::try_from(oldest).ok()) {
        Some(oldest) => {
            let oldest = std::time::UNIX_EPOCH + Duration::from_millis(oldest);
            let oldest = humantime::format_rfc3339_seconds(oldest);
            format!("{bytes} not in the bucket, appended since {oldest}, {SINCE}")
        }
        None => format!("{bytes} not in the bucket {SINCE}"),
    }
}
