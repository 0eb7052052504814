//! Administration: the controller is not here.

use proto_kafka::{
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, CreatePartitionsRequest,
        CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
        DeleteTopicsResponse, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
        DescribeConfigsRequest, DescribeConfigsResponse, DescribeLogDirsRequest,
        DescribeLogDirsResponse, ElectLeadersRequest, ElectLeadersResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        ListConfigResourcesRequest, ListConfigResourcesResponse, ListPartitionReassignmentsRequest,
        ListPartitionReassignmentsResponse, alter_configs_response,
        create_partitions_response::CreatePartitionsTopicResult,
        create_topics_response::CreatableTopicResult,
        delete_topics_response::DeletableTopicResult,
        describe_configs_response::DescribeConfigsResult,
        describe_log_dirs_response::DescribeLogDirsResult,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
        incremental_alter_configs_response,
    },
    protocol::StrBytes,
};

use crate::kafka::{context::Known, error::Code};

const CODE: i16 = Code::NotController.code();

fn why() -> Option<StrBytes> {
    Some(StrBytes::from_static_str("The broker is not serving just now: ask again."))
}

pub(in crate::kafka::api) fn create_topics(
    _known: &Known,
    _version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        CreatableTopicResult::default()
            .with_name(topic.name)
            .with_error_code(CODE)
            .with_error_message(why())
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

pub(in crate::kafka::api) fn delete_topics(
    _known: &Known,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let refused = || {
        let refused = DeletableTopicResult::default().with_error_code(CODE);
        if version >= 5 { refused.with_error_message(why()) } else { refused }
    };
    let by_name = request.topic_names.into_iter().map(|name| refused().with_name(Some(name)));
    let both = request
        .topics
        .into_iter()
        .map(|topic| refused().with_name(topic.name).with_topic_id(topic.topic_id));
    DeleteTopicsResponse::default().with_responses(by_name.chain(both).collect())
}

pub(in crate::kafka::api) fn create_partitions(
    _known: &Known,
    _version: i16,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let results = request.topics.into_iter().map(|topic| {
        CreatePartitionsTopicResult::default()
            .with_name(topic.name)
            .with_error_code(CODE)
            .with_error_message(why())
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

pub(in crate::kafka::api) fn describe_configs(
    _known: &Known,
    _version: i16,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_code(CODE)
            .with_error_message(why())
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

pub(in crate::kafka::api) fn alter_configs(
    _known: &Known,
    _version: i16,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_code(CODE)
            .with_error_message(why())
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

pub(in crate::kafka::api) fn incremental_alter_configs(
    _known: &Known,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.into_iter().map(|resource| {
        incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_code(CODE)
            .with_error_message(why())
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

/// Version 0 has no place for a code but the partitions.
pub(in crate::kafka::api) fn elect_leaders(
    _known: &Known,
    version: i16,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let results = request.topic_partitions.into_iter().flatten().map(|asked| {
        let partitions = asked.partitions.iter().map(|index| {
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(CODE)
                .with_error_message(why())
        });
        let partitions = partitions.collect();
        ReplicaElectionResult::default().with_topic(asked.topic).with_partition_result(partitions)
    });
    ElectLeadersResponse::default()
        .with_error_code(if version >= 1 { CODE } else { 0 })
        .with_replica_election_results(results.collect())
}

pub(in crate::kafka::api) fn list_partition_reassignments(
    _known: &Known,
    _version: i16,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_code(CODE).with_error_message(why())
}

pub(in crate::kafka::api) fn describe_client_quotas(
    _known: &Known,
    _version: i16,
    _request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse::default()
        .with_error_code(CODE)
        .with_error_message(why())
        .with_entries(None)
}

pub(in crate::kafka::api) fn list_config_resources(
    _known: &Known,
    _version: i16,
    _request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    ListConfigResourcesResponse::default().with_error_code(CODE)
}

/// The folder of the log cannot be looked at.
pub(in crate::kafka::api) fn describe_log_dirs(
    _known: &Known,
    version: i16,
    _request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let code = Code::KafkaStorageError.code();
    let result = DescribeLogDirsResult::default().with_error_code(code);
    DescribeLogDirsResponse::default()
        .with_error_code(if version >= 3 { code } else { 0 })
        .with_results(vec![result])
}
