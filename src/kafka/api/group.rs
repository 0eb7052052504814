//! What the group APIs share: names and callers from the wire, texts back to it.

use std::sync::Arc;

use proto_kafka::{messages, protocol::StrBytes};

use crate::group::{Caller, GroupId, InstanceId, MemberId, TopicPartition};

/// The group a request names.
pub(super) fn group_id(id: &messages::GroupId) -> GroupId {
    GroupId::from(id.0.as_str())
}

/// The member a request names.
pub(super) fn member_id(id: &StrBytes) -> MemberId {
    MemberId::from(id.as_str())
}

/// The static member a request names.
pub(super) fn instance_id(id: Option<&StrBytes>) -> Option<InstanceId> {
    id.map(|id| InstanceId::from(id.as_str()))
}

/// Who speaks.
pub(super) fn caller(member: &StrBytes, instance: Option<&StrBytes>, generation: i32) -> Caller {
    Caller { member: member_id(member), instance: instance_id(instance), generation }
}

/// A partition a request names.
pub(super) fn partition(topic: &messages::TopicName, index: i32) -> TopicPartition {
    TopicPartition { topic: topic.0.as_str().into(), index }
}

/// A text for the wire.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A text of its own: a slice would keep the whole request in memory.
pub(super) fn kept(text: &StrBytes) -> Arc<str> {
    text.as_str().into()
}
