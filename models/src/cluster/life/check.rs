//! The invariants.

use std::collections::BTreeMap;

use super::{Item, TOPICS, World, partition_id, retention::fresh_runs, topic_of};

/// I17, as the metadata is now.
pub(super) const NAMED_IS_THERE: &str = "what the metadata names is in the bucket";
/// I17, as the metadata was when a reader began.
pub(super) const READERS_FIND: &str = "readers find what they came for";
/// H48.
pub(super) const COUNTS: &str = "an object's counts are the runs that name it";
/// I3, I20.
pub(super) const TILE: &str = "runs tile the log";
/// I19.
pub(super) const TRIMMED: &str = "what left the WAL is published";
/// I18.
pub(super) const ORPHANS: &str = "orphans can be swept";

/// The manifests that count, with how many of their runs are dealt with.
fn current(world: &World) -> impl Iterator<Item = (usize, u64)> {
    let live = (0..TOPICS).filter_map(|topic| {
        let manifest = world.state.partition(partition_id(topic))?.manifest?;
        Some((topic, manifest.version))
    });
    let deleted = world.state.deleted_partitions.iter();
    live.chain(deleted.map(|(id, deleted)| (topic_of(*id), deleted.manifest.version)))
}

pub(super) fn named_is_there(world: &World) -> bool {
    let objects = world.state.objects.iter().all(|(id, object)| {
        world.is_there(Item::Object(id.0, u8::try_from(object.nonce).unwrap()))
    });
    objects && current(world).all(|manifest| world.manifests.contains_key(&manifest))
}

pub(super) fn counts_are_right(world: &World) -> bool {
    let mut counted: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    for topic in world.state.topics.values() {
        for run in topic.partitions.iter().flat_map(|partition| &partition.runs) {
            counted.entry(run.object.0).or_default().0 += 1;
        }
    }
    for manifest in current(world) {
        let Some(content) = world.manifests.get(&manifest) else { return true };
        for run in &content.runs {
            counted.entry(run.object).or_default().1 += 1;
        }
    }
    let objects = world.state.objects.iter();
    let held: BTreeMap<_, _> =
        objects.map(|(id, object)| (id.0, (object.fresh_runs, object.manifest_runs))).collect();
    held == counted
}

/// Every record from the log start on is in exactly one run, in the object that holds it.
pub(super) fn runs_tile(world: &World) -> bool {
    (0..TOPICS).all(|topic| {
        let Some(partition) = world.state.partition(partition_id(topic)) else { return true };
        let version = partition.manifest.map_or(0, |manifest| manifest.version);
        let manifest = world.manifests.get(&(topic, version));
        if version > 0 && manifest.is_none() {
            return true;
        }
        let old = manifest.map(|content| content.runs.clone()).unwrap_or_default();
        let runs = old.into_iter().chain(fresh_runs(&world.state, partition));
        let mut next = partition.log_start.0;
        for run in runs.filter(|run| run.end > partition.log_start.0) {
            if run.base > next || run.base < next && next != partition.log_start.0 {
                return false;
            }
            if i64::from(run.attempt / 10) != run.base {
                return false;
            }
            next = run.end;
        }
        next >= partition.end.0
    })
}

pub(super) fn trimmed_is_published(world: &World) -> bool {
    let uploads = world.uploads.iter().enumerate();
    uploads.into_iter().all(|(segment, upload)| !upload.trimmed || world.is_sealed(segment))
}
