//! Every record of a client's batch looked at, and none built.
//!
//! Owns: the walk over decompressed bytes as they come, what it finds wrong with a record.
//! Does not own: the rules of a header (`check`), codecs (`compress`), the layout (`records`).
//! Invariants: memory is one window and what a codec needs, whatever a batch declares; a walk stops
//! at its limit of bytes, and at any budget on the way, to be taken up again elsewhere.

use std::{fmt, io::BufRead};

use super::{
    BatchView, Compression, Error, Rules, TimestampType, compress,
    records::{Input, RecordHead, record_length},
};
use crate::types::{Millis, Offset};

/// Faults listed of one batch; beyond, the first ones stand for all.
const FAULTS_LISTED: usize = 10_000;
/// How much is looked at between two looks at a budget.
const WINDOW_BYTES: usize = 256 << 10;
/// The most bytes that the length of a record takes.
const LENGTH_BYTES: usize = 5;

/// A record that breaks a rule of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFault {
    /// Its index in the batch.
    pub record: i32,
    /// For the client's log.
    pub reason: &'static str,
}

/// Why a batch cannot be walked to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The records are not what the header says, or not records.
    Structure(&'static str),
    /// The codec cannot read them.
    Codec(Error),
    /// They are more than the limit.
    TooLarge,
}

/// What a walk over all records found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) max_timestamp: Millis,
    pub(super) faults: Vec<RecordFault>,
    /// Whether any fault is a time out of bounds.
    pub(super) bad_time: bool,
}

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    source: Source,
    judge: Judge,
}

/// The records' bytes, decompressed as they are asked for.
struct Source {
    reader: Box<dyn BufRead + Send>,
    codec: Compression,
    passed: usize,
    limit: usize,
}

/// What is known of the records so far.
#[derive(Debug)]
struct Judge {
    rules: Rules,
    count: i32,
    next: i32,
    base_timestamp: Millis,
    /// The time the header gives to every record.
    append_time: Option<Millis>,
    found: Found,
}

impl Walk {
    pub(super) fn new(batch: &BatchView, rules: Rules) -> Result<Self, Error> {
        let codec = batch.compression()?;
        let limit = rules.limits.max_bytes;
        let source = Source {
            reader: compress::reader(codec, batch.body(), limit)?,
            codec,
            passed: 0,
            limit,
        };
        let appended = batch.timestamp_type() == TimestampType::LogAppendTime;
        let found = Found { max_timestamp: Millis(-1), faults: Vec::new(), bad_time: false };
        let judge = Judge {
            rules,
            count: batch.record_count(),
            next: 0,
            base_timestamp: batch.base_timestamp(),
            append_time: appended.then_some(batch.max_timestamp()),
            found,
        };
        Ok(Self { source, judge })
    }

    /// Goes on for about `budget` bytes. Whether it came to the end.
    pub(super) fn run(&mut self, budget: usize) -> Result<bool, Stop> {
        let until = self.source.passed.saturating_add(budget);
        while self.judge.wants_more() {
            if self.source.passed > until {
                return Ok(false);
            }
            self.source.feed(&mut self.judge)?;
        }
        if self.source.window()?.is_empty() {
            return Ok(true);
        }
        Err(Stop::Structure("bytes after the last record"))
    }

    /// What it found; all of it once it came to the end.
    pub(super) fn into_found(self) -> Found {
        self.judge.found
    }
}

impl BatchView {
    /// The first record at or after `time` and at or after `from`, and its time.
    ///
    /// # Errors
    /// When the records cannot be read so far.
    pub fn first_at(&self, time: Millis, from: Offset) -> Result<Option<(Offset, Millis)>, Error> {
        self.search(from, Wanted::FirstAt(time))
    }

    /// The first record with the greatest time of those at or after `from`, and that time.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn greatest_time(&self, from: Offset) -> Result<Option<(Offset, Millis)>, Error> {
        self.search(from, Wanted::Greatest)
    }

    fn search(&self, from: Offset, wanted: Wanted) -> Result<Option<(Offset, Millis)>, Error> {
        let codec = self.compression()?;
        // It passed the check of its producer's broker: what it unpacks to was bounded there.
        let limit = usize::MAX;
        let reader = compress::reader(codec, self.body(), limit)?;
        let mut source = Source { reader, codec, passed: 0, limit };
        let left = self.record_count();
        let mut search = Search { batch: self, from, wanted, left, found: None };
        while search.wants_more() {
            source.feed(&mut search).map_err(|stop| match stop {
                Stop::Structure(reason) => Error::Record(reason),
                Stop::Codec(error) => error,
                Stop::TooLarge => Error::TooLarge { limit_bytes: limit },
            })?;
        }
        Ok(search.found)
    }
}

/// Who looks at records.
trait Visitor {
    fn wants_more(&self) -> bool;
    fn take(&mut self, head: &RecordHead) -> Result<(), Stop>;
}

/// Which record is searched for.
#[derive(Clone, Copy)]
enum Wanted {
    /// The first at or after this time.
    FirstAt(Millis),
    /// The first of the greatest time.
    Greatest,
}

/// A search for a record by its time.
struct Search<'a> {
    batch: &'a BatchView,
    from: Offset,
    wanted: Wanted,
    left: i32,
    found: Option<(Offset, Millis)>,
}

