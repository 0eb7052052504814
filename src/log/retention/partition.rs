//! One partition's retention: what leaves, what moves to the manifest, as one proposal.
//!
//! Invariants: the proposal is made from one state and refused by the metadata log when that has
//! moved on; when the last run leaves, the manifest keeps the producer state (I11); a manifest
//! version is in the bucket before a record names it, under a number never used before.

use std::time::Duration;

use super::{
    Error, Retention,
    plan::{Aged, Policy, age_from},
};
use crate::{
    cluster::{Cluster, ManifestRef, Partition, Record, State},
    log::objects::{self, ObjectRef, Objects},
    manifest::{Manifest, Run},
    object,
    store::{Failure, FailureKind, Outcome, Store, path},
    types::{LeaderEpoch, Millis, Offset, PartitionId},
};

/// Tries to find a manifest number that was not used before.
const TRIES: u32 = 8;

/// A partition and its fresh runs, as one state has them.
struct Picture {
    partition: Partition,
    runs: Vec<Run>,
    newest: objects::Newest,
}

/// Whether the metadata alone says that something is to be done, or to be looked up.
pub(super) fn is_due(
    partition: &Partition,
    policy: &Policy,
    now: Millis,
    manifest_after: Duration,
) -> bool {
    let move_due =
        partition.runs.first().is_some_and(|run| is_old(run.published, now, manifest_after));
    let manifest = partition.manifest.filter(|manifest| manifest.runs > 0);
    let oldest = match (manifest, partition.runs.first()) {
        (Some(manifest), _) => Some(manifest.oldest_timestamp),
        (None, Some(run)) => Some(age_from(run.max_timestamp, run.last_append)),
        (None, None) => None,
    };
    // What is left of it is its producer state, which the manifest is to keep.
    let dead = partition.runs.first().is_some_and(|run| run.end <= partition.log_start);
    let cut = manifest.is_some_and(|manifest| manifest.start < partition.log_start);
    move_due
        || dead
        || cut
        || oldest.is_some_and(|oldest| policy.expired(oldest, now))
        || policy.too_big(partition.bytes())
}

impl Retention {
    /// The proposal that does all that is due for a partition; empty when nothing is.
    pub(super) async fn look_at(&self, id: PartitionId, now: Millis) -> Result<Vec<Record>, Error> {
        let seen = self.cluster.with(|state| {
            let topic = state.topics.get(&id.topic)?;
            let policy = Policy::of(&(self.configs)(state, topic)).with_bugs(self.env.bugs);
            Some((policy, Picture::of(state, id)?))
        });
        let Some((policy, picture)) = seen else { return Ok(Vec::new()) };
        let manifest = picture.manifest(id, &self.objects).await?;
        let aged: Vec<Aged> = manifest.runs().iter().chain(&picture.runs).map(aged).collect();
        let start = policy
            .new_start(&aged, now)
            .map_or(picture.partition.log_start, |start| start.max(picture.partition.log_start));
        let oldest = picture.partition.runs.first();
        let moves =
            oldest.is_some_and(|run| is_old(run.published, now, self.settings.manifest_after));
        picture.proposal(id, &manifest, start, moves, &self.objects, &self.store).await
    }
}

/// Raises the log start of a partition to `to`, keeping what its producers need. For records
/// that are not published yet their own producer state comes with their run.
///
/// # Errors
/// As `Error` says; refused when the partition is gone or the log start is there already.
pub async fn raise_log_start(
    cluster: &Cluster,
    objects: &Objects,
    store: &Store,
    id: PartitionId,
    to: Offset,
) -> Result<(), Error> {
    let picture = cluster.with(|state| Picture::of(state, id));
    let all = picture.filter(|picture| picture.partition.end <= to && !picture.runs.is_empty());
    let mut proposal = vec![Record::LogStartRaised { partition: id, to }];
    if let Some(picture) = all {
        let manifest = picture.manifest(id, objects).await?;
        proposal = picture.proposal(id, &manifest, to, false, objects, store).await?;
    }
    cluster.commit(proposal).await?;
    Ok(())
}

