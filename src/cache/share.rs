//! Bytes of cold reads in flight, shared fairly among those who read.
//!
//! Owns: the budget and whose turn it is (deficit round robin by bytes; each reader's own in
//! order). Does not own: what is read. Invariants: granted bytes never exceed the budget, but for
//! a single grant larger than it; whoever waits gets a turn after finitely many bytes of others; a
//! waiter or holder that goes away gives back what it had.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::Metrics;
use crate::types::ByteCount;

/// Who reads. Fills of one reader wait for each other, those of others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

/// What a turn is worth.
const QUANTUM: u64 = 1024 * 1024;

type Ticket = u64;

/// The decisions.
#[derive(Debug, Default)]
struct Shares {
    budget: u64,
    granted: u64,
    /// Those who wait, the next one in front.
    readers: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    reader: ReaderId,
    credit: u64,
    asks: VecDeque<(Ticket, u64)>,
}

impl Shares {
    fn ask(&mut self, reader: ReaderId, ticket: Ticket, bytes: u64) {
        match self.readers.iter_mut().find(|waiting| waiting.reader == reader) {
            Some(waiting) => waiting.asks.push_back((ticket, bytes)),
            None => {
                let asks = VecDeque::from([(ticket, bytes)]);
                self.readers.push_back(Waiting { reader, credit: 0, asks });
            }
        }
    }

    fn cancel(&mut self, ticket: Ticket) {
        for waiting in &mut self.readers {
            waiting.asks.retain(|(asked, _)| *asked != ticket);
        }
        self.readers.retain(|waiting| !waiting.asks.is_empty());
    }

    fn release(&mut self, bytes: u64) {
        self.granted = self.granted.saturating_sub(bytes);
    }

    /// The next ask to grant, if there is room for it. Nobody overtakes the one whose turn it is.
    fn grant(&mut self) -> Option<Ticket> {
        loop {
            let front = self.readers.front_mut()?;
            let (ticket, bytes) = *front.asks.front()?;
            if front.credit < bytes {
                front.credit += QUANTUM;
                if front.credit < bytes {
                    self.readers.rotate_left(1);
                    continue;
                }
            }
            if self.granted > 0 && self.granted.saturating_add(bytes) > self.budget {
                return None;
            }
            front.credit -= bytes;
            front.asks.pop_front();
            self.granted += bytes;
            if front.asks.is_empty() {
                self.readers.pop_front();
            } else if front.credit < front.asks.front().map_or(0, |(_, bytes)| *bytes) {
                self.readers.rotate_left(1);
            }
            return Some(ticket);
        }
    }
}

/// A handle of the budget; clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    shares: Shares,
    next_ticket: Ticket,
    waiting: BTreeMap<Ticket, oneshot::Sender<()>>,
}

