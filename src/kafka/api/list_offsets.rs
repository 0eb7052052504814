//! ListOffsets (2), versions 1 to 11.
//!
//! Timestamps: -1 latest (high watermark, last stable offset for read_committed), -2 earliest,
//! -3 the record with the greatest timestamp (7), -4 earliest local (8), -5 latest tiered (9), -6
//! earliest pending upload (11); others: the first record at or after. There is no tier: -4 is the
//! earliest, -5 and -6 are unknown. 4 leader epochs; 10 a timeout; 11 has the bytes of 10.

use std::collections::{HashMap, HashSet};

use proto_kafka::messages::{
    ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
};

use super::fetch::{check_epoch, epoch};
use crate::{
    kafka::{
        context::Context,
        error::{Code, Coded},
    },
    log::TimeMatch,
    types::{LeaderEpoch, Millis, Offset},
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The newest version whose bytes differ from the one before.
pub(super) const CODEC: i16 = 10;

/// What a timestamp leads to.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    offset: Offset,
    timestamp: Millis,
    epoch: Option<LeaderEpoch>,
}

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let mut seen = HashSet::new();
    let mut twice = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.0.clone(), partition.partition_index);
            if !seen.insert(key.clone()) {
                twice.insert(key, false);
            }
        }
    }
    let read_committed = request.isolation_level == 1;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let key = (topic.name.0.clone(), asked.partition_index);
            // Told once, and then no more.
            let found = match twice.get_mut(&key) {
                None => find(context, version, read_committed, &topic.name.0, asked).await,
                Some(told) if *told => continue,
                Some(told) => {
                    *told = true;
                    Err(Code::InvalidRequest)
                }
            };
            partitions.push(answer(version, asked.partition_index, found));
        }
        let answered = ListOffsetsTopicResponse::default().with_name(topic.name);
        topics.push(answered.with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn find(
    context: &Context,
    version: i16,
    read_committed: bool,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> Result<Option<Found>, Code> {
    if asked.timestamp < oldest_special(version) {
        return Err(Code::UnsupportedVersion);
    }
    let log = &context.serving.log;
    let partition = log.find(topic, asked.partition_index).map_err(|error| error.code())?;
    let current = partition.leader_epoch();
    check_epoch(epoch(asked.current_leader_epoch), current)?;
    let bare = |offset, epoch| Some(Found { offset, timestamp: Millis(-1), epoch });
    let record = |found: Option<TimeMatch>| {
        found.map(|found| Found {
            offset: found.offset,
            timestamp: found.timestamp,
            epoch: Some(found.leader_epoch),
        })
    };
    match asked.timestamp {
        LATEST => {
            partition.barrier().await.map_err(|error| error.code())?;
            let latest = if read_committed {
                partition.last_stable_offset()
            } else {
                partition.high_watermark()
            };
            Ok(bare(latest, Some(current)))
        }
        EARLIEST | EARLIEST_LOCAL => {
            partition.barrier().await.map_err(|error| error.code())?;
            let (start, epoch) = partition.earliest();
            Ok(bare(start, epoch))
        }
        MAX_TIMESTAMP => {
            let found = partition.offset_of_max_timestamp().await;
            found.map(record).map_err(|error| error.code())
        }
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(None),
        time => {
            let found = partition.offset_for_time(Millis(time)).await;
            found.map(record).map_err(|error| error.code())
        }
    }
}

/// The lowest timestamp with a meaning in `version`.
fn oldest_special(version: i16) -> i64 {
    match version {
        11.. => EARLIEST_PENDING_UPLOAD,
        9.. => LATEST_TIERED,
        8 => EARLIEST_LOCAL,
        7 => MAX_TIMESTAMP,
        _ => EARLIEST,
    }
}

fn answer(
    version: i16,
    index: i32,
    found: Result<Option<Found>, Code>,
) -> ListOffsetsPartitionResponse {
    let mut answer = ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_timestamp(-1)
        .with_offset(-1);
    match found {
        Err(code) => answer.error_code = code.code(),
        Ok(None) => {}
        Ok(Some(found)) => {
            answer.offset = found.offset.0;
            answer.timestamp = found.timestamp.0;
            if let (4.., Some(epoch)) = (version, found.epoch) {
                answer.leader_epoch = epoch.0;
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_found_is_no_error() {
        let answer = answer(7, 3, Ok(None));
        let told = (answer.partition_index, answer.error_code, answer.offset, answer.timestamp);
        assert_eq!(told, (3, 0, -1, -1));
        assert_eq!(answer.leader_epoch, -1);
    }

    #[test]
    fn a_special_timestamp_needs_its_version() {
        assert_eq!(oldest_special(1), EARLIEST);
        assert_eq!(oldest_special(7), MAX_TIMESTAMP);
        assert_eq!(oldest_special(10), LATEST_TIERED);
        assert_eq!(oldest_special(11), EARLIEST_PENDING_UPLOAD);
    }
}
