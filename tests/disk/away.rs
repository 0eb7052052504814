//! What clients are told while the broker waits for its disk: every API in every version, by codes
//! that clients retry; and that they need not connect again.

use std::{future::Future, ops::RangeInclusive, pin::Pin, sync::atomic::Ordering, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use proto_kafka::{
    messages::{
        produce_request::{PartitionProduceData, TopicProduceData},
        *,
    },
    protocol::{Decodable, Encodable, Request, StrBytes, encode_request_header_into_buffer},
};
use strandline::client::Connection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Running, start, topics};

const NOT_LEADER: i16 = 6;
const LOADING: i16 = 14;
const NO_COORDINATOR: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const NOT_CONTROLLER: i16 = 41;
const NO_TRANSACTIONS: i16 = 53;
const STORAGE: i16 = 56;
const NO_SESSION: i16 = 70;

type Ask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Asks every version, each on its own connection, and compares the codes in its answer.
fn every<R, F>(
    address: &str,
    versions: RangeInclusive<i16>,
    code: i16,
    request: F,
    codes: fn(i16, R::Response) -> Vec<i16>,
) -> Vec<Ask>
where
    R: Request + Send + Sync + 'static,
    R::Response: Send,
    F: Fn(i16) -> R,
{
    let ask = |version: i16| -> Ask {
        let (address, request) = (address.to_owned(), request(version));
        Box::pin(async move {
            let mut connection = Connection::open(&address, "test").await.unwrap();
            let answer = connection.call(version, &request).await.unwrap();
            let codes = codes(version, answer);
            assert!(!codes.is_empty(), "api {} version {version}", R::KEY);
            assert!(codes.iter().all(|it| *it == code), "api {} {version}: {codes:?}", R::KEY);
        })
    };
    versions.map(ask).collect()
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic() -> TopicName {
    TopicName(text("t"))
}

fn records(address: &str) -> Vec<Ask> {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    use fetch_request::{FetchPartition, FetchTopic};
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let produce = |version| {
        let data = PartitionProduceData::default().with_records(Some(topics::batch(&["x"])));
        let mut to = TopicProduceData::default().with_partition_data(vec![data]);
        if version < 13 {
            to.name = topic();
        }
        ProduceRequest::default()
            .with_transactional_id(None)
            .with_acks(-1)
            .with_timeout_ms(1000)
            .with_topic_data(vec![to])
    };
    let fetch = |version| {
        let mut of = FetchTopic::default().with_partitions(vec![FetchPartition::default()]);
        if version < 13 {
            of.topic = topic();
        }
        FetchRequest::default().with_session_epoch(-1).with_topics(vec![of])
    };
    let session = |_| FetchRequest::default().with_session_id(7).with_session_epoch(3);
    let list = |_| {
        let of = ListOffsetsTopic::default().with_name(topic());
        let of = of.with_partitions(vec![ListOffsetsPartition::default()]);
        ListOffsetsRequest::default().with_topics(vec![of])
    };
    let epoch = |_| {
        let of = OffsetForLeaderTopic::default().with_topic(topic());
        let of = of.with_partitions(vec![OffsetForLeaderPartition::default()]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![of])
    };
    let delete = |_| {
        let of = DeleteRecordsTopic::default().with_name(topic());
        let of = of.with_partitions(vec![DeleteRecordsPartition::default()]);
        DeleteRecordsRequest::default().with_topics(vec![of])
    };
    let idempotent = |_| InitProducerIdRequest::default().with_transactional_id(None);
    let transactional = |_| {
        InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("x"))))
    };
    let mut asks = every::<ProduceRequest, _>(address, 3..=13, NOT_LEADER, produce, |_, it| {
        vec![it.responses[0].partition_responses[0].error_code]
    });
    asks.extend(every::<FetchRequest, _>(address, 4..=18, NOT_LEADER, fetch, |_, it| {
        vec![it.responses[0].partitions[0].error_code]
    }));
    let code = |_, it: FetchResponse| vec![it.error_code];
    asks.extend(every::<FetchRequest, _>(address, 7..=18, NO_SESSION, session, code));
    asks.extend(every::<ListOffsetsRequest, _>(address, 1..=10, NOT_LEADER, list, |_, it| {
        vec![it.topics[0].partitions[0].error_code]
    }));
    let code = |_, it: OffsetForLeaderEpochResponse| vec![it.topics[0].partitions[0].error_code];
    asks.extend(every::<OffsetForLeaderEpochRequest, _>(address, 2..=4, NOT_LEADER, epoch, code));
    asks.extend(every::<DeleteRecordsRequest, _>(address, 0..=2, NOT_LEADER, delete, |_, it| {
        vec![it.topics[0].partitions[0].error_code]
    }));
    let code = |_, it: InitProducerIdResponse| vec![it.error_code];
    asks.extend(every::<InitProducerIdRequest, _>(address, 0..=5, LOADING, idempotent, code));
    asks.extend(every::<InitProducerIdRequest, _>(
        address,
        0..=5,
        NO_TRANSACTIONS,
        transactional,
        code,
    ));
    asks
}

