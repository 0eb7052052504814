//! `bucket check`: whether a bucket keeps its promises, and how fast it is.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::Target;
use crate::{
    cli::{output, table::Table},
    env::Env,
    store::{CheckError, ContractReport, Latency, Store},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Order {
    #[command(flatten)]
    target: Target,
    /// How often each kind of request is measured; 0 for not at all
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: u32,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    keeps_the_contract: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<String>,
    steps: Vec<Step>,
    clock_skew_ms: f64,
    latency_ms: Vec<Measured>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ms: f64,
}

#[derive(Debug, Serialize)]
struct Measured {
    request: &'static str,
    count: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// The longest time told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 600_000_000;

pub(super) async fn run(order: &Order) -> anyhow::Result<ExitCode> {
    let env = Env::real();
    let store = order.target.open(&env, false).await?;
    let contract = match store.check_contract().await {
        Ok(contract) => contract,
        Err(CheckError::Broken { finding }) if order.json => {
            output::json(&Report {
                keeps_the_contract: false,
                finding: Some(finding),
                steps: Vec::new(),
                clock_skew_ms: 0.0,
                latency_ms: Vec::new(),
            })?;
            return Ok(ExitCode::FAILURE);
        }
        Err(CheckError::Broken { finding }) => {
            anyhow::bail!("this bucket cannot be trusted with a cluster: {finding}")
        }
        Err(other) => return Err(other.into()),
    };
    if !order.json {
        for step in &contract.steps {
            output::line(format!("ok  {:>6.0?}  {}", step.took, step.name));
        }
        output::line("this bucket keeps the contract");
    }
    let latency_ms = measure(order, &store).await?;
    if order.json {
        output::json(&report(&contract, latency_ms))?;
    } else {
        print(&latency_ms);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(order: &Order, store: &Store) -> anyhow::Result<Vec<Measured>> {
    let bar =
        if order.json { ProgressBar::hidden() } else { ProgressBar::new(order.rounds.into()) };
    bar.set_style(ProgressStyle::with_template("measuring {bar:30} {pos}/{len} {eta}")?);
    let measured = store.measure(order.rounds, &mut || bar.inc(1)).await;
    bar.finish_and_clear();
    let measured = measured.context("the bucket keeps the contract, but failed while measured")?;
    measured.iter().filter(|latency| !latency.times.is_empty()).map(Measured::of).collect()
}

impl Measured {
    fn of(latency: &Latency) -> anyhow::Result<Self> {
        let mut times = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3)?;
        for time in &latency.times {
            times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
        }
        let at = |quantile| ms(Duration::from_micros(times.value_at_quantile(quantile)));
        Ok(Self {
            request: latency.name,
            count: times.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: ms(Duration::from_micros(times.max())),
        })
    }
}

fn report(contract: &ContractReport, latency_ms: Vec<Measured>) -> Report {
    let step = |step: &crate::store::Step| Step { name: step.name, ms: ms(step.took) };
    Report {
        keeps_the_contract: true,
        finding: None,
        steps: contract.steps.iter().map(step).collect(),
        clock_skew_ms: ms(contract.skew),
        latency_ms,
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn print(measured: &[Measured]) {
    let mut table = Table::new(&["REQUEST (ms)", "#COUNT", "#P50", "#P90", "#P99", "#MAX"]);
    for it in measured {
        let shown = |ms: f64| format!("{ms:.2}").into();
        let (p50, p90, p99, max) = (shown(it.p50), shown(it.p90), shown(it.p99), shown(it.max));
        table.row([it.request.into(), it.count.into(), p50, p90, p99, max]);
    }
    if !table.is_empty() {
        output::line("");
    }
    table.print();
}
