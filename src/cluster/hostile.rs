//! What must hold for any bytes taken for an entry, a snapshot or a document of the metadata.
//!
//! Owns: the properties, and good bytes to start from. Does not own: where bytes come from
//! (`crate::hostile`). Invariant: a property panics when it is broken and for nothing else.

use std::{collections::BTreeMap, fmt::Debug, sync::OnceLock, time::Duration};

use serde::Deserialize;
use uuid::Uuid;

use super::{
    ConfigResource, Entry, FORMAT, Hash, Member, NewObject, NewRun, Record, SealedEntry, State,
    documents::{self, ClusterDocument, Document, FloorDocument, LeaseDocument, SnapshotName},
    lease::{Verdict, Watch},
    snapshot,
    state::ManifestRef,
};
use crate::types::{
    BrokerId, ClusterId, Incarnation, LeaderEpoch, MetadataIndex, Millis, ObjectId, Offset,
    PartitionId, SegmentId, StorageId, TopicId,
};

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));
const STORAGE: StorageId = StorageId(Uuid::from_u128(2));
const TOPIC: TopicId = TopicId(Uuid::from_u128(3));
/// The incarnation that the second entry registers.
const INCARNATION: Incarnation = Incarnation(2);
const SEGMENT: SegmentId = SegmentId { incarnation: INCARNATION, sequence: 0 };

/// JSON under a right hash.
fn sealed(json: &[u8]) -> Vec<u8> {
    [Hash::of(json).to_string().as_bytes(), b"\n", json].concat()
}

fn unsealed(text: &[u8]) -> Vec<u8> {
    text.get(65..).unwrap_or_default().to_vec()
}

/// The JSON of an entry: decoded, and applied to a state that it follows.
pub fn entry(bytes: &[u8]) {
    assert!(SealedEntry::decode(bytes).is_err() || bytes.len() > 65);
    let Ok(found) = SealedEntry::decode(&sealed(bytes)) else { return };
    let (text, hash) = found.entry.seal();
    let again = SealedEntry { entry: found.entry.clone(), hash };
    assert_eq!(SealedEntry::decode(&text), Ok(again), "an entry reads as it is written");
    for before in [&State::new(CLUSTER), grown()] {
        follow(before, found.entry.proposals.clone());
    }
}

/// Applies proposals to a state as the entry after it.
fn follow(before: &State, proposals: Vec<Vec<Record>>) {
    let mut after = before.clone();
    let results = append(&mut after, proposals);
    assert!(!before.topics.contains_key(&TOPIC) || after.index == before.index.next());
    if results.iter().all(Result::is_err) {
        let place = State { index: before.index, hash: before.hash, epoch: before.epoch, ..after };
        assert_eq!(&place, before, "what is refused changes nothing");
    } else {
        kept(&after);
    }
}

fn append(state: &mut State, proposals: Vec<Vec<Record>>) -> Vec<super::ProposalResult> {
    let epoch = match proposals.first().and_then(|first| first.first()) {
        Some(Record::EpochStart { epoch, .. }) => state.epoch.max(*epoch),
        _ => state.epoch,
    };
    let entry = Entry {
        format: FORMAT,
        cluster_id: state.cluster_id,
        index: state.index.next(),
        epoch,
        commit_id: Uuid::from_u128(9),
        prev_hash: state.hash,
        time_ms: Millis(1000),
        proposals,
    };
    let hash = entry.seal().1;
    state.apply(&SealedEntry { entry, hash }).expect("it is made to follow")
}

/// A state survives its snapshot, and the plain questions about it have answers.
fn kept(state: &State) {
    let (text, name) = snapshot::encode(state);
    let again = snapshot::decode(&text, &name).expect("a snapshot reads as it is written");
    assert_eq!(&again, state);
    for partition in state.topics.values().flat_map(|topic| &topic.partitions) {
        let bytes = partition.bytes();
        assert!(partition.runs.iter().all(|run| run.bytes <= bytes));
        for epoch in [LeaderEpoch(-1), partition.leader_epoch, LeaderEpoch(i32::MAX)] {
            let end = partition.end_of_epoch(epoch, partition.end);
            assert!(end.is_none_or(|(known, _)| known <= partition.leader_epoch.max(epoch)));
        }
    }
    for object in state.objects.keys() {
        assert!(state.object_key(*object).is_some());
    }
}

/// The JSON of a snapshot: decoded, and led on by every kind of record.
pub fn snapshot(bytes: &[u8]) {
    #[derive(Deserialize)]
    struct Form {
        state: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        index: MetadataIndex,
    }
    let Ok(form) = serde_json::from_slice::<Form>(bytes) else { return };
    let name = SnapshotName { index: form.state.index, digest: Hash::of(bytes) };
    let Ok(state) = snapshot::decode(&sealed(bytes), &name) else { return };
    kept(&state);
    if state.index.next() > state.index {
        for proposal in proposals() {
            drop(append(&mut state.clone(), vec![proposal]));
        }
    }
}

/// The text of a document.
pub fn document(bytes: &[u8]) {
    one::<ClusterDocument>(bytes);
    one::<FloorDocument>(bytes);
    if let Some(lease) = one::<LeaseDocument>(bytes) {
        let mut watch = Watch::new(STORAGE);
        for now in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
            let verdict = watch.read(Some(&lease), now);
            assert!(verdict == Verdict::Take || !lease.released, "a released lease is free");
        }
    }
}

