//! Audit of a cluster from its bucket alone, as `strandline fsck` and the chaos tests run it.
//!
//! Owns: what must hold of a bucket (I3, I11, I17, I18, I20, I21), and the reading for it.
//! Does not own: what people see of it. Invariants: nothing is written; memory is bounded by the
//! state, a broker's own, and a few reads; beside a running broker nothing is told that the broker
//! changed meanwhile: metadata is read again before anything is accused.

mod finding;
mod keys;
mod objects;
mod partition;
mod producers;
mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use futures::{StreamExt, stream};

pub use self::finding::{Checked, Finding, Kind, Leftovers, Sum};
use self::{
    finding::{About, Findings},
    keys::Keys,
    objects::{Folds, Objects},
    partition::{Named, Whose},
};
use crate::{
    cluster::{self, Chain, ChainFault, ChainFaultKind, ManifestRef, ReadError, State},
    env::Env,
    manifest::Manifest,
    store::{Failure, GetError, Store, path},
    types::{ClusterId, ObjectId, PartitionId},
};

/// Runs that are held at a time, to be looked at in the order of their objects.
const RUNS_AT_ONCE: usize = 100_000;
/// Manifests read at once.
const MANIFESTS: usize = 8;

/// How an audit is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Read and check every record, not only what describes them.
    pub deep: bool,
}

/// What an audit found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose bucket it is, when that could be read.
    pub cluster: Option<ClusterId>,
    /// Everything wrong, as much as is told one by one.
    pub findings: Vec<Finding>,
    /// How much more is wrong.
    pub more: u64,
    /// How much was looked at.
    pub checked: Checked,
    /// What is there beside it.
    pub leftovers: Leftovers,
    /// Whether metadata let everything be looked at.
    pub complete: bool,
}

/// Audits the bucket; `None` where there is no cluster. `tell` hears how far it is.
///
/// # Errors
/// When the bucket does not answer. Whatever is wrong with what it holds is a finding.
pub async fn audit(
    store: &Store,
    env: &Env,
    options: Options,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Option<Report>, Failure> {
    tell("reading the metadata log".to_owned());
    let Some(chain) = cluster::inspect(store, env).await? else { return Ok(None) };
    let mut findings = Findings::default();
    for fault in &chain.faults {
        findings.add(of_chain(fault));
    }
    let mut checked = Checked { entries: chain.entries, ..Checked::default() };
    let mut leftovers = Leftovers::default();
    if let Some(state) = &chain.state {
        let audit = Audit { store, state, options, tell };
        leftovers = audit.keys(&chain, &mut findings).await?;
        audit.runs(&mut checked, &mut findings).await?;
        audit.recheck(env, &mut findings).await?;
    }
    findings.kept.sort_by(|one, other| (one.kind, &one.place).cmp(&(other.kind, &other.place)));
    Ok(Some(Report {
        cluster: chain.cluster,
        findings: findings.kept,
        more: findings.more,
        checked,
        leftovers,
        complete: chain.state.is_some(),
    }))
}

fn of_chain(fault: &ChainFault) -> Finding {
    let kind = match fault.kind {
        ChainFaultKind::Missing => Kind::MissingMetadata,
        ChainFaultKind::Damaged => Kind::DamagedMetadata,
        ChainFaultKind::Broken => Kind::BrokenChain,
        ChainFaultKind::SnapshotDiffers => Kind::SnapshotDiffers,
        ChainFaultKind::Stale => Kind::StaleMetadata,
    };
    Finding::new(kind, &fault.key, &fault.text, About::Settled)
}

/// Runs that name an object, by who lists them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    fresh: u32,
    manifest: u32,
}

struct Audit<'a> {
    store: &'a Store,
    state: &'a State,
    options: Options,
    tell: &'a (dyn Fn(String) + Sync),
}

/// A partition's history to be looked at.
struct History<'a> {
    id: PartitionId,
    name: String,
    /// None of a deleted topic.
    partition: Option<&'a cluster::Partition>,
    manifest: Option<ManifestRef>,
    cleared: u64,
}

