//! What a cluster says about itself: brokers, topics, partitions, leaders.

use std::collections::BTreeMap;

use proto_kafka::messages::{MetadataResponse, metadata_response::MetadataResponseTopic};

/// One answer to Metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster's id, if it has one.
    pub cluster_id: Option<String>,
    /// The broker that leads the cluster.
    pub controller: Option<i32>,
    /// By id.
    pub brokers: BTreeMap<i32, Broker>,
    /// By name.
    pub topics: BTreeMap<String, Topic>,
}

/// A live broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Where it is reached, `HOST:PORT`.
    pub address: String,
    /// Its rack.
    pub rack: Option<String>,
}

/// A topic, or why it cannot be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Kafka's code; 0 is good.
    pub code: i16,
    /// Its id, if the broker tells it.
    pub id: Option<uuid::Uuid>,
    /// One of the cluster's own.
    pub is_internal: bool,
    /// By index.
    pub partitions: BTreeMap<i32, Partition>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Kafka's code; 0 is good.
    pub code: i16,
    /// Its leader, if it has one.
    pub leader: Option<i32>,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// Who should have it.
    pub replicas: Vec<i32>,
    /// Who has it whole.
    pub in_sync: Vec<i32>,
}

impl Metadata {
    pub(super) fn of(answer: &MetadataResponse) -> Self {
        let brokers = answer.brokers.iter().map(|broker| {
            let address = format!("{}:{}", broker.host.as_str(), broker.port);
            let rack = broker.rack.as_ref().map(ToString::to_string);
            (broker.node_id.0, Broker { address, rack })
        });
        let topics = answer.topics.iter().filter_map(|topic| {
            let name = topic.name.as_ref()?.0.to_string();
            Some((name, Topic::of(topic)))
        });
        let controller = answer.controller_id.0;
        Self {
            cluster_id: answer.cluster_id.as_ref().map(ToString::to_string),
            controller: (controller >= 0).then_some(controller),
            brokers: brokers.collect(),
            topics: topics.collect(),
        }
    }

    /// Where a broker is reached.
    #[must_use]
    pub fn address(&self, broker: i32) -> Option<String> {
        self.brokers.get(&broker).map(|broker| broker.address.clone())
    }

    /// Where the leader of a partition is reached, when it has one that lives.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<String> {
        self.address(self.topics.get(topic)?.partitions.get(&partition)?.leader?)
    }
}

impl Topic {
    fn of(topic: &MetadataResponseTopic) -> Self {
        let partitions = topic.partitions.iter().map(|partition| {
            let ids = |ids: &[proto_kafka::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
            let leader = partition.leader_id.0;
            let partition_of = Partition {
                code: partition.error_code,
                leader: (leader >= 0).then_some(leader),
                leader_epoch: partition.leader_epoch,
                replicas: ids(&partition.replica_nodes),
                in_sync: ids(&partition.isr_nodes),
            };
            (partition.partition_index, partition_of)
        });
        Self {
            code: topic.error_code,
            id: Some(topic.topic_id).filter(|id| !id.is_nil()),
            is_internal: topic.is_internal,
            partitions: partitions.collect(),
        }
    }

    /// Replicas of its partitions, as many as the first has.
    #[must_use]
    pub fn replication(&self) -> usize {
        self.partitions.values().next().map_or(0, |partition| partition.replicas.len())
    }
}
