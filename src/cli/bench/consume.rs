//! Reading: a topic once by connections that share it, or all of it by each of many consumers.
//!
//! Records are counted by their batches' headers and not looked at.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Buf, Bytes};
use futures::future::try_join_all;
use proto_kafka::messages::{
    FetchRequest, TopicName,
    fetch_request::{FetchPartition, FetchTopic},
};

use super::{
    Consume, Reading, Replay, Run,
    progress::Progress,
    report::{Load, Report, Tally},
    target::{LATEST, Lane, Leaders, Target},
};
use crate::{
    client::Connection,
    env::{Env, task::Tasks},
    types::Offset,
};

/// The version every broker from Kafka 2.3 on speaks.
const VERSION: i16 = 11;
const MAX_WAIT_MS: i32 = 500;
/// `timestamp` of ListOffsets for a partition's start.
const EARLIEST: i64 = -2;

/// Where one partition is read from, and to.
#[derive(Clone)]
struct Span {
    next: Offset,
    /// Exclusive; `None` reads on as records come.
    end: Option<Offset>,
}

/// One connection that reads.
struct Reader {
    connection: Connection,
    topic: TopicName,
    reading: Reading,
    spans: BTreeMap<i32, Span>,
    /// How often they are read.
    times: u32,
    progress: Progress,
}

pub(super) async fn once(order: &Consume) -> anyhow::Result<Report> {
    let leaders = order.run.target.leaders(None).await?;
    let lanes = vec![leaders.share(order.connections.min(u32::try_from(leaders.partitions())?))];
    let way = Way { reading: order.reading, tail: order.tail, times: order.times };
    let (tallies, _, took) = run(&order.run, way, lanes).await?;
    report("consume", &order.run, &leaders, took, &tallies)
}

pub(super) async fn many_times(order: &Replay) -> anyhow::Result<Report> {
    let leaders = order.run.target.leaders(None).await?;
    let lanes = (0..order.consumers).map(|_| leaders.share(1)).collect();
    let way = Way { reading: order.reading, tail: false, times: 1 };
    let (tallies, each, took) = run(&order.run, way, lanes).await?;
    Ok(report("replay", &order.run, &leaders, took, &tallies)?.with_each(&each))
}

fn report(
    name: &'static str,
    run: &Run,
    leaders: &Leaders,
    took: Duration,
    tallies: &[Tally],
) -> anyhow::Result<Report> {
    let (partitions, connections) = (leaders.partitions(), tallies.len());
    Report::of(&Load { name, topic: &run.target.topic, partitions, connections, took }, tallies)
}

/// How every consumer reads.
#[derive(Clone, Copy)]
struct Way {
    reading: Reading,
    tail: bool,
    times: u32,
}

type Outcome = (Vec<Tally>, Vec<(u64, Duration)>, Duration);

/// Runs each consumer's connections; gives each connection's tally, each consumer's bytes and
/// time, and the time of all.
async fn run(run: &Run, way: Way, consumers: Vec<Vec<Lane>>) -> anyhow::Result<Outcome> {
    let env = Env::real();
    let mut ready = Vec::new();
    for lanes in consumers {
        let mut connections = Vec::new();
        for lane in lanes {
            connections.push(open(&run.target, lane, way.tail).await?);
        }
        ready.push(connections);
    }
    let progress = Progress::begin(run, &env);
    let tasks = Tasks::new();
    progress.show(&tasks)?;
    let consumers = ready.into_iter().map(|connections| {
        let progress = progress.clone();
        let topic = run.target.name();
        async move {
            let readers = connections.into_iter().map(|(connection, spans)| {
                let (topic, progress) = (topic.clone(), progress.clone());
                let Way { reading, times, .. } = way;
                Reader { connection, topic, reading, spans, times, progress }.read()
            });
            let tallies = try_join_all(readers).await?;
            Ok::<_, anyhow::Error>((tallies, progress.took()))
        }
    });
    let done = try_join_all(consumers).await;
    let took = progress.took();
    tasks.stop().await;
    let done = done?;
    let bytes = |tallies: &[Tally]| tallies.iter().map(|tally| tally.bytes).sum();
    let each = done.iter().map(|(tallies, took)| (bytes(tallies), *took)).collect();
    Ok((done.into_iter().flat_map(|(tallies, _)| tallies).collect(), each, took))
}

