//! Reads that fail for a moment are tried again; writes never are.
//!
//! The usual cause is a pooled connection the server has just closed. A bucket that stays away is
//! the caller's matter.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Failure, FailureKind, GetError, Key, Outcome,
    bucket::{Bucket, Condition, Found, Head, Page, Version},
};
use crate::env::{clock, entropy::Entropy};

/// Tries of one read.
const TRIES: u32 = 3;
/// Longest wait before the second; doubled before each further one.
const WAIT_MS: u64 = 50;

/// The decorator.
#[derive(Debug)]
pub(super) struct Retrying {
    pub(super) inner: Arc<dyn Bucket>,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl Retrying {
    async fn again(&self, failure: &Failure, tries: &mut u32) -> bool {
        *tries += 1;
        let passing = match failure.kind() {
            FailureKind::Connection | FailureKind::Throttled => true,
            // A timeout has cost its time already; the rest does not pass by itself.
            FailureKind::Timeout
            | FailureKind::Denied
            | FailureKind::Conflict
            | FailureKind::NoBucket
            | FailureKind::Other => false,
        };
        if !passing || *tries >= TRIES {
            return false;
        }
        let longest = WAIT_MS << *tries;
        clock::sleep(Duration::from_millis(self.entropy.below(longest))).await;
        true
    }
}

macro_rules! read {
    ($self:ident, $request:expr) => {{
        let mut tries = 0;
        loop {
            match $request.await {
                Err(GetError::Failed(failure)) if $self.again(&failure, &mut tries).await => {}
                settled => break settled,
            }
        }
    }};
}

macro_rules! plain {
    ($self:ident, $request:expr) => {{
        let mut tries = 0;
        loop {
            match $request.await {
                Err(failure) if $self.again(&failure, &mut tries).await => {}
                settled => break settled,
            }
        }
    }};
}

#[async_trait]
impl Bucket for Retrying {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        read!(self, self.inner.get(key, unless))
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        read!(self, self.inner.get_range(key, range.clone()))
    }

    async fn get_pieces(
        &self,
        key: &Key,
        start: u64,
        lengths: &[usize],
    ) -> Result<Vec<Bytes>, GetError> {
        read!(self, self.inner.get_pieces(key, start, lengths))
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        read!(self, self.inner.head(key))
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        self.inner.put(key, condition, parts).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        plain!(self, self.inner.delete(key))
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        plain!(self, self.inner.list(prefix, after))
    }
}
