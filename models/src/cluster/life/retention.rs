//! Retention, deletion, purge and the reader.

use super::{Action, Item, Life, Mutant, TOPICS, World, partition_id, topic_id};
use crate::{
    cluster::{
        record::Record,
        state::{ManifestRef, Partition, State},
    },
    types::{Millis, ObjectId, Offset},
};

/// A run as a manifest has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) object: u64,
    pub(super) attempt: u8,
    pub(super) base: i64,
    pub(super) end: i64,
}

/// What a manifest version holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Content {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) runs: Vec<Run>,
}

/// What retention is about to propose; its manifest is in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposal {
    raise: Option<i64>,
    manifest: Option<(u64, ManifestRef, Vec<u64>)>,
}

pub(super) fn fresh_runs(state: &State, partition: &Partition) -> Vec<Run> {
    let run = |run: &crate::cluster::state::Run| {
        let (_, nonce) = state.object_key(run.object)?;
        let attempt = u8::try_from(nonce).unwrap();
        Some(Run { object: run.object.0, attempt, base: run.base.0, end: run.end.0 })
    };
    partition.runs.iter().filter_map(run).collect()
}

impl Life {
    pub(super) fn retention_actions(&self, world: &World, actions: &mut Vec<Action>) {
        for topic in 0..TOPICS {
            let id = partition_id(topic);
            for look in 0..world.proposals[topic].len() {
                actions.extend([Action::Retain(topic, look), Action::Abandon(topic, look)]);
            }
            if world.state.deleted_partitions.contains_key(&id) {
                actions.push(Action::ClearDeleted(topic));
            }
            let Some(partition) = world.state.partition(id) else { continue };
            if self.shape.deletes && topic == 0 {
                actions.push(Action::DeleteTopic(topic));
            }
            if self.shape.raises && partition.log_start < partition.end {
                actions.push(Action::RaiseLogStart(topic));
            }
            if world.proposals[topic].len() < self.shape.looks {
                let runs = partition.end.0 - partition.log_start.0;
                for over in 0..=usize::try_from(runs.max(0)).unwrap() {
                    actions.extend([false, true].map(|moves| Action::Look(topic, over, moves)));
                }
            }
        }
    }

    /// As `log/retention/partition.rs` makes a proposal of one picture.
    pub(super) fn look(
        &self,
        world: &mut World,
        topic: usize,
        over: usize,
        moves: bool,
    ) -> Option<()> {
        let partition = world.state.partition(partition_id(topic))?.clone();
        let fresh = fresh_runs(&world.state, &partition);
        let replaces = partition.manifest.map_or(0, |manifest| manifest.version);
        let held = match replaces {
            0 => Content::default(),
            // Not to be had: the look is not done.
            version => world.manifests.get(&(topic, version))?.clone(),
        };
        let log_start = partition.log_start.0;
        let start = log_start + i64::try_from(over).unwrap();
        let end = partition.end.0;
        let had_runs = !fresh.is_empty() || !held.runs.is_empty();
        let all_over = start >= end && had_runs;
        let below = if all_over { end.max(held.end) } else { start.clamp(held.start, held.end) };
        let (dropped, runs): (Vec<Run>, Vec<Run>) =
            held.runs.iter().partition(|run| all_over || run.end <= below);
        let mut next = Content { start: below, end: held.end, runs };
        if all_over {
            next.end = end;
        } else if moves {
            for run in fresh.iter().filter(|run| run.end > start) {
                if next.runs.is_empty() {
                    next.start = next.start.max(run.base);
                }
                next.end = run.end;
                next.runs.push(*run);
            }
        }
        let raise = (start > log_start).then_some(start);
        let changed = next.runs != held.runs || all_over;
        let manifest = if changed {
            // A number that was never used.
            let mut version = replaces + 1;
            while world.manifests.contains_key(&(topic, version)) {
                version += 1;
            }
            if version > self.shape.versions {
                return None;
            }
            let reference = ManifestRef {
                version,
                start: Offset(next.start),
                end: Offset(next.end),
                bytes: 0,
                runs: u64::try_from(next.runs.len()).unwrap(),
                oldest_timestamp: Millis(0),
            };
            world.manifests.insert((topic, version), next);
            let dropped = dropped.iter().map(|run| run.object).collect();
            Some((replaces, reference, dropped))
        } else {
            None
        };
        if raise.is_none() && manifest.is_none() {
            return None;
        }
        world.proposals[topic].push(Proposal { raise, manifest });
        Some(())
    }

