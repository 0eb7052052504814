//! A partition as Kafka sees it, and the way of its records from the WAL to the bucket and out.
//!
//! Owns: offsets, producer state, the tail, reads over tail, WAL and bucket (`partition`); which
//! partitions are open here (`Log`); upload, recovery, retention and sweep of objects.
//! Does not own: Kafka's wire and codes, WAL files, object bytes, who leads.
//! Invariants: the high watermark moves only when a batch is committed and never back; a batch is
//! stamped and appended in the order of the calls; producer state is a function of the log alone.

mod ahead;
mod append;
mod directory;
mod error;
mod fetch;
mod history;
#[cfg(test)]
mod life_test;
mod metrics;
pub mod objects;
mod offsets;
mod partition;
mod producer;
mod published;
pub mod recover;
pub mod retention;
pub mod sweep;
mod tail;
pub mod upload;
#[cfg(test)]
pub(crate) mod world;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

pub use append::{Appended, Origin, Pending};
pub use error::{AppendError, DeleteError, NotHere, ReadError};
pub use fetch::Read;
pub use metrics::Metrics;
pub use offsets::TimeMatch;
pub use partition::Partition;
pub use producer::{Claim, Moment, Producers, SequenceError, Verdict};

use crate::{
    cluster::{Cluster, State},
    env::{
        Env,
        task::{Cores, Tasks},
    },
    replication::Replication,
    store::Store,
    types::{BrokerId, Incarnation, MetadataIndex, TopicId},
};
use directory::{Directory, Follower};
use history::History;
use objects::Objects;
use partition::Around;
use published::Published;
use upload::TopicConfigs;

/// The partitions this broker leads; clones share them.
#[derive(Clone)]
pub struct Log {
    shared: Arc<directory::Shared>,
    cluster: Cluster,
}

/// What the log is built of.
pub struct Parts {
    /// The metadata.
    pub cluster: Cluster,
    /// This incarnation's write-ahead log.
    pub replication: Replication,
    /// Published records.
    pub objects: Objects,
    /// The bucket.
    pub store: Store,
    /// The clock.
    pub env: Env,
    /// Owner of the task that follows the metadata.
    pub tasks: Tasks,
    /// This broker.
    pub broker: BrokerId,
    /// This process.
    pub incarnation: Incarnation,
    /// How topics are configured.
    pub configs: TopicConfigs,
    /// Metrics.
    pub metrics: Metrics,
}

impl Log {
    /// Opens what this incarnation leads and follows the metadata from there.
    #[must_use]
    pub fn start(parts: Parts) -> Self {
        let Parts { cluster, objects, store, .. } = parts;
        let (clock, tasks) = (Arc::clone(&parts.env.clock), parts.tasks.clone());
        let history: Arc<dyn History> =
            Arc::new(Published::new(cluster.clone(), objects, store, clock, tasks));
        let around = Around {
            replication: parts.replication,
            history,
            clock: parts.env.clock,
            bugs: parts.env.bugs,
            metrics: parts.metrics,
            cores: Cores::of_the_machine(),
        };
        let shared = Arc::new(directory::Shared {
            directory: ArcSwap::from_pointee(Directory::default()),
            followed: watch::Sender::new(MetadataIndex(0)),
        });
        let mut follower = Follower {
            broker: parts.broker,
            incarnation: parts.incarnation,
            configs: parts.configs,
            around: Arc::new(around),
            shared: Arc::clone(&shared),
            seen: Arc::new(State::new(cluster.with(|state| state.cluster_id))),
        };
        let mut changes = cluster.subscribe();
        changes.mark_unchanged();
        follower.follow(cluster.state());
        let (stopping, source) = (parts.tasks.stopping(), cluster.clone());
        parts.tasks.spawn("log-follow", async move {
            loop {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return follower.close(),
                    changed = changes.changed() => if changed.is_err() { return },
                }
                follower.follow(source.state());
            }
        });
        Self { shared, cluster }
    }

    /// The open partition called so. Takes no lock.
    ///
    /// # Errors
    /// Why it is not here.
    pub fn find(&self, topic: &str, index: i32) -> Result<Arc<Partition>, NotHere> {
        self.shared.directory.load().find(topic, index)
    }

    /// The open partition of that topic id. Takes no lock.
    ///
    /// # Errors
    /// Why it is not here.
    pub fn find_by_id(&self, topic: TopicId, index: i32) -> Result<Arc<Partition>, NotHere> {
        self.shared.directory.load().find_by_id(topic, index)
    }

    /// Every open partition, in no order.
    #[must_use]
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.shared.directory.load().open()
    }

    /// Follows what the directory shows: it changes after partitions were opened and closed.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<MetadataIndex> {
        self.shared.followed.subscribe()
    }

    /// Waits until the log has seen `topic`'s creation, which was committed before the call, and
    /// opened what this broker leads of it. Returns at once for one that is deleted again.
    pub async fn until_open(&self, topic: TopicId) {
        let created =
            self.cluster.with(|state| state.topics.contains_key(&topic).then_some(state.index));
        if let Some(index) = created {
            self.until_followed(index).await;
        }
    }

    /// Waits until the directory shows the metadata as of `index`.
    pub async fn until_followed(&self, index: MetadataIndex) {
        // An error means that the follower has stopped: so does the broker.
        drop(self.subscribe().wait_for(|followed| *followed >= index).await);
    }
}

#[cfg(test)]
mod tests;
