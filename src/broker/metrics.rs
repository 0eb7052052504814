//! Every part's metrics, made once for the process: incarnations come and go, series stay.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};

use crate::{
    cache, cluster,
    config::Memory,
    group, http, kafka,
    log::{self, retention, upload},
    metrics::Registry,
    replication, store,
};

#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) store: store::Metrics,
    pub(super) cache: cache::Metrics,
    pub(super) cluster: cluster::Metrics,
    pub(super) replication: replication::Metrics,
    pub(super) upload: upload::Metrics,
    pub(super) log: log::Metrics,
    pub(super) retention: retention::Metrics,
    pub(super) group: group::Metrics,
    pub(super) kafka: kafka::Metrics,
    pub(super) http: http::Metrics,
    memory_budget: Family<Part, Gauge<u64, AtomicU64>>,
}

/// A part of the memory budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let memory_budget = Family::default();
        registry.register(
            "memory_budget_bytes",
            "Bytes of memory each part may take",
            memory_budget.clone(),
        );
        Self {
            memory_budget,
            store: store::Metrics::new(registry),
            cache: cache::Metrics::new(registry),
            cluster: cluster::Metrics::new(registry),
            replication: replication::Metrics::new(registry),
            upload: upload::Metrics::new(registry),
            log: log::Metrics::new(registry),
            retention: retention::Metrics::new(registry),
            group: group::Metrics::new(registry),
            kafka: kafka::Metrics::new(registry),
            http: http::Metrics::new(registry),
        }
    }

    /// Shows how the memory is shared out.
    pub(super) fn show(&self, memory: &Memory) {
        for (part, bytes) in memory.parts() {
            self.memory_budget.get_or_create(&Part { part }).set(bytes.0);
        }
    }

    /// What the page's plots are made of, now.
    pub(super) fn meters(&self) -> http::Meters {
        let (appended_bytes, read_bytes) = self.log.flow();
        let (requests, produce) = self.kafka.flow();
        let (uploading_bytes, uploaded_bytes) = self.upload.flow();
        let (wal_bytes, wal_budget_bytes, wal_age_seconds) = self.replication.waiting();
        http::Meters {
            appended_bytes,
            read_bytes,
            uploaded_bytes,
            requests,
            produce,
            connections: self.kafka.connections(),
            wal_bytes,
            wal_budget_bytes,
            wal_age_seconds,
            uploading_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Name, type and labels of each row of `docs/metrics.md`.
    fn rows() -> Vec<(String, String, bool)> {
        let page = include_str!("../../docs/metrics.md");
        let rows = page.lines().filter(|line| line.starts_with("| `strandline_"));
        rows.map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, labels, meaning, ..] = cells[..] else { panic!("{row}") };
            assert!(!meaning.is_empty(), "{row}");
            (name.trim_matches('`').to_owned(), kind.to_owned(), labels.is_empty())
        })
        .collect()
    }

    #[test]
    fn every_family_has_a_line_in_the_documentation_and_every_line_a_family() {
        let mut registry = Registry::with_prefix("strandline");
        Metrics::new(&mut registry);
        let exported: BTreeMap<_, _> = registry
            .families()
            .iter()
            .map(|family| {
                let total = if family.kind == "counter" { "_total" } else { "" };
                (format!("{}{total}", family.name), family.kind.clone())
            })
            .collect();
        assert_eq!(exported.len(), registry.families().len(), "a name twice");
        let told: Vec<_> = rows();
        let documented: BTreeMap<_, _> =
            told.iter().map(|(name, kind, _)| (name.clone(), kind.clone())).collect();
        assert_eq!(documented.len(), told.len(), "a line twice");
        let lacks: Vec<_> = exported.iter().filter(|it| !documented.contains_key(it.0)).collect();
        let old: Vec<_> = documented.iter().filter(|it| !exported.contains_key(it.0)).collect();
        assert!(lacks.is_empty() && old.is_empty(), "no line: {lacks:?}; no family: {old:?}");
        assert_eq!(documented, exported);
    }

    #[test]
    fn names_end_with_what_they_measure() {
        let mut registry = Registry::with_prefix("strandline");
        Metrics::new(&mut registry);
        for family in registry.families() {
            let timed = family.kind == "histogram" && family.name.contains("seconds");
            let sized = family.name.ends_with("_bytes") || family.name.ends_with("_batches");
            assert!(family.kind != "histogram" || timed || sized, "{}", family.name);
            assert!(!family.name.ends_with("_total") && !family.help.is_empty());
        }
    }
}
