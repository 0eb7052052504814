//! The checks, each by the name of the anomaly it finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Batch, History, Log, Op, Outcome, Value, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Two values at one offset.
    InconsistentOffset,
    /// One value at two offsets.
    Duplicate,
    /// Acknowledged, and not there at the end.
    Lost,
    /// Read, and never sent, or refused for good.
    Phantom,
    /// Offsets between two batches that are in none.
    Gap,
    /// A reader was not given what came next.
    PollSkip,
    /// A reader was given again what it had.
    PollRepeat,
    /// Records of one producer that are not in the order it sent them in.
    SendOrder,
    /// What began after something had ended is before it.
    RealTime,
    /// An end that is before what was known to be there.
    StaleEnd,
    /// An end that is behind all that was ever sent.
    FutureEnd,
    /// A group's place went back, or was forgotten.
    CommitLost,
    /// A group's place that nobody wrote.
    CommitPhantom,
    /// A group that went past what no member of it read.
    GroupSkip,
    /// A follower that never came to see what was acknowledged.
    Unseen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anomaly {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) anomalies: Vec<Anomaly>,
    pub(crate) sent: usize,
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    pub(crate) read: usize,
    /// Microseconds between two acknowledged sends of a partition, the longest.
    pub(crate) longest_gap: BTreeMap<i32, u64>,
}

impl Judgement {
    fn tell(&mut self, kind: Kind, text: String) {
        self.anomalies.push(Anomaly { kind, text });
    }

    /// The kinds found, each once.
    pub(crate) fn kinds(&self) -> BTreeSet<Kind> {
        self.anomalies.iter().map(|anomaly| anomaly.kind).collect()
    }
}

/// Judges a whole history.
pub(crate) fn judge(history: &History) -> Judgement {
    let mut judgement = Judgement::default();
    let mut by_partition: BTreeMap<i32, Vec<&Op>> = BTreeMap::new();
    for op in &history.ops {
        by_partition.entry(op.partition).or_default().push(op);
    }
    let none = Log::default();
    for (partition, mut ops) in by_partition {
        ops.sort_by_key(|op| (op.start, op.end));
        let log = history.finals.get(&partition);
        let view = View { partition, history, ops: &ops, log: log.unwrap_or(&none) };
        view.places(&mut judgement);
        view.tiling(&mut judgement);
        view.polls(&mut judgement);
        view.order(&mut judgement);
        view.real_time(&mut judgement);
        view.groups(&mut judgement);
        view.followers(&mut judgement);
        view.measure(&mut judgement);
    }
    duplicates(history, &mut judgement);
    judgement
}

/// One partition's part of a history.
struct View<'a> {
    partition: i32,
    history: &'a History,
    /// By their start.
    ops: &'a [&'a Op],
    log: &'a Log,
}

/// A group's place: the operation, the offset, and whether it was written or told.
type Place<'a> = (&'a Op, Option<i64>, bool);
type Sent<'a> = BTreeMap<Value, &'a Op>;

impl<'a> View<'a> {
    fn at(&self, offset: i64) -> String {
        format!("{}@{offset}", self.partition)
    }

