//! Clients under load: producers of every kind, followers that commit, observers. Each takes down
//! what it was told.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto_kafka::{
    messages::{
        InitProducerIdRequest, OffsetCommitRequest, OffsetFetchRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::OffsetFetchRequestTopic,
    },
    protocol::StrBytes,
};
use strandline::{
    client::{Connection, Error},
    record::{BatchBuilder, BatchView, Compression, Limits},
    types::{Millis, Offset, ProducerEpoch, ProducerId},
};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    history::{Batch, History, Log, Op, Outcome, Recorder, Value, What},
    support::topics,
};

pub(crate) const TOPIC: &str = "load";
/// Partitions of it.
pub(crate) const PARTITIONS: i32 = 3;
/// A client gives up an answer after so long; a paused broker costs that much.
const PATIENCE: Duration = Duration::from_secs(4);
/// Batches of one producer under way, as clients have them.
const IN_FLIGHT: usize = 5;
const PADDING: usize = 120;

/// All clients of a run.
pub(crate) struct Load {
    shared: Shared,
    producers: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Shared {
    address: String,
    recorder: Recorder,
    /// Producers stop.
    stop: Arc<AtomicBool>,
    /// Followers stop where the log ends.
    ends: Arc<Mutex<Option<Vec<i64>>>>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn complain(&self, text: String) {
        self.complaints.lock().unwrap().push(text);
    }

    async fn connect(&self) -> Option<Connection> {
        let opened = timeout(PATIENCE, Connection::open(&self.address, "chaos")).await;
        if let Ok(Ok(connection)) = opened {
            return Some(connection);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        None
    }
}

/// An answer within the patience of a client; silence is a broken connection.
async fn patiently<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silence = || Error::Io(std::io::ErrorKind::TimedOut.into());
    timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(silence()))
}

async fn backoff() {
    tokio::time::sleep(Duration::from_millis(40)).await;
}

impl Load {
    /// Starts clients of a broker at `address`, which has the topic.
    pub(crate) fn start(address: &str) -> Self {
        let shared = Shared {
            address: address.to_owned(),
            recorder: Recorder::default(),
            stop: Arc::default(),
            ends: Arc::default(),
            complaints: Arc::default(),
        };
        let mut producers = Vec::new();
        let mut others = Vec::new();
        for partition in 0..PARTITIONS {
            let index = u32::try_from(partition).unwrap();
            producers.push(tokio::spawn(insist(shared.clone(), index, partition)));
            producers.push(tokio::spawn(once(shared.clone(), 10 + index, partition)));
            others.push(tokio::spawn(follow(shared.clone(), 100 + index, partition)));
            others.push(tokio::spawn(observe(shared.clone(), 200 + index, partition)));
        }
        others.push(tokio::spawn(administer(shared.clone())));
        Self { shared, producers, others }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> usize {
        self.shared.recorder.count()
    }

    /// Ends the producers, then the followers when they have seen all; gives the history.
    pub(crate) async fn finish(
        mut self,
        limit: Duration,
        finals: impl AsyncFnOnce() -> Vec<Log>,
    ) -> (History, Vec<String>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for producer in self.producers.drain(..) {
            producer.await.unwrap();
        }
        let finals = finals().await;
        let ends = finals.iter().map(|log| log.end).collect();
        *self.shared.ends.lock().unwrap() = Some(ends);
        for other in &mut self.others {
            // Who does not come to the end is seen in the history.
            match timeout(limit, &mut *other).await {
                Ok(done) => done.unwrap(),
                Err(_) => other.abort(),
            }
        }
        let complaints = self.shared.complaints.lock().unwrap().clone();
        let mut history = History { ops: self.shared.recorder.take(), ..History::default() };
        history.ops.sort_by_key(|op: &Op| op.start);
        for (log, partition) in finals.into_iter().zip(0..) {
            history.finals.insert(partition, log);
            let index = u32::try_from(partition).unwrap();
            history.in_order.push(index);
            history.followers.insert(group_of(partition), vec![100 + index]);
        }
        (history, complaints)
    }
}

pub(crate) fn batch_of(values: &[Value], identity: Option<(i64, i16)>) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    if let Some((id, epoch)) = identity {
        let sequence = i32::try_from(values[0].sequence).unwrap();
        builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), sequence);
    }
    for value in values {
        builder.push(Millis(1_700_000_000_000), None, Some(&value.encode(PADDING)));
    }
    builder.build().unwrap().bytes().clone()
}

