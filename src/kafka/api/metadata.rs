//! Metadata (3), versions 0 to 13.
//!
//! Topics: in 0 an empty list is all, from 1 on null is all and an empty list none. 4 says whether
//! to create what is missing (before it: yes); 8 asks for authorized operations, of the cluster up
//! to 10; 10 has topic ids in the answer, 12 in the request; 13 a top-level error.
//!
//! A topic that a client may create by asking is created and answered with its leader at once.

use std::{collections::HashSet, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proto_kafka::{
    messages::{
        self, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
    protocol::StrBytes,
};

use super::{
    create_topics::{NewTopic, create},
    topics::{
        Collisions, MAX_NEW_PARTITIONS, TOPIC_OPERATIONS, check_name, is_internal, replicas,
        require_not_internal,
    },
};
use crate::{
    cluster::{Cluster, State, Topic, configs::BrokerConfig},
    kafka::{context::Context, error::Code},
    types::{BrokerId, ClusterId, TopicId},
};

/// How long an answer waits for a topic it creates.
const PATIENCE: Duration = Duration::from_secs(5);
/// Operations on a cluster, as a bit field: without authorisation all of create, alter, describe,
/// cluster action, describe configs, alter configs, idempotent write.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// A topic as asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    Name(String),
    Id(TopicId),
}

/// The cluster's id as clients know it: the 22 characters of Kafka's uuids.
pub(super) fn cluster_id(id: ClusterId) -> StrBytes {
    URL_SAFE_NO_PAD.encode(id.0.as_bytes()).into()
}

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let wanted = match asked(version, &request) {
        Ok(wanted) => wanted,
        Err(refused) => return refused,
    };
    if let Some(wanted) = wanted.as_deref().filter(|_| request.allow_auto_topic_creation) {
        create_missing(context, wanted).await;
    }
    let serving = &context.serving;
    told(&serving.cluster, serving.broker, version, &request, wanted)
}

/// What is known of the topics `wanted`.
pub(super) fn told(
    metadata: &Cluster,
    broker: BrokerId,
    version: i16,
    request: &MetadataRequest,
    wanted: Option<Vec<Asked>>,
) -> MetadataResponse {
    let operations = version >= 8 && request.include_topic_authorized_operations;
    let cluster_operations = request.include_cluster_authorized_operations;
    metadata.with(|state| {
        let topics = match wanted {
            None => state.topics.values().map(|topic| known(state, version, topic)).collect(),
            Some(wanted) => wanted.iter().map(|asked| one(state, version, asked)).collect(),
        };
        let mut response = cluster(state, broker).with_topics(topics);
        if (8..=10).contains(&version) && cluster_operations {
            response.cluster_authorized_operations = CLUSTER_OPERATIONS;
        }
        let told = response.topics.iter_mut().filter(|topic| operations && topic.name.is_some());
        told.for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
        response
    })
}

/// Topic ids, and the null names beside them, have a meaning from version 12 on.
fn is_by_id(topic: &MetadataRequestTopic) -> bool {
    topic.name.is_none() || !topic.topic_id.is_nil()
}

fn refused(version: i16, request: MetadataRequest) -> MetadataResponse {
    let topic = |topic: MetadataRequestTopic| {
        let refused = MetadataResponseTopic::default()
            .with_error_code(Code::InvalidRequest.code())
            .with_name(Some(topic.name.unwrap_or_default()));
        if version >= 10 { refused.with_topic_id(topic.topic_id) } else { refused }
    };
    let topics = request.topics.unwrap_or_default().into_iter().map(topic).collect();
    MetadataResponse::default().with_topics(topics)
}

/// The topics asked for, each once and in order; `None` for all.
///
/// # Errors
/// The answer to a request whose version cannot ask so.
pub(super) fn asked(
    version: i16,
    request: &MetadataRequest,
) -> Result<Option<Vec<Asked>>, MetadataResponse> {
    if version < 12 && request.topics.iter().flatten().any(is_by_id) {
        return Err(refused(version, request.clone()));
    }
    Ok(wanted(version, request.topics.clone()))
}

fn wanted(version: i16, topics: Option<Vec<MetadataRequestTopic>>) -> Option<Vec<Asked>> {
    let topics = topics.filter(|topics| version > 0 || !topics.is_empty())?;
    let mut seen = HashSet::new();
    let asked = topics.into_iter().map(|topic| match topic.name {
        Some(name) if topic.topic_id.is_nil() => Asked::Name(name.0.to_string()),
        _ => Asked::Id(TopicId(topic.topic_id)),
    });
    Some(asked.filter(|asked| seen.insert(asked.clone())).collect())
}