async fn open(
    target: &Target,
    lane: Lane,
    tail: bool,
) -> anyhow::Result<(Connection, BTreeMap<i32, Span>)> {
    let mut connection = target.connect(&lane.leader).await?;
    let mut spans = BTreeMap::new();
    for partition in lane.partitions {
        let end = connection.list_offset(&target.topic, partition, LATEST).await?;
        let span = if tail {
            Span { next: end, end: None }
        } else {
            let next = connection.list_offset(&target.topic, partition, EARLIEST).await?;
            Span { next, end: Some(end) }
        };
        spans.insert(partition, span);
    }
    Ok((connection, spans))
}

impl Reader {
    /// Reads until every partition is at its end, or the run is over.
    async fn read(self) -> anyhow::Result<Tally> {
        let Self { connection, topic, reading, spans: whole, mut times, progress } = self;
        let (mut sender, mut receiver) = connection.split();
        let mut tally = Tally::new()?;
        let mut spans = whole.clone();
        loop {
            spans.retain(|_, span| span.end.is_none_or(|end| span.next < end));
            if spans.is_empty() && times > 1 {
                times -= 1;
                spans.clone_from(&whole);
                continue;
            }
            if spans.is_empty() || !progress.claim(0) {
                return Ok(tally);
            }
            let asked = progress.now();
            sender.send(VERSION, &request(&topic, reading, &spans)).await?;
            let answer = receiver.receive::<FetchRequest>(VERSION).await?;
            let now = progress.now();
            progress.answered(&mut tally, asked, now);
            for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
                if partition.error_code != 0 {
                    // It stays refused: asking again would only count it again.
                    tally.refused(partition.error_code);
                    spans.remove(&partition.partition_index);
                    continue;
                }
                let Some(span) = spans.get_mut(&partition.partition_index) else { continue };
                let found = Found::in_batches(&partition.records.unwrap_or_default());
                span.next = found.next.unwrap_or(span.next).max(span.next);
                progress.claim(found.records);
                progress.done(&mut tally, now, found.records, found.bytes);
            }
        }
    }
}

fn request(topic: &TopicName, reading: Reading, spans: &BTreeMap<i32, Span>) -> FetchRequest {
    let limit = |bytes: u64| i32::try_from(bytes).unwrap_or(i32::MAX);
    let partition = |(index, span): (&i32, &Span)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(span.next.0)
            .with_partition_max_bytes(limit(reading.partition_bytes.0))
    };
    let topic = FetchTopic::default()
        .with_topic(topic.clone())
        .with_partitions(spans.iter().map(partition).collect());
    FetchRequest::default()
        .with_max_wait_ms(MAX_WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(limit(reading.fetch_bytes.0))
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// What whole batches hold. Kafka may cut the last one short; it is not counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    records: u64,
    bytes: u64,
    /// The offset after the last of them.
    next: Option<Offset>,
}

impl Found {
    fn in_batches(records: &Bytes) -> Self {
        let mut found = Self::default();
        let mut rest = records.as_ref();
        while let Some((next, records, bytes)) = first(rest) {
            found.next = Some(next);
            found.records += records;
            found.bytes += u64::try_from(bytes).unwrap_or_default();
            rest = rest.get(bytes..).unwrap_or_default();
        }
        found
    }
}

/// End offset, records and bytes of the first batch, if all of it is there.
fn first(bytes: &[u8]) -> Option<(Offset, u64, usize)> {
    let base = bytes.get(0..8)?.get_i64();
    let length = bytes.get(8..12)?.get_i32();
    let whole = usize::try_from(length).ok()?.checked_add(12)?;
    let batch = bytes.get(..whole)?;
    let last_delta = batch.get(23..27)?.get_i32();
    let count = batch.get(57..61)?.get_i32();
    let end = Offset(base).advance(i64::from(last_delta) + 1);
    Some((end, u64::try_from(count).unwrap_or_default(), whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{BatchBuilder, Compression},
        types::{LeaderEpoch, Millis},
    };

    #[test]
    fn whole_batches_are_counted_and_a_cut_one_is_not() {
        let mut bytes = Vec::new();
        for base in [10, 12] {
            let mut batch = BatchBuilder::new(Compression::None).at(Offset(base), LeaderEpoch(0));
            batch.push(Millis(1), None, Some(b"a"));
            batch.push(Millis(1), None, Some(b"b"));
            bytes.extend_from_slice(batch.build().unwrap().bytes());
        }
        let found = |bytes: &[u8]| Found::in_batches(&Bytes::copy_from_slice(bytes));
        let whole = u64::try_from(bytes.len()).unwrap();
        let next = Some(Offset(14));
        assert_eq!(found(&bytes), Found { records: 4, bytes: whole, next });
        let cut = found(&bytes[..bytes.len() - 1]);
        assert_eq!((cut.records, cut.next), (2, Some(Offset(12))));
        assert_eq!(found(b""), Found::default());
    }
}
