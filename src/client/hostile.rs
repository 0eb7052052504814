//! What must hold for any bytes taken for a broker's answer.
//!
//! Owns: the properties, and good bytes to start from. Does not own: where bytes come from
//! (`crate::hostile`). Invariant: a property panics when it is broken and for nothing else.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use proto_kafka::{
    messages::{FetchResponse, ListOffsetsResponse, ProduceResponse, ResponseHeader},
    protocol::{Decodable, Encodable},
};

use super::log::{FETCH, LIST_OFFSETS, PRODUCE};
use crate::kafka::Guarded;

/// The body of an answer to each call there is.
pub fn answer(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    one::<ResponseHeader>(&bytes, 0);
    one::<ProduceResponse>(&bytes, PRODUCE);
    one::<FetchResponse>(&bytes, FETCH);
    one::<ListOffsetsResponse>(&bytes, LIST_OFFSETS);
}

fn one<R: Decodable + Encodable + PartialEq + Debug>(bytes: &Bytes, version: i16) {
    let decoded = |bytes: Bytes| R::decode(&mut Guarded::new(bytes), version).ok();
    let Some(answer) = decoded(bytes.clone()) else { return };
    let mut again = BytesMut::new();
    answer.encode(&mut again, version).expect("what was decoded can be encoded");
    assert_eq!(decoded(again.freeze()), Some(answer), "an answer reads as it is written");
}

/// Good answers.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    use proto_kafka::messages::{
        TopicName, fetch_response as fetch, list_offsets_response as list, produce_response as put,
    };
    fn bytes(answer: &impl Encodable, version: i16) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        answer.encode(&mut bytes, version).expect("a good answer");
        bytes.to_vec()
    }
    let name = || TopicName("orders".into());
    let put = ProduceResponse::default().with_responses(vec![
        put::TopicProduceResponse::default()
            .with_name(name())
            .with_partition_responses(vec![put::PartitionProduceResponse::default(); 2]),
    ]);
    let part = fetch::PartitionData::default().with_records(Some(Bytes::from_static(b"batch")));
    let fetch = FetchResponse::default().with_responses(vec![
        fetch::FetchableTopicResponse::default().with_topic(name()).with_partitions(vec![part; 2]),
    ]);
    let list = ListOffsetsResponse::default().with_topics(vec![
        list::ListOffsetsTopicResponse::default()
            .with_name(name())
            .with_partitions(vec![list::ListOffsetsPartitionResponse::default(); 2]),
    ]);
    vec![bytes(&put, PRODUCE), bytes(&fetch, FETCH), bytes(&list, LIST_OFFSETS)]
}
