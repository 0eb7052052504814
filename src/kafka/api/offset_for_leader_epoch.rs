//! OffsetForLeaderEpoch (23), versions 2 to 4: where an epoch ends, for clients that check
//! whether their records are still the log's after a change of leader.

use proto_kafka::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};

use super::fetch::{check_epoch, epoch};
use crate::{
    kafka::{
        context::Context,
        error::{Code, Coded},
    },
    types::{LeaderEpoch, Offset},
};

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let end = end(context, &topic.topic.0, asked).await;
            partitions.push(answer(asked.partition, end));
        }
        let answered = OffsetForLeaderTopicResult::default().with_topic(topic.topic);
        topics.push(answered.with_partitions(partitions));
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

type End = Result<Option<(LeaderEpoch, Offset)>, Code>;

async fn end(context: &Context, topic: &str, asked: &OffsetForLeaderPartition) -> End {
    let log = &context.serving.log;
    let partition = log.find(topic, asked.partition).map_err(|error| error.code())?;
    check_epoch(epoch(asked.current_leader_epoch), partition.leader_epoch())?;
    if asked.leader_epoch < 0 {
        return Ok(None);
    }
    // The end of the newest epoch is the high watermark: an old leader must not tell it.
    partition.barrier().await.map_err(|error| error.code())?;
    Ok(partition.end_of_epoch(LeaderEpoch(asked.leader_epoch)))
}

fn answer(partition: i32, end: End) -> EpochEndOffset {
    let answer = EpochEndOffset::default()
        .with_partition(partition)
        .with_leader_epoch(-1)
        .with_end_offset(-1);
    match end {
        Err(code) => answer.with_error_code(code.code()),
        Ok(None) => answer,
        Ok(Some((epoch, end))) => answer.with_leader_epoch(epoch.0).with_end_offset(end.0),
    }
}
