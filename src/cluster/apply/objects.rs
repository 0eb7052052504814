//! Rules of objects: ids published once, runs counted, unlinked at zero (H42, H43, H46, H48).

use std::collections::BTreeMap;

use super::{Applied, At, Rejection, runs::Place};
use crate::{
    cluster::{
        record::{NewObject, NewRun},
        state::{IncarnationState, Object, State, Unlinked, UnlinkedManifest},
    },
    env::bugs::Bug,
    types::{Incarnation, ObjectId, Offset, PartitionId},
};

impl State {
    /// Checks new objects with the content of `writer`'s segments; tells where each run goes, in
    /// order.
    pub(super) fn plan_objects(
        &self,
        writer: Incarnation,
        objects: &[NewObject],
    ) -> Result<Vec<Place>, Rejection> {
        let mut ends: BTreeMap<PartitionId, Offset> = BTreeMap::new();
        let mut places = Vec::new();
        for (at, new) in objects.iter().enumerate() {
            let uploader = self.require_living(new.incarnation)?;
            let again = objects.iter().take(at).any(|other| other.object == new.object);
            let may_publish =
                uploader.may_publish(new.object) || self.bugs.has(Bug::UnreservedPublished);
            if again || !may_publish {
                return Err(Rejection::NotReserved(new.object));
            }
            for run in &new.runs {
                let end = ends.entry(run.partition).or_default();
                places.push(self.place_run(writer, run, *end)?);
                *end = run.end.max(*end);
            }
        }
        Ok(places)
    }

    /// Publishes checked objects.
    pub(super) fn publish(&mut self, at: At, objects: &[NewObject], places: &[Place]) {
        let mut places = places.iter();
        for new in objects {
            if let Some(uploader) = self.incarnations.get_mut(&new.incarnation) {
                uploader.consume(new.object);
            }
            let mut object = Object {
                incarnation: new.incarnation,
                nonce: new.nonce,
                bytes: new.bytes,
                fresh_runs: 0,
                manifest_runs: 0,
            };
            for (run, place) in new.runs.iter().zip(&mut places) {
                match place {
                    Place::Deleted => {}
                    Place::BelowLogStart => self.advance_end(run),
                    Place::Newest => {
                        self.advance_end(run);
                        self.add_run(at, new.object, run);
                        object.fresh_runs = object.fresh_runs.saturating_add(1);
                    }
                }
            }
            self.objects.insert(new.object, object);
            self.unlink_if_dead(at, new.object);
            for run in &new.runs {
                self.drop_dead_runs(at, run.partition);
            }
        }
    }

    pub(super) fn objects_purged(
        &mut self,
        objects: &[ObjectId],
        manifests: &[(PartitionId, u64)],
    ) -> Result<Applied, Rejection> {
        if objects.iter().any(|object| self.objects.contains_key(object)) {
            return Err(Rejection::Invalid("an object some run names is not purged"));
        }
        let in_use = |(partition, version): &(PartitionId, u64)| {
            let live = self.partition(*partition).and_then(|partition| partition.manifest);
            let deleted = self.deleted_partitions.get(partition).map(|deleted| deleted.manifest);
            live.or(deleted).is_some_and(|manifest| manifest.version == *version)
        };
        if manifests.iter().any(in_use) {
            return Err(Rejection::Invalid("a manifest in use is not purged"));
        }
        for object in objects {
            self.unlinked.remove(object);
        }
        for manifest in manifests {
            self.unlinked_manifests.remove(manifest);
        }
        Ok(Applied::Done)
    }

    /// One fresh run fewer names the object.
    pub(super) fn drop_fresh_run(&mut self, at: At, object: ObjectId) {
        self.change_counts(at, object, |counts| {
            counts.fresh_runs = counts.fresh_runs.saturating_sub(1);
        });
    }

    /// One run in a manifest fewer names the object.
    pub(super) fn drop_manifest_run(&mut self, at: At, object: ObjectId) {
        self.change_counts(at, object, |counts| {
            counts.manifest_runs = counts.manifest_runs.saturating_sub(1);
        });
    }

    /// A fresh run of the object went into a manifest.
    pub(super) fn move_run(&mut self, at: At, object: ObjectId) {
        let counted = u32::from(!self.bugs.has(Bug::MovedRunUncounted));
        self.change_counts(at, object, |counts| {
            counts.fresh_runs = counts.fresh_runs.saturating_sub(1);
            counts.manifest_runs = counts.manifest_runs.saturating_add(counted);
        });
    }

    /// Whether each listing of an object in `dropped` is matched by a manifest run of it.
    pub(super) fn require_manifest_runs(&self, dropped: &[ObjectId]) -> Result<(), Rejection> {
        let mut wanted: BTreeMap<ObjectId, u32> = BTreeMap::new();
        for object in dropped {
            let count = wanted.entry(*object).or_default();
            *count = count.saturating_add(1);
        }
        let held = |object| self.objects.get(object).map_or(0, |object| object.manifest_runs);
        if wanted.iter().any(|(object, count)| held(object) < *count) {
            return Err(Rejection::Overtaken("an object dropped is in no manifest"));
        }
        Ok(())
    }

    pub(super) fn unlink_manifest(&mut self, at: At, partition: PartitionId, version: u64) {
        let unlinked = UnlinkedManifest { index: at.index, time: at.time };
        self.unlinked_manifests.insert((partition, version), unlinked);
    }

    fn change_counts(&mut self, at: At, object: ObjectId, change: impl FnOnce(&mut Object)) {
        if let Some(counts) = self.objects.get_mut(&object) {
            change(counts);
        }
        self.unlink_if_dead(at, object);
    }

    fn unlink_if_dead(&mut self, at: At, id: ObjectId) {
        if let Some(object) = self.objects.get(&id).filter(|object| object.live_runs() == 0) {
            let Object { incarnation, nonce, .. } = *object;
            self.objects.remove(&id);
            let unlinked = Unlinked { incarnation, nonce, index: at.index, time: at.time };
            self.unlinked.insert(id, unlinked);
        }
    }

    fn advance_end(&mut self, run: &NewRun) {
        if let Some(partition) = self.partition_mut(run.partition) {
            partition.end = partition.end.max(run.end);
        }
    }
}

impl IncarnationState {
    fn may_publish(&self, object: ObjectId) -> bool {
        self.reserved.iter().any(|range| range.contains(&object))
    }

    /// Takes an id out of the reserved ones: an id is published once.
    fn consume(&mut self, object: ObjectId) {
        let Some(at) = self.reserved.iter().position(|range| range.contains(&object)) else {
            return;
        };
        let range = self.reserved.remove(at);
        let after = ObjectId(object.0.saturating_add(1));
        let parts = [range.start..object, after..range.end];
        let left = parts.into_iter().filter(|part| part.start < part.end);
        self.reserved.splice(at..at, left);
    }
}
