//! An entry of the metadata log, and the sealed text that entries and snapshots share.
//!
//! Owns: both forms. Does not own: keys, when an entry takes effect. Sealed text is one line with
//! the SHA-256 of everything after it in lowercase hex, then JSON:
//!
//! ```text
//! HASH\n{"format":1,"cluster_id":..,"index":..,"epoch":..,"commit_id":..,"prev_hash":..,
//!        "time_ms":..,"proposals":[[RECORD,..],..]}
//! ```
//!
//! Invariants: an entry's hash names its content, `prev_hash` the entry before, so the entries up
//! to any one form a chain (I21). Decoding takes outside bytes: bounded, checked, never panicking.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::record::Record;
use crate::types::{ClusterId, MetadataIndex, Millis};

/// Version of the form of entries and snapshots.
pub const FORMAT: u32 = 1;

/// The longest entry taken from outside. What is written stays far below.
pub(super) const MAX_ENTRY_BYTES: usize = 64 << 20;

/// Records that took one index of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `FORMAT`.
    pub format: u32,
    /// Whose log.
    pub cluster_id: ClusterId,
    /// Its place.
    pub index: MetadataIndex,
    /// The controller's epoch.
    pub epoch: u64,
    /// Random: by this a controller knows its own entry again.
    pub commit_id: Uuid,
    /// Hash of the entry before; zeros before the first.
    pub prev_hash: Hash,
    /// The controller's wall clock.
    pub time_ms: Millis,
    /// Each takes effect whole or not at all, one after the other.
    pub proposals: Vec<Vec<Record>>,
}

/// An entry with its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    /// The entry.
    pub entry: Entry,
    /// SHA-256 of its JSON.
    pub hash: Hash,
}

impl SealedEntry {
    /// Takes an entry's object apart.
    ///
    /// # Errors
    /// When it is not one this version can trust.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(DecodeError::TooLong { bytes: bytes.len() });
        }
        let (entry, hash) = open::<Entry>(bytes)?;
        Ok(Self { entry, hash })
    }
}

impl Entry {
    /// The entry's object and its hash.
    #[must_use]
    pub fn seal(&self) -> (Bytes, Hash) {
        seal(self)
    }
}

/// Why bytes are not an entry or snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than anything this version writes.
    #[error("{bytes} bytes is longer than any entry")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The first line is no hash.
    #[error("it does not begin with a hash")]
    NoHash,
    /// The hash is of something else.
    #[error("its hash is wrong, so its bytes are damaged")]
    WrongHash,
    /// Written by a newer version.
    #[error("format {0} is not known to this version; start a newer one")]
    Format(u32),
    /// Not the JSON expected.
    #[error("it is not as this version writes it: {0}")]
    Json(String),
}

/// A SHA-256; text form lowercase hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of nothing: what the first entry has before it.
    pub const ZERO: Self = Self([0; 32]);

    /// Of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        let plain = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if digits.len() != 64 || !plain {
            return Err(DecodeError::NoHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| DecodeError::NoHash)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| DecodeError::NoHash)?;
        }
        Ok(Self(hash))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Sealed text of `value`, and its hash.
pub(super) fn seal<T: Serialize>(value: &T) -> (Bytes, Hash) {
    let json = serde_json::to_vec(value).expect("the data model has only string keys");
    let hash = Hash::of(&json);
    let mut text = format!("{hash}\n").into_bytes();
    text.extend_from_slice(&json);
    (text.into(), hash)
}

/// The value in sealed text, and its hash.
pub(super) fn open<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, Hash), DecodeError> {
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    let (hash, json) = bytes.split_at_checked(64).ok_or(DecodeError::NoHash)?;
    let json = json.strip_prefix(b"\n").ok_or(DecodeError::NoHash)?;
    let hash: Hash = std::str::from_utf8(hash).map_err(|_| DecodeError::NoHash)?.parse()?;
    if Hash::of(json) != hash {
        return Err(DecodeError::WrongHash);
    }
    let wrong = |error: serde_json::Error| DecodeError::Json(error.to_string());
    let form: Form = serde_json::from_slice(json).map_err(wrong)?;
    if form.format != FORMAT {
        return Err(DecodeError::Format(form.format));
    }
    Ok((serde_json::from_slice(json).map_err(wrong)?, hash))
}
