//! The metadata state: what the log says, as every broker holds it.
//!
//! Owns: its shape and plain questions about it. Does not own: how records change it (`apply`).
//! Invariants: an object's counts equal the runs that name it; an object with none is unlinked;
//! fresh runs tile `manifest end .. end` but for what lies below the log start; only the newest may
//! itself lie there.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{entry::Hash, record::Member};
use crate::env::bugs::Bugs;
use crate::types::{
    BrokerId, ClusterId, Incarnation, LeaderEpoch, MetadataIndex, Millis, ObjectId, Offset,
    PartitionId, ProducerId, SegmentId, StorageId, TopicId,
};

/// The whole state after the entry at `index`. A clone shares topics and is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Whose log.
    pub cluster_id: ClusterId,
    /// The last entry applied; 0 for none.
    pub index: MetadataIndex,
    /// Its hash.
    pub hash: Hash,
    /// The controller's epoch; 0 for none.
    pub epoch: u64,
    /// Every broker ever registered.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// Incarnations alive or still to be recovered.
    pub incarnations: BTreeMap<Incarnation, IncarnationState>,
    /// Topics by id.
    pub topics: BTreeMap<TopicId, Arc<Topic>>,
    /// Topic ids by name.
    pub names: BTreeMap<String, TopicId>,
    /// Segments whose content is not published.
    pub segments: BTreeMap<SegmentId, Segment>,
    /// Objects some run names.
    pub objects: BTreeMap<ObjectId, Object>,
    /// Objects no run names, still in the bucket.
    pub unlinked: BTreeMap<ObjectId, Unlinked>,
    /// Partitions of deleted topics whose manifest still names objects.
    #[serde(with = "pairs")]
    pub deleted_partitions: BTreeMap<PartitionId, DeletedPartition>,
    /// Replaced manifest versions, still in the bucket.
    #[serde(with = "pairs")]
    pub unlinked_manifests: BTreeMap<(PartitionId, u64), UnlinkedManifest>,
    /// The next object id to hand out.
    pub next_object_id: ObjectId,
    /// Unpublished ids below this are void.
    pub voided_below: ObjectId,
    /// The next producer id to hand out.
    pub next_producer_id: ProducerId,
    /// The next broker id to hand out, unless taken.
    pub next_broker_id: BrokerId,
    /// Configs of single brokers.
    pub broker_configs: BTreeMap<BrokerId, BTreeMap<String, String>>,
    /// Configs of all brokers.
    pub cluster_configs: BTreeMap<String, String>,
    /// Mistakes that its rules make; no part of what the log says.
    #[serde(skip)]
    pub bugs: Bugs,
}

/// A broker as last registered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Its disk.
    pub storage: StorageId,
    /// Its newest incarnation.
    pub incarnation: Incarnation,
    /// Host name for clients.
    pub host: String,
    /// Port for clients.
    pub port: u16,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether that incarnation lives.
    pub status: BrokerStatus,
}

/// What became of a broker's newest incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokerStatus {
    /// Alive as far as the log knows.
    Registered,
    /// Ended from outside.
    Fenced,
    /// Ended by itself with nothing left behind.
    Drained,
}

/// One registration of a broker process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncarnationState {
    /// Of which broker.
    pub broker: BrokerId,
    /// On which disk.
    pub storage: StorageId,
    /// No longer allowed to do anything.
    pub fenced: bool,
    /// Ended by itself.
    pub drained: bool,
    /// The lowest sequence its next segment may have.
    pub next_segment: u64,
    /// Object ids it may publish under, ascending.
    pub reserved: Vec<Range<ObjectId>>,
}

/// A segment whose content is not published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Seeds the checksum chain of its files.
    pub nonce: u64,
    /// The disks that hold it.
    pub ensemble: Vec<Member>,
    /// Whether its writer may still append.
    pub status: SegmentStatus,
}

/// Who deals with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentStatus {
    /// Its writer.
    Open,
    /// Recovery; its writer is fenced.
    Recovering,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// As asked for at creation.
    pub replication_factor: i16,
    /// Configs that differ from the defaults.
    pub configs: BTreeMap<String, String>,
    /// By index.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Its leader. Only its incarnation below may append; a later one of the same broker may not
    /// until the former is recovered.
    pub leader: BrokerId,
    /// The leader's incarnation.
    pub incarnation: Incarnation,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Where epochs began, ascending in both; without those that have no record.
    pub epochs: Vec<EpochStart>,
    /// Records below are gone.
    pub log_start: Offset,
    /// Records below are published.
    pub end: Offset,
    /// Published runs that are not in the manifest, in offset order.
    pub runs: Vec<Run>,
    /// The older history.
    pub manifest: Option<ManifestRef>,
}

/// Where a leader epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its first offset.
    pub start: Offset,
}

/// A published run that is not in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// In which object.
    pub object: ObjectId,
    /// First offset.
    pub base: Offset,
    /// Offset after the last.
    pub end: Offset,
    /// Its share of the object.
    pub bytes: u64,
    /// Newest record timestamp.
    pub max_timestamp: Millis,
    /// When the last batch was appended.
    pub last_append: Millis,
    /// When it was published.
    pub published: Millis,
}

/// A manifest version and what it holds in sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestRef {
    /// Its version, part of its key; from 1, versions only grow.
    pub version: u64,
    /// First offset it holds.
    pub start: Offset,
    /// Offset after the last.
    pub end: Offset,
    /// Bytes of its runs.
    pub bytes: u64,
    /// How many runs.
    pub runs: u64,
    /// Newest record timestamp of its oldest run, which retention looks at next.
    pub oldest_timestamp: Millis,
}

