//! The hot cores one by one: `cargo bench --bench cores`. What a change to one of them costs shows
//! here before it shows in `scripts/compare`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions, missing_docs)]

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use proto_kafka::{
    messages::{
        ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::Encodable,
};
use std::hint::black_box;
use strandline::{
    crc::Crc32c,
    kafka::measured as kafka,
    object::{BLOCK_BYTES, BatchInput, Builder, Footer, RunInput},
    record::{BatchBuilder, Check, Compression, Limits, Rules, update_crc},
    types::{Incarnation, LeaderEpoch, Millis, ObjectId, Offset, PartitionId, TopicId},
    wal::measured as wal,
};

const BATCH_RECORDS: usize = 128;
const RECORD_BYTES: usize = 1024;

/// A batch of records whose bytes no codec makes small.
fn batch(compression: Compression) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut batch = BatchBuilder::new(compression);
    for _ in 0..BATCH_RECORDS {
        let value: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(RECORD_BYTES)
        .collect();
        batch.push(Millis(1), None, Some(&value));
    }
    batch.build().unwrap().bytes().clone()
}

fn bytes(of: &Bytes) -> Throughput {
    Throughput::Bytes(of.len() as u64)
}

fn record_check(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record/check");
    for (name, codec) in [("plain", Compression::None), ("lz4", Compression::Lz4)] {
        let batch = batch(codec);
        let rules = Rules {
            max_bytes: batch.len(),
            compacted: false,
            log_append_time: false,
            now: Millis(1),
            before_max_ms: i64::MAX,
            after_max_ms: i64::MAX,
            limits: Limits::for_batches_of(batch.len()),
        };
        group.throughput(bytes(&batch));
        group.bench_function(name, |bencher| {
            bencher.iter(|| Check::begin(batch.clone(), rules).unwrap().finish().unwrap());
        });
    }
    group.finish();
}

/// What the WAL thread computes of a group before it writes it: its CRC, put together from those of
/// its batches, and the entry's head.
fn wal_entry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal/entry");
    for batches in [1, 8] {
        let payload = vec![batch(Compression::None); batches];
        let payload_bytes = (payload[0].len() * batches) as u32;
        group.throughput(Throughput::Bytes(payload_bytes.into()));
        group.bench_function(format!("{batches} batches"), |bencher| {
            bencher.iter(|| {
                let mut crc = Crc32c::default();
                for batch in black_box(&payload) {
                    update_crc(&mut crc, batch);
                }
                wal::entry_crc(1, payload_bytes, crc.value())
            });
        });
    }
    group.finish();
}

/// An object of 64 MiB: 16 partitions in turn, 32 batches of 128 KiB each.
fn runs() -> Vec<RunInput> {
    let bytes = batch(Compression::None);
    let records = BATCH_RECORDS as i64;
    let batch = |at: i64| BatchInput {
        bytes: bytes.clone(),
        base: Offset(at * records),
        end: Offset((at + 1) * records),
        max_timestamp: Millis(1),
        append_ms: Millis(1),
        leader_epoch: LeaderEpoch(0),
    };
    let run = |index| RunInput {
        partition: PartitionId { topic: TopicId::default(), index },
        batches: (0..32).map(batch).collect(),
        producers: Vec::new(),
        aborted: Vec::new(),
    };
    (0..16).map(run).collect()
}

fn object_of(runs: Vec<RunInput>) -> (u64, Bytes) {
    let mut builder = Builder::new(ObjectId(1), Incarnation(1), BLOCK_BYTES);
    for run in runs {
        builder.push_run(run).unwrap();
    }
    let built = builder.finish();
    (built.bytes, built.payload.last().unwrap().clone())
}

fn object(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("object");
    let (object_bytes, tail) = object_of(runs());
    group.throughput(Throughput::Bytes(object_bytes));
    group.bench_function("build", |bencher| {
        bencher.iter_batched(runs, object_of, BatchSize::LargeInput);
    });
    group.throughput(bytes(&tail));
    group.bench_function("footer read", |bencher| {
        bencher.iter(|| Footer::decode(object_bytes, black_box(&tail)).unwrap());
    });
    group.finish();
}

fn wire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kafka");
    let batch = batch(Compression::None);
    for partitions in [1, 16] {
        let body = produce_body(partitions, &batch);
        group.bench_function(format!("produce decode, {partitions} partitions"), |bencher| {
            bencher.iter(|| kafka::decode_produce(body.clone(), 7).unwrap());
        });
        let batches = vec![batch.clone(); 8];
        group.bench_function(format!("fetch encode, {partitions} partitions"), |bencher| {
            bencher.iter(|| kafka::encode_fetch(11, partitions, black_box(&batches)));
        });
    }
    group.finish();
}

fn produce_body(partitions: i32, batch: &Bytes) -> Bytes {
    let data =
        |index| PartitionProduceData::default().with_index(index).with_records(Some(batch.clone()));
    let topic = TopicProduceData::default()
        .with_name(TopicName("orders".into()))
        .with_partition_data((0..partitions).map(data).collect());
    let mut body = BytesMut::new();
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    request.encode(&mut body, 7).unwrap();
    body.freeze()
}

criterion_group!(cores, record_check, wal_entry, object, wire);
criterion_main!(cores);
