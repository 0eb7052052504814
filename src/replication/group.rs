//! Batches on their way into one entry, and the arenas they are copied into.
//!
//! Owns: the one copy of a batch, which serves the file, the tail and the upload.
//! Invariants: a batch lies in one piece; an arena is written again only when nobody reads it; a
//! payload lies in memory as in the file, sector for sector, so that it is written from there.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    crc::Crc32c,
    env::disk::{SECTOR_BYTES, move_to_phase},
    record,
    types::{LeaderEpoch, Millis, Offset, PartitionId},
    wal::{BATCH_PREFIX_BYTES, ENTRY_HEADER_BYTES, Entry, EntryBatch, put_batch_prefix},
};

use super::{Append, BATCH_HEADER_BYTES, Commit, CommittedBatch, Room, Sink, commit::Resolver};

/// A buffer's size; only a batch larger than that gets a larger one.
pub(super) const ARENA_BYTES: u64 = 4 * 1024 * 1024;
const ARENA_LENGTH: usize = 4 * 1024 * 1024;

/// One entry's batches.
pub(super) struct Group {
    /// The entry's payload.
    pub(super) parts: Vec<Bytes>,
    pub(super) bytes: u64,
    pub(super) batches: Vec<Batch>,
    pub(super) resolver: Resolver,
    /// Places of its batches among what waits.
    room: Option<Room>,
}

/// Where a batch lies in its group, and who wants to know.
pub(super) struct Batch {
    pub(super) partition: PartitionId,
    leader_epoch: LeaderEpoch,
    base_offset: Offset,
    end_offset: Offset,
    max_timestamp: Millis,
    part: usize,
    start: usize,
    pub(super) length: usize,
    sink: Arc<dyn Sink>,
}

impl Group {
    /// A barrier: nothing but somebody who waits for it.
    pub(super) fn barrier(resolver: Resolver) -> Self {
        Self { parts: Vec::new(), bytes: 0, batches: Vec::new(), resolver, room: None }
    }

    /// CRC of the entry's payload.
    pub(super) fn crc(&self) -> u32 {
        let mut crc = Crc32c::default();
        let mut batches = self.batches.iter().peekable();
        for (part, bytes) in self.parts.iter().enumerate() {
            let mut rest = &bytes[..];
            while let Some(batch) = batches.next_if(|batch| batch.part == part) {
                let (prefix, behind) = rest.split_at(rest.len().min(BATCH_PREFIX_BYTES));
                let (batch, behind) = behind.split_at(behind.len().min(batch.length));
                crc.update(prefix);
                record::update_crc(&mut crc, batch);
                rest = behind;
            }
            crc.update(rest);
        }
        crc.value()
    }

    fn slice(&self, batch: &Batch) -> Bytes {
        let part = self.parts.get(batch.part);
        part.map_or(Bytes::new(), |part| part.slice(batch.start..batch.start + batch.length))
    }

    /// Tells every partition that its batches are committed, since `at`.
    pub(super) fn committed(
        &self,
        append_ms: Millis,
        position: crate::wal::WalPosition,
        at: Duration,
    ) {
        for batch in &self.batches {
            batch.sink.committed(CommittedBatch {
                base_offset: batch.base_offset,
                end_offset: batch.end_offset,
                max_timestamp: batch.max_timestamp,
                append_ms,
                bytes: self.slice(batch),
                position,
            });
        }
        self.resolver.committed(at);
    }

    /// Tells every partition that its batches left memory.
    pub(super) fn evicted(&self) {
        for batch in &self.batches {
            batch.sink.evicted(batch.end_offset);
        }
    }

    /// As the file would give it.
    pub(super) fn entry(&self, number: u64, append_ms: Millis) -> Entry {
        let batch = |batch: &Batch| EntryBatch {
            partition: batch.partition,
            leader_epoch: batch.leader_epoch,
            base_offset: batch.base_offset,
            end_offset: batch.end_offset,
            bytes: self.slice(batch),
        };
        Entry { number, append_ms, batches: self.batches.iter().map(batch).collect() }
    }
}

/// Groups that wait for the WAL thread.
#[derive(Default)]
pub(super) struct Waiting {
    arenas: Arenas,
    forming: Option<Group>,
    full: VecDeque<Group>,
    bytes: u64,
}

impl Waiting {
    /// Nothing, in buffers of `bytes` at most that are kept and used again.
    pub(super) fn within(bytes: u64) -> Self {
        let most_retired = usize::try_from(bytes / ARENA_BYTES).unwrap_or(usize::MAX);
        Self { arenas: Arenas { most_retired, ..Arenas::default() }, ..Self::default() }
    }

