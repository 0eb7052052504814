//! A member of a classic group.

use std::sync::Arc;

use bytes::Bytes;

use super::Ticket;
use crate::{
    group::{DescribedMember, InstanceId, Join, MemberId, Protocol, record::MemberRecord},
    types::Millis,
};

/// Who it is, what it offers, what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) instance: Option<InstanceId>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    pub(super) awaiting_join: Option<Ticket>,
    pub(super) awaiting_sync: Option<Ticket>,
    /// It has never been told its id, so it cannot send heartbeats: its join itself times out.
    pub(super) is_new: bool,
    pub(super) session_ends: Millis,
}

impl Member {
    pub(super) fn new(join: &Join) -> Self {
        Self {
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols.clone(),
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
            session_ends: Millis(i64::MAX),
        }
    }

    pub(super) fn from_record(record: MemberRecord, protocol: Option<&Arc<str>>) -> Self {
        let protocols = protocol
            .map(|name| Protocol { name: name.clone(), metadata: record.subscription })
            .into_iter()
            .collect();
        Self {
            instance: record.instance,
            client_id: record.client_id,
            client_host: record.client_host,
            session_timeout_ms: record.session_timeout_ms,
            rebalance_timeout_ms: record.rebalance_timeout_ms,
            protocols,
            assignment: record.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            session_ends: Millis(i64::MAX),
        }
    }

    pub(super) fn to_record(&self, id: &MemberId, protocol: Option<&str>) -> MemberRecord {
        MemberRecord {
            member: id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    pub(super) fn describe(&self, id: &MemberId, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member: id.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// Its subscription in `protocol`; empty when it has none.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        self.protocols
            .iter()
            .find(|offered| Some(&*offered.name) == protocol)
            .map(|offered| offered.metadata.clone())
            .unwrap_or_default()
    }

    /// Whether silence is no sign of death: it waits for an answer of ours.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    pub(super) fn touch(&mut self, now: Millis) {
        self.session_ends = after(now, self.session_timeout_ms);
    }
}

/// `now` and a number of milliseconds more.
pub(super) fn after(now: Millis, ms: i32) -> Millis {
    Millis(now.0.saturating_add(i64::from(ms.max(0))))
}
