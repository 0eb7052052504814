//! DescribeTopicPartitions (75), version 0: partitions of topics by name order, in pages.
//!
//! The replica lists that Kafka leaves null without ELR are empty here: its own Java client fails
//! on null (kafka.md M9).

use std::{collections::BTreeSet, ops::Bound};

use proto_kafka::{
    messages::{
        BrokerId as WireBroker, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
    protocol::StrBytes,
};

use super::topics::{TOPIC_OPERATIONS, check_name, is_internal, replicas};
use crate::{
    cluster::{State, Topic},
    kafka::{context::Context, error::Code},
};

/// Most partitions of an answer (`max.request.partition.size.limit`).
const MOST: i32 = 2000;

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    context.serving.cluster.with(|state| answer(state, &request))
}

pub(super) fn answer(
    state: &State,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let (from_name, from_index) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let all = request.topics.is_empty();
    let names: BTreeSet<&str> = if all {
        let from = (Bound::Included(from_name), Bound::Unbounded);
        state.names.range::<str, _>(from).map(|(name, _)| name.as_str()).collect()
    } else {
        let asked = request.topics.iter().map(|topic| topic.name.as_str());
        asked.filter(|name| *name >= from_name).collect()
    };
    if request.cursor.is_some() && (from_index < 0 || (!all && !names.contains(from_name))) {
        return astray(request);
    }
    let mut left = usize::try_from(request.response_partition_limit.clamp(1, MOST)).unwrap_or(1);
    let mut page = Vec::new();
    for name in names {
        // A full page ends before any further name, there or not.
        if left == 0 {
            return ended(page, name, 0);
        }
        let named = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(StrBytes::from(name.to_owned()).into()))
            .with_is_internal(is_internal(name))
            .with_topic_authorized_operations(TOPIC_OPERATIONS);
        let Some(topic) = state.topic(name) else {
            let code = match check_name(name) {
                Ok(()) => Code::UnknownTopicOrPartition,
                Err(_) => Code::InvalidTopicException,
            };
            page.push(named.with_error_code(code.code()));
            continue;
        };
        let first = if name == from_name { usize::try_from(from_index).unwrap_or(0) } else { 0 };
        let taken = left.min(topic.partitions.len().saturating_sub(first));
        left = left.saturating_sub(taken);
        page.push(
            named.with_topic_id(topic.id.0).with_partitions(partitions(state, topic, first, taken)),
        );
        let next = first.saturating_add(taken);
        if next < topic.partitions.len() {
            return ended(page, name, next);
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(page)
}

/// A cursor that fits nothing: the API has no code for the whole answer, so each topic asked for
/// is marked.
fn astray(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let marked = request.topics.iter().map(|topic| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(topic.name.clone()))
            .with_error_code(Code::InvalidRequest.code())
    });
    DescribeTopicPartitionsResponse::default().with_topics(marked.collect())
}

fn ended(
    page: Vec<DescribeTopicPartitionsResponseTopic>,
    name: &str,
    partition: usize,
) -> DescribeTopicPartitionsResponse {
    let cursor = Cursor::default()
        .with_topic_name(StrBytes::from(name.to_owned()).into())
        .with_partition_index(i32::try_from(partition).unwrap_or(i32::MAX));
    DescribeTopicPartitionsResponse::default().with_topics(page).with_next_cursor(Some(cursor))
}

