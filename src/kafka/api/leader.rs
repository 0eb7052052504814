//! Who leads instead, in the tagged fields of Produce and Fetch (KIP-951).
//!
//! Owns: the two fields and their encoding, the same in both APIs.

use crate::{
    kafka::{context::Context, decode::Encoder},
    log::NotHere,
    types::{BrokerId, LeaderEpoch, PartitionId},
};

/// The leader a client should go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) id: BrokerId,
    pub(super) epoch: LeaderEpoch,
}

impl Leader {
    /// From a partition that is not here.
    pub(super) fn elsewhere(error: &NotHere) -> Option<Self> {
        match *error {
            NotHere::NotLeader { leader, epoch } => Some(Self { id: leader, epoch }),
            NotHere::UnknownTopic | NotHere::UnknownPartition => None,
        }
    }

    /// As the metadata names it now.
    pub(super) fn of(context: &Context, partition: PartitionId) -> Option<Self> {
        context.serving.cluster.with(|state| {
            let partition = state.partition(partition)?;
            Some(Self { id: partition.leader, epoch: partition.leader_epoch })
        })
    }

    /// The content of the tagged field CurrentLeader.
    pub(super) fn tag(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(true);
        encoder.i32(self.id.0);
        encoder.i32(self.epoch.0);
        encoder.no_tags();
        encoder.into_tag()
    }
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    id: BrokerId,
    host: String,
    port: u16,
    rack: Option<String>,
}

/// Endpoints of the brokers named, each once.
pub(super) fn endpoints(context: &Context, leaders: impl Iterator<Item = Leader>) -> Vec<Endpoint> {
    let mut ids: Vec<_> = leaders.map(|leader| leader.id).collect();
    if ids.is_empty() {
        return Vec::new();
    }
    ids.sort_unstable();
    ids.dedup();
    context.serving.cluster.with(|state| {
        let endpoint = |id: BrokerId| {
            let broker = state.brokers.get(&id)?;
            let (host, rack) = (broker.host.clone(), broker.rack.clone());
            Some(Endpoint { id, host, port: broker.port, rack })
        };
        ids.into_iter().filter_map(endpoint).collect()
    })
}

/// The content of the tagged field NodeEndpoints.
pub(super) fn endpoints_tag(endpoints: &[Endpoint]) -> Vec<u8> {
    let mut encoder = Encoder::new(true);
    encoder.array(endpoints.len());
    for endpoint in endpoints {
        encoder.i32(endpoint.id.0);
        encoder.string(&endpoint.host);
        encoder.i32(endpoint.port.into());
        encoder.nullable_string(endpoint.rack.as_deref());
        encoder.no_tags();
    }
    encoder.into_tag()
}
