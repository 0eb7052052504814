//! OffsetCommit (8), versions 2 to 10: a retention time (2 to 4), leader epochs (6), static members
//! (7), a member epoch in place of a generation (9), topic ids instead of names (10).
//!
//! Partitions that do not exist are refused one by one; what concerns the group is told with
//! every partition, for there is no other place.

mod codec;
mod hostile;

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use proto_kafka::messages::{
    OffsetCommitRequest, OffsetCommitResponse, TopicName,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
};

pub(in crate::kafka) use hostile::agrees as decodes_as_another_codec;

use super::{
    Answer, Call, Later,
    group::{caller, group_id, kept, partition, text},
};
use crate::{
    cluster::State,
    group::{Error, Position, TopicPartition},
    kafka::error::{BadRequest, Code, Coded},
    types::{LeaderEpoch, Offset, TopicId},
};

/// Commits of one connection overlap, as its batches do: each waits for the log, not for the
/// commit before it.
pub(super) fn begin(call: Call) -> BoxFuture<'static, Result<Later, BadRequest>> {
    Box::pin(async move {
        let Call { context, version, body } = call;
        let mut request = codec::decode(body, version)?;
        let positions = context.serving.cluster.with(|state| {
            if version >= codec::TOPIC_IDS {
                name_topics(&mut request, state);
            }
            known(&request, state)
        });
        let which: Vec<_> = positions.iter().map(|(partition, _)| partition.clone()).collect();
        let instance = request.group_instance_id.as_ref();
        let generation = request.generation_id_or_member_epoch;
        let caller = caller(&request.member_id, instance, generation);
        let group = group_id(&request.group_id);
        if positions.is_empty() {
            let answer = answer(&request, &which, Ok(Vec::new()), version);
            let answer = codec::encode(&answer, version);
            return Ok(ready(Ok(answer)).boxed());
        }
        let committing = context.serving.groups.begin_commit(&group, caller, positions).await;
        Ok(async move {
            let committed = committing.done().await;
            Ok(codec::encode(&answer(&request, &which, committed, version), version))
        }
        .boxed())
    })
}

/// The same error for every partition.
pub(super) fn refuse(version: i16, body: Bytes, error: Error) -> Result<Answer, BadRequest> {
    let request = codec::decode(body, version)?;
    let of_topic = |topic: &OffsetCommitRequestTopic| {
        let which = |p: &OffsetCommitRequestPartition| partition(&topic.name, p.partition_index);
        topic.partitions.iter().map(which).collect::<Vec<_>>()
    };
    let which: Vec<_> = request.topics.iter().flat_map(of_topic).collect();
    Ok(codec::encode(&answer(&request, &which, Err(error), version), version))
}

/// Gives topics that are named by their ids alone their names; those unknown keep none.
fn name_topics(request: &mut OffsetCommitRequest, state: &State) {
    for topic in &mut request.topics {
        let known = state.topics.get(&TopicId(topic.topic_id));
        topic.name = known.map(|known| TopicName(text(&known.name))).unwrap_or_default();
    }
}

/// The positions of partitions that exist, in the request's order.
fn known(request: &OffsetCommitRequest, state: &State) -> Vec<(TopicPartition, Position)> {
    let retention = Some(request.retention_time_ms).filter(|retention| *retention != -1);
    let mut positions = Vec::new();
    for asked in &request.topics {
        let Some(topic) = state.topic(asked.name.0.as_str()) else { continue };
        let exists =
            |p: &&OffsetCommitRequestPartition| topic.partition(p.partition_index).is_some();
        positions.extend(asked.partitions.iter().filter(exists).map(|p| {
            let position =
                Position { topic: Some(topic.id), retention_ms: retention, ..position(p) };
            (partition(&asked.name, p.partition_index), position)
        }));
    }
    positions
}

