//! Randomness: ids, nonces, jitter.

use std::fmt;

use uuid::{Builder, Uuid};

/// A source of random numbers.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// 64 random bits.
    fn next_u64(&self) -> u64;

    /// A random (version 4) uuid.
    fn uuid(&self) -> Uuid {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// A number below `bound`; 0 when `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }
}

/// The machine's generator.
#[derive(Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}
