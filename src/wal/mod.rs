//! The WAL folder of one broker: its identity, its files, the entries in them.
//!
//! Owns: byte formats (`format`), the folder with lock, identity and fences (`folder`), the pool of
//! preallocated files (`pool`), writing, reading and scanning the entries of one segment.
//! Does not own: ensembles, acknowledgement, what a batch means.
//! Invariants: an entry is written only after the entry before it is synced when its ensemble has
//! one member; a segment's files are never shortened; a fence is durable before it is answered.

mod error;
mod folder;
mod format;

pub use error::Error;
pub use folder::{Folder, FoundSegment, Identity};
pub use format::{Entry, EntryBatch, Member, OpenSegment, Previous, WalPosition};
