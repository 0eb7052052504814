//! When a candidate may take the controller's lease: courtesy among brokers, as a pure core.
//!
//! Owns: the verdict on what a candidate sees. Does not own: requests, the probe. Invariants:
//! only this machine's boot clock is compared with itself (H35); a bucket that does not answer
//! proves nobody dead, for the holder could not have moved its nonce either.

use std::time::Duration;

use uuid::Uuid;

use super::documents::LeaseDocument;
use crate::types::StorageId;

/// A lease is never watched for longer, whatever it says.
const MAX_WATCH: Duration = Duration::from_secs(600);

/// A candidate's view of somebody's lease.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    own: StorageId,
    seen: Option<Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    nonce: Uuid,
    since: Duration,
    /// A read failed since; the time that passed proves nothing.
    interrupted: bool,
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take it.
    Take,
    /// Ask whether the holder is there; if not, look again soon.
    Wait {
        /// Until it is taken, when nothing moves.
        left: Duration,
    },
    /// It lives: leave it alone.
    Moved,
}

impl Watch {
    /// Nothing seen yet, by the broker whose WAL folder is `own`.
    pub(super) fn new(own: StorageId) -> Self {
        Self { own, seen: None }
    }

    /// What the lease, as just read, means at `now`.
    pub(super) fn read(&mut self, lease: Option<&LeaseDocument>, now: Duration) -> Verdict {
        let Some(lease) = lease else { return Verdict::Take };
        // Our own folder's lease: its lock is ours, so the holder is dead.
        if lease.released || lease.storage == self.own {
            return Verdict::Take;
        }
        let full = Duration::from_millis(lease.ttl_ms).min(MAX_WATCH);
        match &mut self.seen {
            Some(seen) if seen.nonce != lease.nonce => Verdict::Moved,
            Some(seen) => {
                if std::mem::take(&mut seen.interrupted) {
                    seen.since = now;
                }
                let left = full.saturating_sub(now.saturating_sub(seen.since));
                if left.is_zero() { Verdict::Take } else { Verdict::Wait { left } }
            }
            None => {
                self.seen = Some(Seen { nonce: lease.nonce, since: now, interrupted: false });
                Verdict::Wait { left: full }
            }
        }
    }

    /// The bucket did not answer.
    pub(super) fn failed(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.interrupted = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ClusterId;

    fn lease(nonce: u128) -> LeaseDocument {
        let (cluster, holder) = (ClusterId(Uuid::from_u128(1)), StorageId(Uuid::from_u128(2)));
        LeaseDocument {
            ttl_ms: 180_000,
            ..LeaseDocument::new(cluster, 4, holder, Uuid::from_u128(nonce))
        }
    }

    fn watch() -> Watch {
        Watch::new(StorageId(Uuid::from_u128(3)))
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_lease_a_released_one_and_our_own_are_taken_at_once() {
        assert_eq!(watch().read(None, at(0)), Verdict::Take);
        let released = LeaseDocument { released: true, ..lease(1) };
        assert_eq!(watch().read(Some(&released), at(0)), Verdict::Take);
        let mut own = Watch::new(lease(1).storage);
        assert_eq!(own.read(Some(&lease(1)), at(0)), Verdict::Take);
    }

    #[test]
    fn an_unmoved_lease_is_taken_after_the_holders_own_time() {
        let mut watch = watch();
        assert_eq!(watch.read(Some(&lease(1)), at(5)), Verdict::Wait { left: at(180) });
        assert_eq!(watch.read(Some(&lease(1)), at(184)), Verdict::Wait { left: at(1) });
        assert_eq!(watch.read(Some(&lease(1)), at(185)), Verdict::Take);
    }

    #[test]
    fn a_moved_lease_is_left_alone() {
        let mut watch = watch();
        watch.read(Some(&lease(1)), at(0));
        assert_eq!(watch.read(Some(&lease(2)), at(179)), Verdict::Moved);
    }

    #[test]
    fn a_lease_released_while_watched_is_taken() {
        let mut watch = watch();
        watch.read(Some(&lease(1)), at(0));
        let released = LeaseDocument { released: true, ..lease(2) };
        assert_eq!(watch.read(Some(&released), at(3)), Verdict::Take);
    }

    #[test]
    fn time_in_which_the_bucket_was_away_does_not_count() {
        let mut watch = watch();
        watch.read(Some(&lease(1)), at(0));
        watch.failed();
        assert_eq!(watch.read(Some(&lease(1)), at(200)), Verdict::Wait { left: at(180) });
        assert_eq!(watch.read(Some(&lease(1)), at(380)), Verdict::Take);
    }

    #[test]
    fn a_hostile_lease_time_is_bounded() {
        let hostile = LeaseDocument { ttl_ms: u64::MAX, ..lease(1) };
        assert_eq!(watch().read(Some(&hostile), at(0)), Verdict::Wait { left: MAX_WATCH });
    }
}
