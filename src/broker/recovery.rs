//! Recovery of former incarnations at a start, and the wait for an operator where records are
//! gone.
//!
//! Owns: what is shown while waiting, and the order to accept a loss. Does not own: recovery.
//! Invariant: nothing is given up but by an order given while the loss was on show.

use tokio::sync::oneshot;

use super::{Broker, Error};
use crate::{
    cluster::Cluster,
    http::LossAtRisk,
    log::recover::{self, Report},
    types::{Incarnation, PartitionId, SegmentId},
};

/// An operator's order to accept a loss; the answer is shown to them.
pub(super) type Order = oneshot::Sender<Result<String, String>>;

/// What is missing of a former incarnation.
struct Missing {
    incarnation: Incarnation,
    missing: Vec<SegmentId>,
    suspect: Vec<(SegmentId, String)>,
    partitions: Vec<PartitionId>,
}

impl Broker {
    /// Recovers every former incarnation; waits for an order where records are gone.
    pub(super) async fn recover(&self, parts: &recover::Parts) -> Result<Report, Error> {
        self.status.at("recovering what the WAL folder holds into the bucket");
        let mut order: Option<Order> = None;
        loop {
            let recovered = recover::recover(parts, order.is_some()).await;
            let missing = match recovered {
                Ok(report) => {
                    if let Some(order) = order {
                        let done = "the loss is accepted: sealed at what the bucket holds";
                        drop(order.send(Ok(done.to_owned())));
                    }
                    return Ok(report);
                }
                Err(recover::Error::Missing { incarnation, missing, suspect, partitions }) => {
                    Missing { incarnation, missing, suspect, partitions }
                }
                Err(other) => return Err(other.into()),
            };
            let (reason, loss) = missing.shown(&parts.cluster);
            self.status.at_risk(reason, loss);
            order = self.orders.lock().await.recv().await;
        }
    }
}

impl Missing {
    fn shown(self, cluster: &Cluster) -> (String, LossAtRisk) {
        let last = cluster.last_lease();
        let name = |id: &PartitionId| {
            cluster.with(|state| {
                let topic = state.topics.get(&id.topic);
                topic.map_or_else(|| id.to_string(), |topic| format!("{}-{}", topic.name, id.index))
            })
        };
        let segments = self.missing.iter().map(ToString::to_string);
        let suspect = self.suspect.iter().map(|(id, why)| format!("{id} ({why})"));
        let loss = LossAtRisk {
            partitions: self.partitions.iter().map(name).collect(),
            segments: segments.chain(suspect).collect(),
            bytes: last.as_ref().map(|risk| risk.bytes),
            oldest_append_ms: last.and_then(|risk| risk.oldest_append).map(|oldest| oldest.0),
        };
        let reason = format!(
            "the write-ahead log of incarnation {} is not whole in this WAL folder (segments {}): \
             records of {} that are not in the bucket are on another disk. Start with that folder, \
             or give them up with `strandline cluster accept-loss`",
            self.incarnation,
            few(&loss.segments),
            few(&loss.partitions),
        );
        (reason, loss)
    }
}

/// The first names of many.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
