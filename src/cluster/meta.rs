//! The metadata objects in the bucket, as typed requests.
//!
//! Owns: which key holds what, and decoding. Does not own: any decision. Invariant: absence, no
//! answer and damage are three different things.

use bytes::Bytes;

use super::{
    documents::{self, ClusterDocument, Document, FloorDocument, LeaseDocument, SnapshotName},
    entry::SealedEntry,
    error::{Damage, ReadError},
    snapshot,
    state::State,
};
use crate::{
    env::Env,
    store::{Key, Outcome, Store, Version, path},
    types::{ClusterId, MetadataIndex},
};

/// The metadata of one bucket.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) store: Store,
    pub(super) env: Env,
}

/// A document and the version it was read at.
#[derive(Clone, Debug)]
pub(super) struct Held<D> {
    pub(super) document: D,
    pub(super) version: Version,
}

impl Meta {
    pub(super) async fn cluster(&self) -> Result<Option<ClusterDocument>, ReadError> {
        let held = self.document(&path::cluster(), None).await?;
        Ok(held.map(|held| held.document))
    }

    pub(super) async fn lease(
        &self,
        cluster: ClusterId,
    ) -> Result<Option<Held<LeaseDocument>>, ReadError> {
        self.document(&path::lease(), Some(cluster)).await
    }

    pub(super) async fn floor(
        &self,
        cluster: ClusterId,
    ) -> Result<Option<Held<FloorDocument>>, ReadError> {
        self.document(&path::floor(), Some(cluster)).await
    }

    /// The floor, without reading it whole when it is as it was in `known`.
    pub(super) async fn refresh_floor(
        &self,
        cluster: ClusterId,
        known: &mut Option<Held<FloorDocument>>,
    ) -> Result<MetadataIndex, ReadError> {
        if let Some(held) = known {
            let found = self.store.get_unless(&path::floor(), &held.version).await;
            if let Some(found) = ReadError::absent_is_none(found)?.flatten() {
                *held = decode(&path::floor(), &found.bytes, found.version, Some(cluster))?;
            }
        } else {
            *known = self.floor(cluster).await?;
        }
        Ok(known.as_ref().map_or(MetadataIndex(0), |held| held.document.floor))
    }

    pub(super) async fn entry(
        &self,
        index: MetadataIndex,
    ) -> Result<Option<SealedEntry>, ReadError> {
        let key = path::log_entry(index);
        let Some(found) = ReadError::absent_is_none(self.store.get(&key).await)? else {
            return Ok(None);
        };
        let sealed = SealedEntry::decode(&found.bytes).map_err(|error| damaged(&key, error))?;
        if sealed.entry.index != index {
            return Err(damaged(&key, "it is of another index than its key says"));
        }
        Ok(Some(sealed))
    }

    pub(super) async fn snapshot(
        &self,
        name: &SnapshotName,
        cluster: ClusterId,
    ) -> Result<Option<State>, ReadError> {
        let key = path::snapshot(name.index, &name.digest.to_string());
        let Some(found) = ReadError::absent_is_none(self.store.get(&key).await)? else {
            return Ok(None);
        };
        let state = snapshot::decode(&found.bytes, name);
        let state = state.map_err(|damage| damaged(&key, damage))?;
        if state.cluster_id != cluster {
            return Err(damaged(&key, "it belongs to another cluster"));
        }
        Ok(Some(state))
    }

    /// Writes a document where `over` is, or none. Not being done proves nothing.
    pub(super) async fn write(
        &self,
        key: &Key,
        over: Option<&Version>,
        bytes: Bytes,
    ) -> Option<Version> {
        let outcome: Outcome<Version> = match over {
            Some(version) => self.store.replace(key, version, vec![bytes]).await,
            None => self.store.create(key, vec![bytes]).await,
        };
        outcome.done()
    }

    async fn document<D: Document>(
        &self,
        key: &Key,
        cluster: Option<ClusterId>,
    ) -> Result<Option<Held<D>>, ReadError> {
        match ReadError::absent_is_none(self.store.get(key).await)? {
            Some(found) => decode(key, &found.bytes, found.version, cluster).map(Some),
            None => Ok(None),
        }
    }
}

fn decode<D: Document>(
    key: &Key,
    bytes: &[u8],
    version: Version,
    cluster: Option<ClusterId>,
) -> Result<Held<D>, ReadError> {
    let document = documents::decode(bytes, cluster).map_err(|damage| damaged(key, damage))?;
    Ok(Held { document, version })
}

pub(super) fn damaged(key: &Key, damage: impl ToString) -> ReadError {
    ReadError::Damaged { object: key.as_str().to_owned(), damage: Damage::new(damage) }
}
