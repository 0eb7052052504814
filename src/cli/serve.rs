//! `strandline serve`: run a broker.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::Args;

use super::{check, log, output};
use crate::{
    broker::{self, Ended, StopAsked},
    config::Settings,
    env::{Env, signal::Terminations, task},
    http::Trouble,
};

#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Check the settings, the ports, the bucket and the WAL folder; start nothing
    ///
    /// Prints a checklist and ends with code 0 when a broker could start with these settings, else
    /// with 1. A cluster is not touched: throw-away objects and files are written and deleted.
    #[arg(long, help_heading = CHECK)]
    check: bool,
    /// With --check: the checklist as JSON
    ///
    /// An object with `ok` and `checks`, each with `about`, `verdict` (ok, note or failed), `found`
    /// and, where there is something to do, `advice`.
    #[arg(long, requires = "check", help_heading = CHECK)]
    json: bool,
}

const CHECK: &str = "Check";

pub(super) fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    let env = Env::real();
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let config = match serve.settings.resolve(variables, |path| env.disk.read(path)) {
        Err(error) if serve.check => return check::show(&[check::unreadable(&error)], serve.json),
        config => config?,
    };
    // A checklist says by itself what is wrong.
    let usual = if serve.check { "off" } else { log::USUAL };
    let trouble = Trouble::new(Arc::clone(&env.clock));
    let quiet = log::start(config.log_format, usual, Arc::clone(&env.clock), trouble.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("strandline")
        .build()
        .context("cannot start the runtime")?;
    if serve.check {
        let findings = runtime.block_on(Box::pin(broker::check(&config, &env)));
        runtime.shutdown_background();
        return check::show(&findings, serve.json);
    }
    let ended = runtime.block_on(async {
        let tasks = task::Tasks::new();
        quiet.keep_counting(&tasks);
        let (ask, asked) = tokio::sync::watch::channel(StopAsked::No);
        let mut signals = Terminations::listen().context("cannot listen for signals")?;
        tasks.spawn("signals", async move {
            signals.next().await;
            ask.send_replace(StopAsked::Drain);
            signals.next().await;
            ask.send_replace(StopAsked::AtOnce);
            std::future::pending::<()>().await;
        });
        let say = |line: &str| output::line(line);
        let ended = Box::pin(broker::run(config, env, asked, trouble, &say)).await;
        tasks.abort().await;
        anyhow::Ok(ended?)
    });
    // Whatever still blocks (a bucket that hangs) must not hold the process.
    runtime.shutdown_background();
    quiet.tell_all();
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
