//! A bucket that misbehaves on order: the decorator of tests and the simulator.
//!
//! Owns: the faults of a store and when they strike (scripted, or drawn from a seed).
//! Invariant: what it reports is what a real store could report; what it does underneath is exact.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Failure, FailureKind, GetError, Key, Outcome,
    bucket::{Bucket, Condition, Found, Head, Page, Version},
};
use crate::env::{clock, entropy::Entropy};

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reported as failed; nothing was done.
    FailBefore(FailureKind),
    /// Done, but reported as failed.
    FailAfter(FailureKind),
    /// Done, after a while.
    Slow(Duration),
    /// A put reported as timed out that lands after so many more requests, if its condition then
    /// holds. Other requests fail before.
    Late(u32),
    /// A put that is done and then lands once more after so many more requests, if its condition
    /// then holds (a delete in between makes it hold). Other requests are served.
    Twice(u32),
    /// Somebody else's put of these bytes comes just before ours. Other requests are served.
    Overtaken(Bytes),
    /// Of what a read brings one bit is wrong, this one if it has so many. Other requests are
    /// served.
    Damaged(u64),
}

/// How often faults strike by themselves, each in 1000 requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// `FailBefore`.
    pub fail_before: u64,
    /// `FailAfter`.
    pub fail_after: u64,
    /// `Late` by up to 20 requests.
    pub late: u64,
    /// `Twice` within 20 requests.
    pub twice: u64,
    /// `Slow` by up to 4 s: a client waits 5.
    pub slow: u64,
    /// `Damaged`, of objects of records and manifests.
    pub damaged: u64,
}

/// The decorator; clones control one bucket.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Bucket>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    script: VecDeque<Planned>,
    random: Option<(Rates, Arc<dyn Entropy>)>,
    down: Option<FailureKind>,
    delayed: Vec<Delayed>,
    requests: u64,
    /// From which request on the bucket is away, and whether that one is still done.
    cut: Option<(u64, bool)>,
}

#[derive(Debug)]
struct Planned {
    prefix: String,
    puts_only: bool,
    fault: Fault,
}

#[derive(Debug)]
struct Delayed {
    after: u32,
    key: Key,
    condition: Condition,
    parts: Vec<Bytes>,
}

impl Faulty {
    /// A decorator that does nothing yet.
    pub fn new(inner: Arc<dyn Bucket>) -> Self {
        Self { inner, plan: Arc::default() }
    }

    /// Orders a fault for the next put whose key begins with `prefix`.
    pub fn next_put(&self, prefix: &str, fault: Fault) {
        let prefix = prefix.to_owned();
        self.plan().script.push_back(Planned { prefix, puts_only: true, fault });
    }

    /// Orders a fault for the next request of any kind whose key begins with `prefix`.
    pub fn next_request(&self, prefix: &str, fault: Fault) {
        let prefix = prefix.to_owned();
        self.plan().script.push_back(Planned { prefix, puts_only: false, fault });
    }

    /// Lets faults strike by themselves from now on.
    pub fn at_random(&self, rates: Rates, entropy: Arc<dyn Entropy>) {
        self.plan().random = Some((rates, entropy));
    }

    /// Takes the bucket away (every request fails before it does anything) or brings it back.
    pub fn set_down(&self, down: Option<FailureKind>) {
        self.plan().down = down;
    }

    /// Takes the bucket away after `requests` more requests; of the last of them it is lost whether
    /// it was done, which `done` decides.
    pub fn cut_after(&self, requests: u64, done: bool) {
        let mut plan = self.plan();
        plan.cut = Some((plan.requests + requests, done));
    }

    /// Forgets orders and rates and brings the bucket back; what is delayed stays delayed.
    pub fn calm(&self) {
        let mut plan = self.plan();
        plan.script.clear();
        plan.random = None;
        plan.down = None;
        plan.cut = None;
    }

    /// Lands every delayed put now.
    pub async fn land_delayed(&self) {
        let delayed = std::mem::take(&mut self.plan().delayed);
        self.land(delayed).await;
    }

    /// Requests seen so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.plan().requests
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn land(&self, delayed: Vec<Delayed>) {
        for put in delayed {
            let outcome = self.inner.put(&put.key, &put.condition, put.parts).await;
            tracing::debug!(key = %put.key, ?outcome, "delayed put arrives");
        }
    }

    /// Counts a request, lands what is due and draws the fault of this one.
    async fn begin(&self, key: &Key, is_put: bool) -> Option<Fault> {
        let (due, fault) = {
            let mut plan = self.plan();
            plan.requests += 1;
            for put in &mut plan.delayed {
                put.after = put.after.saturating_sub(1);
            }
            let due = plan.delayed.extract_if(.., |put| put.after == 0).collect();
            (due, plan.draw(key, is_put))
        };
        self.land(due).await;
        if let Some(Fault::Slow(time)) = &fault {
            clock::sleep(*time).await;
        }
        fault
    }

    /// What a request that is not a put does about its fault.
    async fn serve<T>(
        &self,
        key: &Key,
        request: impl Future<Output = Result<T, GetError>> + Send,
    ) -> Result<T, GetError> {
        Self::meet(self.begin(key, false).await, request).await
    }

    /// The same of a read, whose bytes may come damaged.
    async fn serve_bytes<T>(
        &self,
        key: &Key,
        request: impl Future<Output = Result<T, GetError>> + Send,
        damage: fn(T, u64) -> T,
    ) -> Result<T, GetError> {
        let fault = self.begin(key, false).await;
        let bit = if let Some(Fault::Damaged(bit)) = &fault { Some(*bit) } else { None };
        let read = Self::meet(fault, request).await?;
        Ok(match bit {
            Some(bit) => damage(read, bit),
            None => read,
        })
    }

