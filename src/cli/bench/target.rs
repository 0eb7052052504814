//! The cluster and topic under load: who leads what.

use std::collections::{BTreeMap, btree_map::Entry};

use anyhow::{Context, bail};
use clap::Args;
use proto_kafka::{
    messages::{
        CreateTopicsRequest, MetadataRequest, TopicName, create_topics_request::CreatableTopic,
        metadata_request::MetadataRequestTopic,
    },
    protocol::StrBytes,
};

use crate::{
    client::{Connection, Error},
    config,
    env::clock,
};

/// Versions that Kafka 2.1 and everything since speaks.
const METADATA: i16 = 5;
const CREATE_TOPICS: i16 = 3;
const UNKNOWN_TOPIC: i16 = 3;
/// `timestamp` of ListOffsets for the end of a partition.
pub(super) const LATEST: i64 = -1;
/// How often leaders are asked for while a new topic has none.
const ATTEMPTS: u32 = 600;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

#[derive(Args, Debug)]
pub(super) struct Target {
    /// A broker of the cluster
    #[arg(
        long,
        env = config::BOOTSTRAP_VARIABLE,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    bootstrap: String,
    /// The topic; what is written stays in it
    #[arg(long, value_name = "NAME", default_value = "strandline-bench")]
    pub(super) topic: String,
}

/// One connection's share of a topic: a leader and partitions it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    /// The leader, `HOST:PORT`.
    pub(super) leader: String,
    pub(super) partitions: Vec<i32>,
}

/// The leader of each partition, by partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leaders(BTreeMap<i32, String>);

impl Target {
    pub(super) async fn connect(&self, address: &str) -> anyhow::Result<Connection> {
        let connection = Connection::open(address, "strandline-bench").await;
        connection.with_context(|| {
            format!("no broker answers at {address}; give one with --bootstrap HOST:PORT")
        })
    }

    /// Who leads the topic, which is created with `partitions` when given and it is not there.
    pub(super) async fn leaders(&self, partitions: Option<i32>) -> anyhow::Result<Leaders> {
        let mut connection = self.connect(&self.bootstrap).await?;
        let mut created = false;
        for _ in 0..ATTEMPTS {
            match self.ask(&mut connection).await? {
                Ok(leaders) => {
                    if created {
                        self.wait_served(&leaders).await?;
                    }
                    return Ok(leaders);
                }
                Err(UNKNOWN_TOPIC) if !created => {
                    let Some(partitions) = partitions else {
                        bail!(
                            "there is no topic {}; write to it first: strandline bench produce",
                            self.topic
                        )
                    };
                    self.create(&mut connection, partitions).await?;
                    created = true;
                }
                Err(_) => clock::sleep(PAUSE).await,
            }
        }
        bail!("the topic {} has partitions without a leader", self.topic)
    }

    /// Waits until the leaders of a new topic know that they lead it, which may be later than
    /// others say so.
    async fn wait_served(&self, leaders: &Leaders) -> anyhow::Result<()> {
        let mut connections: BTreeMap<&str, Connection> = BTreeMap::new();
        for (partition, leader) in &leaders.0 {
            let connection = match connections.entry(leader) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(absent) => absent.insert(self.connect(leader).await?),
            };
            for attempt in 1.. {
                match connection.list_offset(&self.topic, *partition, LATEST).await {
                    Ok(_) => break,
                    Err(Error::Refused(_)) if attempt < ATTEMPTS => clock::sleep(PAUSE).await,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// The leaders, or the code of the first thing that stands in the way.
    async fn ask(&self, connection: &mut Connection) -> anyhow::Result<Result<Leaders, i16>> {
        let topic = MetadataRequestTopic::default().with_name(Some(self.name()));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(false);
        let answer = connection.call(METADATA, &request).await?;
        let address: BTreeMap<_, _> = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id, format!("{}:{}", broker.host.as_str(), broker.port)))
            .collect();
        let topic = answer.topics.first().context("the answer lacks the topic")?;
        if topic.error_code != 0 {
            return Ok(Err(topic.error_code));
        }
        let mut leaders = BTreeMap::new();
        for partition in &topic.partitions {
            let Some(leader) = address.get(&partition.leader_id) else {
                return Ok(Err(partition.error_code));
            };
            leaders.insert(partition.partition_index, leader.clone());
        }
        Ok(Ok(Leaders(leaders)))
    }

    async fn create(&self, connection: &mut Connection, partitions: i32) -> anyhow::Result<()> {
        let topic = CreatableTopic::default()
            .with_name(self.name())
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let answer = connection.call(CREATE_TOPICS, &request).await?;
        let topic = answer.topics.first().context("the answer lacks the topic")?;
        if topic.error_code != 0 {
            let why = topic.error_message.as_ref().map_or("", |message| message.as_str());
            bail!("cannot create the topic {}: error code {} {why}", self.topic, topic.error_code);
        }
        Ok(())
    }

    pub(super) fn name(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.topic.clone()))
    }
}

impl Leaders {
    /// Shares the partitions among `connections`; one more wherever a share has two leaders.
    pub(super) fn share(&self, connections: u32) -> Vec<Lane> {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        let mut lanes: BTreeMap<(usize, &str), Vec<i32>> = BTreeMap::new();
        // More connections than partitions: several write to one.
        let shares = self.0.iter().cycle().take(connections.max(self.0.len()));
        for (number, (partition, leader)) in shares.enumerate() {
            lanes.entry((number % connections, leader)).or_default().push(*partition);
        }
        let lane = |((_, leader), partitions): ((usize, &str), _)| Lane {
            leader: leader.to_owned(),
            partitions,
        };
        lanes.into_iter().map(lane).collect()
    }

    pub(super) fn partitions(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaders(of: &[(i32, &str)]) -> Leaders {
        Leaders(of.iter().map(|(partition, leader)| (*partition, (*leader).to_owned())).collect())
    }

    fn shares(leaders: &Leaders, connections: u32) -> Vec<(String, Vec<i32>)> {
        let lanes = leaders.share(connections);
        lanes.into_iter().map(|lane| (lane.leader, lane.partitions)).collect()
    }

    #[test]
    fn every_partition_has_a_connection_to_its_leader() {
        let two = leaders(&[(0, "a"), (1, "b"), (2, "a"), (3, "b")]);
        let of = |leader: &str, partitions: &[i32]| (leader.to_owned(), partitions.to_vec());
        assert_eq!(shares(&two, 1), [of("a", &[0, 2]), of("b", &[1, 3])]);
        assert_eq!(shares(&two, 2), [of("a", &[0, 2]), of("b", &[1, 3])]);
        assert_eq!(shares(&two, 4).len(), 4);
    }

    #[test]
    fn connections_beyond_the_partitions_write_to_one_together() {
        let one = leaders(&[(0, "a")]);
        assert_eq!(shares(&one, 3).len(), 3);
        assert!(shares(&one, 3).iter().all(|(_, partitions)| partitions == &[0]));
    }
}