    pub(super) fn retain(&self, world: &mut World, topic: usize, look: usize) {
        let Proposal { raise, manifest } = world.proposals[topic].remove(look);
        let partition = partition_id(topic);
        let mut proposal = Vec::new();
        if let Some(to) = raise {
            proposal.push(Record::LogStartRaised { partition, to: Offset(to) });
        }
        let before = world.state.clone();
        let mut moved = false;
        if let Some((replaces, manifest, dropped)) = manifest {
            moved = manifest.runs > 0;
            let dropped = dropped.into_iter().map(ObjectId).collect();
            proposal.push(Record::ManifestPublished { partition, replaces, manifest, dropped });
        }
        if self.commit(world, &proposal).is_ok() {
            world.moved |= moved;
            if self.is(Mutant::CountNotKept) {
                forget_moved(world, &before);
            }
        }
    }

    pub(super) fn raise_log_start(&self, world: &mut World, topic: usize) -> Option<()> {
        let id = partition_id(topic);
        let partition = world.state.partition(id)?;
        let to = Offset(partition.log_start.0 + 1);
        // The last run's producer state has to be kept in a manifest: retention's way.
        if partition.end <= to && !partition.runs.is_empty() {
            return None;
        }
        let record = Record::LogStartRaised { partition: id, to };
        self.commit(world, &[record]).ok().map(drop)
    }

    pub(super) fn delete_topic(&self, world: &mut World, topic: usize) -> Option<()> {
        let named: Vec<ObjectId> = world.state.objects.keys().copied().collect();
        self.commit(world, &[Record::TopicDeleted { topic: topic_id(topic) }]).ok()?;
        if self.is(Mutant::UnlinkWhileReferenced) {
            for id in named {
                unlink(world, id);
            }
        }
        Some(())
    }

    pub(super) fn clear_deleted(&self, world: &mut World, topic: usize) -> Option<()> {
        let partition = partition_id(topic);
        let deleted = *world.state.deleted_partitions.get(&partition)?;
        let content = world.manifests.get(&(topic, deleted.manifest.version))?;
        let objects = content.runs.iter().map(|run| ObjectId(run.object)).collect();
        let record = Record::DeletedPartitionCleared { partition, objects, done: true };
        self.commit(world, &[record]).ok().map(drop)
    }

    pub(super) fn purge(&self, world: &mut World, item: Item) {
        world.delete(item);
        let (objects, manifests) = match item {
            Item::Object(id, _) => (vec![ObjectId(id)], Vec::new()),
            Item::Manifest(topic, version) => (Vec::new(), vec![(partition_id(topic), version)]),
        };
        world.purged |= self.commit(world, &[Record::ObjectsPurged { objects, manifests }]).is_ok();
    }

    pub(super) fn reader_actions(&self, world: &World, actions: &mut Vec<Action>) {
        match world.reader {
            Some(_) => actions.push(Action::Read),
            None if self.shape.reads => actions.extend((0..TOPICS).map(Action::Plan)),
            None => {}
        }
    }

    /// The first record of a partition, by the metadata as it is.
    pub(super) fn plan(&self, world: &mut World, topic: usize) -> Option<()> {
        let partition = world.state.partition(partition_id(topic))?;
        let manifest = partition.manifest.filter(|manifest| manifest.end > partition.log_start);
        let item = match manifest {
            Some(manifest) => Item::Manifest(topic, manifest.version),
            None => {
                let fresh = fresh_runs(&world.state, partition);
                let run = fresh.into_iter().find(|run| run.end > partition.log_start.0)?;
                Item::Object(run.object, run.attempt)
            }
        };
        world.reader = Some(item);
        Some(())
    }

    pub(super) fn read(&self, world: &mut World) -> Option<()> {
        let item = world.reader.take()?;
        world.missed |= !world.is_there(item);
        if let Item::Manifest(topic, version) = item
            && let Some(run) =
                world.manifests.get(&(topic, version)).and_then(|content| content.runs.last())
        {
            world.reader = Some(Item::Object(run.object, run.attempt));
            return Some(());
        }
        world.waiting.clear();
        Some(())
    }
}

/// The mutant's metadata: what moved to a manifest is no longer counted.
fn forget_moved(world: &mut World, before: &State) {
    let ids: Vec<_> = world.state.objects.keys().copied().collect();
    for id in ids {
        let Some(object) = world.state.objects.get_mut(&id) else { continue };
        let counted = before.objects.get(&id).map_or(0, |object| object.manifest_runs);
        object.manifest_runs = object.manifest_runs.min(counted);
        if object.live_runs() == 0 {
            unlink(world, id);
        }
    }
}

fn unlink(world: &mut World, id: ObjectId) {
    if let Some(object) = world.state.objects.remove(&id) {
        let unlinked = crate::cluster::state::Unlinked {
            incarnation: object.incarnation,
            nonce: object.nonce,
            index: world.state.index,
            time: Millis(0),
        };
        world.state.unlinked.insert(id, unlinked);
    }
}
