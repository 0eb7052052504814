//! Record batches of format 2 (Kafka's only one since 4.0): views, checks, stamping, compression.
//!
//! Owns: the byte layout of a batch and of the records in it, its CRC, the rules a client's batch
//! must keep, bounded compression both ways, building batches.
//! Does not own: logs, offsets' assignment, producer state, Kafka's error codes, IO.
//! Invariants: no byte from outside can panic it or make it allocate more than a small multiple of
//! a stated limit; record bytes are sliced, never copied, unless they are compressed.

mod batch;
mod builder;
mod check;
pub mod compress;
mod error;
pub mod hostile;
mod records;
#[cfg(test)]
mod tests;
mod walk;

pub use batch::{
    BatchView, HEADER_BYTES, Stamp, TimestampType, Timestamps, place, stamped_header, update_crc,
};
pub use builder::{BatchBuilder, recompress};
pub use check::{Check, Checked, Progress, Reject, Rules};
pub use compress::{Compression, Limits};
pub use error::Error;
pub use records::{Header, Record, Records};
pub use walk::RecordFault;
