//! Recovery of a former incarnation's segments from this broker's own folder.
//!
//! Owns: answering `recovery` with what the folder holds. Does not own: the other members, upload.
//! Invariant: the segments are durably fenced before anything is read from them (H5, H6).

use std::collections::{BTreeMap, VecDeque};

use crate::{
    types::SegmentId,
    wal::{self, Folder, FoundSegment, OpenSegment},
};

use super::{
    EntryReader,
    recovery::{Answer, Effect, Event, Recovery, Report},
};

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
    /// Its final length in entries, the header among them; 0 when nothing in it counts.
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
    /// `Gone` when it has no entries or was trimmed.
    pub fn read(&self, id: SegmentId) -> Result<EntryReader, wal::Error> {
        let segment = self.segments.iter().find(|segment| segment.id == id);
        let entries = segment.map_or(0, |segment| segment.entries);
        if entries == 0 {
            return Err(wal::Error::Gone(id));
        }
        EntryReader::new(&self.folder, id, entries, None)
    }
}

/// Fences `segments` (all of one incarnation, as the metadata has them) in the own folder and
/// decides where each ends (R1-R3). Blocking. Repeatable. After the seal record is applied, give
/// the files back with `Folder::trim`.
///
/// # Errors
/// Nothing was decided then.
pub fn recover(folder: &Folder, segments: &[OpenSegment]) -> Result<Recovered, Unrecoverable> {
    let ids: Vec<_> = segments.iter().map(|open| open.id).collect();
    folder.fence(&ids)?;
    let found = folder.examine(&ids)?;
    let found: BTreeMap<_, _> = found.into_iter().map(|found| (found.id, found)).collect();
    let me = folder.identity().storage;
    let mut core = Recovery::new(segments).with_bugs(folder.bugs());
    let mut events = VecDeque::from([Event::Start]);
    let (mut outcome, mut blocked) = (None, Vec::new());
    while let Some(event) = events.pop_front() {
        let mut effects = Vec::new();
        core.apply(event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Ask { segment, member } => {
                    let open = segments.iter().find(|open| open.id == segment);
                    let answer = answer(folder, open, found.get(&segment), member == me);
                    events.push_back(Event::Answered { segment, member, answer });
                }
                Effect::Decided(decisions) => outcome = Some(decisions),
                Effect::Diverged { segment } => return Err(Unrecoverable::Diverged(segment)),
                Effect::Blocked { segments } => blocked = segments,
                // One member's answers are never compared.
                Effect::AskCrc { .. } => {}
            }
        }
    }
    let decisions = outcome.ok_or_else(|| unrecoverable(folder, segments, &found, &blocked))?;
    let recovered = decisions.iter().zip(sorted(segments)).map(|(decision, open)| {
        RecoveredSegment { id: open.id, nonce: open.nonce, entries: decision.entries }
    });
    Ok(Recovered { segments: recovered.collect(), folder: folder.clone() })
}

fn sorted(segments: &[OpenSegment]) -> Vec<&OpenSegment> {
    let mut sorted: Vec<_> = segments.iter().collect();
    sorted.sort_unstable_by_key(|open| open.id);
    sorted
}

fn answer(
    folder: &Folder,
    open: Option<&OpenSegment>,
    found: Option<&FoundSegment>,
    me: bool,
) -> Answer {
    let Some(open) = open.filter(|_| me) else { return Answer::Unreachable };
    Answer::Report(match found {
        Some(found) => Report {
            entries: found.entries,
            crc: found.crc,
            previous: found.previous,
            suspect: found.suspect || found.nonce != open.nonce,
        },
        // A spare that was opened in the metadata and never got a file here.
        None => {
            Report { entries: 0, crc: 0, previous: None, suspect: folder.must_have_held(open.id) }
        }
    })
}

fn unrecoverable(
    folder: &Folder,
    segments: &[OpenSegment],
    found: &BTreeMap<SegmentId, FoundSegment>,
    blocked: &[SegmentId],
) -> Unrecoverable {
    let me = folder.identity().storage;
    let (mut missing, mut suspect) = (Vec::new(), Vec::new());
    for open in sorted(segments) {
        let mine = open.ensemble.iter().any(|member| member.storage == me);
        match found.get(&open.id) {
            Some(found) if found.missing => missing.push(open.id),
            Some(found) if found.suspect => {
                let torn = || "its end is torn".to_owned();
                suspect.push((open.id, found.damage.clone().unwrap_or_else(torn)));
            }
            Some(found) if found.nonce != open.nonce => {
                suspect.push((open.id, "its files are another segment's".to_owned()));
            }
            Some(_) if blocked.contains(&open.id) => {
                suspect.push((open.id, "a newer segment names more entries of it".to_owned()));
            }
            Some(_) => {}
            None if !mine || folder.must_have_held(open.id) || blocked.contains(&open.id) => {
                missing.push(open.id);
            }
            None => {}
        }
    }
    Unrecoverable::Missing { missing, suspect }
}
