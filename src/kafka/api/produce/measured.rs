//! Produce's codec by itself, for `kafka::measured`.

use bytes::Bytes;

use super::Request;

/// Bytes of records in a request.
pub(in crate::kafka) fn decode(body: Bytes, version: i16) -> Option<usize> {
    let request = Request::decode(body, version).ok()?;
    let partitions = request.topics.iter().flat_map(|(_, partitions)| partitions);
    Some(partitions.map(|(_, records)| records.len()).sum())
}
