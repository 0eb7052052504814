//! Rules of topics and configs.

use std::{collections::BTreeMap, sync::Arc};

use super::{Applied, At, Rejection};
use crate::{
    cluster::{
        record::{ConfigResource, Record},
        state::{DeletedPartition, EpochStart, Partition, State, Topic},
    },
    types::{BrokerId, Incarnation, LeaderEpoch, ObjectId, Offset, PartitionId, TopicId},
};

/// Partitions of one topic.
pub const MAX_PARTITIONS: i32 = 100_000;

/// Bytes of a config's name and of its value.
const MAX_CONFIG_BYTES: usize = 64 * 1024;

impl State {
    pub(super) fn topic_created(&mut self, record: &Record) -> Result<Applied, Rejection> {
        let Record::TopicCreated {
            topic: id,
            name,
            partitions,
            replication_factor,
            leader,
            configs,
        } = record
        else {
            return Err(Rejection::Invalid("a topic's creation"));
        };
        if !is_topic_name(name) {
            return Err(Rejection::InvalidTopicName(name.clone()));
        }
        if self.names.contains_key(name) {
            return Err(Rejection::TopicExists(name.clone()));
        }
        if !(1..=MAX_PARTITIONS).contains(partitions) {
            return Err(Rejection::InvalidPartitions(*partitions));
        }
        // An id that was used before is refused while anything of it is left.
        let used = self.topics.contains_key(id)
            || self.deleted_partitions.keys().any(|partition| partition.topic == *id);
        if used || id.0.is_nil() || *replication_factor < 1 {
            return Err(Rejection::Invalid("a topic has an id of its own and a copy"));
        }
        require_short(configs.iter().map(|(name, value)| (name, Some(value))))?;
        let incarnation = self.living_broker(*leader).ok_or(Rejection::BrokerNotAlive(*leader))?;
        let count = usize::try_from(*partitions).unwrap_or_default();
        let topic = Topic {
            id: *id,
            name: name.clone(),
            replication_factor: *replication_factor,
            configs: configs.clone(),
            partitions: vec![Partition::new(*leader, incarnation); count],
        };
        self.names.insert(name.clone(), *id);
        self.topics.insert(*id, Arc::new(topic));
        Ok(Applied::Done)
    }

    pub(super) fn partitions_added(
        &mut self,
        topic: TopicId,
        count: i32,
    ) -> Result<Applied, Rejection> {
        let topic = self.topics.get_mut(&topic).ok_or(Rejection::UnknownTopic)?;
        let wanted = usize::try_from(count)
            .ok()
            .filter(|wanted| count <= MAX_PARTITIONS && *wanted > topic.partitions.len())
            .ok_or(Rejection::InvalidPartitions(count))?;
        let first = topic.partition(0).ok_or(Rejection::UnknownTopic)?;
        let new = Partition::new(first.leader, first.incarnation);
        Arc::make_mut(topic).partitions.resize(wanted, new);
        Ok(Applied::Done)
    }

    pub(super) fn topic_deleted(&mut self, at: At, id: TopicId) -> Result<Applied, Rejection> {
        let topic = self.topics.remove(&id).ok_or(Rejection::UnknownTopic)?;
        self.names.remove(&topic.name);
        for (index, partition) in (0..).zip(&topic.partitions) {
            let id = PartitionId { topic: id, index };
            for run in &partition.runs {
                self.drop_fresh_run(at, run.object);
            }
            match partition.manifest {
                Some(manifest) if manifest.runs > 0 => {
                    let deleted = DeletedPartition { manifest, cleared: 0 };
                    self.deleted_partitions.insert(id, deleted);
                }
                Some(manifest) => self.unlink_manifest(at, id, manifest.version),
                None => {}
            }
        }
        Ok(Applied::Done)
    }

    pub(super) fn deleted_partition_cleared(
        &mut self,
        at: At,
        id: PartitionId,
        objects: &[ObjectId],
        done: bool,
    ) -> Result<Applied, Rejection> {
        let deleted = self.deleted_partitions.get(&id).ok_or(Rejection::UnknownPartition(id))?;
        let manifest = deleted.manifest;
        let count = u64::try_from(objects.len()).unwrap_or(u64::MAX);
        let cleared = deleted.cleared.saturating_add(count);
        let fits = if done { cleared == manifest.runs } else { cleared < manifest.runs };
        if !fits {
            return Err(Rejection::Overtaken("not what is left of the deleted partition"));
        }
        self.require_manifest_runs(objects)?;
        if done {
            self.deleted_partitions.remove(&id);
            self.unlink_manifest(at, id, manifest.version);
        } else {
            self.deleted_partitions.insert(id, DeletedPartition { manifest, cleared });
        }
        for object in objects {
            self.drop_manifest_run(at, *object);
        }
        Ok(Applied::Done)
    }

    pub(super) fn configs_changed(
        &mut self,
        resource: ConfigResource,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<Applied, Rejection> {
        require_short(changes.iter().map(|(name, value)| (name, value.as_ref())))?;
        let configs = match resource {
            ConfigResource::Topic(topic) => {
                let topic = self.topics.get_mut(&topic).ok_or(Rejection::UnknownTopic)?;
                &mut Arc::make_mut(topic).configs
            }
            ConfigResource::Broker(broker) if self.brokers.contains_key(&broker) => {
                self.broker_configs.entry(broker).or_default()
            }
            ConfigResource::Broker(broker) => return Err(Rejection::UnknownBroker(broker)),
            ConfigResource::Cluster => &mut self.cluster_configs,
        };
        for (name, value) in changes {
            match value {
                Some(value) => configs.insert(name.clone(), value.clone()),
                None => configs.remove(name),
            };
        }
        Ok(Applied::Done)
    }
}

impl Partition {
    fn new(leader: BrokerId, incarnation: Incarnation) -> Self {
        let epochs = vec![EpochStart { epoch: LeaderEpoch(0), start: Offset::ZERO }];
        Self {
            leader,
            incarnation,
            leader_epoch: LeaderEpoch(0),
            epochs,
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            runs: Vec::new(),
            manifest: None,
        }
    }
}

/// Kafka's rule for topic names.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".."
}

fn require_short<'a>(
    mut configs: impl Iterator<Item = (&'a String, Option<&'a String>)>,
) -> Result<(), Rejection> {
    let long = |text: &String| text.len() > MAX_CONFIG_BYTES;
    if configs.any(|(name, value)| name.is_empty() || long(name) || value.is_some_and(long)) {
        return Err(Rejection::Invalid("a config has a name and at most 64 KiB"));
    }
    Ok(())
}
