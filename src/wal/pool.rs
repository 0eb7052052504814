//! Files of the folder: their names, the preallocated and used ones that wait for a segment.
//!
//! Owns: making, reusing and deleting files. Does not own: which segment a file serves.
//! Invariants: a file is durable under its new name before anything is written into it; a file
//! half made has a name that nothing reads.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::BufMut;

use crate::{
    env::disk::{Disk, DiskFile, sector_buffer},
    types::{ByteCount, Incarnation, SegmentId},
};

use super::Error;

/// Used files kept for the next segments unless told otherwise; more are deleted.
const MOST_FREE: usize = 4;
const ZEROS_BYTES: usize = 1024 * 1024;

/// The name of one file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) segment: SegmentId,
    pub(crate) nonce: u64,
    pub(crate) part: u32,
}

impl Name {
    pub(crate) fn encode(self) -> String {
        let Self { segment, nonce, part } = self;
        format!("{segment}-{nonce:016x}-{part}.wal")
    }

    pub(crate) fn decode(name: &str) -> Option<Self> {
        let mut fields = name.strip_suffix(".wal")?.split('-');
        let incarnation = Incarnation(fields.next()?.parse().ok()?);
        let segment = SegmentId { incarnation, sequence: fields.next()?.parse().ok()? };
        let nonce = u64::from_str_radix(fields.next()?, 16).ok()?;
        let found = Self { segment, nonce, part: fields.next()?.parse().ok()? };
        // One file, one name: nothing but our own spelling counts.
        (found.encode() == name).then_some(found)
    }
}

/// The free files.
#[derive(Debug)]
pub(crate) struct Pool {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    free: Vec<PathBuf>,
    next: u64,
    pub(crate) most_free: usize,
}

impl Pool {
    /// Takes over the free files among `names` and deletes half-made ones.
    pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path, names: &[String]) -> io::Result<Self> {
        let mut pool = Self {
            disk,
            folder: folder.to_owned(),
            free: Vec::new(),
            next: 0,
            most_free: MOST_FREE,
        };
        for name in names {
            let number = |prefix| {
                let number = name.strip_prefix(prefix)?.strip_suffix(".wal")?;
                number.parse::<u64>().ok()
            };
            if let Some(number) = number("free-") {
                pool.next = pool.next.max(number.saturating_add(1));
                pool.free.push(folder.join(name));
            } else if number("new-").is_some() {
                pool.disk.delete(&folder.join(name))?;
            }
        }
        Ok(pool)
    }

    /// Whether a file waits.
    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// A file of at least `bytes` under `name`, durable as such; reused when one is free.
    pub(crate) fn take(
        &mut self,
        name: Name,
        bytes: ByteCount,
    ) -> Result<Arc<dyn DiskFile>, Error> {
        let to = self.folder.join(name.encode());
        while let Some(path) = self.free.pop() {
            let file = self.disk.open_direct(&path, false)?;
            if file.len()? < bytes.0 {
                self.disk.delete(&path)?;
                continue;
            }
            self.disk.rename(&path, &to)?;
            self.disk.sync_folder(&self.folder)?;
            return Ok(file);
        }
        let (path, file) = self.make(bytes)?;
        self.disk.rename(&path, &to)?;
        self.disk.sync_folder(&self.folder)?;
        Ok(file)
    }

    /// A new file, reserved on the disk.
    fn make(&mut self, bytes: ByteCount) -> Result<(PathBuf, Arc<dyn DiskFile>), Error> {
        let path = self.folder.join(format!("new-{}.wal", self.next));
        self.next += 1;
        let made = self.disk.open_direct(&path, true).and_then(|file| {
            file.preallocate(bytes.0)?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.disk.delete(&path)?;
                Err(Error::NoRoom)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Begins a free file: to be filled with zeros outside of any lock, then added.
    pub(crate) fn begin(&mut self, bytes: ByteCount) -> Result<NewFile, Error> {
        let (path, file) = self.make(bytes)?;
        Ok(NewFile { path, file, bytes })
    }

    /// Adds a filled file to the free ones.
    pub(crate) fn add(&mut self, new: &NewFile) -> io::Result<()> {
        self.give_back(&new.path)?;
        self.disk.sync_folder(&self.folder)
    }

    /// Takes a file out of its segment; durable after the folder's next sync.
    pub(crate) fn give_back(&mut self, path: &Path) -> io::Result<()> {
        if self.free.len() >= self.most_free {
            return self.disk.delete(path);
        }
        let free = self.folder.join(format!("free-{}.wal", self.next));
        self.next += 1;
        self.disk.rename(path, &free)?;
        self.free.push(free);
        Ok(())
    }
}

/// A file on its way into the pool.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    bytes: ByteCount,
}

impl NewFile {
    /// Writes zeros over it: a sync into blocks that were written before costs a third less, as
    /// the file system has nothing to note. Ends early when `enough` says so.
    pub(crate) fn fill(&self, enough: impl Fn() -> bool) -> io::Result<()> {
        let mut zeros = sector_buffer(ZEROS_BYTES, 0);
        zeros.put_bytes(0, ZEROS_BYTES);
        let zeros = zeros.freeze();
        let mut at = 0;
        while at < self.bytes.0 && !enough() {
            let left = usize::try_from(self.bytes.0 - at).unwrap_or(usize::MAX);
            let chunk = zeros.slice(..left.min(ZEROS_BYTES));
            at += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.file.write_at(at - u64::try_from(chunk.len()).unwrap_or(0), &[chunk])?;
        }
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_spelling_of_a_name_is_read() {
        let segment = SegmentId { incarnation: Incarnation(7), sequence: 3 };
        let name = Name { segment, nonce: 0xab, part: 2 };
        assert_eq!(name.encode(), "7-3-00000000000000ab-2.wal");
        assert_eq!(Name::decode(&name.encode()), Some(name));
        for other in ["7-3-ab-2.wal", "07-3-00000000000000ab-2.wal", "free-1.wal", "", "a-b.wal"] {
            assert_eq!(Name::decode(other), None, "{other}");
        }
    }
}
