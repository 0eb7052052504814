//! What a partition remembers of its idempotent producers: a function of its log.
//!
//! Owns: which batch is new, a duplicate, out of order or of an old epoch (Kafka's rules,
//! `ProducerAppendInfo`); what is kept of each producer and for how long; its form in footers.
//! Does not own: offsets, when to load or store it, Kafka's codes.
//! Invariants: the state after a batch follows from the state before and the batch alone, append
//! times in the log included and no clock (I11); at most `MAX_PRODUCERS` producers of five batches.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
};

use crate::{
    object::{ProducerBatch, ProducerSnapshot},
    record::BatchView,
    types::{Millis, Offset, ProducerEpoch, ProducerId},
};

/// Batches of one producer by which a retry is recognised: clients have up to five in flight.
const BATCHES_KEPT: usize = 5;
/// Producers kept of one partition; beyond, the one silent for longest goes. Bounds footers.
const MAX_PRODUCERS: usize = 10_000;

/// A batch is out of its producer's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error("sequence {found}, expected {expected}")]
    OutOfOrder {
        /// The one that would do.
        expected: i32,
        /// The batch's first.
        found: i32,
    },
    /// `INVALID_PRODUCER_EPOCH`.
    #[error("producer epoch {found} is older than {newest}")]
    OldEpoch {
        /// The newest seen.
        newest: i16,
        /// The batch's.
        found: i16,
    },
}

/// What a batch claims of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub producer_id: ProducerId,
    /// In which epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub first_sequence: i32,
    /// Sequence of the last.
    pub last_sequence: i32,
}

/// The circumstances of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When, as the log keeps it.
    pub time: Millis,
    /// `producer.id.expiration.ms`, counted between append times of idempotent batches of the log.
    pub expiration_ms: i64,
}

/// What a batch in order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To be appended.
    New,
    /// A retry of this one.
    Duplicate(ProducerBatch),
}

/// The producers of one partition at one offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: BTreeMap<ProducerId, Producer>,
    by_silence: BTreeSet<(Millis, ProducerId)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    last_append: Millis,
    batches: VecDeque<ProducerBatch>,
}

impl Claim {
    /// The claim of an idempotent batch; `None` for any other.
    #[must_use]
    pub fn of(batch: &BatchView) -> Option<Self> {
        Some(Self {
            producer_id: batch.producer_id()?,
            epoch: batch.producer_epoch(),
            first_sequence: batch.base_sequence(),
            last_sequence: batch.last_sequence(),
        })
    }
}

impl Producers {
    /// What `claim` is after all that was recorded.
    ///
    /// # Errors
    /// When the batch must not be appended.
    pub fn check(&self, claim: &Claim) -> Result<Verdict, SequenceError> {
        // Of an unknown producer any sequence is right: its former records may be deleted.
        let Some(known) = self.by_id.get(&claim.producer_id) else { return Ok(Verdict::New) };
        let found = claim.first_sequence;
        if claim.epoch < known.epoch {
            return Err(SequenceError::OldEpoch { newest: known.epoch.0, found: claim.epoch.0 });
        }
        let same_epoch = claim.epoch == known.epoch;
        let expected = match known.batches.back() {
            Some(last) if same_epoch => following(last.last_sequence),
            _ => 0,
        };
        let original = known.batches.iter().find(|batch| {
            (batch.first_sequence, batch.last_sequence)
                == (claim.first_sequence, claim.last_sequence)
        });
        match original {
            Some(original) if same_epoch => Ok(Verdict::Duplicate(*original)),
            _ if found == expected => Ok(Verdict::New),
            _ => Err(SequenceError::OutOfOrder { expected, found }),
        }
    }

    /// Takes in a batch of the log: the one right after all recorded before. No check, the log is
    /// the truth.
    pub fn record(&mut self, claim: &Claim, offsets: Range<Offset>, at: Moment) {
        let append_ms = at.time;
        let newest = self.newest();
        let known = self.by_id.entry(claim.producer_id).or_insert_with(|| Producer {
            epoch: claim.epoch,
            last_append: append_ms,
            batches: VecDeque::new(),
        });
        self.by_silence.remove(&(known.last_append, claim.producer_id));
        if known.epoch != claim.epoch {
            known.epoch = claim.epoch;
            known.batches.clear();
        }
        if known.batches.len() == BATCHES_KEPT {
            known.batches.pop_front();
        }
        known.batches.push_back(ProducerBatch {
            first_sequence: claim.first_sequence,
            last_sequence: claim.last_sequence,
            base_offset: offsets.start,
            end_offset: offsets.end,
            append_ms,
        });
        // The writer's clock may have gone back: who writes now is not the one silent for longest.
        known.last_append = newest.max(append_ms);
        self.by_silence.insert((known.last_append, claim.producer_id));
        self.expire(at.expiration_ms);
    }

