//! Time: the wall for people and records, boot time for liveness, timers for tasks.
//!
//! Invariant: safety never rests on either (correctness.md change 10).

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

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
    Instant::now()
}

/// Blocks this thread for `duration`: for threads that are not the runtime's.
pub fn block(duration: Duration) {
    std::thread::sleep(duration);
}
