//! `strandline bucket`: look at a bucket with no broker running.

mod check;
mod ls;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{
    env::Env,
    metrics::Registry,
    store::{self, BucketUrl, Store},
};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Put a bucket to the contract test, and measure how fast it answers
    Check(check::Order),
    /// List what is in a bucket, topic by topic; only reads
    #[command(visible_alias = "list")]
    Ls(ls::Order),
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

impl Target {
    pub(super) async fn open(&self, env: &Env, read_only: bool) -> anyhow::Result<Store> {
        let options = store::Options {
            s3_endpoint: self.s3_endpoint.clone(),
            read_only,
            ..store::Options::default()
        };
        let metrics = store::Metrics::new(&mut Registry::default());
        Ok(Store::open(&self.bucket, &options, env, metrics).await?)
    }
}

pub(super) async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Check(order) => check::run(order).await,
        Action::Ls(order) => ls::run(order).await,
    }
}
