//! Object ids this incarnation may publish under.
//!
//! Owns: handing them out, which are in use. Does not own: reserving more. Invariant: an id is
//! handed out once.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    cluster::State,
    types::{Incarnation, ObjectId},
};

/// Reserved ids; clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::log) struct Ids(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    unspent: VecDeque<Range<ObjectId>>,
    in_use: BTreeSet<ObjectId>,
}

impl Ids {
    /// What `incarnation` has reserved and not published, nothing of it in use yet.
    pub(in crate::log) fn of(state: &State, incarnation: Incarnation) -> Self {
        let ids = Self::default();
        let reserved = state.living(incarnation).map(|own| own.reserved.clone());
        reserved.into_iter().flatten().for_each(|range| ids.add(range));
        ids
    }

    /// More ids, reserved by a metadata record.
    pub(in crate::log) fn add(&self, reserved: Range<ObjectId>) {
        self.lock().unspent.push_back(reserved);
    }

    /// An id for a new object.
    pub(in crate::log) fn take(&self) -> Option<ObjectId> {
        let mut inner = self.lock();
        let range = inner.unspent.front_mut()?;
        let id = range.start;
        range.start = ObjectId(id.0 + 1);
        if range.start >= range.end {
            inner.unspent.pop_front();
        }
        inner.in_use.insert(id);
        Some(id)
    }

    /// Its object is published.
    pub(in crate::log) fn published(&self, id: ObjectId) {
        self.lock().in_use.remove(&id);
    }

    /// How many are left.
    pub(in crate::log) fn left(&self) -> u64 {
        self.lock().unspent.iter().map(|range| range.end.0 - range.start.0).sum()
    }

    /// The lowest id that this process may still publish: the sweep voids none from here on.
    pub(in crate::log) fn lowest(&self) -> Option<ObjectId> {
        let inner = self.lock();
        let unspent = inner.unspent.front().map(|range| range.start);
        inner.in_use.first().copied().into_iter().chain(unspent).min()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_use_hold_the_sweep_back() {
        let ids = Ids::default();
        assert_eq!((ids.take(), ids.lowest()), (None, None));
        ids.add(ObjectId(5)..ObjectId(7));
        ids.add(ObjectId(20)..ObjectId(21));
        assert_eq!(ids.left(), 3);
        assert_eq!([ids.take(), ids.take(), ids.take()], [5, 6, 20].map(|id| Some(ObjectId(id))));
        assert_eq!(ids.take(), None);
        ids.published(ObjectId(5));
        assert_eq!(ids.lowest(), Some(ObjectId(6)));
    }
}
