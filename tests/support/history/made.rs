//! Histories that are made: of a log that is right, and each kind of wrong done to one.

use std::collections::BTreeMap;

use strandline::env::{entropy::Entropy, sim::SimEntropy};

use super::{Batch, History, Log, Op, Outcome, Value, What, check::Kind};

/// The group whose one member follows partition 0.
pub(crate) const GROUP: &str = "followers";
const FOLLOWER: u32 = 100;
const COMMITTER: u32 = 101;

/// A log that gives right answers at a moment between the start and the end of each operation.
struct Maker {
    chance: SimEntropy,
    now: u64,
    history: History,
    /// By partition.
    logs: BTreeMap<i32, Vec<Batch>>,
}

impl Maker {
    fn below(&self, limit: u64) -> u64 {
        self.chance.below(limit.max(1))
    }

    /// Start, moment and end of an operation that may overlap the last ones.
    fn times(&mut self) -> (u64, u64) {
        self.now += 10;
        let (before, after) = (self.below(9), self.below(9));
        (self.now - before - 1, self.now + after + 1)
    }

    fn note(&mut self, process: u32, partition: i32, outcome: Outcome, what: What) {
        let (start, end) = self.times();
        self.history.ops.push(Op { process, partition, start, end, outcome, what });
    }

    fn end(&self, partition: i32) -> i64 {
        self.logs.get(&partition).and_then(|log| log.last()).map_or(0, |batch| batch.end)
    }

    fn send(&mut self, producer: u32, sequence: &mut u64, partition: i32) {
        let count = 1 + self.below(3);
        let values: Vec<Value> =
            (*sequence..*sequence + count).map(|sequence| Value { producer, sequence }).collect();
        *sequence += count;
        let base = self.end(partition);
        let (outcome, landed) = match self.below(10) {
            0 => (Outcome::Fail, false),
            1 => (Outcome::Info, false),
            2 => (Outcome::Info, true),
            _ => (Outcome::Ok, true),
        };
        if landed {
            let records: Vec<_> = (base..).zip(values.iter().copied()).collect();
            let end = base + i64::try_from(count).unwrap();
            self.logs.entry(partition).or_default().push(Batch { base, end, records });
        }
        let base = (outcome == Outcome::Ok).then_some(base);
        self.note(producer, partition, outcome, What::Send { values, base });
    }

    fn poll(&mut self, process: u32, partition: i32, from: i64, most: usize) -> i64 {
        let log = self.logs.get(&partition).map_or(&[][..], Vec::as_slice);
        let batches: Vec<Batch> =
            log.iter().filter(|batch| batch.base >= from).take(most).cloned().collect();
        let next = batches.last().map_or(from, |batch| batch.end);
        self.note(process, partition, Outcome::Ok, What::Poll { from, batches });
        next
    }
}

/// The history of a right log, of about so many operations.
pub(crate) fn right(seed: u64, length: usize) -> History {
    let history = History { in_order: vec![0, 1], ..History::default() };
    let chance = SimEntropy::seeded(seed);
    let mut maker = Maker { chance, now: 100, history, logs: BTreeMap::new() };
    maker.history.followers.insert(GROUP.to_owned(), vec![FOLLOWER]);
    let mut sequences = [0; 2];
    let (mut place, mut committed) = (0, 0);
    let mut other = 0;
    for _ in 0..length {
        match maker.below(12) {
            producer @ 0..4 => {
                let at = usize::try_from(producer % 2).unwrap();
                let mut sequence = sequences[at];
                let partition = i32::try_from(maker.below(2)).unwrap();
                maker.send(u32::try_from(at).unwrap(), &mut sequence, partition);
                sequences[at] = sequence;
            }
            4..6 => place = maker.poll(FOLLOWER, 0, place, 3),
            6..8 => other = maker.poll(FOLLOWER + 5, 1, other, 2),
            8 => {
                let partition = i32::try_from(maker.below(2)).unwrap();
                let offset = maker.end(partition);
                maker.note(50, partition, Outcome::Ok, What::End { offset });
            }
            9..11 if place > committed => {
                // The poll before has ended, and so has the commit when the next one begins.
                maker.now += 20;
                committed = place;
                let what = What::Commit { group: GROUP.to_owned(), offset: committed };
                maker.note(COMMITTER, 0, Outcome::Ok, what);
                maker.now += 20;
            }
            _ => {
                let offset = (committed > 0).then_some(committed);
                let what = What::Committed { group: GROUP.to_owned(), offset };
                maker.note(COMMITTER + 1, 0, Outcome::Ok, what);
            }
        }
    }
    maker.poll(FOLLOWER, 0, place, usize::MAX);
    for partition in 0..2 {
        let batches = maker.logs.remove(&partition).unwrap_or_default();
        let end = batches.last().map_or(0, |batch| batch.end);
        maker.history.finals.insert(partition, Log { start: 0, end, batches });
    }
    maker.history
}

