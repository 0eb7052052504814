//! Reading a partition's groups back from its log.
//!
//! Owns: the read, and how long nobody was coordinator. Does not own: state.

use bytes::Bytes;

use super::{
    log::{Lost, PartitionLog},
    record::Change,
    state::State,
};
use crate::{
    record::{BatchView, Limits},
    types::{Millis, Offset},
};

const READ_BYTES: usize = 1024 * 1024;

/// Why a partition's groups could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Another broker has it now.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// What the log holds cannot be understood; guessing would show consumers a wrong offset.
    #[error("at offset {at}: {reason}")]
    Corrupt { at: Offset, reason: String },
}

/// What a log held.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Where it ends.
    pub(super) end: Offset,
    /// The last time a coordinator was seen at work.
    pub(super) last_seen: Option<Millis>,
}

/// Reads everything up to what is committed now.
pub(super) async fn load(log: &dyn PartitionLog) -> Result<Loaded, Error> {
    // What was appended here before, by a coordinator that ended, is committed then.
    log.barrier().await?;
    let (mut at, end) = (log.start(), log.end());
    let mut loaded = Loaded { state: State::default(), bytes: 0, end, last_seen: None };
    while at < end {
        let batches = log.read(at, READ_BYTES).await?;
        let before = at;
        for batch in batches {
            let length = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            loaded.bytes = loaded.bytes.saturating_add(length);
            let corrupt =
                |reason: &dyn std::fmt::Display| Error::Corrupt { at, reason: reason.to_string() };
            let view = BatchView::parse(batch).map_err(|error| corrupt(&error))?;
            replay(&view, &mut loaded.state).map_err(|reason| corrupt(&reason))?;
            loaded.last_seen = loaded.last_seen.max(Some(view.max_timestamp()));
            at = view.end_offset();
        }
        if at <= before {
            let reason = "nothing to read below the end".to_owned();
            return Err(Error::Corrupt { at, reason });
        }
    }
    Ok(loaded)
}

fn replay(batch: &BatchView, state: &mut State) -> Result<(), String> {
    if batch.is_control() {
        return Ok(());
    }
    for record in batch.records(&Limits::default()).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        let key = record.key.unwrap_or(Bytes::new());
        let change = Change::decode(key, record.value).map_err(|error| error.to_string())?;
        if let Some(change) = change {
            state.replay(change);
        }
    }
    Ok(())
}
