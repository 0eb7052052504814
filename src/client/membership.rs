//! A member of a consumer group, in the classic protocol.
//!
//! Owns: joining, sharing partitions out when the group makes us its leader, heartbeats, leaving.
//! Does not own: reading, and when to commit. Invariant: what is read is only what the group gave,
//! for as long as it says so.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use proto_kafka::{
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupId, HeartbeatRequest,
        JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
        consumer_protocol_assignment::TopicPartition, join_group_request::JoinGroupRequestProtocol,
        join_group_response::JoinGroupResponseMember, leave_group_request::MemberIdentity,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::{Decodable, Encodable, StrBytes},
};

use super::{
    Cluster, Error, Peer, cluster::name_of, error::check, groups::assigned, offsets::Named,
    peer::text,
};
use crate::kafka::Guarded;

const JOIN_GROUP: i16 = 5;
const SYNC_GROUP: i16 = 3;
const HEARTBEAT: i16 = 3;
const LEAVE_GROUP: i16 = 3;
/// The form of subscriptions and assignments that every client reads.
const CONSUMER_PROTOCOL: i16 = 0;
const MEMBER_ID_REQUIRED: i16 = 79;
/// UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS
const JOIN_AGAIN: [i16; 3] = [25, 22, 27];
/// A member that says nothing for so long is out.
const SESSION: Duration = Duration::from_secs(30);
/// Others may take so long to give up what they read; Java's clients take up to five minutes.
const REBALANCE: Duration = Duration::from_secs(300);

/// Membership in a group.
#[derive(Debug)]
pub struct Membership {
    group: String,
    topics: Vec<String>,
    peer: Peer,
    id: StrBytes,
    generation: i32,
    assigned: Vec<Named>,
}

impl Membership {
    /// Joins `group` to read `topics`; returns when the group has shared out partitions.
    ///
    /// # Errors
    /// As the coordinator answers.
    pub async fn join(
        cluster: &mut Cluster,
        group: &str,
        topics: &[String],
    ) -> Result<Self, Error> {
        let peer = coordinator(cluster, group).await?;
        let mut member = Self {
            group: group.to_owned(),
            topics: topics.to_vec(),
            peer,
            id: StrBytes::default(),
            generation: -1,
            assigned: Vec::new(),
        };
        member.join_again(cluster).await?;
        Ok(member)
    }

    /// What it was given to read.
    #[must_use]
    pub fn assigned(&self) -> &[Named] {
        &self.assigned
    }

    /// Its id, as the coordinator knows it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The generation of the group it is in.
    #[must_use]
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Tells the coordinator that it is alive; false when it must join again.
    ///
    /// # Errors
    /// As the coordinator answers.
    pub async fn beat(&mut self, cluster: &mut Cluster) -> Result<bool, Error> {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone());
        match self.peer.call(HEARTBEAT, &request).await {
            Ok(answer) if JOIN_AGAIN.contains(&answer.error_code) => Ok(false),
            Ok(answer) => match check(answer.error_code) {
                Err(error) if error.is_misrouted() => {
                    self.peer = coordinator(cluster, &self.group).await?;
                    Ok(true)
                }
                other => other.map(|()| true),
            },
            Err(error) if error.is_of_connection() => {
                self.peer = coordinator(cluster, &self.group).await?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Joins once more, after the group changed.
    ///
    /// # Errors
    /// As the coordinator answers.
    pub async fn join_again(&mut self, cluster: &mut Cluster) -> Result<(), Error> {
        let again = async |member: &mut Self, cluster: &mut Cluster| {
            let joined = member.enter().await?;
            member.generation = joined.generation_id;
            member.id = joined.member_id.clone();
            let shares = if joined.leader == joined.member_id {
                share_out(cluster, &joined.members).await?
            } else {
                Vec::new()
            };
            member.receive(shares).await
        };
        loop {
            match again(self, cluster).await {
                Err(Error::Refused(code)) if JOIN_AGAIN.contains(&code) => {
                    // An id that is not known any more is of no use; another is given.
                    const UNKNOWN: i16 = 25;
                    if code == UNKNOWN {
                        self.id = StrBytes::default();
                    }
                }
                Err(error) if error.is_misrouted() || error.is_of_connection() => {
                    self.peer = coordinator(cluster, &self.group).await?;
                }
                done => return done,
            }
        }
    }

    /// Leaves the group, so that others need not wait for the session to end.
    ///
    /// # Errors
    /// As the coordinator answers.
    pub async fn leave(mut self) -> Result<(), Error> {
        let me = MemberIdentity::default().with_member_id(self.id.clone());
        let request = LeaveGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_members(vec![me]);
        let answer = self.peer.call(LEAVE_GROUP, &request).await?;
        check(answer.error_code)
    }

    async fn enter(&mut self) -> Result<JoinGroupResponse, Error> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("range"))
            .with_metadata(subscription(&self.topics)?);
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_session_timeout_ms(ms(SESSION))
            .with_rebalance_timeout_ms(ms(REBALANCE))
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol]);
        let ask = request.clone().with_member_id(self.id.clone());
        let mut answer = self.peer.call(JOIN_GROUP, &ask).await?;
        if answer.error_code == MEMBER_ID_REQUIRED {
            let ask = request.with_member_id(answer.member_id);
            answer = self.peer.call(JOIN_GROUP, &ask).await?;
        }
        check(answer.error_code)?;
        Ok(answer)
    }

    async fn receive(&mut self, shares: Vec<SyncGroupRequestAssignment>) -> Result<(), Error> {
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_assignments(shares);
        let answer = self.peer.call(SYNC_GROUP, &request).await?;
        check(answer.error_code)?;
        self.assigned = assigned(answer.assignment);
        Ok(())
    }
}