    async fn meet<T>(
        fault: Option<Fault>,
        request: impl Future<Output = Result<T, GetError>> + Send,
    ) -> Result<T, GetError> {
        match fault {
            Some(Fault::FailBefore(kind)) => Err(failure(kind).into()),
            Some(Fault::Late(_)) => Err(failure(FailureKind::Timeout).into()),
            Some(Fault::FailAfter(kind)) => {
                request.await.ok();
                Err(failure(kind).into())
            }
            Some(Fault::Slow(_) | Fault::Twice(_) | Fault::Overtaken(_) | Fault::Damaged(_))
            | None => request.await,
        }
    }

    async fn serve_plain<T>(
        &self,
        key: &Key,
        request: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        let request = async { request.await.map_err(GetError::from) };
        self.serve(key, request).await.map_err(|error| match error {
            GetError::Failed(failure) => failure,
            GetError::Absent => failure(FailureKind::Other),
        })
    }
}

impl Plan {
    fn draw(&mut self, key: &Key, is_put: bool) -> Option<Fault> {
        if let Some(kind) = self.down {
            return Some(Fault::FailBefore(kind));
        }
        if let Some((_, done)) = self.cut.filter(|(last, _)| self.requests >= *last) {
            let kind = FailureKind::Connection;
            self.down = Some(kind);
            return Some(if done { Fault::FailAfter(kind) } else { Fault::FailBefore(kind) });
        }
        let strikes = |planned: &Planned| {
            key.as_str().starts_with(&planned.prefix) && (is_put || !planned.puts_only)
        };
        if let Some(at) = self.script.iter().position(strikes) {
            return self.script.remove(at).map(|planned| planned.fault);
        }
        let (rates, entropy) = self.random.as_ref()?;
        let mut die = entropy.below(1000);
        let mut hits = |rate: u64| {
            let hit = die < rate;
            die = die.saturating_sub(rate);
            hit
        };
        let kinds = [FailureKind::Timeout, FailureKind::Connection, FailureKind::Throttled];
        let kind = || {
            let at = usize::try_from(entropy.below(3)).unwrap_or(0);
            kinds.get(at).copied().unwrap_or(FailureKind::Timeout)
        };
        let wait = || u32::try_from(entropy.below(20)).unwrap_or(0) + 1;
        if hits(rates.fail_before) {
            Some(Fault::FailBefore(kind()))
        } else if hits(rates.fail_after) {
            Some(Fault::FailAfter(kind()))
        } else if hits(rates.late) {
            Some(Fault::Late(wait()))
        } else if hits(rates.twice) {
            Some(Fault::Twice(wait()))
        } else if hits(rates.slow) {
            Some(Fault::Slow(Duration::from_millis(entropy.below(4000))))
        } else if hits(rates.damaged) && checked(key) {
            Some(Fault::Damaged(entropy.next_u64()))
        } else {
            None
        }
    }
}

/// Whether it holds what is read by checksums; the rest is read whole, over TLS.
fn checked(key: &Key) -> bool {
    key.as_str().starts_with("data/") || key.as_str().starts_with("manifest/")
}

fn flipped(bytes: &Bytes, bit: u64) -> Bytes {
    let mut bytes = bytes.to_vec();
    let bits = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_mul(8);
    let bit = bit.checked_rem(bits).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(usize::try_from(bit / 8).unwrap_or(usize::MAX)) {
        *byte ^= 1 << (bit % 8);
    }
    bytes.into()
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, format!("injected {kind}"))
}

#[async_trait]
impl Bucket for Faulty {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        let damage = |found: Option<Found>, bit| {
            found.map(|found| Found { bytes: flipped(&found.bytes, bit), ..found })
        };
        self.serve_bytes(key, self.inner.get(key, unless), damage).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        self.serve_bytes(key, self.inner.get_range(key, range), |bytes, bit| flipped(&bytes, bit))
            .await
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        self.serve(key, self.inner.head(key)).await
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        let delayed = |after| Delayed {
            after,
            key: key.clone(),
            condition: condition.clone(),
            parts: parts.iter().map(|part| Bytes::copy_from_slice(part)).collect(),
        };
        match self.begin(key, true).await {
            Some(Fault::FailBefore(kind)) => return Outcome::Unknown(failure(kind)),
            Some(Fault::Late(after)) => {
                self.plan().delayed.push(delayed(after));
                return Outcome::Unknown(failure(FailureKind::Timeout));
            }
            Some(Fault::FailAfter(kind)) => {
                return match self.inner.put(key, condition, parts).await {
                    Outcome::Done(_) | Outcome::Refused => Outcome::Unknown(failure(kind)),
                    Outcome::Unknown(failure) => Outcome::Unknown(failure),
                };
            }
            Some(Fault::Twice(after)) => self.plan().delayed.push(delayed(after)),
            Some(Fault::Overtaken(bytes)) => {
                self.inner.put(key, condition, vec![bytes]).await.done();
            }
            Some(Fault::Slow(_) | Fault::Damaged(_)) | None => {}
        }
        self.inner.put(key, condition, parts).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        self.serve_plain(key, self.inner.delete(key)).await
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        self.serve_plain(prefix, self.inner.list(prefix, after)).await
    }
}
