//! Entries of one segment in order, from memory where they still are.

use std::sync::Arc;

use crate::{
    types::SegmentId,
    wal::{Entry, Error, Folder, Reader},
};

use super::shared::Shared;

/// Entries of one segment in order, without its header. Blocking. Ends after an error.
pub struct EntryReader {
    segment: SegmentId,
    reader: Reader,
    entries: u64,
    folder: Folder,
    memory: Option<Arc<Shared>>,
    failed: bool,
}

impl EntryReader {
    /// Of the first `entries` entries.
    pub(super) fn new(
        folder: &Folder,
        segment: SegmentId,
        entries: u64,
        memory: Option<Arc<Shared>>,
    ) -> Result<Self, Error> {
        let reader = folder.reader(segment)?;
        Ok(Self { segment, reader, entries, folder: folder.clone(), memory, failed: false })
    }

    fn resident(&mut self) -> Option<Entry> {
        let state = self.memory.as_ref()?.state();
        let resident = state.resident.find(self.segment, self.reader.number())?.clone();
        drop(state);
        let entry = resident.group.entry(resident.number, resident.append_ms);
        let written = resident.written;
        self.reader.skip(written.position, written.file_bytes, written.crc);
        Some(entry)
    }

    fn read_back(&mut self) -> Result<Entry, Error> {
        let number = self.reader.number();
        let entry = self.reader.next()?.and_then(|raw| raw.decode());
        // The file of a trimmed segment may hold another by now.
        self.folder.reader(self.segment)?;
        entry.ok_or_else(|| Error::Damaged {
            segment: self.segment,
            what: format!("entry {number} of {} does not read back", self.entries),
        })
    }
}

impl Iterator for EntryReader {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed && self.reader.number() < self.entries {
            let entry = self.resident().map_or_else(|| self.read_back(), Ok);
            self.failed = entry.is_err();
            match entry {
                Ok(entry) if entry.batches.is_empty() => {}
                other => return Some(other),
            }
        }
        None
    }
}
