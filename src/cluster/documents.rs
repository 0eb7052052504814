//! The small mutable objects beside the log: `cluster.json`, the lease, the floor.
//!
//! Owns: their JSON forms. Does not own: what follows from them. Invariants: each carries the
//! cluster's id and a format; what is compared and set carries a nonce, so equal bytes never mean
//! an equal write (correctness.md 5.2).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{entry::Hash, error::Damage};
use crate::types::{ClusterId, MetadataIndex, Millis, StorageId, TopicId};

/// Form of these documents.
const FORMAT: u32 = 1;
/// Longer ones are not ours.
const MAX_BYTES: usize = 4 << 20;

/// A document's form and owner.
pub(super) trait Document: Serialize + DeserializeOwned {
    /// Format and cluster as read.
    fn identity(&self) -> (u32, ClusterId);
}

/// `cluster.json`: written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClusterDocument {
    pub(super) format: u32,
    pub(super) cluster_id: ClusterId,
}

/// `meta/lease`: who is probably controller. Liveness only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseDocument {
    pub(super) format: u32,
    pub(super) cluster_id: ClusterId,
    pub(super) epoch: u64,
    pub(super) storage: StorageId,
    pub(super) address: String,
    /// How long a candidate watches the nonce before it takes over.
    pub(super) ttl_ms: u64,
    pub(super) released: bool,
    pub(super) at_risk: AtRisk,
    pub(super) nonce: Uuid,
}

/// `meta/floor`: what the log still has, and where a starter begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FloorDocument {
    pub(super) format: u32,
    pub(super) cluster_id: ClusterId,
    /// Entries up to here may be deleted: nothing is proved by their keys (H32, H32b).
    pub(super) floor: MetadataIndex,
    /// Entries up to here are deleted.
    pub(super) trimmed: MetadataIndex,
    /// The newest first.
    pub(super) snapshots: Vec<SnapshotName>,
    /// Snapshots that are being deleted.
    pub(super) retired: Vec<SnapshotName>,
    pub(super) nonce: Uuid,
}

/// A snapshot's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotName {
    pub(super) index: MetadataIndex,
    pub(super) digest: Hash,
}

/// What a broker's disk holds that the bucket does not, as its lease tells: known even when the
/// disk is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtRisk {
    /// Bytes in all.
    pub bytes: u64,
    /// Append time of the oldest.
    pub oldest_append: Option<Millis>,
    /// By topic.
    pub topics: BTreeMap<TopicId, TopicAtRisk>,
}

/// A topic's part of what is at risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicAtRisk {
    /// Bytes.
    pub bytes: u64,
    /// Append time of the oldest.
    pub oldest_append: Millis,
}

impl ClusterDocument {
    pub(super) fn new(cluster_id: ClusterId) -> Self {
        Self { format: FORMAT, cluster_id }
    }
}

impl LeaseDocument {
    pub(super) fn new(cluster_id: ClusterId, epoch: u64, storage: StorageId, nonce: Uuid) -> Self {
        Self {
            format: FORMAT,
            cluster_id,
            epoch,
            storage,
            address: String::new(),
            ttl_ms: 0,
            released: false,
            at_risk: AtRisk::default(),
            nonce,
        }
    }
}

impl FloorDocument {
    pub(super) fn new(cluster_id: ClusterId, nonce: Uuid) -> Self {
        Self {
            format: FORMAT,
            cluster_id,
            floor: MetadataIndex(0),
            trimmed: MetadataIndex(0),
            snapshots: Vec::new(),
            retired: Vec::new(),
            nonce,
        }
    }
}

impl Document for ClusterDocument {
    fn identity(&self) -> (u32, ClusterId) {
        (self.format, self.cluster_id)
    }
}

impl Document for LeaseDocument {
    fn identity(&self) -> (u32, ClusterId) {
        (self.format, self.cluster_id)
    }
}

impl Document for FloorDocument {
    fn identity(&self) -> (u32, ClusterId) {
        (self.format, self.cluster_id)
    }
}

/// A document's bytes: one line of JSON.
pub(super) fn encode<D: Document>(document: &D) -> Bytes {
    let mut text = serde_json::to_vec(document).expect("documents have only string keys");
    text.push(b'\n');
    text.into()
}

/// The document in `bytes`, of `cluster` where that is known.
pub(super) fn decode<D: Document>(bytes: &[u8], cluster: Option<ClusterId>) -> Result<D, Damage> {
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    if bytes.len() > MAX_BYTES {
        return Err(Damage::new("it is longer than any this version writes"));
    }
    // A newer form may differ in anything but this.
    let form: Form = serde_json::from_slice(bytes).map_err(Damage::new)?;
    if form.format != FORMAT {
        return Err(Damage::new(format!("format {} is not known to this version", form.format)));
    }
    let document: D = serde_json::from_slice(bytes).map_err(Damage::new)?;
    let (_, found) = document.identity();
    match cluster {
        Some(cluster) if cluster != found => {
            Err(Damage::new(format!("it belongs to cluster {found}, not to {cluster}")))
        }
        _ => Ok(document),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lease() -> LeaseDocument {
        LeaseDocument {
            address: "http://b1:9092".to_owned(),
            ttl_ms: 180_000,
            ..LeaseDocument::new(
                ClusterId(Uuid::from_u128(7)),
                3,
                StorageId(Uuid::from_u128(8)),
                Uuid::from_u128(9),
            )
        }
    }

    #[test]
    fn the_lease_has_this_form() {
        let golden = concat!(
            r#"{"format":1,"cluster_id":"00000000-0000-0000-0000-000000000007","epoch":3,"#,
            r#""storage":"00000000-0000-0000-0000-000000000008","address":"http://b1:9092","#,
            r#""ttl_ms":180000,"released":false,"#,
            r#""at_risk":{"bytes":0,"oldest_append":null,"topics":{}},"#,
            r#""nonce":"00000000-0000-0000-0000-000000000009"}"#,
            "\n"
        );
        assert_eq!(encode(&lease()), golden.as_bytes());
        assert_eq!(decode::<LeaseDocument>(golden.as_bytes(), None).unwrap(), lease());
    }

    #[test]
    fn another_clusters_document_is_refused_by_name() {
        let other = ClusterId(Uuid::from_u128(1));
        let error = decode::<LeaseDocument>(&encode(&lease()), Some(other)).unwrap_err();
        assert!(error.to_string().contains("belongs to cluster"), "{error}");
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_no_harm(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = encode(&lease()).to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            drop(decode::<LeaseDocument>(&bytes, None));
            drop(decode::<FloorDocument>(&noise, None));
        }
    }
}