fn groups(address: &str) -> Vec<Ask> {
    let group = || GroupId(text("g"));
    let find = |kind: i8| {
        move |version| {
            let request = FindCoordinatorRequest::default();
            match version {
                0 => request.with_key(text("g")),
                1..4 => request.with_key(text("g")).with_key_type(kind),
                _ => request.with_coordinator_keys(vec![text("g")]).with_key_type(kind),
            }
        }
    };
    let found = |version: i16, it: FindCoordinatorResponse| match version {
        0..4 => vec![it.error_code],
        _ => it.coordinators.iter().map(|one| one.error_code).collect(),
    };
    let mut asks = every(address, 0..=6, NO_COORDINATOR, find(0), found);
    asks.extend(every(address, 1..=6, NO_COORDINATOR, find(1), found));
    macro_rules! plain {
        ($request:ident, $versions:expr) => {
            asks.extend(every(
                address,
                $versions,
                NOT_COORDINATOR,
                |_| $request::default().with_group_id(group()),
                |_, it| vec![it.error_code],
            ))
        };
    }
    plain!(JoinGroupRequest, 0..=9);
    plain!(SyncGroupRequest, 0..=5);
    plain!(HeartbeatRequest, 0..=4);
    plain!(LeaveGroupRequest, 0..=5);
    plain!(OffsetDeleteRequest, 0..=0);
    let describe = |_| DescribeGroupsRequest::default().with_groups(vec![group()]);
    asks.extend(every(address, 0..=6, NOT_COORDINATOR, describe, |_, it| {
        vec![it.groups[0].error_code]
    }));
    let delete = |_| DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    asks.extend(every(address, 0..=2, NOT_COORDINATOR, delete, |_, it| {
        vec![it.results[0].error_code]
    }));
    let list = |_| ListGroupsRequest::default();
    asks.extend(every(address, 0..=5, LOADING, list, |_, it| vec![it.error_code]));
    asks.extend(offsets(address));
    asks
}

fn offsets(address: &str) -> Vec<Ask> {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
    let commit = |_| {
        let partition = OffsetCommitRequestPartition::default();
        let of = OffsetCommitRequestTopic::default().with_name(topic());
        OffsetCommitRequest::default().with_topics(vec![of.with_partitions(vec![partition])])
    };
    let mut asks = every(address, 2..=9, NOT_COORDINATOR, commit, |_, it| {
        vec![it.topics[0].partitions[0].error_code]
    });
    let fetch = |version: i16| {
        if version >= 8 {
            let group = OffsetFetchRequestGroup::default().with_topics(None);
            return OffsetFetchRequest::default().with_groups(vec![group]);
        }
        let of = OffsetFetchRequestTopic::default().with_name(topic());
        let of = of.with_partition_indexes(vec![0]);
        OffsetFetchRequest::default().with_topics(Some(vec![of]))
    };
    asks.extend(every(address, 1..=9, NOT_COORDINATOR, fetch, |version, it| match version {
        1 => vec![it.topics[0].partitions[0].error_code],
        2..8 => vec![it.error_code],
        _ => vec![it.groups[0].error_code],
    }));
    asks
}

