//! Reading the entries of one segment back from its files.
//!
//! Owns: the chain: an entry counts only when number, nonce, CRC and the CRC before it fit.
//! Does not own: what a gap means (`scan`).

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::{
    env::{
        bugs::{Bug, Bugs},
        disk::DiskFile,
    },
    types::SegmentId,
};

use super::{
    Entry, Error, WalPosition,
    format::{
        ENTRY_HEADER_BYTES, EntryHeader, FILE_HEADER_BYTES, Kind, align, chain_seed,
        decode_batches, entry_crc,
    },
};

/// Small entries are read in one call of this size.
const FIRST_READ_BYTES: u64 = 16 * 1024;

/// The files of one segment, in order.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) id: SegmentId,
    pub(crate) nonce: u64,
    pub(crate) parts: Vec<Arc<dyn DiskFile>>,
    pub(crate) bugs: Bugs,
}

/// An entry as it lies in a file, its CRC checked.
#[derive(Clone, Debug)]
pub(crate) struct RawEntry {
    pub(crate) header: EntryHeader,
    pub(crate) crc: u32,
    whole: Bytes,
}

impl RawEntry {
    pub(crate) fn payload(&self) -> Bytes {
        self.whole.slice(ENTRY_HEADER_BYTES.min(self.whole.len())..)
    }

    /// Bytes it takes in the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        align(self.header.entry_bytes())
    }

    /// `None` when the payload is not what its kind says.
    pub(crate) fn decode(&self) -> Option<Entry> {
        let batches = match self.header.kind {
            Kind::Header => Vec::new(),
            Kind::Batches => decode_batches(self.payload())?,
        };
        let EntryHeader { number, append_ms, .. } = self.header;
        Some(Entry { number, append_ms, batches })
    }
}

/// The entry at `byte` of one of `files`, when a whole one of the segment is there.
pub(crate) fn read_entry(
    files: &Files,
    file: &dyn DiskFile,
    byte: u64,
) -> io::Result<Option<RawEntry>> {
    let left = file.len()?.saturating_sub(byte);
    if left == 0 {
        return Ok(None);
    }
    let mut bytes = read(file, byte, left.min(FIRST_READ_BYTES))?;
    let Some((header, crc)) = EntryHeader::decode(&bytes, files.nonce) else { return Ok(None) };
    if header.entry_bytes() > left {
        return Ok(None);
    }
    let length = usize::try_from(header.entry_bytes()).unwrap_or(usize::MAX);
    if length > bytes.len() {
        bytes = read(file, byte, header.entry_bytes())?;
    }
    bytes.truncate(length);
    let is_whole = entry_crc(&bytes) == Some(crc) || files.bugs.has(Bug::EntryCrcUnchecked);
    Ok(is_whole.then_some(RawEntry { header, crc, whole: bytes }))
}

fn read(file: &dyn DiskFile, byte: u64, bytes: u64) -> io::Result<Bytes> {
    Ok(file.read(byte, usize::try_from(bytes).unwrap_or(usize::MAX))?.into())
}

/// Walks a segment's chain of entries.
#[derive(Debug)]
pub(crate) struct Reader {
    files: Arc<Files>,
    part: usize,
    byte: u64,
    number: u64,
    crc: u32,
}

impl Reader {
    /// From the segment's first entry.
    pub(crate) fn new(files: Arc<Files>) -> Self {
        let crc = chain_seed(files.nonce);
        Self { files, part: 0, byte: FILE_HEADER_BYTES, number: 0, crc }
    }

    /// The number of the entry `next` would read.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The CRC of the entry before.
    pub(crate) fn crc(&self) -> u32 {
        self.crc
    }

    /// Where the next entry would start in the current file.
    pub(crate) fn place(&self) -> (usize, u64) {
        (self.part, self.byte)
    }

    /// Goes on after an entry that was read elsewhere.
    pub(crate) fn skip(&mut self, position: WalPosition, file_bytes: u64, crc: u32) {
        self.part = usize::try_from(position.part).unwrap_or(usize::MAX);
        self.byte = position.byte + file_bytes;
        self.number += 1;
        self.crc = crc;
    }

    /// The next entry of the chain; `None` where it ends.
    pub(crate) fn next(&mut self) -> io::Result<Option<RawEntry>> {
        // What did not fit a file starts the next one.
        for (part, byte) in [(self.part, self.byte), (self.part + 1, FILE_HEADER_BYTES)] {
            let Some(file) = self.files.parts.get(part) else { break };
            let Some(entry) = read_entry(&self.files, &**file, byte)? else { continue };
            if entry.header.number == self.number && entry.header.previous_crc == self.crc {
                self.part = part;
                self.byte = byte + entry.file_bytes();
                self.number += 1;
                self.crc = entry.crc;
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// The entry at a position, read alone.
pub(crate) fn read_position(files: &Files, position: WalPosition) -> Result<Entry, Error> {
    let part = usize::try_from(position.part).unwrap_or(usize::MAX);
    let file = files.parts.get(part).ok_or(Error::Gone(files.id))?;
    let entry = read_entry(files, &**file, position.byte)?;
    entry.and_then(|entry| entry.decode()).ok_or_else(|| Error::Damaged {
        segment: files.id,
        what: format!("no whole entry at byte {} of file {}", position.byte, position.part),
    })
}