/// An object some run names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Who uploaded it; part of its key.
    pub incarnation: Incarnation,
    /// Part of its key.
    pub nonce: u64,
    /// Its length.
    pub bytes: u64,
    /// Runs of it listed in partitions.
    pub fresh_runs: u32,
    /// Runs of it listed in manifests, those of deleted partitions too.
    pub manifest_runs: u32,
}

/// An object no run names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlinked {
    /// Who uploaded it; part of its key.
    pub incarnation: Incarnation,
    /// Part of its key.
    pub nonce: u64,
    /// The entry that unlinked it.
    pub index: MetadataIndex,
    /// That entry's time.
    pub time: Millis,
}

/// A manifest version that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnlinkedManifest {
    /// The entry that replaced it.
    pub index: MetadataIndex,
    /// That entry's time.
    pub time: Millis,
}

/// A partition of a deleted topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletedPartition {
    /// Its last manifest.
    pub manifest: ManifestRef,
    /// Runs of that manifest, from its first, that are dealt with.
    pub cleared: u64,
}

impl State {
    /// The state before any entry.
    #[must_use]
    pub fn new(cluster_id: ClusterId) -> Self {
        Self {
            cluster_id,
            index: MetadataIndex(0),
            hash: Hash::ZERO,
            epoch: 0,
            brokers: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            segments: BTreeMap::new(),
            objects: BTreeMap::new(),
            unlinked: BTreeMap::new(),
            deleted_partitions: BTreeMap::new(),
            unlinked_manifests: BTreeMap::new(),
            next_object_id: ObjectId(1),
            voided_below: ObjectId(0),
            next_producer_id: ProducerId(1),
            next_broker_id: BrokerId(1),
            broker_configs: BTreeMap::new(),
            cluster_configs: BTreeMap::new(),
            bugs: Bugs::NONE,
        }
    }

    /// The same, with mistakes in its rules.
    #[must_use]
    pub fn with_bugs(self, bugs: Bugs) -> Self {
        Self { bugs, ..self }
    }

    /// The topic called `name`.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(name)?)
    }

    /// A partition that is not deleted.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.topics.get(&id.topic)?.partition(id.index)
    }

    /// What is needed for an object's key: who uploaded it, and its nonce. Unlinked objects too.
    #[must_use]
    pub fn object_key(&self, object: ObjectId) -> Option<(Incarnation, u64)> {
        let live = self.objects.get(&object).map(|object| (object.incarnation, object.nonce));
        live.or_else(|| {
            let unlinked = self.unlinked.get(&object)?;
            Some((unlinked.incarnation, unlinked.nonce))
        })
    }

    /// An incarnation that may act.
    #[must_use]
    pub fn living(&self, incarnation: Incarnation) -> Option<&IncarnationState> {
        self.incarnations.get(&incarnation).filter(|state| !state.fenced && !state.drained)
    }

    /// The newest incarnation of a broker, when it may act.
    #[must_use]
    pub fn living_broker(&self, broker: BrokerId) -> Option<Incarnation> {
        let incarnation = self.brokers.get(&broker)?.incarnation;
        self.living(incarnation).map(|_| incarnation)
    }

    /// Segments of an incarnation whose content is not published, oldest first.
    pub fn segments_of(
        &self,
        incarnation: Incarnation,
    ) -> impl Iterator<Item = (SegmentId, &Segment)> {
        let from = SegmentId { incarnation, sequence: 0 };
        let to = SegmentId { incarnation, sequence: u64::MAX };
        self.segments.range(from..=to).map(|(id, segment)| (*id, segment))
    }

    /// Fenced incarnations that wait for recovery.
    pub fn to_recover(&self) -> impl Iterator<Item = (Incarnation, &IncarnationState)> {
        self.incarnations.iter().filter(|(_, state)| state.fenced).map(|(id, state)| (*id, state))
    }
}

impl Topic {
    /// The partition at `index`.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

impl Partition {
    /// Published bytes at or above the log start, near enough.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let fresh: u64 = self.runs.iter().map(|run| run.bytes).sum();
        self.manifest.map_or(0, |manifest| manifest.bytes).saturating_add(fresh)
    }

    /// Where the records of `epoch` end, with the epoch that answers for it, as Kafka tells it:
    /// the newest known one at or below `epoch`, up to where the next began or to `log_end`.
    /// `None` above the newest.
    #[must_use]
    pub fn end_of_epoch(
        &self,
        epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        if epoch > self.leader_epoch {
            return None;
        }
        let after = self.epochs.partition_point(|start| start.epoch <= epoch);
        let end = self.epochs.get(after).map_or(log_end, |next| next.start);
        let known = after.checked_sub(1).and_then(|at| self.epochs.get(at));
        Some((known.map_or(epoch, |known| known.epoch), end))
    }

    /// The epoch that the record at `offset` is of; `None` below all that is known.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.epochs.partition_point(|start| start.start <= offset);
        after.checked_sub(1).and_then(|at| self.epochs.get(at)).map(|start| start.epoch)
    }
}

impl Object {
    /// Runs that name it.
    #[must_use]
    pub fn live_runs(&self) -> u32 {
        self.fresh_runs.saturating_add(self.manifest_runs)
    }
}

/// Maps whose keys are no JSON strings, as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let pairs = Vec::<(K, V)>::deserialize(deserializer)?;
        let count = pairs.len();
        let map: BTreeMap<K, V> = pairs.into_iter().collect();
        if map.len() == count { Ok(map) } else { Err(de::Error::custom("a key twice")) }
    }
}
