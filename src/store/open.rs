//! From a URL and options to a store: which bucket, in which decorators.
//!
//! Owns: `Options`, credentials as given, the composition. Invariant: a secret has no `Debug`.

use std::{fmt, sync::Arc, time::Duration};

use super::{Bucket, BucketUrl, Memory, Metrics, OpenError, Store, metrics::Metered};
use crate::env::Env;

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
    _options: &Options,
    env: &Env,
    metrics: &Metrics,
) -> Result<Store, OpenError> {
    let bucket: Arc<dyn Bucket> = match url {
        BucketUrl::Memory => Arc::new(Memory::new(Arc::clone(&env.clock))),
        _ => return Err(OpenError("only memory:// so far".to_owned())),
    };
    let metered = Metered::new(bucket, metrics.clone(), Arc::clone(&env.clock));
    Ok(Store::over(Arc::new(metered), env))
}