/// The next one to four values of a producer.
fn next_values(producer: u32, next: &mut u64) -> Vec<Value> {
    let count = *next % 4 + 1;
    let values = (*next..*next + count).map(|sequence| Value { producer, sequence }).collect();
    *next += count;
    values
}

struct Sending {
    start: u64,
    values: Vec<Value>,
}

/// An idempotent producer with five batches under way, each sent again until it is acknowledged.
async fn insist(shared: Shared, producer: u32, partition: i32) {
    let Some(identity) = identity(&shared).await else { return };
    let mut waiting: VecDeque<Sending> = VecDeque::new();
    let mut next = 0;
    while !shared.stopped() {
        if let Some(connection) = shared.connect().await {
            let name = (producer, partition, identity);
            insist_over(&shared, name, connection, &mut waiting, &mut next).await;
            backoff().await;
        }
    }
    for Sending { start, values } in waiting {
        let what = What::Send { values, base: None };
        shared.recorder.note(producer, partition, start, Outcome::Info, what);
    }
}

async fn identity(shared: &Shared) -> Option<(i64, i16)> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    while !shared.stopped() {
        let Some(mut connection) = shared.connect().await else { continue };
        match patiently(connection.call(2, &request)).await {
            Ok(answer) if answer.error_code == 0 => {
                return Some((answer.producer_id.0, answer.producer_epoch));
            }
            _ => backoff().await,
        }
    }
    None
}

/// As long as the connection is good for.
async fn insist_over(
    shared: &Shared,
    (producer, partition, identity): (u32, i32, (i64, i16)),
    connection: Connection,
    waiting: &mut VecDeque<Sending>,
    next: &mut u64,
) {
    let (mut sender, mut receiver) = connection.split();
    let (mut asked, mut first) = (0, true);
    loop {
        while asked < IN_FLIGHT && !shared.stopped() {
            if asked == waiting.len() {
                let start = shared.recorder.now();
                waiting.push_back(Sending { start, values: next_values(producer, next) });
            }
            let batch = batch_of(&waiting[asked].values, Some(identity));
            let request = produce_request(partition, batch);
            if patiently(sender.send(7, &request)).await.is_err() {
                return;
            }
            asked += 1;
        }
        if asked == 0 {
            return;
        }
        type Produce = proto_kafka::messages::ProduceRequest;
        let Ok(answer) = patiently(receiver.receive::<Produce>(7)).await else { return };
        let answer = &answer.responses[0].partition_responses[0];
        match answer.error_code {
            0 => {
                let Sending { start, values } = waiting.pop_front().unwrap();
                asked -= 1;
                let what = What::Send { values, base: Some(answer.base_offset) };
                shared.recorder.note(producer, partition, start, Outcome::Ok, what);
            }
            // What follows a refused one is out of order; the first of a connection never is.
            code @ (45 | 47 | 59) if first => {
                let value = waiting[0].values[0];
                shared.complain(format!("{value:?}, sent again, was refused with {code}"));
                return;
            }
            _ => return,
        }
        first = false;
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
}

fn produce_request(partition: i32, batch: bytes::Bytes) -> proto_kafka::messages::ProduceRequest {
    use proto_kafka::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topics::topic_name(TOPIC))
        .with_partition_data(vec![data]);
    proto_kafka::messages::ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// A plain producer that sends each batch once, whatever becomes of it.
async fn once(shared: Shared, producer: u32, partition: i32) {
    let mut connection = None;
    let mut next = 0;
    while !shared.stopped() {
        let Some(open) = connection.as_mut() else {
            connection = shared.connect().await;
            continue;
        };
        let values = next_values(producer, &mut next);
        let start = shared.recorder.now();
        let sent = patiently(Connection::produce(open, TOPIC, partition, batch_of(&values, None)));
        let (outcome, base) = match sent.await {
            Ok(ack) => (Outcome::Ok, Some(ack.base_offset.0)),
            // REQUEST_TIMED_OUT says that nobody knows; every other code that nothing was written.
            Err(Error::Refused(7)) => (Outcome::Info, None),
            Err(Error::Refused(_)) => (Outcome::Fail, None),
            Err(_) => {
                connection = None;
                (Outcome::Info, None)
            }
        };
        shared.recorder.note(producer, partition, start, outcome, What::Send { values, base });
        tokio::time::sleep(Duration::from_millis(if base.is_some() { 10 } else { 40 })).await;
    }
}

/// The batches of a fetch, records from `from` on.
fn batches_of(bytes: bytes::Bytes, from: Offset) -> Result<Vec<Batch>, String> {
    let split = BatchView::split(bytes).map_err(|error| error.to_string())?;
    let mut batches = Vec::new();
    for view in split {
        view.check_crc().map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        for record in view.records(&Limits::default()).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            if record.offset < from {
                continue;
            }
            let bytes = record.value.unwrap_or_default();
            let value = Value::decode(&bytes);
            let value =
                value.ok_or_else(|| format!("{}: no record that was sent", record.offset))?;
            records.push((record.offset.0, value));
        }
        let (base, end) = (view.base_offset().0, view.end_offset().0);
        batches.push(Batch { base, end, records });
    }
    Ok(batches)
}

