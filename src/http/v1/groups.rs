//! `/v1/groups` and `/v1/groups/{group}`, with lag.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Serialize;

use super::{
    super::{
        Shown,
        survey::{GroupRow, lag},
    },
    Missing, Page, ROWS_MAX, serving,
};
use crate::group::{self, GroupId};

#[derive(Serialize)]
struct Groups<'a> {
    groups: Vec<&'a GroupRow>,
    total: usize,
    /// Records all groups together are behind.
    lag: u64,
    /// False while some groups are still loaded, and so not here.
    complete: bool,
    next: Option<&'a str>,
}

pub(super) async fn list(
    State(shown): State<Arc<Shown>>,
    Query(page): Query<Page>,
) -> Result<Json<serde_json::Value>, Missing> {
    serving(&shown)?;
    let survey = shown.survey.recent().await;
    let all = &survey.groups;
    let after = page.after.as_deref();
    let from = after.map_or(0, |after| all.partition_point(|row| row.group.as_str() <= after));
    let groups = if page.largest {
        survey.furthest_behind(page.rows())
    } else {
        all.iter().skip(from).take(page.rows()).collect()
    };
    let more = !page.largest && from.saturating_add(groups.len()) < all.len();
    let next = groups.last().filter(|_| more).map(|row| row.group.as_str());
    let lag = all.iter().map(|row| row.lag).sum();
    let list = Groups { total: all.len(), lag, complete: survey.complete, next, groups };
    serde_json::to_value(list).map(Json).map_err(|error| Missing::NotNow(error.to_string()))
}

#[derive(Serialize)]
struct Whole {
    group: String,
    state: &'static str,
    protocol_type: String,
    protocol: String,
    lag: u64,
    members: Vec<Member>,
    /// How many there are; more than are told only in the largest groups.
    members_total: usize,
    partitions: Vec<PartitionRow>,
    partitions_total: usize,
}

#[derive(Serialize)]
struct Member {
    member: String,
    instance: Option<String>,
    client_id: String,
    client_host: String,
}

#[derive(Serialize)]
struct PartitionRow {
    topic: String,
    partition: i32,
    /// The next offset to read.
    offset: i64,
    high_watermark: Option<i64>,
    /// Null where another broker leads, or the partition is gone.
    lag: Option<u64>,
}

pub(super) async fn one(
    State(shown): State<Arc<Shown>>,
    Path(name): Path<String>,
) -> Result<Json<impl Serialize>, Missing> {
    let serving = serving(&shown)?;
    let group = GroupId::from(name.as_str());
    let described = serving.groups.describe(&group).await.map_err(missing)?;
    let committed = serving.groups.committed(&group, None).await.map_err(missing)?;
    let rows = committed.into_iter().filter_map(|(partition, position)| {
        let offset = position?.offset;
        let open = serving.log.find(&partition.topic, partition.index).ok();
        Some(PartitionRow {
            lag: lag(&serving.log, &partition, offset),
            topic: partition.topic.to_string(),
            partition: partition.index,
            offset: offset.0,
            high_watermark: open.map(|open| open.high_watermark().0),
        })
    });
    let mut partitions: Vec<_> = rows.collect();
    let members = described.members.iter().take(ROWS_MAX).map(|member| Member {
        member: member.member.to_string(),
        instance: member.instance.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
    });
    let (lag, partitions_total) =
        (partitions.iter().filter_map(|row| row.lag).sum(), partitions.len());
    partitions.truncate(ROWS_MAX);
    Ok(Json(Whole {
        group: name,
        state: described.state.name(),
        protocol_type: described.protocol_type.to_string(),
        protocol: described.protocol.to_string(),
        lag,
        members: members.collect(),
        members_total: described.members.len(),
        partitions,
        partitions_total,
    }))
}

fn missing(error: group::Error) -> Missing {
    match error {
        group::Error::GroupNotFound => Missing::Unknown("group"),
        other => Missing::NotNow(other.to_string()),
    }
}
