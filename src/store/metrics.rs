//! Requests to the bucket, counted, and the decorator that counts them.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

use super::{
    Failure, GetError, Key, Outcome,
    bucket::{Bucket, Condition, Found, Head, Page, Version, total_bytes},
};
use crate::{
    env::clock::Clock,
    metrics::{Histogram, Registry},
};

/// What requests to the bucket cost.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Request, Counter>,
    bytes: Family<Operation, Counter>,
    seconds: Family<Operation, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

impl Metrics {
    /// Metrics in `registry`.
    pub fn new(registry: &mut Registry) -> Self {
        let new = Self {
            requests: Family::default(),
            bytes: Family::default(),
            seconds: Family::new_with_constructor(Histogram::seconds),
        };
        let help = "Requests to the bucket by operation and outcome";
        registry.register("store_requests", help, new.requests.clone());
        registry.register("store_bytes", "Bytes of bodies by operation", new.bytes.clone());
        registry.register("store_request_seconds", "Time of a request", new.seconds.clone());
        new
    }

    fn note(&self, operation: &'static str, outcome: &'static str, bytes: u64, took: Duration) {
        self.requests.get_or_create(&Request { operation, outcome }).inc();
        self.bytes.get_or_create(&Operation { operation }).inc_by(bytes);
        self.seconds.get_or_create(&Operation { operation }).observe(took);
    }
}

/// Counts what passes through it.
pub(super) struct Metered {
    inner: Arc<dyn Bucket>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Metered {
    pub(super) fn new(inner: Arc<dyn Bucket>, metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        Self { inner, metrics, clock }
    }

    fn note(&self, operation: &'static str, outcome: &'static str, bytes: u64, since: Duration) {
        let took = self.clock.boot().saturating_sub(since);
        self.metrics.note(operation, outcome, bytes, took);
    }
}

fn of_read<T>(result: &Result<T, GetError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(GetError::Absent) => "absent",
        Err(GetError::Failed(failure)) => failure.kind().as_str(),
    }
}

fn of<T>(result: &Result<T, Failure>) -> &'static str {
    result.as_ref().map_or_else(|failure| failure.kind().as_str(), |_| "done")
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Bucket for Metered {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        let since = self.clock.boot();
        let result = self.inner.get(key, unless).await;
        let bytes = match &result {
            Ok(Some(found)) => length(&found.bytes),
            Ok(None) | Err(_) => 0,
        };
        self.note("get", of_read(&result), bytes, since);
        result
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        let since = self.clock.boot();
        let result = self.inner.get_range(key, range).await;
        self.note("get_range", of_read(&result), result.as_ref().map_or(0, length), since);
        result
    }

    async fn get_pieces(
        &self,
        key: &Key,
        start: u64,
        lengths: &[usize],
    ) -> Result<Vec<Bytes>, GetError> {
        let since = self.clock.boot();
        let result = self.inner.get_pieces(key, start, lengths).await;
        let bytes = result.as_ref().map_or(0, |pieces| pieces.iter().map(length).sum());
        self.note("get_range", of_read(&result), bytes, since);
        result
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        let since = self.clock.boot();
        let result = self.inner.head(key).await;
        self.note("head", of_read(&result), 0, since);
        result
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        let since = self.clock.boot();
        let bytes = total_bytes(&parts);
        let outcome = self.inner.put(key, condition, parts).await;
        let operation = match condition {
            Condition::Absent => "create",
            Condition::Matches(_) => "replace",
        };
        let name = match &outcome {
            Outcome::Done(_) => "done",
            Outcome::Refused => "refused",
            Outcome::Unknown(failure) => failure.kind().as_str(),
        };
        self.note(operation, name, bytes, since);
        outcome
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        let since = self.clock.boot();
        let result = self.inner.delete(key).await;
        self.note("delete", of(&result), 0, since);
        result
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        let since = self.clock.boot();
        let result = self.inner.list(prefix, after).await;
        self.note("list", of(&result), 0, since);
        result
    }
}
