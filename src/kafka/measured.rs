//! The wire's hot cores by themselves, for `benches/cores.rs`.
//!
//! Owns: a way to them. Does not own: what they do (`api`).

use bytes::Bytes;

use super::api;

/// Takes the body of a Produce request apart; gives the bytes of records in it.
#[must_use]
pub fn decode_produce(body: Bytes, version: i16) -> Option<usize> {
    api::produce::decode_measured(body, version)
}

/// The reply to a Fetch of the partitions `0..partitions` of one topic, these batches for each.
#[must_use]
pub fn encode_fetch(version: i16, partitions: i32, batches: &[Bytes]) -> Vec<Bytes> {
    api::fetch::encode_measured(version, partitions, batches)
}
