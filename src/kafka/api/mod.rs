//! The table of APIs, and how a request reaches its handler.
//!
//! Owns: the table (one row for each API: key, oldest and newest version, handler) and the bounded
//! decoding of requests. A new API is a file with
//! `pub(super) async fn handle(context: &Context, version: i16, request: XRequest) -> XResponse`,
//! its row, and in `away` what it answers while the broker is between two incarnations.
//! Invariants: rows are sorted by key; a version in the table is decoded and answered; a handler
//! may be dropped at any await when its connection ends, so an effect never hangs on its caller.

mod alter;
mod alter_configs;
mod away;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_topic_partitions;
mod elect_leaders;
pub(super) mod fetch;
mod find_coordinator;
mod group;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leader;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
pub(super) mod offset_commit;
mod offset_delete;
pub(super) mod offset_fetch;
mod offset_for_leader_epoch;
pub(super) mod produce;
mod refusal;
mod resources;
mod sync_group;
#[cfg(test)]
mod testing;
mod told;
mod topics;

pub use fetch::FetchSessions;
pub use init_producer_id::ProducerIds;
pub(super) use told::{Errors, Told};

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use proto_kafka::{
    messages::ApiKey,
    protocol::{Decodable, Encodable},
};

use super::{
    context::{Context, Known},
    error::BadRequest,
    guard::Guarded,
    replies::Grant,
    versions,
};

/// One API.
pub(super) struct Api {
    pub(super) key: ApiKey,
    /// As Kafka names it.
    pub(super) name: &'static str,
    /// Versions served.
    pub(super) versions: RangeInclusive<i16>,
    pub(super) run: Run,
    pub(super) away: Away,
}

/// The answer while nothing is served.
pub(super) type Away = fn(&Known, i16, Bytes) -> Result<Answer, BadRequest>;

/// How a request is run.
pub(super) enum Run {
    /// Without a running broker, at once.
    AtOnce(fn(i16, Bytes) -> Result<Answer, BadRequest>),
    /// After the requests before it, before those after it.
    Alone(fn(Call) -> Later),
    /// `begin` in request order, its effects done when it resolves; completions overlap.
    Pipelined(fn(Call) -> BoxFuture<'static, Result<Later, BadRequest>>),
}

/// An answer to come.
pub(super) type Later = BoxFuture<'static, Result<Answer, BadRequest>>;

/// A request for a handler.
pub(super) struct Call {
    pub(super) context: Context,
    pub(super) version: i16,
    pub(super) body: Bytes,
}

/// What the client gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A reply's body, and the errors it tells.
    Reply(Vec<Bytes>, Errors),
    /// One with records, and the memory they were granted.
    Records(Vec<Bytes>, Grant, Errors),
    /// Nothing (Produce with acks=0).
    Silent,
    /// The end of the connection.
    Close,
}

const fn row(
    key: ApiKey,
    name: &'static str,
    versions: RangeInclusive<i16>,
    (run, away): (Run, Away),
) -> Api {
    Api { key, name, versions, run, away }
}

macro_rules! api {
    ($key:ident, $versions:expr, $both:expr) => {
        row(ApiKey::$key, stringify!($key), $versions, $both)
    };
}

/// Runs `handle` of a module alone, and the function of its name in `away` while nothing is
/// served; `codec` is the newest version whose bytes differ.
macro_rules! alone {
    ($module:ident) => {
        alone!($module, i16::MAX)
    };
    ($module:ident, $codec:expr) => {
        (
            Run::Alone(|call| {
                Box::pin(async move {
                    let codec = call.version.min($codec);
                    let request = decode(call.body, codec)?;
                    let response = $module::handle(&call.context, call.version, request).await;
                    Ok(encode(&response, codec))
                })
            }),
            |known, version, body| {
                let codec = version.min($codec);
                Ok(encode(&away::$module(known, version, decode(body, codec)?), codec))
            },
        )
    };
}

