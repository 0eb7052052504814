//! The batches a producer sends: built once, sent again and again.

use bytes::Bytes;

use crate::{
    env::Env,
    record::{BatchBuilder, Compression, Error},
};

/// Different batches, so that nothing below can tell them from a real stream by repetition.
const BATCHES: usize = 8;

/// What one batch holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) records: u64,
    pub(super) record_bytes: usize,
    pub(super) compression: Compression,
}

impl Content {
    /// As many records of `record_bytes` as make `batch_bytes`, at least one.
    pub(super) fn of_bytes(batch_bytes: u64, record_bytes: u64, compression: Compression) -> Self {
        let records = (batch_bytes / record_bytes.max(1)).max(1);
        let record_bytes = usize::try_from(record_bytes).unwrap_or(usize::MAX);
        Self { records, record_bytes, compression }
    }

    /// Batches of random bytes; with a codec, every other 16 bytes are the same.
    pub(super) fn build(self, env: &Env) -> Result<Vec<Bytes>, Error> {
        (0..BATCHES).map(|_| self.batch(env)).collect()
    }

    fn batch(self, env: &Env) -> Result<Bytes, Error> {
        let mut batch = BatchBuilder::new(self.compression);
        let now = env.clock.wall();
        let mut value = Vec::with_capacity(self.record_bytes + 32);
        for _ in 0..self.records {
            value.clear();
            while value.len() < self.record_bytes {
                value.extend_from_slice(&env.entropy.next_u64().to_be_bytes());
                if self.compression != Compression::None {
                    value.extend_from_slice(b"a strandline ray");
                }
            }
            value.truncate(self.record_bytes);
            batch.push(now, None, Some(&value));
        }
        Ok(batch.build()?.bytes().clone())
    }
}
