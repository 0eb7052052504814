//! The bytes of a cache file: a header, then entries one after the other.
//!
//! Owns: encoding and checking both. Does not own: which entries there are.
//! Invariant: bytes that were not written whole, by this cluster, for this file, never decode.
//!
//! All integers are big-endian.
//! ```text
//! file   magic "STRLCACH" (8) | version u16 | zero u16 | cluster id (16) | generation u64
//!        | CRC32C u32 of all before
//! entry  magic "BLK1" (4) | CRC32C of the block u32 | generation u64 | object u64 | start u64
//!        | end u64 | zero u32 | CRC32C u32 of all before | the block
//! ```
//! The generation is the file's number; no two files of a folder ever have the same.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::crc::crc32c;
use crate::{
    cache::BlockKey,
    types::{ClusterId, ObjectId},
};

/// Length of a file's header.
pub(super) const FILE_HEADER_BYTES: u64 = 40;
/// Length of an entry's header.
pub(super) const ENTRY_HEADER_BYTES: usize = 48;

const FILE_MAGIC: &[u8; 8] = b"STRLCACH";
const ENTRY_MAGIC: &[u8; 4] = b"BLK1";
const VERSION: u16 = 1;
const PREFIX: &str = "blocks-";

/// What an entry says about its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryHeader {
    pub(super) key: BlockKey,
    /// CRC32C of the block.
    pub(super) crc: u32,
}

/// The name of a file.
pub(super) fn file_name(generation: u64) -> String {
    format!("{PREFIX}{generation:016x}")
}

/// The generation a file's name says; `None` for a file that is not ours.
pub(super) fn generation_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    u64::from_str_radix(digits, 16).ok().filter(|generation| file_name(*generation) == name)
}

pub(super) fn encode_file(cluster: ClusterId, generation: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_slice(FILE_MAGIC);
    out.put_u16(VERSION);
    out.put_u16(0);
    out.put_slice(cluster.0.as_bytes());
    out.put_u64(generation);
    out.put_u32(crc32c(&out));
    out.freeze()
}

/// Whether `header` is that of the file `generation` of `cluster`.
pub(super) fn is_file(header: &[u8], cluster: ClusterId, generation: u64) -> bool {
    header == encode_file(cluster, generation).as_ref()
}

pub(super) fn encode_entry(generation: u64, entry: &EntryHeader) -> Bytes {
    let mut out = BytesMut::with_capacity(ENTRY_HEADER_BYTES);
    out.put_slice(ENTRY_MAGIC);
    out.put_u32(entry.crc);
    out.put_u64(generation);
    out.put_u64(entry.key.object.0);
    out.put_u64(entry.key.start);
    out.put_u64(entry.key.end);
    out.put_u32(0);
    out.put_u32(crc32c(&out));
    out.freeze()
}

/// The entry of file `generation` that begins with `header`; `None` when none does.
pub(super) fn decode_entry(generation: u64, header: &[u8]) -> Option<EntryHeader> {
    let header = header.get(..ENTRY_HEADER_BYTES)?;
    let (mut fields, crc) = header.split_at_checked(ENTRY_HEADER_BYTES - 4)?;
    if crc != crc32c(fields).to_be_bytes() || fields.get(..4)? != ENTRY_MAGIC {
        return None;
    }
    fields.advance(4);
    let crc = fields.get_u32();
    if fields.get_u64() != generation {
        return None;
    }
    let object = ObjectId(fields.get_u64());
    let (start, end) = (fields.get_u64(), fields.get_u64());
    (start < end).then_some(EntryHeader { key: BlockKey { object, start, end }, crc })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0x0102));

    fn entry() -> EntryHeader {
        EntryHeader {
            key: BlockKey { object: ObjectId(3), start: 4, end: 9 },
            crc: crc32c(b"block"),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_are_as_specified() {
        assert_eq!(hex(&encode_file(CLUSTER, 7)), GOLDEN_FILE);
        assert_eq!(hex(&encode_entry(7, &entry())), GOLDEN_ENTRY);
    }

    #[test]
    fn a_flipped_bit_another_file_or_another_cluster_never_decodes() {
        let good = encode_entry(7, &entry());
        assert_eq!(decode_entry(7, &good), Some(entry()));
        assert_eq!(decode_entry(8, &good), None);
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_entry(7, &bad), None, "bit {bit}");
        }
        let file = encode_file(CLUSTER, 7);
        assert!(is_file(&file, CLUSTER, 7));
        assert!(!is_file(&file, CLUSTER, 8));
        assert!(!is_file(&file, ClusterId(Uuid::from_u128(0x0103)), 7));
    }

    #[test]
    fn only_our_own_names_are_ours() {
        assert_eq!(generation_of(&file_name(0xabc)), Some(0xabc));
        for name in ["blocks-", "blocks-1", "lock", "blocks-0000000000000ABC", "x"] {
            assert_eq!(generation_of(name), None, "{name}");
        }
    }

    const GOLDEN_FILE: &str = "5354524c434143480001000000000000000000000000000000000102\
                               00000000000000077861c2b6";
    const GOLDEN_ENTRY: &str = "424c4b31cef8fb4a0000000000000007000000000000000300000000\
                               00000004000000000000000900000000f2c6dc06";
}
