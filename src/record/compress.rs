//! The four codecs, both ways, bounded.
//!
//! Owns: codec numbers, output caps, xerial's framing of snappy.
//! Invariants: output passes neither the limit nor 1000 times the input (1 MiB is always granted);
//! zstd windows are at most 8 MiB; what a codec's header claims allocates nothing by itself, but
//! for LZ4's block buffers (at most 16 MiB) and a snappy block under the cap.
//!
//! Xerial's framing (what Java writes): `82 "SNAPPY" 00`, i32 version, i32 compatible version,
//! then blocks, each an i32 length and bare snappy. librdkafka writes bare snappy: both are read.

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Error;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, one or more members.
    Gzip,
    /// Snappy in xerial's framing, or bare.
    Snappy,
    /// An LZ4 frame.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Compression {
    /// The codec that attribute bits 0..=2 name.
    ///
    /// # Errors
    /// [`Error::UnknownCompression`].
    pub fn from_attributes(attributes: i16) -> Result<Self, Error> {
        match attributes & 7 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(Error::UnknownCompression(other)),
        }
    }

    /// Its number in attribute bits 0..=2.
    #[must_use]
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

/// How much decompression may give.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes a batch may have decompressed.
    pub max_bytes: usize,
}

impl Limits {
    /// For batches of a topic whose `max.message.bytes` is this: ten times that, up to 128 MiB.
    #[must_use]
    pub fn for_batches_of(max_message_bytes: usize) -> Self {
        Self { max_bytes: max_message_bytes.saturating_mul(10).min(Self::default().max_bytes) }
    }

    /// The cap for an input of `bytes`: honest data shrinks a thousandfold only when it is small.
    fn cap(&self, bytes: usize) -> usize {
        self.max_bytes.min(bytes.saturating_mul(RATIO).max(ALWAYS_GRANTED_BYTES))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 128 << 20 }
    }
}

const RATIO: usize = 1000;
const ALWAYS_GRANTED_BYTES: usize = 1 << 20;
const ZSTD_WINDOW_LOG: u32 = 23;
const ZSTD_LEVEL: i32 = 3;
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// As Java's `SnappyOutputStream` has it.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

/// `bytes` decompressed.
///
/// # Errors
/// When they are not `codec`'s, or give more than `limits` allows.
pub fn decompress(codec: Compression, bytes: &Bytes, limits: &Limits) -> Result<Bytes, Error> {
    let cap = limits.cap(bytes.len());
    match codec {
        Compression::None if bytes.len() > cap => Err(Error::TooLarge { limit_bytes: cap }),
        Compression::None => Ok(bytes.clone()),
        Compression::Gzip => {
            drain("gzip", flate2::bufread::MultiGzDecoder::new(bytes.as_ref()), bytes.len(), cap)
        }
        Compression::Snappy => snappy(bytes, cap),
        Compression::Lz4 => {
            drain("lz4", lz4_flex::frame::FrameDecoder::new(bytes.as_ref()), bytes.len(), cap)
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes.as_ref())
                .map_err(|error| failed("zstd", &error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| failed("zstd", &error))?;
            drain("zstd", decoder, bytes.len(), cap)
        }
    }
}

/// `bytes` compressed. `level` is gzip's (1 to 9) or zstd's; the other codecs know none, and `None`
/// or a level out of range leaves the choice to the codec.
///
/// # Errors
/// When the codec fails, which only a lack of memory makes it.
pub fn compress(codec: Compression, level: Option<i32>, bytes: &Bytes) -> Result<Bytes, Error> {
    match codec {
        Compression::None => Ok(bytes.clone()),
        Compression::Gzip => {
            let level =
                level.and_then(|level| u32::try_from(level).ok()).filter(|level| *level < 10);
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            io::Write::write_all(&mut encoder, bytes).map_err(|error| failed("gzip", &error))?;
            Ok(encoder.finish().map_err(|error| failed("gzip", &error))?.into())
        }
        Compression::Snappy => xerial(bytes),
        Compression::Lz4 => {
            // What Java writes: independent blocks of 64 KiB.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
            io::Write::write_all(&mut encoder, bytes).map_err(|error| failed("lz4", &error))?;
            Ok(encoder.finish().map_err(|error| failed("lz4", &error))?.into())
        }
        Compression::Zstd => {
            Ok(zstd::stream::encode_all(bytes.as_ref(), level.unwrap_or(ZSTD_LEVEL))
                .map_err(|error| failed("zstd", &error))?
                .into())
        }
    }
}

