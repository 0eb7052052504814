//! `strandline bucket`: look at a bucket with no broker running.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output;
use crate::{
    env::Env,
    metrics::Registry,
    store::{self, BucketUrl, CheckError, Store},
};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Put a bucket to the contract test: whether it keeps the promises a cluster rests on
    Check(Target),
}

#[derive(Args, Debug)]
pub(super) struct Target {
    /// The bucket, as for `serve --bucket`
    #[arg(env = "STRANDLINE_BUCKET", value_name = "URL")]
    bucket: BucketUrl,
    /// Endpoint of an S3-compatible store
    #[arg(long, env = "STRANDLINE_S3_ENDPOINT", value_name = "URL")]
    s3_endpoint: Option<String>,
}

pub(super) fn run(action: &Action) -> anyhow::Result<ExitCode> {
    let Action::Check(target) = action;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(check(target))
}

async fn check(target: &Target) -> anyhow::Result<ExitCode> {
    let env = Env::real();
    let options =
        store::Options { s3_endpoint: target.s3_endpoint.clone(), ..store::Options::default() };
    let metrics = store::Metrics::new(&mut Registry::default());
    let store = Store::open(&target.bucket, &options, &env, metrics).await?;
    match store.check_contract().await {
        Ok(report) => {
            for step in report.steps {
                output::line(format!("ok  {:>6.0?}  {}", step.took, step.name));
            }
            output::line("this bucket keeps the contract");
            Ok(ExitCode::SUCCESS)
        }
        Err(CheckError::Broken { finding }) => {
            anyhow::bail!("this bucket cannot be trusted with a cluster: {finding}")
        }
        Err(other) => Err(other.into()),
    }
}
