//! Consumer groups: which there are, who is in them, how far they are.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use proto_kafka::{
    messages::{
        ConsumerGroupDescribeRequest, ConsumerProtocolAssignment, DeleteGroupsRequest,
        DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest,
        OffsetDeleteRequest, OffsetFetchRequest, consumer_group_describe_response as modern,
        describe_groups_response as classic,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    },
    protocol::Decodable,
};

use super::{
    Cluster, Error, To,
    cluster::name_of,
    error::{check, check_told},
    offsets::Named,
    peer::text,
};
use crate::{kafka::Guarded, types::Offset};

const LIST_GROUPS: i16 = 5;
const DESCRIBE_GROUPS: i16 = 6;
const DESCRIBE_CONSUMER_GROUPS: i16 = 1;
/// The newest version for one group a request.
const OFFSET_FETCH: i16 = 7;
/// The newest version that names topics by name.
pub(super) const OFFSET_COMMIT: i16 = 8;
const OFFSET_DELETE: i16 = 0;
const DELETE_GROUPS: i16 = 2;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// A group as a broker lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its state, in Kafka's word; empty when the broker does not tell.
    pub state: String,
    /// What its members do: `consumer`, `connect`, empty for offsets alone.
    pub protocol_type: String,
    /// Which protocol of groups it speaks: `classic`, `consumer`; empty when not told.
    pub kind: String,
    /// The broker that coordinates it, by id.
    pub coordinator: i32,
}

/// A group as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its state, in Kafka's word.
    pub state: String,
    /// What its members do.
    pub protocol_type: String,
    /// How they share partitions, in the words of their clients.
    pub assignor: String,
    /// Those in it.
    pub members: Vec<Member>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its fixed name, if it has one.
    pub instance: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// What it reads; empty for members that are no consumers.
    pub partitions: Vec<Named>,
}

/// How far a group is in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset it reads.
    pub offset: Offset,
    /// Its own note.
    pub note: String,
}

/// Who commits: a member, or an administrator of a group without members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committer<'a> {
    /// The generation; -1 for an administrator.
    pub generation: i32,
    /// The member; empty for an administrator.
    pub member: &'a str,
}

impl Committer<'_> {
    /// Not a member.
    pub const ADMINISTRATOR: Committer<'static> = Committer { generation: -1, member: "" };
}

impl Described {
    /// Whether it has no members, so that its offsets may be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && ["Empty", "Dead", ""].contains(&self.state.as_str())
    }

    fn of_classic(group: &classic::DescribedGroup) -> Self {
        let members = group.members.iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance: member.group_instance_id.as_ref().map(ToString::to_string),
            client_id: member.client_id.to_string(),
            host: member.client_host.trim_start_matches('/').to_owned(),
            partitions: assigned(member.member_assignment.clone()),
        });
        Self {
            state: group.group_state.to_string(),
            protocol_type: group.protocol_type.to_string(),
            assignor: group.protocol_data.to_string(),
            members: members.collect(),
        }
    }

    fn of_modern(group: &modern::DescribedGroup) -> Self {
        let partitions = |member: &modern::Member| {
            let topics = member.assignment.topic_partitions.iter();
            let pairs = topics.flat_map(|topic| {
                let name = topic.topic_name.0.to_string();
                topic.partitions.iter().map(move |partition| (name.clone(), *partition))
            });
            pairs.collect()
        };
        let members = group.members.iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance: member.instance_id.as_ref().map(ToString::to_string),
            client_id: member.client_id.to_string(),
            host: member.client_host.trim_start_matches('/').to_owned(),
            partitions: partitions(member),
        });
        Self {
            state: group.group_state.to_string(),
            protocol_type: "consumer".to_owned(),
            assignor: group.assignor_name.to_string(),
            members: members.collect(),
        }
    }
}

/// What a classic consumer was given; nothing when the bytes are not a consumer's.
pub(super) fn assigned(mut bytes: Bytes) -> Vec<Named> {
    let Ok(version) = bytes.try_get_i16() else { return Vec::new() };
    let version = version.clamp(0, 3);
    let assignment = ConsumerProtocolAssignment::decode(&mut Guarded::new(bytes), version);
    let topics = assignment.map(|it| it.assigned_partitions).unwrap_or_default();
    let pairs = topics.iter().flat_map(|topic| {
        let name = topic.topic.0.to_string();
        topic.partitions.iter().map(move |partition| (name.clone(), *partition))
    });
    pairs.collect()
}

impl Cluster {
    /// Every group of every broker, by name.
    ///
    /// # Errors
    /// When a broker does not answer or refuses.
    pub async fn groups(&mut self) -> Result<Vec<Listed>, Error> {
        let brokers = self.metadata(Some(&[]), false).await?.brokers;
        let mut groups = Vec::new();
        for (id, broker) in brokers {
            let listed = self
                .patiently(async |cluster| {
                    let to = To::Address(&broker.address);
                    let request = ListGroupsRequest::default();
                    let answer = cluster.ask(to, LIST_GROUPS, &request).await?;
                    check(answer.error_code)?;
                    Ok(answer.groups)
                })
                .await?;
            groups.extend(listed.iter().map(|group| Listed {
                name: group.group_id.0.to_string(),
                state: group.group_state.to_string(),
                protocol_type: group.protocol_type.to_string(),
                kind: group.group_type.to_lowercase(),
                coordinator: id,
            }));
        }
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(groups)
    }

