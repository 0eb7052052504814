//! Reading partitions from their leaders, all leaders at once.
//!
//! Invariants: one fetch is under way at a leader at a time; a partition that ended is not asked
//! for any more; one whose leader changed goes on at the new one where it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use proto_kafka::messages::{
    FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::PartitionData,
};

use super::Reach;
use crate::{
    cli::output,
    client::{Cluster, Error, Named, Peer, Place, code, name_of},
    env::clock,
    record::BatchView,
    types::Offset,
};

/// The newest version that names topics by name.
const FETCH: i16 = 12;
const MAX_WAIT_MS: i32 = 500;
const PARTITION_BYTES: i32 = 4 * 1024 * 1024;
const FETCH_BYTES: i32 = 32 * 1024 * 1024;
const PAUSE: Duration = Duration::from_millis(200);
const OUT_OF_RANGE: i16 = 1;

/// Whole batches of a partition, of which some records may lie outside `from..end`.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) partition: Named,
    pub(super) from: Offset,
    pub(super) end: Option<Offset>,
    pub(super) batches: Vec<BatchView>,
}

/// One fetch and what came of it.
struct Done {
    leader: String,
    asked: BTreeSet<Named>,
    outcome: Result<(Peer, FetchResponse), Error>,
}

pub(super) struct Lanes {
    cluster: Cluster,
    reaches: BTreeMap<Named, Reach>,
    leaders: BTreeMap<Named, String>,
    idle: BTreeMap<String, Peer>,
    busy: BTreeSet<String>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    ready: Vec<Fetched>,
    /// Since when nothing but trouble came, and the last of it.
    trouble: Option<(Duration, Error)>,
}

impl Lanes {
    pub(super) fn new(cluster: Cluster, reaches: BTreeMap<Named, Reach>) -> Self {
        let mut lanes = Self {
            cluster,
            reaches,
            leaders: BTreeMap::new(),
            idle: BTreeMap::new(),
            busy: BTreeSet::new(),
            under_way: FuturesUnordered::new(),
            ready: Vec::new(),
            trouble: None,
        };
        lanes.forget_ended();
        lanes
    }

