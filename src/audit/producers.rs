//! Producer state worked out again from what a run holds (I11).
//!
//! Owns: the comparison. Does not own: the rules by which the log itself keeps that state, which
//! are written anew here, so that one mistake is not made twice. Pure.
//!
//! When a batch was appended is not in the bucket, so who is forgotten for silence is checked by
//! order alone: who was silent for longer goes first, and the last to write is never forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    object::{ProducerBatch, ProducerSnapshot},
    record::BatchView,
    types::{Millis, Offset, ProducerEpoch, ProducerId},
};

/// Batches a snapshot keeps of a producer.
const KEPT: usize = 5;

/// First and last sequence, first offset and the one after the last.
type Batch = (i32, i32, Offset, Offset);

/// Producers at an offset of a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Fold {
    known: BTreeMap<ProducerId, Known>,
    /// When the last batch before was appended.
    before: Millis,
    /// Who wrote the last batch.
    last: Option<ProducerId>,
}

#[derive(Clone, Debug)]
struct Known {
    epoch: ProducerEpoch,
    /// Each with a time that it was not appended before.
    batches: VecDeque<(Batch, Millis)>,
    /// Its last append is not before this.
    not_before: Millis,
}

impl Fold {
    /// From the snapshot at the end of a run.
    pub(super) fn from(snapshots: &[ProducerSnapshot], last_append: Millis) -> Self {
        let known = snapshots.iter().map(|snapshot| {
            let batches = snapshot.batches.iter();
            let batches = batches.map(|batch| (batch_of(batch), batch.append_ms)).collect();
            let not_before = snapshot.last_append;
            (snapshot.producer_id, Known { epoch: snapshot.epoch, batches, not_before })
        });
        Self { known: known.collect(), before: last_append, last: None }
    }

    /// Takes in the next batch.
    pub(super) fn take(&mut self, batch: &BatchView) {
        self.last = batch.producer_id();
        let Some(id) = batch.producer_id() else { return };
        let before = self.before;
        let known = self.known.entry(id).or_insert_with(|| Known {
            epoch: batch.producer_epoch(),
            batches: VecDeque::new(),
            not_before: before,
        });
        if known.epoch != batch.producer_epoch() {
            known.epoch = batch.producer_epoch();
            known.batches.clear();
        }
        if known.batches.len() == KEPT {
            known.batches.pop_front();
        }
        known.not_before = known.not_before.max(before);
        let offsets = (batch.base_offset(), batch.end_offset());
        let batch = (batch.base_sequence(), batch.last_sequence(), offsets.0, offsets.1);
        known.batches.push_back((batch, before));
    }

    /// How a snapshot is not what was worked out.
    pub(super) fn differs(&self, snapshots: &[ProducerSnapshot]) -> Option<String> {
        let oldest = snapshots.iter().map(|snapshot| snapshot.last_append).min();
        let wrong = snapshots.iter().find_map(|snapshot| self.one_differs(snapshot, oldest));
        if wrong.is_some() {
            return wrong;
        }
        let kept: BTreeSet<ProducerId> =
            snapshots.iter().map(|snapshot| snapshot.producer_id).collect();
        let forgotten = self.known.iter().filter(|(id, _)| !kept.contains(id));
        for (id, known) in forgotten {
            let others_first = oldest.is_some_and(|oldest| oldest < known.not_before);
            if self.last == Some(*id) || others_first {
                return Some(format!(
                    "producer {id} is not in it, and wrote after others that are"
                ));
            }
        }
        None
    }

    fn one_differs(&self, snapshot: &ProducerSnapshot, oldest: Option<Millis>) -> Option<String> {
        let id = snapshot.producer_id;
        let Some(known) = self.known.get(&id) else {
            return Some(format!("producer {id} is in it and wrote nothing"));
        };
        let first = known.batches.len().checked_sub(snapshot.batches.len());
        let kept = known.batches.iter().skip(first.unwrap_or(0)).map(|(batch, _)| *batch);
        let same = first.is_some()
            && snapshot.epoch == known.epoch
            && !snapshot.batches.is_empty()
            && snapshot.batches.iter().map(batch_of).eq(kept);
        // It may have been forgotten and have come back.
        let dropped = first.and_then(|first| known.batches.get(first.checked_sub(1)?));
        let others_first = |(_, not_before): &(Batch, Millis)| {
            self.known.len() == 1 || oldest.is_some_and(|oldest| oldest < *not_before)
        };
        if same && !dropped.is_some_and(others_first) {
            return None;
        }
        Some(format!("it does not have the last batches of producer {id}"))
    }
}

fn batch_of(batch: &ProducerBatch) -> Batch {
    (batch.first_sequence, batch.last_sequence, batch.base_offset, batch.end_offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::{Claim, Moment, Producers},
        record::{BatchBuilder, Compression},
        types::LeaderEpoch,
    };

    const EXPIRES_MS: i64 = 1000;

    fn batch(producer: i64, sequence: i32, base: i64) -> BatchView {
        let mut builder = BatchBuilder::new(Compression::None)
            .at(Offset(base), LeaderEpoch(0))
            .producer(ProducerId(producer), ProducerEpoch(0), sequence);
        builder.push(Millis(1), None, Some(b"v"));
        builder.build().unwrap()
    }

    fn record(producers: &mut Producers, batch: &BatchView, time: i64) {
        let claim = Claim::of(batch).unwrap();
        let at = Moment { time: Millis(time), expiration_ms: EXPIRES_MS };
        producers.record(&claim, batch.base_offset()..batch.end_offset(), at);
    }

    proptest::proptest! {
        /// Whatever was written when, what the log keeps is what is worked out here; and no
        /// snapshot with one producer or batch less or other passes.
        #[test]
        fn it_agrees_with_the_log_and_with_nothing_else(
            writes in proptest::collection::vec((0..4_i64, 0..400_i64), 1..60),
            split in 0..60_usize,
            spoiled in proptest::prelude::any::<proptest::sample::Index>(),
        ) {
            let (mut log, mut now) = (Producers::default(), 0);
            let mut sequences = BTreeMap::new();
            let split = split.min(writes.len() - 1);
            let mut fold = Fold::default();
            for (at, (producer, pause)) in writes.iter().enumerate() {
                if at == split {
                    fold = Fold::from(&log.to_snapshots(), Millis(now));
                }
                now += pause;
                let sequence = sequences.entry(*producer).or_insert(0);
                let batch = batch(*producer, *sequence, i64::try_from(at).unwrap());
                *sequence += 1;
                record(&mut log, &batch, now);
                fold.take(&batch);
            }
            let snapshots = log.to_snapshots();
            proptest::prop_assert_eq!(fold.differs(&snapshots), None);
            let mut other = snapshots.clone();
            let at = spoiled.index(other.len());
            other[at].batches.pop();
            proptest::prop_assert!(fold.differs(&other).is_some());
            let newest = writes.last().unwrap().0;
            let mut fewer = snapshots.clone();
            fewer.retain(|snapshot| snapshot.producer_id != ProducerId(newest));
            proptest::prop_assert!(fold.differs(&fewer).is_some());
        }
    }
}
