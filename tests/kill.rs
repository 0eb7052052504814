//! kill -9 at any moment under load: every acknowledged record is there, once, at its offset, also
//! when its producer sent it again because no answer came.

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use strandline::{
    client::{Connection, Error},
    types::Offset,
};
use support::{
    process::{Broker, Setup},
    s3_double::{Fault, S3Double},
    topics,
};

const PARTITIONS: i32 = 4;

#[derive(Default)]
struct History {
    acknowledged: Mutex<BTreeMap<String, (i32, Offset)>>,
    sent: Mutex<u64>,
    repeated: Mutex<u64>,
}

/// Sends batches of unique values, each once, whatever becomes of it.
async fn produce(address: String, producer: i32, history: Arc<History>, stop: Arc<AtomicBool>) {
    let partition = producer % PARTITIONS;
    let mut connection: Option<Connection> = None;
    let mut next = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = connection.as_mut() else {
            connection = Connection::open(&address, "load").await.ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let count = next % 7 + 1;
        let values: Vec<String> = (0..count)
            .map(|index| format!("{producer}/{}/{}", next + index, "x".repeat(200)))
            .collect();
        next += count;
        *history.sent.lock().unwrap() += count;
        match open.produce("load", partition, topics::batch(&values)).await {
            Ok(ack) => {
                let mut acknowledged = history.acknowledged.lock().unwrap();
                for (index, value) in values.into_iter().enumerate() {
                    let offset = ack.base_offset.advance(index.try_into().unwrap());
                    acknowledged.insert(value, (partition, offset));
                }
            }
            Err(_) => connection = None,
        }
    }
}

/// Sends one value after the other as an idempotent producer: each again and again until it is
/// acknowledged, on whatever connection there is.
async fn insist(address: String, producer: i32, history: Arc<History>, stop: Arc<AtomicBool>) {
    let partition = producer % PARTITIONS;
    let mut connection: Option<Connection> = None;
    let (mut sequence, mut last) = (0, Offset(-1));
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = connection.as_mut() else {
            connection = Connection::open(&address, "load").await.ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let value = format!("insisting/{producer}/{sequence}");
        let batch = topics::idempotent_batch(i64::from(producer), sequence, &value);
        match open.produce("load", partition, batch).await {
            Ok(ack) => {
                assert!(ack.base_offset > last, "{value} at {} after {last}", ack.base_offset);
                last = ack.base_offset;
                let mut acknowledged = history.acknowledged.lock().unwrap();
                acknowledged.insert(value, (partition, ack.base_offset));
                *history.sent.lock().unwrap() += 1;
                sequence += 1;
            }
            Err(Error::Refused(code)) if code == 45 || code == 47 => {
                panic!("{value} was refused with {code}: its producer is not known as it was")
            }
            Err(_) => {
                *history.repeated.lock().unwrap() += 1;
                connection = None;
            }
        }
    }
}

/// Kills `kills` times under load, calling `trouble` before each; then compares.
async fn kill_under_load(setup: Setup, kills: u64, trouble: impl Fn()) {
    // Small segments, so that kills meet rolls, uploads and trims as well.
    let setup = setup.with(&["--roll-bytes", "1MiB", "--roll-after", "300ms"]);
    let mut broker = setup.start();
    let mut control = topics::connect(&broker.kafka()).await;
    topics::create(&mut control, "load", PARTITIONS, &[]).await;
    let (history, stop) = (Arc::new(History::default()), Arc::new(AtomicBool::new(false)));
    let producers: Vec<_> = (0..PARTITIONS * 2)
        .map(|producer| {
            tokio::spawn(produce(broker.kafka(), producer, history.clone(), stop.clone()))
        })
        .chain((0..PARTITIONS).map(|producer| {
            tokio::spawn(insist(broker.kafka(), producer, history.clone(), stop.clone()))
        }))
        .collect();
    let mut longest = Duration::ZERO;
    for kill in 0..kills {
        trouble();
        tokio::time::sleep(Duration::from_millis(150 + kill * 137 % 900)).await;
        broker.kill();
        let began = Instant::now();
        broker = setup.start();
        longest = longest.max(began.elapsed());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    for producer in producers {
        producer.await.unwrap();
    }
    compare(&broker, &history, kills, longest).await;
}

async fn compare(broker: &Broker, history: &History, kills: u64, longest: Duration) {
    let mut control = topics::connect(&broker.kafka()).await;
    let mut found: BTreeMap<String, Vec<(i32, Offset)>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for (offset, value) in topics::read_all(&mut control, "load", partition).await {
            found.entry(String::from_utf8(value).unwrap()).or_default().push((partition, offset));
        }
    }
    let acknowledged = history.acknowledged.lock().unwrap();
    let lost = acknowledged.iter().filter(|(value, at)| found.get(*value) != Some(&vec![**at]));
    let lost: Vec<_> = lost.map(|(value, at)| (&value[..12], at, found.get(value))).collect();
    let doubled = found.values().filter(|places| places.len() > 1).count();
    let sent = *history.sent.lock().unwrap();
    println!(
        "kills {kills}, sent {sent}, repeated {}, acked {}, found {}, lost {}, \
         doubled {doubled}, longest restart {longest:?}",
        history.repeated.lock().unwrap(),
        acknowledged.len(),
        found.len(),
        lost.len()
    );
    assert!(acknowledged.len() > 100, "hardly anything was acknowledged\n{}", broker.log());
    assert!(lost.is_empty() && doubled == 0, "{:?}", lost.first());
    assert!(*history.repeated.lock().unwrap() > 0, "nothing had to be sent again");
}

/// How many kills: few in the inner loop, more in scripts/test and when asked.
fn kills() -> u64 {
    std::env::var("STRANDLINE_TEST_KILLS").map_or(3, |kills| kills.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_kill_9_under_load_once_and_at_their_offset() {
    let root = tempfile::tempdir().unwrap();
    kill_under_load(Setup::folders(root.path()), kills(), || {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_kill_9_on_a_store_that_loses_its_answers() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let setup = Setup::on_double(root.path(), &double);
    kill_under_load(setup, kills(), || {
        double.calm();
        let late = Fault::Late(Duration::from_millis(700));
        for (part, fault) in [
            ("meta/log", Fault::AnswerAfter(500, "InternalError")),
            ("data/", Fault::FinAfter),
            ("meta/log", Fault::RstAfter),
            ("data/", Fault::Answer(503, "SlowDown")),
            ("meta/lease", Fault::AnswerAfter(503, "SlowDown")),
            ("meta/log", Fault::Answer(409, "ConditionalRequestConflict")),
            ("data/", late),
            ("meta/log", Fault::Repeated),
            ("data/", Fault::HalfStatusAfter),
        ] {
            double.next("PUT", part, fault);
        }
        double.next("GET", "data/", Fault::HalfBody);
        double.next("GET", "meta/log", Fault::Fin);
    })
    .await;
}