fn administration(address: &str) -> Vec<Ask> {
    use create_partitions_request::CreatePartitionsTopic;
    use create_topics_request::CreatableTopic;
    use delete_topics_request::DeleteTopicState;
    let create = |_| {
        let new = CreatableTopic::default().with_name(topic()).with_num_partitions(1);
        CreateTopicsRequest::default().with_topics(vec![new.with_replication_factor(1)])
    };
    let mut asks =
        every(address, 2..=7, NOT_CONTROLLER, create, |_, it| vec![it.topics[0].error_code]);
    let delete = |version: i16| match version {
        0..6 => DeleteTopicsRequest::default().with_topic_names(vec![topic()]),
        _ => DeleteTopicsRequest::default()
            .with_topics(vec![DeleteTopicState::default().with_name(Some(topic()))]),
    };
    asks.extend(every(address, 1..=6, NOT_CONTROLLER, delete, |_, it| {
        vec![it.responses[0].error_code]
    }));
    let grow = |_| {
        let to = CreatePartitionsTopic::default().with_name(topic()).with_count(2);
        CreatePartitionsRequest::default().with_topics(vec![to])
    };
    asks.extend(every(address, 0..=3, NOT_CONTROLLER, grow, |_, it| {
        vec![it.results[0].error_code]
    }));
    let elect = |_| {
        let of = elect_leaders_request::TopicPartitions::default().with_topic(topic());
        let of = of.with_partitions(vec![0]);
        ElectLeadersRequest::default().with_topic_partitions(Some(vec![of]))
    };
    asks.extend(every(address, 0..=2, NOT_CONTROLLER, elect, |_, it| {
        vec![it.replica_election_results[0].partition_result[0].error_code]
    }));
    macro_rules! resources {
        ($request:ident, $resource:expr, $versions:expr, $answers:ident) => {
            asks.extend(every(
                address,
                $versions,
                NOT_CONTROLLER,
                |_| $request::default().with_resources(vec![$resource]),
                |_, it| vec![it.$answers[0].error_code],
            ))
        };
    }
    let alter = alter_configs_request::AlterConfigsResource::default;
    let change = incremental_alter_configs_request::AlterConfigsResource::default;
    let describe = describe_configs_request::DescribeConfigsResource::default;
    resources!(AlterConfigsRequest, alter(), 0..=2, responses);
    resources!(IncrementalAlterConfigsRequest, change(), 0..=1, responses);
    resources!(DescribeConfigsRequest, describe(), 1..=4, results);
    macro_rules! top {
        ($request:ident, $versions:expr) => {
            asks.extend(every(
                address,
                $versions,
                NOT_CONTROLLER,
                |_| $request::default(),
                |_, it| vec![it.error_code],
            ))
        };
    }
    top!(ListPartitionReassignmentsRequest, 0..=0);
    top!(DescribeClientQuotasRequest, 0..=1);
    top!(ListConfigResourcesRequest, 0..=1);
    let dirs = |_| DescribeLogDirsRequest::default();
    asks.extend(every(address, 1..=4, STORAGE, dirs, |_, it| vec![it.results[0].error_code]));
    asks
}

/// What the metadata alone tells is told as ever: no client shall think that its topics are gone.
fn told(address: &str) -> Vec<Ask> {
    let metadata = |version: i16| {
        let request = MetadataRequest::default();
        if version == 0 { request.with_topics(Some(vec![])) } else { request.with_topics(None) }
    };
    let mut asks = every(address, 0..=13, 0, metadata, |_, it| {
        let known = it.topics.iter().find(|it| it.name == Some(topic())).unwrap();
        let [partition] = &known.partitions[..] else { panic!("one partition") };
        assert_eq!(it.brokers.len(), 1);
        vec![known.error_code, partition.error_code, i16::from(partition.leader_id.0 < 0)]
    });
    let cluster = |_| DescribeClusterRequest::default();
    asks.extend(every(address, 0..=2, 0, cluster, |_, it| {
        assert_eq!(it.brokers.len(), 1);
        vec![it.error_code]
    }));
    let partitions =
        |_| DescribeTopicPartitionsRequest::default().with_response_partition_limit(2000);
    asks.extend(every(address, 0..=0, 0, partitions, |_, it| {
        vec![it.topics.iter().find(|it| it.name == Some(topic())).unwrap().error_code]
    }));
    let versions = |version: i16| {
        let request = ApiVersionsRequest::default();
        if version < 3 {
            return request;
        }
        request.with_client_software_name(text("a")).with_client_software_version(text("1"))
    };
    asks.extend(every(address, 0..=4, 0, versions, |_, it| vec![it.error_code]));
    asks
}

