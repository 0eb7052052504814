//! Every part's metrics, made once for the process: incarnations come and go, series stay.

use crate::{
    cache, cluster, group, kafka,
    log::{self, upload},
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
    pub(super) group: group::Metrics,
    pub(super) kafka: kafka::Metrics,
}

impl Metrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            store: store::Metrics::new(registry),
            cache: cache::Metrics::new(registry),
            cluster: cluster::Metrics::new(registry),
            replication: replication::Metrics::new(registry),
            upload: upload::Metrics::new(registry),
            log: log::Metrics::new(registry),
            group: group::Metrics::new(registry),
            kafka: kafka::Metrics::new(registry),
        }
    }
}