/// Creates the topics that are missing, may be created and are not the broker's own.
async fn create_missing(context: &Context, wanted: &[Asked]) {
    let serving = &context.serving;
    let missing = serving.cluster.with(|state| {
        let config = BrokerConfig::resolve(&state.layers(serving.broker, &serving.given));
        if !config.auto_create_topics_enable {
            return Vec::new();
        }
        missing(state, wanted, &config)
    });
    for new in missing {
        let name = new.name.clone();
        if let Err(refusal) = create(context, new, PATIENCE).await {
            let reason = refusal.text;
            tracing::info!(topic = %name.escape_debug(), %reason, "topic not created on demand");
        }
    }
}

fn missing(state: &State, wanted: &[Asked], config: &BrokerConfig) -> Vec<NewTopic> {
    let mut collisions = None;
    let mut new = Vec::new();
    // A request that names more than one may create gets the rest when it asks again.
    let partitions = usize::try_from(config.num_partitions).unwrap_or(1).max(1);
    let most = (MAX_NEW_PARTITIONS / partitions).max(1);
    for asked in wanted {
        if new.len() == most {
            break;
        }
        let Asked::Name(name) = asked else { continue };
        if state.topic(name).is_some()
            || require_not_internal(name, "Creation").is_err()
            || check_name(name).is_err()
        {
            continue;
        }
        let collisions = collisions.get_or_insert_with(|| Collisions::of(state));
        if collisions.check(name).is_ok() {
            collisions.add(name);
            new.push(NewTopic {
                name: name.clone(),
                partitions: config.num_partitions,
                replication_factor: config.default_replication_factor,
                configs: Default::default(),
            });
        }
    }
    new
}

/// The answer without topics.
fn cluster(state: &State, controller: BrokerId) -> MetadataResponse {
    let living = state.brokers.iter().filter(|(id, _)| state.living_broker(**id).is_some());
    let brokers = living.map(|(id, broker)| {
        MetadataResponseBroker::default()
            .with_node_id(messages::BrokerId(id.0))
            .with_host(broker.host.clone().into())
            .with_port(broker.port.into())
            .with_rack(broker.rack.clone().map(StrBytes::from))
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(cluster_id(state.cluster_id)))
        .with_controller_id(messages::BrokerId(controller.0))
}

fn one(state: &State, version: i16, asked: &Asked) -> MetadataResponseTopic {
    let found = match asked {
        Asked::Name(name) => state.topic(name),
        Asked::Id(id) => state.topics.get(id),
    };
    if let Some(topic) = found {
        return known(state, version, topic);
    }
    let unknown = MetadataResponseTopic::default();
    match asked {
        Asked::Id(id) => {
            unknown.with_error_code(Code::UnknownTopicId.code()).with_name(None).with_topic_id(id.0)
        }
        Asked::Name(name) => {
            let code = match check_name(name) {
                Ok(()) => Code::UnknownTopicOrPartition,
                Err(refusal) => refusal.code,
            };
            let name = TopicName(name.clone().into());
            unknown
                .with_error_code(code.code())
                .with_name(Some(name))
                .with_is_internal(version >= 1 && matches!(asked, Asked::Name(n) if is_internal(n)))
        }
    }
}

fn known(state: &State, version: i16, topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().zip(0..).map(|(partition, index)| {
        let answer = MetadataResponsePartition::default().with_partition_index(index);
        let epoch = if version >= 7 { partition.leader_epoch.0 } else { -1 };
        let answer = answer.with_leader_epoch(epoch);
        let replicas = replicas(state, topic, partition.leader);
        let replicas: Vec<_> = replicas.into_iter().map(|id| messages::BrokerId(id.0)).collect();
        let answer = answer.with_replica_nodes(replicas.clone());
        if state.living_broker(partition.leader).is_none() {
            let code = Code::LeaderNotAvailable.code();
            return answer.with_error_code(code).with_leader_id(messages::BrokerId(-1));
        }
        answer.with_leader_id(messages::BrokerId(partition.leader.0)).with_isr_nodes(replicas)
    });
    let name = TopicName(topic.name.clone().into());
    let answer = MetadataResponseTopic::default()
        .with_name(Some(name))
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions.collect());
    if version >= 10 { answer.with_topic_id(topic.id.0) } else { answer }
}

#[cfg(test)]
mod tests;
