//! How entries change the state: one pure function, the same on every broker.
//!
//! Owns: the order of checks, atomic proposals, the chain. Each kind of record has its rule in a
//! file below. Does not own: where entries come from. Invariants: a refused record changes
//! nothing; a rule checks everything before it changes anything; no clock, no chance (I21, I23).

mod brokers;
mod objects;
mod runs;
mod segments;
mod topics;

use std::ops::Range;

use super::{
    entry::{FORMAT, Hash, SealedEntry},
    record::Record,
    state::State,
};
use crate::types::{
    BrokerId, Incarnation, MetadataIndex, Millis, ObjectId, Offset, PartitionId, ProducerId,
    SegmentId,
};

pub use topics::{MAX_PARTITIONS, is_topic_name};

/// What a record brought about, where the proposer needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// What it says.
    Done,
    /// A broker process has these names now.
    Registered {
        /// The broker.
        broker: BrokerId,
        /// The process.
        incarnation: Incarnation,
    },
    /// These object ids may be used.
    ObjectIds(Range<ObjectId>),
    /// These producer ids may be used.
    ProducerIds(Range<ProducerId>),
}

/// Why a record does not hold, by what its proposer does about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The incarnation acting may no longer act.
    #[error("incarnation {0} is fenced, drained or unknown")]
    Fenced(Incarnation),
    /// It is not waiting for recovery: somebody was first, or it lives.
    #[error("incarnation {0} is not waiting for recovery")]
    NotRecovering(Incarnation),
    /// The broker named has no living incarnation.
    #[error("broker {0} is not alive")]
    BrokerNotAlive(BrokerId),
    /// No such topic (any more).
    #[error("no such topic")]
    UnknownTopic,
    /// No such partition (any more).
    #[error("no partition {0}")]
    UnknownPartition(PartitionId),
    /// No such broker.
    #[error("no broker {0}")]
    UnknownBroker(BrokerId),
    /// The name is taken.
    #[error("topic {0:?} exists")]
    TopicExists(String),
    /// Not a name Kafka allows.
    #[error("{0:?} is not a topic name: 1 to 249 of a-z A-Z 0-9 . _ -, not . or ..")]
    InvalidTopicName(String),
    /// Too many, too few, or fewer than there are.
    #[error("{0} partitions cannot be")]
    InvalidPartitions(i32),
    /// The segment is not open, or not of this incarnation.
    #[error("segment {0} is not open")]
    SegmentNotOpen(SegmentId),
    /// An incarnation may have only so many segments open.
    #[error("incarnation {0} has as many open segments as it may")]
    TooManySegments(Incarnation),
    /// A run does not follow what is published.
    #[error("run of {partition} begins at {base}, published is up to {end}")]
    NotContiguous {
        /// Whose.
        partition: PartitionId,
        /// Where the run begins.
        base: Offset,
        /// Where it would have to begin.
        end: Offset,
    },
    /// The id was not reserved by that incarnation, is void, or is published already.
    #[error("object id {0} may not be published")]
    NotReserved(ObjectId),
    /// It was made from something that changed since: read the state and make it again.
    #[error("overtaken: {0}")]
    Overtaken(&'static str),
    /// It never could hold.
    #[error("invalid: {0}")]
    Invalid(&'static str),
}

/// An entry that cannot follow the state: the log is damaged or not ours. Nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// Another cluster's.
    #[error("entry {0} belongs to another cluster")]
    Cluster(MetadataIndex),
    /// Written by a newer version.
    #[error("entry {index} has format {format}, which this version does not know")]
    Format {
        /// Which entry.
        index: MetadataIndex,
        /// Its format.
        format: u32,
    },
    /// Not the index after the state's.
    #[error("entry {found} where {expected} was due")]
    Index {
        /// The entry's own index.
        found: MetadataIndex,
        /// The one due.
        expected: MetadataIndex,
    },
    /// It does not name the entry before it.
    #[error("entry {0} does not continue the log before it")]
    Chain(MetadataIndex),
    /// Its epoch is not the log's (H30).
    #[error("entry {index} is of epoch {found} in a log of epoch {expected}")]
    Epoch {
        /// Which entry.
        index: MetadataIndex,
        /// Its epoch.
        found: u64,
        /// The log's.
        expected: u64,
    },
}

/// Where a record takes effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) index: MetadataIndex,
    pub(super) epoch: u64,
    pub(super) time: Millis,
}

/// What became of a proposal.
pub type ProposalResult = Result<Vec<Applied>, Rejection>;