fn group_of(partition: i32) -> String {
    format!("group-{partition}")
}

/// Reads a partition from its start for ever, and writes down how far it is.
async fn follow(shared: Shared, process: u32, partition: i32) {
    let now = shared.recorder.now();
    shared.recorder.note(process, partition, now, Outcome::Ok, What::Assign { from: 0 });
    let (mut connection, mut at) = (None, Offset(0));
    let (mut committed, mut told) = (0, -1);
    loop {
        let ends = shared.ends.lock().unwrap().clone();
        if ends.is_some_and(|ends| at.0 >= ends[usize::try_from(partition).unwrap()]) {
            return;
        }
        let Some(open) = connection.as_mut() else {
            connection = shared.connect().await;
            continue;
        };
        let start = shared.recorder.now();
        let fetched = match patiently(Connection::fetch(open, TOPIC, partition, at, 100)).await {
            Ok(fetched) => fetched,
            Err(Error::Refused(1)) => {
                shared.complain(format!("offset {at} of {partition} was out of range"));
                return;
            }
            Err(error) => {
                if error.code().is_none() {
                    connection = None;
                }
                backoff().await;
                continue;
            }
        };
        let batches = match batches_of(fetched.records, at) {
            Ok(batches) => batches,
            Err(text) => {
                shared.complain(format!("read at {at} of {partition}: {text}"));
                return;
            }
        };
        let note = |what| shared.recorder.note(process, partition, start, Outcome::Ok, what);
        if fetched.high_watermark.0 != told {
            told = fetched.high_watermark.0;
            note(What::End { offset: told });
        }
        if let Some(last) = batches.last() {
            let from = at.0;
            at = Offset(last.end);
            note(What::Poll { from, batches });
        }
        if at.0 > committed + 20 {
            committed = at.0;
            commit(&shared, &mut connection, process, partition, committed).await;
        }
    }
}

async fn commit(
    shared: &Shared,
    connection: &mut Option<Connection>,
    process: u32,
    partition: i32,
    offset: i64,
) {
    let Some(open) = connection else { return };
    let group = group_of(partition);
    let wanted = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topics::topic_name(TOPIC))
        .with_partitions(vec![wanted]);
    let request = OffsetCommitRequest::default()
        .with_group_id(StrBytes::from_string(group.clone()).into())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let start = shared.recorder.now();
    let outcome = match patiently(open.call(2, &request)).await {
        Ok(answer) if answer.topics[0].partitions[0].error_code == 0 => Outcome::Ok,
        Ok(_) => Outcome::Info,
        Err(_) => {
            *connection = None;
            Outcome::Info
        }
    };
    shared.recorder.note(process, partition, start, outcome, What::Commit { group, offset });
}