    fn sends(&self) -> impl Iterator<Item = (&'a Op, &'a Vec<Value>, Option<i64>)> + '_ {
        self.ops.iter().filter_map(|op| match &op.what {
            What::Send { values, base } => Some((*op, values, *base)),
            _ => None,
        })
    }

    fn polls_of(&self, process: u32) -> impl Iterator<Item = (&'a Op, &'a Vec<Batch>)> + '_ {
        self.ops.iter().filter(move |op| op.process == process).filter_map(|op| match &op.what {
            What::Poll { batches, .. } => Some((*op, batches)),
            _ => None,
        })
    }

    /// Every record anybody read, the last reader too.
    fn read(&self) -> impl Iterator<Item = (i64, Value)> + '_ {
        let polled = self.ops.iter().flat_map(|op| match &op.what {
            What::Poll { batches, .. } => batches.as_slice(),
            _ => &[],
        });
        let records = polled.chain(&self.log.batches).flat_map(|batch| &batch.records);
        records.copied()
    }

    /// Inconsistent offsets, phantoms, lost records.
    fn places(&self, judgement: &mut Judgement) {
        let mut sent: Sent<'_> = BTreeMap::new();
        let mut at: BTreeMap<i64, Value> = BTreeMap::new();
        for (op, values, base) in self.sends() {
            sent.extend(values.iter().map(|value| (*value, op)));
            if let (Some(base), Outcome::Ok) = (base, op.outcome) {
                for (offset, value) in (base..).zip(values) {
                    self.place(&mut at, offset, *value, judgement);
                }
            }
        }
        for (offset, value) in self.read() {
            self.place(&mut at, offset, value, judgement);
            match sent.get(&value) {
                None => {
                    let text = format!("{value:?} at {} was never sent", self.at(offset));
                    judgement.tell(Kind::Phantom, text);
                }
                Some(op) if op.outcome == Outcome::Fail => {
                    let text = format!("{value:?} at {} was refused", self.at(offset));
                    judgement.tell(Kind::Phantom, text);
                }
                Some(_) => {}
            }
        }
        let found: BTreeSet<(i64, Value)> =
            self.log.batches.iter().flat_map(|batch| batch.records.iter().copied()).collect();
        for (op, values, base) in self.sends().filter(|(op, ..)| op.outcome == Outcome::Ok) {
            for (offset, value) in (base.unwrap_or(0)..).zip(values) {
                if offset >= self.log.start && !found.contains(&(offset, *value)) {
                    let (start, end) = (op.start, op.end);
                    let text = format!("{value:?} at {}, sent {start}..{end} us", self.at(offset));
                    judgement.tell(Kind::Lost, text);
                }
            }
        }
    }

    fn place(
        &self,
        at: &mut BTreeMap<i64, Value>,
        offset: i64,
        value: Value,
        judgement: &mut Judgement,
    ) {
        let first = *at.entry(offset).or_insert(value);
        if first != value {
            let text = format!("{first:?} and {value:?} at {}", self.at(offset));
            judgement.tell(Kind::InconsistentOffset, text);
        }
    }

    /// Raw batches follow each other, in the last read from start to end.
    fn tiling(&self, judgement: &mut Judgement) {
        let mut next = self.log.start;
        for batch in &self.log.batches {
            if batch.base > next {
                let text = format!("nothing from {} to {}", self.at(next), batch.base);
                judgement.tell(Kind::Gap, text);
            } else if batch.base < next && batch.base >= self.log.start {
                let text = format!("from {} to {next} twice", self.at(batch.base));
                judgement.tell(Kind::InconsistentOffset, text);
            }
            next = batch.end;
        }
        if next != self.log.end && self.log.end > self.log.start {
            let text = format!("nothing from {} to its end {}", self.at(next), self.log.end);
            judgement.tell(Kind::Gap, text);
        }
    }

    /// Each reader is given what follows what it has.
    fn polls(&self, judgement: &mut Judgement) {
        let mut next: BTreeMap<u32, i64> = BTreeMap::new();
        for op in self.ops {
            match &op.what {
                What::Assign { from } => {
                    next.insert(op.process, *from);
                }
                What::Poll { from, batches } => {
                    let due = next.entry(op.process).or_insert(*from);
                    for batch in batches {
                        for (offset, _) in &batch.records {
                            if offset != due {
                                let repeat = offset < due;
                                let kind = if repeat { Kind::PollRepeat } else { Kind::PollSkip };
                                let (process, place) = (op.process, self.at(*offset));
                                judgement
                                    .tell(kind, format!("process {process} got {place} for {due}"));
                            }
                            *due = offset + 1;
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Records of producers that keep an order are in it.
    fn order(&self, judgement: &mut Judgement) {
        let mut last: BTreeMap<u32, (u64, i64)> = BTreeMap::new();
        for (offset, value) in self.log.batches.iter().flat_map(|batch| &batch.records) {
            if !self.history.in_order.contains(&value.producer) {
                continue;
            }
            let before = last.insert(value.producer, (value.sequence, *offset));
            // One that is there twice is a duplicate, told as such.
            if let Some((sequence, earlier)) = before.filter(|it| it.0 > value.sequence) {
                let producer = value.producer;
                let text = format!(
                    "{sequence} of producer {producer} at {}, {} at {offset}",
                    self.at(earlier),
                    value.sequence
                );
                judgement.tell(Kind::SendOrder, text);
            }
        }
    }

    /// What ended before something began is before it; ends lie between what was known and what
    /// was begun.
    fn real_time(&self, judgement: &mut Judgement) {
        let mut ended: Vec<(u64, i64)> =
            self.ops.iter().filter_map(|op| Some((op.end, op.reach()?))).collect();
        ended.sort_unstable();
        let (mut known, mut at) = (0, 0);
        for op in self.ops.iter().filter(|op| op.outcome == Outcome::Ok) {
            while let Some((_, reach)) = ended.get(at).filter(|(end, _)| *end < op.start) {
                known = known.max(*reach);
                at += 1;
            }
            match &op.what {
                What::Send { base: Some(base), .. } if *base < known => {
                    let text = format!("sent to {} when {known} were there", self.at(*base));
                    judgement.tell(Kind::RealTime, text);
                }
                What::End { offset } if *offset < known => {
                    let text = format!("told the end {} when {known} were there", self.at(*offset));
                    judgement.tell(Kind::StaleEnd, text);
                }
                _ => {}
            }
        }
        self.future(judgement);
    }

    /// No end lies behind all that anybody had begun to send.
    fn future(&self, judgement: &mut Judgement) {
        let offsets: BTreeMap<Value, i64> =
            self.read().map(|(offset, value)| (value, offset)).collect();
        let mut begun: Vec<(u64, i64)> = Vec::new();
        for (op, values, base) in self.sends() {
            let acknowledged = base.filter(|_| op.outcome == Outcome::Ok);
            let last = values.last().and_then(|last| {
                let count = i64::try_from(values.len()).unwrap();
                acknowledged.map(|base| base + count).or(offsets.get(last).map(|at| at + 1))
            });
            begun.extend(last.map(|last| (op.start, last)));
        }
        begun.sort_unstable();
        let mut by_end: Vec<&&Op> = self.ops.iter().collect();
        by_end.sort_by_key(|op| op.end);
        let (mut most, mut at) = (0, 0);
        for op in by_end {
            while let Some((_, last)) = begun.get(at).filter(|(start, _)| *start < op.end) {
                most = most.max(*last);
                at += 1;
            }
            if let What::End { offset } = op.what
                && offset > most
                && op.outcome == Outcome::Ok
            {
                let text = format!("told the end {} when {most} were begun", self.at(offset));
                judgement.tell(Kind::FutureEnd, text);
            }
        }
    }

    /// A group's place is the last one written, and what is below it was read.
    fn groups(&self, judgement: &mut Judgement) {
        let mut groups: BTreeMap<&str, Vec<Place<'_>>> = BTreeMap::new();
        for op in self.ops {
            match &op.what {
                What::Commit { group, offset } => {
                    groups.entry(group).or_default().push((op, Some(*offset), true));
                }
                What::Committed { group, offset } if op.outcome == Outcome::Ok => {
                    groups.entry(group).or_default().push((op, *offset, false));
                }
                _ => {}
            }
        }
        for (group, ops) in groups {
            for (op, found, _) in ops.iter().filter(|(.., is_write)| !is_write) {
                let found = found.unwrap_or(-1);
                let sure = |(other, _, _): &&Place<'_>| {
                    other.outcome == Outcome::Ok && other.end < op.start
                };
                let least = ops.iter().filter(sure).filter_map(|it| it.1).max().unwrap_or(-1);
                let begun = |(other, _, is_write): &&Place<'_>| {
                    *is_write && other.outcome != Outcome::Fail && other.start < op.end
                };
                let most = ops.iter().filter(begun).filter_map(|it| it.1).max().unwrap_or(-1);
                let text = format!("{group} was told {} ", self.at(found));
                if found < least {
                    judgement.tell(Kind::CommitLost, format!("{text} and had {least}"));
                }
                if found > most {
                    judgement.tell(Kind::CommitPhantom, format!("{text} and wrote at most {most}"));
                }
            }
            self.coverage(group, &ops, judgement);
        }
    }

    fn coverage(&self, group: &str, ops: &[Place<'_>], judgement: &mut Judgement) {
        let Some(members) = self.history.followers.get(group) else { return };
        let mut read: Vec<(u64, i64)> = Vec::new();
        for member in members {
            for (op, batches) in self.polls_of(*member) {
                let offsets = batches.iter().flat_map(|batch| &batch.records);
                read.extend(offsets.map(|(offset, _)| (op.end, *offset)));
            }
        }
        read.sort_unstable();
        let (mut seen, mut at, mut covered) = (BTreeSet::new(), 0, self.log.start);
        let mut commits: Vec<_> = ops.iter().filter(|(.., is_write)| *is_write).collect();
        commits.sort_by_key(|(op, ..)| op.start);
        for (op, offset, _) in commits {
            while let Some((_, offset)) = read.get(at).filter(|(end, _)| *end <= op.start) {
                seen.insert(*offset);
                at += 1;
            }
            while seen.contains(&covered) {
                covered += 1;
            }
            let offset = offset.unwrap_or(0);
            if offset > covered {
                let text =
                    format!("{group} wrote {} and has read up to {covered}", self.at(offset));
                judgement.tell(Kind::GroupSkip, text);
            }
        }
    }

    /// Whoever follows a partition saw all that was acknowledged.
    fn followers(&self, judgement: &mut Judgement) {
        for (group, members) in &self.history.followers {
            let mut polls = members.iter().flat_map(|member| self.polls_of(*member)).peekable();
            if polls.peek().is_none() {
                continue;
            }
            let seen: BTreeSet<Value> = polls
                .flat_map(|(_, batches)| batches.iter().flat_map(|batch| &batch.records))
                .map(|(_, value)| *value)
                .collect();
            for (_, values, base) in self.sends().filter(|(op, ..)| op.outcome == Outcome::Ok) {
                for (offset, value) in (base.unwrap_or(0)..).zip(values) {
                    if !seen.contains(value) && offset >= self.log.start {
                        let text = format!("{group} never saw {value:?} at {}", self.at(offset));
                        judgement.tell(Kind::Unseen, text);
                    }
                }
            }
        }
    }

    fn measure(&self, judgement: &mut Judgement) {
        let mut acks = Vec::new();
        for (op, values, _) in self.sends() {
            judgement.sent += values.len();
            match op.outcome {
                Outcome::Ok => {
                    judgement.acknowledged += values.len();
                    acks.push(op.end);
                }
                Outcome::Info => judgement.unknown += values.len(),
                Outcome::Fail => {}
            }
        }
        judgement.read += self.read().count();
        acks.sort_unstable();
        let gaps = acks.iter().zip(acks.iter().skip(1)).map(|(one, next)| next - one);
        judgement.longest_gap.insert(self.partition, gaps.max().unwrap_or(0));
    }
}

/// One value is in one place.
fn duplicates(history: &History, judgement: &mut Judgement) {
    let mut places: BTreeMap<Value, (i32, i64)> = BTreeMap::new();
    let mut records = Vec::new();
    for op in &history.ops {
        if let What::Poll { batches, .. } = &op.what {
            let read = batches.iter().flat_map(|batch| &batch.records);
            records.extend(read.map(|(offset, value)| (op.partition, *offset, *value)));
        }
    }
    for (partition, log) in &history.finals {
        let read = log.batches.iter().flat_map(|batch| &batch.records);
        records.extend(read.map(|(offset, value)| (*partition, *offset, *value)));
    }
    let mut told = BTreeSet::new();
    for (partition, offset, value) in records {
        let first = *places.entry(value).or_insert((partition, offset));
        let repeats = history.may_repeat.contains(&value.producer);
        if first != (partition, offset) && !repeats && told.insert(value) {
            let text = format!("{value:?} at {}@{} and {partition}@{offset}", first.0, first.1);
            judgement.tell(Kind::Duplicate, text);
        }
    }
}
