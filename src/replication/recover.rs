//! Recovery of a former incarnation's segments from this broker's own folder.

use crate::{
    types::SegmentId,
    wal::{self, Folder, OpenSegment},
};

use super::EntryReader;

/// The decided ends of a former incarnation's segments.
#[derive(Debug)]
pub struct Recovered {
    /// Every segment asked for, oldest first.
    pub segments: Vec<RecoveredSegment>,
    folder: Folder,
}

/// One segment's decided end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSegment {
    /// Its name.
    pub id: SegmentId,
    /// Its nonce.
    pub nonce: u64,
    /// Its final length in entries, the header among them; 0 when it was never used.
    pub entries: u64,
}

/// Why a former incarnation cannot be recovered from this folder alone.
#[derive(Debug, thiserror::Error)]
pub enum Unrecoverable {
    /// Segments whose content is not, or not surely, here: stay unready and name them.
    #[error("not in the WAL folder: {missing:?}; damaged in it: {suspect:?}")]
    Missing {
        /// Segments that were written here or elsewhere and are not in the folder.
        missing: Vec<SegmentId>,
        /// Segments that do not read back whole, with what was found.
        suspect: Vec<(SegmentId, String)>,
    },
    /// Two members hold different entries under one number: stop, a person must look.
    #[error("the members of segment {0} disagree")]
    Diverged(SegmentId),
    /// The disk.
    #[error(transparent)]
    Wal(#[from] wal::Error),
}

impl Recovered {
    /// The entries of a segment, cut at its decided end. Blocking.
    ///
    /// # Errors
    /// `Gone` when it was trimmed.
    pub fn read(&self, _id: SegmentId) -> Result<EntryReader, wal::Error> {
        let _ = &self.folder;
        unimplemented!()
    }
}

/// Fences `segments` (all of one incarnation, as the metadata has them) in the own folder and
/// decides where each ends (R1-R3). Blocking. Repeatable. After the seal record is applied, give
/// the files back with `Folder::trim`.
///
/// # Errors
/// Nothing was decided then.
pub fn recover(_folder: &Folder, _segments: &[OpenSegment]) -> Result<Recovered, Unrecoverable> {
    unimplemented!()
}
