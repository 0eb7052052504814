//! Clients: they write, read, commit, trim, create and delete, and tell the model what they saw.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proto_kafka::messages::ProduceRequest;
use strandline::{
    env::{clock, sim::net::Network},
    record::{BatchBuilder, Compression},
    types::{Millis, ProducerEpoch, ProducerId},
};

use crate::{
    chance::Chance,
    model::{Mark, Model, Value},
    plan::{self, Kind, Plan},
    trace::{Trace, note},
    watch::Seen,
    wire::{Wire, produce},
};

pub const TOPIC: &str = "main";
/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

const NONE: i16 = 0;
const OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC: i16 = 3;
const TIMED_OUT: i16 = 7;
const TOPIC_EXISTS: i16 = 36;
const OUT_OF_ORDER: i16 = 45;
/// What a client may be told by a broker that starts, ends, is full or has lost its bucket.
const RETRIABLE: &[i16] = &[5, 6, 7, 14, 15, 16, 19, 41, 56];

/// What clients share and keep while brokers come and go.
pub struct Clients {
    pub model: Arc<Model>,
    pub trace: Arc<Trace>,
    pub plan: Arc<Plan>,
    pub chance: Chance,
    seen: Seen,
    /// No new records any more.
    pub closing: AtomicBool,
    /// Nobody asks anything any more.
    pub resting: AtomicBool,
    producers: Vec<Mutex<State>>,
    commits: Mutex<i64>,
    topics: Mutex<u64>,
    pub wall: Arc<dyn clock::Clock>,
}

/// Batches of a producer in one life.
const BATCHES: usize = 60;

#[derive(Default)]
struct State {
    left: usize,
    id: Option<i64>,
    number: u32,
    sequence: i32,
    pending: VecDeque<Batch>,
}

#[derive(Clone)]
struct Batch {
    values: Vec<Value>,
    sequence: i32,
    bytes: bytes::Bytes,
    sent: Mark,
    /// Everything before it was acknowledged when it was last sent.
    is_next: bool,
    tries: u32,
}