/// Does one wrong of this kind to a right history; `false` when there is no place for it.
pub(crate) fn spoil(history: &mut History, kind: Kind, chance: u64) -> bool {
    match kind {
        Kind::InconsistentOffset => change_acknowledged(history),
        Kind::Phantom => change_final(history, |log| {
            let Some(last) = log.batches.last_mut() else { return false };
            last.records[0].1 = Value { producer: 77, sequence: 0 };
            true
        }),
        Kind::Duplicate => change_final(history, |log| {
            let Some((_, value)) = log.batches.first().map(|batch| batch.records[0]) else {
                return false;
            };
            let base = log.end;
            let batch = Batch { base, end: base + 1, records: vec![(base, value)] };
            log.batches.push(batch);
            log.end += 1;
            true
        }),
        Kind::Lost => lose(history, 1),
        Kind::Gap => change_final(history, |log| {
            let at = log.batches.len() / 2;
            let inner = log.batches.len() > 2;
            if inner {
                log.batches.remove(at);
            }
            inner
        }),
        Kind::PollSkip => change_poll(history, |batches| {
            let inner = batches.len() > 1;
            if inner {
                batches.remove(0);
            }
            inner
        }),
        Kind::PollRepeat => change_poll(history, |batches| {
            batches.first().cloned().is_some_and(|first| {
                batches.insert(0, first);
                true
            })
        }),
        Kind::SendOrder => swap_in_order(history),
        Kind::RealTime => swap_in_time(history),
        Kind::StaleEnd => change_end(history, |offset| *offset -= 1, chance),
        Kind::FutureEnd => change_end(history, |offset| *offset += 10_000, chance),
        Kind::CommitLost => change_committed(history, |offset| *offset = None),
        Kind::CommitPhantom => change_committed(history, |offset| *offset = Some(10_000)),
        Kind::GroupSkip => change_last(history, |what| match what {
            What::Commit { offset, .. } => {
                *offset += 1;
                true
            }
            _ => false,
        }),
        Kind::Unseen => {
            let acknowledged = last_acknowledged(history, 0);
            let mut done = false;
            for op in &mut history.ops {
                if let (FOLLOWER, What::Poll { batches, .. }) = (op.process, &mut op.what) {
                    for batch in batches {
                        let before = batch.records.len();
                        batch.records.retain(|(_, value)| Some(*value) != acknowledged);
                        done |= batch.records.len() < before;
                    }
                }
            }
            done
        }
    }
}

fn change_final(history: &mut History, change: impl Fn(&mut Log) -> bool) -> bool {
    history.finals.values_mut().any(change)
}

fn change_last(history: &mut History, mut change: impl FnMut(&mut What) -> bool) -> bool {
    history.ops.iter_mut().rev().any(|op| change(&mut op.what))
}

fn change_poll(history: &mut History, change: impl Fn(&mut Vec<Batch>) -> bool) -> bool {
    change_last(history, |what| match what {
        What::Poll { batches, .. } => change(batches),
        _ => false,
    })
}

/// Puts another value where one was acknowledged.
fn change_acknowledged(history: &mut History) -> bool {
    let singles = singles(history);
    let Some((partition, .., value)) = singles.first() else { return false };
    let log = history.finals.entry(*partition).or_default();
    let mut records = log.batches.iter_mut().flat_map(|batch| &mut batch.records);
    let other = singles.last().map_or(*value, |last| last.3);
    records.find(|record| record.1 == *value).is_some_and(|record| {
        record.1 = other;
        other != *value
    })
}

