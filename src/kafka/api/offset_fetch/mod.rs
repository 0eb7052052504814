//! OffsetFetch (9), versions 1 to 10: all partitions with null topics and an error at the top (2),
//! leader epochs (5), `require_stable` (7), several groups (8), member epochs (9), topic ids instead
//! of names (10).
//!
//! A group nobody knows has committed nothing, and that is no error. What was committed for another
//! topic of the same name was not committed. Nothing is unstable while there are no transactions.

mod codec;
mod hostile;

use bytes::Bytes;
use proto_kafka::messages::{
    GroupId as WireGroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};

pub(in crate::kafka) use hostile::agrees as decodes_as_another_codec;

use super::{
    Answer, Call, Later,
    group::{group_id, partition, text},
};
use crate::{
    cluster::State,
    group::{Error, Position, TopicPartition},
    kafka::{
        context::Context,
        error::{BadRequest, Code, Coded},
    },
    types::TopicId,
};

type Committed = Result<Vec<(TopicPartition, Option<Position>)>, Error>;

pub(super) fn run(call: Call) -> Later {
    Box::pin(async move {
        let request = codec::decode(call.body, call.version)?;
        let response = handle(&call.context, call.version, request).await;
        Ok(codec::encode(&response, call.version))
    })
}

/// The same error for every group.
pub(super) fn refuse(version: i16, body: Bytes, error: Error) -> Result<Answer, BadRequest> {
    let request = codec::decode(body, version)?;
    let groups = if version < 8 { vec![only_group(request)] } else { request.groups };
    let refused = groups.into_iter().map(|asked| {
        let which = asked.topics.as_deref().filter(|_| version < 8).map(partitions);
        of_group(asked.group_id, which.as_deref(), Err(error))
    });
    Ok(codec::encode(&whole(refused.collect(), version), version))
}

async fn handle(
    context: &Context,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let by_id = version >= codec::TOPIC_IDS;
    let groups = if version < 8 { vec![only_group(request)] } else { request.groups };
    let mut answers = Vec::with_capacity(groups.len());
    for mut asked in groups {
        let cluster = &context.serving.cluster;
        let unknown = match &mut asked.topics {
            Some(topics) if by_id => cluster.with(|state| take_unknown(topics, state)),
            Some(_) | None => Vec::new(),
        };
        let which = asked.topics.as_deref().map(partitions);
        let group = group_id(&asked.group_id);
        let committed = context.serving.groups.committed(&group, which.clone()).await;
        let mut answer = cluster.with(|state| {
            let committed = committed.map(|positions| current(positions, which.is_none(), state));
            let answer = of_group(asked.group_id, which.as_deref(), committed);
            if by_id { with_ids(answer, state) } else { answer }
        });
        if answer.error_code == 0 {
            answer.topics.extend(unknown);
        } else if version >= 8 {
            answer.topics.clear();
        }
        answers.push(answer);
    }
    whole(answers, version)
}

