//! DescribeLogDirs (35), versions 1 to 5: one directory, the bucket, with the partitions led here:
//! what is published there of them and what is still to be. From 3 on with a code for the whole answer; from 4 on with the
//! volume's size, which is not known of a bucket; from 5 on with whether it is cordoned (written by
//! hand: the codec ends at 4).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proto_kafka::{
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse,
        describe_log_dirs_response::{
            DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
        },
    },
    protocol::StrBytes,
};

use super::{Answer, Call, Later, Told, away, decode, encode};
use crate::{
    cluster::{State, Topic},
    kafka::{
        context::{Context, Known},
        decode::Encoder,
        error::BadRequest,
    },
    types::{BrokerId, Offset, TopicId},
};

/// What stands where Kafka names a directory.
const BUCKET: &str = "bucket";

async fn handle(
    context: &Context,
    _version: i16,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let serving = &context.serving;
    let unpublished = |id: TopicId, index, published| {
        let open = serving.log.find_by_id(id, index);
        open.map_or(0, |partition| partition.unpublished_bytes(published))
    };
    serving.cluster.with(|state| answer(state, serving.broker, &unpublished, &request))
}

/// Bytes of a partition that are not published, where at least what is below an offset is.
type Unpublished<'a> = &'a dyn Fn(TopicId, i32, Offset) -> u64;

/// The newest version the codec knows.
const CODEC: i16 = 4;
/// The version that says whether a directory is cordoned.
const CORDONED: i16 = 5;

pub(super) fn run(call: Call) -> Later {
    Box::pin(async move {
        let request = decode(call.body, call.version.min(CODEC))?;
        let response = handle(&call.context, call.version, request).await;
        Ok(written(&response, call.version))
    })
}

/// The answer while nothing is served.
pub(super) fn away(known: &Known, version: i16, body: Bytes) -> Result<Answer, BadRequest> {
    let request = decode(body, version.min(CODEC))?;
    Ok(written(&away::describe_log_dirs(known, version, request), version))
}

fn written(response: &DescribeLogDirsResponse, version: i16) -> Answer {
    if version < CORDONED {
        return encode(response, version);
    }
    Answer::Reply(newest(response), response.errors())
}

/// The answer in version 5.
fn newest(response: &DescribeLogDirsResponse) -> Vec<Bytes> {
    let mut encoder = Encoder::new(true);
    encoder.i32(response.throttle_time_ms);
    encoder.i16(response.error_code);
    encoder.array(response.results.len());
    for directory in &response.results {
        encoder.i16(directory.error_code);
        encoder.string(&directory.log_dir);
        encoder.array(directory.topics.len());
        for topic in &directory.topics {
            encoder.string(&topic.name);
            encoder.array(topic.partitions.len());
            for partition in &topic.partitions {
                encoder.i32(partition.partition_index);
                encoder.i64(partition.partition_size);
                encoder.i64(partition.offset_lag);
                encoder.bool(partition.is_future_key);
                encoder.no_tags();
            }
            encoder.no_tags();
        }
        encoder.i64(directory.total_bytes);
        encoder.i64(directory.usable_bytes);
        // No directory is ever cordoned.
        encoder.bool(false);
        encoder.no_tags();
    }
    encoder.no_tags();
    encoder.finish()
}

fn answer(
    state: &State,
    broker: BrokerId,
    unpublished: Unpublished<'_>,
    request: &DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let led =
        |topic: &Topic, wanted: Option<&BTreeSet<i32>>| led(topic, broker, unpublished, wanted);
    let topics = match &request.topics {
        None => state.topics.values().map(|topic| led(topic, None)).collect(),
        Some(asked) => {
            let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
            for topic in asked {
                wanted.entry(topic.topic.as_str()).or_default().extend(&topic.partitions);
            }
            let known = |(name, indexes): (&str, BTreeSet<i32>)| {
                Some(led(state.topic(name)?, Some(&indexes)))
            };
            wanted.into_iter().filter_map(known).collect::<Vec<_>>()
        }
    };
    let topics = topics.into_iter().filter(|topic| !topic.partitions.is_empty()).collect();
    let result = DescribeLogDirsResult::default().with_log_dir(BUCKET.into()).with_topics(topics);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn led(
    topic: &Topic,
    broker: BrokerId,
    unpublished: Unpublished<'_>,
    wanted: Option<&BTreeSet<i32>>,
) -> DescribeLogDirsTopic {
    let partitions = (0..)
        .zip(&topic.partitions)
        .filter(|(index, _)| wanted.is_none_or(|wanted| wanted.contains(index)))
        .filter(|(_, partition)| partition.leader == broker)
        .map(|(index, partition)| {
            let fresh = unpublished(topic.id, index, partition.end);
            let bytes = partition.bytes().saturating_add(fresh);
            DescribeLogDirsPartition::default()
                .with_partition_index(index)
                .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX))
        });
    DescribeLogDirsTopic::default()
        .with_name(StrBytes::from(topic.name.clone()).into())
        .with_partitions(partitions.collect())
}

#[cfg(test)]
mod tests {
    use proto_kafka::messages::describe_log_dirs_request::DescribableLogDirTopic;

    use super::*;
    use crate::kafka::api::testing::{add_topic, received, state};

    #[test]
    fn the_bucket_holds_the_partitions_led_here() {
        let mut state = state(&[1, 2]);
        add_topic(&mut state, 1, "a", 2);
        let all = DescribeLogDirsRequest::default().with_topics(None);
        let fresh = |_, index, _| if index == 1 { 70 } else { 0 };
        let here = answer(&state, BrokerId(1), &fresh, &all);
        for version in 1..=4 {
            let decoded = received(&here, version);
            assert_eq!(decoded.results[0].log_dir.as_str(), "bucket");
            let partitions = &decoded.results[0].topics[0].partitions;
            let sizes = partitions.iter().map(|partition| partition.partition_size);
            assert!(sizes.eq([0, 70]), "what is not published counts");
            assert_eq!(decoded.results[0].total_bytes, -1);
        }
        assert!(answer(&state, BrokerId(2), &fresh, &all).results[0].topics.is_empty());
    }

    #[test]
    fn only_what_is_asked_for_is_shown() {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "a", 3);
        let asked = |name: &'static str, partitions: Vec<i32>| {
            DescribableLogDirTopic::default()
                .with_topic(StrBytes::from(name).into())
                .with_partitions(partitions)
        };
        let request = DescribeLogDirsRequest::default()
            .with_topics(Some(vec![asked("a", vec![1, 7]), asked("b", vec![0])]));
        let topics = answer(&state, BrokerId(1), &|_, _, _| 0, &request).results.remove(0).topics;
        assert_eq!(topics.len(), 1);
        let indexes: Vec<i32> =
            topics[0].partitions.iter().map(|partition| partition.partition_index).collect();
        assert_eq!(indexes, [1]);
    }
}
