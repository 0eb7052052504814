//! From a URL and options to a store: which bucket, in which decorators.
//!
//! Owns: `Options`, credentials as given, the composition. Invariant: a secret has no `Debug`.

use std::{fmt, sync::Arc, time::Duration};

use object_store::{
    ObjectStore, RetryConfig, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
};

use super::{
    Bucket, BucketUrl, Failure, FailureKind, Memory, Metrics, OpenError, Store, folder::Folder,
    http::Connector, metrics::Metered, read_only::ReadOnly, remote::Remote, retry::Retrying, s3,
    url::Place,
};
use crate::env::Env;

type Client = Arc<dyn ObjectStore>;

/// What a bucket is opened with besides its URL.
#[derive(Clone, Debug)]
pub struct Options {
    /// Endpoint of a store that speaks S3 (`http://127.0.0.1:9000`); AWS when absent. Plain HTTP
    /// is taken only when written here.
    pub s3_endpoint: Option<String>,
    /// `BUCKET.host` in place of `host/BUCKET`; for endpoints that want it.
    pub s3_virtual_host: bool,
    /// Signs each body with SHA-256, for stores that insist; else a CRC-64 guards it.
    pub s3_signed_payload: bool,
    /// Who to be at an S3 store.
    pub s3_credentials: Credentials,
    /// Nothing may be written: no put, no delete, and a folder that is not there is not made.
    pub read_only: bool,
    /// How long a small request may take; a body gets a second more for each MiB.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            s3_endpoint: None,
            s3_virtual_host: false,
            s3_signed_payload: false,
            s3_credentials: Credentials::Chain,
            read_only: false,
            // Within it lie name lookup, TLS and credentials of a first request; a controller's
            // lease of 15 s survives one such try.
            timeout: Duration::from_secs(5),
        }
    }
}

/// Who to be at an S3 store.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The AWS chain: environment, profile and SSO, web identity, container, instance.
    Chain,
    /// These keys.
    Keys {
        /// Access key id.
        key_id: String,
        /// Secret access key.
        secret: Secret,
    },
    /// Unsigned requests.
    Anonymous,
}

/// Text that is never printed.
#[derive(Clone)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

pub(super) async fn open(
    url: &BucketUrl,
    options: &Options,
    env: &Env,
    metrics: &Metrics,
) -> Result<Store, OpenError> {
    if options.s3_endpoint.is_some() && !matches!(url, BucketUrl::S3(_)) {
        return Err(OpenError(format!("an S3 endpoint was given, but the bucket is {url}")));
    }
    let guarded = |bucket: Arc<dyn Bucket>| -> Arc<dyn Bucket> {
        if options.read_only { Arc::new(ReadOnly { inner: bucket }) } else { bucket }
    };
    let metered =
        |bucket| guarded(Arc::new(Metered::new(bucket, metrics.clone(), Arc::clone(&env.clock))));
    let place = match url {
        BucketUrl::Memory => {
            return Ok(Store::over(metered(Arc::new(Memory::new(Arc::clone(&env.clock)))), env));
        }
        BucketUrl::Folder(path) => {
            let folder = if options.read_only {
                Folder::open_as_it_is(path, env)?
            } else {
                Folder::open(path, env)?
            };
            return Ok(Store::over(metered(Arc::new(folder)), env));
        }
        BucketUrl::S3(place) | BucketUrl::Gcs(place) | BucketUrl::Azure(place) => place,
    };
    let (main, bulk) = clients(url, place, options, env).await?;
    let over = |client| -> Arc<dyn Bucket> {
        let remote = Remote {
            client,
            name: format!("bucket {}", place.bucket),
            prefix: place.prefix.clone(),
            by_generation: matches!(url, BucketUrl::Gcs(_)),
            timeout: options.timeout,
        };
        Arc::new(Retrying { inner: metered(Arc::new(remote)), entropy: Arc::clone(&env.entropy) })
    };
    Ok(Store { bulk: over(bulk), ..Store::over(over(main), env) })
}

/// One client for the small and urgent, one for large reads, with credentials in common.
async fn clients(
    url: &BucketUrl,
    place: &Place,
    options: &Options,
    env: &Env,
) -> Result<(Client, Client), OpenError> {
    let bucket = place.bucket.as_str();
    let connector = || Connector(env.background.clone());
    let both = match url {
        BucketUrl::Gcs(_) => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            let builder = builder.with_retry(no_retry());
            [builder.clone(), builder]
                .map(|builder| seam(builder.with_http_connector(connector()).build()))
        }
        BucketUrl::Azure(_) => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            let builder = builder.with_retry(no_retry());
            [builder.clone(), builder]
                .map(|builder| seam(builder.with_http_connector(connector()).build()))
        }
        BucketUrl::S3(_) | BucketUrl::Folder(_) | BucketUrl::Memory => {
            let builder = s3::builder(bucket, options, &env.clock).await?;
            let builder = builder.with_retry(no_retry());
            [builder.clone(), builder]
                .map(|builder| seam(builder.with_http_connector(connector()).build()))
        }
    };
    let cannot = |error: object_store::Error| {
        OpenError(Failure::new(FailureKind::Other, format!("{url}: {error}")).to_string())
    };
    let [main, bulk] = both;
    Ok((main.map_err(cannot)?, bulk.map_err(cannot)?))
}

fn seam<T: ObjectStore>(built: object_store::Result<T>) -> object_store::Result<Client> {
    Ok(Arc::new(built?))
}

/// Its own repeats of conditional writes turn a success into "already exists" (correctness.md 5.1).
fn no_retry() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}
