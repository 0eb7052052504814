//! An entry's fate as a value that many wait for.
//!
//! Invariant: a resolver that goes away unresolved means that the fate is unknown.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::CommitError;

/// Resolves once every member has synced the batch, to when that was by the boot clock; an error
/// means its fate is unknown.
#[derive(Debug)]
pub struct Commit {
    round: Arc<Round>,
    slot: Option<usize>,
}

/// Who resolves the commits of one entry.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    round: Arc<Round>,
}

#[derive(Debug, Default)]
struct Round {
    fate: Mutex<Fate>,
}

#[derive(Debug)]
enum Fate {
    Open(Vec<Waker>),
    Known(Result<Duration, CommitError>),
}

impl Default for Fate {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Round {
    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn resolve(&self, result: Result<Duration, CommitError>) {
        let mut fate = self.fate();
        if let Fate::Open(wakers) = &mut *fate {
            let wakers = mem::take(wakers);
            *fate = Fate::Known(result);
            drop(fate);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl Resolver {
    /// One more that waits.
    pub(super) fn commit(&self) -> Commit {
        Commit { round: self.round.clone(), slot: None }
    }

    /// Every member has it, since `at`.
    pub(super) fn committed(&self, at: Duration) {
        self.round.resolve(Ok(at));
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.round.resolve(Err(CommitError));
    }
}

impl Future for Commit {
    type Output = Result<Duration, CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let round = self.round.clone();
        let mut fate = round.fate();
        match &mut *fate {
            Fate::Known(result) => Poll::Ready(*result),
            Fate::Open(wakers) => {
                match self.slot.and_then(|slot| wakers.get_mut(slot)) {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => {
                        self.slot = Some(wakers.len());
                        wakers.push(context.waker().clone());
                    }
                }
                Poll::Pending
            }
        }
    }
}