fn whole(mut answers: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
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

/// Gives topics their names; those that are not known are taken out and told so.
fn take_unknown(
    topics: &mut Vec<OffsetFetchRequestTopics>,
    state: &State,
) -> Vec<OffsetFetchResponseTopics> {
    let mut unknown = Vec::new();
    topics.retain_mut(|topic| {
        if let Some(known) = state.topics.get(&TopicId(topic.topic_id)) {
            topic.name = TopicName(text(&known.name));
            return true;
        }
        let partitions = topic
            .partition_indexes
            .iter()
            .map(|index| of_partition(*index, None).with_error_code(Code::UnknownTopicId.code()));
        let told = OffsetFetchResponseTopics::default().with_topic_id(topic.topic_id);
        unknown.push(told.with_partitions(partitions.collect()));
        false
    });
    unknown
}

/// Without what was committed for a topic that had the name before: as nothing where it was asked
/// for, and left out where all was.
fn current(
    positions: Vec<(TopicPartition, Option<Position>)>,
    is_all: bool,
    state: &State,
) -> Vec<(TopicPartition, Option<Position>)> {
    let is_current = |topic: &str, position: &Position| {
        let now = state.topic(topic);
        now.is_none_or(|now| position.topic.is_none_or(|topic| topic == now.id))
    };
    let positions = positions.into_iter().map(|(partition, position)| {
        let position = position.filter(|position| is_current(&partition.topic, position));
        (partition, position)
    });
    positions.filter(|(_, position)| !is_all || position.is_some()).collect()
}

/// Names the topics by their ids; what has none is not told, for it cannot be named.
fn with_ids(mut answer: OffsetFetchResponseGroup, state: &State) -> OffsetFetchResponseGroup {
    answer.topics.retain_mut(|topic| {
        let known = state.topic(topic.name.0.as_str());
        topic.topic_id = known.map(|known| known.id.0).unwrap_or_default();
        known.is_some()
    });
    answer
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

    use uuid::Uuid;

    use super::*;
    use crate::{
        kafka::api::testing::{add_topic, received, state},
        types::{LeaderEpoch, Offset},
    };

    const ID: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;

    fn which() -> Vec<TopicPartition> {
        let at = |topic: &str, index| TopicPartition { topic: topic.into(), index };
        vec![at("t", 0), at("t", 1), at("u", 0)]
    }

    fn position(topic: Option<u128>) -> Position {
        Position {
            offset: Offset(7),
            leader_epoch: Some(LeaderEpoch(2)),
            metadata: "m".into(),
            topic: topic.map(|id| TopicId(Uuid::from_u128(id))),
            retention_ms: None,
        }
    }

    fn committed() -> Committed {
        Ok(which().into_iter().zip([Some(position(None)), None, None]).collect())
    }

    #[test]
    fn what_was_committed_for_another_topic_of_the_name_is_not_told() {
        let mut state = state(&[1]);
        add_topic(&mut state, ID, "t", 2);
        for (id, is_told) in [(None, true), (Some(ID), true), (Some(9), false)] {
            let positions = || vec![(which().remove(0), Some(position(id)))];
            let asked = current(positions(), false, &state);
            assert_eq!((asked.len(), asked[0].1.is_some()), (1, is_told));
            assert_eq!(current(positions(), true, &state).len(), usize::from(is_told));
        }
        let gone = vec![(which().remove(2), Some(position(Some(9))))];
        assert_eq!(current(gone, true, &state).len(), 1, "till the coordinator has heard");
    }

    /// As Kafka's own classes of 4.3.1 write them.
    const REQUEST: &[u8] = b"\x03\x02g\x02m\0\0\0\x07\x02\
        \x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x03\
        \0\0\0\x03\0\0\0\x04\0\0\x02h\0\xff\xff\xff\xff\0\0\x01\0";
    const RESPONSE: &[u8] = b"\0\0\0\0\x03\x02g\x02\
        \x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x03\
        \0\0\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x05\x03md\0\0\0\
        \0\0\0\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\x64\0\0\0\0\0\
        \x02h\x01\0\x0e\0\0";

    #[test]
    fn version_10_is_read_and_written_as_kafka_does() {
        let mut request = codec::decode(Bytes::from_static(REQUEST), 10).unwrap();
        assert!(request.require_stable);
        let [g, h] = &mut request.groups[..] else { panic!("two groups") };
        assert_eq!((g.group_id.0.as_str(), g.member_epoch), ("g", 7));
        assert_eq!((h.member_id.as_ref(), h.topics.as_ref()), (None, None));
        let mut state = state(&[1]);
        add_topic(&mut state, ID, "t", 2);
        let topics = g.topics.as_mut().unwrap();
        assert!(take_unknown(topics, &state).is_empty());
        let found = Position {
            offset: Offset(258),
            leader_epoch: Some(LeaderEpoch(5)),
            metadata: "md".into(),
            ..position(None)
        };
        let positions = partitions(topics).into_iter().zip([Some(found), None]).collect();
        let mut told = with_ids(of_group(text("g").into(), None, Ok(positions)), &state);
        told.topics[0].partitions[1].error_code = 100;
        let failed = of_group(text("h").into(), None, Err(Error::LoadInProgress));
        let response = OffsetFetchResponse::default().with_groups(vec![told, failed]);
        let Answer::Reply(body, _) = codec::encode(&response, 10) else { panic!("a reply") };
        assert_eq!(body.concat(), RESPONSE);
    }

    #[test]
    fn an_unknown_topic_id_is_told_with_every_partition() {
        let mut request = codec::decode(Bytes::from_static(REQUEST), 10).unwrap();
        let topics = request.groups[0].topics.as_mut().unwrap();
        let unknown = take_unknown(topics, &state(&[1]));
        assert!(topics.is_empty());
        let codes: Vec<_> = unknown[0].partitions.iter().map(|p| p.error_code).collect();
        assert_eq!((codes, unknown[0].topic_id), (vec![100, 100], Uuid::from_u128(ID)));
    }

    #[test]
    fn a_request_of_version_10_that_is_cut_or_declares_too_much_is_refused() {
        for end in 0..REQUEST.len() {
            assert!(codec::decode(Bytes::from_static(&REQUEST[..end]), 10).is_err(), "{end}");
        }
        let endless = b"\xff\xff\xff\xff\x0f";
        assert!(codec::decode(Bytes::from_static(endless), 10).is_err());
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
