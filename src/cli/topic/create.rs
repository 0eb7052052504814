//! `topic create`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::{
    cli::{grammar, output, target::Target},
    client::{Cluster, Error, NewTopic},
    env::clock,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// Names of the topics
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Partitions of each; without it as many as the brokers are set to
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Copies of each record; without it as many as the brokers are set to
    #[arg(
        short,
        long,
        visible_alias = "replicas",
        value_name = "N",
        value_parser = clap::value_parser!(i16).range(1..)
    )]
    replication_factor: Option<i16>,
    /// A config that differs from the brokers', as retention.ms=3600000; repeat it for more
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = grammar::pair)]
    config: Vec<(String, String)>,
    /// Done is also that a topic is there already
    #[arg(long)]
    if_not_exists: bool,
    /// Only find out whether it could be done
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Created {
    name: String,
    created: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// TOPIC_ALREADY_EXISTS
const IS_THERE: i16 = 36;

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let mut cluster = order.target.connect().await?;
    let (mut all, mut failed) = (Vec::new(), None);
    for name in &order.names {
        let topic = NewTopic {
            name: name.clone(),
            partitions: order.partitions,
            replication: order.replication_factor,
            configs: order.config.clone(),
        };
        let done = cluster.create_topic(&topic, order.dry_run).await;
        let is_there = done.as_ref().is_err_and(|error| error.code() == Some(IS_THERE));
        let mut created =
            Created { name: name.clone(), created: false, partitions: None, error: None };
        match done {
            Ok(partitions) => {
                created.partitions = (partitions > 0).then_some(partitions);
                created.created = !order.dry_run;
            }
            Err(_) if is_there && order.if_not_exists => {}
            Err(error) => {
                created.error = Some(error.to_string());
                let told = explained(error, name);
                if order.names.len() > 1 {
                    output::error(&told);
                }
                failed = Some(told);
            }
        }
        if created.created {
            wait_until_told(&mut cluster, name).await?;
        }
        if !order.json && created.error.is_none() {
            output::line(in_words(&created, order.dry_run));
        }
        all.push(created);
    }
    if order.json {
        output::json(&all)?;
    }
    match failed {
        Some(error) if order.names.len() == 1 => Err(error),
        Some(_) => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Kafka tells of a topic a moment after it made it; the next command should find it.
async fn wait_until_told(cluster: &mut Cluster, name: &String) -> anyhow::Result<()> {
    const TRIES: u32 = 50;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
    for _ in 0..TRIES {
        let metadata = cluster.metadata(Some(std::slice::from_ref(name)), false).await?;
        let topic = metadata.topics.get(name).filter(|topic| topic.code == 0);
        if topic.is_some_and(|topic| topic.partitions.values().all(|it| it.leader.is_some())) {
            break;
        }
        clock::sleep(PAUSE).await;
    }
    Ok(())
}

fn in_words(created: &Created, is_dry: bool) -> String {
    let name = &created.name;
    let partitions = created.partitions.map(|count| output::count(count, "partition"));
    let with = partitions.map(|count| format!(" with {count}")).unwrap_or_default();
    match (created.created, is_dry) {
        (true, _) => format!("created topic {name}{with}"),
        (false, true) => format!("topic {name} could be created{with}; nothing was changed"),
        (false, false) => format!("topic {name} is there already"),
    }
}

/// The error with what to do about it.
fn explained(error: Error, name: &str) -> anyhow::Error {
    let what_to_do = match error.code() {
        Some(IS_THERE) => Some(format!(
            "look at it with `strandline topic describe {name}`, or say --if-not-exists"
        )),
        Some(38) => Some("ask for fewer with --replication-factor, or for none".to_owned()),
        _ => None,
    };
    let done = Err::<(), _>(error).with_context(|| format!("cannot create the topic {name}"));
    let error = done.err().unwrap_or_else(|| anyhow::anyhow!("cannot create the topic {name}"));
    match what_to_do {
        Some(advice) => {
            let text = format!("{}; {advice}", output::in_one_line(&error));
            error.context(text)
        }
        None => error,
    }
}
