//! Objects against what metadata says of them: footers, and every byte when asked.
//!
//! Owns: reading footers and blocks, in bounded memory. Does not own: which runs there are
//! (`partition`), what must hold of a run's bytes (`run`). Invariant: what seems wrong is read
//! once more before it is told, for the way here may have done it.

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{
    finding::{About, Checked, Finding, Findings, Kind},
    partition::Named,
    producers::Fold,
    run::{Fault, RunCheck},
};
use crate::{
    cluster,
    object::{Block, Footer, Run},
    store::{Failure, FailureKind, GetError, Key, Store, path},
    types::{ObjectId, Offset, PartitionId},
};

/// The first read of an object's end: most footers fit.
const TAIL_BYTES: u64 = 64 * 1024;
/// Footers read at once.
const FOOTERS: usize = 16;
/// Bytes of records of one request, where blocks are not larger.
const PIECE_BYTES: u64 = 8 << 20;
/// Such requests at once.
const PIECES: usize = 3;

/// Where partitions' producer state stands, for runs come in the order of their objects.
pub(super) type Folds = BTreeMap<PartitionId, (Offset, Fold)>;

/// What objects are checked with.
pub(super) struct Objects<'a> {
    pub(super) store: &'a Store,
    pub(super) state: &'a cluster::State,
    pub(super) deep: bool,
    pub(super) folds: Folds,
    pub(super) tell: &'a (dyn Fn(String) + Sync),
}

/// What came of reading something that ought to be there.
enum Read<T> {
    Good(T),
    Gone,
    Bad(String),
}

/// An object with the runs of it that are named.
struct Wanted {
    id: ObjectId,
    object: cluster::Object,
    key: Key,
    runs: Vec<Named>,
}

impl Objects<'_> {
    /// Checks the objects of these runs.
    pub(super) async fn check(
        &mut self,
        runs: Vec<Named>,
        checked: &mut Checked,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let mut by_object: BTreeMap<ObjectId, Vec<Named>> = BTreeMap::new();
        for run in runs {
            by_object.entry(run.object).or_default().push(run);
        }
        let wanted = by_object.into_iter().filter_map(|(id, mut runs)| {
            // Runs of unknown objects are told where counts are compared.
            let object = *self.state.objects.get(&id)?;
            runs.sort_by_key(|run| (run.partition, run.base));
            let key = path::data(id, object.incarnation, object.nonce);
            Some(Wanted { id, object, key, runs })
        });
        let store = self.store;
        let mut footers = stream::iter(wanted)
            .map(|wanted| async move {
                let footer = footer(store, wanted.place()).await;
                (wanted, footer)
            })
            .buffered(FOOTERS);
        let mut folds = std::mem::take(&mut self.folds);
        while let Some((wanted, footer)) = footers.next().await {
            (self.tell)(format!("objects: {}", checked.objects));
            checked.objects += 1;
            let about = About::Object(wanted.id);
            match footer? {
                Read::Good(footer) => {
                    let comparison = Comparison { store, deep: self.deep, folds: &mut folds };
                    comparison.compare(&wanted, &footer, checked, findings).await?;
                }
                // Told where keys are listed.
                Read::Gone => {}
                Read::Bad(text) => {
                    findings.add(Finding::new(Kind::DamagedFooter, &wanted.key, text, about));
                }
            }
        }
        drop(footers);
        self.folds = folds;
        Ok(())
    }
}

impl Wanted {
    fn place(&self) -> Place<'_> {
        Place { key: &self.key, bytes: self.object.bytes }
    }
}

/// Compares one object with what is named of it.
struct Comparison<'a> {
    store: &'a Store,
    deep: bool,
    folds: &'a mut Folds,
}

impl Comparison<'_> {
    async fn compare(
        self,
        wanted: &Wanted,
        footer: &Footer,
        checked: &mut Checked,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let mut tell = |kind, text: String| {
            findings.add(Finding::new(kind, &wanted.key, text, About::Object(wanted.id)));
        };
        if (footer.object, footer.incarnation) != (wanted.id, wanted.object.incarnation) {
            let text = format!(
                "it says it is object {} of incarnation {}",
                footer.object, footer.incarnation
            );
            tell(Kind::RunDiffers, text);
            return Ok(());
        }
        for named in &wanted.runs {
            checked.runs += 1;
            let run = match run_of(footer, named) {
                Ok(run) => run,
                Err(text) => {
                    tell(Kind::RunDiffers, text);
                    continue;
                }
            };
            if !self.deep || named.deleted {
                continue;
            }
            let before = self.folds.remove(&named.partition);
            let first = (named.base == Offset::ZERO).then(Fold::default);
            let fold = before.filter(|(end, _)| *end == named.base).map(|(_, fold)| fold).or(first);
            match read_run(self.store, wanted.place(), run, fold, checked).await? {
                Read::Good(Ok(fold)) => {
                    self.folds.insert(named.partition, (named.end, fold));
                }
                Read::Good(Err((kind, text))) => tell(kind, format!("{}: {text}", shown(named))),
                // Told where keys are listed.
                Read::Gone | Read::Bad(_) => {}
            }
        }
        Ok(())
    }
}

fn shown(named: &Named) -> String {
    let PartitionId { topic, index } = named.partition;
    format!("{}..{} of partition {index} of {topic}", named.base, named.end)
}

