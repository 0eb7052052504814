//! Records of the metadata log: every fact the cluster agrees on.
//!
//! Owns: their shapes. Does not own: when they hold (`apply`), their bytes on the bucket (`entry`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::ManifestRef;
use crate::types::{
    BrokerId, Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId, SegmentId,
    StorageId, TopicId,
};

/// One fact. A proposal is a list of them that takes effect whole or not at all; each is checked
/// against the state as the ones before it left it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A controller's first record: from here on the log is of `epoch`.
    EpochStart {
        /// Higher than any before.
        epoch: u64,
        /// Whose disk the controller runs on.
        holder: StorageId,
    },
    /// A broker process begins. Its incarnation is the entry's index, so an entry takes one of
    /// these at most. Former incarnations of the same broker id or disk are fenced.
    Register {
        /// The id wanted; `None` keeps the disk's former id or takes the next free one.
        broker: Option<BrokerId>,
        /// Its WAL folder.
        storage: StorageId,
        /// Host name told to clients.
        host: String,
        /// Port told to clients.
        port: u16,
        /// Rack, where one is configured.
        rack: Option<String>,
    },
    /// Ends an incarnation from outside; its open segments are to be recovered.
    Fence {
        /// Whom.
        incarnation: Incarnation,
    },
    /// An incarnation ended by itself with nothing left on its disk.
    Drained {
        /// Which.
        incarnation: Incarnation,
    },
    /// A segment may be written.
    SegmentOpen {
        /// Its name; sequences of an incarnation only grow.
        segment: SegmentId,
        /// Random, seeds the checksum chain of its files.
        nonce: u64,
        /// The disks that hold it, its owner's among them; never changes.
        ensemble: Vec<Member>,
    },
    /// A living writer closed a segment; its content is in these objects from now on.
    SegmentUploaded {
        /// Which.
        segment: SegmentId,
        /// Entries in it.
        entries: u64,
        /// Its content.
        objects: Vec<NewObject>,
    },
    /// A fenced incarnation is dealt with: all its segments are sealed, their content is in these
    /// objects, and each partition it led has a new leader and epoch from its end on.
    SegmentsRecovered {
        /// Whose.
        incarnation: Incarnation,
        /// Every segment it had, with the entries found good; none for a drained one.
        segments: Vec<(SegmentId, u64)>,
        /// Their content.
        objects: Vec<NewObject>,
        /// The new leader.
        successor: BrokerId,
        /// An operator accepted that acknowledged records may be missing.
        possible_loss: bool,
    },
    /// Hands out object ids.
    ObjectIdsReserved {
        /// To whom.
        incarnation: Incarnation,
        /// How many.
        count: u64,
    },
    /// Unpublished ids below this can never be published; their objects are orphans.
    ObjectIdsVoided {
        /// The first id that stays.
        below: ObjectId,
    },
    /// A topic.
    TopicCreated {
        /// Its id, random.
        topic: TopicId,
        /// Its name.
        name: String,
        /// Partitions.
        partitions: i32,
        /// As asked for; the ensembles decide the copies.
        replication_factor: i16,
        /// First leader of every partition.
        leader: BrokerId,
        /// Configs that differ from the defaults.
        configs: BTreeMap<String, String>,
    },
    /// More partitions of a topic, led by the leader of partition 0.
    PartitionsAdded {
        /// Which topic.
        topic: TopicId,
        /// How many there are then.
        count: i32,
    },
    /// A topic is gone; its name is free.
    TopicDeleted {
        /// Which.
        topic: TopicId,
    },
    /// Configs set (`Some`) or back to their default (`None`).
    ConfigsChanged {
        /// Of what.
        resource: ConfigResource,
        /// By name.
        changes: BTreeMap<String, Option<String>>,
    },
    /// Records below this are gone.
    LogStartRaised {
        /// Of which partition.
        partition: PartitionId,
        /// The new log start offset; may lie beyond what is published.
        to: Offset,
    },
    /// A new manifest version. Fresh runs that end at or below its end are in it.
    ManifestPublished {
        /// Of which partition.
        partition: PartitionId,
        /// The version it was made from; 0 for the first.
        replaces: u64,
        /// What it holds.
        manifest: ManifestRef,
        /// Objects of runs that were in the version before and are not in this; one per run.
        dropped: Vec<ObjectId>,
    },
    /// Runs that only the manifest of a deleted partition named, in the manifest's order.
    DeletedPartitionCleared {
        /// Which.
        partition: PartitionId,
        /// Their objects, one per run.
        objects: Vec<ObjectId>,
        /// Whether these were the last.
        done: bool,
    },
    /// Unlinked objects and manifests that are deleted from the bucket.
    ObjectsPurged {
        /// Objects.
        objects: Vec<ObjectId>,
        /// Manifest versions.
        manifests: Vec<(PartitionId, u64)>,
    },
    /// Hands out producer ids.
    ProducerIdsReserved {
        /// To whom.
        incarnation: Incarnation,
        /// How many.
        count: i64,
    },
}

impl Record {
    /// Whether it publishes what WAL segments held.
    pub(super) fn seals_segments(&self) -> bool {
        matches!(self, Self::SegmentUploaded { .. } | Self::SegmentsRecovered { .. })
    }
}

/// A disk that holds a copy of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The broker.
    pub broker: BrokerId,
    /// Its disk: a wiped one is another member (H10).
    pub storage: StorageId,
    /// Its incarnation when the segment was opened.
    pub incarnation: Incarnation,
}

/// An uploaded object and where its runs belong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewObject {
    /// Reserved by `incarnation`, published once.
    pub object: ObjectId,
    /// Who uploaded it; part of its key.
    pub incarnation: Incarnation,
    /// Part of its key.
    pub nonce: u64,
    /// Its length.
    pub bytes: u64,
    /// Its runs; of one partition in offset order.
    pub runs: Vec<NewRun>,
}

/// One partition's part of a new object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// Whose records.
    pub partition: PartitionId,
    /// Newest leader epoch in it.
    pub leader_epoch: LeaderEpoch,
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
}

/// What a config belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigResource {
    /// A topic.
    Topic(TopicId),
    /// One broker.
    Broker(BrokerId),
    /// Every broker without its own value.
    Cluster,
}
