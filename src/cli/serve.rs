//! `strandline serve`: run a broker.

use std::process::ExitCode;

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use super::output;
use crate::{
    broker::{self, Ended, StopAsked},
    config::Settings,
    env::{Env, signal::Terminations, task},
};

pub(super) fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let env = Env::real();
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let config = settings.resolve(variables, |path| env.disk.read(path))?;
    start_log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("strandline")
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let tasks = task::Tasks::new();
        let (ask, asked) = tokio::sync::watch::channel(StopAsked::No);
        let mut signals = Terminations::listen().context("cannot listen for signals")?;
        tasks.spawn("signals", async move {
            signals.next().await;
            ask.send_replace(StopAsked::Drain);
            signals.next().await;
            ask.send_replace(StopAsked::AtOnce);
            std::future::pending::<()>().await;
        });
        let ended = Box::pin(broker::run(config, env, asked, &|line| output::line(line))).await;
        tasks.abort().await;
        anyhow::Ok(ended?)
    });
    // Whatever still blocks (a bucket that hangs) must not hold the process.
    runtime.shutdown_background();
    match ended? {
        Ended::Drained => {
            output::line("drained: the WAL folder holds nothing the bucket lacks");
            Ok(ExitCode::SUCCESS)
        }
        Ended::Left { reason } => {
            output::error(&anyhow::anyhow!(reason));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// People get lines, machines get JSON; `RUST_LOG` chooses how much.
fn start_log() {
    use std::io::IsTerminal;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    if terminal {
        registry.with(lines).init();
    } else {
        registry.with(lines.json().flatten_event(true)).init();
    }
}