/// Every API served, by key.
pub(super) static APIS: &[Api] = &[
    api!(Produce, 3..=13, (Run::Pipelined(produce::begin), away::produce)),
    api!(Fetch, 4..=18, (Run::Alone(fetch::run), away::fetch)),
    api!(ListOffsets, 1..=11, alone!(list_offsets, list_offsets::CODEC)),
    api!(Metadata, 0..=13, alone!(metadata)),
    api!(OffsetCommit, 2..=10, (Run::Pipelined(offset_commit::begin), away::offset_commit)),
    api!(OffsetFetch, 1..=10, (Run::Alone(offset_fetch::run), away::offset_fetch)),
    api!(FindCoordinator, 0..=6, alone!(find_coordinator)),
    api!(JoinGroup, 0..=9, alone!(join_group)),
    api!(Heartbeat, 0..=4, alone!(heartbeat)),
    api!(LeaveGroup, 0..=5, alone!(leave_group)),
    api!(SyncGroup, 0..=5, alone!(sync_group)),
    api!(DescribeGroups, 0..=6, alone!(describe_groups)),
    api!(ListGroups, 0..=5, alone!(list_groups)),
    api!(
        ApiVersions,
        0..=versions::NEWEST,
        (Run::AtOnce(api_versions), |_, version, body| api_versions(version, body))
    ),
    api!(CreateTopics, 2..=7, alone!(create_topics)),
    api!(DeleteTopics, 1..=6, alone!(delete_topics)),
    api!(DeleteRecords, 0..=2, alone!(delete_records)),
    api!(InitProducerId, 0..=5, alone!(init_producer_id)),
    api!(OffsetForLeaderEpoch, 2..=4, alone!(offset_for_leader_epoch)),
    api!(DescribeConfigs, 1..=4, alone!(describe_configs)),
    api!(AlterConfigs, 0..=2, alone!(alter_configs)),
    api!(DescribeLogDirs, 1..=5, (Run::Alone(describe_log_dirs::run), describe_log_dirs::away)),
    api!(CreatePartitions, 0..=3, alone!(create_partitions)),
    api!(DeleteGroups, 0..=2, alone!(delete_groups)),
    api!(ElectLeaders, 0..=2, alone!(elect_leaders)),
    api!(IncrementalAlterConfigs, 0..=1, alone!(incremental_alter_configs)),
    api!(ListPartitionReassignments, 0..=0, alone!(list_partition_reassignments)),
    api!(OffsetDelete, 0..=0, alone!(offset_delete)),
    api!(DescribeClientQuotas, 0..=1, alone!(describe_client_quotas)),
    api!(DescribeCluster, 0..=2, alone!(describe_cluster)),
    api!(ListConfigResources, 0..=1, alone!(list_config_resources)),
    api!(DescribeTopicPartitions, 0..=0, alone!(describe_topic_partitions)),
];

fn api_versions(version: i16, body: Bytes) -> Result<Answer, BadRequest> {
    let (version, response) = versions::answer(version, body)?;
    Ok(encode(&response, version))
}

/// The row of `key` when it serves `version`; ApiVersions takes any version.
///
/// # Errors
/// When nothing does.
pub(super) fn find(key: ApiKey, version: i16) -> Result<&'static Api, BadRequest> {
    let serves = |api: &&Api| {
        api.key == key && (key == ApiKey::ApiVersions || api.versions.contains(&version))
    };
    let not_served = BadRequest::NotServed { key: versions::number(key), version };
    APIS.iter().find(serves).ok_or(not_served)
}

/// Decodes within bounds. Bytes after the request are ignored, as Kafka does.
pub(super) fn decode<R: Decodable>(body: Bytes, version: i16) -> Result<R, BadRequest> {
    Ok(R::decode(&mut Guarded::new(body), version)?)
}

/// Encodes a reply; one that its version cannot express is a defect here and ends the connection.
pub(super) fn encode<R: Encodable + Told>(response: &R, version: i16) -> Answer {
    let mut body = BytesMut::new();
    match response.encode(&mut body, version) {
        Ok(()) => Answer::Reply(vec![body.freeze()], response.errors()),
        Err(error) => {
            tracing::error!(
                %error, version,
                advice = "a defect of this program: please report it, with this line",
                "a reply cannot be encoded, connection closed"
            );
            Answer::Close
        }
    }
}
