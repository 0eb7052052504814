//! What a request is answered from.
//!
//! Owns: the handles a running broker gives to its APIs, and what is known of the client.

use std::{net::IpAddr, sync::Arc};

use tokio::sync::watch;

use super::{
    api::{FetchSessions, ProducerIds},
    complaints,
    replies::Replies,
};
use crate::{
    cluster::{Cluster, configs::Values},
    env::{Env, clock::Clock},
    group::Groups,
    log::Log,
    types::{BrokerId, Incarnation},
};

/// What the server is started with.
#[derive(Clone)]
pub struct Services {
    /// Whether the broker serves just now.
    pub service: watch::Receiver<Service>,
    /// What requests are timed by.
    pub clock: Arc<dyn Clock>,
}

/// Whether requests are served.
#[derive(Clone, Default)]
pub enum Service {
    /// Not yet: nothing is known to answer from.
    #[default]
    Starting,
    /// By a running broker.
    Open(Arc<Serving>),
    /// Not just now: it recovers from what ended its incarnation, or leaves.
    Away(Arc<Known>),
}

impl Service {
    /// The same broker when it serves no more.
    #[must_use]
    pub fn closed(&self) -> Self {
        match self {
            Self::Open(serving) => Self::Away(Arc::new(Known {
                broker: serving.broker,
                cluster: serving.cluster.clone(),
            })),
            Self::Starting | Self::Away(_) => self.clone(),
        }
    }
}

/// What outlives an incarnation.
pub struct Known {
    /// This broker.
    pub broker: BrokerId,
    /// Metadata.
    pub cluster: Cluster,
}

/// The parts of a broker that is open for requests.
pub struct Serving {
    /// Clock and randomness.
    pub env: Env,
    /// This broker.
    pub broker: BrokerId,
    /// This process.
    pub incarnation: Incarnation,
    /// Metadata.
    pub cluster: Cluster,
    /// Partitions.
    pub log: Log,
    /// Consumer groups.
    pub groups: Groups,
    /// Configurations given at start, under Kafka's names.
    pub given: Values,
    /// Copies an acknowledged append has: the size of the ensemble, 1 alone.
    pub copies: i32,
    /// What clients said they read.
    pub fetch_sessions: FetchSessions,
    /// Ids to hand out.
    pub producer_ids: ProducerIds,
}

/// One request's surroundings; cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    /// The broker's parts.
    pub(crate) serving: Arc<Serving>,
    /// As the client calls itself; opaque, never a key, a path or a metric label.
    pub(crate) client_id: Arc<str>,
    /// Where the client is.
    pub(crate) client_host: IpAddr,
    /// Memory of replies.
    pub(super) replies: Replies,
}

impl Context {
    /// Says in the log that the client wanted transactions.
    pub(crate) fn refused_transaction(&self, id: &str) {
        complaints::refused_transaction(self.client_host, &self.client_id, id);
    }
}
