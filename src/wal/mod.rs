//! The WAL folder of one broker: its identity, its files, the entries in them.
//!
//! Owns: byte formats (`format`, `ledger`), the folder with lock, identity and fences (`folder`),
//! the pool of preallocated files (`pool`), writing, reading and scanning one segment's entries.
//! Does not own: ensembles, acknowledgement, what a batch means.
//! Invariants: nothing another use of a file left behind reads as an entry; a segment's files are
//! never shortened; a fence is durable before it is answered.

mod error;
mod folder;
mod format;
mod found;
pub mod hostile;
mod ledger;
pub mod measured;
mod pool;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

pub use error::Error;
pub use folder::Folder;
pub use format::{Entry, EntryBatch, Member, OpenSegment, Previous, WalPosition};
pub use found::FoundSegment;
pub use ledger::Identity;

#[cfg(test)]
pub(crate) use format::decode_batches;
pub(crate) use format::{BATCH_PREFIX_BYTES, ENTRY_HEADER_BYTES, SegmentHeader, put_batch_prefix};
pub(crate) use reader::Reader;
pub(crate) use writer::{Writer, Written, entry_bytes};
