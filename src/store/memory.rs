//! A bucket in this process's memory: gone with it. Also the reference every other is held to.
//!
//! Invariant: one lock decides every condition.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Failure, FailureKind, GetError, Key, Outcome,
    bucket::{Bucket, Condition, Found, Head, Listed, PAGE_KEYS, Page, Version, lies_in},
};
use crate::{env::clock::Clock, types::Millis};

/// The bucket.
#[derive(Debug)]
pub struct Memory {
    clock: Arc<dyn Clock>,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    objects: BTreeMap<String, Object>,
    writes: u64,
}

#[derive(Debug)]
struct Object {
    bytes: Bytes,
    version: u64,
    modified: Millis,
}

impl Object {
    fn version(&self) -> Version {
        Version::of_etag(self.version.to_string())
    }

    fn length(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }
}

impl Memory {
    /// An empty bucket.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, content: Mutex::default() }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Bucket for Memory {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        let content = self.content();
        let object = content.objects.get(key.as_str()).ok_or(GetError::Absent)?;
        let version = object.version();
        if unless == Some(&version) {
            return Ok(None);
        }
        Ok(Some(Found { bytes: object.bytes.clone(), version }))
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        let content = self.content();
        let object = content.objects.get(key.as_str()).ok_or(GetError::Absent)?;
        let beyond = || Failure::new(FailureKind::Other, format!("no bytes {range:?} in {key}"));
        if range.start > range.end || range.end > object.length() {
            return Err(beyond().into());
        }
        let start = usize::try_from(range.start).map_err(|_| beyond())?;
        let end = usize::try_from(range.end).map_err(|_| beyond())?;
        Ok(object.bytes.slice(start..end))
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        let content = self.content();
        let object = content.objects.get(key.as_str()).ok_or(GetError::Absent)?;
        Ok(Head { bytes: object.length(), modified: object.modified })
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        // A copy, as any store makes one: callers reuse the buffers they wrote from.
        let bytes = Bytes::from(parts.concat());
        let modified = self.clock.wall();
        let mut content = self.content();
        let current = content.objects.get(key.as_str()).map(Object::version);
        let holds = match condition {
            Condition::Absent => current.is_none(),
            Condition::Matches(version) => current.as_ref() == Some(version),
        };
        if !holds {
            return Outcome::Refused;
        }
        content.writes += 1;
        let object = Object { bytes, version: content.writes, modified };
        let version = object.version();
        content.objects.insert(key.as_str().to_owned(), object);
        Outcome::Done(version)
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        self.content().objects.remove(key.as_str());
        Ok(())
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        let content = self.content();
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_str()));
        let mut found = content
            .objects
            .range::<str, _>((start, Bound::Unbounded))
            .filter(|(key, _)| lies_in(key, prefix));
        let listed = found
            .by_ref()
            .take(PAGE_KEYS)
            .map(|(key, object)| Listed {
                key: Key::listed(key),
                bytes: object.length(),
                modified: object.modified,
            })
            .collect();
        Ok(Page { listed, more: found.next().is_some() })
    }
}