    /// Keeps no buffer that nobody reads.
    pub(super) fn rest(&mut self) {
        self.arenas.retired.clear();
        if self.forming.is_none() && self.full.is_empty() {
            self.arenas.current = BytesMut::new();
        }
    }

    /// Bytes of all groups.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies a batch in. A group grows to `most_bytes` unless one batch is larger.
    pub(super) fn push(&mut self, append: Append<'_>, most_bytes: u64) -> Commit {
        let body = append.batch.get(BATCH_HEADER_BYTES..).unwrap_or_default();
        let length = BATCH_HEADER_BYTES + body.len();
        let bytes = count(BATCH_PREFIX_BYTES + length);
        if self.forming.as_ref().is_some_and(|group| group.bytes + bytes > most_bytes) {
            self.finish();
        }
        let group = self.forming.get_or_insert_with(|| Group::barrier(Resolver::default()));
        if group.bytes == 0 {
            self.arenas.begin();
        }
        let phase = ENTRY_HEADER_BYTES + usize::try_from(group.bytes).unwrap_or(0);
        if let Some(part) = self.arenas.reserve(BATCH_PREFIX_BYTES + length, phase) {
            group.parts.push(part);
        }
        let arena = &mut self.arenas.current;
        let offsets = append.base_offset..append.end_offset;
        let batch_bytes = u32::try_from(length).unwrap_or(u32::MAX);
        put_batch_prefix(arena, append.partition, append.leader_epoch, offsets, batch_bytes);
        let start = arena.len();
        arena.put_slice(&append.header);
        arena.put_slice(body);
        group.batches.push(Batch {
            partition: append.partition,
            leader_epoch: append.leader_epoch,
            base_offset: append.base_offset,
            end_offset: append.end_offset,
            max_timestamp: append.max_timestamp,
            part: group.parts.len(),
            start,
            length,
            sink: append.sink,
        });
        match (&mut group.room, append.room) {
            (Some(room), Some(more)) => room.merge(more),
            (Some(_), None) => {}
            (none, more) => *none = more,
        }
        group.bytes += bytes;
        self.bytes += bytes;
        group.resolver.commit()
    }

    fn finish(&mut self) {
        if let Some(mut group) = self.forming.take() {
            group.parts.extend(self.arenas.cut());
            self.full.push_back(group);
        }
    }

    /// A commit of what was pushed last, if it still waits: its round has not begun.
    pub(super) fn newest_commit(&self) -> Option<Commit> {
        let newest = self.forming.as_ref().or(self.full.back());
        newest.map(|group| group.resolver.commit())
    }

    /// The bytes of the group that `take` would give.
    pub(super) fn next_bytes(&self) -> Option<u64> {
        self.full.front().or(self.forming.as_ref()).map(|group| group.bytes)
    }

    /// Everything that waits, as one group; more when it is too much for one.
    pub(super) fn take(&mut self) -> Option<Group> {
        if self.full.is_empty() {
            self.finish();
        }
        let mut group = self.full.pop_front()?;
        group.room = None;
        self.bytes -= group.bytes;
        Some(group)
    }

    /// Gives up everything.
    pub(super) fn clear(&mut self) -> Vec<Group> {
        self.finish();
        self.bytes = 0;
        self.full.drain(..).collect()
    }
}

/// Large buffers that are used again: fresh pages are the dearest thing there is.
#[derive(Default)]
struct Arenas {
    current: BytesMut,
    /// Watched for reuse; older ones are freed by their last reader.
    retired: VecDeque<BytesMut>,
    most_retired: usize,
}

impl Arenas {
    /// Begins an entry's payload at its place in a sector.
    fn begin(&mut self) {
        if self.current.capacity() >= SECTOR_BYTES {
            move_to_phase(&mut self.current, ENTRY_HEADER_BYTES);
        }
    }

    /// Makes room for `bytes` in one piece; gives what was in the arena left for it. What is put
    /// in the new one comes `phase` bytes after the entry's begin.
    fn reserve(&mut self, bytes: usize, phase: usize) -> Option<Bytes> {
        if self.current.capacity() - self.current.len() >= bytes {
            return None;
        }
        let part = self.cut();
        let mut next = self.next(bytes);
        move_to_phase(&mut next, phase % SECTOR_BYTES);
        let retired = std::mem::replace(&mut self.current, next);
        self.retired.push_back(retired);
        if self.retired.len() > self.most_retired {
            self.retired.pop_front();
        }
        part
    }

    /// What was put in since the last cut.
    fn cut(&mut self) -> Option<Bytes> {
        (!self.current.is_empty()).then(|| self.current.split().freeze())
    }

