//! S3 and its kin: where it is and who we are there.
//!
//! Owns: the bridge from the AWS credential chain to `object_store`, the client's settings.
//! Invariant: a key is asked for again before it expires, and by one request at a time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_config::{
    BehaviorVersion, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider,
};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::{
    CredentialProvider, StaticCredentialProvider,
    aws::{AmazonS3Builder, AwsCredential, Checksum},
};
use tokio::sync::Mutex;

use super::{
    OpenError,
    open::{Credentials, Options},
};
use crate::{env::clock::Clock, types::Millis};

/// A builder with everything but the HTTP side.
pub(super) async fn builder(
    bucket: &str,
    options: &Options,
    clock: &Arc<dyn Clock>,
) -> Result<AmazonS3Builder, OpenError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(options.s3_virtual_host)
        // One DELETE a key: not every store has the bulk form.
        .with_disable_bulk_delete(true)
        // SHA-256 over each body costs more CPU than all else of an upload. TLS guards the way;
        // the CRC-64, which AWS, MinIO and others check and the rest ignore, guards the store.
        .with_unsigned_payload(!options.s3_signed_payload)
        .with_checksum_algorithm(Checksum::CRC64NVME);
    let config = match &options.s3_credentials {
        Credentials::Chain => Some(chain(options).await),
        Credentials::Keys { .. } | Credentials::Anonymous => None,
    };
    let from_chain = config.as_ref().and_then(|config| config.endpoint_url().map(str::to_owned));
    if let Some(endpoint) = options.s3_endpoint.clone().or(from_chain) {
        let plain = endpoint.starts_with("http://");
        if !plain && !endpoint.starts_with("https://") {
            let form = "an S3 endpoint is written http://HOST:PORT or https://HOST";
            return Err(OpenError(form.to_owned()));
        }
        if endpoint.contains('@') || endpoint.contains('?') {
            return Err(OpenError("an S3 endpoint carries no credentials".to_owned()));
        }
        builder = builder.with_endpoint(endpoint.trim_end_matches('/')).with_allow_http(plain);
    }
    let region = config.as_ref().and_then(SdkConfig::region);
    builder = builder.with_region(region.map_or("us-east-1", |region| region.as_ref()));
    Ok(match (&options.s3_credentials, config) {
        (Credentials::Anonymous, _) => builder.with_skip_signature(true),
        (Credentials::Keys { key_id, secret }, _) => {
            let (key_id, secret_key) = (key_id.clone(), secret.0.clone());
            let key = AwsCredential { key_id, secret_key, token: None };
            builder.with_credentials(Arc::new(StaticCredentialProvider::new(key)))
        }
        (Credentials::Chain, config) => {
            let source = config.and_then(|config| config.credentials_provider());
            let source = source.ok_or_else(|| {
                OpenError("the AWS configuration names no source of credentials".to_owned())
            })?;
            builder.with_credentials(Arc::new(SdkCredentials::new(source, Arc::clone(clock))))
        }
    })
}

async fn chain(options: &Options) -> SdkConfig {
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let region = match &options.s3_endpoint {
        // Elsewhere than at AWS the region is a word, and no instance knows it.
        Some(_) => region.or_else("us-east-1"),
        None => region.or_default_provider().or_else("us-east-1"),
    };
    aws_config::defaults(BehaviorVersion::latest()).region(region).load().await
}

/// The AWS chain (environment, profile and SSO, web identity, container, instance) as
/// `object_store` asks for it.
#[derive(Debug)]
struct SdkCredentials {
    source: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    cached: Mutex<Option<Cached>>,
}

#[derive(Clone, Debug)]
struct Cached {
    key: Arc<AwsCredential>,
    expires: Option<Millis>,
}

impl Cached {
    fn lasts(&self, now: Millis, longer: Duration) -> bool {
        let longer = i64::try_from(longer.as_millis()).unwrap_or(i64::MAX);
        self.expires.is_none_or(|expires| expires.0.saturating_sub(longer) > now.0)
    }
}

/// How long before its end a key is replaced; instance roles hand out the next one by then.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

impl SdkCredentials {
    fn new(source: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, cached: Mutex::new(None) }
    }
}

#[async_trait]
impl CredentialProvider for SdkCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // Held while asking, so that a burst of requests asks once.
        let mut cached = self.cached.lock().await;
        let now = self.clock.wall();
        if let Some(cached) = cached.as_ref().filter(|cached| cached.lasts(now, RENEW_BEFORE)) {
            return Ok(Arc::clone(&cached.key));
        }
        match self.source.provide_credentials().await {
            Ok(found) => {
                let key = Arc::new(AwsCredential {
                    key_id: found.access_key_id().to_owned(),
                    secret_key: found.secret_access_key().to_owned(),
                    token: found.session_token().map(str::to_owned),
                });
                let since = |time: std::time::SystemTime| {
                    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
                };
                let expires = found.expiry().map(since);
                *cached = Some(Cached { key: Arc::clone(&key), expires });
                Ok(key)
            }
            // A hiccup of the source does not matter while the old key still works.
            Err(error) => {
                match cached.as_ref().filter(|cached| cached.lasts(now, Duration::ZERO)) {
                    Some(cached) => Ok(Arc::clone(&cached.key)),
                    None => {
                        Err(object_store::Error::Generic { store: "S3", source: Box::new(error) })
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::UNIX_EPOCH,
    };

    use aws_credential_types::{
        Credentials as Key,
        provider::{error::CredentialsError, future},
    };

    use super::*;
    use crate::env::sim::SimClock;

    /// Gives a key of ten minutes each time until it breaks down.
    #[derive(Clone, Debug, Default)]
    struct Source {
        asked: Arc<AtomicU32>,
        works_for: u32,
    }

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            future::ProvideCredentials::ready(if asked <= self.works_for {
                let expires = UNIX_EPOCH + Duration::from_secs(600 * u64::from(asked));
                Ok(Key::new(format!("key-{asked}"), "CANARY", None, Some(expires), "test"))
            } else {
                Err(CredentialsError::not_loaded("gone"))
            })
        }
    }

    #[tokio::test]
    async fn a_key_is_renewed_before_it_expires_and_used_until_then() {
        let clock = Arc::new(SimClock::at(Millis(0)));
        let source = Source { works_for: 1, ..Source::default() };
        let shared = SharedCredentialsProvider::new(source.clone());
        let dynamic: Arc<dyn Clock> = clock.clone();
        let credentials = SdkCredentials::new(shared, dynamic);
        let asked = || source.asked.load(Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(credentials.get_credential().await.unwrap().key_id, "key-1");
        }
        assert_eq!(asked(), 1);
        clock.pass(Duration::from_secs(400));
        assert_eq!(credentials.get_credential().await.unwrap().key_id, "key-1");
        assert_eq!(asked(), 2, "within five minutes of the end it asks again");
        clock.pass(Duration::from_secs(201));
        assert!(credentials.get_credential().await.is_err());
    }

    #[tokio::test]
    async fn concurrent_requests_ask_the_source_once() {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::at(Millis(0)));
        let source = Source { works_for: 9, ..Source::default() };
        let credentials =
            SdkCredentials::new(SharedCredentialsProvider::new(source.clone()), clock);
        let keys = futures::future::join_all((0..16).map(|_| credentials.get_credential())).await;
        assert!(keys.iter().all(|key| key.is_ok()));
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    }
}
