//! Where a segment's whole entries end, and whether what follows is a torn tail or damage (H13).
//!
//! Invariant: a valid entry of the segment beyond the end of its chain, or a chain that ends below
//! a length somebody recorded, is damage; nothing is ever cut for it.

use std::{io, sync::Arc};

use crate::env::{bugs::Bug, disk::DiskFile};

use super::{
    Previous,
    format::{ENTRY_ALIGN, EntryHeader, SegmentHeader},
    reader::{Files, Reader, read_entry},
};

const CHUNK_BYTES: u64 = 1024 * 1024;
/// How often a file's length may be read for beginnings of entries that turn out to be no more
/// than that. What a crash leaves never overlaps, so once is enough for it; bytes that are made to
/// look so would otherwise be read to the end from each of them.
const MOST_READS: u64 = 4;

/// What a segment's files hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Whole entries of the chain, the header among them.
    pub(crate) entries: u64,
    /// Bytes they take in the files.
    pub(crate) bytes: u64,
    /// CRC of the last of them.
    pub(crate) crc: u32,
    /// Entry 0, when it is whole.
    pub(crate) header: Option<SegmentHeader>,
    /// Bytes of one more entry begin at the end, but not a whole one.
    pub(crate) torn: bool,
    /// Why the end is not the end.
    pub(crate) damage: Option<String>,
}

impl Scan {
    pub(crate) fn previous(&self) -> Option<Previous> {
        self.header.as_ref()?.previous
    }
}

/// Reads the whole segment.
pub(crate) fn scan(files: &Arc<Files>) -> io::Result<Scan> {
    let mut found = Scan::default();
    let mut reader = Reader::new(files.clone());
    let mut known_lac = 0;
    while let Some(entry) = reader.next()? {
        if entry.header.number == 0 {
            found.header = SegmentHeader::decode(&entry.payload());
            if found.header.as_ref().is_none_or(|header| header.segment != files.id) {
                found.damage = Some("its header is not readable".to_owned());
                return Ok(found);
            }
        } else if entry.decode().is_none() {
            found.damage = Some(format!("entry {} is not readable", entry.header.number));
            return Ok(found);
        }
        found.bytes += entry.file_bytes();
        found.entries = reader.number();
        known_lac = known_lac.max(entry.header.lac);
    }
    found.crc = reader.crc();
    let (part, byte) = reader.place();
    if known_lac > found.entries {
        found.damage = Some(format!("{known_lac} entries were committed, {} read", found.entries));
    }
    for (index, file) in files.parts.iter().enumerate().skip(part) {
        let from = if index == part { byte } else { super::format::FILE_HEADER_BYTES };
        if found.damage.is_some() || files.bugs.has(Bug::CutBeforeValid) {
            break;
        }
        let later = later_entry(files, &**file, from)?;
        found.torn |= later.torn;
        if later.endless {
            found.damage = Some(format!("more entries begin in file {index} than can be read"));
        }
        found.damage = found.damage.or(later.entry.map(|(byte, number)| {
            format!(
                "entry {} does not read back, yet entry {number} is whole at byte {byte} of \
                 file {index}",
                found.entries
            )
        }));
    }
    Ok(found)
}

struct Later {
    torn: bool,
    /// It was given up.
    endless: bool,
    entry: Option<(u64, u64)>,
}

/// The first whole entry at or after `from`, looking at every place one may start.
fn later_entry(files: &Files, file: &dyn DiskFile, from: u64) -> io::Result<Later> {
    let length = file.len()?;
    let mut chunk = Vec::new();
    let mut later = Later { torn: false, endless: false, entry: None };
    let mut left = length.saturating_mul(MOST_READS);
    let mut at = from;
    while at < length {
        let bytes = CHUNK_BYTES.min(length - at);
        chunk.resize(usize::try_from(bytes).unwrap_or(0), 0);
        file.read_at(at, &mut chunk)?;
        let step = usize::try_from(ENTRY_ALIGN).unwrap_or(1);
        for (index, sector) in chunk.chunks(step).enumerate() {
            let Some((header, _)) = EntryHeader::decode(sector, files.nonce) else { continue };
            later.torn = true;
            let byte = at + u64::try_from(index * step).unwrap_or(0);
            if header.entry_bytes() > length - byte {
                continue;
            }
            let Some(after) = left.checked_sub(header.entry_bytes()) else {
                later.endless = true;
                return Ok(later);
            };
            left = after;
            if let Some(entry) = read_entry(files, file, byte)? {
                later.entry = Some((byte, entry.header.number));
                return Ok(later);
            }
        }
        at += bytes;
    }
    Ok(later)
}
