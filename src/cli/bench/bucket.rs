//! Reading a bucket's objects of records by ranged GETs, many at once, with nothing in between: what
//! a replay from this bucket can reach at most.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde::Serialize;
use url::Url;

use super::report::{Percentiles, Tally};
use crate::{
    cli::output,
    config,
    env::{Env, clock::Clock},
    store::path,
    types::ByteCount,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Bucket {
    /// The bucket of a cluster, as for `serve --bucket`
    #[arg(long, env = "STRANDLINE_BUCKET", value_name = "URL")]
    bucket: Url,
    /// Endpoint of an S3-compatible store
    #[arg(long, env = "STRANDLINE_S3_ENDPOINT", value_name = "URL")]
    s3_endpoint: Option<String>,
    /// Bytes of one GET
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = config::bytes)]
    range_bytes: ByteCount,
    /// GETs under way at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What it gave.
#[derive(Debug, Serialize)]
struct Gets {
    load: &'static str,
    bucket: String,
    objects: usize,
    requests: u64,
    bytes: u64,
    seconds: f64,
    megabytes_per_second: f64,
    latency_ms: Percentiles,
}

pub(super) async fn read(order: &Bucket) -> anyhow::Result<()> {
    let (store, prefix) = open(order)?;
    let prefix =
        path::data_prefix().as_str().split('/').fold(prefix, |prefix, part| prefix.join(part));
    let objects: Vec<_> = store
        .list(Some(&prefix))
        .try_collect()
        .await
        .with_context(|| format!("the bucket {} cannot be listed", order.bucket))?;
    anyhow::ensure!(!objects.is_empty(), "no objects of records are in {}", order.bucket);
    let clock = Env::real().clock;
    let began = clock.boot();
    let step = order.range_bytes.0.max(1);
    let gets = objects.iter().flat_map(|object| {
        let ranges = (0..object.size.div_ceil(step)).map(move |at| at * step);
        ranges.map(move |start| (&object.location, start..(start + step).min(object.size)))
    });
    let gets = stream::iter(gets).map(|(location, range)| get(&*store, location, range, &*clock));
    let tally = gets
        .buffer_unordered(order.at_once.into())
        .try_fold(Tally::new()?, async |mut tally, (bytes, took)| {
            tally.took(took);
            tally.done(1, bytes);
            Ok(tally)
        })
        .await?;
    let seconds = clock.boot().saturating_sub(began).as_secs_f64().max(1e-9);
    let found = Gets {
        load: "bucket",
        bucket: order.bucket.to_string(),
        objects: objects.len(),
        requests: tally.records,
        bytes: tally.bytes,
        seconds,
        megabytes_per_second: tally.megabytes() / seconds,
        latency_ms: tally.percentiles(),
    };
    found.print(order.json)
}

/// Bytes and time of one GET.
async fn get(
    store: &dyn ObjectStore,
    location: &Path,
    range: std::ops::Range<u64>,
    clock: &dyn Clock,
) -> anyhow::Result<(u64, Duration)> {
    let began = clock.boot();
    let bytes = store.get_range(location, range).await?;
    Ok((u64::try_from(bytes.len())?, clock.boot().saturating_sub(began)))
}

/// `object_store` by itself, and the cluster's prefix.
fn open(order: &Bucket) -> anyhow::Result<(Arc<dyn ObjectStore>, Path)> {
    let mut options: Vec<(String, String)> = Vec::new();
    let own =
        |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|cloud| name.starts_with(cloud));
    options.extend(std::env::vars().filter(|(name, _)| own(name)));
    if let Some(endpoint) = &order.s3_endpoint {
        options.push(("aws_endpoint".to_owned(), endpoint.clone()));
        options.push(("aws_allow_http".to_owned(), endpoint.starts_with("http://").to_string()));
    }
    let (store, prefix) = object_store::parse_url_opts(&order.bucket, options)?;
    Ok((store.into(), prefix))
}

impl Gets {
    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            output::line(serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        let Percentiles { p50, p99, p999, max } = self.latency_ms;
        output::line(format_args!(
            "bucket {}: {} objects, {} GETs, {:.1} s",
            self.bucket, self.objects, self.requests, self.seconds
        ));
        output::line(format_args!("  {:.1} MB/s", self.megabytes_per_second));
        output::line(format_args!(
            "  time of a GET: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms"
        ));
        Ok(())
    }
}
