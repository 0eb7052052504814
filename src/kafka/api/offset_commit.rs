//! OffsetCommit (8), versions 2 to 9: a retention time that is ignored (2 to 4), leader epochs
//! (6), static members (7), a member epoch in place of a generation (9).
//!
//! Partitions that do not exist are refused one by one; what concerns the group is told with
//! every partition, for there is no other place.

use std::collections::VecDeque;

use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use proto_kafka::messages::{
    OffsetCommitRequest, OffsetCommitResponse,
    offset_commit_request::OffsetCommitRequestPartition,
    offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
};

use super::{
    Call, Later, decode, encode,
    group::{caller, group_id, kept, partition},
};
use crate::{
    cluster::State,
    group::{Error, Position, TopicPartition},
    kafka::error::{BadRequest, Code, Coded},
    types::{LeaderEpoch, Offset},
};

/// Commits of one connection overlap, as its batches do: each waits for the log, not for the
/// commit before it.
pub(super) fn begin(call: Call) -> BoxFuture<'static, Result<Later, BadRequest>> {
    Box::pin(async move {
        let Call { context, version, body } = call;
        let request: OffsetCommitRequest = decode(body, version)?;
        let partitions_of = |topic: &str| {
            let count = |state: &State| state.topic(topic).map_or(0, |t| t.partitions.len());
            context.serving.cluster.with(count)
        };
        let positions = known(&request, partitions_of);
        let which: Vec<_> = positions.iter().map(|(partition, _)| partition.clone()).collect();
        let instance = request.group_instance_id.as_ref();
        let generation = request.generation_id_or_member_epoch;
        let caller = caller(&request.member_id, instance, generation);
        let group = group_id(&request.group_id);
        if positions.is_empty() {
            let answer = encode(&answer(&request, &which, Ok(Vec::new()), version), version);
            return Ok(ready(Ok(answer)).boxed());
        }
        let committing = context.serving.groups.begin_commit(&group, caller, positions).await;
        Ok(async move {
            let committed = committing.done().await;
            Ok(encode(&answer(&request, &which, committed, version), version))
        }
        .boxed())
    })
}

/// The positions of partitions that exist, in the request's order.
fn known(
    request: &OffsetCommitRequest,
    partitions_of: impl Fn(&str) -> usize,
) -> Vec<(TopicPartition, Position)> {
    let mut positions = Vec::new();
    for topic in &request.topics {
        let count = partitions_of(topic.name.0.as_str());
        let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < count);
        let partitions = topic.partitions.iter().filter(|p| exists(p.partition_index));
        positions
            .extend(partitions.map(|p| (partition(&topic.name, p.partition_index), position(p))));
    }
    positions
}

fn position(partition: &OffsetCommitRequestPartition) -> Position {
    let epoch = LeaderEpoch(partition.committed_leader_epoch);
    Position {
        offset: Offset(partition.committed_offset),
        leader_epoch: Some(epoch).filter(|epoch| epoch.0 >= 0),
        metadata: partition.committed_metadata.as_ref().map(kept).unwrap_or_default(),
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
    use proto_kafka::messages::offset_commit_request::OffsetCommitRequestTopic;

    use super::*;
    use crate::kafka::api::{group::text, testing::received};

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
            let positions = known(&asked, |topic| if topic == "t" { 2 } else { 0 });
            let offsets: Vec<_> = positions.iter().map(|(_, position)| position.offset.0).collect();
            assert_eq!(offsets, [0, 10]);
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
    fn an_unknown_leader_epoch_and_no_metadata_are_none() {
        let asked = received(&request(&[("t", &[0])]), 9);
        let position = position(&asked.topics[0].partitions[0]);
        assert_eq!((position.leader_epoch, &*position.metadata), (None, ""));
    }
}
