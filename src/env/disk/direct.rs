//! Files written past the page cache (O_DIRECT), where file system and device allow it.
//!
//! The WAL writes each byte once and seldom reads it back: through the page cache it would take
//! memory from everybody and cost the copy (0.8 of the CPU time of buffered writes and fdatasync,
//! a quarter where memory is new to the machine; docs/performance.md).
//!
//! Owns: what of a write goes out as it lies in memory and what is copied to an aligned place
//! first. Invariants: the bytes written are those given, whatever their alignment; a file that
//! refuses one direct write is written through the page cache from then on.

use std::{
    fs::File,
    io::{self, IoSlice},
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{DiskFile, OsFile, write_slices};

/// What addresses, positions and lengths must be a multiple of: the sector of all but few devices.
pub const SECTOR_BYTES: usize = 512;

/// An empty buffer for `bytes` whose first byte is `phase` bytes after a sector's begin.
#[must_use]
pub fn sector_buffer(bytes: usize, phase: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(bytes + SECTOR_BYTES);
    move_to_phase(&mut buffer, phase);
    buffer
}

/// Moves an empty buffer's begin on to `phase` bytes after a sector's begin; needs a sector's room.
pub fn move_to_phase(buffer: &mut BytesMut, phase: usize) {
    let skip = (phase + SECTOR_BYTES - buffer.as_ptr().addr() % SECTOR_BYTES) % SECTOR_BYTES;
    buffer.put_bytes(0, skip);
    buffer.advance(skip);
}

/// A file with both ways in.
#[derive(Debug)]
pub(super) struct DirectFile {
    direct: File,
    buffered: OsFile,
    refused: AtomicBool,
}

/// A run of bytes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run<'a> {
    /// Goes out from where it lies.
    InPlace(&'a [u8]),
    /// Is copied first.
    Copied(&'a [u8]),
}

impl DirectFile {
    pub(super) fn new(direct: File, buffered: File) -> Self {
        Self { direct, buffered: OsFile(buffered), refused: AtomicBool::new(false) }
    }

    fn write_direct(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        let runs = plan(parts);
        let copied = runs.iter().map(|run| if let Run::Copied(run) = run { run.len() } else { 0 });
        let mut copies = sector_buffer(copied.sum(), 0);
        for run in &runs {
            if let Run::Copied(run) = run {
                copies.put_slice(run);
            }
        }
        let mut slices = Vec::with_capacity(runs.len());
        let mut copies = &copies[..];
        let mut together = 0;
        for run in runs {
            match run {
                Run::Copied(run) => together += run.len(),
                Run::InPlace(run) => {
                    let (copy, rest) = copies.split_at(together);
                    copies = rest;
                    together = 0;
                    slices.extend([IoSlice::new(copy), IoSlice::new(run)]);
                }
            }
        }
        slices.push(IoSlice::new(copies));
        write_slices(&self.direct, position, &mut slices)
    }
}

/// Sectors that lie whole and aligned in one part stay there; others are copied.
fn plan(parts: &[Bytes]) -> Vec<Run<'_>> {
    let mut runs = Vec::with_capacity(parts.len() + 2);
    // Bytes already in the sector being put together.
    let mut begun = 0;
    for part in parts {
        let (completing, rest) =
            part.split_at(part.len().min((SECTOR_BYTES - begun) % SECTOR_BYTES));
        runs.push(Run::Copied(completing));
        begun = (begun + completing.len()) % SECTOR_BYTES;
        let aligned = rest.as_ptr().addr() % SECTOR_BYTES == 0;
        let whole = if aligned { rest.len() - rest.len() % SECTOR_BYTES } else { 0 };
        let (in_place, rest) = rest.split_at(whole);
        runs.extend([Run::InPlace(in_place), Run::Copied(rest)]);
        begun = (begun + rest.len()) % SECTOR_BYTES;
    }
    let is_some = |run: &Run<'_>| !matches!(run, Run::InPlace([]) | Run::Copied([]));
    runs.retain(is_some);
    runs
}

impl DiskFile for DirectFile {
    fn write_at(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        let sector = u64::try_from(SECTOR_BYTES).unwrap_or(u64::MAX);
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        let fits = position.is_multiple_of(sector) && bytes.is_multiple_of(SECTOR_BYTES);
        if !fits || self.refused.load(Ordering::Relaxed) {
            return self.buffered.write_at(position, parts);
        }
        match self.write_direct(position, parts) {
            // A device of larger sectors, or a file system that only opens this way.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                self.refused.store(true, Ordering::Relaxed);
                self.buffered.write_at(position, parts)
            }
            done => done,
        }
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        self.buffered.read_at(position, into)
    }

    fn read(&self, position: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.buffered.read(position, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        // Of the file, however it was written.
        self.buffered.sync()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.buffered.preallocate(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.buffered.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::disk::{Disk, FileDisk};

    fn part(bytes: usize, phase: usize, fill: u8) -> Bytes {
        let mut buffer = sector_buffer(bytes, phase);
        buffer.put_bytes(fill, bytes);
        buffer.freeze()
    }

    #[test]
    fn a_buffer_begins_where_it_was_told() {
        for phase in [0, 1, 52, 511] {
            let mut buffer = sector_buffer(4096, phase);
            assert_eq!(buffer.as_ptr().addr() % SECTOR_BYTES, phase);
            assert!(buffer.capacity() >= 4096);
            buffer.put_bytes(1, 100);
            drop(buffer.split());
            move_to_phase(&mut buffer, phase);
            assert_eq!(buffer.as_ptr().addr() % SECTOR_BYTES, phase);
        }
    }

    #[test]
    fn only_the_edges_of_an_aligned_entry_are_copied() {
        let head = part(52, 7, 1);
        let payload = part(100_000, 52, 2);
        let zeros = part(4096 - (52 + 100_000) % 4096, 3, 0);
        let parts = [head, payload, zeros];
        let runs = plan(&parts);
        let in_place: usize =
            runs.iter().map(|run| if let Run::InPlace(run) = run { run.len() } else { 0 }).sum();
        assert_eq!(in_place, (100_000 - 460) / 512 * 512);
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written_whatever_the_alignment(
            writes in prop::collection::vec(
                (0u64..40, prop::collection::vec((0usize..3000, 0usize..512), 0..5), any::<bool>()),
                1..6,
            ),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let file = FileDisk.open_direct(&folder.path().join("f"), true).unwrap();
            file.preallocate(128 * 1024).unwrap();
            let mut model = vec![0; 128 * 1024];
            for (fill, (sector, parts, whole)) in (1u8..).zip(writes) {
                let mut parts: Vec<Bytes> =
                    parts.into_iter().map(|(bytes, phase)| part(bytes, phase, fill)).collect();
                let bytes: usize = parts.iter().map(Bytes::len).sum();
                if whole {
                    parts.push(part(bytes.next_multiple_of(SECTOR_BYTES) - bytes, 9, 0));
                }
                file.write_at(sector * 512, &parts).unwrap();
                let at = usize::try_from(sector).unwrap() * 512;
                let written = parts.concat();
                model[at..at + written.len()].copy_from_slice(&written);
            }
            file.sync().unwrap();
            let mut read = vec![0; model.len()];
            file.read_at(0, &mut read).unwrap();
            prop_assert!(read == model);
        }
    }
}
