//! Which partition a record goes to, and the batches that wait to be sent.
//!
//! Invariants: a partition's records stay in the order they came; a batch is at most
//! [`BATCH_BYTES`] before compression unless it is one record.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::input::Input;
use crate::{
    client::partition_of,
    record::{BatchBuilder, BatchView, Compression, Error, Header},
    types::{Millis, ProducerEpoch, ProducerId},
};

/// Bytes of records in a batch: with its header below what a topic takes unless told otherwise
/// (max.message.bytes, 1,048,588).
const BATCH_BYTES: usize = 1_000_000;
/// Bytes of all batches that wait.
const PENDING_BYTES: usize = 16 * 1024 * 1024;
/// What a record takes beside key, value and headers, at most.
const RECORD_OVERHEAD: usize = 40;

/// Where records go and what they get besides.
#[derive(Clone, Debug)]
pub(super) struct Router {
    pub(super) partitions: i32,
    pub(super) fixed: Option<i32>,
    pub(super) key: Option<Bytes>,
    pub(super) headers: Vec<Header>,
    /// The partition of the next record without a key.
    pub(super) turn: i32,
}

impl Router {
    /// The record with what every record gets, and its partition.
    fn route(&self, mut input: Input) -> anyhow::Result<(i32, Input)> {
        if input.key.is_none() {
            input.key.clone_from(&self.key);
        }
        input.headers.splice(0..0, self.headers.iter().cloned());
        let by_key = input.key.as_ref().map(|key| partition_of(key, self.partitions));
        let partition = self.fixed.or(input.partition).or(by_key).unwrap_or(self.turn);
        anyhow::ensure!(
            (0..self.partitions).contains(&partition),
            "record {} is for partition {partition}, and the topic has 0 to {}; make it with more, or \
             leave the partition out",
            input.number,
            self.partitions.saturating_sub(1)
        );
        Ok((partition, input))
    }

    /// Records without a key fill a batch of one partition before the next has its turn.
    fn pass_turn(&mut self) {
        self.turn = (self.turn + 1).checked_rem(self.partitions).unwrap_or_default();
    }
}

/// Records that go together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Input>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, input: Input) {
        self.bytes += weight(&input);
        self.records.push(input);
    }

    /// Both halves; for a batch that is too large for the topic.
    pub(super) fn split(self) -> [Self; 2] {
        let mut halves = [Self::default(), Self::default()];
        let middle = self.records.len() / 2;
        for (at, record) in self.records.into_iter().enumerate() {
            let [first, second] = &mut halves;
            if at < middle { first.push(record) } else { second.push(record) }
        }
        halves
    }

    /// Its bytes for the wire.
    pub(super) fn build(
        &self,
        compression: Compression,
        producer: Option<(ProducerId, ProducerEpoch, i32)>,
        now: Millis,
    ) -> Result<BatchView, Error> {
        let mut batch = BatchBuilder::new(compression);
        if let Some((id, epoch, sequence)) = producer {
            batch = batch.producer(id, epoch, sequence);
        }
        for it in &self.records {
            let time = it.timestamp.unwrap_or(now);
            batch.push_with_headers(time, it.key.as_deref(), it.value.as_deref(), &it.headers);
        }
        batch.build()
    }

    /// Bytes of keys and values.
    pub(super) fn payload(&self) -> u64 {
        let bytes = |it: &Option<Bytes>| it.as_ref().map_or(0, Bytes::len);
        let total: usize = self.records.iter().map(|it| bytes(&it.key) + bytes(&it.value)).sum();
        u64::try_from(total).unwrap_or(u64::MAX)
    }

    /// The numbers of its first and last record.
    pub(super) fn numbers(&self) -> (u64, u64) {
        let number = |it: Option<&Input>| it.map_or(0, |it| it.number);
        (number(self.records.first()), number(self.records.last()))
    }
}

fn weight(input: &Input) -> usize {
    let bytes = |it: &Option<Bytes>| it.as_ref().map_or(0, Bytes::len);
    let headers = input.headers.iter().map(|it| it.key.len() + bytes(&it.value) + 10);
    bytes(&input.key) + bytes(&input.value) + headers.sum::<usize>() + RECORD_OVERHEAD
}

/// Batches that wait, by partition.
#[derive(Debug)]
pub(super) struct Pending {
    router: Router,
    batches: BTreeMap<i32, VecDeque<Batch>>,
    bytes: usize,
}

