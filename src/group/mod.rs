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
mod load;
mod log;
mod metrics;
mod offsets;
mod record;
mod state;
mod words;

pub use config::Config;
pub use error::Error;
pub use metrics::Metrics;
pub use words::{
    Caller, Committed, DescribedMember, Description, GroupId, GroupState, InstanceId, Join,
    JoinRefused, Joined, JoinedMember, Leaving, Listed, MemberId, Position, Protocol, Sync, Synced,
    TopicPartition,
};

use crate::types::BrokerId;

/// The topic that holds groups and offsets.
pub const TOPIC: &str = "__consumer_offsets";

/// The groups of this broker; cheap to clone.
#[derive(Clone, Debug)]
pub struct Groups;

impl Groups {
    /// The broker that coordinates `group`; creates the topic on first use.
    ///
    /// # Errors
    /// `NotAvailable` while there is none.
    pub async fn find_coordinator(&self, _group: &GroupId) -> Result<BrokerId, Error> {
        unimplemented!()
    }

    /// Takes a member into the next generation; waits until that has begun.
    ///
    /// # Errors
    /// The error and the member id to go on with.
    pub async fn join(&self, _group: &GroupId, _join: Join) -> Result<Joined, JoinRefused> {
        unimplemented!()
    }

    /// Hands out a member's assignment; waits until the leader has brought it.
    ///
    /// # Errors
    /// As `Error` says.
    pub async fn sync(&self, _group: &GroupId, _sync: Sync) -> Result<Synced, Error> {
        unimplemented!()
    }

    /// Keeps a member's session alive.
    ///
    /// # Errors
    /// As `Error` says.
    pub async fn heartbeat(&self, _group: &GroupId, _caller: Caller) -> Result<(), Error> {
        unimplemented!()
    }

    /// Takes members out of the group: one result each.
    ///
    /// # Errors
    /// When the coordinator cannot say.
    pub async fn leave(
        &self,
        _group: &GroupId,
        _members: Vec<Leaving>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        unimplemented!()
    }

    /// Commits positions: one result each, when all are durable.
    ///
    /// # Errors
    /// When the caller may not commit, or the coordinator cannot say.
    pub async fn commit(
        &self,
        _group: &GroupId,
        _caller: Caller,
        _positions: Vec<(TopicPartition, Position)>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        unimplemented!()
    }

    /// Committed positions of the given partitions, in order, or of all (`None`).
    /// An unknown group has none.
    ///
    /// # Errors
    /// When the coordinator cannot say: never a wrong "none" (H60).
    pub async fn committed(
        &self,
        _group: &GroupId,
        _partitions: Option<Vec<TopicPartition>>,
    ) -> Result<Vec<(TopicPartition, Option<Position>)>, Error> {
        unimplemented!()
    }

    /// The group in full.
    ///
    /// # Errors
    /// `GroupNotFound`, or the coordinator cannot say.
    pub async fn describe(&self, _group: &GroupId) -> Result<Description, Error> {
        unimplemented!()
    }

    /// Every group this broker coordinates.
    ///
    /// # Errors
    /// While a coordinator loads.
    pub async fn list(&self) -> Result<Vec<Listed>, Error> {
        unimplemented!()
    }

    /// Deletes an empty group and its offsets.
    ///
    /// # Errors
    /// `NonEmptyGroup`, `GroupNotFound`, or the coordinator cannot say.
    pub async fn delete(&self, _group: &GroupId) -> Result<(), Error> {
        unimplemented!()
    }

    /// Deletes committed positions: one result each.
    ///
    /// # Errors
    /// As `Error` says.
    pub async fn delete_offsets(
        &self,
        _group: &GroupId,
        _partitions: Vec<TopicPartition>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        unimplemented!()
    }
}
