//! The folder's small files: who it is (`identity.json`), which segments it holds
//! (`segments.json`).
//!
//! Owns: their text forms. Invariant: a segment is in the ledger before its first entry is
//! written and leaves it before its files do, so a listed segment without files was lost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{BrokerId, ClusterId, Incarnation, SegmentId, StorageId};

const FORMAT: u32 = 1;

/// Who this folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    format: u32,
    /// The disk, random, made with the folder.
    pub storage: StorageId,
    /// The cluster whose data it holds, once bound.
    pub cluster: Option<ClusterId>,
    /// The broker it last registered as.
    pub broker: Option<BrokerId>,
    /// Its newest registration that it knows of.
    pub incarnation: Option<Incarnation>,
    /// A registration was begun and its outcome not noted.
    pub registering: bool,
}

impl Identity {
    pub(crate) fn new(storage: StorageId) -> Self {
        let (cluster, broker, incarnation) = (None, None, None);
        Self { format: FORMAT, storage, cluster, broker, incarnation, registering: false }
    }
}

/// Which segments the folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    format: u32,
    /// The newest segment ever made here, trimmed or not.
    pub(crate) newest: Option<SegmentId>,
    pub(crate) segments: BTreeMap<SegmentId, Listed>,
}

/// What the folder must know of a segment without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// Files it has; 0 for one that is fenced though it was never written here.
    pub(crate) parts: u32,
    /// No entry is accepted any more (H6).
    pub(crate) fenced: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { format: FORMAT, newest: None, segments: BTreeMap::new() }
    }
}

/// Reads one of the two files.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let version: Version = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if version.format != FORMAT {
        return Err(format!("it has format {}, this release reads {FORMAT}", version.format));
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("maps with text keys always encode");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_text_of_format_1_never_changes() {
        let mut identity = Identity::new(StorageId(Uuid::from_u128(1)));
        identity.incarnation = Some(Incarnation(7));
        let text = r#"{"format":1,"storage":"00000000-0000-0000-0000-000000000001","cluster":null,"broker":null,"incarnation":7,"registering":false}"#;
        assert_eq!(serde_json::to_string(&identity).unwrap(), text);
        assert_eq!(decode(text.as_bytes()), Ok(identity));
        let id = SegmentId { incarnation: Incarnation(7), sequence: 3 };
        let mut ledger = Ledger { newest: Some(id), ..Ledger::default() };
        ledger.segments.insert(id, Listed { parts: 1, fenced: true });
        let text = r#"{"format":1,"newest":"7-3","segments":{"7-3":{"parts":1,"fenced":true}}}"#;
        assert_eq!(serde_json::to_string(&ledger).unwrap(), text);
        assert_eq!(decode(text.as_bytes()), Ok(ledger));
    }

    #[test]
    fn another_format_is_refused_by_its_number() {
        let error = decode::<Ledger>(br#"{"format":2,"new":true}"#).unwrap_err();
        assert!(error.contains("format 2"), "{error}");
    }
}
