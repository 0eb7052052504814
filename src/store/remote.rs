//! A bucket behind HTTP: S3, GCS, Azure, through `object_store`.
//!
//! Owns: one request a call, its deadline, what its answer means. Does not own: which store.
//! Invariants: nothing is retried below; a put is `Done` on a success with a version and else
//! `Unknown`, even where the store says the condition failed (see `Outcome::Refused`).

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use object_store::{
    GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, UpdateVersion, path::Path,
};

use super::{
    Failure, FailureKind, GetError, Key, Outcome,
    answer::{Meaning, meaning},
    bucket::{
        Bucket, Condition, Cutter, Found, Head, Listed, PAGE_KEYS, Page, Version, total_bytes,
    },
};
use crate::{env::clock, types::Millis};

/// The bucket.
#[derive(Debug)]
pub(super) struct Remote {
    /// The client; built with retries off.
    pub(super) client: Arc<dyn ObjectStore>,
    /// The bucket for people: `s3://NAME`.
    pub(super) name: String,
    /// Folder of the cluster, maybe empty.
    pub(super) prefix: String,
    /// Whether conditions go by generation (GCS) and not by ETag.
    pub(super) by_generation: bool,
    /// How long a small request may take.
    pub(super) timeout: Duration,
}

/// A second for each of these: slower than that is broken.
const SLOWEST_BYTES_A_SECOND: u64 = 1024 * 1024;

impl Remote {
    fn path(&self, key: &str) -> Path {
        match (self.prefix.as_str(), key) {
            ("", key) => Path::from(key),
            (prefix, "") => Path::from(prefix),
            (prefix, key) => Path::from(format!("{prefix}/{key}")),
        }
    }

    fn key<'a>(&self, path: &'a Path) -> Option<&'a str> {
        let rest = path.as_ref().strip_prefix(&self.prefix)?;
        if self.prefix.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    fn version(&self, etag: Option<String>, generation: Option<String>) -> Version {
        // The version id of a versioned S3 bucket is no condition, and not told everywhere.
        Version { etag, generation: generation.filter(|_| self.by_generation) }
    }

    fn failure(&self, error: &object_store::Error) -> Failure {
        match meaning(error, &self.name) {
            Meaning::Failed(failure) => failure,
            Meaning::NoObject | Meaning::NothingThere => {
                Failure::new(FailureKind::Other, format!("{} answered 404", self.name))
            }
            Meaning::Unchanged => {
                Failure::new(FailureKind::Conflict, format!("{} answered 304", self.name))
            }
        }
    }

    /// Runs a request whose body has `bytes`.
    async fn in_time<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = object_store::Result<T>> + Send,
    ) -> Result<object_store::Result<T>, Failure> {
        let allowed = self.timeout + Duration::from_secs(bytes / SLOWEST_BYTES_A_SECOND);
        clock::timeout(allowed, request).await.map_err(|_| {
            let text = format!("{} did not answer within {allowed:?}", self.name);
            Failure::new(FailureKind::Timeout, text)
        })
    }

    async fn ask(&self, key: &Key, options: GetOptions) -> Result<Option<GetResult>, GetError> {
        let path = self.path(key.as_str());
        match self.in_time(0, self.client.get_opts(&path, options)).await? {
            Ok(result) => Ok(Some(result)),
            Err(error) => match meaning(&error, &self.name) {
                Meaning::Unchanged => Ok(None),
                Meaning::NoObject => Err(GetError::Absent),
                Meaning::NothingThere => Err(self.failure(&error).into()),
                Meaning::Failed(failure) => Err(failure.into()),
            },
        }
    }

    async fn body(&self, result: GetResult) -> Result<Bytes, Failure> {
        let length = result.range.end.saturating_sub(result.range.start);
        self.in_time(length, result.bytes()).await?.map_err(|error| self.failure(&error))
    }

    fn unasked(&self) -> Failure {
        Failure::new(FailureKind::Other, format!("{} answered 304", self.name))
    }

    fn listed(&self, meta: &ObjectMeta) -> Option<Listed> {
        let key = Key::listed(self.key(&meta.location)?);
        Some(Listed { key, bytes: meta.size, modified: modified(meta) })
    }
}

fn modified(meta: &ObjectMeta) -> Millis {
    Millis(meta.last_modified.timestamp_millis())
}

fn bounded(range: Range<u64>) -> GetOptions {
    GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() }
}