fn partitions(
    state: &State,
    topic: &Topic,
    first: usize,
    count: usize,
) -> Vec<DescribeTopicPartitionsResponsePartition> {
    let described = (0..).zip(&topic.partitions).skip(first).take(count);
    let described = described.map(|(index, partition)| {
        let replicas: Vec<WireBroker> = replicas(state, topic, partition.leader)
            .into_iter()
            .map(|broker| broker.0.into())
            .collect();
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(partition.leader.0.into())
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(replicas.clone())
            .with_isr_nodes(replicas)
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use proto_kafka::messages::describe_topic_partitions_request as request;

    use super::*;
    use crate::kafka::api::testing::{add_topic, received, state};

    fn three_topics() -> State {
        let mut state = state(&[1]);
        for (number, name) in (1..).zip(["a", "b", "c"]) {
            add_topic(&mut state, number, name, 2);
        }
        state
    }

    fn asked(names: &[&'static str], limit: i32) -> DescribeTopicPartitionsRequest {
        let topic = |name: &&'static str| {
            request::TopicRequest::default().with_name(StrBytes::from(*name).into())
        };
        DescribeTopicPartitionsRequest::default()
            .with_topics(names.iter().map(topic).collect())
            .with_response_partition_limit(limit)
    }

    fn names(response: &DescribeTopicPartitionsResponse) -> Vec<(String, usize)> {
        let topic = |topic: &DescribeTopicPartitionsResponseTopic| {
            (topic.name.as_ref().unwrap().to_string(), topic.partitions.len())
        };
        response.topics.iter().map(topic).collect()
    }

    #[test]
    fn no_replica_list_is_null() {
        let response = received(&answer(&three_topics(), &asked(&["b"], 2000)), 0);
        let partition = &response.topics[0].partitions[1];
        assert_eq!((partition.partition_index, partition.leader_id.0), (1, 1));
        assert_eq!(partition.replica_nodes.len(), 1);
        assert_eq!(partition.eligible_leader_replicas, Some(Vec::new()));
        assert_eq!(partition.last_known_elr, Some(Vec::new()));
        assert!(response.next_cursor.is_none());
        assert_eq!(response.topics[0].topic_id.as_u128(), 2);
    }

    #[test]
    fn pages_cover_every_partition_once() {
        let state = three_topics();
        let mut request = asked(&[], 3);
        let mut seen = Vec::new();
        loop {
            let response = answer(&state, &request);
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let name = topic.name.as_ref().unwrap().to_string();
                    seen.push((name, partition.partition_index));
                }
            }
            let Some(next) = response.next_cursor else { break };
            let cursor = request::Cursor::default()
                .with_topic_name(next.topic_name)
                .with_partition_index(next.partition_index);
            request = request.with_cursor(Some(cursor));
        }
        let all = ["a", "b", "c"].map(|name| [(name.to_owned(), 0), (name.to_owned(), 1)]);
        assert_eq!(seen, all.concat());
    }

    #[test]
    fn unknown_and_impossible_names_have_their_codes() {
        let response = answer(&three_topics(), &asked(&["a b", "d", "a"], 2000));
        assert_eq!(names(&response), [("a".into(), 2), ("a b".into(), 0), ("d".into(), 0)]);
        let codes: Vec<i16> = response.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 17, 3]);
        let operations = response.topics.iter().map(|topic| topic.topic_authorized_operations);
        assert!(operations.into_iter().all(|operations| operations == TOPIC_OPERATIONS));
    }

    #[test]
    fn a_full_page_ends_before_a_name_that_is_unknown_too() {
        let response = answer(&three_topics(), &asked(&["a", "a-missing", "b"], 2));
        assert_eq!(names(&response), [("a".to_owned(), 2)]);
        let next = response.next_cursor.unwrap();
        assert_eq!((next.topic_name.as_str(), next.partition_index), ("a-missing", 0));
    }

    #[test]
    fn a_cursor_that_fits_no_topic_asked_for_is_refused() {
        let cursor = |name: &'static str, index| {
            let cursor = request::Cursor::default()
                .with_topic_name(StrBytes::from(name).into())
                .with_partition_index(index);
            Some(cursor)
        };
        for wrong in [cursor("aa", 0), cursor("b", -1)] {
            let response = answer(&three_topics(), &asked(&["b", "a"], 9).with_cursor(wrong));
            assert_eq!(names(&response), [("b".to_owned(), 0), ("a".to_owned(), 0)]);
            assert!(response.topics.iter().all(|topic| topic.error_code == 42));
        }
        let beyond = answer(&three_topics(), &asked(&["b"], 9).with_cursor(cursor("b", 7)));
        assert_eq!(names(&beyond), [("b".to_owned(), 0)]);
    }
}
