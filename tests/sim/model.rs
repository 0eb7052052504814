//! What clients saw, and what they may never see: the invariants of correctness.md §2 that clients
//! can tell, checked with every answer.

use std::{collections::BTreeMap, sync::Mutex};

use strandline::record::{BatchView, Limits};
use tokio::sync::Notify;

/// A record's value: who made it, and which one of his it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    pub producer: u32,
    pub number: u32,
}

impl Value {
    /// The whole text of the record, from which nothing may differ.
    pub fn text(self) -> String {
        let mut filler = u64::from(self.producer) << 32 | u64::from(self.number);
        filler = filler.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let length = usize::try_from(filler >> 56).unwrap();
        let mut text = format!("{}:{}:", self.producer, self.number);
        while text.len() < length {
            text.push_str(&format!("{filler:016x}"));
            filler = filler.rotate_left(7).wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        text
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split(':');
        let value =
            Self { producer: parts.next()?.parse().ok()?, number: parts.next()?.parse().ok()? };
        (value.text() == text).then_some(value)
    }
}

/// What is known of a value's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Acknowledged,
    /// Refused for certain: nobody may ever read it.
    Refused,
}

/// One partition, as clients know it.
#[derive(Debug, Default)]
struct Line {
    at: BTreeMap<i64, Value>,
    places: BTreeMap<Value, i64>,
    fates: BTreeMap<Value, Fate>,
    /// Above every acknowledged record.
    acknowledged: i64,
    /// The highest end that anybody was told.
    end: i64,
    /// The highest log start that anybody was told.
    start: i64,
    /// Up to here records may go.
    may_go: i64,
}

#[derive(Debug, Default)]
struct Commits {
    acknowledged: i64,
    tried: i64,
}

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<Line>,
    commits: BTreeMap<(String, i32), Commits>,
    violation: Option<String>,
    acknowledged: u64,
    read: u64,
}

/// What held when a request was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    end: i64,
    start: i64,
    acknowledged: i64,
}

#[derive(Debug, Default)]
pub struct Model {
    inner: Mutex<Inner>,
    pub failed: Notify,
}

impl Model {
    pub fn new(partitions: i32) -> Self {
        let lines = (0..partitions).map(|_| Line::default()).collect();
        Self { inner: Mutex::new(Inner { lines, ..Inner::default() }), failed: Notify::new() }
    }

    pub fn violated(&self, invariant: &str, text: impl Into<String>) {
        self.inner.lock().unwrap().violated(invariant, text.into());
        self.failed.notify_one();
    }

    pub fn violation(&self) -> Option<String> {
        self.inner.lock().unwrap().violation.clone()
    }

    /// Acknowledged, read.
    pub fn counts(&self) -> (u64, u64) {
        let inner = self.inner.lock().unwrap();
        (inner.acknowledged, inner.read)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock().unwrap();
        let done = work(&mut inner);
        let failed = inner.violation.is_some();
        drop(inner);
        if failed {
            self.failed.notify_one();
        }
        done
    }

    /// Before a request about a partition.
    pub fn mark(&self, partition: i32) -> Mark {
        self.with(|inner| {
            let line = inner.line(partition);
            Mark { end: line.end, start: line.start, acknowledged: line.acknowledged }
        })
    }

    pub fn sending(&self, partition: i32, values: &[Value]) -> Mark {
        self.with(|inner| {
            let line = inner.line(partition);
            for value in values {
                line.fates.insert(*value, Fate::Open);
            }
        });
        self.mark(partition)
    }

    pub fn acknowledged(&self, partition: i32, values: &[Value], base: i64, sent: Mark) {
        self.with(|inner| {
            if base < sent.acknowledged {
                let text = format!(
                    "{:?} got {partition}@{base}, though {} was acknowledged before it was sent",
                    values[0],
                    sent.acknowledged - 1
                );
                inner.violated("I4 order", text);
            }
            for (value, offset) in values.iter().zip(base..) {
                inner.learn(partition, offset, *value);
                inner.line(partition).fates.insert(*value, Fate::Acknowledged);
                inner.acknowledged += 1;
            }
            let line = inner.line(partition);
            line.acknowledged = line.acknowledged.max(base + values.len() as i64);
        });
    }

    pub fn refused(&self, partition: i32, values: &[Value]) {
        self.with(|inner| {
            for value in values {
                inner.line(partition).fates.insert(*value, Fate::Refused);
                if let Some(offset) = inner.line(partition).places.get(value).copied() {
                    let text = format!("{value:?} was refused and is at {partition}@{offset}");
                    inner.violated("H18 refused and there", text);
                }
            }
        });
    }

    /// Somebody was told where a partition starts and ends.
    pub fn told(&self, partition: i32, start: Option<i64>, end: Option<i64>, sent: Mark) {
        self.with(|inner| inner.told(partition, start, end, sent));
    }

    /// Records before `before` may go from now on.
    pub fn may_go(&self, partition: i32, before: i64) {
        self.with(|inner| {
            let line = inner.line(partition);
            line.may_go = line.may_go.max(before);
        });
    }

