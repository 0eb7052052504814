//! The seam: what every store can do, one request a call, no retries.
//!
//! Owns: the `Bucket` trait and the words of its answers. Does not own: any store.
//! Invariants: `put` says `Done` only when the object would survive the store's crash, `Refused`
//! only when nothing of ours can have been written; conditions are decided atomically.

use std::{fmt, ops::Range};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{Failure, FailureKind, GetError, Key, Outcome};
use crate::types::Millis;

/// Which content an object has, as its store tells; opaque, compared for equality only. Equal
/// content may give an equal version: what is compared and set carries a nonce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// ETag, of stores that go by it (S3, Azure, folder, memory).
    pub(super) etag: Option<String>,
    /// Generation, of stores that go by it (GCS).
    pub(super) generation: Option<String>,
}

impl Version {
    pub(super) fn of_etag(etag: String) -> Self {
        Self { etag: Some(etag), generation: None }
    }
}

/// A whole object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its content.
    pub bytes: Bytes,
    /// Which content that is.
    pub version: Version,
}

/// An object's outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock (whole seconds over HTTP).
    pub modified: Millis,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key; `path::name` tells whether it is one of ours.
    pub key: Key,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: Millis,
}

/// One page of a listing, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most `PAGE_KEYS` objects.
    pub listed: Vec<Listed>,
    /// Whether to ask again, after the last one of these.
    pub more: bool,
}

/// Objects in a full page.
pub const PAGE_KEYS: usize = 1000;

/// Under which condition a put may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No object has the key.
    Absent,
    /// The object there has this version.
    Matches(Version),
}

/// A store. Implementations are exact about conditions; decorators wrap them.
#[async_trait]
pub trait Bucket: fmt::Debug + Send + Sync {
    /// A whole object; `Ok(None)` when it still has the version `unless`.
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError>;
    /// Exactly the bytes of `range`.
    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError>;
    /// Exactly the bytes from `start` on, in pieces of these lengths. Each piece has memory of its
    /// own, so that one that is kept does not keep the others.
    async fn get_pieces(
        &self,
        key: &Key,
        start: u64,
        lengths: &[usize],
    ) -> Result<Vec<Bytes>, GetError> {
        let mut cutter = Cutter::new(lengths);
        let bytes = self.get_range(key, start..start.saturating_add(cutter.total())).await?;
        cutter.push(&bytes);
        Ok(cutter.finish(key)?)
    }
    /// An object's outside.
    async fn head(&self, key: &Key) -> Result<Head, GetError>;
    /// Writes a whole object under a condition, in one try.
    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version>;
    /// Deletes; an absent object is fine.
    async fn delete(&self, key: &Key) -> Result<(), Failure>;
    /// A page of the objects in the folder `prefix` whose keys come after `after`.
    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure>;
}

/// Cuts a body into pieces as it comes.
pub(super) struct Cutter {
    pieces: Vec<BytesMut>,
    lengths: Vec<usize>,
    /// Bytes beyond the last piece.
    beyond: usize,
}

impl Cutter {
    pub(super) fn new(lengths: &[usize]) -> Self {
        Self { pieces: Vec::with_capacity(lengths.len()), lengths: lengths.to_vec(), beyond: 0 }
    }

    /// Length of all pieces.
    pub(super) fn total(&self) -> u64 {
        self.lengths.iter().map(|length| u64::try_from(*length).unwrap_or(u64::MAX)).sum()
    }

    /// Takes the next bytes of the body.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = self.pieces.len().saturating_sub(1);
            let length = self.lengths.get(at).copied().unwrap_or(0);
            match self.pieces.last_mut().filter(|piece| piece.len() < length) {
                Some(piece) => {
                    let (now, later) = bytes.split_at(bytes.len().min(length - piece.len()));
                    piece.extend_from_slice(now);
                    bytes = later;
                }
                None => match self.lengths.get(self.pieces.len()) {
                    Some(next) => self.pieces.push(BytesMut::with_capacity(*next)),
                    None => {
                        self.beyond += bytes.len();
                        return;
                    }
                },
            }
        }
    }

    /// The pieces, if the body was as long as they are together.
    pub(super) fn finish(self, key: &Key) -> Result<Vec<Bytes>, Failure> {
        let came = self.pieces.iter().map(BytesMut::len).sum::<usize>() + self.beyond;
        let wanted: usize = self.lengths.iter().sum();
        if came != wanted {
            let text = format!("{came} bytes came of the {wanted} asked for of {key}");
            return Err(Failure::new(FailureKind::Other, text));
        }
        Ok(self.pieces.into_iter().map(BytesMut::freeze).collect())
    }
}

/// Whether `key` lies in the folder `prefix`.
pub(super) fn lies_in(key: &str, prefix: &Key) -> bool {
    let prefix = prefix.as_str();
    prefix.is_empty() || key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// The length of a body in parts.
pub(super) fn total_bytes(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| u64::try_from(part.len()).unwrap_or(u64::MAX)).sum()
}