fn failed(codec: &'static str, reason: &dyn std::fmt::Display) -> Error {
    Error::Compressed { codec, reason: reason.to_string() }
}

/// All that `reader` gives, if that is no more than `cap`. Memory grows as bytes come.
fn drain(
    codec: &'static str,
    reader: impl Read,
    input_bytes: usize,
    cap: usize,
) -> Result<Bytes, Error> {
    let mut output = Vec::with_capacity(input_bytes.saturating_mul(3).min(cap));
    let one_more = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(one_more).read_to_end(&mut output).map_err(|error| failed(codec, &error))?;
    if output.len() > cap { Err(Error::TooLarge { limit_bytes: cap }) } else { Ok(output.into()) }
}

fn snappy(bytes: &Bytes, cap: usize) -> Result<Bytes, Error> {
    let mut output = BytesMut::new();
    if !bytes.starts_with(&XERIAL_MAGIC) {
        snappy_block(bytes, cap, &mut output)?;
        return Ok(output.freeze());
    }
    let mut rest = bytes.as_ref();
    while !rest.is_empty() {
        // Streams may be concatenated: a header can stand where a block could.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER_BYTES..).ok_or_else(cut)?;
            continue;
        }
        let length = rest.try_get_i32().map_err(|_| cut())?;
        let length = usize::try_from(length).map_err(|_| cut())?;
        let block = rest.split_off(..length).ok_or_else(cut)?;
        snappy_block(block, cap, &mut output)?;
    }
    Ok(output.freeze())
}

fn cut() -> Error {
    failed("snappy", &"cut short")
}

/// Appends one block; its claimed length is held against `cap` before anything is allocated.
fn snappy_block(block: &[u8], cap: usize, output: &mut BytesMut) -> Result<(), Error> {
    let length = snap::raw::decompress_len(block).map_err(|error| failed("snappy", &error))?;
    let start = output.len();
    // Snappy gives at most 64 bytes for 3 of input: a longer claim is a lie.
    if length > block.len().saturating_mul(22) {
        return Err(failed("snappy", &"impossible length"));
    }
    if start.saturating_add(length) > cap {
        return Err(Error::TooLarge { limit_bytes: cap });
    }
    output.resize(start + length, 0);
    let into = output.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new()
        .decompress(block, into)
        .map(|_| ())
        .map_err(|error| failed("snappy", &error))
}