impl Audit<'_> {
    async fn keys(&self, chain: &Chain, findings: &mut Findings) -> Result<Leftovers, Failure> {
        let mut keys = Keys::new(chain, self.state);
        let (mut after, mut count) = (None, 0_usize);
        loop {
            let page = self.store.list(&path::everything(), after.as_ref()).await?;
            count += page.listed.len();
            (self.tell)(format!("listing: {count} keys"));
            for listed in &page.listed {
                keys.see(listed, findings);
            }
            after = page.listed.last().map(|last| last.key.clone());
            if !page.more || after.is_none() {
                break;
            }
        }
        keys.finish(findings);
        for id in &keys.unseen {
            let Some(object) = self.state.objects.get(id) else { continue };
            let key = path::data(*id, object.incarnation, object.nonce);
            // A listing is no picture of one moment.
            match self.store.head(&key).await {
                Ok(_) => {}
                Err(GetError::Absent) => {
                    let text = "metadata names it, and it is not there";
                    let about = About::Object(*id);
                    findings.add(Finding::new(Kind::MissingObject, &key, text, about));
                }
                Err(GetError::Failed(failure)) => return Err(failure),
            }
        }
        Ok(keys.leftovers)
    }

    /// Everything about runs: where they are named, and where they are.
    async fn runs(&self, checked: &mut Checked, findings: &mut Findings) -> Result<(), Failure> {
        checked.topics = u64::try_from(self.state.topics.len()).unwrap_or(u64::MAX);
        let histories = self.histories(findings);
        let store = self.store;
        let mut read = stream::iter(histories)
            .map(|history| async move {
                let manifest = match &history.manifest {
                    Some(named) => Some(manifest(store, history.id, named.version).await),
                    None => None,
                };
                (history, manifest)
            })
            .buffered(MANIFESTS);
        let mut objects = Objects {
            store,
            state: self.state,
            deep: self.options.deep,
            folds: Folds::new(),
            tell: self.tell,
        };
        let (mut counts, mut all_read) = (BTreeMap::<ObjectId, Counts>::new(), true);
        let mut runs: Vec<Named> = Vec::new();
        while let Some((history, manifest)) = read.next().await {
            let manifest = match manifest.transpose()? {
                Some(Ok(manifest)) => Some(manifest),
                Some(Err(finding)) => {
                    findings.add(finding);
                    all_read = false;
                    None
                }
                None => None,
            };
            let from = runs.len();
            history.look(manifest.as_ref(), &mut runs, checked, findings);
            for run in runs.iter().skip(from) {
                let counts = counts.entry(run.object).or_default();
                let count = if run.by_manifest { &mut counts.manifest } else { &mut counts.fresh };
                *count = count.saturating_add(1);
            }
            if runs.len() >= RUNS_AT_ONCE {
                objects.check(std::mem::take(&mut runs), checked, findings).await?;
                objects.folds.clear();
            }
        }
        objects.check(runs, checked, findings).await?;
        self.compare_counts(&counts, all_read, findings);
        Ok(())
    }

    fn histories(&self, findings: &mut Findings) -> Vec<History<'_>> {
        let mut histories = Vec::new();
        for topic in self.state.topics.values() {
            if self.state.names.get(&topic.name) != Some(&topic.id) {
                let text = "the topic has no name, or another has it";
                findings.add(Finding::new(Kind::Inconsistent, &topic.name, text, About::Settled));
            }
            for (partition, index) in topic.partitions.iter().zip(0..) {
                histories.push(History {
                    id: PartitionId { topic: topic.id, index },
                    name: format!("{}-{index}", topic.name),
                    partition: Some(partition),
                    manifest: partition.manifest,
                    cleared: 0,
                });
            }
        }
        let deleted = self.state.deleted_partitions.iter().map(|(id, deleted)| History {
            id: *id,
            name: format!("partition {} of the deleted topic {}", id.index, id.topic),
            partition: None,
            manifest: Some(deleted.manifest),
            cleared: deleted.cleared,
        });
        histories.extend(deleted);
        histories
    }

    fn compare_counts(
        &self,
        counts: &BTreeMap<ObjectId, Counts>,
        all_read: bool,
        findings: &mut Findings,
    ) {
        for (id, found) in counts.iter().filter(|(id, _)| !self.state.objects.contains_key(id)) {
            let text = format!(
                "{} runs are said to be in it, and metadata does not know it",
                u64::from(found.fresh) + u64::from(found.manifest)
            );
            let place = format!("object {id}");
            findings.add(Finding::new(Kind::UnknownObject, &place, text, About::Settled));
        }
        for (id, object) in &self.state.objects {
            let found = counts.get(id).copied().unwrap_or_default();
            let wrong = object.fresh_runs != found.fresh
                || (all_read && object.manifest_runs != found.manifest)
                || object.live_runs() == 0;
            if wrong {
                let text = format!(
                    "metadata counts {} fresh runs of it and {} in manifests, {} and {} are there",
                    object.fresh_runs, object.manifest_runs, found.fresh, found.manifest
                );
                let key = path::data(*id, object.incarnation, object.nonce);
                findings.add(Finding::new(Kind::WrongCount, &key, text, About::Settled));
            }
        }
    }

    /// Takes back what a running broker has let go of, or has named, since the state was read.
    async fn recheck(&self, env: &Env, findings: &mut Findings) -> Result<(), Failure> {
        let changeable = |finding: &Finding| finding.about != About::Settled;
        if !findings.kept.iter().any(changeable) {
            return Ok(());
        }
        let now = match cluster::look(self.store, env).await {
            Ok(Some(seen)) => seen.state,
            Err(ReadError::Failed(failure)) => return Err(failure),
            // It is told already what is wrong with the log.
            Ok(None) | Err(ReadError::Damaged { .. }) => return Ok(()),
        };
        let mut kept = Vec::new();
        for finding in std::mem::take(&mut findings.kept) {
            let holds = match &finding.about {
                About::Settled => true,
                About::Object(id) => now.objects.contains_key(id),
                About::Manifest(id, version) => {
                    let live = now.partition(*id).and_then(|partition| partition.manifest);
                    let deleted = now.deleted_partitions.get(id).map(|deleted| deleted.manifest);
                    live.or(deleted).is_some_and(|manifest| manifest.version == *version)
                }
                About::Unnamed(key) => self.is_unnamed(&now, key).await?,
            };
            if holds {
                kept.push(finding);
            }
        }
        findings.kept = kept;
        Ok(())
    }

    async fn is_unnamed(&self, now: &State, key: &crate::store::Key) -> Result<bool, Failure> {
        if let Some(name) = path::data_name(key) {
            let named = now.object_key(name.object) == Some((name.incarnation, name.nonce));
            let reserved = now.living(name.incarnation).is_some_and(|uploader| {
                uploader.reserved.iter().any(|range| range.contains(&name.object))
            });
            if named || reserved {
                return Ok(false);
            }
        }
        match self.store.head(key).await {
            Ok(_) => Ok(true),
            Err(GetError::Absent) => Ok(false),
            Err(GetError::Failed(failure)) => Err(failure),
        }
    }
}