    /// Takes in a whole batch of the log, if it is an idempotent one.
    pub fn record_batch(&mut self, batch: &BatchView, at: Moment) {
        if let Some(claim) = Claim::of(batch) {
            self.record(&claim, batch.base_offset()..batch.end_offset(), at);
        }
    }

    /// The latest time of the log.
    fn newest(&self) -> Millis {
        self.by_silence.last().map_or(Millis(0), |(newest, _)| *newest)
    }

    fn expire(&mut self, expiration_ms: i64) {
        let newest = self.newest();
        while let Some(&(last_append, producer_id)) = self.by_silence.first() {
            let silent = newest.since(last_append) >= expiration_ms;
            if !silent && self.by_id.len() <= MAX_PRODUCERS {
                return;
            }
            self.by_silence.pop_first();
            self.by_id.remove(&producer_id);
        }
    }

    /// Its form in a footer or manifest.
    #[must_use]
    pub fn to_snapshots(&self) -> Vec<ProducerSnapshot> {
        let one = |(id, known): (&ProducerId, &Producer)| ProducerSnapshot {
            producer_id: *id,
            epoch: known.epoch,
            last_append: known.last_append,
            batches: known.batches.iter().copied().collect(),
            transaction: None,
            coordinator_epoch: -1,
        };
        self.by_id.iter().map(one).collect()
    }

    /// The state that [`to_snapshots`](Self::to_snapshots) was made of.
    #[must_use]
    pub fn from_snapshots(snapshots: Vec<ProducerSnapshot>) -> Self {
        let mut producers = Self::default();
        for snapshot in snapshots {
            let excess = snapshot.batches.len().saturating_sub(BATCHES_KEPT);
            let known = Producer {
                epoch: snapshot.epoch,
                last_append: snapshot.last_append,
                batches: snapshot.batches.into_iter().skip(excess).collect(),
            };
            producers.by_silence.insert((known.last_append, snapshot.producer_id));
            producers.by_id.insert(snapshot.producer_id, known);
        }
        producers
    }
}

