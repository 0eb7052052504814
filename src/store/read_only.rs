//! A bucket that is looked at and never written to.
//!
//! Invariant: no put and no delete reaches the store.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Failure, FailureKind, GetError, Key, Outcome,
    bucket::{Bucket, Condition, Found, Head, Page, Version},
};

/// A decorator that lets reads through.
#[derive(Debug)]
pub(super) struct ReadOnly {
    pub(super) inner: Arc<dyn Bucket>,
}

fn refusal(key: &Key) -> Failure {
    Failure::new(
        FailureKind::Other,
        format!("{key} is not written: the bucket is open for reading"),
    )
}

#[async_trait]
impl Bucket for ReadOnly {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        self.inner.get(key, unless).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        self.inner.head(key).await
    }

    async fn put(&self, key: &Key, _: &Condition, _: Vec<Bytes>) -> Outcome<Version> {
        Outcome::Unknown(refusal(key))
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        Err(refusal(key))
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        self.inner.list(prefix, after).await
    }
}
