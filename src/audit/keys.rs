//! Every key under the prefix: which are there, which are missing, and what the others are.
//!
//! Owns: what a key is by one state, and when what is left over should be gone. Does not own:
//! listing them. Pure.

use std::{collections::BTreeSet, time::Duration};

use super::finding::{About, Finding, Findings, Kind, Leftovers};
use crate::{
    cluster::{Chain, State},
    log::sweep::Settings,
    store::{
        Key, Listed,
        path::{self, DataName, Name},
    },
    types::{Millis, ObjectId, PartitionId},
};

/// How long a sweep itself may take, and clocks of store and broker may differ.
const SLACK: Duration = Duration::from_secs(3600);

/// Judges keys as they are listed.
pub(super) struct Keys<'a> {
    chain: &'a Chain,
    state: &'a State,
    /// Objects that are named and were not seen yet.
    pub(super) unseen: BTreeSet<ObjectId>,
    /// What no record names, with when it was written: to be judged when all is listed.
    unnamed: Vec<Unnamed>,
    pub(super) leftovers: Leftovers,
    /// When a broker last wrote metadata, by the store's clock: orphans of a cluster that stands
    /// still wait for it.
    alive: Option<Millis>,
}

struct Unnamed {
    key: Key,
    modified: Millis,
}

impl<'a> Keys<'a> {
    pub(super) fn new(chain: &'a Chain, state: &'a State) -> Self {
        Self {
            chain,
            state,
            unseen: state.objects.keys().copied().collect(),
            unnamed: Vec::new(),
            leftovers: Leftovers::default(),
            alive: None,
        }
    }

    pub(super) fn see(&mut self, listed: &Listed, findings: &mut Findings) {
        match path::name(&listed.key) {
            Some(Name::Data(name)) => self.data(listed, name, findings),
            Some(Name::Manifest { topic, partition, version }) => {
                self.manifest(listed, PartitionId { topic, index: partition }, version);
            }
            Some(Name::LogEntry(index)) => {
                self.alive = self.alive.max(Some(listed.modified));
                // A late request may bring one back.
                if index <= self.chain.trimmed {
                    self.leftovers.metadata.add(listed.bytes);
                }
            }
            Some(Name::Snapshot { .. }) if !self.chain.snapshots.contains(&listed.key) => {
                self.leftovers.metadata.add(listed.bytes);
            }
            Some(Name::Lease) => self.alive = self.alive.max(Some(listed.modified)),
            Some(Name::Cluster | Name::Floor | Name::Snapshot { .. }) => {}
            None if path::is_check(&listed.key) => self.leftovers.tests.add(listed.bytes),
            None => {
                let text = "no key of a cluster; keep other things elsewhere";
                let about = About::Unnamed(listed.key.clone());
                findings.add(Finding::new(Kind::Foreign, &listed.key, text, about));
            }
        }
    }

    fn data(&mut self, listed: &Listed, name: DataName, findings: &mut Findings) {
        let key = (name.incarnation, name.nonce);
        let by_id = self.state.objects.get(&name.object);
        let object = by_id.filter(|object| (object.incarnation, object.nonce) == key);
        if let Some(object) = object {
            self.unseen.remove(&name.object);
            if listed.bytes != object.bytes {
                let text = format!("it has {} bytes, metadata says {}", listed.bytes, object.bytes);
                let about = About::Object(name.object);
                findings.add(Finding::new(Kind::WrongLength, &listed.key, text, about));
            }
            return;
        }
        if self.state.object_key(name.object) == Some(key) {
            self.leftovers.unlinked.add(listed.bytes);
            return;
        }
        let uploader = self.state.living(name.incarnation);
        let reserved = |range: &std::ops::Range<ObjectId>| range.contains(&name.object);
        if uploader.is_some_and(|uploader| uploader.reserved.iter().any(reserved)) {
            self.leftovers.reserved.add(listed.bytes);
            return;
        }
        let never =
            name.object >= self.state.next_object_id || name.incarnation.0 > self.state.index.0;
        if never {
            let text = "nobody was given its id";
            let about = About::Unnamed(listed.key.clone());
            findings.add(Finding::new(Kind::Unreserved, &listed.key, text, about));
            return;
        }
        self.orphan(listed);
    }

    fn manifest(&mut self, listed: &Listed, id: PartitionId, version: u64) {
        if self.state.unlinked_manifests.contains_key(&(id, version)) {
            self.leftovers.unlinked.add(listed.bytes);
            return;
        }
        let live = self.state.partition(id).map(|partition| partition.manifest);
        let deleted = self.state.deleted_partitions.get(&id).map(|it| Some(it.manifest));
        match live.or(deleted) {
            Some(Some(current)) if version == current.version => {}
            Some(Some(current)) if version < current.version => self.orphan(listed),
            // Its record may still come.
            Some(_) => self.leftovers.reserved.add(listed.bytes),
            None => self.orphan(listed),
        }
    }

    fn orphan(&mut self, listed: &Listed) {
        self.leftovers.orphans.add(listed.bytes);
        self.unnamed.push(Unnamed { key: listed.key.clone(), modified: listed.modified });
    }

    /// After the last key: what is left over for too long.
    pub(super) fn finish(&mut self, findings: &mut Findings) {
        let Some(alive) = self.alive else { return };
        for unnamed in std::mem::take(&mut self.unnamed) {
            if is_overdue(unnamed.modified, self.chain.registered, alive) {
                let text = "no record names it or can, and no sweep has deleted it";
                let about = About::Unnamed(unnamed.key.clone());
                findings.add(Finding::new(Kind::Orphan, &unnamed.key, text, about));
            }
        }
    }
}

/// Whether a broker that lives, or lived until `alive`, had its sweeps for what was written then.
fn is_overdue(written: Millis, registered: Option<Millis>, alive: Millis) -> bool {
    let settings = Settings::default();
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let given_up = written.0.saturating_add(ms(settings.orphan_age));
    let swept = registered.map_or(given_up, |registered| {
        given_up.max(registered.0.saturating_add(ms(settings.first_after)))
    });
    alive.0 > swept.saturating_add(ms(settings.every + SLACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_is_overdue_when_a_living_broker_had_two_sweeps_for_it() {
        let hours = |hours: i64| Millis(hours * 3_600_000);
        assert!(!is_overdue(hours(0), None, hours(48)));
        assert!(is_overdue(hours(0), None, hours(50)));
        assert!(!is_overdue(hours(0), Some(hours(40)), hours(50)), "it has just started");
        assert!(is_overdue(hours(0), Some(hours(40)), hours(67)));
    }
}
