//! CRC32C: of bytes, and of pieces whose own CRC is known.
//!
//! Owns: putting known CRCs together, by the algebra of zlib's `crc32_combine` (multiplication of
//! polynomials modulo the CRC's own): under a microsecond where a pass over 1 MiB takes 80.

use crc_fast::{CrcAlgorithm, Digest};

/// The polynomial without its highest power, lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// One, in the same order of bits.
const ONE: u32 = 1 << 31;
/// `x` to the power of 2^n, for every n up to 63.
const SQUARES: [u32; 64] = squares();

/// CRC32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// A CRC32C in the making.
#[derive(Clone, Debug)]
pub struct Crc32c {
    /// Of everything before what `digest` holds.
    before: u32,
    digest: Digest,
    /// What `digest` holds.
    bytes: u64,
}

impl Default for Crc32c {
    fn default() -> Self {
        Self { before: 0, digest: Digest::new(CrcAlgorithm::Crc32Iscsi), bytes: 0 }
    }
}

impl Crc32c {
    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    /// Goes on with `bytes` bytes whose CRC is `known`.
    pub fn update_known(&mut self, known: u32, bytes: u64) {
        self.before = combine(self.value(), known, bytes);
        self.digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        self.bytes = 0;
    }

    /// The CRC of everything so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        let tail = u32::try_from(self.digest.finalize()).unwrap_or_default();
        combine(self.before, tail, self.bytes)
    }
}

/// The CRC of two pieces one after the other, the second `bytes` long.
fn combine(first: u32, second: u32, bytes: u64) -> u32 {
    if first == 0 {
        return second;
    }
    let (mut power, mut left) = (ONE, bytes);
    // A byte is eight powers of x.
    for square in SQUARES.iter().skip(3) {
        if left == 0 {
            break;
        }
        if left & 1 == 1 {
            power = multiply(*square, power);
        }
        left >>= 1;
    }
    multiply(power, first) ^ second
}

/// The product modulo the polynomial.
const fn multiply(factor: u32, mut other: u32) -> u32 {
    let (mut product, mut bit) = (0, ONE);
    while bit != 0 {
        if factor & bit != 0 {
            product ^= other;
        }
        other = if other & 1 == 1 { (other >> 1) ^ POLYNOMIAL } else { other >> 1 };
        bit >>= 1;
    }
    product
}

#[expect(clippy::indexing_slicing, reason = "checked when it is compiled")]
const fn squares() -> [u32; 64] {
    // x itself.
    let mut squares = [ONE >> 1; 64];
    let mut n = 1;
    while n < squares.len() {
        squares[n] = multiply(squares[n - 1], squares[n - 1]);
        n += 1;
    }
    squares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_crc_is_the_one_of_the_rfc() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(Crc32c::default().value(), 0);
    }

    #[test]
    fn a_long_piece_can_be_known() {
        let bytes = vec![0x5a; 3 << 20];
        let mut crc = Crc32c::default();
        crc.update(&bytes[..100]);
        crc.update_known(crc32c(&bytes[100..]), (3 << 20) - 100);
        assert_eq!(crc.value(), crc32c(&bytes));
    }

    proptest! {
        #[test]
        fn pieces_known_or_not_give_the_crc_of_the_whole(
            pieces in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..300), any::<bool>()),
                0..8,
            ),
        ) {
            let mut crc = Crc32c::default();
            for (piece, known) in &pieces {
                match known {
                    true => crc.update_known(crc32c(piece), u64::try_from(piece.len()).unwrap()),
                    false => crc.update(piece),
                }
            }
            let whole: Vec<u8> = pieces.into_iter().flat_map(|(piece, _)| piece).collect();
            prop_assert_eq!(crc.value(), crc32c(&whole));
        }
    }
}
