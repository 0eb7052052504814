//! DeleteRecords (21), versions 0 to 2. Offset -1 is the high watermark.

use std::time::Duration;

use proto_kafka::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, TopicName,
    delete_records_request::DeleteRecordsPartition,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};

use super::topics::{in_order, is_internal};
use crate::{
    env::clock::timeout,
    kafka::{
        context::Context,
        error::{Code, Coded},
    },
    types::Offset,
};

/// An offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default());
    let topics = request.topics.into_iter().map(|topic| async move {
        let name = &topic.name;
        let partitions = topic.partitions.into_iter().map(|partition| async move {
            let deleted = timeout(patience, delete(context, name, &partition)).await;
            let deleted = deleted.unwrap_or(Err(Code::RequestTimedOut));
            let result = DeleteRecordsPartitionResult::default()
                .with_partition_index(partition.partition_index);
            match deleted {
                Ok(start) => result.with_low_watermark(start.0),
                Err(code) => result.with_low_watermark(-1).with_error_code(code.code()),
            }
        });
        let partitions = in_order(partitions).await;
        DeleteRecordsTopicResult::default().with_partitions(partitions).with_name(topic.name)
    });
    DeleteRecordsResponse::default().with_topics(in_order(topics).await)
}

async fn delete(
    context: &Context,
    topic: &TopicName,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, Code> {
    let partition =
        context.serving.log.find(topic, asked.partition_index).map_err(|error| error.code())?;
    if is_internal(topic) {
        return Err(Code::InvalidTopicException);
    }
    let before = (asked.offset != HIGH_WATERMARK).then_some(Offset(asked.offset));
    partition.delete_records(before).await.map_err(|error| error.code())
}
