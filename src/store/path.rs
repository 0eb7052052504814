//! Every key of the bucket, made and read back in this one place.
//!
//! Owns: the layout under the cluster's prefix. Does not own: what the objects hold, the prefix.
//! Invariant: a key is made of numbers and uuids alone, in `[a-z0-9.-]` and `/`; no two names
//! share a key and no key is the folder of another.
//!
//! ```text
//! cluster.json
//! meta/log/{index:020}
//! meta/snapshot/{index:020}-{digest}
//! meta/lease
//! meta/floor
//! data/{hash4}/{object:016x}-{incarnation:08x}-{nonce:016x}
//! manifest/{topic id}/{partition}/{version:020}
//! contract-check/{nonce:016x}/{name}
//! ```

use std::fmt;

use crate::types::{Incarnation, MetadataIndex, ObjectId, TopicId};

/// A key of the bucket, relative to the cluster's prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key of ours from its text, as metadata names it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let key = Self(text.to_owned());
        name(&key).is_some().then_some(key)
    }

    /// A key as a listing shows it, ours or not.
    pub(super) fn listed(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key of ours names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// The cluster's birth certificate.
    Cluster,
    /// An entry of the metadata log.
    LogEntry(MetadataIndex),
    /// A snapshot of the state after `index`, with the digest of that state.
    Snapshot {
        /// Last entry it holds.
        index: MetadataIndex,
        /// Lowercase hex.
        digest: String,
    },
    /// Who may be controller.
    Lease,
    /// Below which log entries may be gone.
    Floor,
    /// An object of records.
    Data(DataName),
    /// A version of a partition's manifest.
    Manifest {
        /// The topic.
        topic: TopicId,
        /// The partition's index.
        partition: i32,
        /// The version.
        version: u64,
    },
}

/// The parts of a data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataName {
    /// The reserved id.
    pub object: ObjectId,
    /// Who wrote it.
    pub incarnation: Incarnation,
    /// Which try.
    pub nonce: u64,
}

/// `cluster.json`.
#[must_use]
pub fn cluster() -> Key {
    Key("cluster.json".to_owned())
}

/// An entry of the metadata log.
#[must_use]
pub fn log_entry(index: MetadataIndex) -> Key {
    Key(format!("meta/log/{:020}", index.0))
}

/// A snapshot; `digest` is lowercase hex.
///
/// # Panics
/// When `digest` is anything else: it would be a key that cannot be read back.
#[must_use]
pub fn snapshot(index: MetadataIndex, digest: &str) -> Key {
    assert!(is_digest(digest), "a snapshot's digest is lowercase hex");
    Key(format!("meta/snapshot/{:020}-{digest}", index.0))
}

/// The controller's lease.
#[must_use]
pub fn lease() -> Key {
    Key("meta/lease".to_owned())
}

/// The metadata log's floor.
#[must_use]
pub fn floor() -> Key {
    Key("meta/floor".to_owned())
}

/// An object of records: one key, one content, for ever.
#[must_use]
pub fn data(object: ObjectId, incarnation: Incarnation, nonce: u64) -> Key {
    let hash = spread(object);
    Key(format!("data/{hash:04x}/{:016x}-{:08x}-{nonce:016x}", object.0, incarnation.0))
}

/// A version of a partition's manifest.
#[must_use]
pub fn manifest(topic: TopicId, partition: i32, version: u64) -> Key {
    Key(format!("manifest/{topic}/{partition}/{version:020}"))
}

/// A throw-away key of the contract test.
pub(super) fn check(nonce: u64, name: &str) -> Key {
    Key(format!("contract-check/{nonce:016x}/{name}"))
}

/// Whether it is a throw-away key of a contract test.
#[must_use]
pub fn is_check(key: &Key) -> bool {
    key.as_str().starts_with("contract-check/")
}

/// Folder of one run of the contract test.
pub(super) fn check_prefix(nonce: u64) -> Key {
    Key(format!("contract-check/{nonce:016x}"))
}

/// Folder of every object of records.
#[must_use]
pub fn data_prefix() -> Key {
    Key("data".to_owned())
}

/// Folder of the metadata log.
#[must_use]
pub fn log_prefix() -> Key {
    Key("meta/log".to_owned())
}

/// Folder of the snapshots.
#[must_use]
pub fn snapshot_prefix() -> Key {
    Key("meta/snapshot".to_owned())
}

/// Folder of every manifest.
#[must_use]
pub fn manifest_prefix() -> Key {
    Key("manifest".to_owned())
}

/// Folder of one partition's manifests.
#[must_use]
pub fn partition_manifests(topic: TopicId, partition: i32) -> Key {
    Key(format!("manifest/{topic}/{partition}"))
}

/// The whole prefix of the cluster.
#[must_use]
pub fn everything() -> Key {
    Key(String::new())
}

/// What `key` names; `None` when it is not a key this code would make.
#[must_use]
pub fn name(key: &Key) -> Option<Name> {
    let found = read(key.as_str())?;
    // The text form is canonical: anything that would be written differently is not ours.
    (made(&found) == *key).then_some(found)
}

/// The parts of a data key; `None` for any other.
#[must_use]
pub fn data_name(key: &Key) -> Option<DataName> {
    match name(key)? {
        Name::Data(found) => Some(found),
        Name::Cluster
        | Name::LogEntry(_)
        | Name::Snapshot { .. }
        | Name::Lease
        | Name::Floor
        | Name::Manifest { .. } => None,
    }
}

