//! The committed offsets of one group.
//!
//! Owns: what is kept, what an equal commit is, what has expired. Does not own: who may commit.

use std::{collections::BTreeMap, sync::Arc};

use super::{Committed, Position, TopicPartition};
use crate::types::{Millis, TopicId};

/// A commit equal to the stored one is written again only when that is older than this, so that a
/// consumer that stands still costs nothing and its offset still does not expire.
const EQUAL_FOR_MS: i64 = 60 * 60 * 1000;

/// Offsets by topic and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets(BTreeMap<Arc<str>, BTreeMap<i32, Committed>>);

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, partition: &TopicPartition) -> Option<&Committed> {
        self.0.get(&partition.topic)?.get(&partition.index)
    }

    pub(super) fn put(&mut self, partition: TopicPartition, committed: Committed) {
        self.0.entry(partition.topic).or_default().insert(partition.index, committed);
    }

    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        if let Some(topic) = self.0.get_mut(&partition.topic) {
            topic.remove(&partition.index);
            if topic.is_empty() {
                self.0.remove(&partition.topic);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (TopicPartition, &Committed)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(index, committed)| {
                (TopicPartition { topic: topic.clone(), index: *index }, committed)
            })
        })
    }

    /// Whether committing `position` would change nothing worth writing.
    pub(super) fn holds(
        &self,
        partition: &TopicPartition,
        position: &Position,
        now: Millis,
    ) -> bool {
        // One with a time of its own is put off by every commit.
        let is_lasting = position.retention_ms.is_none();
        self.get(partition).is_some_and(|stored| {
            is_lasting && stored.position == *position && now.since(stored.at) < EQUAL_FOR_MS
        })
    }

    /// Partitions for which something is kept.
    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.iter().map(|(partition, _)| partition).collect()
    }

    /// Partitions of topics that `is_lost`, told by their name and, if known, their id.
    pub(super) fn of_topics(
        &self,
        is_lost: impl Fn(&str, Option<TopicId>) -> bool,
    ) -> Vec<TopicPartition> {
        let lost = self.iter().filter(|(p, committed)| is_lost(&p.topic, committed.position.topic));
        lost.map(|(partition, _)| partition).collect()
    }

    /// Partitions whose offsets were last needed `retention_ms` before `now`: committed, and,
    /// where given, the group empty since. Topics that `is_read` are spared.
    pub(super) fn expired(
        &self,
        now: Millis,
        retention_ms: i64,
        empty_since: Option<Millis>,
        is_read: impl Fn(&str) -> bool,
    ) -> Vec<TopicPartition> {
        let unread = self.iter().filter(|(partition, _)| !is_read(&partition.topic));
        let has_expired = |committed: &Committed| match committed.position.retention_ms {
            Some(own) => now.since(committed.at) >= own,
            None => {
                let last_needed = empty_since.max(Some(committed.at));
                last_needed.is_some_and(|at| now.since(at) >= retention_ms)
            }
        };
        unread
            .filter(|(_, committed)| has_expired(committed))
            .map(|(partition, _)| partition)
            .collect()
    }

    /// Lets everything count as `gap_ms` younger.
    pub(super) fn shift(&mut self, gap_ms: i64) {
        for committed in self.0.values_mut().flat_map(BTreeMap::values_mut) {
            committed.at = Millis(committed.at.0.saturating_add(gap_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::Offset;

    const HOUR: i64 = 60 * 60 * 1000;

    fn partition(topic: &str, index: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), index }
    }

    fn position(offset: i64) -> Position {
        let (topic, retention_ms) = (None, None);
        let metadata = "".into();
        Position { offset: Offset(offset), leader_epoch: None, metadata, topic, retention_ms }
    }

    fn committed(offset: i64, at: i64) -> Committed {
        Committed { position: position(offset), at: Millis(at) }
    }

    #[test]
    fn an_equal_commit_is_written_again_only_after_an_hour() {
        let mut offsets = Offsets::default();
        let t0 = partition("t", 0);
        assert!(!offsets.holds(&t0, &position(5), Millis(0)));
        offsets.put(t0.clone(), committed(5, 0));
        assert!(offsets.holds(&t0, &position(5), Millis(HOUR - 1)));
        assert!(!offsets.holds(&t0, &position(5), Millis(HOUR)));
        assert!(!offsets.holds(&t0, &position(4), Millis(1)), "a rewind is a change");
        let with_metadata = Position { metadata: "m".into(), ..position(5) };
        assert!(!offsets.holds(&t0, &with_metadata, Millis(1)));
    }

    #[test]
    fn retention_counts_from_the_commit_or_from_when_the_group_emptied() {
        let mut offsets = Offsets::default();
        offsets.put(partition("t", 0), committed(1, 0));
        offsets.put(partition("t", 1), committed(1, 50));
        let expired = |now, empty: Option<i64>| {
            offsets.expired(Millis(now), 100, empty.map(Millis), |_| false).len()
        };
        assert_eq!(expired(99, None), 0);
        assert_eq!(expired(100, None), 1);
        assert_eq!(expired(150, None), 2);
        assert_eq!(expired(150, Some(120)), 0);
        assert_eq!(expired(220, Some(120)), 2);
    }

    #[test]
    fn offsets_of_topics_still_read_do_not_expire() {
        let mut offsets = Offsets::default();
        offsets.put(partition("read", 0), committed(1, 0));
        offsets.put(partition("left", 0), committed(1, 0));
        let expired = offsets.expired(Millis(HOUR), 1, None, |topic| topic == "read");
        assert_eq!(expired, [partition("left", 0)]);
    }

    #[test]
    fn a_retention_the_client_gave_counts_from_the_commit_and_every_commit_renews_it() {
        let mut offsets = Offsets::default();
        let short = Position { retention_ms: Some(10), ..position(5) };
        let committed = Committed { position: short.clone(), at: Millis(0) };
        offsets.put(partition("t", 0), committed);
        assert!(!offsets.holds(&partition("t", 0), &short, Millis(1)));
        let expired = |now| offsets.expired(Millis(now), 100, Some(Millis(50)), |_| false).len();
        assert_eq!((expired(9), expired(10)), (0, 1));
    }

    #[test]
    fn offsets_of_a_topic_are_told_by_its_id_and_of_old_by_its_name() {
        let mut offsets = Offsets::default();
        let id = |n| Some(TopicId(uuid::Uuid::from_u128(n)));
        for (index, topic) in [(0, id(1)), (1, id(2)), (2, None)] {
            let position = Position { topic, ..position(5) };
            offsets.put(partition("t", index), Committed { position, at: Millis(0) });
        }
        let lost =
            offsets.of_topics(|name, topic| name == "t" && topic.is_none_or(|t| Some(t) == id(1)));
        assert_eq!(lost, [partition("t", 0), partition("t", 2)]);
    }

    #[test]
    fn time_without_a_coordinator_is_not_counted() {
        let mut offsets = Offsets::default();
        offsets.put(partition("t", 0), committed(1, 0));
        offsets.shift(1000);
        assert!(offsets.expired(Millis(1050), 100, None, |_| false).is_empty());
        assert_eq!(offsets.expired(Millis(1100), 100, None, |_| false).len(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(i32, i32, i64),
        Remove(i32, i32),
    }

    proptest! {
        #[test]
        fn the_store_is_a_map_of_partitions(
            steps in proptest::collection::vec(
                prop_oneof![
                    (0..3, 0..3, any::<i64>()).prop_map(|(t, p, o)| Step::Put(t, p, o)),
                    (0..3, 0..3).prop_map(|(t, p)| Step::Remove(t, p)),
                ],
                0..60,
            )
        ) {
            let mut offsets = Offsets::default();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(topic, index, offset) => {
                        let partition = partition(&topic.to_string(), index);
                        offsets.put(partition.clone(), committed(offset, 0));
                        model.insert(partition, committed(offset, 0));
                    }
                    Step::Remove(topic, index) => {
                        let partition = partition(&topic.to_string(), index);
                        offsets.remove(&partition);
                        model.remove(&partition);
                    }
                }
                let all: BTreeMap<_, _> =
                    offsets.iter().map(|(p, committed)| (p, committed.clone())).collect();
                prop_assert_eq!(&all, &model);
                prop_assert_eq!(offsets.is_empty(), model.is_empty());
                for partition in offsets.partitions() {
                    prop_assert_eq!(offsets.get(&partition), model.get(&partition));
                }
            }
        }
    }
}