    /// A group; none when there is no such one.
    ///
    /// # Errors
    /// As its coordinator answers.
    pub async fn group(&mut self, name: &str) -> Result<Option<Described>, Error> {
        let id = || vec![GroupId(text(name))];
        self.patiently(async |cluster| {
            let request = DescribeGroupsRequest::default().with_groups(id());
            let to = To::Coordinator(name);
            let answer = cluster.ask(to, DESCRIBE_GROUPS, &request).await?;
            let told = answer.groups.first().ok_or(Error::Absent)?;
            if told.error_code == 0 && told.group_state.as_str() != "Dead" {
                return Ok(Some(Described::of_classic(told)));
            }
            if told.error_code != 0 && told.error_code != GROUP_ID_NOT_FOUND {
                return Err(check(told.error_code).err().unwrap_or(Error::Absent));
            }
            // A broker that has groups of the newer protocol describes them by another request.
            let request = ConsumerGroupDescribeRequest::default().with_group_ids(id());
            let answer = match cluster.ask(to, DESCRIBE_CONSUMER_GROUPS, &request).await {
                Err(Error::Unsupported { .. }) => return Ok(None),
                answer => answer?,
            };
            let told = answer.groups.first().ok_or(Error::Absent)?;
            if told.error_code == GROUP_ID_NOT_FOUND {
                return Ok(None);
            }
            check_told(told.error_code, told.error_message.as_deref())?;
            Ok(Some(Described::of_modern(told)))
        })
        .await
    }

    /// How far a group is, wherever it committed.
    ///
    /// # Errors
    /// As its coordinator answers.
    pub async fn committed(&mut self, group: &str) -> Result<BTreeMap<Named, Committed>, Error> {
        let request =
            OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(None);
        self.patiently(async |cluster| {
            let answer = cluster.ask(To::Coordinator(group), OFFSET_FETCH, &request).await?;
            check(answer.error_code)?;
            let mut committed = BTreeMap::new();
            for topic in &answer.topics {
                for partition in &topic.partitions {
                    check(partition.error_code)?;
                    if partition.committed_offset >= 0 {
                        let note = partition.metadata.as_ref().map(ToString::to_string);
                        let offset = Offset(partition.committed_offset);
                        committed.insert(
                            (topic.name.0.to_string(), partition.partition_index),
                            Committed { offset, note: note.unwrap_or_default() },
                        );
                    }
                }
            }
            Ok(committed)
        })
        .await
    }

    /// Sets how far a group is.
    ///
    /// # Errors
    /// `Refused` mostly: the group has members, or the committer is none of them any more.
    pub async fn commit(
        &mut self,
        group: &str,
        by: Committer<'_>,
        offsets: &BTreeMap<Named, Offset>,
    ) -> Result<(), Error> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, partition), offset) in offsets {
            topics.entry(topic).or_default().push(
                OffsetCommitRequestPartition::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(offset.0)
                    .with_committed_metadata(Some(text(""))),
            );
        }
        let topic = |(name, partitions): (&str, _)| {
            OffsetCommitRequestTopic::default().with_name(name_of(name)).with_partitions(partitions)
        };
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(by.generation)
            .with_member_id(text(by.member))
            .with_topics(topics.into_iter().map(topic).collect());
        self.patiently(async |cluster| {
            let answer = cluster.order(To::Coordinator(group), OFFSET_COMMIT, &request).await?;
            let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.try_for_each(|partition| check(partition.error_code))
        })
        .await
    }

    /// Deletes a group and how far it is.
    ///
    /// # Errors
    /// `Refused` mostly: it is not there, or has members.
    pub async fn delete_group(&mut self, group: &str) -> Result<(), Error> {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))]);
        self.patiently(async |cluster| {
            let answer = cluster.order(To::Coordinator(group), DELETE_GROUPS, &request).await?;
            check(answer.results.first().ok_or(Error::Absent)?.error_code)
        })
        .await
    }

    /// Forgets how far a group is in these partitions.
    ///
    /// # Errors
    /// `Refused` mostly: a member reads the topic.
    pub async fn delete_offsets(&mut self, group: &str, of: &[Named]) -> Result<(), Error> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for (topic, partition) in of {
            let partition =
                OffsetDeleteRequestPartition::default().with_partition_index(*partition);
            topics.entry(topic).or_default().push(partition);
        }
        let topic = |(name, partitions): (&str, _)| {
            OffsetDeleteRequestTopic::default().with_name(name_of(name)).with_partitions(partitions)
        };
        let request = OffsetDeleteRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(topics.into_iter().map(topic).collect());
        self.patiently(async |cluster| {
            let answer = cluster.order(To::Coordinator(group), OFFSET_DELETE, &request).await?;
            check(answer.error_code)?;
            let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.try_for_each(|partition| check(partition.error_code))
        })
        .await
    }
}
