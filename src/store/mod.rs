//! The bucket: S3 and its kin, GCS, Azure, a local folder, memory.
//!
//! Owns: every key (`path`), requests and their three ends, the contract test of a store, health,
//! metrics and faults as decorators. Does not own: what objects hold, what callers do about an
//! unknown outcome. Invariants: a write is tried once; `Done` means durable; nothing printed
//! here carries a secret.

mod answer;
pub mod bucket;
mod contract;
mod error;
mod faulty;
mod folder;
mod health;
mod http;
mod latency;
mod memory;
mod metrics;
mod open;
mod pace;
pub mod path;
mod read_only;
mod remote;
mod retry;
mod s3;
mod url;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use self::{bucket::total_bytes, health::Health};
pub use self::{
    bucket::{Bucket, Condition, Found, Head, Listed, PAGE_KEYS, Page, Version},
    contract::{CheckError, ContractReport, Step},
    error::{Failure, FailureKind, GetError, OpenError, Outcome},
    faulty::{Fault, Faulty, Rates},
    health::Away,
    latency::Latency,
    memory::Memory,
    metrics::Metrics,
    open::{Credentials, Options, Secret},
    pace::{Pace, paced},
    path::Key,
    url::BucketUrl,
};
use crate::env::Env;

/// A handle of one bucket prefix: the home of one cluster.
#[derive(Clone, Debug)]
pub struct Store {
    bucket: Arc<dyn Bucket>,
    bulk: Arc<dyn Bucket>,
    env: Env,
    health: Health,
}

impl Store {
    /// The bucket at `url`. Sends nothing: a bucket that is down or does not exist shows at the
    /// first request.
    ///
    /// # Errors
    /// What no waiting repairs: options that contradict each other, a folder that cannot be made.
    pub async fn open(
        url: &BucketUrl,
        options: &Options,
        env: &Env,
        metrics: Metrics,
    ) -> Result<Self, OpenError> {
        open::open(url, options, env, &metrics).await
    }

    /// A handle over any bucket: tests and the simulator compose their own.
    pub fn over(bucket: Arc<dyn Bucket>, env: &Env) -> Self {
        Self { bulk: Arc::clone(&bucket), bucket, env: env.clone(), health: Health::new() }
    }

    /// An empty bucket in memory.
    #[must_use]
    pub fn in_memory(env: &Env) -> Self {
        Self::over(Arc::new(Memory::new(Arc::clone(&env.clock))), env)
    }

    /// A whole object.
    ///
    /// # Errors
    /// `Absent`, or a failure that says nothing about the object.
    pub async fn get(&self, key: &Key) -> Result<Found, GetError> {
        let found = self.read(self.bucket.get(key, None).await)?;
        found.ok_or_else(|| unasked_unchanged(key).into())
    }

    /// A whole object, or `None` while it still has `version`.
    ///
    /// # Errors
    /// As `get`.
    pub async fn get_unless(
        &self,
        key: &Key,
        version: &Version,
    ) -> Result<Option<Found>, GetError> {
        let found = self.read(self.bucket.get(key, Some(version)).await)?;
        // A store may ignore the condition and send the same object again.
        Ok(found.filter(|found| found.version != *version))
    }

