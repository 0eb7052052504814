//! One partition as metadata and manifest have it: which runs it has, and whether they tile.
//!
//! Owns: the rule of I3 over metadata. Does not own: reading manifests, objects. Pure.

use super::finding::{About, Finding, Findings, Kind};
use crate::{
    cluster::{ManifestRef, Partition},
    manifest::Manifest,
    types::{Millis, ObjectId, Offset, PartitionId},
};

/// A run as somebody names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) object: ObjectId,
    pub(super) partition: PartitionId,
    pub(super) base: Offset,
    pub(super) end: Offset,
    pub(super) bytes: u64,
    pub(super) max_timestamp: Millis,
    pub(super) last_append: Millis,
    /// By a manifest, else by the metadata itself.
    pub(super) by_manifest: bool,
    /// Of a deleted topic, so that nobody reads it.
    pub(super) deleted: bool,
}

/// A partition and the name people know it by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) id: PartitionId,
    pub(super) name: &'a str,
}

impl Whose<'_> {
    fn tell(&self, findings: &mut Findings, kind: Kind, text: impl Into<String>) {
        findings.add(Finding::new(kind, &self.name, text, About::Settled));
    }
}

/// The runs that metadata itself names.
pub(super) fn fresh(id: PartitionId, partition: &Partition) -> impl Iterator<Item = Named> + '_ {
    partition.runs.iter().map(move |run| Named {
        object: run.object,
        partition: id,
        base: run.base,
        end: run.end,
        bytes: run.bytes,
        max_timestamp: run.max_timestamp,
        last_append: run.last_append,
        by_manifest: false,
        deleted: false,
    })
}

/// The runs that a manifest names, but for the first `cleared` of a deleted partition.
pub(super) fn older(
    manifest: &Manifest,
    deleted: bool,
    cleared: u64,
) -> impl Iterator<Item = Named> + '_ {
    let id = manifest.partition();
    let cleared = usize::try_from(cleared).unwrap_or(usize::MAX);
    manifest.runs().iter().skip(cleared).map(move |run| Named {
        object: run.object,
        partition: id,
        base: run.base,
        end: run.end,
        bytes: run.bytes,
        max_timestamp: run.max_timestamp,
        last_append: run.last_append,
        by_manifest: true,
        deleted,
    })
}

/// Whether a manifest is what metadata says of it.
pub(super) fn compare_manifest(
    whose: Whose<'_>,
    named: &ManifestRef,
    found: &Manifest,
    findings: &mut Findings,
) {
    let runs = u64::try_from(found.runs().len()).unwrap_or(u64::MAX);
    let same = found.partition() == whose.id
        && found.version() == named.version
        && (found.start(), found.end()) == (named.start, named.end)
        && found.bytes() == named.bytes
        && runs == named.runs;
    if !same {
        let text = format!(
            "manifest {} of {}/{} holds {runs} runs of {} bytes for {}..{}, metadata says manifest {}, {} \
             runs of {} bytes for {}..{}",
            found.version(),
            found.partition().topic,
            found.partition().index,
            found.bytes(),
            found.start(),
            found.end(),
            named.version,
            named.runs,
            named.bytes,
            named.start,
            named.end
        );
        whose.tell(findings, Kind::ManifestDiffers, text);
    }
}

/// Whether the manifest and the fresh runs cover all that is published, once.
pub(super) fn tile(whose: Whose<'_>, partition: &Partition, findings: &mut Findings) {
    let log_start = partition.log_start;
    let mut reached = Offset::ZERO;
    if let Some(manifest) = &partition.manifest {
        if manifest.start > log_start {
            let text = format!(
                "records from {log_start} on are to be there, and the first in a manifest is {}",
                manifest.start
            );
            whose.tell(findings, Kind::Gap, text);
        }
        reached = manifest.end;
    }
    for run in &partition.runs {
        // What is missing below the log start nobody asks for.
        if run.base > reached && run.base > log_start {
            let text = format!("no run holds {}..{}", reached.max(log_start), run.base);
            whose.tell(findings, Kind::Gap, text);
        } else if run.base < reached {
            let text = format!("{}..{reached} is in two runs", run.base);
            whose.tell(findings, Kind::Overlap, text);
        }
        if run.end <= run.base {
            let text = format!("a run from {} ends at {}", run.base, run.end);
            whose.tell(findings, Kind::Inconsistent, text);
        }
        reached = run.end.max(reached);
    }
    if reached < partition.end && partition.end > log_start {
        let text = format!("no run holds {}..{}", reached.max(log_start), partition.end);
        whose.tell(findings, Kind::Gap, text);
    } else if reached > partition.end {
        let text = format!("runs go on to {reached}, and {} is published", partition.end);
        whose.tell(findings, Kind::Overlap, text);
    }
    epochs(whose, partition, findings);
}

fn epochs(whose: Whose<'_>, partition: &Partition, findings: &mut Findings) {
    let starts = &partition.epochs;
    let rising = starts
        .iter()
        .zip(starts.iter().skip(1))
        .all(|(earlier, later)| earlier.epoch < later.epoch && earlier.start < later.start);
    let newest = starts.last().is_none_or(|last| last.epoch <= partition.leader_epoch);
    if !rising || !newest {
        whose.tell(findings, Kind::Inconsistent, "its leader epochs do not rise");
    }
}
