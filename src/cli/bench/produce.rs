//! Writing: as fast as it goes, or so many records a second.
//!
//! Each connection has a half that sends and a half that hears; between them stand the requests
//! in flight, at most as many as a window allows.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

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
    client::{PreparedProduce, Receiver, Sender},
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
    let count = connections.len();
    let mut ticks: Vec<_> = match plan.rate {
        Some(rate) => pace::start(env.clock.clone(), rate, progress.end(), count)?,
        None => Vec::new(),
    };
    // One for all: a histogram is large, and this is one thread.
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let mut halves = Vec::new();
    for (lane, (sender, receiver)) in connections {
        let ticks = ticks.pop();
        let writer = Writer {
            prepared: prepare(&sender, &lane, &run.target.name(), plan.acks)?,
            batches: batches.clone(),
            records: plan.content.records,
            window: Arc::new(Semaphore::new(usize::try_from(plan.in_flight)?)),
            progress: progress.clone(),
        };
        let (sent, waiting) = mpsc::channel(usize::try_from(plan.in_flight)?);
        let records = plan.content.records;
        let listener = listen(receiver, waiting, records, progress.clone(), tally.clone());
        halves.push(async { tokio::try_join!(writer.send(sender, ticks, sent), listener) });
    }
    let done = try_join_all(halves).await;
    let took = progress.took();
    tasks.stop().await;
    drop(done?);
    let partitions = leaders.partitions();
    let load =
        Load { name: plan.name, topic: &run.target.topic, partitions, connections: count, took };
    Report::of(&load, std::slice::from_ref(&tally.borrow()))
}

/// A request for each partition of `lane`.
fn prepare(
    sender: &Sender,
    lane: &Lane,
    topic: &TopicName,
    acks: i16,
) -> anyhow::Result<Vec<PreparedProduce>> {
    let prepare = |partition: &i32| {
        let data =
            PartitionProduceData::default().with_index(*partition).with_records(Some(Bytes::new()));
        let topic =
            TopicProduceData::default().with_name(topic.clone()).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![topic]);
        Ok(sender.prepare(VERSION, &request)?)
    };
    lane.partitions.iter().map(prepare).collect()
}

/// The sending half of one connection, which it gives back at the end.
struct Writer {
    /// By partition.
    prepared: Vec<PreparedProduce>,
    batches: Arc<[Bytes]>,
    records: u64,
    window: Arc<Semaphore>,
    progress: Progress,
}

impl Writer {
    async fn send(
        mut self,
        mut sender: Sender,
        mut ticks: Option<mpsc::Receiver<Duration>>,
        sent: mpsc::Sender<Sent>,
    ) -> anyhow::Result<Sender> {
        let (mut turn, partitions) = (0, self.prepared.len());
        for batch in self.batches.iter().cycle() {
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
            let Some(request) = self.prepared.get_mut(turn) else { break };
            sender.send_prepared(request, batch).await?;
            turn = (turn + 1) % partitions;
        }
        // Closed now, the connection would end before its last answers.
        Ok(sender)
    }
}

/// The hearing half.
async fn listen(
    mut receiver: Receiver,
    mut waiting: mpsc::Receiver<Sent>,
    records: u64,
    progress: Progress,
    tally: Rc<RefCell<Tally>>,
) -> anyhow::Result<()> {
    while let Some(sent) = waiting.recv().await {
        let answer = receiver.receive::<ProduceRequest>(VERSION).await?;
        let now = progress.now();
        let mut tally = tally.borrow_mut();
        progress.answered(&mut tally, sent.due, now);
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        match partitions.map(|partition| partition.error_code).find(|code| *code != 0) {
            None => progress.done(&mut tally, now, records, sent.bytes),
            Some(code) => tally.refused(code),
        }
    }
    Ok(())
}
