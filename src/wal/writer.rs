//! Writing the entries of one segment into its files.
//!
//! Owns: positions, the chain, the zeros after an entry. Does not own: when to sync, retries:
//! after an error the segment is never written again (H12).

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::{
    crc::crc32c,
    env::{
        bugs::{Bug, Bugs},
        disk::DiskFile,
    },
    types::{Millis, SegmentId},
};

use super::{
    WalPosition,
    format::{
        ENTRY_HEADER_BYTES, EntryHeader, FILE_HEADER_BYTES, Kind, SegmentHeader, align, chain_seed,
    },
};

/// Whole pages are written, so that the kernel never reads a page of a reused file first.
const PAGE_BYTES: u64 = 4096;
static ZEROS: [u8; 4096] = [0; 4096];

/// An entry that was written, not yet synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) position: WalPosition,
    /// Bytes it takes in the file.
    pub(crate) file_bytes: u64,
    pub(crate) crc: u32,
}

/// The one writer of a segment.
#[derive(Debug)]
pub(crate) struct Writer {
    id: SegmentId,
    nonce: u64,
    files: Vec<(Arc<dyn DiskFile>, u64)>,
    part: usize,
    byte: u64,
    number: u64,
    crc: u32,
    bugs: Bugs,
}

impl Writer {
    /// Starts at the segment's first entry, in a file that carries its header already.
    pub(crate) fn new(
        id: SegmentId,
        nonce: u64,
        file: Arc<dyn DiskFile>,
        bugs: Bugs,
    ) -> io::Result<Self> {
        let mut writer = Self {
            id,
            nonce,
            files: Vec::new(),
            part: 0,
            byte: FILE_HEADER_BYTES,
            number: 0,
            crc: chain_seed(nonce),
            bugs,
        };
        writer.add_file(file)?;
        Ok(writer)
    }

    /// Gives it one more file to go on in.
    pub(crate) fn add_file(&mut self, file: Arc<dyn DiskFile>) -> io::Result<()> {
        let length = file.len()?;
        self.files.push((file, length));
        Ok(())
    }

    /// Seeds its chain.
    pub(crate) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Whether a file waits behind the current one.
    pub(crate) fn has_next_part(&self) -> bool {
        self.files.len() > self.part + 1
    }

    /// Bytes left in the current file and in those after it.
    pub(crate) fn room(&self) -> u64 {
        let later = self.files.iter().skip(self.part + 1);
        let later: u64 = later.map(|(_, length)| length.saturating_sub(FILE_HEADER_BYTES)).sum();
        self.left() + later
    }

    /// Whether an entry of this payload has a place.
    pub(crate) fn fits(&self, payload_bytes: u64) -> bool {
        let next = self.files.get(self.part + 1);
        let next = next.map_or(0, |(_, length)| length.saturating_sub(FILE_HEADER_BYTES));
        entry_bytes(payload_bytes) <= self.left().max(next)
    }

    fn left(&self) -> u64 {
        self.files.get(self.part).map_or(0, |(_, length)| length.saturating_sub(self.byte))
    }

    /// Writes entry 0.
    pub(crate) fn write_header(
        &mut self,
        header: &SegmentHeader,
        append_ms: Millis,
    ) -> io::Result<Written> {
        assert_eq!(self.number, 0, "a segment's header is its first entry");
        let header = header.encode();
        let crc = crc32c(&header);
        self.write(Kind::Header, 0, append_ms, &[header], crc)
    }

    /// Writes the next entry of batches, whose CRC is `payload_crc`.
    pub(crate) fn write_batches(
        &mut self,
        lac: u64,
        append_ms: Millis,
        payload: &[Bytes],
        payload_crc: u32,
    ) -> io::Result<Written> {
        assert!(self.number > 0, "a segment starts with its header");
        self.write(Kind::Batches, lac, append_ms, payload, payload_crc)
    }

    fn write(
        &mut self,
        kind: Kind,
        lac: u64,
        append_ms: Millis,
        payload: &[Bytes],
        payload_crc: u32,
    ) -> io::Result<Written> {
        let payload_bytes: usize = payload.iter().map(Bytes::len).sum();
        let payload_bytes = u32::try_from(payload_bytes).map_err(io::Error::other)?;
        if entry_bytes(payload_bytes.into()) > self.left() {
            self.sync()?;
            self.part += 1;
            self.byte = FILE_HEADER_BYTES;
        }
        let (file, length) =
            self.files.get(self.part).ok_or(io::Error::from(io::ErrorKind::StorageFull))?;
        let header = EntryHeader {
            kind,
            nonce: self.nonce,
            number: self.number,
            lac,
            append_ms,
            payload_bytes,
            previous_crc: self.crc,
        };
        let (head, crc) = header.encode(payload_crc);
        let end = self.byte + header.entry_bytes();
        let padding = end.next_multiple_of(PAGE_BYTES).min(*length).saturating_sub(end);
        let padding = usize::try_from(padding).unwrap_or(0);
        let mut parts = Vec::with_capacity(payload.len() + 2);
        parts.push(head);
        parts.extend_from_slice(payload);
        parts.push(Bytes::from_static(&ZEROS).slice(..padding));
        file.write_at(self.byte, &parts)?;
        let part = u32::try_from(self.part).map_err(io::Error::other)?;
        let position = WalPosition { segment: self.id, part, byte: self.byte };
        let file_bytes = align(header.entry_bytes());
        self.byte += file_bytes;
        self.number += 1;
        self.crc = crc;
        Ok(Written { position, file_bytes, crc })
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.bugs.has(Bug::AckBeforeSync) {
            return Ok(());
        }
        let part = if self.bugs.has(Bug::SyncOfFirstFile) { 0 } else { self.part };
        let synced = self.files.get(part).map_or(Ok(()), |(file, _)| file.sync());
        if synced.is_err() && self.bugs.has(Bug::SyncTriedAgain) {
            return self.files.get(part).map_or(Ok(()), |(file, _)| file.sync());
        }
        synced
    }
}

/// Bytes an entry of this payload takes in a file.
pub(crate) fn entry_bytes(payload_bytes: u64) -> u64 {
    align(payload_bytes + u64::try_from(ENTRY_HEADER_BYTES).unwrap_or(0))
}
