//! Rules of a partition's runs: where new ones go, what the log start and manifests take away.

use std::sync::Arc;

use super::{Applied, At, Rejection};
use crate::{
    cluster::{
        record::NewRun,
        state::{ManifestRef, Partition, Run, State},
    },
    env::bugs::Bug,
    types::{Incarnation, ObjectId, Offset, PartitionId},
};

/// What becomes of a new run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its partition is deleted.
    Deleted,
    /// All of it is below the log start, and it does not follow what is published.
    BelowLogStart,
    /// It is the partition's newest; below the log start too, for its producer state (I11).
    Newest,
}

impl State {
    /// Where a run of `writer`'s segments goes; runs before it in the same record reach `reached`.
    pub(super) fn place_run(
        &self,
        writer: Incarnation,
        run: &NewRun,
        reached: Offset,
    ) -> Result<Place, Rejection> {
        if run.base >= run.end || run.base < Offset::ZERO {
            return Err(Rejection::Invalid("a run has records"));
        }
        let Some(topic) = self.topics.get(&run.partition.topic) else { return Ok(Place::Deleted) };
        let partition = topic
            .partition(run.partition.index)
            .ok_or(Rejection::UnknownPartition(run.partition))?;
        if partition.incarnation != writer || run.leader_epoch > partition.leader_epoch {
            return Err(Rejection::Fenced(writer));
        }
        let end = reached.max(partition.end);
        // What is missing may lie wholly below the log start: nobody will ask for it.
        let may_gap = self.bugs.has(Bug::GapPublished);
        let missing_is_gone = run.base <= partition.log_start || may_gap;
        let follows = run.base == end || (run.base > end && missing_is_gone);
        if follows {
            Ok(Place::Newest)
        } else if run.end <= partition.log_start {
            Ok(Place::BelowLogStart)
        } else {
            Err(Rejection::NotContiguous { partition: run.partition, base: run.base, end })
        }
    }

    pub(super) fn add_run(&mut self, at: At, object: ObjectId, run: &NewRun) {
        let NewRun { base, end, bytes, max_timestamp, last_append, .. } = *run;
        let published = at.time;
        if let Some(partition) = self.partition_mut(run.partition) {
            let run = Run { object, base, end, bytes, max_timestamp, last_append, published };
            partition.runs.push(run);
        }
    }

    pub(super) fn log_start_raised(
        &mut self,
        at: At,
        id: PartitionId,
        to: Offset,
    ) -> Result<Applied, Rejection> {
        let partition = self.partition(id).ok_or(Rejection::UnknownPartition(id))?;
        if to <= partition.log_start && !self.bugs.has(Bug::LogStartBackwards) {
            return Err(Rejection::Overtaken("the log start is there or above already"));
        }
        let Some(partition) = self.partition_mut(id) else { return Ok(Applied::Done) };
        partition.raise_log_start(to);
        self.drop_dead_runs(at, id);
        Ok(Applied::Done)
    }

    /// Takes out the fresh runs below the log start. The newest one stays until a manifest keeps
    /// the producer state that it ends with.
    pub(super) fn drop_dead_runs(&mut self, at: At, id: PartitionId) {
        let Some(partition) = self.partition(id) else { return };
        let before_newest = partition.runs.len().saturating_sub(1);
        let dead = partition.runs_up_to(partition.log_start).min(before_newest);
        if dead == 0 {
            return;
        }
        let Some(partition) = self.partition_mut(id) else { return };
        let dead: Vec<_> = partition.runs.drain(..dead).collect();
        for run in dead {
            self.drop_fresh_run(at, run.object);
        }
    }

    pub(super) fn manifest_published(
        &mut self,
        at: At,
        id: PartitionId,
        replaces: u64,
        manifest: ManifestRef,
        dropped: &[ObjectId],
    ) -> Result<Applied, Rejection> {
        let partition = self.partition(id).ok_or(Rejection::UnknownPartition(id))?;
        let before = partition.manifest;
        if before.map_or(0, |before| before.version) != replaces {
            return Err(Rejection::Overtaken("another manifest version was published"));
        }
        if manifest.version <= replaces {
            return Err(Rejection::Invalid("manifest versions only grow"));
        }
        partition.require_manifest(&manifest, dropped)?;
        self.require_manifest_runs(dropped)?;
        if let Some(before) = before {
            self.unlink_manifest(at, id, before.version);
        }
        let Some(partition) = self.partition_mut(id) else { return Ok(Applied::Done) };
        partition.manifest = Some(manifest);
        let (log_start, count) = (partition.log_start, partition.runs_up_to(manifest.end));
        let taken: Vec<_> = partition.runs.drain(..count).collect();
        for run in taken {
            if run.end > log_start {
                self.move_run(at, run.object);
            } else {
                self.drop_fresh_run(at, run.object);
            }
        }
        for object in dropped {
            self.drop_manifest_run(at, *object);
        }
        Ok(Applied::Done)
    }

    pub(super) fn partition_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        let topic = Arc::make_mut(self.topics.get_mut(&id.topic)?);
        topic.partitions.get_mut(usize::try_from(id.index).ok()?)
    }
}

impl Partition {
    /// Whether a manifest can follow the one there is: exactly the runs it should hold by the
    /// counts, so a run that died since it was made does not come back.
    fn require_manifest(&self, new: &ManifestRef, dropped: &[ObjectId]) -> Result<(), Rejection> {
        let before = self.manifest.map_or((Offset::ZERO, 0), |before| (before.end, before.runs));
        if new.start > new.end || new.end < before.0 || new.end > self.end {
            return Err(Rejection::Invalid("a manifest covers published offsets, ever more"));
        }
        let taken = self.runs_up_to(new.end);
        let moved = taken.saturating_sub(self.runs_up_to(self.log_start.min(new.end)));
        if self.runs.get(taken).is_some_and(|next| next.base < new.end) {
            return Err(Rejection::Invalid("a manifest takes whole runs"));
        }
        let held = before.1.saturating_add(u64::try_from(moved).unwrap_or(u64::MAX));
        let dropped = u64::try_from(dropped.len()).unwrap_or(u64::MAX);
        if new.runs.checked_add(dropped) != Some(held) {
            return Err(Rejection::Overtaken("runs are not those the manifest was made from"));
        }
        Ok(())
    }

    fn runs_up_to(&self, end: Offset) -> usize {
        self.runs.partition_point(|run| run.end <= end)
    }
}
