//! What must hold for any bytes taken for a manifest.
//!
//! Owns: the properties, and good bytes to start from. Does not own: where bytes come from
//! (`crate::hostile`). Invariant: a property panics when it is broken and for nothing else.

use bytes::Bytes;

use super::{Manifest, Run, format};
use crate::types::{Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId, TopicId};

/// A manifest, and its message under a right CRC.
pub fn manifest(bytes: &[u8]) {
    for bytes in [Bytes::copy_from_slice(bytes), format::seal(bytes)] {
        if let Ok(manifest) = Manifest::decode(&bytes) {
            holds(&manifest);
        }
    }
}

fn holds(manifest: &Manifest) {
    // A run of zeros, which nobody writes, would be too short to be read again.
    if manifest.runs().iter().all(|run| run.nonce != 0) {
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(manifest));
    }
    assert!(manifest.start() <= manifest.end());
    for run in manifest.runs() {
        assert_eq!(manifest.find(run.base), Some(run));
        assert_eq!(manifest.find(Offset(run.end.0 - 1)), Some(run));
    }
    assert_eq!(manifest.find(manifest.end()), None);
    assert_eq!(manifest.runs_from(manifest.start()), manifest.runs(), "each ends past the start");
    let bytes = manifest.bytes();
    assert!(manifest.runs().iter().all(|run| run.bytes <= bytes));
    let (emptied, dropped) = manifest.without_below(manifest.end());
    assert_eq!(dropped.len(), manifest.runs().len());
    assert_eq!(Manifest::decode(&emptied.encode()).ok(), Some(emptied));
}

/// Good manifests, with their head and without.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let partition = PartitionId { topic: TopicId(uuid::Uuid::from_u128(5)), index: 3 };
    let run = |object, base| Run {
        object: ObjectId(object),
        incarnation: Incarnation(7),
        nonce: 0xabcd,
        object_bytes: 5000,
        leader_epoch: LeaderEpoch(2),
        base: Offset(base),
        end: Offset(base + 10),
        bytes: 900,
        max_timestamp: Millis(1000),
        last_append: Millis(2000),
    };
    let empty = Manifest::empty(partition, Offset(10)).numbered(1);
    let full = empty.with_runs([run(4, 10), run(9, 20)]).expect("runs that follow each other");
    let carrying = empty.clone().with_producers(Bytes::from_static(b"producers"));
    let whole = [empty, full, carrying].map(|manifest| manifest.encode().to_vec());
    let bare = whole.clone().map(|bytes| bytes.get(16..).unwrap_or_default().to_vec());
    whole.into_iter().chain(bare).collect()
}
