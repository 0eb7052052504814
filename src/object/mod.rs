//! The immutable objects of the bucket: runs of record batches, then a footer that finds them.
//!
//! Owns: the byte format (`format.rs`), building, decoding, finding blocks, checking bytes.
//! Does not own: the bucket, caches, what a producer snapshot means, who references an object.
//! Invariants: one object id, one content; record bytes are never copied on the way in; no byte of
//! an object is used before its CRC was checked; outside bytes never panic.

mod builder;
mod error;
mod footer;
mod format;
pub mod hostile;
mod producer;

pub use builder::{BatchInput, Builder, Built, BuiltRun, RunInput};
pub use error::Error;
pub use footer::{AbortedTransaction, Block, EpochStart, Footer, Run, check_block};
pub use format::{MAX_FOOTER_BYTES, TRAILER_BYTES, VERSION};
pub use producer::{
    OpenTransaction, ProducerBatch, ProducerSnapshot, decode_producers, encode_producers,
};

/// Where a block ends: at the first batch border past this many bytes.
pub const BLOCK_BYTES: crate::types::ByteCount = crate::types::ByteCount::mib(1);

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length fits 64 bits")
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("lengths in memory fit the address space")
}

#[cfg(test)]
mod tests;
