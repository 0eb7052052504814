//! Reads manifest versions from the bucket and keeps those asked for again.

use std::sync::Arc;

use moka::future::Cache;

use super::{Error, Manifest};
use crate::{
    store::{Failure, GetError, Store, path},
    types::{ByteCount, PartitionId},
};

/// Manifest versions by name; a clone is another handle of the same cache.
#[derive(Clone, Debug)]
pub struct Manifests {
    store: Store,
    versions: Cache<(PartitionId, u64), Arc<Manifest>>,
}

/// Why a version cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// Replaced and deleted: the metadata this came from is old, ask again with the newest.
    #[error("the manifest version is gone")]
    Gone,
    /// The bucket did not answer: try again later.
    #[error(transparent)]
    Away(Failure),
    /// Its bytes are not what was written.
    #[error(transparent)]
    Bad(#[from] Error),
}

impl Manifests {
    /// A loader that keeps at most `budget` of decoded versions.
    #[must_use]
    pub fn new(store: Store, budget: ByteCount) -> Self {
        let weight = |_: &(PartitionId, u64), manifest: &Arc<Manifest>| {
            u32::try_from(manifest.weight()).unwrap_or(u32::MAX)
        };
        Self { store, versions: Cache::builder().max_capacity(budget.0).weigher(weight).build() }
    }

    /// A version that a metadata record named.
    ///
    /// # Errors
    /// As `LoadError` says.
    pub async fn get(
        &self,
        partition: PartitionId,
        version: u64,
    ) -> Result<Arc<Manifest>, LoadError> {
        let load = self.load(partition, version);
        let loaded = self.versions.try_get_with((partition, version), load).await;
        loaded.map_err(|error| LoadError::clone(&error))
    }

    async fn load(&self, partition: PartitionId, version: u64) -> Result<Arc<Manifest>, LoadError> {
        let key = path::manifest(partition.topic, partition.index, version);
        let found = self.store.get(&key).await.map_err(|error| match error {
            GetError::Absent => LoadError::Gone,
            GetError::Failed(failure) => LoadError::Away(failure),
        })?;
        let manifest = Manifest::decode(&found.bytes)?;
        if (manifest.partition(), manifest.version()) != (partition, version) {
            return Err(Error::Damaged("names another partition or version").into());
        }
        Ok(Arc::new(manifest))
    }
}
