//! What must hold for any bytes a client sends: of a stream, of a frame.
//!
//! Owns: the properties, and good bytes to start from. Does not own: where bytes come from
//! (`crate::hostile`). Invariants: a property panics when it is broken and for nothing else; every
//! API served has its decoder here.

use std::{fmt::Debug, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use proto_kafka::{
    messages::*,
    protocol::{Decodable, Encodable},
};
use tokio::sync::watch;

use super::{
    Config, Metrics, Service, Services, api, frame,
    guard::Guarded,
    reader::{FrameReader, ReadError},
    server::Shared,
    versions,
};
use crate::{
    env::{clock::SystemClock, task::Tasks},
    types::ByteCount,
};

/// Largest frame in [`stream`].
const MAX_REQUEST: ByteCount = ByteCount::kib(512);

macro_rules! decoders {
    ($($key:ident: $request:ty),* $(,)?) => {
        fn read(key: ApiKey, body: &Bytes, version: i16) -> bool {
            match key {
                $(ApiKey::$key => one::<$request>(body, version),)*
                _ => return false,
            }
            true
        }

        fn good(key: ApiKey, version: i16) -> Option<BytesMut> {
            match key {
                $(ApiKey::$key => written(&<$request>::default(), version),)*
                _ => None,
            }
        }
    };
}

decoders! {
    Produce: ProduceRequest,
    Fetch: FetchRequest,
    ListOffsets: ListOffsetsRequest,
    Metadata: MetadataRequest,
    OffsetCommit: OffsetCommitRequest,
    OffsetFetch: OffsetFetchRequest,
    FindCoordinator: FindCoordinatorRequest,
    JoinGroup: JoinGroupRequest,
    Heartbeat: HeartbeatRequest,
    LeaveGroup: LeaveGroupRequest,
    SyncGroup: SyncGroupRequest,
    DescribeGroups: DescribeGroupsRequest,
    ListGroups: ListGroupsRequest,
    ApiVersions: ApiVersionsRequest,
    CreateTopics: CreateTopicsRequest,
    DeleteTopics: DeleteTopicsRequest,
    DeleteRecords: DeleteRecordsRequest,
    InitProducerId: InitProducerIdRequest,
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest,
    DescribeConfigs: DescribeConfigsRequest,
    AlterConfigs: AlterConfigsRequest,
    DescribeLogDirs: DescribeLogDirsRequest,
    CreatePartitions: CreatePartitionsRequest,
    DeleteGroups: DeleteGroupsRequest,
    ElectLeaders: ElectLeadersRequest,
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest,
    ListPartitionReassignments: ListPartitionReassignmentsRequest,
    OffsetDelete: OffsetDeleteRequest,
    DescribeClientQuotas: DescribeClientQuotasRequest,
    DescribeCluster: DescribeClusterRequest,
    ListConfigResources: ListConfigResourcesRequest,
    DescribeTopicPartitions: DescribeTopicPartitionsRequest,
}

/// A frame without its length: its head, then the body as its API and version say.
pub fn request(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let Ok(request) = frame::Request::parse(frame) else { return };
    assert!(request.client_name().len() <= bytes.len().saturating_mul(3));
    if api::find(request.key, request.version).is_err() {
        return;
    }
    if request.key == ApiKey::ApiVersions {
        if let Ok((version, answer)) = versions::answer(request.version, request.body.clone()) {
            written(&answer, version).expect("ApiVersions is always answered");
        }
        if !(0..=versions::NEWEST).contains(&request.version) {
            return;
        }
    }
    match request.key {
        ApiKey::Produce => {
            api::produce::decodes_as_another_codec(&request.body, request.version);
        }
        ApiKey::Fetch => api::fetch::decodes_as_another_codec(&request.body, request.version),
        // Beyond what the other codec reads.
        ApiKey::OffsetCommit if request.version >= 10 => {
            api::offset_commit::decodes_as_another_codec(&request.body);
        }
        ApiKey::OffsetFetch if request.version >= 10 => {
            api::offset_fetch::decodes_as_another_codec(&request.body);
        }
        _ => assert!(read(request.key, &request.body, request.version), "{:?}", request.key),
    }
}

fn one<R: Decodable + Encodable + PartialEq + Debug>(body: &Bytes, version: i16) {
    let Ok(request) = R::decode(&mut Guarded::new(body.clone()), version) else { return };
    let again = written(&request, version).expect("what was decoded can be encoded");
    // Read without the guard: it goes by the bytes left, and those after the request are gone.
    let again = R::decode(&mut again.freeze(), version).ok();
    assert_eq!(again, Some(request), "a request reads as it is written");
}

fn written(message: &impl Encodable, version: i16) -> Option<BytesMut> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).ok().map(|()| bytes)
}

