//! The four codecs, both ways, bounded.
//!
//! Owns: codec numbers, output caps, xerial's framing of snappy.
//! Invariants: output stops at the limit; zstd windows are at most 128 MiB, as in Kafka; what a
//! codec's header claims fills no memory by itself, but for LZ4's block buffers (at most 16 MiB) and
//! a snappy block under the limit.
//!
//! Xerial's framing (what Java writes): `82 "SNAPPY" 00`, i32 version, i32 compatible version,
//! then blocks, each an i32 length and bare snappy. librdkafka writes bare snappy: both are read.

use std::io::{self, BufRead, BufReader, Read, Write};

use bytes::{Buf, BufMut, Bytes};

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

    /// Its name in Kafka's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
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
    /// For batches of a topic whose `max.message.bytes` is this: twenty times that, and never less
    /// than 128 MiB (ADR 0008).
    #[must_use]
    pub fn for_batches_of(max_message_bytes: usize) -> Self {
        Self { max_bytes: max_message_bytes.saturating_mul(20).max(Self::default().max_bytes) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 128 << 20 }
    }
}

/// How much a codec gives at a time.
const WINDOW_BYTES: usize = 64 << 10;
/// The most that zstd reads unless told otherwise: what its last level writes.
const ZSTD_WINDOW_LOG: u32 = 27;
/// What this broker writes at most, as every level up to the 19th does by itself.
const NARROW_WINDOW_LOG: u32 = 23;
const LAST_NARROW_LEVEL: i32 = 19;
const ZSTD_LEVEL: i32 = 3;
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// As Java's `SnappyOutputStream` has it.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

/// `bytes` decompressed, as they are read. Whoever reads stops at `limit`; here it bounds only what
/// one block of snappy may claim.
///
/// # Errors
/// When the codec has no memory.
pub(super) fn reader(
    codec: Compression,
    bytes: Bytes,
    limit: usize,
) -> Result<Box<dyn BufRead + Send>, Error> {
    let bytes = bytes.reader();
    Ok(match codec {
        Compression::None => Box::new(bytes),
        Compression::Gzip => windowed(flate2::bufread::MultiGzDecoder::new(bytes)),
        Compression::Snappy => Box::new(SnappyReader::new(bytes.into_inner(), limit)),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(bytes)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)
                .map_err(|error| failed("zstd", &error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|error| failed("zstd", &error))?;
            windowed(decoder)
        }
    })
}

fn windowed(decoder: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::with_capacity(WINDOW_BYTES, decoder))
}

/// `bytes` decompressed.
///
/// # Errors
/// When they are not `codec`'s, or give more than `limits` allows.
pub fn decompress(codec: Compression, bytes: &Bytes, limits: &Limits) -> Result<Bytes, Error> {
    let cap = limits.max_bytes;
    if codec == Compression::None && bytes.len() <= cap {
        return Ok(bytes.clone());
    }
    let reader = reader(codec, bytes.clone(), cap)?;
    let mut output = Vec::with_capacity(bytes.len().saturating_mul(3).min(cap));
    let one_more = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    let read = reader.take(one_more).read_to_end(&mut output);
    read.map_err(|error| unpacking(codec, &error, cap))?;
    if output.len() > cap { Err(Error::TooLarge { limit_bytes: cap }) } else { Ok(output.into()) }
}

/// `bytes` compressed. `level` is gzip's (1 to 9) or zstd's; the other codecs know none, and `None`
/// or a level out of range leaves the choice to the codec.
///
/// # Errors
/// When the codec fails, which only a lack of memory makes it.
pub fn compress(codec: Compression, level: Option<i32>, bytes: &Bytes) -> Result<Bytes, Error> {
    if codec == Compression::None {
        return Ok(bytes.clone());
    }
    transcode(codec, level, bytes.as_ref(), usize::MAX)
}