impl Picture {
    fn of(state: &State, id: PartitionId) -> Option<Self> {
        let partition = state.partition(id)?.clone();
        let run = |run: &crate::cluster::Run| {
            let at = ObjectRef::of(state, run.object)?;
            Some(Run {
                object: run.object,
                incarnation: at.incarnation,
                nonce: at.nonce,
                object_bytes: at.bytes,
                leader_epoch: epoch_at(&partition, run.end.advance(-1)),
                base: run.base,
                end: run.end,
                bytes: run.bytes,
                max_timestamp: run.max_timestamp,
                last_append: run.last_append,
            })
        };
        let runs = partition.runs.iter().filter_map(run).collect();
        Some(Self { runs, newest: objects::newest(state, id), partition })
    }

    /// The manifest there is, or the empty one before the first.
    async fn manifest(&self, id: PartitionId, objects: &Objects) -> Result<Manifest, Error> {
        Ok(match self.partition.manifest {
            Some(manifest) => objects.manifest(id, manifest.version).await?.as_ref().clone(),
            None => Manifest::empty(id, Offset::ZERO),
        })
    }

    /// Puts the next manifest version into the bucket when there has to be one, and tells the
    /// records that make it and the log start `start` count.
    async fn proposal(
        &self,
        id: PartitionId,
        manifest: &Manifest,
        start: Offset,
        moves: bool,
        objects: &Objects,
        store: &Store,
    ) -> Result<Vec<Record>, Error> {
        let end = self.partition.end;
        let mut proposal = Vec::new();
        if start > self.partition.log_start {
            proposal.push(Record::LogStartRaised { partition: id, to: start });
        }
        let fresh = self.runs.iter().filter(|run| run.end > start);
        let had_runs = !self.runs.is_empty() || !manifest.runs().is_empty();
        let (next, dropped) = if start >= end && had_runs {
            // Nothing is left: the producer state of the last run outlives it.
            let producers = objects.producers_of(id, self.newest).await?;
            let (next, dropped) = manifest.emptied(end);
            (next.with_producers(object::encode_producers(&producers)), dropped)
        } else {
            let (next, dropped) = manifest.without_below(start);
            if moves { (next.with_runs(fresh.copied())?, dropped) } else { (next, dropped) }
        };
        let same = next.runs() == manifest.runs() && next.producers() == manifest.producers();
        // The newest run leaves the metadata only with a manifest that covers it.
        let last_leaves = start >= end && !self.runs.is_empty();
        if !same || last_leaves {
            let next = put(store, next).await?;
            proposal.push(Record::ManifestPublished {
                partition: id,
                replaces: manifest.version(),
                manifest: reference(&next),
                dropped,
            });
        }
        Ok(proposal)
    }
}

/// Puts a manifest under the first number that is free: what has the number before may be an
/// earlier try, whose record may still come to count.
async fn put(store: &Store, mut manifest: Manifest) -> Result<Manifest, Failure> {
    for _ in 0..TRIES {
        let id = manifest.partition();
        let key = path::manifest(id.topic, id.index, manifest.version());
        let outcome = store.create(&key, vec![manifest.encode()]).await;
        match outcome {
            Outcome::Done(_) => return Ok(manifest),
            Outcome::Unknown(failure) if failure.kind() != FailureKind::Conflict => {
                return Err(failure);
            }
            Outcome::Refused | Outcome::Unknown(_) => {
                let next = manifest.version() + 1;
                manifest = manifest.numbered(next);
            }
        }
    }
    Err(Failure::new(FailureKind::Conflict, "no free manifest number"))
}

fn reference(manifest: &Manifest) -> ManifestRef {
    let oldest = manifest.runs().first();
    ManifestRef {
        version: manifest.version(),
        start: manifest.start(),
        end: manifest.end(),
        bytes: manifest.bytes(),
        runs: u64::try_from(manifest.runs().len()).unwrap_or(u64::MAX),
        oldest_timestamp: oldest
            .map_or(Millis(0), |run| age_from(run.max_timestamp, run.last_append)),
    }
}

fn aged(run: &Run) -> Aged {
    Aged { end: run.end, bytes: run.bytes, from: age_from(run.max_timestamp, run.last_append) }
}

fn is_old(since: Millis, now: Millis, limit: Duration) -> bool {
    u128::try_from(now.since(since)).is_ok_and(|age| age >= limit.as_millis())
}

fn epoch_at(partition: &Partition, offset: Offset) -> LeaderEpoch {
    let known = partition.epochs.iter().rfind(|epoch| epoch.start <= offset);
    known.map_or(LeaderEpoch(0), |known| known.epoch)
}
