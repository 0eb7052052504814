//! What requests are answered while the broker is between two incarnations, or has left.
//!
//! Owns: for each API the answer that makes its clients ask again, here or elsewhere, as Kafka's
//! codes do during a failover: of partitions that another leads, of groups that another
//! coordinates, of changes that another controls. What the metadata alone tells is told as ever,
//! for clients must not believe that topics are gone. Does not own: when that is so
//! (`connection`). Invariants: nothing is changed; every row of the table has such an answer; an
//! error is one that clients retry (or, for transactions, what they are told at any time).

#![allow(clippy::needless_pass_by_value, reason = "every row of the table has the same form")]

mod admin;
mod data;
mod groups;

use proto_kafka::messages::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse,
};

use super::{
    describe_cluster as cluster, describe_topic_partitions as partitions, metadata as all,
};
use crate::kafka::context::Known;

pub(super) use admin::*;
pub(super) use data::*;
pub(super) use groups::*;

pub(super) fn metadata(known: &Known, version: i16, request: MetadataRequest) -> MetadataResponse {
    match all::asked(version, &request) {
        Ok(wanted) => all::told(&known.cluster, known.broker, version, &request, wanted),
        Err(refused) => refused,
    }
}

pub(super) fn describe_cluster(
    known: &Known,
    _version: i16,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    known.cluster.with(|state| cluster::answer(state, known.broker, &request))
}

pub(super) fn describe_topic_partitions(
    known: &Known,
    _version: i16,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    known.cluster.with(|state| partitions::answer(state, &request))
}
