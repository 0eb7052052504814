//! What clients did and what they were told, and whether a log can have answered so.
//!
//! The system tells offsets, so the order is known and no search is needed: every check is a sweep
//! over sorted operations. Each send's place in the order is its offset; with that, checks of real
//! time make it a whole linearizability check of a log.

pub(crate) mod check;
pub(crate) mod made;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use serde::{Deserialize, Serialize};

/// A record, known again by who sent it and when in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) producer: u32,
    pub(crate) sequence: u64,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It took effect.
    Ok,
    /// It did not, and never will.
    Fail,
    /// Nobody knows.
    Info,
}

/// A batch as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// Its first offset.
    pub(crate) base: i64,
    /// The offset after its last.
    pub(crate) end: i64,
    /// Its records that the reader had asked for.
    pub(crate) records: Vec<(i64, Value)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// One batch was sent; acknowledged at `base`.
    Send { values: Vec<Value>, base: Option<i64> },
    /// A reader begins at `from`, whatever it read before.
    Assign { from: i64 },
    /// A reader at `from` was given these.
    Poll { from: i64, batches: Vec<Batch> },
    /// Where the partition ends, by ListOffsets or a high watermark.
    End { offset: i64 },
    /// A group's place was written down; one writer, ever higher.
    Commit { group: String, offset: i64 },
    /// A group's place was asked for.
    Committed { group: String, offset: Option<i64> },
}

/// One operation of one process on one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Op {
    /// Who; a process does one thing at a time.
    pub(crate) process: u32,
    pub(crate) partition: i32,
    /// Microseconds since the history began.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) outcome: Outcome,
    pub(crate) what: What,
}

/// What a fresh reader finds at the end, from the first offset there is to the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) batches: Vec<Batch>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    /// By partition.
    pub(crate) finals: BTreeMap<i32, Log>,
    /// Producers whose values may be there twice: they send again and are not idempotent.
    pub(crate) may_repeat: Vec<u32>,
    /// Producers that have one send under way and go on only when it is acknowledged or given up
    /// for good: their records are in the order they were sent in.
    pub(crate) in_order: Vec<u32>,
    /// Readers by group; alone, from the first record on, until nothing was left.
    pub(crate) followers: BTreeMap<String, Vec<u32>>,
}

/// Takes down operations as they happen.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    began: Instant,
    ops: Arc<Mutex<Vec<Op>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { began: Instant::now(), ops: Arc::default() }
    }
}

impl Recorder {
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    /// The machine's monotonic clock where the history began, for who tells times of their own.
    pub(crate) fn began(&self) -> u64 {
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = clock.tv_sec * 1_000_000 + clock.tv_nsec / 1000;
        u64::try_from(now).unwrap() - self.now()
    }

    /// Notes an operation that began at `start` and has ended just now.
    pub(crate) fn note(
        &self,
        process: u32,
        partition: i32,
        start: u64,
        outcome: Outcome,
        what: What,
    ) {
        let op = Op { process, partition, start, end: self.now(), outcome, what };
        self.ops.lock().unwrap().push(op);
    }

    pub(crate) fn count(&self) -> usize {
        self.ops.lock().unwrap().len()
    }

    /// Whether any operation so far is such a one.
    pub(crate) fn any(&self, fact: impl Fn(&Op) -> bool) -> bool {
        // The newest first: it is asked for what has just happened.
        self.ops.lock().unwrap().iter().rev().any(fact)
    }

    /// Begins with what is known already.
    pub(crate) fn put(&self, ops: Vec<Op>) {
        self.ops.lock().unwrap().extend(ops);
    }

    pub(crate) fn take(&self) -> Vec<Op> {
        std::mem::take(&mut self.ops.lock().unwrap())
    }
}

impl Value {
    /// Its bytes in a record: padded, with a checksum of themselves.
    pub(crate) fn encode(self, padding: usize) -> Vec<u8> {
        let mut text = format!("{}/{}/", self.producer, self.sequence).into_bytes();
        // Padding that differs, so that records of equal length cannot stand for each other.
        let mut byte = self.sequence.wrapping_mul(31).wrapping_add(u64::from(self.producer));
        for _ in 0..padding {
            byte = byte.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push(b'a' + u8::try_from((byte >> 33) % 26).unwrap());
        }
        let sum = strandline::crc::crc32c(text.as_slice());
        text.extend_from_slice(format!("/{sum:08x}").as_bytes());
        text
    }

    /// The value in a record's bytes; `None` when they are not what was sent.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (text, sum) = bytes.split_at_checked(bytes.len().checked_sub(9)?)?;
        let sum = std::str::from_utf8(sum).ok()?.strip_prefix('/')?;
        let wanted = u32::from_str_radix(sum, 16).ok()?;
        (strandline::crc::crc32c(text) == wanted).then_some(())?;
        let text = std::str::from_utf8(text).ok()?;
        let mut parts = text.split('/');
        let producer = parts.next()?.parse().ok()?;
        Some(Self { producer, sequence: parts.next()?.parse().ok()? })
    }
}

impl Op {
    /// Offsets below this are there when the operation has ended.
    pub(crate) fn reach(&self) -> Option<i64> {
        if self.outcome != Outcome::Ok {
            return None;
        }
        match &self.what {
            What::Send { values, base } => Some((*base)? + i64::try_from(values.len()).unwrap()),
            What::Poll { batches, .. } => batches.iter().map(|batch| batch.end).max(),
            What::End { offset } => Some(*offset),
            What::Assign { .. } | What::Commit { .. } | What::Committed { .. } => None,
        }
    }
}