impl History<'_> {
    fn look(
        &self,
        manifest: Option<&Manifest>,
        runs: &mut Vec<Named>,
        checked: &mut Checked,
        findings: &mut Findings,
    ) {
        checked.partitions += u64::from(self.partition.is_some());
        let whose = Whose { id: self.id, name: &self.name };
        if let (Some(named), Some(found)) = (&self.manifest, manifest) {
            checked.manifests += 1;
            partition::compare_manifest(whose, named, found, findings);
            runs.extend(partition::older(found, self.partition.is_none(), self.cleared));
        }
        if let Some(found) = self.partition {
            partition::tile(whose, found, findings);
            runs.extend(partition::fresh(self.id, found));
        }
    }
}

/// A manifest, or what is wrong with it.
async fn manifest(
    store: &Store,
    id: PartitionId,
    version: u64,
) -> Result<Result<Manifest, Finding>, Failure> {
    let key = path::manifest(id.topic, id.index, version);
    let about = About::Manifest(id, version);
    let mut damage = String::new();
    for _ in 0..2 {
        match store.get(&key).await {
            Ok(found) => match Manifest::decode(&found.bytes) {
                Ok(manifest) => return Ok(Ok(manifest)),
                Err(error) => damage = error.to_string(),
            },
            Err(GetError::Absent) => {
                let text = "metadata names it, and it is not there";
                return Ok(Err(Finding::new(Kind::MissingManifest, &key, text, about)));
            }
            Err(GetError::Failed(failure)) => return Err(failure),
        }
    }
    Ok(Err(Finding::new(Kind::DamagedManifest, &key, damage, about)))
}