/// The sequence after `sequence`: after `i32::MAX` comes 0.
fn following(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        env::sim::proof::{Seeded, drawn},
        object::{decode_producers, encode_producers},
    };

    const EXPIRES_AFTER_MS: i64 = 86_400_000;

    fn at(time: i64) -> Moment {
        Moment { time: Millis(time), expiration_ms: EXPIRES_AFTER_MS }
    }

    fn claim(producer: i64, epoch: i16, first_sequence: i32, last_sequence: i32) -> Claim {
        let producer_id = ProducerId(producer);
        Claim { producer_id, epoch: ProducerEpoch(epoch), first_sequence, last_sequence }
    }

    fn with(claims: &[Claim]) -> Producers {
        let mut producers = Producers::default();
        for (index, claim) in claims.iter().enumerate() {
            let base = Offset(i64::try_from(index).unwrap() * 10);
            producers.record(claim, base..base.advance(10), at(1000));
        }
        producers
    }

    #[test]
    fn an_unknown_producer_may_start_anywhere() {
        assert_eq!(Producers::default().check(&claim(1, 0, 77, 80)), Ok(Verdict::New));
    }

    #[test]
    fn a_retry_of_the_last_five_is_a_duplicate() {
        let claims: Vec<_> = (0..6).map(|at| claim(1, 0, at * 2, at * 2 + 1)).collect();
        let producers = with(&claims);
        for (base, claim) in (0..).step_by(10).zip(&claims).skip(1) {
            let Ok(Verdict::Duplicate(original)) = producers.check(claim) else { panic!("{base}") };
            assert_eq!(original.base_offset, Offset(base));
        }
        let forgotten = producers.check(&claims[0]);
        assert_eq!(forgotten, Err(SequenceError::OutOfOrder { expected: 12, found: 0 }));
    }

    #[test]
    fn overlaps_and_gaps_are_out_of_order() {
        let producers = with(&[claim(1, 0, 0, 4)]);
        for (first, last) in [(0, 5), (1, 4), (4, 6), (6, 7)] {
            let expected = SequenceError::OutOfOrder { expected: 5, found: first };
            assert_eq!(producers.check(&claim(1, 0, first, last)), Err(expected));
        }
        assert_eq!(producers.check(&claim(1, 0, 5, 5)), Ok(Verdict::New));
    }

    #[test]
    fn after_the_last_sequence_comes_zero() {
        let producers = with(&[claim(1, 0, i32::MAX - 1, i32::MAX)]);
        assert_eq!(producers.check(&claim(1, 0, 0, 1)), Ok(Verdict::New));
        let wrapped = with(&[claim(1, 0, i32::MAX, 1)]);
        assert_eq!(wrapped.check(&claim(1, 0, 2, 2)), Ok(Verdict::New));
    }

    #[test]
    fn epochs_only_rise_and_start_at_zero() {
        let producers = with(&[claim(1, 3, 0, 4)]);
        let older = SequenceError::OldEpoch { newest: 3, found: 2 };
        assert_eq!(producers.check(&claim(1, 2, 5, 5)), Err(older));
        assert_eq!(producers.check(&claim(1, 4, 0, 4)), Ok(Verdict::New));
        let late = SequenceError::OutOfOrder { expected: 0, found: 5 };
        assert_eq!(producers.check(&claim(1, 4, 5, 5)), Err(late));
    }

    #[test]
    fn producers_expire_by_the_logs_own_times() {
        let mut producers = with(&[claim(1, 0, 0, 0)]);
        let day_later = 1000 + EXPIRES_AFTER_MS;
        producers.record(&claim(2, 0, 0, 0), Offset(10)..Offset(11), at(day_later - 1));
        assert!(producers.check(&claim(1, 0, 5, 5)).is_err());
        producers.record(&claim(2, 0, 1, 1), Offset(11)..Offset(12), at(day_later));
        assert_eq!(producers.check(&claim(1, 0, 5, 5)), Ok(Verdict::New));
    }

    #[test]
    fn who_writes_after_the_clock_went_back_is_known_all_the_same() {
        let mut producers = with(&[claim(1, 0, 0, 0)]);
        let ahead = at(1000 + 2 * EXPIRES_AFTER_MS);
        producers.record(&claim(2, 0, 0, 0), Offset(10)..Offset(11), ahead);
        producers.record(&claim(3, 0, 0, 0), Offset(11)..Offset(12), at(2000));
        let again = producers.check(&claim(3, 0, 0, 0));
        assert!(matches!(again, Ok(Verdict::Duplicate(_))), "{again:?}");
    }

    #[test]
    fn producers_expire_as_soon_as_the_broker_is_told_to() {
        let mut producers = with(&[claim(1, 0, 0, 0)]);
        let soon = Moment { time: Millis(1500), expiration_ms: 500 };
        producers.record(&claim(2, 0, 0, 0), Offset(10)..Offset(11), soon);
        assert_eq!(producers.check(&claim(1, 0, 5, 5)), Ok(Verdict::New));
        assert!(producers.check(&claim(2, 0, 5, 5)).is_err());
    }

    #[test]
    fn the_longest_silent_goes_when_there_are_too_many() {
        let mut producers = Producers::default();
        for id in 0..=i64::try_from(MAX_PRODUCERS).unwrap() {
            producers.record(&claim(id, 0, 0, 0), Offset(id)..Offset(id + 1), at(id));
        }
        assert_eq!(producers.by_id.len(), MAX_PRODUCERS);
        assert_eq!(producers.check(&claim(0, 0, 9, 9)), Ok(Verdict::New));
        assert!(producers.check(&claim(1, 0, 9, 9)).is_err());
    }

    /// One attempt: producer, epoch step, sequence relative to the expected one, records, time.
    type Attempt = (i64, i16, i32, i32, i64);

    fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
        let step = prop_oneof![8 => Just(0_i16), 1 => Just(1), 1 => Just(-1)];
        let slip = prop_oneof![8 => Just(0_i32), 2 => -9..3_i32];
        let time = prop_oneof![20 => 0..1000_i64, 1 => Just(EXPIRES_AFTER_MS / 2)];
        prop::collection::vec((0..4_i64, step, slip, 1..4_i32, time), 0..80)
    }

    /// The naive model: every batch of the log, searched from the end.
    #[derive(Default)]
    struct Model {
        log: Vec<(Claim, Offset, Millis)>,
    }

    impl Model {
        /// The batches of `producer` since it was last unknown.
        fn of(&self, producer: ProducerId) -> Vec<&(Claim, Offset, Millis)> {
            let silent = |now: Millis, seen: Option<Millis>| {
                seen.is_some_and(|seen| now.0 - seen.0 >= EXPIRES_AFTER_MS)
            };
            let (mut now, mut seen, mut batches) = (Millis(0), None, Vec::new());
            for entry in &self.log {
                now = now.max(entry.2);
                if entry.0.producer_id == producer {
                    // Its own batch ends a silence before anybody noticed it.
                    seen = seen.max(Some(entry.2));
                    batches.push(entry);
                } else if silent(now, seen) {
                    seen = None;
                    batches.clear();
                }
            }
            batches
        }

        fn check(&self, claim: &Claim) -> Result<Option<Offset>, SequenceError> {
            let batches = self.of(claim.producer_id);
            let Some((last, ..)) = batches.last() else { return Ok(None) };
            if claim.epoch < last.epoch {
                let (newest, found) = (last.epoch.0, claim.epoch.0);
                return Err(SequenceError::OldEpoch { newest, found });
            }
            let mut expected = 0;
            if claim.epoch == last.epoch {
                let of_epoch = batches.iter().rev().take_while(|entry| entry.0.epoch == last.epoch);
                for (kept, offset, _) in of_epoch.take(5).collect::<Vec<_>>().into_iter().rev() {
                    if kept == claim {
                        return Ok(Some(*offset));
                    }
                }
                let next = (i64::from(last.last_sequence) + 1) % (i64::from(i32::MAX) + 1);
                expected = i32::try_from(next).unwrap();
            }
            if claim.first_sequence == expected {
                return Ok(None);
            }
            Err(SequenceError::OutOfOrder { expected, found: claim.first_sequence })
        }
    }

    /// The core and the model agree on every attempt; where the log ends.
    fn agree(attempts: Vec<Attempt>) -> Offset {
        let mut producers = Producers::default();
        let mut model = Model::default();
        let mut last: BTreeMap<i64, (i16, i32)> = BTreeMap::new();
        let (mut end, mut now) = (Offset(0), Millis(0));
        for (producer, step, slip, records, passed) in attempts {
            now.0 += passed;
            let (epoch, next) = last.get(&producer).copied().unwrap_or((3, 0));
            let start = if step > 0 { 0 } else { next };
            let first = (start + slip).max(0);
            let claim = claim(producer, epoch + step, first, first + records - 1);
            let expected = model.check(&claim);
            let found = producers.check(&claim).map(|verdict| match verdict {
                Verdict::New => None,
                Verdict::Duplicate(original) => Some(original.base_offset),
            });
            assert_eq!(found, expected);
            if found == Ok(None) {
                let base = end;
                end = end.advance(i64::from(records));
                producers.record(&claim, base..end, at(now.0));
                model.log.push((claim, base, now));
                last.insert(producer, (claim.epoch.0, claim.last_sequence + 1));
            }
            let bytes = encode_producers(&producers.to_snapshots());
            let back = Producers::from_snapshots(decode_producers(bytes).unwrap());
            assert_eq!(back, producers);
        }
        end
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_search_of_the_whole_log(attempts in attempts()) {
            agree(attempts);
        }
    }

    const PRODUCERS: Seeded = Seeded {
        name: "producers",
        test: "log::producer::tests::many_seeds",
        run: |seed, _| u64::try_from(agree(drawn(&attempts(), seed)).0).unwrap(),
        reaches: &[],
    };

    #[test]
    #[ignore = "CI: many seeds"]
    fn many_seeds_agree_with_a_search_of_the_whole_log() {
        PRODUCERS.holds(0..3000);
    }
}
