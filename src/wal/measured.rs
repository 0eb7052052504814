//! The WAL's hot core by itself, for `benches/cores.rs`.
//!
//! Owns: a way to it. Does not own: what it does (`format`).

use super::format::{EntryHeader, Kind};
use crate::types::Millis;

/// Encodes the head of an entry with a payload of so many bytes and this CRC; gives the entry's CRC.
#[must_use]
pub fn entry_crc(number: u64, payload_bytes: u32, payload_crc: u32) -> u32 {
    let header = EntryHeader {
        kind: Kind::Batches,
        nonce: 7,
        number,
        lac: 0,
        append_ms: Millis(0),
        payload_bytes,
        previous_crc: 1,
    };
    header.encode(payload_crc).1
}
