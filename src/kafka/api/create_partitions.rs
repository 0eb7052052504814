//! CreatePartitions (37), versions 0 to 3. A topic only grows.

use std::{collections::BTreeSet, time::Duration};

use proto_kafka::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, TopicName,
    create_partitions_request::CreatePartitionsTopic,
    create_partitions_response::CreatePartitionsTopicResult,
};

use super::{
    refusal::{Refusal, wire},
    topics::{MAX_NEW_PARTITIONS, check_assignment, in_order, replicas, require_not_internal},
};
use crate::{
    cluster::{Record, State},
    env::clock::timeout,
    kafka::{context::Context, error::Code},
    types::{BrokerId, TopicId},
};

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let (topics, twice) = namings(request.topics);
    let plans = context.serving.cluster.with(|state| plan(state, &topics, &twice));
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default());
    let validate_only = request.validate_only;
    let results = topics.into_iter().zip(plans).map(|(topic, verdict)| async move {
        let grown = match verdict {
            Ok(_) if validate_only => Ok(()),
            Ok(id) => grow(context, id, topic.count, patience).await,
            Err(refusal) => Err(refusal),
        };
        let (code, text) = wire(&grown);
        // Kafka says no more than the code here.
        let text = text.filter(|_| code != Code::UnknownTopicOrPartition.code());
        CreatePartitionsTopicResult::default()
            .with_name(topic.name)
            .with_error_code(code)
            .with_error_message(text)
    });
    CreatePartitionsResponse::default().with_results(in_order(results).await)
}

/// The topics, each under its first naming, and the names that came again.
fn namings(
    topics: Vec<CreatePartitionsTopic>,
) -> (Vec<CreatePartitionsTopic>, BTreeSet<TopicName>) {
    let (mut named, mut twice) = (BTreeSet::new(), BTreeSet::new());
    let first = |topic: &CreatePartitionsTopic| {
        let new = named.insert(topic.name.clone());
        if !new {
            twice.insert(topic.name.clone());
        }
        new
    };
    (topics.into_iter().filter(first).collect(), twice)
}

fn plan(
    state: &State,
    topics: &[CreatePartitionsTopic],
    twice: &BTreeSet<TopicName>,
) -> Vec<Result<TopicId, Refusal>> {
    let mut added = 0_usize;
    let verdict = |topic: &CreatePartitionsTopic| {
        if twice.contains(&topic.name) {
            return Err(Refusal::invalid_request("Duplicate topic name."));
        }
        check(state, topic, &mut added)
    };
    topics.iter().map(verdict).collect()
}

fn check(
    state: &State,
    asked: &CreatePartitionsTopic,
    added: &mut usize,
) -> Result<TopicId, Refusal> {
    let name = asked.name.as_str();
    let topic = state.topic(name).ok_or_else(Refusal::unknown_topic)?;
    require_not_internal(name, "Growing")?;
    let refuse = |text| Err(Refusal::new(Code::InvalidPartitions, text));
    let there = topic.partitions.len();
    let wanted = usize::try_from(asked.count).unwrap_or_default();
    if wanted == there {
        return refuse(format!("Topic already has {there} partition(s)."));
    }
    if wanted < there {
        return refuse(format!(
            "The topic {name} currently has {there} partition(s); {} would not be an increase.",
            asked.count
        ));
    }
    let more = wanted.saturating_sub(there);
    if let Some(assignments) = &asked.assignments {
        if assignments.len() != more {
            return Err(Refusal::new(
                Code::InvalidReplicaAssignment,
                format!(
                    "Attempted to add {more} additional partition(s), but only {} \
                     assignment(s) were specified.",
                    assignments.len()
                ),
            ));
        }
        let leader = topic.partition(0).map_or_else(BrokerId::default, |first| first.leader);
        let factor = replicas(state, topic, leader).len();
        for assignment in assignments {
            let brokers: Vec<BrokerId> =
                assignment.broker_ids.iter().map(|broker| BrokerId(broker.0)).collect();
            check_assignment(state, &brokers, Some(factor))?;
        }
    }
    *added = added.saturating_add(more);
    if *added > MAX_NEW_PARTITIONS {
        let text = "Excessively large number of partitions per request.";
        return Err(Refusal::new(Code::PolicyViolation, text));
    }
    Ok(topic.id)
}

