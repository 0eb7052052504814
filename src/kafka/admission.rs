//! Who may connect: how many at once, how many from one address, how many a second.
//!
//! Owns: the counts. Does not own: the limits, which are configuration and are read at each
//! connection, or the sockets.
//! Invariant: an address is counted as long as one of its connections is open, no longer.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;

use crate::{cluster::configs::BrokerConfig, env::clock};

/// The limits that hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// At one time.
    connections: usize,
    /// At one time from one address.
    per_address: usize,
    /// The same for these addresses.
    overrides: BTreeMap<IpAddr, usize>,
    /// In one second.
    rate: usize,
}

impl Limits {
    /// As configured; `most` is what this process can hold whatever the configuration says.
    pub(super) fn of(config: &BrokerConfig, most: usize) -> Self {
        let count = |count: i32| usize::try_from(count).unwrap_or(0);
        Self {
            connections: count(config.max_connections).min(most),
            per_address: count(config.max_connections_per_ip),
            overrides: config.max_connections_per_ip_overrides.clone(),
            rate: count(config.max_connection_creation_rate).max(1),
        }
    }

    fn of_address(&self, address: IpAddr) -> usize {
        self.overrides.get(&address).copied().unwrap_or(self.per_address)
    }
}

/// Why a connection is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("over max.connections")]
    Connections,
    #[error("over max.connections.per.ip")]
    Address,
}

/// Open connections by address.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Counts connections in; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    open: Arc<Mutex<Open>>,
}

/// A connection counted in, until dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    open: Arc<Mutex<Open>>,
    address: IpAddr,
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Admission {
    /// Counts a connection from `address` in.
    ///
    /// # Errors
    /// When it is one too many.
    pub(super) fn admit(&self, address: IpAddr, limits: &Limits) -> Result<Admitted, Refused> {
        let address = address.to_canonical();
        let mut open = lock(&self.open);
        if open.all >= limits.connections {
            return Err(Refused::Connections);
        }
        let from_there = open.by_address.get(&address).copied().unwrap_or(0);
        if from_there >= limits.of_address(address) {
            return Err(Refused::Address);
        }
        open.all += 1;
        open.by_address.insert(address, from_there + 1);
        Ok(Admitted { open: Arc::clone(&self.open), address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.all = open.all.saturating_sub(1);
        match open.by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.by_address.remove(&self.address)),
        }
    }
}

/// Lets so many connections through in a second; the others wait in the listener's queue.
pub(super) struct Pace {
    length: Duration,
    second: Pin<Box<dyn Future<Output = ()> + Send>>,
    passed: usize,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self::of(Duration::from_secs(1))
    }

    fn of(length: Duration) -> Self {
        Self { length, second: clock::sleep(length).boxed(), passed: 0 }
    }

    /// Waits until one more may pass. Dropping it loses nothing.
    pub(super) async fn wait(&mut self, limits: &Limits) {
        let over = (&mut self.second).now_or_never().is_some();
        if !over && self.passed < limits.rate {
            return;
        }
        if !over {
            (&mut self.second).await;
        }
        self.second = clock::sleep(self.length).boxed();
        self.passed = 0;
    }

    /// Counts one that passed.
    pub(super) fn pass(&mut self) {
        self.passed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, per_address: usize) -> Limits {
        Limits { connections, per_address, overrides: BTreeMap::new(), rate: 3 }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_too_many_is_refused_until_another_ends() {
        let admission = Admission::default();
        let limits = limits(2, 9);
        let first = admission.admit(ip("10.0.0.1"), &limits).unwrap();
        let _second = admission.admit(ip("10.0.0.2"), &limits).unwrap();
        assert_eq!(admission.admit(ip("10.0.0.3"), &limits).unwrap_err(), Refused::Connections);
        drop(first);
        assert!(admission.admit(ip("10.0.0.3"), &limits).is_ok());
    }

    #[test]
    fn an_address_has_a_limit_of_its_own_and_is_forgotten_with_its_last_connection() {
        let admission = Admission::default();
        let mut limits = limits(9, 1);
        limits.overrides.insert(ip("10.0.0.2"), 2);
        let first = admission.admit(ip("10.0.0.1"), &limits).unwrap();
        assert_eq!(admission.admit(ip("::ffff:10.0.0.1"), &limits).unwrap_err(), Refused::Address);
        let others = [1, 2].map(|_| admission.admit(ip("10.0.0.2"), &limits).unwrap());
        assert_eq!(admission.admit(ip("10.0.0.2"), &limits).unwrap_err(), Refused::Address);
        drop((first, others));
        assert!(lock(&admission.open).by_address.is_empty());
    }

    #[tokio::test]
    async fn no_more_pass_in_a_second_than_the_rate_says() {
        let limits = limits(9, 9);
        let mut endless = Pace::of(Duration::from_secs(3600));
        let mut short = Pace::of(Duration::from_millis(1));
        for _ in 0..3 {
            assert!(endless.wait(&limits).now_or_never().is_some());
            endless.pass();
            short.pass();
        }
        assert!(endless.wait(&limits).now_or_never().is_none(), "the fourth waits");
        short.wait(&limits).await;
        assert_eq!(short.passed, 0, "a new second began");
    }
}
