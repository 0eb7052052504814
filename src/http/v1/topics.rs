//! `/v1/topics` and `/v1/topics/{topic}`.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Serialize;

use super::{super::Shown, Missing, Page, serving};
use crate::{
    cluster::{Partition, Topic},
    kafka::Serving,
    log::Log,
};

#[derive(Serialize)]
struct Topics {
    topics: Vec<Row>,
    /// How many there are.
    total: usize,
    /// What to give as `after` for the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    id: String,
    internal: bool,
    partitions: usize,
    /// Offsets between log start and high watermark, all partitions together.
    records: u64,
    /// High watermarks, all partitions together: it grows with what is written.
    written: u64,
    /// In the bucket.
    bytes: u64,
    /// Not in the bucket yet.
    wal_bytes: u64,
}

pub(super) async fn list(
    State(shown): State<Arc<Shown>>,
    Query(page): Query<Page>,
) -> Result<Json<impl Serialize>, Missing> {
    let serving = serving(&shown)?;
    let state = serving.cluster.state();
    let total = state.topics.len();
    if page.largest {
        let mut topics: Vec<_> =
            state.topics.values().map(|topic| (published(topic), topic)).collect();
        topics.sort_by_key(|(bytes, topic)| (Reverse(*bytes), topic.name.clone()));
        let rows = topics.into_iter().take(page.rows()).map(|(_, topic)| row(&serving.log, topic));
        return Ok(Json(Topics { topics: rows.collect(), total, next: None }));
    }
    let from = page.after.as_deref().map_or(Unbounded, Excluded);
    let mut names = state.names.range::<str, _>((from, Unbounded));
    let found = names.by_ref().take(page.rows()).filter_map(|(_, id)| state.topics.get(id));
    let topics: Vec<_> = found.map(|topic| row(&serving.log, topic)).collect();
    let more = names.next().is_some();
    let next = topics.last().filter(|_| more).map(|row| row.topic.clone());
    Ok(Json(Topics { topics, total, next }))
}

fn published(topic: &Topic) -> u64 {
    topic.partitions.iter().map(Partition::bytes).sum()
}

fn row(log: &Log, topic: &Topic) -> Row {
    let mut row = Row {
        topic: topic.name.clone(),
        id: topic.id.to_string(),
        internal: topic.name.starts_with("__"),
        partitions: topic.partitions.len(),
        records: 0,
        written: 0,
        bytes: published(topic),
        wal_bytes: 0,
    };
    for (index, partition) in (0..).zip(&topic.partitions) {
        let Ok(open) = log.find_by_id(topic.id, index) else { continue };
        let end = open.high_watermark();
        row.records += count(end.since(open.log_start()));
        row.written += count(end.0);
        row.wal_bytes += open.unpublished_bytes(partition.end);
    }
    row
}

fn count(offsets: i64) -> u64 {
    u64::try_from(offsets).unwrap_or(0)
}

#[derive(Serialize)]
struct Whole {
    topic: String,
    id: String,
    /// Settings that differ from the defaults.
    configs: BTreeMap<String, String>,
    total: usize,
    partitions: Vec<PartitionRow>,
    /// What to give as `after` for the next page.
    next: Option<String>,
}

#[derive(Serialize)]
struct PartitionRow {
    partition: i32,
    leader: i32,
    leader_epoch: i32,
    log_start: i64,
    /// Null where another broker leads.
    high_watermark: Option<i64>,
    /// Records below are in the bucket.
    published: i64,
    bytes: u64,
    wal_bytes: Option<u64>,
}

pub(super) async fn one(
    State(shown): State<Arc<Shown>>,
    Path(name): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<impl Serialize>, Missing> {
    let serving = serving(&shown)?;
    let state = serving.cluster.state();
    let topic = state.topic(&name).ok_or(Missing::Unknown("topic"))?;
    let after = page.after.as_deref().and_then(|after| after.parse::<usize>().ok());
    let from = after.map_or(0, |after| after.saturating_add(1));
    let rows = (0..).zip(&topic.partitions).skip(from).take(page.rows());
    let partitions: Vec<_> =
        rows.map(|(index, partition)| partition_row(&serving, topic, index, partition)).collect();
    let more = from.saturating_add(partitions.len()) < topic.partitions.len();
    let next = partitions.last().filter(|_| more).map(|row| row.partition.to_string());
    Ok(Json(Whole {
        topic: topic.name.clone(),
        id: topic.id.to_string(),
        configs: topic.configs.clone(),
        total: topic.partitions.len(),
        partitions,
        next,
    }))
}

fn partition_row(
    serving: &Serving,
    topic: &Topic,
    index: i32,
    partition: &Partition,
) -> PartitionRow {
    let open = serving.log.find_by_id(topic.id, index).ok();
    PartitionRow {
        partition: index,
        leader: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        log_start: partition.log_start.0,
        high_watermark: open.as_ref().map(|open| open.high_watermark().0),
        published: partition.end.0,
        bytes: partition.bytes(),
        wal_bytes: open.map(|open| open.unpublished_bytes(partition.end)),
    }
}
