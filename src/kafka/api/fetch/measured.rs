//! Fetch's codec by itself, for `kafka::measured`.

use bytes::Bytes;

use super::{Answered, Key, TopicKey, codec};

/// The reply with these batches for each of the partitions `0..partitions` of one topic.
pub(in crate::kafka) fn encode(version: i16, partitions: i32, batches: &[Bytes]) -> Vec<Bytes> {
    let topic = TopicKey::Name("orders".into());
    let answered = Answered {
        error: 0,
        high_watermark: 1_000,
        last_stable_offset: 1_000,
        log_start: 0,
        diverging: None,
        leader: None,
        batches: batches.to_vec(),
    };
    let key = |index| Key { topic: topic.clone(), index };
    let parts = (0..partitions).map(|index| (key(index), answered.clone())).collect();
    codec::encode(codec::Head { version, ..codec::Head::default() }, parts, &[])
}
