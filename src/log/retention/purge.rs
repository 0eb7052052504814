//! Deletes from the bucket what was unlinked long enough ago.

use std::time::Duration;

use futures::{StreamExt, future, stream};
use tracing::info;

use super::{BATCH, PARALLEL, Retention};
use crate::{
    cluster::{Record, State},
    env::bugs::Bug,
    store::{Key, path},
    types::{Millis, ObjectId, PartitionId},
};

/// What is due, with keys.
#[derive(Debug, Default)]
struct Due {
    objects: Vec<(ObjectId, Key)>,
    manifests: Vec<((PartitionId, u64), Key)>,
}

impl Retention {
    /// Deletes everything that is due, in batches; stops at the first failure until the next
    /// round.
    pub async fn purge_once(&self) {
        loop {
            let now = self.env.clock.wall();
            let at_once = self.env.bugs.has(Bug::PurgeWithoutGrace);
            let grace = if at_once { Duration::ZERO } else { self.settings.grace };
            let due = self.cluster.with(|state| due(state, now, grace));
            if (due.objects.is_empty() && due.manifests.is_empty()) || self.store.away() {
                return;
            }
            let objects = self.delete(due.objects).await;
            let manifests = self.delete(due.manifests).await;
            if objects.is_empty() && manifests.is_empty() {
                return;
            }
            self.metrics.deleted.inc_by(objects.len().try_into().unwrap_or(0));
            info!(objects = objects.len(), manifests = manifests.len(), "deleted from the bucket");
            let purged = Record::ObjectsPurged { objects, manifests };
            let committed = self.cluster.commit(vec![purged]).await;
            if self.told(&"purge", committed.map_err(Into::into)).is_none() {
                return;
            }
        }
    }

    /// Deletes keys; the names of those that are gone for certain.
    async fn delete<N: std::fmt::Debug>(&self, due: Vec<(N, Key)>) -> Vec<N> {
        let deletes = stream::iter(due).map(|(name, key)| async move {
            let deleted = self.store.delete(&key).await;
            self.told(&key, deleted.map_err(Into::into)).map(|()| name)
        });
        deletes.buffer_unordered(PARALLEL).filter_map(future::ready).collect().await
    }
}

fn due(state: &State, now: Millis, grace: Duration) -> Due {
    let over = |since: Millis| {
        u128::try_from(now.since(since)).is_ok_and(|waited| waited >= grace.as_millis())
    };
    let objects = state.unlinked.iter().filter(|(_, unlinked)| over(unlinked.time));
    let objects =
        objects.map(|(id, unlinked)| (*id, path::data(*id, unlinked.incarnation, unlinked.nonce)));
    let manifests = state.unlinked_manifests.iter().filter(|(_, unlinked)| over(unlinked.time));
    let manifests = manifests.map(|((partition, version), _)| {
        ((*partition, *version), path::manifest(partition.topic, partition.index, *version))
    });
    Due { objects: objects.take(BATCH).collect(), manifests: manifests.take(BATCH).collect() }
}