/// The run in a footer that is meant, if the footer says of it what metadata does.
fn run_of<'a>(footer: &'a Footer, named: &Named) -> Result<&'a Run, String> {
    let shown = shown(named);
    let Some(run) = footer.find(named.partition, named.base).filter(|run| run.base == named.base)
    else {
        return Err(format!("it has no run {shown}"));
    };
    let range = run.range();
    let bytes = range.end - range.start;
    let same = run.end == named.end
        && bytes == named.bytes
        && run.max_timestamp == named.max_timestamp
        && run.last_append == named.last_append;
    if same {
        return Ok(run);
    }
    Err(format!(
        "of {shown} it has {}..{} in {bytes} bytes, newest {}, appended {}; metadata says {} \
         bytes, newest {}, appended {}",
        run.base,
        run.end,
        run.max_timestamp,
        run.last_append,
        named.bytes,
        named.max_timestamp,
        named.last_append
    ))
}

/// What a failed read says of the object: that it is gone or shorter than it has to be, or
/// nothing.
async fn judge<T>(store: &Store, place: Place<'_>, error: GetError) -> Result<Read<T>, Failure> {
    let failure = match error {
        GetError::Absent => return Ok(Read::Gone),
        GetError::Failed(failure) if failure.kind() != FailureKind::Other => return Err(failure),
        GetError::Failed(failure) => failure,
    };
    match store.head(place.key).await {
        Ok(head) if head.bytes != place.bytes => {
            let text = format!("it has {} bytes of {}", head.bytes, place.bytes);
            Ok(Read::Bad(text))
        }
        Ok(_) => Err(failure),
        Err(GetError::Absent) => Ok(Read::Gone),
        Err(GetError::Failed(failure)) => Err(failure),
    }
}

/// An object, and how long it has to be.
#[derive(Clone, Copy)]
struct Place<'a> {
    key: &'a Key,
    bytes: u64,
}

async fn footer(store: &Store, place: Place<'_>) -> Result<Read<Footer>, Failure> {
    let mut last = Read::Gone;
    for _ in 0..2 {
        last = footer_once(store, place).await?;
        if !matches!(last, Read::Bad(_)) {
            break;
        }
    }
    Ok(last)
}

async fn footer_once(store: &Store, place: Place<'_>) -> Result<Read<Footer>, Failure> {
    let tail = |range: Range<u64>| async move {
        match store.get_range(place.key, range).await {
            Ok(tail) => Ok(Read::Good(tail)),
            Err(error) => judge(store, place, error).await,
        }
    };
    let bytes = place.bytes;
    let first = bytes.saturating_sub(TAIL_BYTES)..bytes;
    let mut read = match tail(first.clone()).await? {
        Read::Good(read) => read,
        Read::Gone => return Ok(Read::Gone),
        Read::Bad(text) => return Ok(Read::Bad(text)),
    };
    let range = match Footer::locate(bytes, &read) {
        Ok(range) => range,
        Err(error) => return Ok(Read::Bad(error.to_string())),
    };
    if range.start < first.start {
        read = match tail(range).await? {
            Read::Good(read) => read,
            Read::Gone => return Ok(Read::Gone),
            Read::Bad(text) => return Ok(Read::Bad(text)),
        };
    }
    Ok(match Footer::decode(bytes, &read) {
        Ok(footer) => Read::Good(footer),
        Err(error) => Read::Bad(error.to_string()),
    })
}

/// Reads all of a run; once more when something is wrong with it.
async fn read_run(
    store: &Store,
    place: Place<'_>,
    run: &Run,
    fold: Option<Fold>,
    checked: &mut Checked,
) -> Result<Read<Result<Fold, Fault>>, Failure> {
    let before = *checked;
    let read = read_run_once(store, place, run, fold.clone(), checked).await?;
    if matches!(read, Read::Good(Err(_))) {
        *checked = before;
        return read_run_once(store, place, run, fold, checked).await;
    }
    Ok(read)
}

async fn read_run_once(
    store: &Store,
    place: Place<'_>,
    run: &Run,
    fold: Option<Fold>,
    checked: &mut Checked,
) -> Result<Read<Result<Fold, Fault>>, Failure> {
    let mut check = RunCheck::begin(run, fold);
    let pieces = pieces(&run.blocks).into_iter().map(|blocks| async move {
        let start = blocks.first().map_or(0, |block| block.range.start);
        let lengths: Vec<usize> = blocks.iter().map(length).collect();
        (blocks, store.get_pieces(place.key, start, &lengths).await)
    });
    let mut pieces = stream::iter(pieces).buffered(PIECES);
    while let Some((blocks, read)) = pieces.next().await {
        let read: Vec<Bytes> = match read {
            Ok(read) => read,
            Err(error) => return judge(store, place, error).await,
        };
        for (block, bytes) in blocks.iter().zip(&read) {
            if let Err(fault) = check.block(block, bytes, checked) {
                return Ok(Read::Good(Err(fault)));
            }
        }
    }
    Ok(Read::Good(check.finish(checked)))
}

/// Blocks in groups that are read by one request.
fn pieces(blocks: &[Block]) -> Vec<&[Block]> {
    let (mut groups, mut rest) = (Vec::new(), blocks);
    while let Some(first) = rest.first() {
        let limit = first.range.start.saturating_add(PIECE_BYTES);
        let count = rest.partition_point(|block| block.range.end <= limit).max(1);
        let (group, after) = rest.split_at(count);
        groups.push(group);
        rest = after;
    }
    groups
}

fn length(block: &Block) -> usize {
    usize::try_from(block.range.end - block.range.start).unwrap_or(usize::MAX)
}
