//! The only door to the operating system: clock, entropy, disk, network, tasks.
//!
//! Owns: the seams, their production forms and, in `sim`, their simulated twins.
//! Does not own: any decision. Invariant: nothing above reads a clock, a random number, a file or
//! a socket but through here.

pub mod background;
pub mod bugs;
pub mod clock;
pub mod disk;
pub mod entropy;
pub mod net;
pub mod signal;
pub mod sim;
pub mod standard;
pub mod task;
pub mod tree;

use std::sync::Arc;

/// The seams a part is built with; cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn clock::Clock>,
    /// Randomness.
    pub entropy: Arc<dyn entropy::Entropy>,
    /// Files.
    pub disk: Arc<dyn disk::Disk>,
    /// Threads for what may take its time.
    pub background: background::Background,
    /// Mistakes made on purpose: none but in tests, and no setting changes that.
    pub bugs: bugs::Bugs,
}

impl Env {
    /// The real machine.
    #[must_use]
    pub fn real() -> Self {
        Self {
            clock: Arc::new(clock::SystemClock),
            entropy: Arc::new(entropy::SystemEntropy),
            disk: Arc::new(disk::FileDisk),
            background: background::Background::new(),
            bugs: bugs::Bugs::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_makes_no_mistake_on_purpose() {
        assert_eq!(Env::real().bugs, bugs::Bugs::NONE);
    }
}
