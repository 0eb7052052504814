//! The metadata log and the state it describes: who is who, what is where, agreed on through the
//! bucket.
//!
//! Owns: records, the state machine, the log's entries and snapshots, the controller's lease.
//! Does not own: record batches, WAL files, objects' content, who proposes what and when.
//! Invariants: the log is one chain of immutable entries (I21); an answer follows the entry that
//! holds the record (I22); clocks decide only when to try, the log decides who is controller.

mod apply;
mod chain;
mod commit;
pub mod configs;
mod controller;
mod documents;
mod driver;
mod entry;
mod error;
mod handle;
pub mod hostile;
mod lease;
mod look;
mod meta;
mod metrics;
mod record;
mod replay;
mod snapshot;
mod state;
mod take_over;
mod trim;

pub use apply::{Applied, Corrupt, MAX_PARTITIONS, ProposalResult, Rejection, is_topic_name};
pub use chain::{Chain, ChainFault, ChainFaultKind, inspect};
pub use documents::{AtRisk, TopicAtRisk};
pub use entry::{DecodeError, Entry, FORMAT, Hash, SealedEntry};
pub use error::{Abdication, CommitError, Damage, ReadError, TakeOverError};
pub use handle::{AtRiskSource, Cluster, Committed, Config, Holder, Parts, Phase, Probe};
pub use look::{Seen, SeenLease, look};
pub use metrics::Metrics;
pub use record::{ConfigResource, Member, NewObject, NewRun, Record};
pub use state::{
    Broker, BrokerStatus, DeletedPartition, EpochStart, IncarnationState, ManifestRef, Object,
    Partition, Run, Segment, SegmentStatus, State, Topic, Unlinked, UnlinkedManifest,
};

#[cfg(test)]
mod tests;
