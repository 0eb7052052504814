//! Every store is held to one suite, and every doubtful answer of a server to its meaning.
//!
//! Real servers: `localstack/servers start NAME`, the exports of `localstack/servers env NAME`,
//! then `cargo test --test store -- --ignored`.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod conformance;
mod double;
mod processes;
#[path = "../support/s3_double.rs"]
mod s3_double;

use strandline::{
    env::Env,
    metrics::Registry,
    store::{Credentials, Metrics, Options, Secret, Store},
};

/// A store at `url`.
async fn open(url: &str, options: &Options) -> Store {
    let metrics = Metrics::new(&mut Registry::default());
    Store::open(&url.parse().unwrap(), options, &Env::real(), metrics).await.unwrap()
}

fn keys(endpoint: &str, key_id: &str, secret: &str) -> Options {
    Options {
        s3_endpoint: Some(endpoint.to_owned()),
        s3_credentials: Credentials::Keys {
            key_id: key_id.to_owned(),
            secret: Secret(secret.to_owned()),
        },
        ..Options::default()
    }
}