fn xerial(bytes: &Bytes) -> Result<Bytes, Error> {
    let mut output = BytesMut::with_capacity(XERIAL_HEADER_BYTES + bytes.len() / 2);
    output.put_slice(&XERIAL_MAGIC);
    output.put_i32(1);
    output.put_i32(1);
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(block).map_err(|error| failed("snappy", &error))?;
        let length = i32::try_from(packed.len()).map_err(|error| failed("snappy", &error))?;
        output.put_i32(length);
        output.put_slice(&packed);
    }
    Ok(output.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODECS: [Compression; 4] =
        [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn unlimited() -> Limits {
        Limits::default()
    }

    #[test]
    fn every_codec_gives_back_what_it_took() {
        let data: Bytes = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for codec in CODECS {
            let packed = compress(codec, None, &data).unwrap();
            assert!(packed.len() < data.len(), "{codec:?}");
            assert_eq!(decompress(codec, &packed, &unlimited()).unwrap(), data, "{codec:?}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let zeros = Bytes::from(vec![0; 64 << 20]);
        for codec in CODECS {
            let packed = compress(codec, None, &zeros).unwrap();
            let cap = Limits { max_bytes: 2 << 20 };
            let answer = decompress(codec, &packed, &cap);
            assert!(matches!(answer, Err(Error::TooLarge { .. })), "{codec:?}: {answer:?}");
        }
    }

    #[test]
    fn a_thousandfold_is_too_much_whatever_the_limit() {
        let packed = compress(Compression::Zstd, None, &Bytes::from(vec![0; 64 << 20])).unwrap();
        assert!(packed.len() < 64 << 10);
        let answer = decompress(Compression::Zstd, &packed, &unlimited());
        assert!(matches!(answer, Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_small_batch_of_zeros_is_honest() {
        let zeros = Bytes::from(vec![0; 1 << 20]);
        let packed = compress(Compression::Zstd, None, &zeros).unwrap();
        assert_eq!(decompress(Compression::Zstd, &packed, &unlimited()).unwrap(), zeros);
    }

    #[test]
    fn a_zstd_window_over_8_mib_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(27)).unwrap();
        io::Write::write_all(&mut encoder, &vec![7; 32 << 20]).unwrap();
        let packed = Bytes::from(encoder.finish().unwrap());
        let answer = decompress(Compression::Zstd, &packed, &unlimited());
        assert!(matches!(answer, Err(Error::Compressed { codec: "zstd", .. })), "{answer:?}");
    }

    #[test]
    fn bare_snappy_and_joined_streams_are_read() {
        let bare = snap::raw::Encoder::new().compress_vec(b"strandline").unwrap();
        let answer = decompress(Compression::Snappy, &bare.into(), &unlimited()).unwrap();
        assert_eq!(answer, "strandline");

        let mut joined = BytesMut::new();
        joined.put(xerial(&Bytes::from_static(b"strand")).unwrap());
        joined.put(xerial(&Bytes::from_static(b"line")).unwrap());
        let answer = decompress(Compression::Snappy, &joined.freeze(), &unlimited()).unwrap();
        assert_eq!(answer, "strandline");
    }

    #[test]
    fn several_gzip_members_are_read() {
        let mut joined = BytesMut::new();
        joined.put(compress(Compression::Gzip, None, &Bytes::from_static(b"strand")).unwrap());
        joined.put(compress(Compression::Gzip, None, &Bytes::from_static(b"line")).unwrap());
        let answer = decompress(Compression::Gzip, &joined.freeze(), &unlimited()).unwrap();
        assert_eq!(answer, "strandline");
    }

    #[test]
    fn xerial_framing_is_javas() {
        let framed = xerial(&Bytes::from_static(b"ab")).unwrap();
        let golden: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x04\x02\x04ab";
        assert_eq!(framed, golden);
    }

    #[test]
    fn a_lying_snappy_length_allocates_nothing() {
        let lie = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
        assert!(decompress(Compression::Snappy, &lie, &unlimited()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_survive_the_round_trip(data in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let data = Bytes::from(data);
            for codec in CODECS {
                let packed = compress(codec, None, &data).unwrap();
                prop_assert_eq!(decompress(codec, &packed, &unlimited()).unwrap(), data.clone());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn hostile_bytes_are_refused_or_bounded(
            data in prop::collection::vec(any::<u8>(), 0..300),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let cap = Limits { max_bytes: 1 << 20 };
            for codec in CODECS {
                let mut packed = compress(codec, None, &Bytes::from(data.clone())).unwrap().to_vec();
                for (at, value) in &flips {
                    let at = at.index(packed.len());
                    packed[at] = *value;
                }
                if let Ok(output) = decompress(codec, &packed.into(), &cap) {
                    prop_assert!(output.len() <= 1 << 20);
                }
                drop(decompress(codec, &Bytes::from(data.clone()), &cap));
            }
        }
    }
}