impl Clients {
    pub fn new(
        model: &Arc<Model>,
        trace: &Arc<Trace>,
        plan: &Arc<Plan>,
        seen: &Seen,
        chance: Chance,
        wall: Arc<dyn clock::Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            model: Arc::clone(model),
            trace: Arc::clone(trace),
            plan: Arc::clone(plan),
            chance,
            seen: seen.clone(),
            closing: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            producers: plan.producers.iter().map(|_| Mutex::default()).collect(),
            commits: Mutex::default(),
            topics: Mutex::default(),
            wall,
        })
    }

    /// Starts them all on the current runtime.
    pub fn start(self: &Arc<Self>, network: &Network) {
        for state in &self.producers {
            state.lock().unwrap().left = BATCHES;
        }
        for index in 0..self.producers.len() {
            let (it, network) = (Arc::clone(self), network.clone());
            tokio::spawn(async move { it.producer(index, &network).await });
        }
        for partition in 0..self.plan.partitions {
            let (it, network) = (Arc::clone(self), network.clone());
            tokio::spawn(async move { it.reader(partition, &network).await });
        }
        let (it, network_) = (Arc::clone(self), network.clone());
        tokio::spawn(async move { it.committer(&network_).await });
        let (it, network_) = (Arc::clone(self), network.clone());
        tokio::spawn(async move { it.asker(&network_).await });
        if self.plan.has(Kind::Topics) {
            let (it, network) = (Arc::clone(self), network.clone());
            tokio::spawn(async move { it.topics(&network).await });
        }
    }

    /// Whether every batch has its answer.
    pub fn is_done(&self) -> bool {
        self.producers.iter().all(|state| state.lock().unwrap().pending.is_empty())
    }

    async fn pause(&self, least: u64, most: u64) {
        clock::sleep(self.chance.millis(least, most)).await;
        if self.resting.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    async fn connect(&self, network: &Network) -> Wire {
        loop {
            match Wire::open(network) {
                Ok(wire) => return wire,
                Err(_) => self.pause(20, 100).await,
            }
        }
    }

    fn is_retriable(&self, what: &str, code: i16) -> bool {
        let fine = RETRIABLE.contains(&code);
        self.seen.count(&format!("told: {what} {code}"));
        // Before the topic is there.
        if !fine && code != UNKNOWN_TOPIC {
            self.model.violated("errors are those clients wait out", format!("{what}: {code}"));
        }
        fine
    }

    /// Creates the topic of all; it may be there.
    pub async fn create(&self, network: &Network) {
        let mut configs = vec![("segment.bytes", "1048576".to_owned())];
        configs.extend(self.plan.retention_ms.map(|ms| ("retention.ms", ms.to_string())));
        configs.extend(self.plan.retention_bytes.map(|it| ("retention.bytes", it.to_string())));
        loop {
            let mut wire = self.connect(network).await;
            let created = wire.create(TOPIC, self.plan.partitions, &configs);
            match clock::timeout(PATIENCE, created).await {
                Ok(Ok(NONE | TOPIC_EXISTS)) => return,
                Ok(Ok(code)) => {
                    self.is_retriable("create", code);
                }
                Ok(Err(_)) => {}
                Err(_) => self.model.violated("L3 answers come", "create"),
            }
            self.pause(50, 300).await;
        }
    }

    async fn producer(&self, index: usize, network: &Network) {
        loop {
            let mut wire = self.connect(network).await;
            if let Err(reason) = self.produce(index, &mut wire).await {
                note!(self.trace, "producer {index} reconnects: {reason}");
            }
            if !self.plan.producers[index].idempotent {
                // Nobody knows, and nobody sends them again.
                self.producers[index].lock().unwrap().pending.clear();
            }
            self.pause(20, 200).await;
        }
    }

    async fn produce(&self, index: usize, wire: &mut Wire) -> Result<(), String> {
        let plan = self.plan.producers[index];
        let state = &self.producers[index];
        if plan.idempotent && state.lock().unwrap().id.is_none() {
            let (code, id) = answer(wire.producer_id()).await?;
            if code != NONE {
                self.is_retriable("producer id", code);
                return Err(format!("no producer id: {code}"));
            }
            note!(self.trace, "producer {index} is {id}");
            state.lock().unwrap().id = Some(id);
        }
        loop {
            let batches = self.next_batches(index, plan);
            if batches.is_empty() {
                self.pause(50, 500).await;
                continue;
            }
            for batch in &batches {
                let request = produce(TOPIC, plan.partition, plan.acks, &batch.bytes);
                answer(wire.send(9, &request)).await?;
            }
            let mut again = false;
            for batch in batches {
                let reply = answer(wire.receive::<ProduceRequest>(9)).await?;
                let reply = &reply.responses[0].partition_responses[0];
                again |= !self.answered(index, plan, &batch, reply.error_code, reply.base_offset);
            }
            if again {
                self.pause(50, 500).await;
            }
            self.pause(plan.pause / 4, plan.pause).await;
        }
    }

    /// What was not answered before, and new ones, in order.
    fn next_batches(&self, index: usize, plan: plan::Producer) -> Vec<Batch> {
        let mut state = self.producers[index].lock().unwrap();
        let new = if self.closing.load(Ordering::Relaxed) {
            0
        } else {
            let most = self.chance.between(1, plan.depth as u64);
            usize::try_from(most).unwrap().saturating_sub(state.pending.len()).min(state.left)
        };
        state.left -= new;
        for _ in 0..new {
            let batch = self.batch(index, plan, &mut state);
            state.pending.push_back(batch);
        }
        for (at, batch) in state.pending.iter_mut().enumerate() {
            batch.is_next = at == 0;
            batch.tries += 1;
        }
        state.pending.iter().cloned().collect()
    }

    fn batch(&self, index: usize, plan: plan::Producer, state: &mut State) -> Batch {
        let count = u32::try_from(self.chance.between(1, plan.records)).unwrap();
        let value = |number| Value { producer: u32::try_from(index).unwrap(), number };
        let values: Vec<_> = (state.number..state.number + count).map(value).collect();
        state.number += count;
        let codec = self.chance.pick(&[Compression::None, Compression::None, Compression::Lz4]);
        let mut builder = BatchBuilder::new(codec);
        let sequence = state.sequence;
        if let Some(id) = state.id {
            builder = builder.producer(ProducerId(id), ProducerEpoch(0), sequence);
            state.sequence += i32::try_from(count).unwrap();
        }
        let now = self.wall.wall();
        for value in &values {
            builder.push(Millis(now.0), None, Some(value.text().as_bytes()));
        }
        let bytes = builder.build().unwrap().bytes().clone();
        let sent = self.model.sending(plan.partition, &values);
        Batch { values, sequence, bytes, sent, is_next: false, tries: 0 }
    }

    /// Whether a batch is settled.
    fn answered(
        &self,
        index: usize,
        plan: plan::Producer,
        batch: &Batch,
        code: i16,
        base: i64,
    ) -> bool {
        let (first, partition) = (batch.values[0], plan.partition);
        note!(self.trace, "{first:?}+{} {partition}: {code} @{base}", batch.values.len());
        let settled = if code == NONE {
            self.model.acknowledged(partition, &batch.values, base, batch.sent);
            if batch.tries > 1 {
                self.seen.count("told: produce 0, of a batch sent again");
            }
            true
        } else if !plan.idempotent {
            if self.is_retriable("produce", code) && code != TIMED_OUT {
                self.model.refused(partition, &batch.values);
            }
            true
        } else {
            let out_of_order = code == OUT_OF_ORDER && !batch.is_next;
            if !out_of_order && !self.is_retriable("produce", code) && code != UNKNOWN_TOPIC {
                let text = format!("{first:?} with sequence {} got {code}", batch.sequence);
                self.model.violated("I11 a retry is acknowledged", text);
            }
            false
        };
        if settled {
            let mut state = self.producers[index].lock().unwrap();
            state.pending.retain(|pending| pending.values[0] != first);
        }
        settled
    }

    async fn reader(&self, partition: i32, network: &Network) {
        loop {
            let mut wire = self.connect(network).await;
            if let Err(reason) = self.read(partition, &mut wire).await {
                note!(self.trace, "reader {partition} reconnects: {reason}");
            }
            self.pause(50, 300).await;
        }
    }

    async fn read(&self, partition: i32, wire: &mut Wire) -> Result<(), String> {
        loop {
            let Some(start) = self.list(partition, wire, -2).await? else {
                self.pause(50, 300).await;
                continue;
            };
            let mut next = start;
            let mut idle = self.chance.between(1, 8);
            while idle > 0 {
                let sent = self.model.mark(partition);
                let most = self.chance.pick(&[1, 2000, 10_000, 1 << 20]);
                let wait = i32::try_from(self.chance.between(0, 3000)).unwrap();
                let fetched = answer(wire.fetch(TOPIC, partition, next, most, wait)).await?;
                match fetched.error {
                    NONE => {
                        let read = self.model.read(partition, next, &fetched, sent);
                        note!(self.trace, "read {partition}: {next}..{read}");
                        self.pause(1, 100).await;
                        if read == next {
                            idle -= 1;
                            if read < fetched.high_watermark {
                                let text = format!("nothing at {partition}@{next}");
                                self.model.violated("I3 no gap", text);
                            }
                        }
                        next = read;
                    }
                    OUT_OF_RANGE => {
                        let again = self.list(partition, wire, -2).await?;
                        if again.is_some_and(|start| start <= next) {
                            let text = format!("{partition}@{next} of {again:?}");
                            self.model.violated("H23 out of range", text);
                        }
                        break;
                    }
                    code => {
                        self.is_retriable("fetch", code);
                        self.pause(50, 300).await;
                    }
                }
            }
        }
    }

    /// The start or the end, told to the model.
    async fn list(
        &self,
        partition: i32,
        wire: &mut Wire,
        which: i64,
    ) -> Result<Option<i64>, String> {
        let sent = self.model.mark(partition);
        let (code, offset) = answer(wire.list(TOPIC, partition, which)).await?;
        if code != NONE {
            self.is_retriable("list", code);
            return Ok(None);
        }
        let (start, end) = if which == -2 { (Some(offset), None) } else { (None, Some(offset)) };
        self.model.told(partition, start, end, sent);
        Ok(Some(offset))
    }

    /// Asks for ends, and trims.
    async fn asker(&self, network: &Network) {
        loop {
            let mut wire = self.connect(network).await;
            loop {
                self.pause(20, 1500).await;
                let partitions = u64::try_from(self.plan.partitions).unwrap();
                let partition = i32::try_from(self.chance.below(partitions)).unwrap();
                let Ok(end) = self.list(partition, &mut wire, -1).await else { break };
                let Some(end) = end.filter(|_| self.plan.has(Kind::DeleteRecords)) else {
                    continue;
                };
                if end == 0 || !self.chance.percent(10) {
                    continue;
                }
                let before = i64::try_from(self.chance.below(u64::try_from(end).unwrap())).unwrap();
                self.model.may_go(partition, before);
                let sent = self.model.mark(partition);
                let done = answer(wire.delete_records(TOPIC, partition, before)).await;
                note!(self.trace, "delete {partition} before {before}: {done:?}");
                match done {
                    Ok((NONE, low)) => self.model.told(partition, Some(low), None, sent),
                    Ok((code, _)) => {
                        self.is_retriable("delete records", code);
                    }
                    Err(_) => break,
                }
            }
        }
    }

    async fn committer(&self, network: &Network) {
        const GROUPS: &[&str] = &["a", "b"];
        loop {
            let mut wire = self.connect(network).await;
            let Ok(code) = answer(wire.coordinator(GROUPS[0])).await else { continue };
            if code != NONE {
                self.is_retriable("coordinator", code);
                self.pause(20, 300).await;
                continue;
            }
            loop {
                self.pause(20, 800).await;
                let group = self.chance.pick(GROUPS);
                if self.chance.percent(50) && !self.closing.load(Ordering::Relaxed) {
                    let offset = {
                        let mut commits = self.commits.lock().unwrap();
                        *commits += 1;
                        *commits
                    };
                    self.model.committing(group, 0, offset);
                    match answer(wire.commit(group, TOPIC, 0, offset)).await {
                        Ok(NONE) => {
                            note!(self.trace, "commit {group} {offset}");
                            self.model.committed(group, 0, offset);
                        }
                        Ok(code) => {
                            self.is_retriable("commit", code);
                        }
                        Err(_) => break,
                    }
                } else {
                    match answer(wire.committed(group, TOPIC, 0)).await {
                        Ok((NONE, offset)) => {
                            note!(self.trace, "committed {group} {offset}");
                            self.model.fetched_commit(group, 0, offset);
                        }
                        Ok((code, _)) => {
                            self.is_retriable("committed", code);
                        }
                        Err(_) => break,
                    }
                }
            }
        }
    }

    /// Creates a topic, writes to it, reads that back, deletes it; each under a new name.
    async fn topics(&self, network: &Network) {
        loop {
            let mut wire = self.connect(network).await;
            while self.topic(&mut wire).await.is_ok() {
                self.pause(20, 1000).await;
            }
        }
    }

    async fn topic(&self, wire: &mut Wire) -> Result<(), String> {
        let name = {
            let mut topics = self.topics.lock().unwrap();
            *topics += 1;
            format!("topic-{topics}")
        };
        let code = answer(wire.create(&name, 1, &[])).await?;
        note!(self.trace, "create {name}: {code}");
        if code != NONE {
            self.is_retriable("create", code);
            return Ok(());
        }
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Millis(self.wall.wall().0), None, Some(name.as_bytes()));
        let records = builder.build().unwrap().bytes().clone();
        let reply = answer(wire.call(9, &produce(&name, 0, -1, &records))).await?;
        let reply = reply.responses[0].partition_responses[0].clone();
        note!(self.trace, "produce {name}: {} @{}", reply.error_code, reply.base_offset);
        if reply.error_code == NONE {
            let fetched = answer(wire.fetch(&name, 0, reply.base_offset, 1 << 20, 0)).await?;
            if fetched.error == NONE && !holds(&fetched.records, name.as_bytes()) {
                self.model.violated("I1 a new topic's record is read", name.clone());
            }
        } else {
            self.is_retriable("produce", reply.error_code);
        }
        if self.chance.percent(30) {
            self.pause(0, 3000).await;
        }
        let code = answer(wire.delete(&name)).await?;
        note!(self.trace, "delete {name}: {code}");
        if code == NONE {
            let (gone, _) = answer(wire.list(&name, 0, -1)).await?;
            if gone != UNKNOWN_TOPIC && !RETRIABLE.contains(&gone) {
                self.model.violated("a deleted topic is gone", format!("{name}: {gone}"));
            }
        } else {
            self.is_retriable("delete", code);
        }
        Ok(())
    }

    /// Reads everything there is, and judges whether anything is missing.
    pub async fn read_all(&self, network: &Network) -> Result<(), String> {
        let mut wire = self.connect(network).await;
        for partition in 0..self.plan.partitions {
            let end = self.list(partition, &mut wire, -1).await?.ok_or("no end")?;
            // Retention goes on meanwhile: what goes is not missing.
            let start = self.list(partition, &mut wire, -2).await?.ok_or("no start")?;
            let mut next = start;
            while next < end {
                let sent = self.model.mark(partition);
                let fetched = answer(wire.fetch(TOPIC, partition, next, 1 << 20, 0)).await?;
                match fetched.error {
                    NONE => {
                        let read = self.model.read(partition, next, &fetched, sent);
                        if read == next {
                            return Err(format!("nothing at {partition}@{next} of {end}"));
                        }
                        next = read;
                    }
                    OUT_OF_RANGE => {
                        next = self.list(partition, &mut wire, -2).await?.ok_or("no start")?
                    }
                    code => return Err(format!("{partition}@{next}: {code}")),
                }
            }
            note!(self.trace, "all of {partition}: {start}..{next}");
            self.model.complete(partition, start, next);
        }
        Ok(())
    }
}

fn holds(records: &[u8], text: &[u8]) -> bool {
    records.windows(text.len()).any(|window| window == text)
}

/// An answer in time; a broker that is killed gives none, but one that lives must.
async fn answer<T>(call: impl Future<Output = std::io::Result<T>> + Send) -> Result<T, String> {
    match clock::timeout(PATIENCE, call).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}
