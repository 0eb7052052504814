//! Where partitions start and end, and what was when.

use std::collections::BTreeMap;

use proto_kafka::messages::{
    ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

use super::{Cluster, Error, To, cluster::name_of, error::check};
use crate::types::{Millis, Offset};

const LIST_OFFSETS: i16 = 7;

/// A place in a partition that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first record there is.
    Start,
    /// After the last record that is committed.
    End,
    /// The first record not before this time.
    At(Millis),
}

/// A partition by its topic's name.
pub type Named = (String, i32);

impl Place {
    fn timestamp(self) -> i64 {
        match self {
            Self::Start => -2,
            Self::End => -1,
            Self::At(time) => time.0.max(0),
        }
    }
}

impl Cluster {
    /// The offsets of a place in partitions; none where no record is so new.
    ///
    /// # Errors
    /// `Refused`: a partition is not there or has no leader.
    pub async fn offsets(
        &mut self,
        partitions: &[Named],
        place: Place,
    ) -> Result<BTreeMap<Named, Option<Offset>>, Error> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.patiently(async |cluster| cluster.offsets_now(partitions, place).await).await
    }

    async fn offsets_now(
        &mut self,
        partitions: &[Named],
        place: Place,
    ) -> Result<BTreeMap<Named, Option<Offset>>, Error> {
        const UNKNOWN: i16 = 3;
        const NO_LEADER: i16 = 5;
        let mut names: Vec<String> = partitions.iter().map(|(topic, _)| topic.clone()).collect();
        names.dedup();
        let metadata = self.metadata(Some(&names), false).await?;
        let mut by_leader: BTreeMap<String, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for (topic, partition) in partitions {
            let found = metadata.topics.get(topic).ok_or(Error::Absent)?;
            check(found.code)?;
            if !found.partitions.contains_key(partition) {
                return Err(Error::Refused(UNKNOWN));
            }
            let leader = metadata.leader(topic, *partition).ok_or(Error::Refused(NO_LEADER))?;
            let topics = by_leader.entry(leader).or_default();
            topics.entry(topic).or_default().push(*partition);
        }
        let mut found = BTreeMap::new();
        for (leader, topics) in by_leader {
            let request = request(&topics, place);
            let answer = self.ask(To::Address(&leader), LIST_OFFSETS, &request).await?;
            collect(&answer, &mut found)?;
        }
        Ok(found)
    }
}

fn request(topics: &BTreeMap<&str, Vec<i32>>, place: Place) -> ListOffsetsRequest {
    let partition = |index: &i32| {
        ListOffsetsPartition::default()
            .with_partition_index(*index)
            .with_current_leader_epoch(-1)
            .with_timestamp(place.timestamp())
    };
    let topics = topics.iter().map(|(name, partitions)| {
        ListOffsetsTopic::default()
            .with_name(name_of(name))
            .with_partitions(partitions.iter().map(partition).collect())
    });
    ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(topics.collect())
}

fn collect(
    answer: &ListOffsetsResponse,
    found: &mut BTreeMap<Named, Option<Offset>>,
) -> Result<(), Error> {
    for topic in &answer.topics {
        for partition in &topic.partitions {
            check(partition.error_code)?;
            let offset = (partition.offset >= 0).then_some(Offset(partition.offset));
            found.insert((topic.name.0.to_string(), partition.partition_index), offset);
        }
    }
    Ok(())
}
