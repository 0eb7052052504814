//! Orphans: objects and manifests in the bucket that no record names and none can name any more.
//!
//! Owns: finding them by LIST, voiding their ids, deleting them. Does not own: what is unlinked
//! (`retention`). Invariants: an id is void by a committed record before an object of it is
//! deleted (H46); time only chooses which ids to void; a failure deletes nothing (H45).

use std::time::Duration;

use tracing::{debug, info, warn};

use crate::{
    cluster::{Cluster, CommitError, Record, State},
    env::{
        Env,
        bugs::{Bug, Bugs},
        clock,
        task::Tasks,
    },
    log::upload::{Ids, Uploader},
    store::{Failure, Key, Listed, Store, path},
    types::{Millis, ObjectId},
};

/// Times of the sweep.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The first sweep comes this long after the start.
    pub first_after: Duration,
    /// Then one every so often.
    pub every: Duration,
    /// An unpublished object this old is given up.
    pub orphan_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { first_after: Duration::from_secs(3600), every: day, orphan_age: day }
    }
}

/// What the sweep works with.
#[derive(Clone)]
pub struct Sweep {
    cluster: Cluster,
    store: Store,
    env: Env,
    ids: Ids,
    settings: Settings,
}

/// Why a sweep ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metadata log refused it or is no longer this broker's to write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The bucket did not answer.
    #[error(transparent)]
    Bucket(#[from] Failure),
}

/// What is to become of a key under `data/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Referenced, unlinked with its grace running, or still to be published.
    Keep,
    /// Given up: an orphan once ids up to and with this one are void.
    GivenUp(ObjectId),
    /// No record can ever name it.
    Delete,
}

impl Sweep {
    /// A sweep beside the uploader of the same incarnation.
    #[must_use]
    pub fn new(
        cluster: Cluster,
        store: Store,
        env: Env,
        uploader: &Uploader,
        settings: Settings,
    ) -> Self {
        Self::over(cluster, store, env, uploader.ids(), settings)
    }

    pub(in crate::log) fn over(
        cluster: Cluster,
        store: Store,
        env: Env,
        ids: Ids,
        settings: Settings,
    ) -> Self {
        Self { cluster, store, env, ids, settings }
    }

    /// Runs it until `tasks` stop.
    pub fn start(self, tasks: &Tasks) {
        let stopping = tasks.stopping();
        tasks.spawn("sweep", async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = self.for_ever() => {}
            }
        });
    }

    async fn for_ever(&self) {
        clock::sleep(self.settings.first_after).await;
        loop {
            if let Err(error) = self.once().await {
                warn!(%error, "sweep ended early, the next one goes on");
            }
            clock::sleep(self.settings.every).await;
        }
    }

    /// Sweeps the bucket once; how many keys it deleted.
    ///
    /// # Errors
    /// As `Error` says; what was deleted until then was rightly so.
    pub async fn once(&self) -> Result<usize, Error> {
        let objects = self.sweep_objects().await?;
        let manifests = self.sweep_manifests().await?;
        if objects + manifests > 0 {
            info!(objects, manifests, "orphans deleted");
        }
        Ok(objects + manifests)
    }

    async fn sweep_objects(&self) -> Result<usize, Error> {
        let before = self.given_up_before();
        let mut deleted = 0;
        let mut pages = Pages::new(path::data_prefix());
        while let Some(page) = pages.next(&self.store).await? {
            let own = self.ids.lowest();
            let (times, bugs) = ((before, own), self.env.bugs);
            let given_up = self.cluster.with(|state| last_given_up(state, &page, times, bugs));
            if let Some(last) = given_up {
                let below = ObjectId(last.0 + 1);
                if self.cluster.with(|state| state.voided_below) < below {
                    self.cluster.commit(vec![Record::ObjectIdsVoided { below }]).await?;
                }
            }
            // Looked at anew: an id may have been published right before it became void.
            let orphans = self.cluster.with(|state| orphans(state, &page, times, bugs));
            deleted += self.delete(&orphans).await?;
        }
        Ok(deleted)
    }

    async fn sweep_manifests(&self) -> Result<usize, Error> {
        let before = self.given_up_before();
        let mut deleted = 0;
        let mut pages = Pages::new(path::manifest_prefix());
        while let Some(page) = pages.next(&self.store).await? {
            let old = page.iter().filter(|listed| listed.modified < before);
            let orphans: Vec<Key> = self.cluster.with(|state| {
                let orphans = old.filter(|listed| is_orphan_manifest(state, &listed.key));
                orphans.map(|listed| listed.key.clone()).collect()
            });
            deleted += self.delete(&orphans).await?;
        }
        Ok(deleted)
    }

    async fn delete(&self, orphans: &[Key]) -> Result<usize, Error> {
        for key in orphans {
            debug!(%key, "deleting an orphan");
            self.store.delete(key).await?;
        }
        Ok(orphans.len())
    }

    fn given_up_before(&self) -> Millis {
        let age = i64::try_from(self.settings.orphan_age.as_millis()).unwrap_or(i64::MAX);
        Millis(self.env.clock.wall().0.saturating_sub(age))
    }
}

