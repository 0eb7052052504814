//! A snapshot: the whole state in sealed text, named by its index and digest.
//!
//! Owns: the form. Invariants: decoding and encoding again gives the same bytes; a state that is
//! not what its key says is refused (H34).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    documents::SnapshotName,
    entry::{self, DecodeError, FORMAT},
    error::Damage,
    state::State,
};

#[derive(Serialize)]
struct Form<'a> {
    format: u32,
    state: &'a State,
}

#[derive(Deserialize)]
struct Owned {
    #[serde(rename = "format")]
    _format: u32,
    state: State,
}

/// The snapshot of `state` and its name.
pub(super) fn encode(state: &State) -> (Bytes, SnapshotName) {
    let (bytes, digest) = entry::seal(&Form { format: FORMAT, state });
    (bytes, SnapshotName { index: state.index, digest })
}

/// The state in a snapshot of that name.
pub(super) fn decode(bytes: &[u8], name: &SnapshotName) -> Result<State, Damage> {
    let (owned, digest) = entry::open::<Owned>(bytes).map_err(Damage::new)?;
    if digest != name.digest {
        return Err(Damage::new(DecodeError::WrongHash));
    }
    if owned.state.index != name.index {
        return Err(Damage::new("it is of another index than its name says"));
    }
    Ok(owned.state)
}
