//! Findings: what a folder can say of a segment, and how far it can be believed.
//!
//! Invariant: a segment that another's header says was longer is damaged, whatever its files say.

use std::sync::Arc;

use crate::{
    env::bugs::{Bug, Bugs},
    types::SegmentId,
};

use super::{
    Error, Previous,
    ledger::Listed,
    reader::Files,
    scan::{Scan, scan},
};

/// A segment found in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSegment {
    /// Its name.
    pub id: SegmentId,
    /// Its nonce; 0 when no file of it is left.
    pub nonce: u64,
    /// The chain link of its header; `None` without header or predecessor.
    pub previous: Option<Previous>,
    /// Whole valid entries from its start, the header among them.
    pub entries: u64,
    /// Bytes of those entries.
    pub bytes: u64,
    /// CRC of the last of them.
    pub crc: u32,
    /// A fence was answered for it before.
    pub fenced: bool,
    /// Its end is not evidence of absence (H11): damage, or a torn end in an ensemble of several.
    pub suspect: bool,
    /// It was written here and its files are gone.
    pub missing: bool,
    /// Acknowledged bytes that do not read back; the files are kept as they are.
    pub damage: Option<String>,
}

type Known = (SegmentId, Option<Listed>, Option<Arc<Files>>);

/// Reads the segments among `known` that were ever written here.
pub(crate) fn examine(
    known: impl Iterator<Item = Known>,
    bugs: Bugs,
) -> Result<Vec<FoundSegment>, Error> {
    let mut found = Vec::new();
    for (id, listed, files) in known {
        let listed = listed.unwrap_or_default();
        match files {
            Some(files) => found.push(examine_one(&files, listed)?),
            None if listed.parts > 0 => found.push(lost(id, listed)),
            None => {}
        }
    }
    if bugs.has(Bug::SuccessorIgnored) {
        return Ok(found);
    }
    let lengths: Vec<_> = found.iter().filter_map(|segment| segment.previous).collect();
    for Previous { segment, entries } in lengths {
        let shorter = |found: &&mut FoundSegment| found.id == segment && found.entries < entries;
        if let Some(found) = found.iter_mut().find(shorter) {
            found.suspect = true;
            let what = format!("{entries} entries were committed, {} read", found.entries);
            found.damage.get_or_insert(what);
        }
    }
    Ok(found)
}

fn examine_one(files: &Arc<Files>, listed: Listed) -> Result<FoundSegment, Error> {
    let mut scan: Scan = scan(files)?;
    let parts = u32::try_from(files.parts.len()).unwrap_or(u32::MAX);
    if parts < listed.parts {
        let what = format!("its file {parts} of {} is missing", listed.parts);
        scan.damage.get_or_insert(what);
    }
    let several = scan.header.as_ref().is_some_and(|header| header.ensemble.len() > 1);
    Ok(FoundSegment {
        id: files.id,
        nonce: files.nonce,
        previous: scan.previous(),
        entries: scan.entries,
        bytes: scan.bytes,
        crc: scan.crc,
        fenced: listed.fenced,
        suspect: scan.damage.is_some() || (scan.torn && several),
        missing: false,
        damage: scan.damage,
    })
}

fn lost(id: SegmentId, listed: Listed) -> FoundSegment {
    FoundSegment {
        id,
        nonce: 0,
        previous: None,
        entries: 0,
        bytes: 0,
        crc: 0,
        fenced: listed.fenced,
        suspect: true,
        missing: true,
        damage: Some("its files are missing".to_owned()),
    }
}
