//! Sending batches to their leaders until each is taken or refused.
//!
//! Invariants: one batch of a partition is under way at a time, so order and sequence hold through
//! every retry; a batch without an answer is sent again under its old sequence, so it lands once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context;
use futures::future::join_all;
use proto_kafka::{
    messages::{
        InitProducerIdRequest, ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
    },
    protocol::StrBytes,
};

use super::{
    Order, Report,
    batch::{Batch, Pending, Router},
    input::Chunk,
};
use crate::{
    cli::output,
    client::{Cluster, Error, Peer, To, code},
    env::clock,
    record::Compression,
    types::{Millis, ProducerEpoch, ProducerId},
};

/// The newest version that names topics by name; from 8 on a refusal tells the records.
const PRODUCE: i16 = 9;
const INIT_PRODUCER_ID: i16 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// DUPLICATE_SEQUENCE_NUMBER: it landed before, and the answer was lost.
const DUPLICATE: i16 = 46;
/// MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE
const TOO_LARGE: [i16; 2] = [10, 18];
/// Refusals that are told one by one; the rest are counted.
const TOLD_MAX: u64 = 20;

pub(super) struct Producer {
    topic: String,
    acks: i16,
    compression: Compression,
    cluster: Cluster,
    peers: BTreeMap<String, Peer>,
    leaders: BTreeMap<i32, String>,
    identity: Option<(ProducerId, ProducerEpoch)>,
    sequences: BTreeMap<i32, i32>,
    pending: Pending,
    report: Report,
    input_bytes: u64,
}

/// What became of the batches of one leader.
struct Answer {
    leader: String,
    partitions: Vec<i32>,
    outcome: Result<(Peer, Vec<PartitionProduceResponse>), Error>,
}

impl Producer {
    pub(super) async fn new(
        order: &Order,
        mut cluster: Cluster,
        router: Router,
    ) -> anyhow::Result<Self> {
        // Only what everybody in sync must have can be told to have landed once.
        let identity = if order.acks == -1 { identity(&mut cluster).await? } else { None };
        Ok(Self {
            topic: order.topic.clone(),
            acks: order.acks,
            compression: order.compression,
            cluster,
            peers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            identity,
            sequences: BTreeMap::new(),
            pending: Pending::new(router),
            report: Report { topic: order.topic.clone(), ..Report::default() },
            input_bytes: 0,
        })
    }

    /// Takes records up to the first that is not one.
    pub(super) fn take_all(&mut self, chunk: Chunk) -> anyhow::Result<()> {
        for input in chunk.records {
            self.input_bytes += input.input_bytes;
            self.pending.push(input)?;
        }
        chunk.failed.map_or(Ok(()), Err)
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.is_full()
    }

    /// Bytes of the input that are read.
    pub(super) fn input_bytes(&self) -> u64 {
        self.input_bytes
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Sends all that waits; returns when each record is taken or refused.
    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        let patience = self.cluster.options().patience;
        let mut since = self.cluster.env().clock.boot();
        while !self.pending.is_empty() {
            let done = self.report.records + self.report.failed;
            let trouble = self.round().await?;
            let now = self.cluster.env().clock.boot();
            let Some(trouble) = trouble else { continue };
            if self.report.records + self.report.failed > done {
                since = now;
            }
            if now.saturating_sub(since) > patience {
                return Err(self.give_up(trouble));
            }
            self.leaders.clear();
            clock::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// One batch of each partition; gives what stood in the way of some of them.
    async fn round(&mut self) -> anyhow::Result<Option<Error>> {
        const NO_LEADER: i16 = 5;
        if self.leaders.is_empty() {
            let metadata =
                self.cluster.metadata(Some(std::slice::from_ref(&self.topic)), false).await?;
            let topic = metadata.topics.get(&self.topic);
            let partitions = topic.into_iter().flat_map(|topic| topic.partitions.keys());
            let leader = |it: &i32| Some((*it, metadata.leader(&self.topic, *it)?));
            self.leaders = partitions.filter_map(leader).collect();
        }
        let fronts: Vec<i32> = self.pending.fronts().map(|(partition, _)| partition).collect();
        let mut by_leader: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        let mut trouble = None;
        for partition in fronts {
            match self.leaders.get(&partition) {
                Some(leader) => by_leader.entry(leader.clone()).or_default().push(partition),
                None => trouble = Some(Error::Refused(NO_LEADER)),
            }
        }
        let mut calls = Vec::new();
        for (leader, partitions) in by_leader {
            let request = self.request(&partitions)?;
            let peer = self.peers.remove(&leader);
            let cluster = &self.cluster;
            let acks = self.acks;
            calls.push(Box::pin(async move {
                let outcome = exchange(cluster, &leader, peer, acks, &request).await;
                Answer { leader, partitions, outcome }
            }));
        }
        for answer in join_all(calls).await {
            trouble = self.settle(answer)?.or(trouble);
        }
        Ok(trouble)
    }

    fn request(&self, partitions: &[i32]) -> anyhow::Result<ProduceRequest> {
        let now = self.cluster.env().clock.wall();
        let wanted: BTreeSet<i32> = partitions.iter().copied().collect();
        let fronts = self.pending.fronts().filter(|(partition, _)| wanted.contains(partition));
        let data = fronts.map(|(partition, batch)| self.data(partition, batch, now));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(self.topic.clone())))
            .with_partition_data(data.collect::<anyhow::Result<_>>()?);
        let timeout = self.cluster.options().patience.as_millis();
        Ok(ProduceRequest::default()
            .with_acks(self.acks)
            .with_timeout_ms(i32::try_from(timeout).unwrap_or(i32::MAX))
            .with_topic_data(vec![topic]))
    }

