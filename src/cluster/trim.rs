//! Snapshots, and the end of what they make needless: old entries and old snapshots.
//!
//! Owns: when a snapshot is due, the floor. Invariants: the floor only rises, and is written
//! before anything behind it is deleted (H32); it stays `keep_entries` entries and `keep_for`
//! behind the newest snapshot; nothing here ever holds the controller up.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    documents::{self, FloorDocument, SnapshotName},
    error::ReadError,
    handle::Config,
    meta::{Held, Meta},
    metrics::Metrics,
    snapshot,
    state::State,
};
use crate::{
    env::{bugs::Bug, task::Tasks},
    store::{Key, path},
    types::MetadataIndex,
};

/// Snapshots the floor names.
const KEPT: usize = 3;
/// Deletes in flight.
const DELETES: usize = 8;

/// Tells the keeper of states that are due a snapshot.
pub(super) struct Feed {
    to_keeper: mpsc::Sender<Arc<State>>,
    config: Config,
    entries: u64,
    bytes: u64,
}

impl Feed {
    /// A feed for a state that is `entries` behind no snapshot, and its other end.
    pub(super) fn new(config: Config, entries: u64) -> (Self, mpsc::Receiver<Arc<State>>) {
        let (to_keeper, states) = mpsc::channel(1);
        (Self { to_keeper, config, entries, bytes: 0 }, states)
    }

    /// Counts an entry.
    pub(super) fn committed(&mut self, state: &Arc<State>, bytes: u64) {
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        let due = self.entries >= self.config.snapshot_entries
            || self.bytes >= self.config.snapshot_bytes;
        // A keeper that is still busy gets a later state.
        if due && self.to_keeper.try_send(Arc::clone(state)).is_ok() {
            self.entries = 0;
            self.bytes = 0;
        }
    }
}

/// The task that writes snapshots and trims.
pub(super) struct Keeper {
    pub(super) meta: Meta,
    pub(super) config: Config,
    pub(super) metrics: Metrics,
    pub(super) states: mpsc::Receiver<Arc<State>>,
    /// Snapshots written, by boot time: which entries are how old.
    pub(super) ages: VecDeque<(Duration, MetadataIndex)>,
}

impl Keeper {
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        loop {
            let state = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                state = self.states.recv() => match state {
                    Some(state) => state,
                    None => return,
                },
            };
            let kept = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                kept = self.keep(&state) => kept,
            };
            // The next one makes good for it: nothing but the length of a start depends on it.
            if let Err(error) = kept {
                tracing::warn!(index = %state.index, %error, "a snapshot was not written, the next one makes good for it");
            }
        }
    }

    async fn keep(&mut self, state: &Arc<State>) -> Result<(), ReadError> {
        let name = self.write_snapshot(state).await?;
        self.ages.push_back((self.meta.env.clock.boot(), name.index));
        if self.meta.env.bugs.has(Bug::DeleteBeforeFloor) {
            for index in 1..=self.floor_for(name.index).0 {
                self.meta.store.delete(&path::log_entry(MetadataIndex(index))).await?;
            }
        }
        let held = self.raise_floor(state, name).await?;
        self.metrics.snapshots.inc();
        self.metrics.floor.set(i64::try_from(held.document.floor.0).unwrap_or(i64::MAX));
        self.delete_behind(held, state).await
    }

    async fn write_snapshot(&self, state: &Arc<State>) -> Result<SnapshotName, ReadError> {
        let state = Arc::clone(state);
        // A large state takes a while to write as JSON.
        let encoded = Tasks::blocking(move || snapshot::encode(&state)).await;
        let (bytes, name) = encoded.map_err(|error| stopped(&error))?;
        let key = path::snapshot(name.index, &name.digest.to_string());
        if self.meta.write(&key, None, bytes.clone()).await.is_none() {
            // The key names the content, so whoever wrote it, it is this.
            let found = ReadError::absent_is_none(self.meta.store.get(&key).await)?;
            if found.is_none_or(|found| found.bytes != bytes) {
                return Err(super::meta::damaged(&key, "it was not written"));
            }
        }
        Ok(name)
    }

    /// Names the snapshot in the floor, which may rise with it.
    async fn raise_floor(
        &mut self,
        state: &State,
        name: SnapshotName,
    ) -> Result<Held<FloorDocument>, ReadError> {
        let held = self.meta.floor(state.cluster_id).await?;
        let nonce = self.meta.env.entropy.uuid();
        let before = held.as_ref().map(|held| held.document.clone());
        let before = before.unwrap_or_else(|| FloorDocument::new(state.cluster_id, nonce));
        let mut snapshots = before.snapshots;
        snapshots.push(name);
        snapshots.sort_by_key(|name| std::cmp::Reverse(name.index));
        snapshots.dedup();
        let mut retired = snapshots.split_off(snapshots.len().min(KEPT));
        retired.extend(before.retired);
        let floor = before.floor.max(self.floor_for(name.index));
        let document = FloorDocument { floor, snapshots, retired, nonce, ..before };
        let bytes = documents::encode(&document);
        let over = held.as_ref().map(|held| &held.version);
        if let Some(version) = self.meta.write(&path::floor(), over, bytes).await {
            return Ok(Held { document, version });
        }
        match self.meta.floor(state.cluster_id).await? {
            Some(found) if found.document.nonce == nonce => Ok(found),
            _ => Err(super::meta::damaged(&path::floor(), "it was not written")),
        }
    }

    /// How far the floor may rise with a snapshot at `newest`.
    fn floor_for(&mut self, newest: MetadataIndex) -> MetadataIndex {
        let now = self.meta.env.clock.boot();
        let old =
            |age: &(Duration, MetadataIndex)| now.saturating_sub(age.0) >= self.config.keep_for;
        // Of those old enough only the newest matters.
        while self.ages.get(1).is_some_and(old) {
            self.ages.pop_front();
        }
        let oldest = self.ages.front().filter(|age| old(age)).map_or(0, |age| age.1.0);
        MetadataIndex(newest.0.saturating_sub(self.config.keep_entries).min(oldest))
    }

    /// Deletes what the floor, as durably written, gives up; then writes down that it is gone.
    async fn delete_behind(
        &self,
        held: Held<FloorDocument>,
        state: &State,
    ) -> Result<(), ReadError> {
        let Held { document, version } = held;
        if document.trimmed >= document.floor && document.retired.is_empty() {
            return Ok(());
        }
        let entries = document.trimmed.0.saturating_add(1)..=document.floor.0;
        let entries = entries.map(|index| path::log_entry(MetadataIndex(index)));
        let retired = document.retired.iter();
        let retired = retired.map(|name| path::snapshot(name.index, &name.digest.to_string()));
        let keys: Vec<Key> = entries.chain(retired).collect();
        for keys in keys.chunks(DELETES) {
            try_join_all(keys.iter().map(|key| self.meta.store.delete(key))).await?;
        }
        let trimmed = document.floor;
        let nonce = self.meta.env.entropy.uuid();
        tracing::debug!(floor = %trimmed, objects = keys.len(), index = %state.index, "log trimmed");
        let document = FloorDocument { trimmed, retired: Vec::new(), nonce, ..document };
        // Not being done only means deleting the same again.
        self.meta.write(&path::floor(), Some(&version), documents::encode(&document)).await;
        Ok(())
    }
}

fn stopped(error: &tokio::task::JoinError) -> ReadError {
    super::meta::damaged(&path::snapshot_prefix(), error)
}