#[async_trait]
impl Bucket for Remote {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        let if_none_match = unless.and_then(|version| version.etag.clone());
        let options = GetOptions { if_none_match, ..GetOptions::default() };
        let Some(result) = self.ask(key, options).await? else { return Ok(None) };
        let version = self.version(result.meta.e_tag.clone(), result.meta.version.clone());
        Ok(Some(Found { bytes: self.body(result).await?, version }))
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        let result = self.ask(key, bounded(range)).await?.ok_or_else(|| self.unasked())?;
        Ok(self.body(result).await?)
    }

    async fn get_pieces(
        &self,
        key: &Key,
        start: u64,
        lengths: &[usize],
    ) -> Result<Vec<Bytes>, GetError> {
        let mut cutter = Cutter::new(lengths);
        let range = start..start.saturating_add(cutter.total());
        let result = self.ask(key, bounded(range.clone())).await?;
        let mut body = result.ok_or_else(|| self.unasked())?.into_stream();
        // Straight from the connection's buffers into the pieces: the only copy there is.
        let cutting = async {
            while let Some(bytes) = body.next().await {
                cutter.push(&bytes?);
            }
            Ok(())
        };
        let cut = self.in_time(range.end - range.start, cutting).await?;
        cut.map_err(|error| self.failure(&error))?;
        Ok(cutter.finish(key)?)
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        let path = self.path(key.as_str());
        match self.in_time(0, self.client.head(&path)).await? {
            Ok(meta) => Ok(Head { bytes: meta.size, modified: modified(&meta) }),
            Err(error) => match meaning(&error, &self.name) {
                Meaning::NoObject => Err(GetError::Absent),
                // A reply to HEAD has no body to say what is missing: the object or the bucket.
                Meaning::NothingThere => match self.ask(key, bounded(0..1)).await {
                    Err(error) => Err(error),
                    Ok(_) => Err(self.failure(&error).into()),
                },
                Meaning::Unchanged | Meaning::Failed(_) => Err(self.failure(&error).into()),
            },
        }
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        let bytes = total_bytes(&parts);
        let mode = match condition {
            Condition::Absent => PutMode::Create,
            Condition::Matches(version) => PutMode::Update(UpdateVersion {
                e_tag: version.etag.clone(),
                version: version.generation.clone(),
            }),
        };
        let path = self.path(key.as_str());
        let payload = PutPayload::from_iter(parts);
        let request = self.client.put_opts(&path, payload, PutOptions::from(mode));
        match self.in_time(bytes, request).await {
            Err(late) => Outcome::Unknown(late),
            Ok(Ok(put)) if put.e_tag.is_none() && put.version.is_none() => {
                let text = format!("{} took a write and told no version of it", self.name);
                Outcome::Unknown(Failure::new(FailureKind::Other, text))
            }
            Ok(Ok(put)) => Outcome::Done(self.version(put.e_tag, put.version)),
            Ok(Err(error)) => Outcome::Unknown(match (meaning(&error, &self.name), condition) {
                // S3 says so when the object to replace is not there.
                (Meaning::NoObject | Meaning::NothingThere, Condition::Matches(_)) => {
                    let text = format!("{} has no object to replace", self.name);
                    Failure::new(FailureKind::Conflict, text)
                }
                _ => self.failure(&error),
            }),
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        let path = self.path(key.as_str());
        match self.in_time(0, self.client.delete(&path)).await? {
            Ok(()) => Ok(()),
            Err(error) => match meaning(&error, &self.name) {
                Meaning::NoObject => Ok(()),
                Meaning::NothingThere | Meaning::Unchanged | Meaning::Failed(_) => {
                    Err(self.failure(&error))
                }
            },
        }
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        let prefix = Some(self.path(prefix.as_str())).filter(|path| !path.as_ref().is_empty());
        let mut stream = match after {
            Some(key) => {
                let after = self.path(key.as_str());
                self.client.list_with_offset(prefix.as_ref(), &after)
            }
            None => self.client.list(prefix.as_ref()),
        };
        // A full page is one request; the one after it would be another.
        let page = async {
            let mut found = Vec::new();
            while found.len() < PAGE_KEYS
                && let Some(meta) = stream.next().await
            {
                found.push(meta?);
            }
            Ok(found)
        };
        let found = self.in_time(0, page).await?.map_err(|error| self.failure(&error))?;
        let listed = found.iter().filter_map(|meta| self.listed(meta)).collect();
        Ok(Page { listed, more: found.len() == PAGE_KEYS })
    }
}