/// What `input` gives, compressed, as it comes; memory is what the output takes.
///
/// # Errors
/// When `input` fails, or the output would be more than `most` bytes.
pub(super) fn transcode(
    codec: Compression,
    level: Option<i32>,
    mut input: impl BufRead,
    most: usize,
) -> Result<Bytes, Error> {
    let output = Capped { bytes: Vec::new(), most };
    let copied = match codec {
        Compression::None => copy(&mut input, output, Ok),
        Compression::Gzip => {
            let level =
                level.and_then(|level| u32::try_from(level).ok()).filter(|level| *level < 10);
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            let encoder = flate2::write::GzEncoder::new(output, level);
            copy(&mut input, encoder, flate2::write::GzEncoder::finish)
        }
        Compression::Snappy => copy(&mut input, XerialWriter::new(output), XerialWriter::finish),
        Compression::Lz4 => {
            // What Java writes: independent blocks of 64 KiB.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, output);
            copy(&mut input, encoder, |encoder| encoder.finish().map_err(io::Error::from))
        }
        Compression::Zstd => zstd_encoder(output, level.unwrap_or(ZSTD_LEVEL))
            .and_then(|encoder| copy(&mut input, encoder, zstd::stream::write::Encoder::finish)),
    };
    copied.map(|output| output.bytes.into()).map_err(|error| unpacking(codec, &error, most))
}

fn zstd_encoder(
    output: Capped,
    level: i32,
) -> io::Result<zstd::stream::write::Encoder<'static, Capped>> {
    let mut encoder = zstd::stream::write::Encoder::new(output, level)?;
    if level > LAST_NARROW_LEVEL {
        encoder.window_log(NARROW_WINDOW_LOG)?;
    }
    Ok(encoder)
}

/// What an error while bytes pass through a codec means.
pub(super) fn unpacking(codec: Compression, error: &io::Error, limit_bytes: usize) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Error::TooLarge { limit_bytes },
        _ => failed(codec.name(), error),
    }
}

fn copy<W: Write>(
    input: &mut impl BufRead,
    mut into: W,
    finish: impl FnOnce(W) -> io::Result<Capped>,
) -> io::Result<Capped> {
    io::copy(input, &mut into)?;
    finish(into)
}

/// Bytes in memory, up to a limit.
struct Capped {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(codec: &'static str, reason: &dyn std::fmt::Display) -> Error {
    Error::Compressed { codec, reason: reason.to_string() }
}

/// Snappy block by block.
struct SnappyReader {
    rest: Bytes,
    limit: usize,
    framed: bool,
    block: Vec<u8>,
    at: usize,
}

impl SnappyReader {
    fn new(bytes: Bytes, limit: usize) -> Self {
        let framed = bytes.starts_with(&XERIAL_MAGIC);
        Self { rest: bytes, limit, framed, block: Vec::new(), at: 0 }
    }

    fn next_block(&mut self) -> io::Result<()> {
        if !self.framed {
            let block = std::mem::take(&mut self.rest);
            return self.unpack(&block);
        }
        // Streams may be concatenated: a header can stand where a block could.
        if self.rest.starts_with(&XERIAL_MAGIC) {
            if self.rest.len() < XERIAL_HEADER_BYTES {
                return Err(cut());
            }
            self.rest.advance(XERIAL_HEADER_BYTES);
            return Ok(());
        }
        let length = self.rest.try_get_i32().map_err(|_| cut())?;
        let length = usize::try_from(length).map_err(|_| cut())?;
        if length > self.rest.len() {
            return Err(cut());
        }
        let block = self.rest.split_to(length);
        self.unpack(&block)
    }

    /// Unpacks one block; its claimed length is held against the limit before it is allocated.
    fn unpack(&mut self, block: &[u8]) -> io::Result<()> {
        let length = snap::raw::decompress_len(block).map_err(io::Error::other)?;
        // Snappy gives at most 64 bytes for 3 of input: a longer claim is a lie.
        if length > block.len().saturating_mul(22) {
            return Err(io::Error::other("impossible length"));
        }
        if length > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.block.resize(length, 0);
        self.at = 0;
        let unpacked = snap::raw::Decoder::new().decompress(block, &mut self.block);
        unpacked.map(|_| ()).map_err(io::Error::other)
    }
}

impl BufRead for SnappyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at >= self.block.len() && !self.rest.is_empty() {
            self.next_block()?;
        }
        Ok(self.block.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }
}

