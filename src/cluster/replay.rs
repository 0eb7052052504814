//! From floor and snapshot through the entries to the newest state.
//!
//! Owns: the reading side of correctness.md 4.2. Does not own: taking part. Invariants: an entry
//! counts only if the floor, read later, lies below it (H32b); a hole is damage, not an end.

use std::time::Duration;

use futures::future::join_all;

use super::{
    documents::FloorDocument,
    entry::SealedEntry,
    error::ReadError,
    meta::{Held, Meta, damaged},
    state::State,
};
use crate::{
    store::path,
    types::{ClusterId, MetadataIndex},
};

/// Entries asked for at once. More than are there costs only absent answers.
const WINDOW: u64 = 16;

/// Metadata as read so far: the state and what protects it.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) state: State,
    pub(super) floor: Option<Held<FloorDocument>>,
    /// When the floor was first asked for, on the boot clock: the state is no older.
    pub(super) began: Duration,
    /// The first entry after the snapshot.
    first: MetadataIndex,
}

impl Replay {
    /// Reads the floor and the newest snapshot.
    pub(super) async fn begin(meta: &Meta, cluster: ClusterId) -> Result<Self, ReadError> {
        let began = meta.env.clock.boot();
        let floor = meta.floor(cluster).await?;
        let state = starting_state(meta, cluster, floor.as_ref()).await?;
        let first = state.index.next();
        Ok(Self { state, floor, began, first })
    }

    /// Reads the entries after what is read already. An error takes nothing back.
    pub(super) async fn go_on(&mut self, meta: &Meta) -> Result<(), ReadError> {
        catch_up(meta, &mut self.state).await
    }

    /// Whether no floor passed the entries while they were read; else begin again. However quick
    /// that was: after an older snapshot the floor may pass at any time.
    pub(super) async fn holds(&mut self, meta: &Meta) -> Result<bool, ReadError> {
        let floor = meta.refresh_floor(self.state.cluster_id, &mut self.floor).await?;
        Ok(floor < self.first)
    }
}

/// Applies entries after `state` until there are no more. An error takes nothing back.
pub(super) async fn catch_up(meta: &Meta, state: &mut State) -> Result<(), ReadError> {
    loop {
        let first = state.index.0.saturating_add(1);
        let window = (first..first.saturating_add(WINDOW)).map(MetadataIndex);
        let entries = join_all(window.clone().map(|index| meta.entry(index))).await;
        let mut missing = None;
        for (index, entry) in window.zip(entries) {
            match (entry, missing) {
                (Ok(Some(entry)), None) => apply(state, &entry)?,
                (Ok(None), None) => missing = Some(index),
                (Err(error), None) => return Err(error),
                (Ok(Some(_)), Some(hole)) => {
                    // Asked at the same time, so it may have been written between the answers.
                    if meta.entry(hole).await?.is_none() {
                        return Err(damaged(&path::log_entry(hole), "it is missing in the log"));
                    }
                    missing = None;
                    break;
                }
                (Ok(None) | Err(_), Some(_)) => {}
            }
        }
        if missing.is_some() {
            return Ok(());
        }
    }
}

fn apply(state: &mut State, entry: &SealedEntry) -> Result<(), ReadError> {
    let index = entry.entry.index;
    let results =
        state.apply(entry).map_err(|corrupt| damaged(&path::log_entry(index), corrupt))?;
    let refused = results.iter().filter(|result| result.is_err()).count();
    if refused > 0 {
        tracing::warn!(%index, refused, "an entry has proposals that do not hold");
    }
    Ok(())
}

/// The newest snapshot that can be used, or the beginning.
async fn starting_state(
    meta: &Meta,
    cluster: ClusterId,
    floor: Option<&Held<FloorDocument>>,
) -> Result<State, ReadError> {
    let mut damage = None;
    let begins = floor.map_or(MetadataIndex(0), |floor| floor.document.floor);
    let names = floor.iter().flat_map(|floor| &floor.document.snapshots);
    // Of an older one the next entries may be deleted, which would look like the log's end.
    for name in names.filter(|name| name.index >= begins) {
        match meta.snapshot(name, cluster).await {
            Ok(Some(state)) => return Ok(state.with_bugs(meta.env.bugs)),
            Ok(None) => {
                tracing::warn!(index = %name.index, "a snapshot is missing, an older one is used")
            }
            Err(ReadError::Damaged { object, damage: what }) => {
                tracing::warn!(index = %name.index, damage = %what, "a snapshot is damaged, an older one is used");
                damage = Some(ReadError::Damaged { object, damage: what });
            }
            Err(failed @ ReadError::Failed(_)) => return Err(failed),
        }
    }
    match floor {
        Some(floor) if floor.document.floor > MetadataIndex(0) => {
            Err(damage.unwrap_or_else(|| {
                damaged(
                    &path::floor(),
                    "no snapshot it names is there, and the log's beginning is gone",
                )
            }))
        }
        _ => Ok(State::new(cluster).with_bugs(meta.env.bugs)),
    }
}