impl State {
    /// Applies the entry after this state's index; tells what became of each proposal.
    ///
    /// # Errors
    /// When the entry cannot follow; the state is then as it was.
    pub fn apply(&mut self, sealed: &SealedEntry) -> Result<Vec<ProposalResult>, Corrupt> {
        let SealedEntry { entry, hash } = sealed;
        let index = entry.index;
        if entry.cluster_id != self.cluster_id {
            return Err(Corrupt::Cluster(index));
        }
        if entry.format != FORMAT {
            return Err(Corrupt::Format { index, format: entry.format });
        }
        if index != self.index.next() {
            return Err(Corrupt::Index { found: index, expected: self.index.next() });
        }
        if entry.prev_hash != self.hash {
            return Err(Corrupt::Chain(index));
        }
        // A new epoch begins with its own record and nothing else does.
        let epoch = match entry.proposals.first().and_then(|first| first.first()) {
            Some(Record::EpochStart { epoch, .. }) if *epoch > self.epoch => *epoch,
            _ => self.epoch,
        };
        if entry.epoch != epoch {
            return Err(Corrupt::Epoch { index, found: entry.epoch, expected: epoch });
        }
        let at = At { index, epoch, time: entry.time_ms };
        let results = entry.proposals.iter().map(|it| self.propose(at, it)).collect();
        self.follow(at, *hash);
        Ok(results)
    }

    /// The state's place in the log after an entry's records took effect.
    pub(super) fn follow(&mut self, at: At, hash: Hash) {
        self.epoch = at.epoch;
        self.index = at.index;
        self.hash = hash;
    }

    /// Whether `record` would hold in the next entry.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check(&self, record: &Record) -> Result<(), Rejection> {
        let at = At { index: self.index.next(), epoch: self.epoch, time: Millis(0) };
        self.clone().record(at, record).map(|_| ())
    }

    /// Applies a proposal whole or not at all.
    pub(super) fn propose(&mut self, at: At, proposal: &[Record]) -> ProposalResult {
        match proposal {
            // One record is atomic by itself.
            [record] => Ok(vec![self.record(at, record)?]),
            records => {
                let mut after = self.clone();
                let applied =
                    records.iter().map(|it| after.record(at, it)).collect::<Result<_, _>>()?;
                *self = after;
                Ok(applied)
            }
        }
    }

    fn record(&mut self, at: At, record: &Record) -> Result<Applied, Rejection> {
        match record {
            Record::EpochStart { epoch, .. } => self.epoch_start(at, *epoch),
            Record::Register { broker, storage, host, port, rack } => {
                self.register(at, *broker, *storage, (host, *port, rack.as_deref()))
            }
            Record::Fence { incarnation } => self.fence(*incarnation),
            Record::Drained { incarnation } => self.drained(*incarnation),
            Record::SegmentOpen { segment, nonce, ensemble } => {
                self.segment_open(*segment, *nonce, ensemble)
            }
            Record::SegmentUploaded { segment, objects, .. } => {
                self.segment_uploaded(at, *segment, objects)
            }
            Record::SegmentsRecovered { incarnation, segments, objects, successor, .. } => {
                self.segments_recovered(at, *incarnation, segments, objects, *successor)
            }
            Record::ObjectIdsReserved { incarnation, count } => {
                self.object_ids_reserved(*incarnation, *count)
            }
            Record::ObjectIdsVoided { below } => self.object_ids_voided(*below),
            Record::TopicCreated { .. } => self.topic_created(record),
            Record::PartitionsAdded { topic, count } => self.partitions_added(*topic, *count),
            Record::TopicDeleted { topic } => self.topic_deleted(at, *topic),
            Record::ConfigsChanged { resource, changes } => {
                self.configs_changed(*resource, changes)
            }
            Record::LogStartRaised { partition, to } => self.log_start_raised(at, *partition, *to),
            Record::ManifestPublished { partition, replaces, manifest, dropped } => {
                self.manifest_published(at, *partition, *replaces, *manifest, dropped)
            }
            Record::DeletedPartitionCleared { partition, objects, done } => {
                self.deleted_partition_cleared(at, *partition, objects, *done)
            }
            Record::ObjectsPurged { objects, manifests } => self.objects_purged(objects, manifests),
            Record::ProducerIdsReserved { incarnation, count } => {
                self.producer_ids_reserved(*incarnation, *count)
            }
        }
    }

    fn epoch_start(&mut self, at: At, epoch: u64) -> Result<Applied, Rejection> {
        if epoch <= self.epoch || epoch != at.epoch {
            return Err(Rejection::Invalid("an epoch starts once, above all before it"));
        }
        self.epoch = epoch;
        Ok(Applied::Done)
    }
}
