//! Chance as the seed says, a stream for each concern, so that one more draw in one place does not
//! change all others.

use std::time::Duration;

use strandline::env::{entropy::Entropy, sim::SimEntropy};

#[derive(Debug)]
pub struct Chance(SimEntropy);

impl Chance {
    pub fn of(seed: u64, stream: u64) -> Self {
        let entropy = SimEntropy::seeded(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        entropy.next_u64();
        Self(entropy)
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// From `least` up to and with `most`.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        least + self.0.below(most - least + 1)
    }

    /// True so many times in 100.
    pub fn percent(&self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    pub fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    pub fn pick<T: Copy>(&self, all: &[T]) -> T {
        all[usize::try_from(self.0.below(all.len() as u64)).unwrap()]
    }
}
