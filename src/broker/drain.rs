//! The planned end: everything to the bucket, then leave.
//!
//! Owns: the order of a drain and the words of an end. Invariants: exit 0 only when the WAL
//! folder holds nothing the bucket lacks; a second request ends at once and loses nothing.

use std::path::Path;

use super::{Broker, Ended, StopAsked, incarnation::Incarnation};
use crate::{
    cluster::{Cluster, Record},
    env::clock,
    types::ByteCount,
    wal::Folder,
};

impl Broker {
    /// Stops taking work, brings the WAL to the bucket, leaves the cluster.
    pub(super) async fn drain(
        &self,
        incarnation: Incarnation,
        folder: &Folder,
        cluster: &Cluster,
    ) -> Ended {
        self.status.waiting("draining: bringing the WAL to the bucket".to_owned());
        incarnation.close(self);
        let mut asked = self.asked.clone();
        let done = tokio::select! {
            biased;
            _ = asked.wait_for(|asked| *asked == StopAsked::AtOnce) => false,
            () = clock::sleep(self.config.drain_timeout) => false,
            drained = self.leave(&incarnation, cluster) => drained,
        };
        let left = incarnation.at_risk();
        incarnation.abort(self).await;
        if done {
            return Ended::Drained;
        }
        let bytes = left.max(bytes_in(folder));
        let wal = &self.config.wal_dir;
        Ended::Left { reason: format!("{bytes} not uploaded: {}", keep(wal)) }
    }

    /// Waits for the last segment to be published, then says goodbye in the log and the lease.
    async fn leave(&self, incarnation: &Incarnation, cluster: &Cluster) -> bool {
        let id = incarnation.id;
        let mut changes = cluster.subscribe();
        while cluster.with(|state| state.segments_of(id).next().is_some()) {
            if changes.changed().await.is_err() {
                return false;
            }
        }
        if let Err(error) = cluster.commit(vec![Record::Drained { incarnation: id }]).await {
            tracing::warn!(
                %error,
                advice = "keep the WAL folder and start on it again",
                "the drain could not be recorded"
            );
            return false;
        }
        cluster.release_lease().await;
        true
    }
}

/// The end of a broker that was asked to stop before it served. An empty folder is not enough to
/// give it up: the metadata, when it was read, must not wait for a segment of this disk any more,
/// or the next broker would wait for an operator to give up records that never were.
pub(super) fn unserved(folder: &Folder, cluster: Option<&Cluster>) -> Ended {
    let bytes = bytes_in(folder);
    let identity = folder.identity();
    let is_settled = match cluster {
        Some(cluster) => cluster.with(|state| {
            let mut own =
                state.incarnations.iter().filter(|(_, it)| it.storage == identity.storage);
            // One that lives may have asked for segments and not heard yet.
            own.all(|(id, it)| (it.fenced || it.drained) && state.segments_of(*id).next().is_none())
        }),
        None => identity.incarnation.is_none() && !identity.registering,
    };
    if bytes.0 == 0 && is_settled {
        return Ended::Drained;
    }
    let reason = format!(
        "stopped before it served; up to {bytes} in the WAL folder may not be in the bucket: keep it"
    );
    Ended::Left { reason }
}

fn bytes_in(folder: &Folder) -> ByteCount {
    ByteCount(folder.found().iter().map(|found| found.bytes).sum())
}

/// What to do with a WAL folder that is not empty.
pub(super) fn keep(folder: &Path) -> String {
    format!("keep {} and start on it again", folder.display())
}
