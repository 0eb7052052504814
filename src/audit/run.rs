//! The bytes of one run, block by block: CRCs, offsets, epochs, records, producer state.
//!
//! Owns: what must hold of them. Does not own: getting them. Pure.

use bytes::Bytes;

use super::{
    finding::{Checked, Kind},
    producers::Fold,
};
use crate::{
    object::{Block, Run, check_block},
    record::{BatchView, Limits},
    types::{LeaderEpoch, Millis, Offset},
};

/// What is wrong with a run.
pub(super) type Fault = (Kind, String);

/// A run on its way through.
#[derive(Debug)]
pub(super) struct RunCheck<'a> {
    run: &'a Run,
    next: Offset,
    newest: Option<Millis>,
    /// Producer state so far, when it is known where the run begins.
    fold: Option<Fold>,
}

impl<'a> RunCheck<'a> {
    pub(super) fn begin(run: &'a Run, fold: Option<Fold>) -> Self {
        Self { run, next: run.base, newest: None, fold }
    }

    /// Looks at the next block.
    pub(super) fn block(
        &mut self,
        block: &Block,
        bytes: &Bytes,
        checked: &mut Checked,
    ) -> Result<(), Fault> {
        let damaged = |text: String| (Kind::DamagedRecords, text);
        check_block(bytes, block.crc()).map_err(|error| damaged(self.at(error)))?;
        let batches = BatchView::split(bytes.clone()).map_err(|error| damaged(self.at(error)))?;
        let mut newest = None;
        if block.base != self.next {
            let text =
                format!("a block is said to begin at {}, and does at {}", block.base, self.next);
            return Err((Kind::WrongRecords, text));
        }
        for batch in &batches {
            self.batch(batch)?;
            newest = newest.max(Some(batch.max_timestamp()));
            checked.batches += 1;
            checked.records += u64::try_from(batch.record_count()).unwrap_or_default();
        }
        if newest != Some(block.max_timestamp) {
            return Err((Kind::WrongRecords, self.at("the block's newest time is another")));
        }
        self.newest = self.newest.max(newest);
        checked.bytes += u64::try_from(bytes.len()).unwrap_or_default();
        Ok(())
    }

    fn batch(&mut self, batch: &BatchView) -> Result<(), Fault> {
        if batch.base_offset() != self.next {
            let text =
                format!("a batch begins at {} where {} was due", batch.base_offset(), self.next);
            return Err((Kind::WrongRecords, text));
        }
        batch.check_crc().map_err(|error| (Kind::DamagedRecords, self.at(error)))?;
        if batch.leader_epoch() != self.epoch() {
            return Err((Kind::WrongRecords, self.at("the batch is of another leader epoch")));
        }
        let limits = Limits::default();
        let records =
            batch.records(&limits).map_err(|error| (Kind::WrongRecords, self.at(error)))?;
        let mut count = 0;
        for record in records {
            let record = record.map_err(|error| (Kind::WrongRecords, self.at(error)))?;
            if record.offset != self.next.advance(count) {
                return Err((
                    Kind::WrongRecords,
                    self.at("its records are not one after the other"),
                ));
            }
            count += 1;
        }
        if count != i64::from(batch.record_count()) || count != batch.offset_count() {
            return Err((Kind::WrongRecords, self.at("it has not as many records as it says")));
        }
        self.next = batch.end_offset();
        if let Some(fold) = &mut self.fold {
            fold.take(batch);
        }
        Ok(())
    }

    /// After the last block; gives the producer state where the run ends.
    pub(super) fn finish(self, checked: &mut Checked) -> Result<Fold, Fault> {
        let run = self.run;
        if self.next != run.end {
            let text = format!("its batches end at {}, it at {}", self.next, run.end);
            return Err((Kind::WrongRecords, text));
        }
        if self.newest != Some(run.max_timestamp) {
            return Err((Kind::WrongRecords, "its newest time is another".to_owned()));
        }
        let snapshots =
            run.producers().map_err(|error| (Kind::ProducerState, error.to_string()))?;
        if let Some(fold) = &self.fold {
            checked.producer_states += 1;
            if let Some(text) = fold.differs(&snapshots) {
                return Err((Kind::ProducerState, text));
            }
        }
        Ok(Fold::from(&snapshots, run.last_append))
    }

    fn epoch(&self) -> LeaderEpoch {
        let after = self.run.epochs.partition_point(|start| start.start <= self.next);
        let known = after.checked_sub(1).and_then(|at| self.run.epochs.get(at));
        known.map_or(LeaderEpoch(-1), |known| known.epoch)
    }

    fn at(&self, what: impl std::fmt::Display) -> String {
        format!("at offset {}: {what}", self.next)
    }
}
