//! Which partition a key belongs to: the same as Kafka's Java clients choose.
//!
//! Owns: murmur2 with Kafka's seed. Invariant: a key never changes its partition, whichever client
//! wrote it, as long as the topic keeps its number of partitions.

/// The partition of `key` among `count` of them.
#[must_use]
pub fn partition_of(key: &[u8], count: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    let count = u32::try_from(count).unwrap_or(0).max(1);
    i32::try_from(positive % count).unwrap_or_default()
}

/// MurmurHash2 in 32 bits, with the seed that Kafka uses.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const FACTOR: u32 = 0x5bd1_e995;
    // Longer keys than 4 GiB do not fit into a record.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(FACTOR) ^ mixed.wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(FACTOR);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_kafkas_java_clients_send_them() {
        // Kafka's own UtilsTest.testMurmur2, as signed numbers there.
        let golden: &[(&str, i32)] = &[
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ];
        for (key, hash) in golden {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), *hash, "{key}");
        }
        assert_eq!(murmur2(b"abc").cast_signed(), 479_470_107);
        assert_eq!(partition_of(b"21", 1), 0);
        assert_eq!(partition_of(b"foobar", 12), (-790_332_482_i32 & 0x7fff_ffff) % 12);
    }
}
