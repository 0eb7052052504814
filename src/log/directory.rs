//! Which partitions are open here: follows the metadata and opens, updates and closes them.
//!
//! Owns: the directory that requests look in, without any lock of the cluster's.
//! Does not own: who leads (the metadata says), what a partition does.
//! Invariants: a partition is open only while this very incarnation leads it (I7); a reign is one
//! `Partition`, a new epoch is another; what is deleted is closed before it is out of the directory.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    NotHere, Partition,
    partition::{Around, Opening},
    upload::TopicConfigs,
};
use crate::{
    cluster::{self, State, Topic, configs::TopicConfig},
    types::{BrokerId, Incarnation, LeaderEpoch, MetadataIndex, PartitionId, TopicId},
};

/// Every topic, with what is here of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    by_id: HashMap<TopicId, Arc<Slots>>,
    by_name: HashMap<Arc<str>, Arc<Slots>>,
}

/// One topic's partitions.
#[derive(Debug)]
struct Slots {
    topic: TopicId,
    name: Arc<str>,
    config: Arc<TopicConfig>,
    partitions: Vec<Slot>,
}

#[derive(Clone, Debug)]
enum Slot {
    Here(Arc<Partition>),
    Elsewhere { leader: BrokerId, epoch: LeaderEpoch },
}

/// What requests share with the follower.
pub(super) struct Shared {
    pub(super) directory: ArcSwap<Directory>,
    /// The metadata that the directory shows.
    pub(super) followed: watch::Sender<MetadataIndex>,
}

/// Keeps the directory in step with the metadata. One task owns it.
pub(super) struct Follower {
    pub(super) broker: BrokerId,
    pub(super) incarnation: Incarnation,
    pub(super) configs: TopicConfigs,
    pub(super) around: Arc<Around>,
    pub(super) shared: Arc<Shared>,
    /// What the directory shows. Held, so that a topic that changes is another `Arc`.
    pub(super) seen: Arc<State>,
}

impl Directory {
    pub(super) fn find(&self, name: &str, index: i32) -> Result<Arc<Partition>, NotHere> {
        self.by_name.get(name).ok_or(NotHere::UnknownTopic)?.find(index)
    }

    pub(super) fn find_by_id(&self, topic: TopicId, index: i32) -> Result<Arc<Partition>, NotHere> {
        self.by_id.get(&topic).ok_or(NotHere::UnknownTopic)?.find(index)
    }

    pub(super) fn open(&self) -> Vec<Arc<Partition>> {
        self.by_id.values().flat_map(|slots| slots.here()).cloned().collect()
    }

    fn insert(&mut self, slots: &Arc<Slots>) {
        self.by_id.insert(slots.topic, Arc::clone(slots));
        self.by_name.insert(Arc::clone(&slots.name), Arc::clone(slots));
    }

    fn remove(&mut self, topic: TopicId) {
        let Some(slots) = self.by_id.remove(&topic) else { return };
        for partition in slots.here() {
            partition.close();
        }
        self.by_name.remove(&slots.name);
    }
}

impl Slots {
    fn find(&self, index: i32) -> Result<Arc<Partition>, NotHere> {
        let slot = usize::try_from(index).ok().and_then(|index| self.partitions.get(index));
        match slot {
            None => Err(NotHere::UnknownPartition),
            Some(Slot::Here(partition)) => Ok(Arc::clone(partition)),
            Some(Slot::Elsewhere { leader, epoch }) => {
                Err(NotHere::NotLeader { leader: *leader, epoch: *epoch })
            }
        }
    }

    fn here(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().filter_map(|slot| match slot {
            Slot::Here(partition) => Some(partition),
            Slot::Elsewhere { .. } => None,
        })
    }
}

impl Follower {
    /// Brings everything in step with `state`.
    pub(super) fn follow(&mut self, state: Arc<State>) {
        let layers = |state: &State| {
            (state.cluster_configs.clone(), state.broker_configs.get(&self.broker).cloned())
        };
        let layers_changed = layers(&state) != layers(&self.seen);
        let mut next: Option<Directory> = None;
        let now = self.shared.directory.load_full();
        let gone = self.seen.topics.keys().filter(|id| !state.topics.contains_key(id));
        for topic in gone {
            next.get_or_insert_with(|| Directory::clone(&now)).remove(*topic);
        }
        for (id, topic) in &state.topics {
            let before = self.seen.topics.get(id);
            if !layers_changed && before.is_some_and(|before| Arc::ptr_eq(before, topic)) {
                continue;
            }
            let same_configs =
                !layers_changed && before.is_some_and(|before| before.configs == topic.configs);
            let slots = now.by_id.get(id);
            let config = match slots {
                Some(slots) if same_configs => Arc::clone(&slots.config),
                _ => Arc::new((self.configs)(&state, topic)),
            };
            if let Some(slots) = self.changed(topic, config, slots) {
                next.get_or_insert_with(|| Directory::clone(&now)).insert(&Arc::new(slots));
            }
        }
        if let Some(next) = next {
            self.shared.directory.store(Arc::new(next));
        }
        let index = state.index;
        self.seen = state;
        self.shared.followed.send_replace(index);
    }

    /// Closes everything: this incarnation is over.
    pub(super) fn close(&self) {
        for partition in self.shared.directory.load().open() {
            partition.close();
        }
    }

    /// Updates the open partitions of `topic`; its new slots, when they differ from `before`.
    fn changed(
        &self,
        topic: &Topic,
        config: Arc<TopicConfig>,
        before: Option<&Arc<Slots>>,
    ) -> Option<Slots> {
        let name = before.map_or_else(|| Arc::from(topic.name.as_str()), |old| old.name.clone());
        let old = before.map_or(&[][..], |before| &before.partitions);
        let mut same = old.len() == topic.partitions.len()
            && before.is_some_and(|before| Arc::ptr_eq(&before.config, &config));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (index, partition) in (0..).zip(&topic.partitions) {
            let old = old.get(partitions.len());
            let opening = || Opening {
                id: PartitionId { topic: topic.id, index },
                topic: Arc::clone(&name),
                leader_epoch: partition.leader_epoch,
                log_start: partition.log_start,
                end: partition.end,
                config: Arc::clone(&config),
            };
            let (slot, kept) = self.slot(partition, &config, old, opening);
            same &= kept;
            partitions.push(slot);
        }
        (!same).then_some(Slots { topic: topic.id, name, config, partitions })
    }

    /// The slot of one partition, and whether it is the old one.
    fn slot(
        &self,
        partition: &cluster::Partition,
        config: &Arc<TopicConfig>,
        old: Option<&Slot>,
        opening: impl FnOnce() -> Opening,
    ) -> (Slot, bool) {
        let (leader, epoch) = (partition.leader, partition.leader_epoch);
        let here = leader == self.broker && partition.incarnation == self.incarnation;
        match old {
            Some(Slot::Here(open)) if here && open.leader_epoch() == epoch => {
                open.update(partition.log_start, partition.end, config);
                return (Slot::Here(Arc::clone(open)), true);
            }
            Some(Slot::Here(open)) => open.close(),
            Some(Slot::Elsewhere { leader: old, epoch: old_epoch }) if !here => {
                let same = (*old, *old_epoch) == (leader, epoch);
                return (Slot::Elsewhere { leader, epoch }, same);
            }
            Some(Slot::Elsewhere { .. }) | None => {}
        }
        if here {
            (Slot::Here(Partition::open(opening(), Arc::clone(&self.around))), false)
        } else {
            (Slot::Elsewhere { leader, epoch }, false)
        }
    }
}
