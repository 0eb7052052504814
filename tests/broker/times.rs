//! Time lookups are exact to the record wherever the records are: in memory, in a WAL that was
//! read again after kill -9, in objects alone, and above a cut in the middle of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proto_kafka::messages::{
    DeleteRecordsRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use strandline::{
    client::Connection,
    record::{BatchBuilder, Compression},
    types::{Millis, Offset},
};

use super::{
    SOON,
    support::{
        process::Setup,
        topics::{self, topic_name},
    },
};

const TOPIC: &str = "times";
const HOUR_MS: i64 = 3_600_000;

/// Appends records of these times, counted from `base`.
async fn put(client: &mut Connection, codec: Compression, base: i64, times: &[i64]) {
    let mut builder = BatchBuilder::new(codec);
    for time in times {
        builder.push(Millis(base + time), Some(b"key"), Some(b"value"));
    }
    let batch = builder.build().unwrap().bytes().clone();
    client.produce(TOPIC, 0, batch).await.unwrap();
}

/// Offset and time that `timestamp` leads to.
async fn told(client: &mut Connection, timestamp: i64) -> (i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topic =
        ListOffsetsTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let answer = client.call(8, &request).await.unwrap();
    let told = &answer.topics[0].partitions[0];
    assert_eq!(told.error_code, 0, "{timestamp}");
    (told.offset, told.timestamp)
}

async fn check(client: &mut Connection, base: i64, cases: &[(i64, i64, i64)], place: &str) {
    for (time, offset, expected) in cases {
        let told = told(client, base + time).await;
        assert_eq!(told, (*offset, base + expected), "{place}: {time}");
    }
}

async fn delete_before(client: &mut Connection, offset: i64) {
    let partition = DeleteRecordsPartition::default().with_offset(offset);
    let topic =
        DeleteRecordsTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let answer = client.call(2, &request).await.unwrap();
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.low_watermark), (0, offset));
}

/// Lets retention delete all runs but the newest.
async fn keep_one_run(client: &mut Connection) {
    let config =
        AlterableConfig::default().with_name("retention.bytes".into()).with_value(Some("1".into()));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(TOPIC.into())
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = client.call(1, &request).await.unwrap();
    assert_eq!(answer.responses[0].error_code, 0);
}

#[tokio::test]
async fn times_lead_to_the_very_record_over_restarts_disks_and_cuts() {
    let root = tempfile::tempdir().unwrap();
    let setup =
        Setup::folders(root.path()).with(&["--retention-check", "200ms", "--roll-after", "10m"]);
    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    topics::create(&mut client, TOPIC, 1, &[("retention.ms", "-1")]).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let base = i64::try_from(now).unwrap() - 2 * HOUR_MS;
    put(&mut client, Compression::Zstd, base, &[10, 90, 30]).await;
    put(&mut client, Compression::None, base, &[20, 25]).await;
    put(&mut client, Compression::Gzip, base, &[40, 35, 60]).await;
    let old = [(0, 0, 10), (11, 1, 90), (90, 1, 90)];
    check(&mut client, base, &old, "memory").await;
    assert_eq!(told(&mut client, -3).await, (1, base + 90));
    broker.kill();

    let broker = setup.start();
    let mut client = topics::connect(&broker.kafka()).await;
    check(&mut client, base, &old, "a WAL read again").await;
    assert_eq!(told(&mut client, base + 91).await, (-1, -1));
    put(&mut client, Compression::Lz4, base + 2 * HOUR_MS, &[5, 1]).await;
    put(&mut client, Compression::Snappy, base + 2 * HOUR_MS, &[3, 7, 2]).await;
    assert!(broker.drain(SOON).success());
    std::fs::remove_dir_all(&setup.wal).unwrap();

    let broker = setup.elsewhere(root.path()).start();
    let mut client = topics::connect(&broker.kafka()).await;
    check(&mut client, base, &old, "objects").await;
    let new = [(0, 8, 5), (5, 8, 5), (6, 11, 7), (7, 11, 7)];
    check(&mut client, base + 2 * HOUR_MS, &new, "objects").await;
    assert_eq!(told(&mut client, -3).await, (11, base + 2 * HOUR_MS + 7));
    delete_before(&mut client, 2).await;
    let left = [(0, 2, 30), (31, 5, 40), (41, 7, 60)];
    check(&mut client, base, &left, "above deleted records").await;

    // The old ones are one run, the new ones another.
    keep_one_run(&mut client).await;
    let began = Instant::now();
    while client.list_offset(TOPIC, 0, -2).await.unwrap() < Offset(8) {
        assert!(began.elapsed() < SOON, "nothing is deleted\n{}", broker.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    check(&mut client, base + 2 * HOUR_MS, &new, "above a retention cut").await;
    assert_eq!(told(&mut client, 0).await, (8, base + 2 * HOUR_MS + 5));
    delete_before(&mut client, 12).await;
    assert_eq!(told(&mut client, -3).await, (12, base + 2 * HOUR_MS + 2), "of those that live");
    assert_eq!(told(&mut client, base + 2 * HOUR_MS + 3).await, (-1, -1));
}
