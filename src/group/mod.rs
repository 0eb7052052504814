//! Consumer groups: who is in them, what they are assigned, how far they have read.
//!
//! Owns: the classic group protocol, committed offsets, the `__consumer_offsets` topic and its
//! coordinators, one owner task a partition. Does not own: wire versions, sockets, the WAL.
//! Invariants: an acknowledged commit survives and no later fetch shows an older one (I15); one
//! generation has one assignment (I16); nothing is answered from state that is not loaded (H60).

mod classic;
mod config;
mod coordinator;
mod error;
mod follow;
mod handle;
pub mod hostile;
mod load;
mod log;
mod metrics;
mod offsets;
mod record;
mod route;
mod state;
mod words;

pub use config::Config;
pub use error::Error;
pub use handle::{Committing, Groups, Parts};
pub use metrics::Metrics;
pub use words::{
    Caller, Committed, DescribedMember, Description, GroupId, GroupState, InstanceId, Join,
    JoinRefused, Joined, JoinedMember, Leaving, Listed, MemberId, Position, Protocol, Surveyed,
    Sync, Synced, TopicPartition,
};

/// The topic that holds groups and offsets.
pub const TOPIC: &str = "__consumer_offsets";

#[cfg(test)]
mod tests;
