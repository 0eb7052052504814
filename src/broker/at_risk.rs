//! What the lease says is only on this broker's disk.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::{
    cluster::{AtRisk, TopicAtRisk},
    replication::Replication,
};

/// Where the lease's renewals ask; set while a log runs.
#[derive(Clone, Default)]
pub(super) struct Source(Arc<ArcSwapOption<Replication>>);

impl Source {
    pub(super) fn follow(&self, replication: Replication) {
        self.0.store(Some(Arc::new(replication)));
    }

    /// `None` before the first log runs: what the former lease said still stands.
    pub(super) fn now(&self) -> Option<AtRisk> {
        let at_risk = self.0.load().as_ref()?.at_risk();
        let oldest = at_risk.oldest_append_ms;
        let mut topics: BTreeMap<_, TopicAtRisk> = BTreeMap::new();
        for (partition, bytes) in at_risk.partitions {
            let empty = TopicAtRisk { bytes: 0, oldest_append: oldest.unwrap_or_default() };
            let topic = topics.entry(partition.topic).or_insert(empty);
            topic.bytes = topic.bytes.saturating_add(bytes);
        }
        Some(AtRisk { bytes: at_risk.bytes, oldest_append: oldest, topics })
    }
}
