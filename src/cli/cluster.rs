//! `strandline cluster`: orders to a running broker about its cluster.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::output;
use crate::{
    http::{LossAtRisk, Readiness},
    types::ByteCount,
};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Go on without records that only a lost disk held
    ///
    /// For a broker that waits because the WAL folder that holds the newest acknowledged records
    /// is gone. Without --yes it shows what would be lost and changes nothing.
    AcceptLoss(AcceptLoss),
    /// Show whether the broker serves, and if not, why
    Status(Target),
}

#[derive(Args, Debug)]
pub(super) struct Target {
    /// The broker's HTTP address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    http: String,
}

#[derive(Args, Debug)]
pub(super) struct AcceptLoss {
    #[command(flatten)]
    target: Target,
    /// Accept the loss; it cannot be undone
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(action: &Action) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match action {
            Action::AcceptLoss(order) => accept_loss(order).await,
            Action::Status(target) => status(target).await,
        }
    })
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
    let word = if status.ready { "ready" } else { "not ready" };
    output::line(format!("{word}: {}", status.reason));
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