impl Pending {
    pub(super) fn new(router: Router) -> Self {
        Self { router, batches: BTreeMap::new(), bytes: 0 }
    }

    pub(super) fn push(&mut self, input: Input) -> anyhow::Result<()> {
        let (partition, input) = self.router.route(input)?;
        let weight = weight(&input);
        let is_keyless = partition == self.router.turn && input.key.is_none();
        let batches = self.batches.entry(partition).or_default();
        match batches.back_mut().filter(|last| last.bytes + weight <= BATCH_BYTES) {
            Some(last) => last.push(input),
            None => {
                let is_first = batches.is_empty();
                let mut batch = Batch::default();
                batch.push(input);
                batches.push_back(batch);
                if is_keyless && !is_first {
                    self.router.pass_turn();
                }
            }
        }
        self.bytes += weight;
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The next batch of each partition.
    pub(super) fn fronts(&self) -> impl Iterator<Item = (i32, &Batch)> {
        self.batches.iter().filter_map(|(index, batches)| Some((*index, batches.front()?)))
    }

    /// Takes the next batch of a partition away.
    pub(super) fn pop(&mut self, partition: i32) -> Option<Batch> {
        let batches = self.batches.get_mut(&partition)?;
        let batch = batches.pop_front();
        if batches.is_empty() {
            self.batches.remove(&partition);
        }
        self.bytes = self.bytes.saturating_sub(batch.as_ref().map_or(0, |batch| batch.bytes));
        if self.batches.is_empty() {
            self.router.pass_turn();
        }
        batch
    }

    /// Puts a batch back in front, in two halves.
    pub(super) fn halve(&mut self, partition: i32) {
        let batches = self.batches.entry(partition).or_default();
        if let Some(batch) = batches.pop_front() {
            for half in batch.split().into_iter().rev() {
                batches.push_front(half);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(partitions: i32) -> Router {
        Router { partitions, fixed: None, key: None, headers: Vec::new(), turn: 0 }
    }

    fn input(number: u64, key: Option<&'static str>, bytes: usize) -> Input {
        Input {
            number,
            key: key.map(Bytes::from),
            value: Some(vec![0; bytes].into()),
            ..Input::default()
        }
    }

    fn numbers(pending: &mut Pending, partition: i32) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| pending.pop(partition)).map(|batch| batch.numbers()).collect()
    }

    #[test]
    fn records_of_a_key_stay_together_and_in_order() {
        let mut pending = Pending::new(router(12));
        for number in 1..=3 {
            pending.push(input(number, Some("foobar"), 600_000)).unwrap();
        }
        let partition = partition_of(b"foobar", 12);
        assert_eq!(numbers(&mut pending, partition), [(1, 1), (2, 2), (3, 3)]);
        assert!(pending.is_empty() && !pending.is_full());
    }

    #[test]
    fn records_without_a_key_fill_a_batch_and_pass_the_turn() {
        let mut pending = Pending::new(router(2));
        for number in 1..=4 {
            pending.push(input(number, None, 400_000)).unwrap();
        }
        assert_eq!(pending.fronts().map(|(index, _)| index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(numbers(&mut pending, 0), [(1, 2), (3, 3)]);
        assert_eq!(numbers(&mut pending, 1), [(4, 4)]);
    }

    #[test]
    fn a_batch_that_is_too_large_goes_in_halves_in_order() {
        let mut pending = Pending::new(router(1));
        for number in 1..=5 {
            pending.push(input(number, None, 10)).unwrap();
        }
        pending.halve(0);
        assert_eq!(numbers(&mut pending, 0), [(1, 2), (3, 5)]);
    }

    #[test]
    fn a_record_gets_what_all_get_and_keeps_its_own() {
        let header = |key: &'static str| Header { key: key.into(), value: None };
        let router = Router { key: Some("k".into()), headers: vec![header("all")], ..router(3) };
        let own = Input { headers: vec![header("own")], partition: Some(2), ..Input::default() };
        let (partition, record) = router.route(own.clone()).unwrap();
        assert_eq!((partition, record.key), (2, Some("k".into())));
        assert_eq!(record.headers, [header("all"), header("own")]);
        let fixed = Router { fixed: Some(1), ..router.clone() };
        assert_eq!(fixed.route(own).unwrap().0, 1);
        let wrong = router.route(Input { partition: Some(3), ..Input::default() });
        assert!(wrong.unwrap_err().to_string().contains("partition 3"));
    }
}
