//! Memory of replies: granted before records are read for one, given back when it is written.
//!
//! Owns: the budget and who waits for it. Does not own: what a reply is, when a slow client is
//! given up. Invariants: grants never exceed the budget, but for a single reply larger than all of
//! it; replies with records out of the bucket never take more than half, so that who reads the
//! newest records does not wait for the bucket; whoever waits gets its turn in order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::types::ByteCount;

/// Granted however little is left; who wants less gets that. Many must fit at a time, for those
/// who read nothing hold theirs for seconds.
const LEAST: u64 = 256 * 1024;
/// A single reply is granted this part of what is left.
const SHARE: u64 = 4;

/// The budget; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Replies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// KiB not granted.
    all: Arc<Semaphore>,
    /// Of them, those that cold reads may take.
    cold: Arc<Semaphore>,
    most: u32,
    most_cold: u32,
    waiting: AtomicUsize,
    held: Gauge,
}

/// Memory of one reply, until dropped.
#[derive(Debug)]
pub(super) struct Grant {
    permit: Option<OwnedSemaphorePermit>,
    cold: Option<OwnedSemaphorePermit>,
    kib: u32,
    whole: bool,
    held: Gauge,
}

/// Counts somebody who waits, until it does not.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Replies {
    /// A budget of `bytes`; what is granted is shown by `held`.
    pub(super) fn new(bytes: ByteCount, held: Gauge) -> Self {
        let most = kib(bytes.0).max(2);
        let semaphore = |kib: u32| {
            let permits = usize::try_from(kib).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
        };
        let most_cold = most / 2;
        let (all, cold) = (semaphore(most), semaphore(most_cold));
        Self(Arc::new(Inner { all, cold, most, most_cold, waiting: AtomicUsize::new(0), held }))
    }

    /// Waits for memory for a reply that could have `wanted` bytes, `cold` if they are out of
    /// memory; less is granted while there is little.
    pub(super) async fn up_to(&self, wanted: u64, cold: bool) -> Grant {
        let left = self.0.all.available_permits();
        let left = u64::try_from(left).unwrap_or(u64::MAX).saturating_mul(1024);
        let bytes = wanted.min(LEAST.max(left / SHARE));
        self.grant(kib(bytes), cold).await
    }

    /// Waits for memory for a reply of `bytes`.
    pub(super) async fn exactly(&self, bytes: u64, cold: bool) -> Grant {
        self.grant(kib(bytes), cold).await
    }

    /// Memory for a reply of `bytes` that is there already, if there is some at once.
    pub(super) fn at_once(&self, bytes: u64) -> Option<Grant> {
        let kib = kib(bytes).min(self.0.most);
        let permit = Arc::clone(&self.0.all).try_acquire_many_owned(kib).ok()?;
        Some(self.granted(Some(permit), None, kib, false))
    }

    /// Waits until there is some memory, for who does not know how much it needs.
    pub(super) async fn room(&self) {
        if self.0.all.available_permits() == 0 {
            drop(self.grant(1, false).await);
        }
    }

    /// Whether somebody waits.
    pub(super) fn is_short(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    async fn grant(&self, kib: u32, cold: bool) -> Grant {
        let most = if cold { self.0.most_cold } else { self.0.most };
        let whole = kib >= most;
        let kib = kib.min(most);
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(&self.0.waiting);
        // Cold ones wait among themselves first, in nobody else's way. Neither is ever closed.
        let of_cold = async {
            let cold = cold.then(|| Arc::clone(&self.0.cold).acquire_many_owned(kib));
            match cold {
                Some(cold) => cold.await.ok(),
                None => None,
            }
        };
        let cold = of_cold.await;
        let permit = Arc::clone(&self.0.all).acquire_many_owned(kib).await.ok();
        drop(waits);
        self.granted(permit, cold, kib, whole)
    }

    fn granted(
        &self,
        permit: Option<OwnedSemaphorePermit>,
        cold: Option<OwnedSemaphorePermit>,
        kib: u32,
        whole: bool,
    ) -> Grant {
        let held = self.0.held.clone();
        held.inc_by(i64::from(kib) * 1024);
        Grant { permit, cold, kib, whole, held }
    }
}

impl Grant {
    /// Bytes granted.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.kib) * 1024
    }

    /// Whether it is all there is: no larger reply will ever be granted more.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether it is for records out of the bucket.
    pub(super) fn is_cold(&self) -> bool {
        self.cold.is_some()
    }

    /// Gives back what the reply does not need: it has `bytes`.
    pub(super) fn shrink(&mut self, bytes: u64) {
        let spare = self.kib.saturating_sub(kib(bytes));
        let count = usize::try_from(spare).unwrap_or(0);
        for permit in [&mut self.permit, &mut self.cold].into_iter().flatten() {
            drop(permit.split(count));
        }
        self.kib -= spare;
        self.held.dec_by(i64::from(spare) * 1024);
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.held.dec_by(i64::from(self.kib) * 1024);
    }
}

/// Answers are compared by what they say.
impl PartialEq for Grant {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Grant {}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn replies(mib: u64) -> (Replies, Gauge) {
        let held = Gauge::default();
        (Replies::new(ByteCount::mib(mib), held.clone()), held)
    }

    #[tokio::test]
    async fn many_replies_get_smaller_ones_and_never_more_than_there_is_together() {
        let (replies, held) = replies(40);
        let mut grants = Vec::new();
        while let Some(grant) = replies.up_to(50 * MIB, false).now_or_never() {
            grants.push(grant);
            assert!(held.get() <= 40 * 1024 * 1024);
        }
        assert_eq!(grants[0].bytes(), 10 * MIB, "a quarter");
        assert_eq!(grants.last().unwrap().bytes(), LEAST);
        assert!(grants.len() > 10, "{}", grants.len());
        assert!(!replies.is_short(), "who went away does not wait");
        grants.clear();
        assert_eq!(held.get(), 0);
        assert_eq!(replies.up_to(100, false).await.bytes(), 1024, "no more than is wanted");
    }

    #[tokio::test]
    async fn cold_ones_leave_half_to_the_others() {
        let (replies, _held) = replies(40);
        let cold = replies.exactly(20 * MIB, true).await;
        assert!(replies.up_to(MIB, true).now_or_never().is_none());
        let newest = replies.exactly(15 * MIB, false).now_or_never().unwrap();
        drop(cold);
        assert!(replies.up_to(MIB, true).now_or_never().is_some());
        drop(newest);
    }

    #[tokio::test]
    async fn a_reply_larger_than_all_memory_is_granted_all_of_it_alone() {
        let (replies, _held) = replies(4);
        let small = replies.at_once(5000).unwrap();
        assert!(replies.exactly(100 * MIB, false).now_or_never().is_none());
        drop(small);
        let large = replies.exactly(100 * MIB, false).await;
        assert!(large.is_whole() && large.bytes() == 4 * MIB);
        assert!(replies.at_once(1).is_none() && replies.room().now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_a_reply_does_not_need_is_given_back_at_once() {
        let (replies, held) = replies(4);
        let mut grant = replies.exactly(4 * MIB, false).await;
        grant.shrink(1);
        assert_eq!((grant.bytes(), held.get()), (1024, 1024));
        assert!(replies.at_once(3 * MIB).is_some());
    }
}