/// Heartbeats until one is answered with `code`; the connection stays the same.
async fn beat_until(connection: &mut Connection, code: i16) {
    let beat = HeartbeatRequest::default().with_group_id(GroupId(text("g")));
    for _ in 0..3000 {
        if connection.call(4, &beat).await.unwrap().error_code == code {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no heartbeat was answered with {code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn between_incarnations_every_api_answers_with_what_clients_retry() {
    const UNKNOWN_MEMBER: i16 = 25;
    let Running { _root, address, broken, ask: _ask, ended: _ended, .. } = start();
    let mut client = topics::connect(&address).await;
    topics::create(&mut client, "t", 1, &[]).await;
    topics::coordinator(&mut client, "g").await;
    beat_until(&mut client, UNKNOWN_MEMBER).await;
    broken.store(true, Ordering::SeqCst);
    let mut producer = topics::connect(&address).await;
    producer.produce("t", 0, topics::batch(&["x"])).await.unwrap_err();
    beat_until(&mut client, NOT_COORDINATOR).await;

    let mut asks = records(&address);
    asks.extend(groups(&address));
    asks.extend(administration(&address));
    asks.extend(told(&address));
    futures::future::join_all(asks).await;
    let silent = ProduceRequest::default().with_transactional_id(None).with_acks(0);
    producer.send(9, &silent).await.unwrap();
    producer.list_offset("t", 0, -1).await.expect_err("a loss without an answer ends it");

    broken.store(false, Ordering::SeqCst);
    beat_until(&mut client, UNKNOWN_MEMBER).await;
    client.produce("t", 0, topics::batch(&["y"])).await.unwrap();
}

/// A whole frame of a batch sent to partition 0 of "t".
fn produce_frame(correlation: i32) -> BytesMut {
    let data = PartitionProduceData::default().with_records(Some(topics::batch(&["x"])));
    let to = TopicProduceData::default().with_name(topic()).with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(-1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![to]);
    let header = RequestHeader::default()
        .with_request_api_key(ProduceRequest::KEY)
        .with_request_api_version(9)
        .with_correlation_id(correlation)
        .with_client_id(Some(text("test")));
    let mut body = BytesMut::new();
    encode_request_header_into_buffer(&mut body, &header).unwrap();
    request.encode(&mut body, 9).unwrap();
    let mut frame = BytesMut::new();
    frame.put_u32(u32::try_from(body.len()).unwrap());
    frame.put(body);
    frame
}

/// Were one served after another was refused, a new producer's batches would be in disorder.
#[tokio::test(flavor = "multi_thread")]
async fn of_batches_in_flight_none_is_taken_after_one_was_refused() {
    let Running { _root, address, broken, ask: _ask, ended: _ended, .. } = start();
    let mut client = topics::connect(&address).await;
    topics::create(&mut client, "t", 1, &[]).await;
    topics::coordinator(&mut client, "g").await;
    broken.store(true, Ordering::SeqCst);
    let mut breaker = topics::connect(&address).await;
    breaker.produce("t", 0, topics::batch(&["x"])).await.unwrap_err();
    beat_until(&mut client, NOT_COORDINATOR).await;

    let mut producer = TcpStream::connect(&address).await.unwrap();
    let frames: Vec<_> = (0..20).map(produce_frame).collect();
    producer.write_all(&frames.concat()).await.unwrap();
    for correlation in 0..20 {
        let mut frame = vec![0; usize::try_from(producer.read_u32().await.unwrap()).unwrap()];
        producer.read_exact(&mut frame).await.unwrap();
        let mut frame = Bytes::from(frame);
        let header = ResponseHeader::decode(&mut frame, 1).unwrap();
        let answer = ProduceResponse::decode(&mut frame, 9).unwrap();
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!((header.correlation_id, code), (correlation, NOT_LEADER));
        // From the first answer on it may be served again at any time.
        broken.store(false, Ordering::SeqCst);
    }
}
