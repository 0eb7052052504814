//! Writing: as fast as it goes, or so many records a second.
//!
//! Each connection has a half that sends and a half that hears; between them stand the requests
//! in flight, at most as many as a window allows.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::try_join_all;
use proto_kafka::messages::{
    ProduceRequest, TopicName,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    Latency, Produce, Run, Shape, pace,
    payload::Content,
    progress::Progress,
    report::{Load, Report, Tally},
    target::Lane,
};
use crate::{
    client::{Receiver, Sender},
    env::{Env, task::Tasks},
    record::Compression,
};

/// The version every broker from Kafka 2.1 on speaks.
const VERSION: i16 = 7;
const TIMEOUT_MS: i32 = 30_000;
/// Single records in flight on a connection: enough that a rate is not held back by answers.
const SINGLES_IN_FLIGHT: u32 = 1_000;

/// Who writes what.
struct Plan {
    name: &'static str,
    content: Content,
    acks: i16,
    in_flight: u32,
    /// Requests a second over all connections.
    rate: Option<f64>,
}

/// A request that waits for its answer.
struct Sent {
    /// When it was due, in boot time.
    due: Duration,
    bytes: u64,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn at_full_speed(order: &Produce) -> anyhow::Result<Report> {
    let Shape { record_bytes, acks, .. } = order.shape;
    let content = Content::of_bytes(order.batch_bytes.0, record_bytes.0, order.compression);
    let batches = |rate: f64| {
        // Records in a batch are at most some millions.
        #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "below 2^53")]
        let records = content.records as f64;
        rate / records
    };
    let plan = Plan {
        name: "produce",
        content,
        acks,
        in_flight: order.in_flight.max(1),
        rate: order.rate.map(batches),
    };
    run(&order.run, &order.shape, plan).await
}

pub(super) async fn one_by_one(order: &Latency) -> anyhow::Result<Report> {
    let content = Content::of_bytes(1, order.shape.record_bytes.0, Compression::None);
    let plan = Plan {
        name: "latency",
        content,
        acks: order.shape.acks,
        in_flight: SINGLES_IN_FLIGHT,
        rate: Some(order.rate),
    };
    run(&order.run, &order.shape, plan).await
}

async fn run(run: &Run, shape: &Shape, plan: Plan) -> anyhow::Result<Report> {
    anyhow::ensure!(
        plan.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0),
        "--rate must be more than 0"
    );
    let env = Env::real();
    let leaders = run.target.leaders(Some(shape.partitions)).await?;
    let lanes = leaders.share(shape.connections);
    let mut connections = Vec::new();
    for lane in lanes {
        let connection = run.target.connect(&lane.leader).await?;
        connections.push((lane, connection.split()));
    }
    let batches: Arc<[Bytes]> = plan.content.build(&env)?.into();
    let progress = Progress::begin(run, &env);
    let tasks = Tasks::new();
    progress.show(&tasks)?;
    let share = u32::try_from(connections.len()).map_or(f64::INFINITY, f64::from);
    let mut halves = Vec::new();
    for (lane, (sender, receiver)) in connections {
        let ticks = match plan.rate {
            Some(rate) => Some(pace::start(env.clock.clone(), rate / share, progress.end())?),
            None => None,
        };
        let writer = Writer {
            lane,
            topic: run.target.name(),
            acks: plan.acks,
            batches: batches.clone(),
            records: plan.content.records,
            window: Arc::new(Semaphore::new(usize::try_from(plan.in_flight)?)),
            progress: progress.clone(),
        };
        let (sent, waiting) = mpsc::channel(usize::try_from(plan.in_flight)?);
        let records = plan.content.records;
        let listener = listen(receiver, waiting, records, progress.clone());
        halves.push(async { tokio::try_join!(writer.send(sender, ticks, sent), listener) });
    }
    let done = try_join_all(halves).await;
    let took = progress.took();
    tasks.stop().await;
    let tallies: Vec<Tally> = done?.into_iter().map(|(_, tally)| tally).collect();
    let partitions = leaders.partitions();
    let load = Load { name: plan.name, topic: &run.target.topic, partitions, took };
    Report::of(&load, &tallies)
}

/// The sending half of one connection, which it gives back at the end.
struct Writer {
    lane: Lane,
    topic: TopicName,
    acks: i16,
    batches: Arc<[Bytes]>,
    records: u64,
    window: Arc<Semaphore>,
    progress: Progress,
}

impl Writer {
    async fn send(
        self,
        mut sender: Sender,
        mut ticks: Option<mpsc::Receiver<Duration>>,
        sent: mpsc::Sender<Sent>,
    ) -> anyhow::Result<Sender> {
        let partitions = self.lane.partitions.iter().cycle();
        for (partition, batch) in partitions.zip(self.batches.iter().cycle()) {
            let due = match &mut ticks {
                Some(ticks) => ticks.recv().await,
                None => Some(Duration::ZERO),
            };
            let Some(due) = due else { break };
            let place = self.window.clone().acquire_owned().await?;
            if !self.progress.claim(self.records) {
                break;
            }
            // Without a rate a request is due when there is room for it.
            let due = if ticks.is_some() { due } else { self.progress.now() };
            let bytes = u64::try_from(batch.len())?;
            // Closed only when the other half failed, which says why.
            if sent.send(Sent { due, bytes, _place: place }).await.is_err() {
                break;
            }
            sender.send(VERSION, &self.request(*partition, batch.clone())).await?;
        }
        // Closed now, the connection would end before its last answers.
        Ok(sender)
    }

    fn request(&self, partition: i32, batch: Bytes) -> ProduceRequest {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(self.topic.clone())
            .with_partition_data(vec![data]);
        ProduceRequest::default()
            .with_acks(self.acks)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![topic])
    }
}

/// The hearing half.
async fn listen(
    mut receiver: Receiver,
    mut waiting: mpsc::Receiver<Sent>,
    records: u64,
    progress: Progress,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    while let Some(sent) = waiting.recv().await {
        let answer = receiver.receive::<ProduceRequest>(VERSION).await?;
        tally.took(progress.now().saturating_sub(sent.due));
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        match partitions.map(|partition| partition.error_code).find(|code| *code != 0) {
            None => progress.done(&mut tally, records, sent.bytes),
            Some(code) => tally.refused(code),
        }
    }
    Ok(tally)
}
