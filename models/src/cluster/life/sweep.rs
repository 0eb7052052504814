//! The sweep, of a broker that is not the uploader: nothing but the metadata protects an id.

use super::{Action, Item, Life, Mutant, UPLOADER, World, partition_id};
use crate::{cluster::record::Record, types::ObjectId};

/// Something to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Doomed {
    item: Item,
    /// Its id is to be made void first.
    void: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Void,
    Delete,
}

impl Life {
    pub(super) fn sweep_actions(&self, world: &World, actions: &mut Vec<Action>) {
        match world.doomed {
            Some(Doomed { void: true, .. }) => actions.push(Action::Void),
            Some(_) => actions.push(Action::Sweep),
            None => {
                let objects = world.objects.iter().map(|(id, attempt)| Item::Object(*id, *attempt));
                let manifests = world.manifests.keys();
                let manifests = manifests.map(|(topic, version)| Item::Manifest(*topic, *version));
                let found = objects.chain(manifests);
                let found = found.filter(|item| self.verdict(world, *item) != Verdict::Keep);
                actions.extend(found.map(Action::Judge));
            }
        }
    }

    /// As `log/sweep.rs` judges a key that is old enough.
    fn verdict(&self, world: &World, item: Item) -> Verdict {
        match item {
            Item::Object(id, attempt) => {
                let id = ObjectId(id);
                if let Some(published) = world.state.object_key(id) {
                    let stale = published != (UPLOADER, u64::from(attempt));
                    return if stale { Verdict::Delete } else { Verdict::Keep };
                }
                let uploader = world.state.living(UPLOADER);
                let reserved = uploader.is_some_and(|uploader| {
                    uploader.reserved.iter().any(|range| range.contains(&id))
                });
                if !reserved || self.is(Mutant::SweepReserved) {
                    Verdict::Delete
                } else {
                    Verdict::Void
                }
            }
            Item::Manifest(topic, version) => {
                let id = partition_id(topic);
                if world.state.unlinked_manifests.contains_key(&(id, version)) {
                    return Verdict::Keep;
                }
                let live = world.state.partition(id).map(|partition| partition.manifest);
                let deleted = world.state.deleted_partitions.get(&id);
                let deleted = deleted.map(|deleted| Some(deleted.manifest));
                let orphan = match live.or(deleted) {
                    Some(current) if self.is(Mutant::SweepManifestAbove) => {
                        current.is_none_or(|current| version != current.version)
                    }
                    Some(current) => current.is_some_and(|current| version < current.version),
                    None => true,
                };
                if orphan { Verdict::Delete } else { Verdict::Keep }
            }
        }
    }

    pub(super) fn judge(&self, world: &mut World, item: Item) -> Option<()> {
        let void = match self.verdict(world, item) {
            Verdict::Keep => return None,
            Verdict::Void => true,
            Verdict::Delete => false,
        };
        world.doomed = Some(Doomed { item, void });
        Some(())
    }

    /// Makes the id void, and then looks again: it may have been published before.
    pub(super) fn void(&self, world: &mut World) {
        let Some(Doomed { item, .. }) = world.doomed else { return };
        let Item::Object(id, _) = item else { return };
        let below = ObjectId(id + 1);
        if world.state.voided_below < below && !self.is(Mutant::NoVoid) {
            let reserved = |world: &World| {
                world.state.living(UPLOADER).map(|uploader| uploader.reserved.clone())
            };
            let before = reserved(world);
            drop(self.commit(world, &[Record::ObjectIdsVoided { below }]));
            if self.is(Mutant::VoidKeepsReserved)
                && let (Some(before), Some(own)) =
                    (before, world.state.incarnations.get_mut(&UPLOADER))
            {
                own.reserved = before;
            }
        }
        let unsaid = [Mutant::NoVoid, Mutant::VoidKeepsReserved, Mutant::JudgedBeforeVoid]
            .contains(&self.mutant);
        let goes = unsaid || self.verdict(world, item) == Verdict::Delete;
        world.doomed = goes.then_some(Doomed { item, void: false });
    }

    pub(super) fn sweep(&self, world: &mut World) {
        if let Some(Doomed { item, .. }) = world.doomed.take() {
            world.delete(item);
            world.orphan_swept = true;
        }
    }

    /// Nothing stays for ever: what no record names, and none will, the sweep may take.
    pub(super) fn orphans_can_go(&self, world: &World) -> bool {
        world.objects.iter().all(|(id, attempt)| {
            let named =
                world.state.object_key(ObjectId(*id)) == Some((UPLOADER, u64::from(*attempt)));
            named || self.verdict(world, Item::Object(*id, *attempt)) != Verdict::Keep
        })
    }
}