    /// Exactly the bytes of `range`, all of which the object must have.
    ///
    /// # Errors
    /// As `get`; a range the object does not have is a failure.
    pub async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = range.end - range.start;
        let bytes = self.read(self.bucket.get_range(key, range).await)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length != wanted {
            let text = format!("{length} bytes came of the {wanted} asked for of {key}");
            return Err(Failure::new(FailureKind::Other, text).into());
        }
        Ok(bytes)
    }

    /// Exactly the bytes from `start` on, in pieces of these lengths, by one request. Each piece
    /// has memory of its own.
    ///
    /// # Errors
    /// As `get_range`.
    pub async fn get_pieces(
        &self,
        key: &Key,
        start: u64,
        lengths: &[usize],
    ) -> Result<Vec<Bytes>, GetError> {
        self.read(self.bucket.get_pieces(key, start, lengths).await)
    }

    /// An object's length and time.
    ///
    /// # Errors
    /// As `get`.
    pub async fn head(&self, key: &Key) -> Result<Head, GetError> {
        self.read(self.bucket.head(key).await)
    }

    /// Writes an object where none is. One try.
    pub async fn create(&self, key: &Key, parts: Vec<Bytes>) -> Outcome<Version> {
        self.put(key, &Condition::Absent, parts).await
    }

    /// Writes an object over the one that has `version`. One try.
    pub async fn replace(
        &self,
        key: &Key,
        version: &Version,
        parts: Vec<Bytes>,
    ) -> Outcome<Version> {
        self.put(key, &Condition::Matches(version.clone()), parts).await
    }

    /// Deletes an object; an absent one is fine. There is no condition: call it only for keys
    /// that are never written again.
    ///
    /// # Errors
    /// A failure: it may be gone, go later, or stay.
    pub async fn delete(&self, key: &Key) -> Result<(), Failure> {
        self.note(self.bucket.delete(key).await)
    }

    /// One page (at most `PAGE_KEYS`) of the objects in the folder `prefix`, in key order, from
    /// the first after `after`. Ask again after the last one while `more`.
    ///
    /// # Errors
    /// A failure.
    pub async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        self.note(self.bucket.list(prefix, after).await)
    }

    /// Whether the last request failed (`Absent` and lost conditions are answers).
    #[must_use]
    pub fn away(&self) -> bool {
        self.health.is_away()
    }

    /// Follows whether the bucket is away, since when and why.
    #[must_use]
    pub fn subscribe_away(&self) -> watch::Receiver<Option<Away>> {
        self.health.subscribe()
    }

    /// Puts the store to the test of what the protocol needs (about 40 requests on throw-away
    /// keys).
    ///
    /// # Errors
    /// `Broken` names the lie in plain words: never run on such a store. `Failed` says nothing
    /// about its honesty: try again.
    pub async fn check_contract(&self) -> Result<ContractReport, CheckError> {
        contract::check(self, &self.env).await
    }

    /// Measures requests of a few kinds, `rounds` of each on throw-away keys; `tell` hears of each
    /// round that is done.
    ///
    /// # Errors
    /// The first request that fails.
    pub async fn measure(
        &self,
        rounds: u32,
        tell: &mut (dyn FnMut() + Send),
    ) -> Result<Vec<Latency>, Failure> {
        latency::measure(self, &self.env, rounds, tell).await
    }

    /// The same bucket through its own HTTP client, so that large reads do not stand in the way
    /// of writes. It has its own health, for a slow large read does not mean the bucket is away.
    #[must_use]
    pub fn for_bulk_reads(&self) -> Self {
        Self { bucket: Arc::clone(&self.bulk), health: Health::new(), ..self.clone() }
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        let bytes = total_bytes(&parts);
        let outcome = self.bucket.put(key, condition, parts).await;
        match &outcome {
            Outcome::Done(_) | Outcome::Refused => self.answered(),
            Outcome::Unknown(failure) => {
                tracing::debug!(%key, bytes, kind = %failure.kind(), reason = %failure, "put unknown");
                self.health.failed(failure, self.env.clock.boot());
            }
        }
        outcome
    }

    fn read<T>(&self, result: Result<T, GetError>) -> Result<T, GetError> {
        match &result {
            Ok(_) | Err(GetError::Absent) => self.answered(),
            Err(GetError::Failed(failure)) => {
                self.health.failed(failure, self.env.clock.boot());
            }
        }
        result
    }

    fn answered(&self) {
        self.health.answered(self.env.clock.boot());
    }

    fn note<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        match &result {
            Ok(_) => self.answered(),
            Err(failure) => self.health.failed(failure, self.env.clock.boot()),
        }
        result
    }
}

fn unasked_unchanged(key: &Key) -> Failure {
    Failure::new(FailureKind::Other, format!("{key} came back as unchanged, unasked"))
}

#[cfg(test)]
mod tests;
