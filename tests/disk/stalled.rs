//! A disk that takes its time: who waits for an acknowledgement is told, in time, that it is not
//! known, and at which offset the records are if they are anywhere.

use futures::future::join_all;
use proto_kafka::messages::{
    MetadataRequest, ProduceRequest,
    metadata_request::MetadataRequestTopic,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use strandline::{client::Connection, types::Offset};

use super::{
    Running, start,
    support::topics::{self, batch, topic_name},
};

const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_comes_too_late_is_told_as_timed_out_with_the_offset_it_lands_at() {
    let Running { _root, address, stall, ask: _ask, .. } = start();
    let mut client = topics::connect(&address).await;
    topics::create(&mut client, "t", 14, &[]).await;
    for version in VERSIONS {
        client.produce("t", version.into(), batch(&["kept", "kept"])).await.unwrap();
    }
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name("t")));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let topic_id = client.call(12, &request).await.unwrap().topics[0].topic_id;
    let ask = async |version: i16| {
        let data = PartitionProduceData::default()
            .with_index(version.into())
            .with_records(Some(batch(&["late"])));
        let mut topic = TopicProduceData::default().with_partition_data(vec![data]);
        if version < 13 {
            topic.name = topic_name("t");
        } else {
            topic.topic_id = topic_id;
        }
        let request = ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(1)
            .with_topic_data(vec![topic]);
        let mut connection = Connection::open(&address, "test").await.unwrap();
        let answer = connection.call(version, &request).await.unwrap();
        let told = &answer.responses[0].partition_responses[0];
        assert_eq!((told.error_code, told.base_offset), (7, 2), "version {version}");
        assert_eq!(told.log_append_time_ms, -1);
        assert_eq!(told.log_start_offset, if version < 5 { -1 } else { 0 });
        assert_eq!((told.record_errors.len(), told.error_message.is_some()), (0, version >= 8));
        let seen = connection.fetch("t", version.into(), Offset(2), 0).await.unwrap();
        assert_eq!((seen.high_watermark, seen.records.len()), (Offset(2), 0), "not committed");
    };
    stall.begin();
    join_all(VERSIONS.map(ask)).await;
    stall.end();
    for version in VERSIONS {
        let landed = client.fetch("t", version.into(), Offset(2), 20_000).await.unwrap();
        assert!(!landed.records.is_empty(), "it was lost");
        let read = topics::read_all(&mut client, "t", version.into()).await;
        assert_eq!(read[2], (Offset(2), b"late".to_vec()), "version {version}");
        assert_eq!(read.len(), 3);
    }
}