/// A listing, page by page.
struct Pages {
    prefix: Key,
    after: Option<Key>,
    more: bool,
}

impl Pages {
    fn new(prefix: Key) -> Self {
        Self { prefix, after: None, more: true }
    }

    async fn next(&mut self, store: &Store) -> Result<Option<Vec<Listed>>, Failure> {
        if !self.more {
            return Ok(None);
        }
        let page = store.list(&self.prefix, self.after.as_ref()).await?;
        self.after = page.listed.last().map(|last| last.key.clone());
        self.more = page.more && self.after.is_some();
        Ok(Some(page.listed))
    }
}

/// The highest id of a page that is given up, to be made void with all below.
fn last_given_up(
    state: &State,
    page: &[Listed],
    times: (Millis, Option<ObjectId>),
    bugs: Bugs,
) -> Option<ObjectId> {
    let verdicts = page.iter().map(|listed| verdict(state, listed, times, bugs));
    let given_up = verdicts.filter_map(|verdict| match verdict {
        Verdict::GivenUp(id) => Some(id),
        Verdict::Keep | Verdict::Delete => None,
    });
    given_up.max()
}

/// The keys of a page to delete.
fn orphans(
    state: &State,
    page: &[Listed],
    times: (Millis, Option<ObjectId>),
    bugs: Bugs,
) -> Vec<Key> {
    let orphan = |listed: &&Listed| verdict(state, listed, times, bugs) == Verdict::Delete;
    page.iter().filter(orphan).map(|listed| listed.key.clone()).collect()
}

fn verdict(
    state: &State,
    listed: &Listed,
    (before, own): (Millis, Option<ObjectId>),
    bugs: Bugs,
) -> Verdict {
    // A key we did not make is not ours to delete.
    let Some(name) = path::data_name(&listed.key) else { return Verdict::Keep };
    if let Some(published) = state.object_key(name.object) {
        // Another attempt at an object that is published: an id is published once.
        let stale = published != (name.incarnation, name.nonce);
        return if stale { Verdict::Delete } else { Verdict::Keep };
    }
    let may_publish = state
        .living(name.incarnation)
        .is_some_and(|uploader| uploader.reserved.iter().any(|range| range.contains(&name.object)));
    if !may_publish || bugs.has(Bug::SweepOfReserved) {
        return Verdict::Delete;
    }
    let given_up = listed.modified < before && own.is_none_or(|own| name.object < own);
    if given_up { Verdict::GivenUp(name.object) } else { Verdict::Keep }
}

/// Whether no record names this manifest version and none will.
fn is_orphan_manifest(state: &State, key: &Key) -> bool {
    let Some(path::Name::Manifest { topic, partition, version }) = path::name(key) else {
        return false;
    };
    let id = crate::types::PartitionId { topic, index: partition };
    if state.unlinked_manifests.contains_key(&(id, version)) {
        return false;
    }
    let live = state.partition(id).map(|partition| partition.manifest);
    let deleted = state.deleted_partitions.get(&id).map(|deleted| Some(deleted.manifest));
    match live.or(deleted) {
        // Versions only grow, so none below the current one can be published any more.
        Some(current) => current.is_some_and(|current| version < current.version),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::world::{World, batch};

    #[tokio::test]
    async fn what_is_published_right_before_its_id_becomes_void_stays() {
        let mut world = World::new().await;
        let topic = world.topic("t", &[]).await;
        let now = world.env.clock.wall();
        // The first one reserves ids, the second takes one of them.
        world.publish(vec![(topic, batch(0, 1, now))]).await;
        let seen = world.cluster.state();
        world.publish(vec![(topic, batch(1, 1, now))]).await;
        let page = world.store.list(&path::data_prefix(), None).await.unwrap().listed;
        let later = Millis(i64::MAX);
        // Another broker's sweep, which does not know what is under way here.
        let given_up = last_given_up(&seen, &page, (later, None), Bugs::NONE).unwrap();
        let below = ObjectId(given_up.0 + 1);
        world.cluster.commit(vec![Record::ObjectIdsVoided { below }]).await.unwrap();
        assert_eq!(orphans(&world.cluster.state(), &page, (later, None), Bugs::NONE), []);
        world.stop().await;
    }
}