    fn next(&mut self, bytes: usize) -> BytesMut {
        if bytes > ARENA_LENGTH {
            return BytesMut::with_capacity(bytes + SECTOR_BYTES);
        }
        // The oldest is the likeliest to be unread.
        for _ in 0..self.retired.len().min(4) {
            let Some(mut arena) = self.retired.pop_front() else { break };
            if arena.try_reclaim(ARENA_LENGTH + SECTOR_BYTES) {
                return arena;
            }
            self.retired.push_back(arena);
        }
        BytesMut::with_capacity(ARENA_LENGTH + SECTOR_BYTES)
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TopicId;

    struct Nobody;

    impl Sink for Nobody {
        fn committed(&self, _batch: CommittedBatch) {}
        fn evicted(&self, _end: Offset) {}
    }

    fn push(waiting: &mut Waiting, offset: i64, length: usize, most_bytes: u64) {
        let batch = vec![7; length];
        let mut header = [1; BATCH_HEADER_BYTES];
        header[0] = u8::try_from(offset).unwrap();
        let append = Append {
            partition: PartitionId { topic: TopicId::default(), index: 0 },
            leader_epoch: LeaderEpoch(1),
            header,
            batch: &batch,
            base_offset: Offset(offset),
            end_offset: Offset(offset + 1),
            max_timestamp: Millis(0),
            internal: false,
            sink: Arc::new(Nobody),
            room: None,
        };
        drop(waiting.push(append, most_bytes));
    }

    #[test]
    fn a_batch_is_its_stamped_header_and_its_body() {
        let mut waiting = Waiting::default();
        push(&mut waiting, 3, 100, 1000);
        let entry = waiting.take().unwrap().entry(1, Millis(5));
        let bytes = &entry.batches[0].bytes;
        assert_eq!((bytes.len(), bytes[0], bytes[60], bytes[61]), (100, 3, 1, 7));
    }

    #[test]
    fn everything_waiting_is_one_group_up_to_the_limit() {
        let mut waiting = Waiting::default();
        for offset in 0..10 {
            push(&mut waiting, offset, 100, 600);
        }
        let sizes: Vec<_> =
            std::iter::from_fn(|| waiting.take().map(|group| group.batches.len())).collect();
        assert_eq!(sizes, [4, 4, 2]);
        assert_eq!(waiting.bytes(), 0);
    }

    #[test]
    fn batches_stay_whole_when_an_arena_is_full() {
        let mut waiting = Waiting::default();
        for offset in 0..5 {
            push(&mut waiting, offset, 1_500_000, 100_000_000);
        }
        push(&mut waiting, 5, 6_000_000, 100_000_000);
        let group = waiting.take().unwrap();
        assert!(group.parts.len() >= 3);
        let total: usize = group.parts.iter().map(Bytes::len).sum();
        assert_eq!(group.bytes, count(total));
        let payload: Bytes = group.parts.concat().into();
        let entry = group.entry(1, Millis(5));
        for (batch, offset) in entry.batches.iter().zip(0u8..) {
            assert_eq!(batch.bytes[0], offset);
        }
        assert_eq!(crate::wal::decode_batches(payload), Some(entry.batches));
    }

    #[test]
    fn buffers_are_kept_within_their_bytes_and_none_at_rest() {
        let mut waiting = Waiting::within(3 * ARENA_BYTES);
        for offset in 0..40 {
            push(&mut waiting, offset % 200, 1_000_000, 1_000_000);
            drop(waiting.take());
            assert!(waiting.arenas.retired.len() <= 3);
        }
        assert!(waiting.arenas.current.capacity() > 0);
        push(&mut waiting, 0, 100, 1000);
        waiting.rest();
        assert!(waiting.arenas.retired.is_empty());
        let waits = waiting.take().unwrap().entry(1, Millis(5));
        assert_eq!(waits.batches[0].bytes.len(), 100, "what waits stays");
        waiting.rest();
        assert_eq!(waiting.arenas.current.capacity(), 0);
    }

    #[test]
    fn an_arena_nobody_reads_is_used_again() {
        let mut arenas = Arenas { most_retired: 8, ..Arenas::default() };
        arenas.reserve(ARENA_LENGTH, 0);
        arenas.current.put_bytes(1, ARENA_LENGTH);
        let first = arenas.current.as_ptr();
        let read = arenas.cut();
        arenas.reserve(ARENA_LENGTH, 0);
        assert_ne!(arenas.current.as_ptr(), first, "it is still read");
        drop(read);
        arenas.current.put_bytes(2, ARENA_LENGTH);
        drop(arenas.cut());
        arenas.reserve(ARENA_LENGTH, 0);
        assert_eq!(arenas.current.as_ptr(), first);
    }
}
