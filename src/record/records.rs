//! The records in a batch.

use bytes::Bytes;

use super::{BatchView, Error};
use crate::types::{Millis, Offset};

/// One header of a record. Keys may repeat; order counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its key, UTF-8 by convention.
    pub key: Bytes,
    /// Its value.
    pub value: Option<Bytes>,
}

/// One record; its bytes are slices of the batch's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time: the batch's max timestamp under LogAppendTime.
    pub timestamp: Millis,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, as they came.
    pub headers: Vec<Header>,
}

/// The records of one batch, in order. After an error it ends.
#[derive(Debug)]
pub struct Records {
    body: Bytes,
}

impl Records {
    pub(super) fn new(batch: &BatchView, body: Bytes) -> Self {
        let _ = batch;
        Self { body }
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let _ = &self.body;
        unimplemented!()
    }
}
