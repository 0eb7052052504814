//! ElectLeaders (43), versions 0 to 2: every partition has the leader it should have, so none is
//! elected. From 1 on with a type of election.

use proto_kafka::messages::{
    ElectLeadersRequest, ElectLeadersResponse,
    elect_leaders_request::TopicPartitions,
    elect_leaders_response::{PartitionResult, ReplicaElectionResult},
};

use super::refusal::{Refusal, wire};
use crate::{
    cluster::State,
    kafka::{context::Context, error::Code},
};

/// Most partitions of a request.
const MOST: usize = 100_000;

/// The types of election: preferred and unclean.
const TYPES: [i8; 2] = [0, 1];

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    context.serving.cluster.with(|state| answer(state, version, &request))
}

fn answer(state: &State, version: i16, request: &ElectLeadersRequest) -> ElectLeadersResponse {
    let response = ElectLeadersResponse::default();
    let asked = request.topic_partitions.iter().flatten();
    let partitions: usize = asked.clone().map(|topic| topic.partitions.len()).sum();
    if partitions > MOST {
        // Version 0 has no place for a code.
        let code = if version >= 1 { Code::InvalidRequest.code() } else { 0 };
        return response.with_error_code(code);
    }
    if version >= 1 && !TYPES.contains(&request.election_type) {
        let text = format!("Unknown election type {}", request.election_type);
        let refusal = Refusal::invalid_request(text);
        let results = asked.map(|topic| results(topic, |_| refusal.clone()));
        return response
            .with_error_code(refusal.code.code())
            .with_replica_election_results(results.collect());
    }
    if request.topic_partitions.is_none() {
        // Asked for all, Kafka names every topic and leaves out the partitions that need none.
        let none = |name: &String| {
            let name = proto_kafka::protocol::StrBytes::from(name.clone());
            ReplicaElectionResult::default().with_topic(name.into())
        };
        return response.with_replica_election_results(state.names.keys().map(none).collect());
    }
    response.with_replica_election_results(asked.map(|topic| elect(state, topic)).collect())
}

fn elect(state: &State, asked: &TopicPartitions) -> ReplicaElectionResult {
    let topic = state.topic(&asked.topic);
    results(asked, |index| match topic.map(|topic| topic.partition(index)) {
        None => Refusal::new(
            Code::UnknownTopicOrPartition,
            format!("No such topic as {}", asked.topic.as_str()),
        ),
        Some(None) => Refusal::new(
            Code::UnknownTopicOrPartition,
            format!("No such partition as {}-{index}", asked.topic.as_str()),
        ),
        Some(Some(_)) => {
            Refusal::new(Code::ElectionNotNeeded, "Leader election not needed for topic partition.")
        }
    })
}

/// What is said of each partition asked for.
fn results(asked: &TopicPartitions, why: impl Fn(i32) -> Refusal) -> ReplicaElectionResult {
    let results = asked.partitions.iter().map(|&index| {
        let (code, text) = wire(&Err::<(), _>(why(index)));
        PartitionResult::default()
            .with_partition_id(index)
            .with_error_code(code)
            .with_error_message(text)
    });
    ReplicaElectionResult::default()
        .with_partition_result(results.collect())
        .with_topic(asked.topic.clone())
}

#[cfg(test)]
mod tests {
    use proto_kafka::protocol::StrBytes;

    use super::*;
    use crate::kafka::api::testing::{add_topic, received, state};

    #[test]
    fn no_election_is_needed() {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "a", 1);
        let asked = |name: &'static str, partitions: Vec<i32>| {
            TopicPartitions::default()
                .with_topic(StrBytes::from(name).into())
                .with_partitions(partitions)
        };
        let request = ElectLeadersRequest::default()
            .with_topic_partitions(Some(vec![asked("a", vec![0, 1]), asked("b", vec![0])]));
        for version in 0..=2 {
            let response = received(&answer(&state, version, &request), version);
            let results = response.replica_election_results.iter();
            let results = results.flat_map(|topic| &topic.partition_result);
            let codes: Vec<i16> = results.map(|result| result.error_code).collect();
            assert_eq!(codes, [84, 3, 3]);
        }
        let unknown = request.clone().with_election_type(2);
        let refused = received(&answer(&state, 1, &unknown), 1);
        assert_eq!((refused.error_code, refused.replica_election_results.len()), (42, 2));
        let partition = &refused.replica_election_results[0].partition_result[1];
        let told = (partition.partition_id, partition.error_code);
        assert_eq!(told, (1, 42));
        assert_eq!(partition.error_message.as_deref(), Some("Unknown election type 2"));
        let of_all = unknown.with_topic_partitions(None);
        let refused = received(&answer(&state, 2, &of_all), 2);
        assert_eq!((refused.error_code, refused.replica_election_results.len()), (42, 0));
        let many = request.with_topic_partitions(Some(vec![asked("a", vec![0; 100_001])]));
        assert_eq!(received(&answer(&state, 1, &many), 1).error_code, 42);
        assert!(received(&answer(&state, 0, &many), 0).replica_election_results.is_empty());
        let all = ElectLeadersRequest::default().with_topic_partitions(None);
        let all = answer(&state, 2, &all).replica_election_results;
        assert!(all.iter().all(|topic| topic.partition_result.is_empty()), "topics, no partition");
    }
}