    /// The next records of some partition; none when every partition is read to its end.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Fetched>> {
        loop {
            if let Some(fetched) = self.ready.pop() {
                return Ok(Some(fetched));
            }
            if self.reaches.is_empty() {
                return Ok(None);
            }
            self.ask().await?;
            match self.under_way.next().await {
                Some(done) => self.settle(done).await?,
                // Nobody leads anything now.
                None => clock::sleep(PAUSE).await,
            }
        }
    }

    /// Sends a fetch to every leader that has none.
    async fn ask(&mut self) -> anyhow::Result<()> {
        if self.reaches.keys().any(|key| !self.leaders.contains_key(key)) {
            self.find_leaders().await?;
        }
        let mut by_leader: BTreeMap<String, BTreeSet<Named>> = BTreeMap::new();
        for key in self.reaches.keys() {
            if let Some(leader) = self.leaders.get(key).filter(|it| !self.busy.contains(*it)) {
                by_leader.entry(leader.clone()).or_default().insert(key.clone());
            }
        }
        for (leader, asked) in by_leader {
            let peer = match self.idle.remove(&leader) {
                Some(peer) => Ok(peer),
                None => Box::pin(self.cluster.open(&leader)).await,
            };
            let request = self.request(&asked);
            self.busy.insert(leader.clone());
            self.under_way.push(Box::pin(async move {
                let outcome = exchange(peer, &request).await;
                Done { leader, asked, outcome }
            }));
        }
        Ok(())
    }

    async fn find_leaders(&mut self) -> anyhow::Result<()> {
        let topics: BTreeSet<String> =
            self.reaches.keys().map(|(topic, _)| topic.clone()).collect();
        let topics: Vec<String> = topics.into_iter().collect();
        let metadata = match self.cluster.metadata(Some(&topics), false).await {
            Ok(metadata) => metadata,
            Err(error) => return self.bear(error),
        };
        for key in self.reaches.keys().cloned() {
            let topic = metadata.topics.get(&key.0);
            if topic.is_none_or(|topic| topic.code == 3) {
                anyhow::bail!("the topic {} was deleted meanwhile", key.0);
            }
            if let Some(leader) = metadata.leader(&key.0, key.1) {
                self.leaders.insert(key, leader);
            }
        }
        if self.leaders.is_empty() {
            /// LEADER_NOT_AVAILABLE
            const NO_LEADER: i16 = 5;
            return self.bear(Error::Refused(NO_LEADER));
        }
        Ok(())
    }

    fn request(&self, asked: &BTreeSet<Named>) -> FetchRequest {
        let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
        for key in asked {
            let Some(reach) = self.reaches.get(key) else { continue };
            topics.entry(&key.0).or_default().push(
                FetchPartition::default()
                    .with_partition(key.1)
                    .with_fetch_offset(reach.next.0)
                    .with_partition_max_bytes(PARTITION_BYTES),
            );
        }
        let topics = topics.into_iter().map(|(name, partitions)| {
            FetchTopic::default().with_topic(name_of(name)).with_partitions(partitions)
        });
        FetchRequest::default()
            .with_max_wait_ms(MAX_WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_session_epoch(-1)
            .with_topics(topics.collect())
    }

    async fn settle(&mut self, done: Done) -> anyhow::Result<()> {
        self.busy.remove(&done.leader);
        let (peer, answer) = match done.outcome {
            Ok(done) => done,
            Err(error @ (Error::Unsupported { .. } | Error::Malformed(_))) => {
                return Err(error.into());
            }
            Err(error) => {
                self.leaders.retain(|key, _| !done.asked.contains(key));
                clock::sleep(PAUSE).await;
                return self.bear(error);
            }
        };
        self.idle.insert(done.leader, peer);
        let mut refused = None;
        for topic in answer.responses {
            let name = topic.topic.0.to_string();
            for partition in topic.partitions {
                let key = (name.clone(), partition.partition_index);
                match partition.error_code {
                    0 => self.take(&key, &partition)?,
                    OUT_OF_RANGE => self.move_into_range(&key).await?,
                    code if code::is_passing(code) => {
                        self.leaders.remove(&key);
                        refused = Some(Error::Refused(code));
                    }
                    code => {
                        let (topic, partition) = &key;
                        return Err(Error::Refused(code))
                            .with_context(|| format!("cannot read {topic}-{partition}"));
                    }
                }
            }
        }
        self.forget_ended();
        match refused {
            Some(error) => {
                clock::sleep(PAUSE).await;
                self.bear(error)
            }
            None => {
                self.trouble = None;
                Ok(())
            }
        }
    }

    fn take(&mut self, key: &Named, partition: &PartitionData) -> anyhow::Result<()> {
        let Some(reach) = self.reaches.get_mut(key) else { return Ok(()) };
        let records = partition.records.clone().unwrap_or_default();
        let batches = whole_batches(records)
            .with_context(|| format!("records of {}-{} cannot be read", key.0, key.1))?;
        let (from, end) = (reach.next, reach.end);
        if let Some(last) = batches.last() {
            reach.next = last.end_offset().max(reach.next);
        }
        let batches: Vec<BatchView> =
            batches.into_iter().filter(|batch| !batch.is_control()).collect();
        if !batches.is_empty() {
            self.ready.push(Fetched { partition: key.clone(), from, end, batches });
        }
        Ok(())
    }

    /// Records were deleted, or the place is yet to be.
    async fn move_into_range(&mut self, key: &Named) -> anyhow::Result<()> {
        let keys = std::slice::from_ref(key);
        let start = self.cluster.offsets(keys, Place::Start).await?;
        let start = start.get(key).copied().flatten().unwrap_or(Offset::ZERO);
        let Some(reach) = self.reaches.get_mut(key) else { return Ok(()) };
        if reach.next < start {
            let (topic, partition) = key;
            let gone = output::count(start.since(reach.next), "record");
            output::note(format!(
                "{gone} of {topic}-{partition} were deleted before they were read"
            ));
            reach.next = start;
        } else {
            clock::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn forget_ended(&mut self) {
        self.reaches.retain(|_, reach| reach.end.is_none_or(|end| reach.next < end));
    }

    /// Goes on in spite of trouble, for as long as patience lasts.
    fn bear(&mut self, error: Error) -> anyhow::Result<()> {
        let now = self.cluster.env().clock.boot();
        let since = self.trouble.as_ref().map_or(now, |(since, _)| *since);
        let patience = self.cluster.options().patience;
        if now.saturating_sub(since) > patience {
            let limit = humantime::format_duration(patience);
            return Err(error).with_context(|| format!("nothing could be read for {limit}"));
        }
        self.trouble = Some((since, error));
        Ok(())
    }
}

async fn exchange(
    peer: Result<Peer, Error>,
    request: &FetchRequest,
) -> Result<(Peer, FetchResponse), Error> {
    let mut peer = peer?;
    let answer = peer.call(FETCH, request).await?;
    match answer.error_code {
        0 => Ok((peer, answer)),
        code => Err(Error::Refused(code)),
    }
}

/// The batches that are there whole: a broker may cut the last one short.
fn whole_batches(mut records: bytes::Bytes) -> Result<Vec<BatchView>, crate::record::Error> {
    let mut whole = 0_usize;
    let mut rest = records.as_ref();
    while let Some(length) = rest.get(8..12).and_then(|it| it.first_chunk::<4>()) {
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some(after) = length.checked_add(12).and_then(|it| rest.get(it..)) else { break };
        whole += rest.len() - after.len();
        rest = after;
    }
    BatchView::split(records.split_to(whole))
}