/// A connection of its own: a join waits for the other members, and for long.
async fn coordinator(cluster: &mut Cluster, group: &str) -> Result<Peer, Error> {
    let client_id = cluster.options().client_id.clone();
    cluster
        .patiently(async |cluster| {
            let address = cluster.coordinator(group).await?;
            let limit = REBALANCE.saturating_add(cluster.options().patience);
            Peer::open(&address, &client_id, limit).await
        })
        .await
}

fn ms(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

fn subscription(topics: &[String]) -> Result<Bytes, Error> {
    let subscription = ConsumerProtocolSubscription::default()
        .with_topics(topics.iter().map(|topic| text(topic)).collect())
        .with_user_data(None);
    versioned(&subscription)
}

fn versioned(message: &impl Encodable) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(CONSUMER_PROTOCOL);
    message.encode(&mut bytes, CONSUMER_PROTOCOL)?;
    Ok(bytes.freeze())
}

/// The topics a member wants; none when its bytes are not a consumer's.
fn wanted(mut bytes: Bytes) -> Vec<String> {
    let Ok(version) = bytes.try_get_i16() else { return Vec::new() };
    let version = version.clamp(0, 3);
    let found = ConsumerProtocolSubscription::decode(&mut Guarded::new(bytes), version);
    found.map(|it| it.topics.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// What each member gets.
async fn share_out(
    cluster: &mut Cluster,
    members: &[JoinGroupResponseMember],
) -> Result<Vec<SyncGroupRequestAssignment>, Error> {
    let wants: BTreeMap<String, Vec<String>> = members
        .iter()
        .map(|member| (member.member_id.to_string(), wanted(member.metadata.clone())))
        .collect();
    let mut topics: Vec<String> = wants.values().flatten().cloned().collect();
    topics.sort_unstable();
    topics.dedup();
    let metadata = cluster.metadata(Some(&topics), false).await?;
    let counts = topics.into_iter().filter_map(|name| {
        let topic = metadata.topics.get(&name).filter(|topic| topic.code == 0)?;
        Some((name, topic.partitions.len()))
    });
    let shares = by_range(&wants, &counts.collect());
    let share = |(id, topics): (String, BTreeMap<String, Vec<i32>>)| {
        let topics = topics.into_iter().map(|(name, partitions)| {
            TopicPartition::default().with_topic(name_of(&name)).with_partitions(partitions)
        });
        let assignment = ConsumerProtocolAssignment::default()
            .with_assigned_partitions(topics.collect())
            .with_user_data(None);
        Ok(SyncGroupRequestAssignment::default()
            .with_member_id(text(&id))
            .with_assignment(versioned(&assignment)?))
    };
    shares.into_iter().map(share).collect()
}

/// By range, as Kafka's assignor of that name does: of each topic, members in the order of their
/// ids get runs of neighbours, the first ones one more where it does not come out even.
fn by_range(
    wants: &BTreeMap<String, Vec<String>>,
    counts: &BTreeMap<String, usize>,
) -> BTreeMap<String, BTreeMap<String, Vec<i32>>> {
    let mut shares: BTreeMap<String, BTreeMap<String, Vec<i32>>> =
        wants.keys().map(|id| (id.clone(), BTreeMap::new())).collect();
    for (topic, count) in counts {
        let members: Vec<&String> =
            wants.iter().filter(|(_, topics)| topics.contains(topic)).map(|(id, _)| id).collect();
        let (each, more) = (
            count.checked_div(members.len()).unwrap_or_default(),
            count.checked_rem(members.len()).unwrap_or_default(),
        );
        let mut partitions = (0_i32..).take(*count);
        for (at, id) in members.into_iter().enumerate() {
            let share: Vec<i32> = partitions.by_ref().take(each + usize::from(at < more)).collect();
            if let Some(topics) = shares.get_mut(id).filter(|_| !share.is_empty()) {
                topics.insert(topic.clone(), share);
            }
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_shared_by_range_among_those_who_want_the_topic() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wants = BTreeMap::from([
            ("a".to_owned(), names(&["tide", "boats"])),
            ("b".to_owned(), names(&["tide"])),
            ("c".to_owned(), names(&["tide", "gone"])),
        ]);
        let counts = BTreeMap::from([("tide".to_owned(), 5), ("boats".to_owned(), 2)]);
        let shares = by_range(&wants, &counts);
        let of = |id: &str, topic: &str| shares[id].get(topic).cloned().unwrap_or_default();
        assert_eq!(of("a", "tide"), [0, 1]);
        assert_eq!(of("b", "tide"), [2, 3]);
        assert_eq!(of("c", "tide"), [4]);
        assert_eq!(of("a", "boats"), [0, 1]);
        assert!(shares["c"].len() == 1 && shares["b"].len() == 1);
    }

    #[test]
    fn a_subscription_has_the_form_that_every_client_reads() {
        let bytes = subscription(&["tide".to_owned()]).unwrap();
        assert_eq!(bytes.as_ref(), b"\0\0\0\0\0\x01\0\x04tide\xff\xff\xff\xff");
        assert_eq!(wanted(bytes), ["tide"]);
        assert!(wanted(Bytes::from_static(b"\0")).is_empty());
        assert!(wanted(Bytes::from_static(b"\0\0\xff")).is_empty());
    }
}
