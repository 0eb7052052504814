//! Why bytes are not a batch.

/// What is wrong with a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too short, too long, or a field out of its range: not whole batches of format 2.
    #[error("malformed batch: {0}")]
    Malformed(&'static str),
    /// A batch of a format older or newer than 2.
    #[error("batch of format {0}, expected 2")]
    Magic(i8),
    /// The bytes are not the ones that were written.
    #[error("batch CRC is {found:08x}, expected {expected:08x}")]
    Crc {
        /// As the header says.
        expected: u32,
        /// As the bytes give.
        found: u32,
    },
    /// The attributes name no codec we know.
    #[error("unknown compression {0}")]
    UnknownCompression(i16),
    /// The compressed bytes are not what their codec writes.
    #[error("{codec} data does not decompress: {reason}")]
    Compressed {
        /// The codec.
        codec: &'static str,
        /// What it says.
        reason: String,
    },
    /// Decompressed it would be larger than allowed.
    #[error("batch decompresses to more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit that would be passed.
        limit_bytes: usize,
    },
    /// A record's bytes do not follow the format.
    #[error("malformed record: {0}")]
    Record(&'static str),
}
