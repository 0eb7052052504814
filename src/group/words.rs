//! The words of the face: what members and operators ask of a group and what they are told.
//!
//! Owns: plain values without versions of the wire. Does not own: any rule.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::Error;
use crate::types::{LeaderEpoch, Millis, Offset, TopicId};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Arc<str>);

        impl $name {
            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name!(
    /// Name of a group.
    GroupId
);
name!(
    /// Name of a member, handed out by the coordinator; empty when the client has none yet.
    MemberId
);
name!(
    /// Name a user gave a static member (KIP-345).
    InstanceId
);

/// One way of assigning partitions that a member offers, in its order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// The member's subscription in it; opaque.
    pub metadata: Bytes,
}

/// A member asks to be in the next generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Empty for a new member.
    pub member: MemberId,
    /// Set for a static member.
    pub instance: Option<InstanceId>,
    /// Client id of the request.
    pub client_id: Arc<str>,
    /// Address of the client.
    pub client_host: Arc<str>,
    /// How long the member may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// "consumer", "connect", ...
    pub protocol_type: Arc<str>,
    /// What it offers.
    pub protocols: Vec<Protocol>,
    /// A new dynamic member is first told its id and joins again with it (KIP-394).
    pub needs_known_id: bool,
    /// A static leader may be told to skip the assignment (KIP-814).
    pub can_skip_assignment: bool,
}

/// A member is in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The member.
    pub member: MemberId,
    /// The generation.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol chosen.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: MemberId,
    /// The leader knows the assignment already.
    pub skip_assignment: bool,
    /// Everybody, for the leader alone.
    pub members: Vec<JoinedMember>,
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member: MemberId,
    /// Set for a static member.
    pub instance: Option<InstanceId>,
    /// Its subscription in the chosen protocol.
    pub metadata: Bytes,
}

/// A join that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// The id to go on with; with `MemberIdRequired` a new one.
    pub member: MemberId,
    /// Why.
    pub error: Error,
}

/// Who speaks: a member of a generation. Generation -1 and no member: nobody in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The member, empty when none.
    pub member: MemberId,
    /// Set for a static member.
    pub instance: Option<InstanceId>,
    /// The generation it is in.
    pub generation: i32,
}

/// A member asks for its assignment; the leader brings everybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Who asks.
    pub caller: Caller,
    /// What it holds for the group's protocol type, if it says.
    pub protocol_type: Option<Arc<str>>,
    /// What it holds for the group's protocol, if it says.
    pub protocol: Option<Arc<str>>,
    /// From the leader.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The group's protocol.
    pub protocol: Option<Arc<str>>,
    /// Opaque.
    pub assignment: Bytes,
}

/// A member leaves, or is removed by its instance id alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Empty to name a static member by its instance.
    pub member: MemberId,
    /// Set for a static member.
    pub instance: Option<InstanceId>,
}

/// A partition of a topic by name, as offsets are kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub index: i32,
}

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The next offset to read.
    pub offset: Offset,
    /// Leader epoch of the last record read, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the client likes to keep.
    pub metadata: Arc<str>,
    /// Which topic of that name it is of; unknown in records of old.
    pub topic: Option<TopicId>,
    /// How long it is kept, in milliseconds, where the client says: versions 2 to 4 can.
    pub retention_ms: Option<i64>,
}

/// A position as it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The position.
    pub position: Position,
    /// When.
    pub at: Millis,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// Members wait for the leader's assignment.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

impl GroupState {
    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Where it stands.
    pub state: GroupState,
    /// Its protocol type, empty when none.
    pub protocol_type: Arc<str>,
    /// Its protocol, empty unless stable.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// The member.
    pub member: MemberId,
    /// Set for a static member.
    pub instance: Option<InstanceId>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its address.
    pub client_host: Arc<str>,
    /// Its subscription, empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// A group with how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name.
    pub group: GroupId,
    /// Its protocol type, empty when none.
    pub protocol_type: Arc<str>,
    /// Where it stands.
    pub state: GroupState,
    /// How many members it has.
    pub members: usize,
    /// The next offset to read of each partition it has committed for.
    pub offsets: Vec<(TopicPartition, Offset)>,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub group: GroupId,
    /// Its protocol type, empty when none.
    pub protocol_type: Arc<str>,
    /// Where it stands.
    pub state: GroupState,
}