/// Bytes granted, or waited for; dropped, they are given back.
#[derive(Debug)]
pub struct Permit {
    budget: Budget,
    ticket: Ticket,
    bytes: u64,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: ByteCount, metrics: Metrics) -> Self {
        metrics.in_flight_budget_bytes.set(bytes.0);
        let shares = Shares { budget: bytes.0, ..Shares::default() };
        let state = Mutex::new(State { shares, ..State::default() });
        Self(Arc::new(Inner { state, metrics }))
    }

    /// Waits for its turn and room for `bytes`.
    pub async fn acquire(&self, reader: ReaderId, bytes: u64) -> Permit {
        let (granted, turn) = oneshot::channel();
        let permit = {
            let mut state = self.state();
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.shares.ask(reader, ticket, bytes);
            state.waiting.insert(ticket, granted);
            Permit { budget: self.clone(), ticket, bytes }
        };
        self.grant();
        // The sender is dropped only with its ticket, which this future holds.
        drop(turn.await);
        permit
    }

    /// Bytes granted now.
    #[must_use]
    pub fn granted(&self) -> ByteCount {
        ByteCount(self.state().shares.granted)
    }

    fn grant(&self) {
        let mut state = self.state();
        while let Some(ticket) = state.shares.grant() {
            if let Some(waiter) = state.waiting.remove(&ticket) {
                // One that went away meanwhile gives back by its permit.
                waiter.send(()).ok();
            }
        }
        self.0.metrics.in_flight_bytes.set(state.shares.granted);
        self.0.metrics.waiting.set(i64::try_from(state.waiting.len()).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.budget.state();
            match state.waiting.remove(&self.ticket) {
                Some(_) => state.shares.cancel(self.ticket),
                None => state.shares.release(self.bytes),
            }
        }
        self.budget.grant();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::{FutureExt, pin_mut};
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Everybody always wants more; how many bytes each got after `grants` of them.
    fn race(sizes: &[u64], budget: u64, grants: usize) -> Vec<u64> {
        let mut shares = Shares { budget, ..Shares::default() };
        let mut got = vec![0; sizes.len()];
        let mut held = VecDeque::new();
        let ticket = |reader: usize| u64::try_from(reader).unwrap();
        for (reader, size) in sizes.iter().enumerate() {
            shares.ask(ReaderId(ticket(reader)), ticket(reader), *size);
        }
        for _ in 0..grants {
            let granted = loop {
                match shares.grant() {
                    Some(ticket) => break usize::try_from(ticket).unwrap(),
                    None => shares.release(held.pop_front().unwrap()),
                }
            };
            got[granted] += sizes[granted];
            held.push_back(sizes[granted]);
            shares.ask(ReaderId(ticket(granted)), ticket(granted), sizes[granted]);
        }
        got
    }

    #[test]
    fn fifty_readers_get_the_same_bytes_whatever_they_ask_at_once() {
        let sizes: Vec<u64> = (0..50).map(|reader| (1 + reader % 8) * MIB).collect();
        let got = race(&sizes, 64 * MIB, 5000);
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        assert!(most - least <= 16 * MIB, "{least} to {most}");
    }

    proptest! {
        #[test]
        fn granted_bytes_stay_in_the_budget_and_nobody_is_forgotten(
            sizes in prop::collection::vec(1..10 * MIB, 1..30),
            budget in 1..40 * MIB,
            cancel in prop::collection::vec(any::<bool>(), 30),
        ) {
            let mut shares = Shares { budget, ..Shares::default() };
            let mut waiting = BTreeSet::new();
            for (ticket, size) in (0..).zip(&sizes) {
                shares.ask(ReaderId(ticket % 7), ticket, *size);
                waiting.insert(ticket);
            }
            for (ticket, cancel) in (0..u64::try_from(sizes.len()).unwrap()).zip(cancel) {
                if cancel {
                    shares.cancel(ticket);
                    waiting.remove(&ticket);
                }
            }
            let mut held = VecDeque::new();
            while !waiting.is_empty() {
                while let Some(ticket) = shares.grant() {
                    prop_assert!(waiting.remove(&ticket), "granted twice or cancelled");
                    held.push_back(sizes[usize::try_from(ticket).unwrap()]);
                }
                prop_assert!(held.len() == 1 || held.iter().sum::<u64>() <= budget);
                prop_assert_eq!(shares.granted, held.iter().sum::<u64>());
                let Some(bytes) = held.pop_front() else {
                    prop_assert!(waiting.is_empty());
                    break;
                };
                shares.release(bytes);
            }
        }
    }

    #[tokio::test]
    async fn whoever_goes_away_gives_back_what_it_held_or_waited_for() {
        let budget = Budget::new(ByteCount(10), Metrics::default());
        let first = budget.acquire(ReaderId(1), 10).await;
        {
            let second = budget.acquire(ReaderId(2), 5);
            pin_mut!(second);
            assert!(second.as_mut().now_or_never().is_none());
        }
        let third = budget.acquire(ReaderId(3), 7);
        pin_mut!(third);
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        let third = third.await;
        assert_eq!(budget.granted(), ByteCount(7));
        drop(third);
        assert_eq!(budget.granted(), ByteCount(0));
    }
}
