//! The whole metadata log as the bucket has it, looked at link by link.
//!
//! Owns: reading every entry and snapshot there is, and telling what is wrong with them.
//! Does not own: taking part, what the state says of objects. Invariants: nothing is written; what
//! a running broker trims meanwhile is no fault; at most two states are held.

use super::{
    documents::{FloorDocument, LeaseDocument, SnapshotName},
    entry::{Hash, SealedEntry},
    error::ReadError,
    meta::{Held, Meta},
    record::Record,
    state::State,
};
use crate::{
    env::Env,
    store::{
        Failure, Key, Store,
        path::{self, Name},
    },
    types::{ClusterId, MetadataIndex, Millis},
};

/// Entries asked for at once.
const WINDOW: usize = 16;

/// The metadata log as it was found.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Whose it is.
    pub cluster: Option<ClusterId>,
    /// Entries up to here may be deleted.
    pub floor: MetadataIndex,
    /// Entries up to here are.
    pub trimmed: MetadataIndex,
    /// Snapshots that the floor names, those it is giving up too.
    pub snapshots: Vec<Key>,
    /// Entries that were read.
    pub entries: u64,
    /// When a broker registered last, if that entry is still there.
    pub registered: Option<Millis>,
    /// The state at the end; none when what is wrong keeps it from being known.
    pub state: Option<State>,
    /// All that is wrong.
    pub faults: Vec<ChainFault>,
}

/// Something wrong with the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainFault {
    /// What is wrong.
    pub kind: ChainFaultKind,
    /// Where.
    pub key: Key,
    /// How, for people.
    pub text: String,
}

/// What can be wrong with the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFaultKind {
    /// It has to be there and is not.
    Missing,
    /// Its bytes are not what was written.
    Damaged,
    /// It is whole, and does not follow what is before it.
    Broken,
    /// A snapshot is not the state that the entries give.
    SnapshotDiffers,
    /// An older version of it was put back.
    Stale,
}

/// Reads the whole log; `None` where there is no cluster.
///
/// # Errors
/// No answer of the bucket. What is wrong with the log is no error.
pub async fn inspect(store: &Store, env: &Env) -> Result<Option<Chain>, Failure> {
    let meta = Meta { store: store.clone(), env: env.clone() };
    loop {
        let listed = entries_of(store).await?;
        let mut chain = Chain::empty();
        let cluster = match heard(meta.cluster().await)? {
            Ok(Some(document)) => document.cluster_id,
            Ok(None) if listed.is_empty() => return Ok(None),
            Ok(None) => {
                let text = "it is gone, and the log is there";
                chain.fault(ChainFaultKind::Missing, path::cluster(), text);
                return Ok(Some(chain));
            }
            Err(damage) => {
                chain.fault(ChainFaultKind::Damaged, path::cluster(), damage);
                return Ok(Some(chain));
            }
        };
        chain.cluster = Some(cluster);
        let walk = Walk { meta: &meta, cluster, chain, names: Vec::new(), last: None };
        // The log may be trimmed while it is read, which would look like holes.
        if let Some(chain) = walk.run(&listed).await? {
            return Ok(Some(chain));
        }
    }
}

/// Indices of all entries there are, ascending. Entries are written in order, so one that is not
/// listed and has one behind it that is was not there.
async fn entries_of(store: &Store) -> Result<Vec<MetadataIndex>, Failure> {
    let (mut indices, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(&path::log_prefix(), after.as_ref()).await?;
        indices.extend(page.listed.iter().filter_map(|listed| match path::name(&listed.key) {
            Some(Name::LogEntry(index)) => Some(index),
            _ => None,
        }));
        after = page.listed.last().map(|last| last.key.clone());
        if !page.more || after.is_none() {
            return Ok(indices);
        }
    }
}

/// Takes damage for an answer, so that only no answer is an error.
fn heard<T>(result: Result<T, ReadError>) -> Result<Result<T, String>, Failure> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ReadError::Damaged { damage, .. }) => Ok(Err(damage.to_string())),
        Err(ReadError::Failed(failure)) => Err(failure),
    }
}

struct Walk<'a> {
    meta: &'a Meta,
    cluster: ClusterId,
    chain: Chain,
    /// Snapshots the floor names that are still to be met, oldest first.
    names: Vec<SnapshotName>,
    /// Index, hash and epoch of the entry before.
    last: Option<(MetadataIndex, Hash, u64)>,
}