impl Visitor for Search<'_> {
    fn wants_more(&self) -> bool {
        self.left > 0 && (matches!(self.wanted, Wanted::Greatest) || self.found.is_none())
    }

    fn take(&mut self, head: &RecordHead) -> Result<(), Stop> {
        self.left -= 1;
        let batch = self.batch;
        let offset = batch.base_offset().advance(i64::from(head.offset_delta));
        let timestamp = match batch.timestamp_type() {
            TimestampType::CreateTime => {
                Millis(batch.base_timestamp().0.saturating_add(head.timestamp_delta))
            }
            TimestampType::LogAppendTime => batch.max_timestamp(),
        };
        let better = match (self.wanted, self.found) {
            (Wanted::FirstAt(time), None) => timestamp >= time,
            (Wanted::FirstAt(_), Some(_)) => false,
            (Wanted::Greatest, found) => found.is_none_or(|(_, greatest)| timestamp > greatest),
        };
        if better && offset >= self.from {
            self.found = Some((offset, timestamp));
        }
        Ok(())
    }
}

impl Visitor for Judge {
    fn wants_more(&self) -> bool {
        self.next < self.count
    }

    fn take(&mut self, head: &RecordHead) -> Result<(), Stop> {
        let record = self.next;
        if head.offset_delta != record {
            return Err(Stop::Structure("offset deltas must count up from 0"));
        }
        self.next += 1;
        let created = Millis(self.base_timestamp.0.saturating_add(head.timestamp_delta));
        let timestamp = self.append_time.unwrap_or(created);
        let found = &mut self.found;
        found.max_timestamp = found.max_timestamp.max(timestamp);
        if self.rules.compacted && !head.has_key {
            self.fault(record, "a compacted topic takes no record without a key");
        } else if let Some(reason) = self.rules.time_fault(timestamp, self.append_time.is_some()) {
            self.found.bad_time = true;
            self.fault(record, reason);
        }
        Ok(())
    }
}

impl Judge {
    fn fault(&mut self, record: i32, reason: &'static str) {
        if self.found.faults.len() < FAULTS_LISTED {
            self.found.faults.push(RecordFault { record, reason });
        }
    }
}

impl Source {
    fn window(&mut self) -> Result<&[u8], Stop> {
        let window = self.reader.fill_buf();
        window.map_err(|error| Stop::Codec(compress::unpacking(self.codec, &error, self.limit)))
    }

    fn pass(&mut self, bytes: usize) -> Result<(), Stop> {
        self.reader.consume(bytes);
        self.passed = self.passed.saturating_add(bytes);
        if self.passed > self.limit { Err(Stop::TooLarge) } else { Ok(()) }
    }

    /// Shows `visitor` one record or more.
    fn feed(&mut self, visitor: &mut impl Visitor) -> Result<(), Stop> {
        if self.whole_records(visitor)? {
            return Ok(());
        }
        let head = self.long_record()?;
        visitor.take(&head)
    }

    /// Shows the records that lie whole in the window; `false` when not even one does.
    fn whole_records(&mut self, visitor: &mut impl Visitor) -> Result<bool, Stop> {
        let window = self.window()?;
        let window = window.get(..WINDOW_BYTES).unwrap_or(window);
        let mut rest = window;
        while visitor.wants_more() {
            let mut ahead = rest;
            let Some(length) = record_length(&mut ahead) else { break };
            let Some(mut body) = ahead.split_off(..length) else { break };
            let head = RecordHead::read(&mut body).map_err(Stop::Structure)?;
            visitor.take(&head)?;
            rest = ahead;
        }
        let used = window.len() - rest.len();
        self.pass(used)?;
        Ok(used > 0)
    }

    /// Takes one record, however long, window by window.
    fn long_record(&mut self) -> Result<RecordHead, Stop> {
        let length = self.drip(LENGTH_BYTES, |drip| {
            record_length(drip).ok_or("fewer records than the header says")
        })?;
        self.drip(length, |drip| RecordHead::read(drip))
    }

    fn drip<T>(
        &mut self,
        length: usize,
        read: impl FnOnce(&mut Drip<'_>) -> Result<T, &'static str>,
    ) -> Result<T, Stop> {
        let mut drip = Drip { source: self, left: length, stopped: None };
        let read = read(&mut drip);
        match drip.stopped {
            Some(stop) => Err(stop),
            None => read.map_err(Stop::Structure),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("codec", &self.codec).field("passed", &self.passed).finish()
    }
}

/// The fields of one record that is longer than the window.
struct Drip<'a> {
    source: &'a mut Source,
    left: usize,
    stopped: Option<Stop>,
}

impl Drip<'_> {
    fn try_skip(&mut self, length: usize) -> Result<Option<()>, Stop> {
        let Some(left) = self.left.checked_sub(length) else { return Ok(None) };
        let mut length = length;
        while length > 0 {
            let step = self.source.window()?.len().min(length);
            if step == 0 {
                return Ok(None);
            }
            self.source.pass(step)?;
            length -= step;
        }
        self.left = left;
        Ok(Some(()))
    }

    fn try_byte(&mut self) -> Result<Option<u8>, Stop> {
        let Some(byte) = self.source.window()?.first().copied() else { return Ok(None) };
        Ok(self.try_skip(1)?.map(|()| byte))
    }

    fn or_stop<T>(&mut self, result: Result<Option<T>, Stop>) -> Option<T> {
        result.unwrap_or_else(|stop| {
            self.stopped = Some(stop);
            None
        })
    }
}

impl Input for Drip<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.try_byte();
        self.or_stop(byte)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        let skipped = self.try_skip(length);
        self.or_stop(skipped)
    }

    fn left(&self) -> usize {
        self.left
    }
}