fn made(name: &Name) -> Key {
    match name {
        Name::Cluster => cluster(),
        Name::LogEntry(index) => log_entry(*index),
        Name::Snapshot { index, digest } => snapshot(*index, digest),
        Name::Lease => lease(),
        Name::Floor => floor(),
        Name::Data(found) => data(found.object, found.incarnation, found.nonce),
        Name::Manifest { topic, partition, version } => manifest(*topic, *partition, *version),
    }
}

fn read(text: &str) -> Option<Name> {
    let parts: Vec<&str> = text.splitn(5, '/').collect();
    Some(match parts.as_slice() {
        ["cluster.json"] => Name::Cluster,
        ["meta", "lease"] => Name::Lease,
        ["meta", "floor"] => Name::Floor,
        ["meta", "log", index] => Name::LogEntry(MetadataIndex(index.parse().ok()?)),
        ["meta", "snapshot", both] => {
            let (index, digest) = both.split_once('-')?;
            let index = MetadataIndex(index.parse().ok()?);
            Name::Snapshot { index, digest: is_digest(digest).then(|| digest.to_owned())? }
        }
        ["data", _, file] => {
            let mut numbers = file.splitn(3, '-').map(|hex| u64::from_str_radix(hex, 16).ok());
            Name::Data(DataName {
                object: ObjectId(numbers.next()??),
                incarnation: Incarnation(numbers.next()??),
                nonce: numbers.next()??,
            })
        }
        ["manifest", topic, partition, version] => Name::Manifest {
            topic: TopicId(topic.parse().ok()?),
            partition: partition.parse().ok()?,
            version: version.parse().ok()?,
        },
        _ => return None,
    })
}

fn is_digest(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Spreads consecutive ids over prefixes, since S3 limits requests by prefix.
fn spread(object: ObjectId) -> u64 {
    object.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// `[a-z0-9][a-z0-9.-]*(/[a-z0-9-]+){0,3}`, the fixed form of every key.
    fn is_well_formed(key: &Key) -> bool {
        let parts: Vec<&str> = key.as_str().split('/').collect();
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-');
        (1..=4).contains(&parts.len())
            && parts.iter().all(|part| !part.is_empty() && part.chars().all(allowed))
            && parts.iter().all(|part| !part.starts_with('.'))
            && key.as_str().len() <= 200
    }

    fn any_name() -> impl Strategy<Value = Name> {
        prop_oneof![
            Just(Name::Cluster),
            Just(Name::Lease),
            Just(Name::Floor),
            any::<u64>().prop_map(|index| Name::LogEntry(MetadataIndex(index))),
            (any::<u64>(), "[0-9a-f]{1,64}")
                .prop_map(|(index, digest)| Name::Snapshot { index: MetadataIndex(index), digest }),
            any::<(u64, u64, u64)>().prop_map(|(object, incarnation, nonce)| {
                let (object, incarnation) = (ObjectId(object), Incarnation(incarnation));
                Name::Data(DataName { object, incarnation, nonce })
            }),
            (any::<u128>(), 0..i32::MAX, any::<u64>()).prop_map(|(topic, partition, version)| {
                Name::Manifest { topic: TopicId(Uuid::from_u128(topic)), partition, version }
            }),
        ]
    }

    proptest! {
        #[test]
        fn every_key_is_well_formed_and_reads_back(wanted in any_name()) {
            let key = made(&wanted);
            prop_assert!(is_well_formed(&key), "{key}");
            prop_assert_eq!(name(&key), Some(wanted));
            prop_assert_eq!(Key::parse(key.as_str()), Some(key));
        }

        #[test]
        fn a_foreign_key_is_nobodys(text in "[ -~/]{0,60}") {
            if let Some(found) = name(&Key::listed(&text)) {
                prop_assert_eq!(made(&found), Key(text));
            }
        }

        #[test]
        fn the_log_lists_in_order(one in any::<u64>(), other in any::<u64>()) {
            let keys = log_entry(MetadataIndex(one)).cmp(&log_entry(MetadataIndex(other)));
            prop_assert_eq!(keys, one.cmp(&other));
        }
    }

    #[test]
    fn the_layout_does_not_change() {
        let topic = TopicId(Uuid::from_u128(7));
        assert_eq!(log_entry(MetadataIndex(12)).as_str(), "meta/log/00000000000000000012");
        assert_eq!(
            snapshot(MetadataIndex(12), "ab01").as_str(),
            "meta/snapshot/00000000000000000012-ab01"
        );
        assert_eq!(
            data(ObjectId(0x1234), Incarnation(9), 0xabc).as_str(),
            "data/09d3/0000000000001234-00000009-0000000000000abc"
        );
        assert_eq!(
            manifest(topic, 3, 4).as_str(),
            "manifest/00000000000000000000000000000007/3/00000000000000000004"
        );
        assert!(is_well_formed(&check(1, "create")));
    }

    #[test]
    fn near_misses_are_not_ours() {
        for text in [
            "meta/log/12",
            "meta/log/+0000000000000000012",
            "data/0000/0000000000001234-00000009-0000000000000abc",
            "data/09d3/0000000000001234-00000009-0000000000000ABC",
            "manifest/00000000-0000-0000-0000-000000000007/3/00000000000000000004",
            "cluster.json/",
            "",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
