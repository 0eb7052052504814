//! Time: the wall for people and records, boot time for liveness, timers for tasks.
//!
//! Invariant: safety never rests on either (correctness.md change 10).

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, Either, MapErr},
};
pub use tokio::time::{Instant, MissedTickBehavior, interval};

use super::sim::{self, Turns};
use crate::types::Millis;

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall-clock time. May jump.
    fn wall(&self) -> Millis;
    /// Time since boot, going on while the machine is suspended. Never goes back.
    fn boot(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn boot(&self) -> Duration {
        // Rust's Instant is CLOCK_MONOTONIC, which stops while a VM is suspended.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(now.tv_sec).unwrap_or_default(),
            u32::try_from(now.tv_nsec).unwrap_or_default(),
        )
    }
}

/// This moment, for timers that aim at a later one.
#[must_use]
pub fn moment() -> Instant {
    Turns::current().map_or_else(Instant::now, |turns| turns.instant())
}

/// Blocks this thread for `duration`: for threads that are not the runtime's.
pub fn block(duration: Duration) {
    std::thread::sleep(duration);
}

/// A timer: of the machine, or of a simulation.
pub type Sleep = Either<tokio::time::Sleep, sim::Sleep>;

/// Resolves after `time`.
#[must_use]
pub fn sleep(time: Duration) -> Sleep {
    match Turns::current() {
        None => Either::Left(tokio::time::sleep(time)),
        Some(turns) => Either::Right(turns.sleep(time)),
    }
}

/// Resolves at `instant`.
#[must_use]
pub fn sleep_until(instant: Instant) -> Sleep {
    match Turns::current() {
        None => Either::Left(tokio::time::sleep_until(instant)),
        Some(turns) => Either::Right(turns.sleep_until(instant)),
    }
}

/// It took too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of time")]
pub struct Elapsed;

/// Work with a time limit: of the machine's time, or of a simulation's.
pub type Timeout<'a, F> = Either<
    MapErr<tokio::time::Timeout<F>, fn(tokio::time::error::Elapsed) -> Elapsed>,
    BoxFuture<'a, Result<<F as Future>::Output, Elapsed>>,
>;

/// The outcome of `work`, or [`Elapsed`] after `limit`.
pub fn timeout<'a, F>(limit: Duration, work: F) -> Timeout<'a, F>
where
    F: Future + Send + 'a,
{
    match Turns::current() {
        None => {
            let elapsed: fn(tokio::time::error::Elapsed) -> Elapsed = |_| Elapsed;
            Either::Left(tokio::time::timeout(limit, work).map_err(elapsed))
        }
        Some(turns) => Either::Right(within(turns.sleep(limit), work).boxed()),
    }
}

async fn within<F: Future>(limit: sim::Sleep, work: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = limit => Err(Elapsed),
    }
}