/// Asks where the partition ends and how far its group is.
async fn observe(shared: Shared, process: u32, partition: i32) {
    let mut connection = None;
    while !shared.stopped() {
        tokio::time::sleep(Duration::from_millis(90)).await;
        let Some(open) = connection.as_mut() else {
            connection = shared.connect().await;
            continue;
        };
        let start = shared.recorder.now();
        match patiently(Connection::list_offset(open, TOPIC, partition, -1)).await {
            Ok(Offset(offset)) => {
                let what = What::End { offset };
                shared.recorder.note(process, partition, start, Outcome::Ok, what);
            }
            Err(error) if error.code().is_some() => {}
            Err(_) => connection = None,
        }
        let Some(open) = connection.as_mut() else { continue };
        let start = shared.recorder.now();
        let group = group_of(partition);
        match committed(open, &group, partition).await {
            Ok(Some(offset)) => {
                let what = What::Committed { group, offset };
                shared.recorder.note(process, partition, start, Outcome::Ok, what);
            }
            Ok(None) => {}
            Err(_) => connection = None,
        }
    }
}

/// A group's offset; the outer `None` when it was not told.
async fn committed(
    connection: &mut Connection,
    group: &str,
    partition: i32,
) -> Result<Option<Option<i64>>, Error> {
    let wanted = OffsetFetchRequestTopic::default()
        .with_name(topics::topic_name(TOPIC))
        .with_partition_indexes(vec![partition]);
    let request = OffsetFetchRequest::default()
        .with_group_id(StrBytes::from_string(group.to_owned()).into())
        .with_topics(Some(vec![wanted]));
    let answer = patiently(connection.call(5, &request)).await?;
    if answer.error_code != 0 || answer.topics[0].partitions[0].error_code != 0 {
        return Ok(None);
    }
    let offset = answer.topics[0].partitions[0].committed_offset;
    Ok(Some((offset >= 0).then_some(offset)))
}

/// Makes and deletes topics, so that the metadata log has something to tell.
async fn administer(shared: Shared) {
    let mut number = 0;
    while !shared.stopped() {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let Some(mut connection) = shared.connect().await else { continue };
        let name = format!("side-{number}");
        number += 1;
        // Whatever comes of it: the bucket's audit tells whether it was done whole.
        let made = patiently(try_create(&mut connection, &name)).await;
        if made.is_ok() {
            let value = topics::batch(&["aside"]);
            let produced = patiently(Connection::produce(&mut connection, &name, 0, value)).await;
            if produced.is_ok() && number % 3 > 0 {
                drop(patiently(try_delete(&mut connection, &name)).await);
            }
        }
    }
}

async fn try_create(connection: &mut Connection, topic: &str) -> Result<(), Error> {
    use proto_kafka::messages::{CreateTopicsRequest, create_topics_request::CreatableTopic};
    let wanted = CreatableTopic::default()
        .with_name(topics::topic_name(topic))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(3000);
    connection.call(5, &request).await.map(|_| ())
}

async fn try_delete(connection: &mut Connection, topic: &str) -> Result<(), Error> {
    let request = proto_kafka::messages::DeleteTopicsRequest::default()
        .with_topic_names(vec![topics::topic_name(topic)])
        .with_timeout_ms(3000);
    connection.call(5, &request).await.map(|_| ())
}

/// All of a partition, by a fresh reader; an error says what it met.
pub(crate) async fn read_whole(address: &str, partition: i32) -> Result<Log, String> {
    let told = |error: Error| error.to_string();
    let mut connection =
        patiently(async { Connection::open(address, "fresh").await }).await.map_err(told)?;
    let start = patiently(connection.list_offset(TOPIC, partition, -2)).await.map_err(told)?;
    let end = patiently(connection.list_offset(TOPIC, partition, -1)).await.map_err(told)?;
    let (mut at, mut batches) = (start, Vec::new());
    while at < end {
        let fetched = patiently(connection.fetch(TOPIC, partition, at, 500)).await.map_err(told)?;
        let read = batches_of(fetched.records, at)?;
        let Some(last) = read.last() else {
            return Err(format!("nothing at {at} of {partition}, which ends at {end}"));
        };
        at = Offset(last.end);
        batches.extend(read);
    }
    Ok(Log { start: start.0, end: end.0, batches })
}
