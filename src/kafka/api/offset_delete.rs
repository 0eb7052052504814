//! OffsetDelete (47), version 0: forgets committed offsets of topics the group does not read.

use std::collections::BTreeMap;

use proto_kafka::messages::{
    OffsetDeleteRequest, OffsetDeleteResponse,
    offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
};

use super::group::{group_id, partition};
use crate::{
    group::{Error, TopicPartition},
    kafka::{
        context::Context,
        error::{Code, Coded, wire},
    },
};

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let exists = |partition: &TopicPartition| {
        context.serving.cluster.with(|state| {
            let topic = state.topic(&partition.topic);
            topic.is_some_and(|topic| topic.partition(partition.index).is_some())
        })
    };
    let all = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|p| partition(&topic.name, p.partition_index))
    });
    let known: Vec<_> = all.filter(exists).collect();
    let group = group_id(&request.group_id);
    let deleted = context.serving.groups.delete_offsets(&group, known.clone()).await;
    answer(&request, known, deleted)
}

pub(super) fn answer(
    request: &OffsetDeleteRequest,
    known: Vec<TopicPartition>,
    deleted: Result<Vec<Result<(), Error>>, Error>,
) -> OffsetDeleteResponse {
    let results: BTreeMap<_, _> = match deleted {
        Ok(results) => known.into_iter().zip(results).collect(),
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code().code()),
    };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let result = results.get(&partition(&topic.name, asked.partition_index));
            OffsetDeleteResponsePartition::default()
                .with_partition_index(asked.partition_index)
                .with_error_code(result.map_or(Code::UnknownTopicOrPartition.code(), wire))
        });
        let partitions = partitions.collect();
        let name = topic.name.clone();
        OffsetDeleteResponseTopic::default().with_name(name).with_partitions(partitions)
    });
    let topics = topics.collect();
    OffsetDeleteResponse::default().with_topics(topics)
}

#[cfg(test)]
mod tests {
    use proto_kafka::messages::offset_delete_request::{
        OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    };

    use super::*;
    use crate::kafka::api::{group::text, testing::received};

    fn request() -> OffsetDeleteRequest {
        let partitions =
            [0, 1, 9].map(|i| OffsetDeleteRequestPartition::default().with_partition_index(i));
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(text("t").into())
            .with_partitions(partitions.into());
        OffsetDeleteRequest::default().with_topics(vec![topic])
    }

    #[test]
    fn each_partition_has_its_result() {
        let request = received(&request(), 0);
        let known = [0, 1].map(|index| partition(&request.topics[0].name, index));
        let deleted = Ok(vec![Ok(()), Err(Error::SubscribedToTopic)]);
        let answer = received(&answer(&request, known.into(), deleted), 0);
        let codes: Vec<_> = answer.topics[0].partitions.iter().map(|p| p.error_code).collect();
        assert_eq!(codes, [0, 86, 3]);
    }

    #[test]
    fn what_concerns_the_group_is_at_the_top() {
        let answer = received(&answer(&request(), vec![], Err(Error::GroupNotFound)), 0);
        assert_eq!((answer.error_code, answer.topics.len()), (69, 0));
    }
}