    /// A reader at `from` got these records; the next offset to read.
    pub fn read(
        &self,
        partition: i32,
        from: i64,
        fetched: &super::wire::Fetched,
        sent: Mark,
    ) -> i64 {
        self.with(|inner| {
            let (start, end) = (fetched.log_start, fetched.high_watermark);
            inner.told(partition, Some(start), Some(end), sent);
            match BatchView::split(fetched.records.clone()) {
                Ok(batches) => inner.batches(partition, from, &batches, end),
                Err(error) => {
                    inner.violated("I1 what is read", format!("{partition}@{from}: {error}"));
                    from
                }
            }
        })
    }

    /// A complete read of `start..end` is over: nothing acknowledged may be missing of it.
    pub fn complete(&self, partition: i32, start: i64, end: i64) {
        self.with(|inner| {
            let line = inner.line(partition);
            let lost = line.fates.iter().filter(|(_, fate)| **fate == Fate::Acknowledged).find(
                |(value, _)| line.places.get(value).is_none_or(|at| *at >= end && *at >= start),
            );
            if let Some((value, _)) = lost {
                let at = line.places.get(value);
                let text = format!("{value:?} of {partition}@{at:?} is not in {start}..{end}");
                inner.violated("I1 acknowledged is durable", text);
            }
        });
    }

    pub fn committing(&self, group: &str, partition: i32, offset: i64) {
        self.with(|inner| {
            let commits = inner.commits.entry((group.to_owned(), partition)).or_default();
            commits.tried = offset;
        });
    }

    pub fn committed(&self, group: &str, partition: i32, offset: i64) {
        self.with(|inner| {
            let commits = inner.commits.entry((group.to_owned(), partition)).or_default();
            commits.acknowledged = offset;
        });
    }

    /// Somebody was told what is committed.
    pub fn fetched_commit(&self, group: &str, partition: i32, offset: i64) {
        self.with(|inner| {
            let commits = inner.commits.entry((group.to_owned(), partition)).or_default();
            let never = commits.acknowledged == 0 && offset == -1;
            if !never && (offset < commits.acknowledged || offset > commits.tried) {
                let text = format!("{group} {partition}: {offset} of {commits:?}");
                inner.violated("I15 commits", text);
            }
        });
    }
}

impl Inner {
    fn line(&mut self, partition: i32) -> &mut Line {
        &mut self.lines[usize::try_from(partition).unwrap()]
    }

    /// The first violation counts.
    fn violated(&mut self, invariant: &str, text: impl std::fmt::Display) {
        self.violation.get_or_insert_with(|| format!("{invariant}: {text}"));
    }

    fn learn(&mut self, partition: i32, offset: i64, value: Value) {
        let line = self.line(partition);
        let other = *line.at.entry(offset).or_insert(value);
        let place = *line.places.entry(value).or_insert(offset);
        if other != value {
            let text = format!("{partition}@{offset} is {value:?} and was {other:?}");
            self.violated("I2 one value per offset", text);
        } else if place != offset {
            let text = format!("{value:?} is at {partition}@{offset} and at {place}");
            self.violated("I11 once", text);
        }
    }

    fn told(&mut self, partition: i32, start: Option<i64>, end: Option<i64>, sent: Mark) {
        let line = self.line(partition);
        if let Some(end) = end {
            let least = sent.end.max(sent.acknowledged);
            line.end = line.end.max(end);
            if end < least {
                let text = format!("{partition} ends at {end}, and {least} was known before");
                self.violated("I5 the end never goes back", text);
            }
        }
        let line = self.line(partition);
        if let Some(start) = start {
            line.start = line.start.max(start);
            let may_go = line.may_go;
            if start < sent.start {
                let text = format!("{partition} starts at {start}, and {} was known", sent.start);
                self.violated("I5 the start never goes back", text);
            } else if start > may_go {
                let text = format!("{partition} starts at {start}, and may at {may_go}");
                self.violated("I1 nothing goes by itself", text);
            }
        }
    }

    fn batches(&mut self, partition: i32, from: i64, batches: &[BatchView], end: i64) -> i64 {
        let mut next = from;
        for batch in batches {
            let (base, last) = (batch.base_offset().0, batch.end_offset().0);
            // A reader may begin in the middle of a batch.
            let begins = next == from && base <= from && last > from;
            if base != next && !begins {
                let text = format!("{partition}@{next} is followed by {base}..{last}");
                self.violated("I3 no gap, no overlap", text);
                return next;
            }
            if last > end {
                let text = format!("{partition}: {base}..{last} beyond the end {end}");
                self.violated("I5 only what is committed is shown", text);
            }
            let records = batch
                .check_crc()
                .and_then(|()| batch.records(&Limits::for_batches_of(1 << 20)))
                .and_then(|records| records.collect::<Result<Vec<_>, _>>());
            let records = match records {
                Ok(records) => records,
                Err(error) => {
                    self.violated("I1 what is read", format!("{partition}@{base}: {error}"));
                    return next;
                }
            };
            for record in records {
                let bytes = record.value.unwrap_or_default();
                let Some(value) = Value::parse(&bytes) else {
                    let text = format!("{partition}@{}: {bytes:?}", record.offset);
                    self.violated("I1 what is read", text);
                    continue;
                };
                self.learn(partition, record.offset.0, value);
                self.read += 1;
                match self.line(partition).fates.get(&value) {
                    Some(Fate::Open | Fate::Acknowledged) => {}
                    fate => {
                        let text =
                            format!("{value:?} at {partition}@{} is {fate:?}", record.offset);
                        self.violated("G1 only what was sent and not refused is read", text);
                    }
                }
            }
            next = last;
        }
        next
    }
}
