//! A look at a cluster from outside: whose bucket it is, who holds it, what its metadata says.
//!
//! Owns: reading without taking part. Does not own: any judgement. Invariant: nothing is written,
//! and nobody is waited for.

use std::time::Duration;

use super::{documents::AtRisk, error::ReadError, meta::Meta, replay::Replay, state::State};
use crate::{
    env::Env,
    store::Store,
    types::{ClusterId, StorageId},
};

/// What a bucket says of its cluster.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose it is.
    pub cluster: ClusterId,
    /// Its lease, when there is one.
    pub lease: Option<SeenLease>,
    /// Its metadata, as far as the log went when it was read.
    pub state: State,
}

/// Who is probably controller.
#[derive(Clone, Debug)]
pub struct SeenLease {
    /// The disk of the holder.
    pub storage: StorageId,
    /// Where it can be asked whether it lives.
    pub address: String,
    /// How long a candidate waits for it.
    pub ttl: Duration,
    /// Given up by its holder.
    pub released: bool,
    /// What the holder's disk had and the bucket had not, when it last said so.
    pub at_risk: AtRisk,
}

/// Reads what is there; `None` where there is no cluster.
///
/// # Errors
/// No answer, or something that cannot be used.
pub async fn look(store: &Store, env: &Env) -> Result<Option<Seen>, ReadError> {
    let meta = Meta { store: store.clone(), env: env.clone() };
    let Some(document) = meta.cluster().await? else { return Ok(None) };
    let cluster = document.cluster_id;
    let lease = meta.lease(cluster).await?.map(|held| SeenLease {
        storage: held.document.storage,
        address: held.document.address,
        ttl: Duration::from_millis(held.document.ttl_ms),
        released: held.document.released,
        at_risk: held.document.at_risk,
    });
    loop {
        let mut replay = Replay::begin(&meta, cluster).await?;
        replay.go_on(&meta).await?;
        // The log may have been trimmed while it was read, which would look like its end.
        if replay.holds(&meta).await? {
            return Ok(Some(Seen { cluster, lease, state: replay.state }));
        }
    }
}
