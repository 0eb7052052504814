//! From a configuration to a place in a cluster: the WAL folder, the store, the lease.
//!
//! Owns: what is checked before anything is written. Invariants: the folder is locked first; the
//! folder and the bucket belong to one cluster or nothing starts.

use std::{path::Path, sync::Arc, time::Duration};

use super::{Broker, Error, metrics::Metrics};
use crate::{
    cluster::{self, Cluster, Holder, Phase},
    config::Config,
    env::{Env, task::Tasks},
    http,
    store::{self, BucketUrl, Store},
    wal::Folder,
};

/// How long a holder of the lease may take to answer.
const PROBE: Duration = Duration::from_secs(2);

pub(super) async fn open_folder(
    config: &Config,
    env: &Env,
    url: &BucketUrl,
) -> Result<Folder, Error> {
    let failed = |source| Error::Folder { path: config.wal_dir.clone(), source };
    let (path, opening) = (config.wal_dir.clone(), env.clone());
    let opened = Tasks::blocking(move || Folder::open(&path, &opening)).await?;
    let folder = opened.map_err(failed)?;
    if *url == BucketUrl::Memory && folder.identity().cluster.is_some() {
        return Err(Error::Forgetful(config.wal_dir.clone()));
    }
    Ok(folder)
}

/// Whether the folder's disk takes and keeps a small write.
pub(super) async fn takes_writes(path: &Path, env: &Env) -> bool {
    let (file, disk) = (path.join("probe"), Arc::clone(&env.disk));
    let tried = Tasks::blocking(move || {
        disk.replace(&file, b"probe")?;
        disk.delete(&file)
    });
    matches!(tried.await, Ok(Ok(())))
}

pub(super) async fn open_store(
    config: &Config,
    url: &BucketUrl,
    env: &Env,
    metrics: &Metrics,
) -> Result<Store, Error> {
    let options =
        store::Options { s3_endpoint: config.s3_endpoint.clone(), ..store::Options::default() };
    Store::open(url, &options, env, metrics.store.clone())
        .await
        .map_err(|source| Error::Store { url: url.to_string(), source })
}

impl Broker {
    /// Becomes the cluster's controller; waits for bucket and lease as long as it takes.
    pub(super) async fn join(&self, folder: &Folder, store: &Store) -> Result<Cluster, Error> {
        let identity = folder.identity();
        let status = self.status.clone();
        let at_risk = self.at_risk.clone();
        let config = cluster::Config { lease: self.config.lease, ..self.metadata };
        let parts = cluster::Parts {
            store: store.clone(),
            env: self.env.clone(),
            tasks: self.tasks.clone(),
            holder: Holder {
                storage: identity.storage,
                address: self.http_address.to_string(),
                cluster: identity.cluster,
            },
            config,
            metrics: self.metrics.cluster.clone(),
            at_risk: Arc::new(move || at_risk.now()),
            phase: Arc::new(move |phase| match words(&phase) {
                Some(reason) => status.waiting(reason),
                None => status.at("reading the metadata"),
            }),
            is_alive: Arc::clone(&self.is_alive),
        };
        let cluster = Cluster::take_over(parts).await?;
        let id = cluster.with(|state| state.cluster_id);
        let (bound, path) = (folder.clone(), self.config.wal_dir.clone());
        let bound = Tasks::blocking(move || bound.bind(id)).await?;
        bound.map_err(|source| Error::Folder { path, source })?;
        self.status.belongs_to(id);
        Ok(cluster)
    }
}

/// What is waited for, if anything.
fn words(phase: &Phase) -> Option<String> {
    match phase {
        Phase::WaitingForBucket { reason } => Some(format!("waiting for the bucket: {reason}")),
        Phase::WaitingForLease { holder, left } => {
            let left = left.as_secs();
            Some(format!("waiting for the lease of the broker at {holder} to lapse: {left} s left"))
        }
        Phase::Replaying => None,
    }
}

/// Whether the broker with this disk answers at this address.
pub(super) async fn answers(address: String, storage: String) -> bool {
    let Ok(client) = reqwest::Client::builder().timeout(PROBE).no_proxy().build() else {
        return false;
    };
    let asked = client.get(format!("http://{address}/v1/identity")).send().await;
    let Ok(answer) = asked else { return false };
    answer.json::<http::Identity>().await.is_ok_and(|identity| identity.storage == storage)
}