fn position(partition: &OffsetCommitRequestPartition) -> Position {
    let epoch = LeaderEpoch(partition.committed_leader_epoch);
    Position {
        offset: Offset(partition.committed_offset),
        leader_epoch: Some(epoch).filter(|epoch| epoch.0 >= 0),
        metadata: partition.committed_metadata.as_ref().map(kept).unwrap_or_default(),
        topic: None,
        retention_ms: None,
    }
}

/// Every partition of the request in its order; `which` are those that were asked for, with the
/// results of `committed`.
fn answer(
    request: &OffsetCommitRequest,
    which: &[TopicPartition],
    committed: Result<Vec<Result<(), Error>>, Error>,
    version: i16,
) -> OffsetCommitResponse {
    let results = match committed {
        Ok(results) => results,
        Err(error) => vec![Err(error); which.len()],
    };
    let mut results: VecDeque<_> = which.iter().zip(results).collect();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|asked| {
            let this = partition(&topic.name, asked.partition_index);
            let is_next = results.front().is_some_and(|(which, _)| **which == this);
            let result = if is_next { results.pop_front() } else { None };
            let code = match result {
                Some((_, Ok(()))) => 0,
                Some((_, Err(error))) => code(error, version).code(),
                None if topic.name.0.is_empty() && version >= codec::TOPIC_IDS => {
                    Code::UnknownTopicId.code()
                }
                None => Code::UnknownTopicOrPartition.code(),
            };
            OffsetCommitResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(code)
        });
        let partitions = partitions.collect();
        topics.push(
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(partitions),
        );
    }
    OffsetCommitResponse::default().with_topics(topics)
}