impl Chain {
    fn empty() -> Self {
        Self {
            cluster: None,
            floor: MetadataIndex(0),
            trimmed: MetadataIndex(0),
            snapshots: Vec::new(),
            entries: 0,
            registered: None,
            state: None,
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, kind: ChainFaultKind, key: Key, text: impl Into<String>) {
        self.faults.push(ChainFault { kind, key, text: text.into() });
    }
}

impl Walk<'_> {
    /// `None` when the log was trimmed meanwhile.
    async fn run(mut self, listed: &[MetadataIndex]) -> Result<Option<Chain>, Failure> {
        let lease = heard(self.meta.lease(self.cluster).await)?;
        let floor = heard(self.meta.floor(self.cluster).await)?;
        let had_floor = matches!(floor, Ok(Some(_)));
        match floor {
            Ok(floor) => self.begin(floor),
            Err(damage) => {
                self.chain.fault(ChainFaultKind::Damaged, path::floor(), damage);
                let before = listed.first().map_or(0, |first| first.0.saturating_sub(1));
                self.chain.floor = MetadataIndex(before);
            }
        }
        if self.chain.floor == MetadataIndex(0) {
            self.chain.state = Some(State::new(self.cluster));
            self.last = Some((MetadataIndex(0), Hash::ZERO, 0));
        }
        self.meet_up_to(self.chain.floor).await?;
        let floor = self.chain.floor;
        let ahead: Vec<MetadataIndex> =
            listed.iter().copied().filter(|index| *index > floor).collect();
        let mut due = floor.next();
        for window in ahead.chunks(WINDOW) {
            let entries = window.iter().map(|index| self.meta.entry(*index));
            let entries = futures::future::join_all(entries).await;
            for (index, entry) in window.iter().zip(entries) {
                let entry = match heard(entry)? {
                    // Once more: the way here may have done it.
                    Err(_) => heard(self.meta.entry(*index).await)?,
                    Ok(entry) => Ok(entry),
                };
                if *index > due || matches!(entry, Ok(None)) {
                    if had_floor && self.was_trimmed(due).await? {
                        return Ok(None);
                    }
                    let gone = matches!(entry, Ok(None));
                    let last = if gone { *index } else { MetadataIndex(index.0 - 1) };
                    self.hole(due, last).await?;
                }
                self.take(*index, entry).await?;
                due = index.next();
            }
        }
        self.end(due).await?;
        self.judge_lease(lease).await?;
        Ok(Some(self.chain))
    }

    fn begin(&mut self, floor: Option<Held<FloorDocument>>) {
        let Some(Held { document, .. }) = floor else { return };
        self.chain.floor = document.floor;
        self.chain.trimmed = document.trimmed;
        let all = document.snapshots.iter().chain(&document.retired);
        self.chain.snapshots = all.map(key_of).collect();
        self.names = document.snapshots;
        self.names.sort_by_key(|name| name.index);
        if document.trimmed > document.floor {
            let text = "it says that more is deleted than may be";
            self.chain.fault(ChainFaultKind::Broken, path::floor(), text);
        }
        let newest = self.names.last().map(|name| name.index);
        if document.floor > MetadataIndex(0) && newest.is_none_or(|newest| newest < document.floor)
        {
            let text = "it names no snapshot that makes up for the entries given up";
            self.chain.fault(ChainFaultKind::Broken, path::floor(), text);
        }
    }

    async fn was_trimmed(&self, index: MetadataIndex) -> Result<bool, Failure> {
        let floor = heard(self.meta.floor(self.cluster).await)?.ok().flatten();
        Ok(floor.is_some_and(|floor| floor.document.floor >= index))
    }

    /// Entries that are not there.
    async fn hole(&mut self, first: MetadataIndex, last: MetadataIndex) -> Result<(), Failure> {
        let text = if first == last {
            "it is missing in the log".to_owned()
        } else {
            format!("entries {first} to {last} are missing in the log")
        };
        self.chain.fault(ChainFaultKind::Missing, path::log_entry(first), text);
        self.lose();
        self.meet_up_to(last).await?;
        if self.last.is_some_and(|(index, ..)| index < last) {
            self.lose();
        }
        Ok(())
    }

    fn lose(&mut self) {
        self.chain.state = None;
        self.last = None;
    }

    async fn take(
        &mut self,
        index: MetadataIndex,
        entry: Result<Option<SealedEntry>, String>,
    ) -> Result<(), Failure> {
        match entry {
            Ok(Some(entry)) => self.link(index, &entry),
            Ok(None) => return Ok(()),
            Err(damage) => {
                self.chain.fault(ChainFaultKind::Damaged, path::log_entry(index), damage);
                self.lose();
            }
        }
        self.meet_up_to(index).await
    }