/// Takes what was acknowledged last out of the last read, its whole batch, as if the end were
/// before it.
fn lose(history: &mut History, partition: i32) -> bool {
    let Some(value) = last_acknowledged(history, partition) else { return false };
    let log = history.finals.entry(partition).or_default();
    let holds = |batch: &Batch| batch.records.iter().any(|(_, it)| *it == value);
    let Some(at) = log.batches.iter().position(holds) else { return false };
    log.batches.truncate(at);
    log.end = log.batches.last().map_or(0, |batch| batch.end);
    true
}

fn last_acknowledged(history: &History, partition: i32) -> Option<Value> {
    let ops = history.ops.iter().filter(|op| op.partition == partition);
    let mut sends = ops.filter(|op| op.outcome == Outcome::Ok).filter_map(|op| match &op.what {
        What::Send { values, .. } => values.last().copied(),
        _ => None,
    });
    sends.next_back()
}

/// Lets two values change places everywhere, so that only their order is wrong.
fn swap(history: &mut History, one: Value, other: Value) {
    let swapped = |value: Value| match value {
        value if value == one => other,
        value if value == other => one,
        value => value,
    };
    let places: BTreeMap<Value, i64> = records(history).map(|(_, at, value)| (value, at)).collect();
    let polled = history.ops.iter_mut().filter_map(|op| match &mut op.what {
        What::Poll { batches, .. } => Some(batches),
        _ => None,
    });
    let finals = history.finals.values_mut().map(|log| &mut log.batches);
    for batch in polled.chain(finals).flatten() {
        batch.records.iter_mut().for_each(|record| record.1 = swapped(record.1));
    }
    for op in &mut history.ops {
        if let What::Send { values, base: Some(base) } = &mut op.what {
            *base = places[&swapped(values[0])];
        }
    }
}

fn records(history: &History) -> impl Iterator<Item = (i32, i64, Value)> + '_ {
    history.finals.iter().flat_map(|(partition, log)| {
        let records = log.batches.iter().flat_map(|batch| &batch.records);
        records.map(|(offset, value)| (*partition, *offset, *value))
    })
}

/// Acknowledged sends of one record: partition, start, end, value.
fn singles(history: &History) -> Vec<(i32, u64, u64, Value)> {
    let ops = history.ops.iter().filter(|op| op.outcome == Outcome::Ok);
    let singles = ops.filter_map(|op| match &op.what {
        What::Send { values, .. } if values.len() == 1 => {
            Some((op.partition, op.start, op.end, values[0]))
        }
        _ => None,
    });
    singles.collect()
}

fn swap_pair(
    history: &mut History,
    wanted: impl Fn(&(i32, u64, u64, Value), &(i32, u64, u64, Value)) -> bool,
) -> bool {
    let singles = singles(history);
    for one in &singles {
        let Some(other) = singles.iter().find(|other| one.0 == other.0 && wanted(one, other))
        else {
            continue;
        };
        swap(history, one.3, other.3);
        return true;
    }
    false
}

fn swap_in_order(history: &mut History) -> bool {
    swap_pair(history, |one, other| {
        one.3.producer == other.3.producer && one.3.sequence < other.3.sequence
    })
}

fn swap_in_time(history: &mut History) -> bool {
    swap_pair(history, |one, other| one.2 < other.1)
}

/// Changes an end that everything before it had ended for.
fn change_end(history: &mut History, change: impl Fn(&mut i64), chance: u64) -> bool {
    let ops = history.ops.clone();
    let known = |op: &Op| {
        let before = ops.iter().filter(|it| it.partition == op.partition && it.end < op.start);
        before.filter_map(Op::reach).max().unwrap_or(0)
    };
    let mut ends: Vec<&mut Op> = history
        .ops
        .iter_mut()
        .filter(|op| matches!(op.what, What::End { offset } if offset > 0 && offset == known(op)))
        .collect();
    let count = ends.len();
    if count == 0 {
        return false;
    }
    let at = usize::try_from(chance).unwrap_or(0) % count;
    if let What::End { offset } = &mut ends[at].what {
        change(offset);
    }
    true
}

fn change_committed(history: &mut History, change: impl Fn(&mut Option<i64>)) -> bool {
    change_last(history, |what| match what {
        What::Committed { offset, .. } if offset.is_some() => {
            change(offset);
            true
        }
        _ => false,
    })
}
