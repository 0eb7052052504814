//! Orders about topics, and their sizes.

use std::collections::BTreeMap;

use proto_kafka::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeLogDirsRequest,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    describe_log_dirs_request::DescribableLogDirTopic,
};

use super::{
    Cluster, Error, To,
    cluster::name_of,
    error::{check, check_told},
    peer::text,
};
use crate::types::Offset;

const CREATE_TOPICS: i16 = 7;
/// The newest version that names topics by name alone.
const DELETE_TOPICS: i16 = 5;
const CREATE_PARTITIONS: i16 = 3;
const DELETE_RECORDS: i16 = 2;
const DESCRIBE_LOG_DIRS: i16 = 4;

/// A topic that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many, or as many as the brokers are set to.
    pub partitions: Option<i32>,
    /// How many, or as many as the brokers are set to.
    pub replication: Option<i16>,
    /// Configs that differ from the brokers'.
    pub configs: Vec<(String, String)>,
}

impl Cluster {
    /// Creates a topic; with `dry` only finds out whether it could. Tells its partitions.
    ///
    /// # Errors
    /// `RefusedBecause` mostly.
    pub async fn create_topic(&mut self, topic: &NewTopic, dry: bool) -> Result<i32, Error> {
        let config = |(name, value): &(String, String)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let wanted = CreatableTopic::default()
            .with_name(name_of(&topic.name))
            .with_num_partitions(topic.partitions.unwrap_or(-1))
            .with_replication_factor(topic.replication.unwrap_or(-1))
            .with_configs(topic.configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![wanted])
            .with_validate_only(dry)
            .with_timeout_ms(self.timeout_ms());
        self.patiently(async |cluster| {
            let answer = cluster.order(To::Controller, CREATE_TOPICS, &request).await?;
            let told = answer.topics.first().ok_or(Error::Absent)?;
            check_told(told.error_code, told.error_message.as_deref())?;
            Ok(told.num_partitions)
        })
        .await
    }

    /// Deletes a topic with all its records.
    ///
    /// # Errors
    /// `Refused` mostly.
    pub async fn delete_topic(&mut self, name: &str) -> Result<(), Error> {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![name_of(name)])
            .with_timeout_ms(self.timeout_ms());
        self.patiently(async |cluster| {
            let answer = cluster.order(To::Controller, DELETE_TOPICS, &request).await?;
            let told = answer.responses.first().ok_or(Error::Absent)?;
            check(told.error_code)
        })
        .await
    }

    /// Gives a topic more partitions, `count` in all; with `dry` only finds out whether it could.
    ///
    /// # Errors
    /// `RefusedBecause` mostly.
    pub async fn add_partitions(&mut self, name: &str, count: i32, dry: bool) -> Result<(), Error> {
        let topic = CreatePartitionsTopic::default()
            .with_name(name_of(name))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_validate_only(dry)
            .with_timeout_ms(self.timeout_ms());
        self.patiently(async |cluster| {
            let answer = cluster.order(To::Controller, CREATE_PARTITIONS, &request).await?;
            let told = answer.results.first().ok_or(Error::Absent)?;
            check_told(told.error_code, told.error_message.as_deref())
        })
        .await
    }

    /// Deletes a partition's records below `before`; tells where it starts then.
    ///
    /// # Errors
    /// `Refused` mostly.
    pub async fn delete_records(
        &mut self,
        topic: &str,
        partition: i32,
        before: Offset,
    ) -> Result<Offset, Error> {
        let cut =
            DeleteRecordsPartition::default().with_partition_index(partition).with_offset(before.0);
        let cut =
            DeleteRecordsTopic::default().with_name(name_of(topic)).with_partitions(vec![cut]);
        let request = DeleteRecordsRequest::default()
            .with_topics(vec![cut])
            .with_timeout_ms(self.timeout_ms());
        self.patiently(async |cluster| {
            let leader = cluster.leader(topic, partition).await?;
            let answer = cluster.order(To::Address(&leader), DELETE_RECORDS, &request).await?;
            let told = answer.topics.first().and_then(|topic| topic.partitions.first());
            let told = told.ok_or(Error::Absent)?;
            check(told.error_code)?;
            Ok(Offset(told.low_watermark))
        })
        .await
    }

    /// Bytes of each partition of `topics`, the largest that any broker tells of it; those that no
    /// broker tells of are not there.
    ///
    /// # Errors
    /// When a broker does not answer or does not offer it.
    pub async fn sizes(
        &mut self,
        topics: &BTreeMap<String, Vec<i32>>,
    ) -> Result<BTreeMap<(String, i32), u64>, Error> {
        let wanted = |(name, partitions): (&String, &Vec<i32>)| {
            DescribableLogDirTopic::default()
                .with_topic(name_of(name))
                .with_partitions(partitions.clone())
        };
        let request = DescribeLogDirsRequest::default()
            .with_topics(Some(topics.iter().map(wanted).collect()));
        let brokers = self.metadata(Some(&[]), false).await?.brokers;
        let mut sizes = BTreeMap::new();
        for broker in brokers.values() {
            let to = To::Address(&broker.address);
            let answer = self.ask(to, DESCRIBE_LOG_DIRS, &request).await?;
            for topic in answer.results.iter().flat_map(|folder| &folder.topics) {
                for partition in topic.partitions.iter().filter(|it| !it.is_future_key) {
                    let key = (topic.name.0.to_string(), partition.partition_index);
                    let bytes = u64::try_from(partition.partition_size).unwrap_or_default();
                    let known: &mut u64 = sizes.entry(key).or_default();
                    *known = bytes.max(*known);
                }
            }
        }
        Ok(sizes)
    }

    /// The leader of a partition.
    ///
    /// # Errors
    /// `Refused`: there is no such partition, or no leader now.
    pub async fn leader(&mut self, topic: &str, partition: i32) -> Result<String, Error> {
        const UNKNOWN: i16 = 3;
        const NO_LEADER: i16 = 5;
        let metadata = self.metadata(Some(&[topic.to_owned()]), false).await?;
        let found = metadata.topics.get(topic).ok_or(Error::Absent)?;
        check(found.code)?;
        if !found.partitions.contains_key(&partition) {
            return Err(Error::Refused(UNKNOWN));
        }
        metadata.leader(topic, partition).ok_or(Error::Refused(NO_LEADER))
    }

    /// How long a broker may take for an order.
    pub(super) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.options().patience.as_millis()).unwrap_or(i32::MAX)
    }
}