/// What a client sends from its first byte to its last.
pub fn stream(bytes: &[u8]) {
    let (_service, service) = watch::channel(Service::Starting);
    // The largest frame takes all the memory there is.
    let request_memory = ByteCount(0);
    let config = Config { max_request: MAX_REQUEST, request_memory, ..Config::default() };
    let services = Services { service, clock: Arc::new(SystemClock) };
    let shared = Arc::new(Shared::new(config, services, Metrics::default(), Tasks::new()));
    let memory = shared.memory.available_permits();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without threads");
    let mut reader = FrameReader::new(bytes, Arc::clone(&shared));
    let mut rest = bytes;
    let ended = loop {
        match runtime.block_on(reader.next(|| false)) {
            Ok(frame) => {
                let length = usize::try_from(rest.get_u32()).unwrap_or(usize::MAX);
                assert_eq!(Some(&frame.bytes[..]), rest.get(..length), "frames are what was sent");
                rest.advance(length);
            }
            Err(ended) => break ended,
        }
    };
    assert!(!matches!(ended, ReadError::TimedOut | ReadError::Socket(_)), "{ended:?}");
    assert_eq!(shared.memory.available_permits(), memory, "frames gave their memory back");
}

fn framed(key: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i16(versions::number(key));
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(1);
    frame.put_u8(b'c');
    if key.request_header_version(version) >= 2 {
        frame.put_u8(0);
    }
    frame.put_slice(body);
    frame.to_vec()
}

/// A request of every API in its oldest and newest version, and some that say more.
#[must_use]
pub fn request_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for api in api::APIS {
        for version in [*api.versions.start(), *api.versions.end()] {
            seeds.extend(good(api.key, version).map(|body| framed(api.key, version, &body)));
        }
    }
    let produce = b"\xff\xff\xff\xff\0\0\0\x05\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x07\0\0\0\x02rr";
    seeds.push(framed(ApiKey::Produce, 7, produce));
    let produce = b"\0\xff\xff\0\0\0\x05\x02\x02t\x02\0\0\0\x07\x03rr\0\0\0";
    seeds.push(framed(ApiKey::Produce, 9, produce));
    let metadata = b"\0\0\0\x02\0\x01a\0\x01b\0";
    seeds.push(framed(ApiKey::Metadata, 4, metadata));
    let topic = [b"\x02".as_slice(), &[7; 16], b"\x02\0\0\0\x03\0\0\0\x01\0\0\0\0\0\0\0\x09"];
    let tail = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\x63\0\0\x01\x01\0";
    let head = b"\0\0\x01\xf4\0\0\0\x01\0\0\x03\xe8\x01\0\0\0\x4d\0\0\0\x08";
    seeds.push(framed(ApiKey::Fetch, 15, &[head, &topic.concat()[..], tail].concat()));
    let topic = [b"\x02".as_slice(), &[7; 16], b"\x02\0\0\0\x03"].concat();
    let commit = [b"\x02g\0\0\0\x07\x02m\0".as_slice(), &topic].concat();
    let commit = [&commit[..], b"\0\0\0\0\0\0\0\x09\0\0\0\x01\x02x\0\0\0"].concat();
    seeds.push(framed(ApiKey::OffsetCommit, 10, &commit));
    let fetch = [b"\x02\x02g\0\xff\xff\xff\xff".as_slice(), &topic, b"\0\0\x01\0"].concat();
    seeds.push(framed(ApiKey::OffsetFetch, 10, &fetch));
    let types = b"\x06\x02\x04\x08\x10\x20\0";
    seeds.push(framed(ApiKey::ListConfigResources, 1, types));
    seeds
}

/// Frames one after the other.
#[must_use]
pub fn stream_seeds() -> Vec<Vec<u8>> {
    let with_length = |frame: &[u8]| {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        [&length.to_be_bytes()[..], frame].concat()
    };
    let frames: Vec<_> = request_seeds().iter().map(|frame| with_length(frame)).collect();
    let large = with_length(&vec![0; 70_000]);
    vec![frames.concat(), [&frames.concat(), &large[..], &frames.concat()].concat(), large]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_served_has_its_decoder_among_the_targets() {
        for api in api::APIS {
            assert!(read(api.key, &Bytes::new(), *api.versions.end()), "{}", api.name);
        }
    }

    #[test]
    fn the_good_requests_are_read() {
        for (at, seed) in request_seeds().into_iter().enumerate() {
            let request = frame::Request::parse(seed.into()).unwrap();
            api::find(request.key, request.version).unwrap();
            let whole = match request.key {
                ApiKey::ListConfigResources => {
                    api::decode::<ListConfigResourcesRequest>(request.body, request.version)
                        .map(drop)
                }
                ApiKey::Metadata => {
                    api::decode::<MetadataRequest>(request.body, request.version).map(drop)
                }
                _ => Ok(()),
            };
            whole.unwrap_or_else(|error| panic!("seed {at}, {:?}: {error}", request.key));
        }
    }
}