async fn grow(
    context: &Context,
    topic: TopicId,
    count: i32,
    patience: Duration,
) -> Result<(), Refusal> {
    let grown = async {
        let record = Record::PartitionsAdded { topic, count };
        let committed = context.serving.cluster.commit(vec![record]).await;
        committed.map_err(Refusal::from)?;
        context.serving.log.until_open(topic).await;
        Ok(())
    };
    timeout(patience, grown).await.unwrap_or_else(|_elapsed| {
        let text = "The partitions are being created and were not ready within the timeout.";
        Err(Refusal::new(Code::RequestTimedOut, text))
    })
}

#[cfg(test)]
mod tests {
    use proto_kafka::{
        messages::create_partitions_request::CreatePartitionsAssignment, protocol::StrBytes,
    };

    use super::*;
    use crate::kafka::api::testing::{add_topic, received, state};

    fn to(name: &str, count: i32) -> CreatePartitionsTopic {
        CreatePartitionsTopic::default()
            .with_name(StrBytes::from(name.to_owned()).into())
            .with_count(count)
            .with_assignments(None)
    }

    fn verdicts(topics: Vec<CreatePartitionsTopic>) -> Vec<Result<TopicId, Refusal>> {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "a", 3);
        add_topic(&mut state, 2, "__consumer_offsets", 1);
        let (topics, twice) = namings(topics);
        plan(&state, &topics, &twice)
    }

    fn refused(topic: CreatePartitionsTopic) -> (Code, String) {
        let refusal = verdicts(vec![topic]).remove(0).unwrap_err();
        (refusal.code, refusal.text)
    }

    #[test]
    fn a_topic_only_grows() {
        assert!(verdicts(vec![to("a", 4)])[0].is_ok());
        let expected = (Code::InvalidPartitions, "Topic already has 3 partition(s).".to_owned());
        assert_eq!(refused(to("a", 3)), expected);
        for fewer in [2, 0, -1] {
            let (code, text) = refused(to("a", fewer));
            assert_eq!(code, Code::InvalidPartitions);
            assert!(text.ends_with(&format!("{fewer} would not be an increase.")), "{text}");
        }
        assert_eq!(refused(to("b", 4)).0, Code::UnknownTopicOrPartition);
        assert_eq!(refused(to("a", 20_000)).0, Code::PolicyViolation);
    }

    #[test]
    fn a_topic_named_twice_does_not_grow() {
        let verdicts = verdicts(vec![to("a", 4), to("a", 5)]);
        assert_eq!(verdicts, [Err(Refusal::invalid_request("Duplicate topic name."))]);
    }

    #[test]
    fn internal_topics_do_not_grow() {
        assert_eq!(refused(to("__consumer_offsets", 60)).0, Code::InvalidRequest);
    }

    #[test]
    fn assignments_cover_what_is_added_with_known_brokers() {
        let on = |brokers: &[i32]| {
            let brokers = brokers.iter().map(|&id| id.into()).collect();
            CreatePartitionsAssignment::default().with_broker_ids(brokers)
        };
        let with = |assignments| to("a", 4).with_assignments(Some(assignments));
        assert!(verdicts(vec![with(vec![on(&[1])])])[0].is_ok());
        for wrong in [vec![], vec![on(&[2])], vec![on(&[])], vec![on(&[1]), on(&[1])]] {
            assert_eq!(refused(with(wrong)).0, Code::InvalidReplicaAssignment);
        }
    }

    #[test]
    fn answers_decode_at_every_version() {
        let result = CreatePartitionsTopicResult::default().with_error_code(37);
        let response = CreatePartitionsResponse::default().with_results(vec![result]);
        for version in 0..=3 {
            let result = received(&response, version).results.remove(0);
            assert_eq!((result.error_code, result.error_message), (37, None));
        }
    }
}
