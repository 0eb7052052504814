//! A history in memory whose bucket can be told to fail.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    log::history::{History, HistoryError},
    object::ProducerSnapshot,
    record::BatchView,
    types::{LeaderEpoch, Millis, Offset, PartitionId},
};

/// One partition's published side.
#[derive(Default)]
pub(super) struct Shelf {
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(super) struct Inner {
    /// Published batches in order.
    pub(super) batches: Vec<BatchView>,
    /// How many reads find their object gone first.
    pub(super) gone: u32,
    /// Whether the bucket is away.
    pub(super) away: bool,
    pub(super) producers: Vec<ProducerSnapshot>,
    /// How often producer state was asked for.
    pub(super) producers_asked: u32,
    pub(super) raised: Vec<Offset>,
}

impl Shelf {
    pub(super) fn set<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap())
    }

    fn answer<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> Result<T, HistoryError> {
        self.set(|inner| {
            if inner.away {
                return Err(HistoryError::Away("away".to_owned()));
            }
            if inner.gone > 0 {
                inner.gone -= 1;
                return Err(HistoryError::Gone);
            }
            Ok(f(inner))
        })
    }
}

#[async_trait]
impl History for Shelf {
    async fn read(
        &self,
        _partition: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, HistoryError> {
        self.answer(|inner| {
            let mut left = max_bytes;
            let mut found = Vec::new();
            for batch in inner.batches.iter().filter(|batch| batch.end_offset() > from) {
                let bytes = batch.bytes();
                if found.is_empty() && batch.base_offset() > from {
                    break;
                }
                if bytes.len() > left && !found.is_empty() {
                    break;
                }
                left = left.saturating_sub(bytes.len());
                found.push(bytes.clone());
            }
            found
        })
    }

    async fn seek(
        &self,
        _partition: PartitionId,
        time: Millis,
        from: Offset,
    ) -> Result<Option<Offset>, HistoryError> {
        self.answer(|inner| {
            let mut batches = inner.batches.iter();
            let found =
                batches.find(|batch| batch.end_offset() > from && batch.max_timestamp() >= time);
            found.map(|batch| batch.base_offset().max(from))
        })
    }

    async fn max_timestamp(
        &self,
        _partition: PartitionId,
        from: Offset,
    ) -> Result<Option<Millis>, HistoryError> {
        self.answer(|inner| {
            let batches = inner.batches.iter().filter(|batch| batch.end_offset() > from);
            batches.map(BatchView::max_timestamp).max()
        })
    }

    async fn producers(
        &self,
        _partition: PartitionId,
    ) -> Result<Vec<ProducerSnapshot>, HistoryError> {
        self.answer(|inner| {
            inner.producers_asked += 1;
            inner.producers.clone()
        })
    }

    fn end_of_epoch(
        &self,
        _partition: PartitionId,
        epoch: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        Some((epoch, log_end))
    }

    fn epoch_at(&self, _partition: PartitionId, _offset: Offset) -> Option<LeaderEpoch> {
        None
    }

    async fn raise_start(&self, _partition: PartitionId, to: Offset) -> Result<(), HistoryError> {
        self.answer(|inner| inner.raised.push(to))
    }
}
