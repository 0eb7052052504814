//! What an audit tells: findings by kind, and how much was looked at.
//!
//! Invariant: a kind's name is for programs and does not change; findings take bounded memory.

use std::fmt;

use serde::Serialize;

use crate::{
    store::Key,
    types::{ObjectId, PartitionId},
};

/// Findings that are told one by one; of more only their number is kept.
const MOST: usize = 1000;

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Metadata that has to be there is not.
    MissingMetadata,
    /// Bytes of metadata are not what was written.
    DamagedMetadata,
    /// An entry does not follow the one before it.
    BrokenChain,
    /// A snapshot is not the state that the entries give.
    SnapshotDiffers,
    /// Metadata was replaced by an older version of itself.
    StaleMetadata,
    /// The state contradicts itself.
    Inconsistent,
    /// Offsets that are to be there are in no run.
    Gap,
    /// Offsets are in two runs.
    Overlap,
    /// An object's count of runs that name it is wrong.
    WrongCount,
    /// A run is said to be in an object that metadata does not know.
    UnknownObject,
    /// A manifest that is named is not there.
    MissingManifest,
    /// A manifest's bytes are not what was written.
    DamagedManifest,
    /// A manifest is not what metadata says of it.
    ManifestDiffers,
    /// An object that is named is not there.
    MissingObject,
    /// An object has another length than metadata says.
    WrongLength,
    /// A footer's bytes are not what was written.
    DamagedFooter,
    /// A footer says something else of a run than metadata does.
    RunDiffers,
    /// Bytes of records are not what was written.
    DamagedRecords,
    /// Batches of a run do not tile it, or are not what its footer says.
    WrongRecords,
    /// The producer state after a run does not follow from the one before it.
    ProducerState,
    /// An object nobody was given the id of.
    Unreserved,
    /// What no record can ever name is still there, long after it had to be swept.
    Orphan,
    /// Not a key this program makes.
    Foreign,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its kind.
    pub kind: Kind,
    /// Where: a key, or a partition by its topic's name.
    pub place: String,
    /// How, for people.
    pub text: String,
    #[serde(skip)]
    pub(super) about: About,
}

/// What a finding hangs on: a running broker may have let go of it since it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Nothing that changes.
    Settled,
    /// Metadata naming the object.
    Object(ObjectId),
    /// Metadata naming the manifest version.
    Manifest(PartitionId, u64),
    /// Metadata not naming the key, which is there.
    Unnamed(Key),
}

impl Finding {
    pub(super) fn new(
        kind: Kind,
        place: &impl ToString,
        text: impl Into<String>,
        about: About,
    ) -> Self {
        Self { kind, place: place.to_string(), text: text.into(), about }
    }
}

/// All findings, as many as are kept.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) kept: Vec<Finding>,
    pub(super) more: u64,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        if self.kept.len() < MOST {
            self.kept.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Entries of the metadata log.
    pub entries: u64,
    /// Topics.
    pub topics: u64,
    /// Partitions.
    pub partitions: u64,
    /// Manifests.
    pub manifests: u64,
    /// Objects of records.
    pub objects: u64,
    /// Runs, each against its footer.
    pub runs: u64,
    /// Batches, when records were read.
    pub batches: u64,
    /// Records, when they were read.
    pub records: u64,
    /// Bytes of records, when they were read.
    pub bytes: u64,
    /// Runs whose producer state was worked out again.
    pub producer_states: u64,
}

/// Keys and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many.
    pub keys: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, bytes: u64) {
        self.keys += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What is there and not to be read, and will go away by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leftovers {
    /// Unlinked, and kept for those who still read it.
    pub unlinked: Sum,
    /// Under ids that are handed out: it may still be published.
    pub reserved: Sum,
    /// What no record can name any more and the sweep will delete.
    pub orphans: Sum,
    /// Entries and snapshots of the metadata log that are no longer needed.
    pub metadata: Sum,
    /// Of a test of the bucket that was broken off.
    pub tests: Sum,
}