    fn data(
        &self,
        partition: i32,
        batch: &Batch,
        now: Millis,
    ) -> anyhow::Result<PartitionProduceData> {
        let sequence = self.sequences.get(&partition).copied().unwrap_or_default();
        let producer = self.identity.map(|(id, epoch)| (id, epoch, sequence));
        let built = batch.build(self.compression, producer, now).with_context(|| {
            let (first, last) = batch.numbers();
            format!("records {first} to {last} do not make a batch")
        })?;
        Ok(PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(built.bytes().clone())))
    }

    /// Takes what was answered to heart; gives what may be otherwise later.
    fn settle(&mut self, answer: Answer) -> anyhow::Result<Option<Error>> {
        let (peer, told) = match answer.outcome {
            Ok(done) => done,
            Err(error @ Error::Unsupported { .. }) => return Err(error.into()),
            Err(error) => return Ok(Some(error)),
        };
        self.peers.insert(answer.leader, peer);
        if self.acks == 0 {
            for partition in answer.partitions {
                self.taken(partition);
            }
            return Ok(None);
        }
        let mut trouble = None;
        for partition in answer.partitions {
            let told = told.iter().find(|told| told.index == partition);
            let told = told.ok_or(Error::Absent)?;
            match told.error_code {
                0 | DUPLICATE => self.taken(partition),
                code if TOO_LARGE.contains(&code) && self.front_len(partition) > 1 => {
                    self.pending.halve(partition);
                }
                code if code::is_passing(code) => trouble = Some(Error::Refused(code)),
                _ => self.refused(partition, told),
            }
        }
        Ok(trouble)
    }

    fn front_len(&self, partition: i32) -> usize {
        let mut fronts = self.pending.fronts();
        fronts.find(|(it, _)| *it == partition).map_or(0, |(_, batch)| batch.records.len())
    }

    fn taken(&mut self, partition: i32) {
        let Some(batch) = self.pending.pop(partition) else { return };
        let count = batch.records.len();
        let sequence = self.sequences.entry(partition).or_default();
        // Sequences go around after the largest, as in Kafka.
        *sequence = sequence.wrapping_add(i32::try_from(count).unwrap_or_default()) & i32::MAX;
        self.report.records += u64::try_from(count).unwrap_or_default();
        self.report.bytes += batch.payload();
    }

    /// Names the records that were refused; a batch is refused as a whole.
    fn refused(&mut self, partition: i32, told: &PartitionProduceResponse) {
        let Some(batch) = self.pending.pop(partition) else { return };
        let why = code::in_words(told.error_code, told.error_message.as_deref());
        let (first, last) = batch.numbers();
        let quiet = self.report.failed >= TOLD_MAX;
        self.report.failed += u64::try_from(batch.records.len()).unwrap_or_default();
        if quiet {
            return;
        }
        let which = if first == last {
            format!("record {first}")
        } else {
            format!("records {first} to {last}")
        };
        output::error(&anyhow::anyhow!("{which}, for partition {partition}: {why}"));
        for wrong in told.record_errors.iter().take(10) {
            let at = usize::try_from(wrong.batch_index).unwrap_or(usize::MAX);
            let Some(record) = batch.records.get(at) else { continue };
            let why = wrong.batch_index_error_message.as_deref().unwrap_or("it is at fault");
            output::note(format!("  record {}: {why}", record.number));
        }
    }

    fn give_up(&self, trouble: Error) -> anyhow::Error {
        let numbers = self.pending.fronts().map(|(_, batch)| batch.numbers().0);
        let first = numbers.min().unwrap_or_default();
        let limit = humantime::format_duration(self.cluster.options().patience);
        anyhow::Error::new(trouble).context(format!(
            "gave up after {limit}: {} written, what became of record {first} and those after it \
             is not known; --timeout waits longer",
            output::count(self.report.records, "record")
        ))
    }
}

/// A producer's own number; none where the cluster gives none.
async fn identity(cluster: &mut Cluster) -> anyhow::Result<Option<(ProducerId, ProducerEpoch)>> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX);
    let answer = cluster
        .patiently(async |cluster| {
            let answer = cluster.ask(To::Any, INIT_PRODUCER_ID, &request).await?;
            match answer.error_code {
                0 => Ok(answer),
                code => Err(Error::Refused(code)),
            }
        })
        .await;
    match answer {
        Ok(answer) => {
            Ok(Some((ProducerId(answer.producer_id.0), ProducerEpoch(answer.producer_epoch))))
        }
        Err(Error::Unsupported { .. }) => Ok(None),
        Err(error) => Err(error).context("cannot become a producer that writes each record once"),
    }
}

async fn exchange(
    cluster: &Cluster,
    leader: &str,
    peer: Option<Peer>,
    acks: i16,
    request: &ProduceRequest,
) -> Result<(Peer, Vec<PartitionProduceResponse>), Error> {
    let mut peer = match peer {
        Some(peer) => peer,
        None => cluster.open(leader).await?,
    };
    if acks == 0 {
        peer.send(PRODUCE, request).await?;
        return Ok((peer, Vec::new()));
    }
    let answer = peer.call(PRODUCE, request).await?;
    let topic = answer.responses.into_iter().next().ok_or(Error::Absent)?;
    Ok((peer, topic.partition_responses))
}