fn one<D: Document + PartialEq + Debug>(bytes: &[u8]) -> Option<D> {
    let document: D = documents::decode(bytes, None).ok()?;
    let again = documents::decode(&documents::encode(&document), None);
    assert_eq!(again.ok().as_ref(), Some(&document), "a document reads as it is written");
    Some(document)
}

/// One proposal of every kind, which hold one after the other.
fn proposals() -> Vec<Vec<Record>> {
    let member = Member { broker: BrokerId(1), storage: STORAGE, incarnation: INCARNATION };
    let partition = PartitionId { topic: TOPIC, index: 0 };
    let manifest = ManifestRef {
        version: 1,
        start: Offset(0),
        end: Offset(10),
        bytes: 100,
        runs: 1,
        oldest_timestamp: Millis(5),
    };
    let text = |text: &str| text.to_owned();
    let records = [
        Record::EpochStart { epoch: 1, holder: STORAGE },
        Record::Register {
            broker: Some(BrokerId(1)),
            storage: STORAGE,
            host: text("b1"),
            port: 9092,
            rack: Some(text("a")),
        },
        Record::TopicCreated {
            topic: TOPIC,
            name: text("orders"),
            partitions: 2,
            replication_factor: 1,
            leader: BrokerId(1),
            configs: BTreeMap::from([(text("retention.ms"), text("5"))]),
        },
        Record::PartitionsAdded { topic: TOPIC, count: 3 },
        Record::ConfigsChanged {
            resource: ConfigResource::Topic(TOPIC),
            changes: BTreeMap::from([(text("retention.ms"), None)]),
        },
        Record::SegmentOpen { segment: SEGMENT, nonce: 5, ensemble: vec![member] },
        Record::ObjectIdsReserved { incarnation: INCARNATION, count: 10 },
        Record::ProducerIdsReserved { incarnation: INCARNATION, count: 10 },
        Record::SegmentUploaded {
            segment: SEGMENT,
            entries: 3,
            objects: vec![new_object(partition)],
        },
        Record::ManifestPublished { partition, replaces: 0, manifest, dropped: Vec::new() },
        Record::LogStartRaised { partition, to: Offset(4) },
        Record::TopicDeleted { topic: TOPIC },
        Record::DeletedPartitionCleared { partition, objects: vec![ObjectId(1)], done: true },
        Record::ObjectIdsVoided { below: ObjectId(5) },
        Record::ObjectsPurged { objects: vec![ObjectId(1)], manifests: vec![(partition, 1)] },
        Record::Fence { incarnation: INCARNATION },
        Record::SegmentsRecovered {
            incarnation: INCARNATION,
            segments: Vec::new(),
            objects: Vec::new(),
            successor: BrokerId(1),
            possible_loss: false,
        },
        Record::Drained { incarnation: INCARNATION },
    ];
    records.map(|record| vec![record]).to_vec()
}

fn new_object(partition: PartitionId) -> NewObject {
    let run = NewRun {
        partition,
        leader_epoch: LeaderEpoch(0),
        base: Offset(0),
        end: Offset(10),
        bytes: 100,
        max_timestamp: Millis(5),
        last_append: Millis(6),
    };
    NewObject {
        object: ObjectId(1),
        incarnation: INCARNATION,
        nonce: 4,
        bytes: 500,
        runs: vec![run],
    }
}

/// A state with something of everything: before the topic is deleted.
fn grown() -> &'static State {
    static GROWN: OnceLock<State> = OnceLock::new();
    GROWN.get_or_init(|| {
        let mut state = State::new(CLUSTER);
        for proposal in proposals().into_iter().take(10) {
            let results = append(&mut state, vec![proposal]);
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
        state
    })
}

/// Good entries.
#[must_use]
pub fn entry_seeds() -> Vec<Vec<u8>> {
    let entry = |proposals| Entry {
        format: FORMAT,
        cluster_id: CLUSTER,
        index: MetadataIndex(1),
        epoch: 1,
        commit_id: Uuid::from_u128(9),
        prev_hash: Hash::ZERO,
        time_ms: Millis(1000),
        proposals,
    };
    let each = proposals().into_iter().map(|proposal| vec![proposal]);
    let all = [proposals(), vec![proposals().into_iter().flatten().collect()]];
    each.chain(all).map(|proposals| unsealed(&entry(proposals).seal().0)).collect()
}

/// Good snapshots.
#[must_use]
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    [&State::new(CLUSTER), grown()].map(|state| unsealed(&snapshot::encode(state).0)).to_vec()
}

/// Good documents.
#[must_use]
pub fn document_seeds() -> Vec<Vec<u8>> {
    let nonce = Uuid::from_u128(9);
    let mut floor = FloorDocument::new(CLUSTER, nonce);
    floor.snapshots.push(SnapshotName { index: MetadataIndex(4), digest: Hash::of(b"") });
    let mut lease = LeaseDocument::new(CLUSTER, 3, StorageId(Uuid::from_u128(8)), nonce);
    lease.ttl_ms = 180_000;
    lease.address = "http://b1:8080".to_owned();
    let cluster = documents::encode(&ClusterDocument::new(CLUSTER));
    [cluster, documents::encode(&floor), documents::encode(&lease)].map(|it| it.to_vec()).to_vec()
}