impl Read for SnappyReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

fn cut() -> io::Error {
    io::Error::other("cut short")
}

/// Snappy in xerial's framing.
struct XerialWriter {
    output: Capped,
    block: Vec<u8>,
}

impl XerialWriter {
    fn new(mut output: Capped) -> Self {
        output.bytes.put_slice(&XERIAL_MAGIC);
        output.bytes.put_i32(1);
        output.bytes.put_i32(1);
        Self { output, block: Vec::with_capacity(XERIAL_BLOCK_BYTES) }
    }

    fn pack(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = snap::raw::Encoder::new().compress_vec(&self.block);
        let packed = packed.map_err(io::Error::other)?;
        let length = i32::try_from(packed.len()).map_err(io::Error::other)?;
        self.output.write_all(&length.to_be_bytes())?;
        self.output.write_all(&packed)?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Capped> {
        self.pack()?;
        Ok(self.output)
    }
}

impl Write for XerialWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(XERIAL_BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.block.len() == XERIAL_BLOCK_BYTES {
            self.pack()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
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
    fn an_output_over_its_limit_stops() {
        let data = Bytes::from(vec![7; 4 << 20]);
        for codec in [Compression::None].into_iter().chain(CODECS) {
            let answer = transcode(codec, None, data.as_ref(), 64);
            assert_eq!(answer, Err(Error::TooLarge { limit_bytes: 64 }), "{codec:?}");
        }
    }

    #[test]
    fn the_limit_follows_the_topic_and_is_never_small() {
        assert_eq!(Limits::for_batches_of(1 << 20).max_bytes, 128 << 20);
        assert_eq!(Limits::for_batches_of(100 << 20).max_bytes, 2000 << 20);
    }

    /// Zeros in a frame with this window, as a producer's encoder writes them.
    fn zstd_frame(window_log: u32) -> Bytes {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        let window = zstd::zstd_safe::CParameter::WindowLog(window_log);
        encoder.set_parameter(window).unwrap();
        io::Write::write_all(&mut encoder, &vec![0; 32 << 20]).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn zstd_windows_are_read_as_far_as_kafka_reads_them() {
        for log in [23, 25, 26, 27] {
            let answer = decompress(Compression::Zstd, &zstd_frame(log), &unlimited());
            assert_eq!(answer.map(|unpacked| unpacked.len()), Ok(32 << 20), "{log}");
        }
        let answer = decompress(Compression::Zstd, &zstd_frame(28), &unlimited());
        assert!(matches!(answer, Err(Error::Compressed { codec: "zstd", .. })), "{answer:?}");
    }

    #[test]
    fn no_level_makes_this_broker_write_a_window_over_8_mib() {
        let data = Bytes::from(vec![7; 1 << 20]);
        for level in [19, 20, 22] {
            let packed = compress(Compression::Zstd, Some(level), &data).unwrap();
            let mut reader = zstd::stream::read::Decoder::with_buffer(packed.as_ref()).unwrap();
            reader.window_log_max(NARROW_WINDOW_LOG).unwrap();
            assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), 1 << 20, "{level}");
        }
    }

    #[test]
    fn bare_snappy_and_joined_streams_are_read() {
        let bare = snap::raw::Encoder::new().compress_vec(b"strandline").unwrap();
        let answer = decompress(Compression::Snappy, &bare.into(), &unlimited()).unwrap();
        assert_eq!(answer, "strandline");

        let mut joined = BytesMut::new();
        joined.put(compress(Compression::Snappy, None, &Bytes::from_static(b"strand")).unwrap());
        joined.put(compress(Compression::Snappy, None, &Bytes::from_static(b"line")).unwrap());
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
        let framed = compress(Compression::Snappy, None, &Bytes::from_static(b"ab")).unwrap();
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