    fn link(&mut self, index: MetadataIndex, sealed: &SealedEntry) {
        let SealedEntry { entry, hash } = sealed;
        self.chain.entries += 1;
        let mut records = entry.proposals.iter().flatten();
        if records.any(|record| matches!(record, Record::Register { .. })) {
            self.chain.registered = self.chain.registered.max(Some(entry.time_ms));
        }
        let mut epoch = entry.epoch;
        let broken = match (&mut self.chain.state, self.last) {
            (Some(state), _) => {
                let applied = state.apply(sealed);
                epoch = state.epoch;
                applied.err().map(|corrupt| corrupt.to_string())
            }
            (None, _) if entry.cluster_id != self.cluster => {
                Some("it belongs to another cluster".to_owned())
            }
            (None, Some((_, before, _))) if entry.prev_hash != before => {
                Some("it does not continue the log before it".to_owned())
            }
            (None, Some((.., before))) if entry.epoch < before => {
                Some(format!("it is of epoch {}, after one of {before}", entry.epoch))
            }
            (None, _) => None,
        };
        if let Some(text) = broken {
            self.chain.fault(ChainFaultKind::Broken, path::log_entry(index), text);
            self.chain.state = None;
        }
        self.last = Some((index, *hash, epoch));
    }

    /// Compares the snapshots up to `index` with what the entries gave, or goes on from them.
    async fn meet_up_to(&mut self, index: MetadataIndex) -> Result<(), Failure> {
        let count = self.names.partition_point(|name| name.index <= index);
        let due: Vec<SnapshotName> = self.names.drain(..count).collect();
        for name in due {
            let key = key_of(&name);
            let snapshot = match heard(self.meta.snapshot(&name, self.cluster).await)? {
                Err(_) => heard(self.meta.snapshot(&name, self.cluster).await)?,
                fine => fine,
            };
            match snapshot {
                Ok(Some(snapshot)) => self.compare(&name, key, snapshot),
                Ok(None) if self.is_named(&name).await? => {
                    let text = "the floor names it and it is not there";
                    self.chain.fault(ChainFaultKind::Missing, key, text);
                }
                Ok(None) => {}
                Err(damage) => self.chain.fault(ChainFaultKind::Damaged, key, damage),
            }
        }
        Ok(())
    }

    fn compare(&mut self, name: &SnapshotName, key: Key, snapshot: State) {
        match (&self.chain.state, self.last) {
            (Some(state), _) if state.index == name.index => {
                if *state != snapshot {
                    let text = "it is not the state that the entries up to it give";
                    self.chain.fault(ChainFaultKind::SnapshotDiffers, key, text);
                }
                return;
            }
            (Some(_), _) => return,
            // Older than where the entries begin: nothing to compare it with, or to go on from.
            (None, _) if name.index < self.chain.floor => return,
            (None, Some((index, hash, _))) if index == name.index && hash != snapshot.hash => {
                let text = "it does not follow from the entry it names";
                self.chain.fault(ChainFaultKind::SnapshotDiffers, key, text);
            }
            (None, _) => {}
        }
        self.last = Some((name.index, snapshot.hash, snapshot.epoch));
        self.chain.state = Some(snapshot);
    }

    /// Whether the floor still names it: a running broker gives up old ones.
    async fn is_named(&self, name: &SnapshotName) -> Result<bool, Failure> {
        let floor = heard(self.meta.floor(self.cluster).await)?.ok().flatten();
        Ok(floor.is_none_or(|floor| floor.document.snapshots.contains(name)))
    }

    /// After the last entry, `due` being the one that would come next.
    async fn end(&mut self, due: MetadataIndex) -> Result<(), Failure> {
        let Some(newest) = self.names.last().map(|name| name.index) else { return Ok(()) };
        let text = format!("entries {due} to {newest} are missing in the log");
        self.chain.fault(ChainFaultKind::Missing, path::log_entry(due), text);
        self.lose();
        self.meet_up_to(newest).await
    }

    async fn judge_lease(
        &mut self,
        lease: Result<Option<Held<LeaseDocument>>, String>,
    ) -> Result<(), Failure> {
        let Some(epoch) = self.chain.state.as_ref().map(|state| state.epoch) else { return Ok(()) };
        let stale = |lease: &Held<LeaseDocument>| lease.document.epoch < epoch;
        let lease = match lease {
            // Read before the log, which may have moved on.
            Ok(held) if held.as_ref().is_none_or(stale) => {
                heard(self.meta.lease(self.cluster).await)?
            }
            read => read,
        };
        match lease {
            Ok(Some(held)) if stale(&held) => {
                let text = format!("it is of epoch {}, the log of {epoch}", held.document.epoch);
                self.chain.fault(ChainFaultKind::Stale, path::lease(), text);
            }
            Ok(None) if epoch > 0 => {
                let text = "it is gone, and the log is there";
                self.chain.fault(ChainFaultKind::Missing, path::lease(), text);
            }
            Ok(_) => {}
            Err(damage) => self.chain.fault(ChainFaultKind::Damaged, path::lease(), damage),
        }
        Ok(())
    }
}

fn key_of(name: &SnapshotName) -> Key {
    path::snapshot(name.index, &name.digest.to_string())
}
