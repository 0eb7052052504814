//! Simulated twins of the seams: clocks that are told the time or take turns, a seeded generator,
//! a disk, a listener.
//!
//! Product code, always compiled: tests, models and the simulator run the same cores over them.

pub mod disk;
pub mod net;
#[cfg(test)]
pub(crate) mod proof;
mod turns;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

pub use turns::{Lag, Sleep, Turns, TurnsClock};

use self::disk::SimDisk;
use super::{Env, background::Background, bugs::Bugs, clock::Clock, entropy::Entropy};
use crate::types::Millis;

/// `disk`, the sequence of `seed`, and a clock that stands at one second; nothing runs beside.
#[must_use]
pub fn env(disk: &SimDisk, seed: u64) -> Env {
    Env {
        clock: Arc::new(SimClock::at(Millis(1_000))),
        entropy: Arc::new(SimEntropy::seeded(seed)),
        disk: Arc::new(disk.clone()),
        background: Background::none(),
        bugs: Bugs::NONE,
    }
}

/// A clock that moves only when told.
#[derive(Debug, Default)]
pub struct SimClock {
    now: Mutex<(Millis, Duration)>,
}

impl SimClock {
    /// A clock at `wall`, just booted.
    #[must_use]
    pub fn at(wall: Millis) -> Self {
        Self { now: Mutex::new((wall, Duration::ZERO)) }
    }

    /// Lets time pass on both clocks.
    pub fn pass(&self, time: Duration) {
        let mut now = self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        now.0.0 = now.0.0.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        now.1 += time;
    }
}

impl Clock for SimClock {
    fn wall(&self) -> Millis {
        self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    fn boot(&self) -> Duration {
        self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).1
    }
}

/// A generator whose whole sequence follows from its seed (splitmix64, public domain).
#[derive(Debug)]
pub struct SimEntropy {
    state: Mutex<u64>,
}

impl SimEntropy {
    /// The sequence of `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }
}

impl Entropy for SimEntropy {
    fn next_u64(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