/// A generation of a group that is not there is, before 9, a wrong generation.
fn code(error: Error, version: i16) -> Code {
    match error {
        Error::GroupNotFound if version < 9 => Code::IllegalGeneration,
        other => other.code(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::kafka::api::testing::{add_topic, received, state};

    const ID: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;

    fn request(topics: &[(&str, &[i32])]) -> OffsetCommitRequest {
        let topics = topics.iter().map(|(name, indexes)| {
            let partitions = indexes.iter().map(|index| {
                OffsetCommitRequestPartition::default()
                    .with_partition_index(*index)
                    .with_committed_offset(i64::from(*index) * 10)
                    .with_committed_metadata(None)
            });
            OffsetCommitRequestTopic::default()
                .with_name(text(name).into())
                .with_partitions(partitions.collect())
        });
        OffsetCommitRequest::default().with_topics(topics.collect())
    }

    fn codes(response: &OffsetCommitResponse) -> Vec<i16> {
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.error_code).collect()
    }

    #[test]
    fn partitions_that_do_not_exist_are_refused_alone() {
        for version in 2..=9 {
            let asked = received(&request(&[("t", &[0, 5, 1, -1]), ("none", &[0])]), version);
            let mut state = state(&[1]);
            add_topic(&mut state, ID, "t", 2);
            let positions = known(&asked, &state);
            let offsets: Vec<_> = positions.iter().map(|(_, position)| position.offset.0).collect();
            assert_eq!(offsets, [0, 10]);
            assert_eq!(positions[0].1.topic, Some(TopicId(Uuid::from_u128(ID))));
            let which: Vec<_> = positions.into_iter().map(|(partition, _)| partition).collect();
            let committed = Ok(vec![Ok(()), Err(Error::MetadataTooLarge)]);
            let answer = received(&answer(&asked, &which, committed, version), version);
            assert_eq!(codes(&answer), [0, 3, 12, 3, 3]);
        }
    }

    #[test]
    fn what_concerns_the_group_is_told_with_every_partition() {
        let asked = request(&[("t", &[0, 1])]);
        let which = [partition(&asked.topics[0].name, 0), partition(&asked.topics[0].name, 1)];
        let told = |error, version| codes(&answer(&asked, &which, Err(error), version));
        assert_eq!(told(Error::RebalanceInProgress, 9), [27, 27]);
        assert_eq!(told(Error::GroupNotFound, 8), [22, 22]);
        assert_eq!(told(Error::GroupNotFound, 9), [69, 69]);
    }

    #[test]
    fn a_retention_is_what_versions_2_to_4_say_and_minus_one_says_nothing() {
        let mut state = state(&[1]);
        add_topic(&mut state, ID, "t", 1);
        let told = |version, retention| {
            let request = request(&[("t", &[0])]).with_retention_time_ms(retention);
            known(&received(&request, version), &state)[0].1.retention_ms
        };
        assert_eq!((told(2, 10), told(4, 10), told(4, -1)), (Some(10), Some(10), None));
        assert_eq!((told(5, -1), told(9, -1)), (None, None));
    }

    /// As Kafka's own classes of 4.3.1 write them.
    const REQUEST: &[u8] = b"\x02g\0\0\0\x07\x02m\x02i\x02\
        \x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x03\
        \0\0\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x05\x03md\0\
        \0\0\0\x04\0\0\0\0\0\0\0\x01\xff\xff\xff\xff\0\0\0\0";
    const RESPONSE: &[u8] = b"\0\0\0\0\x02\
        \x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x03\
        \0\0\0\x03\0\0\0\0\0\0\x04\0\x64\0\0\0";

    #[test]
    fn version_10_is_read_and_written_as_kafka_does() {
        let mut request = codec::decode(Bytes::from_static(REQUEST), 10).unwrap();
        assert_eq!((request.group_id.0.as_str(), request.generation_id_or_member_epoch), ("g", 7));
        assert_eq!(request.member_id.as_str(), "m");
        assert_eq!(request.group_instance_id.as_ref().unwrap().as_str(), "i");
        let partitions = &request.topics[0].partitions;
        let first = position(&partitions[0]);
        assert_eq!((first.offset, first.leader_epoch), (Offset(258), Some(LeaderEpoch(5))));
        assert_eq!((&*first.metadata, partitions[1].committed_metadata.as_ref()), ("md", None));
        let mut state = state(&[1]);
        add_topic(&mut state, ID, "t", 4);
        name_topics(&mut request, &state);
        let positions = known(&request, &state);
        let which: Vec<_> = positions.into_iter().map(|(partition, _)| partition).collect();
        assert_eq!(codes(&answer(&request, &which, Ok(vec![Ok(())]), 10)), [0, 3]);
        let mut answer = answer(&request, &which, Ok(vec![Ok(())]), 10);
        answer.topics[0].partitions[1].error_code = 100;
        let Answer::Reply(body, _) = codec::encode(&answer, 10) else { panic!("a reply") };
        assert_eq!(body.concat(), RESPONSE);
    }

    #[test]
    fn an_unknown_topic_id_is_told_with_every_partition() {
        let mut request = codec::decode(Bytes::from_static(REQUEST), 10).unwrap();
        let state = state(&[1]);
        name_topics(&mut request, &state);
        assert!(known(&request, &state).is_empty());
        assert_eq!(codes(&answer(&request, &[], Ok(vec![]), 10)), [100, 100]);
    }

    #[test]
    fn a_request_of_version_10_that_is_cut_or_declares_too_much_is_refused() {
        for end in 0..REQUEST.len() {
            assert!(codec::decode(Bytes::from_static(&REQUEST[..end]), 10).is_err(), "{end}");
        }
        let endless = b"\x02g\0\0\0\x07\x02m\x02i\xff\xff\xff\xff\x0f";
        assert!(codec::decode(Bytes::from_static(endless), 10).is_err());
    }

    #[test]
    fn an_unknown_leader_epoch_and_no_metadata_are_none() {
        let asked = received(&request(&[("t", &[0])]), 9);
        let position = position(&asked.topics[0].partitions[0]);
        assert_eq!((position.leader_epoch, &*position.metadata), (None, ""));
    }
}
