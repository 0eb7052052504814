//! Rules of WAL segments: opened ahead of use, published once, recovered whole.

use std::sync::Arc;

use super::{Applied, At, Rejection};
use crate::{
    cluster::{
        record::{Member, NewObject},
        state::{EpochStart, Partition, Segment, SegmentStatus, State},
    },
    types::{BrokerId, Incarnation, Offset, SegmentId},
};

/// Open segments of an incarnation: the one written, its spare, and one not yet published.
const MAX_OPEN: usize = 3;

impl State {
    pub(super) fn segment_open(
        &mut self,
        segment: SegmentId,
        nonce: u64,
        ensemble: &[Member],
    ) -> Result<Applied, Rejection> {
        let owner = self.require_living(segment.incarnation)?;
        if segment.sequence < owner.next_segment {
            return Err(Rejection::Overtaken("a segment of that sequence was opened before"));
        }
        let own = Member {
            broker: owner.broker,
            storage: owner.storage,
            incarnation: segment.incarnation,
        };
        let known = |member: &Member| {
            self.living(member.incarnation).is_some_and(|state| {
                state.broker == member.broker && state.storage == member.storage
            })
        };
        if !ensemble.contains(&own) || !ensemble.iter().all(known) {
            return Err(Rejection::Invalid("an ensemble is its writer and living brokers"));
        }
        let twice = |(at, member): (usize, &Member)| {
            ensemble.iter().take(at).any(|other| other.storage == member.storage)
        };
        if ensemble.iter().enumerate().any(twice) {
            return Err(Rejection::Invalid("an ensemble has a disk once"));
        }
        if self.segments_of(segment.incarnation).count() >= MAX_OPEN {
            return Err(Rejection::TooManySegments(segment.incarnation));
        }
        if let Some(owner) = self.incarnations.get_mut(&segment.incarnation) {
            owner.next_segment = segment.sequence.saturating_add(1);
        }
        let ensemble = ensemble.to_vec();
        let opened = Segment { nonce, ensemble, status: SegmentStatus::Open };
        self.segments.insert(segment, opened);
        Ok(Applied::Done)
    }

    pub(super) fn segment_uploaded(
        &mut self,
        at: At,
        segment: SegmentId,
        objects: &[NewObject],
    ) -> Result<Applied, Rejection> {
        self.require_living(segment.incarnation)?;
        match self.segments.get(&segment) {
            Some(found) if found.status == SegmentStatus::Open => {}
            _ => return Err(Rejection::SegmentNotOpen(segment)),
        }
        let plan = self.plan_objects(segment.incarnation, objects)?;
        self.segments.remove(&segment);
        self.publish(at, objects, &plan);
        Ok(Applied::Done)
    }

    pub(super) fn segments_recovered(
        &mut self,
        at: At,
        incarnation: Incarnation,
        segments: &[(SegmentId, u64)],
        objects: &[NewObject],
        successor: BrokerId,
    ) -> Result<Applied, Rejection> {
        if !self.incarnations.get(&incarnation).is_some_and(|state| state.fenced) {
            return Err(Rejection::NotRecovering(incarnation));
        }
        let all: Vec<_> = self.segments_of(incarnation).map(|(id, _)| id).collect();
        let mut named: Vec<_> = segments.iter().map(|(id, _)| *id).collect();
        named.sort_unstable();
        if named != all {
            return Err(Rejection::Invalid("a recovery seals every segment of the incarnation"));
        }
        let leader = self.living_broker(successor).ok_or(Rejection::BrokerNotAlive(successor))?;
        let plan = self.plan_objects(incarnation, objects)?;
        self.publish(at, objects, &plan);
        self.segments.retain(|id, _| id.incarnation != incarnation);
        self.incarnations.remove(&incarnation);
        for topic in self.topics.values_mut() {
            if topic.partitions.iter().any(|partition| partition.incarnation == incarnation) {
                let partitions = Arc::make_mut(topic).partitions.iter_mut();
                partitions
                    .filter(|partition| partition.incarnation == incarnation)
                    .for_each(|partition| partition.move_to(successor, leader));
            }
        }
        Ok(Applied::Done)
    }
}

impl Partition {
    /// A new leader, in a new epoch from the end on (I6).
    fn move_to(&mut self, leader: BrokerId, incarnation: Incarnation) {
        // Records deleted before they were published leave the log start beyond the end.
        self.end = self.end.max(self.log_start);
        self.leader = leader;
        self.incarnation = incarnation;
        self.leader_epoch = self.leader_epoch.next();
        // An epoch without a record is as if it had never been.
        while self.epochs.last().is_some_and(|last| last.start >= self.end) {
            self.epochs.pop();
        }
        self.epochs.push(EpochStart { epoch: self.leader_epoch, start: self.end });
        self.forget_old_epochs();
    }

    /// Raises the log start and forgets epochs wholly below it; the newest at or below stays, for
    /// it covers the log start.
    pub(super) fn raise_log_start(&mut self, to: Offset) {
        self.log_start = to;
        self.forget_old_epochs();
    }

    fn forget_old_epochs(&mut self) {
        let covering = self.epochs.partition_point(|epoch| epoch.start <= self.log_start);
        self.epochs.drain(..covering.saturating_sub(1));
    }
}
