//! The four codecs, both ways, bounded.

use bytes::Bytes;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 128 << 20 }
    }
}

/// `bytes` decompressed.
///
/// # Errors
/// When they are not `codec`'s, or give more than `limits` allows.
pub fn decompress(codec: Compression, bytes: &Bytes, limits: &Limits) -> Result<Bytes, Error> {
    let _ = (codec, bytes, limits);
    unimplemented!()
}

/// `bytes` compressed.
///
/// # Errors
/// When the codec fails, which only a lack of memory makes it.
pub fn compress(codec: Compression, bytes: &Bytes) -> Result<Bytes, Error> {
    let _ = (codec, bytes);
    unimplemented!()
}
