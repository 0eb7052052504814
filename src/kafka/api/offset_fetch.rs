//! OffsetFetch (9), versions 1 to 9: all partitions with null topics and an error at the top (2),
//! leader epochs (5), `require_stable` (7), several groups (8), member epochs (9).
//!
//! A group nobody knows has committed nothing, and that is no error. Nothing is unstable while
//! there are no transactions.

use proto_kafka::messages::{
    GroupId as WireGroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};

use super::group::{group_id, partition, text};
use crate::{
    group::{Error, Position, TopicPartition},
    kafka::{
        context::Context,
        error::{Code, Coded},
    },
};

type Committed = Result<Vec<(TopicPartition, Option<Position>)>, Error>;

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let groups = if version < 8 { vec![only_group(request)] } else { request.groups };
    let mut answers = Vec::with_capacity(groups.len());
    for asked in groups {
        let which = asked.topics.as_deref().map(partitions);
        let group = group_id(&asked.group_id);
        let committed = context.serving.groups.committed(&group, which.clone()).await;
        answers.push(of_group(asked.group_id, which.as_deref(), committed));
    }
    if version >= 8 {
        return OffsetFetchResponse::default().with_groups(answers);
    }
    answers.pop().map_or_else(OffsetFetchResponse::default, |answer| old(answer, version))
}

/// The one group of a request before 8.
fn only_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        topics.collect()
    });
    OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(topics)
}

fn partitions(topics: &[OffsetFetchRequestTopics]) -> Vec<TopicPartition> {
    let each = topics.iter().flat_map(|topic| {
        topic.partition_indexes.iter().map(|index| partition(&topic.name, *index))
    });
    each.collect()
}

/// One group's answer. On an error the partitions asked for stay in it, for `old` to tell.
fn of_group(
    group: WireGroupId,
    which: Option<&[TopicPartition]>,
    committed: Committed,
) -> OffsetFetchResponseGroup {
    let (code, positions) = match committed {
        Ok(positions) => (0, positions),
        Err(error) => {
            let asked = which.unwrap_or_default().iter();
            (code(error).code(), asked.map(|partition| (partition.clone(), None)).collect())
        }
    };
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (partition, position) in positions {
        let told = of_partition(partition.index, position);
        match topics.last_mut() {
            Some(topic) if topic.name.0.as_str() == &*partition.topic => {
                topic.partitions.push(told);
            }
            _ => topics.push(
                OffsetFetchResponseTopics::default()
                    .with_name(TopicName(text(&partition.topic)))
                    .with_partitions(vec![told]),
            ),
        }
    }
    let response = OffsetFetchResponseGroup::default().with_group_id(group);
    response.with_error_code(code).with_topics(topics)
}

fn of_partition(index: i32, position: Option<Position>) -> OffsetFetchResponsePartitions {
    let told = OffsetFetchResponsePartitions::default().with_partition_index(index);
    match position {
        Some(position) => told
            .with_committed_offset(position.offset.0)
            .with_committed_leader_epoch(position.leader_epoch.map_or(-1, |epoch| epoch.0))
            .with_metadata(Some(text(&position.metadata))),
        None => told
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(text(""))),
    }
}

/// The answer before 8: one group, whose error was told with every partition before 2.
fn old(group: OffsetFetchResponseGroup, version: i16) -> OffsetFetchResponse {
    let (top, each) = if version < 2 { (0, group.error_code) } else { (group.error_code, 0) };
    let is_failed = group.error_code != 0;
    let topics = group.topics.into_iter().filter(|_| !is_failed || version < 2).map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            // The epoch has no place before 5.
            let epoch = if version < 5 { -1 } else { partition.committed_leader_epoch };
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(epoch)
                .with_metadata(partition.metadata)
                .with_error_code(each)
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    let topics = topics.collect();
    OffsetFetchResponse::default().with_error_code(top).with_topics(topics)
}

/// Consumers before 3.9 give up on a coordinator that is not available, but look for another when
/// it is not theirs.
fn code(error: Error) -> Code {
    match error {
        Error::NotAvailable => Code::NotCoordinator,
        other => other.code(),
    }
}

#[cfg(test)]
mod tests {
    use proto_kafka::messages::offset_fetch_request::OffsetFetchRequestTopic;

    use super::*;
    use crate::{
        kafka::api::testing::received,
        types::{LeaderEpoch, Offset},
    };

    fn which() -> Vec<TopicPartition> {
        let at = |topic: &str, index| TopicPartition { topic: topic.into(), index };
        vec![at("t", 0), at("t", 1), at("u", 0)]
    }

    fn committed() -> Committed {
        let position = Position {
            offset: Offset(7),
            leader_epoch: Some(LeaderEpoch(2)),
            metadata: "m".into(),
        };
        Ok(which().into_iter().zip([Some(position), None, None]).collect())
    }

    fn answered(committed: Committed, version: i16) -> OffsetFetchResponse {
        let which = which();
        let group = of_group(text("g").into(), Some(&which), committed);
        let response = if version >= 8 {
            OffsetFetchResponse::default().with_groups(vec![group])
        } else {
            old(group, version)
        };
        received(&response, version)
    }

    #[test]
    fn what_is_not_committed_is_minus_one_and_no_error() {
        for version in 1..8 {
            let answer = answered(committed(), version);
            assert_eq!((answer.error_code, answer.topics.len()), (0, 2));
            let [first, second] = &answer.topics[0].partitions[..] else { panic!("two") };
            assert_eq!((first.committed_offset, first.error_code), (7, 0));
            assert_eq!(first.committed_leader_epoch, if version < 5 { -1 } else { 2 });
            assert_eq!((second.committed_offset, second.error_code), (-1, 0));
            assert_eq!(second.metadata.as_ref().unwrap().as_str(), "");
        }
        for version in 8..=9 {
            let answer = answered(committed(), version);
            assert_eq!((answer.error_code, answer.groups.len()), (0, 1));
            assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, 7);
            assert_eq!(answer.groups[0].topics[0].partitions[1].committed_leader_epoch, -1);
        }
    }

    #[test]
    fn an_error_is_where_its_version_has_room_for_it() {
        let failed = || Err(Error::LoadInProgress);
        let one = answered(failed(), 1);
        assert_eq!((one.error_code, one.topics[0].partitions[0].error_code), (0, 14));
        let two = answered(failed(), 2);
        assert_eq!((two.error_code, two.topics.len()), (14, 0));
        assert_eq!(answered(failed(), 9).groups[0].error_code, 14);
        assert_eq!(answered(Err(Error::NotAvailable), 9).groups[0].error_code, 16);
    }

    #[test]
    fn null_topics_ask_for_all() {
        for version in 2..8 {
            let request = OffsetFetchRequest::default().with_topics(None);
            assert!(only_group(received(&request, version)).topics.is_none());
        }
        let topic = OffsetFetchRequestTopic::default()
            .with_name(text("t").into())
            .with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default().with_topics(Some(vec![topic]));
        let group = only_group(received(&request, 1));
        assert_eq!(partitions(&group.topics.unwrap()), which()[..2]);
    }
}
