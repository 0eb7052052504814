//! From floor and snapshot through the entries to the newest state.
//!
//! Owns: the reading side of correctness.md 4.2. Does not own: taking part. Invariants: an entry
//! counts only if the floor, read later, lies below it (H32b); a hole is damage, not an end.

use std::time::Duration;

use futures::future::join_all;

use super::{
    documents::FloorDocument,
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

/// The newest state and the floor it was read over.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) state: State,
    pub(super) floor: Option<Held<FloorDocument>>,
}

/// Reads the whole metadata. `safe_for`: within this long no floor can pass what was read after
/// it.
pub(super) async fn replay(
    meta: &Meta,
    cluster: ClusterId,
    safe_for: Duration,
) -> Result<Replayed, ReadError> {
    loop {
        let began = meta.env.clock.boot();
        let mut floor = meta.floor(cluster).await?;
        let mut state = starting_state(meta, cluster, floor.as_ref()).await?;
        let first = state.index.next();
        catch_up(meta, &mut state).await?;
        let took = meta.env.clock.boot().saturating_sub(began);
        if took < safe_for || meta.refresh_floor(cluster, &mut floor).await? < first {
            return Ok(Replayed { state, floor });
        }
        tracing::info!(took_ms = took.as_millis(), "the log's floor passed while reading it");
    }
}

/// Applies entries after `state` until there are no more.
pub(super) async fn catch_up(meta: &Meta, state: &mut State) -> Result<(), ReadError> {
    loop {
        let first = state.index.0.saturating_add(1);
        let window = (first..first.saturating_add(WINDOW)).map(MetadataIndex);
        let entries = join_all(window.clone().map(|index| meta.entry(index))).await;
        let mut missing = None;
        for (index, entry) in window.zip(entries) {
            let entry = match (entry?, missing) {
                (None, _) => {
                    missing = missing.or(Some(index));
                    continue;
                }
                (Some(_), Some(hole)) => {
                    // Asked at the same time, so it may have been written between the answers.
                    if meta.entry(hole).await?.is_none() {
                        return Err(damaged(&path::log_entry(hole), "it is missing in the log"));
                    }
                    break;
                }
                (Some(entry), None) => entry,
            };
            let results =
                state.apply(&entry).map_err(|corrupt| damaged(&path::log_entry(index), corrupt))?;
            let refused = results.iter().filter(|result| result.is_err()).count();
            if refused > 0 {
                tracing::warn!(%index, refused, "entry holds records that do not hold");
            }
            missing = None;
        }
        if missing.is_some_and(|missing| missing == state.index.next()) {
            return Ok(());
        }
    }
}

/// The newest snapshot that can be used, or the beginning.
async fn starting_state(
    meta: &Meta,
    cluster: ClusterId,
    floor: Option<&Held<FloorDocument>>,
) -> Result<State, ReadError> {
    let mut damage = None;
    for name in floor.iter().flat_map(|floor| &floor.document.snapshots) {
        match meta.snapshot(name, cluster).await {
            Ok(Some(state)) => return Ok(state),
            Ok(None) => {
                tracing::warn!(index = %name.index, "snapshot named by the floor is missing")
            }
            Err(ReadError::Damaged { object, damage: what }) => {
                tracing::warn!(index = %name.index, damage = %what, "snapshot is damaged");
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
        _ => Ok(State::new(cluster)),
    }
}
