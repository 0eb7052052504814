//! A tree of whole files, as the folder bucket keeps its objects: written once, then visible.
//!
//! Owns: drafts, their publication as one step, locks between processes. Does not own: which file
//! means what. Invariants: a file appears under its name whole and synced or not at all; the
//! names of files and folders are durable when the call that made them returns.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;

use crate::types::Millis;

/// A file that nobody reads yet. Dropped unpublished, it is removed; a process that dies leaves
/// it unlocked, for `sweep`.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    /// Writes and syncs a new file at `path`.
    ///
    /// # Errors
    /// As the operating system reports; nothing is left then.
    pub fn write(path: &Path, parts: &[Bytes]) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut draft = Self { path: path.to_owned(), file };
        draft.file.lock()?;
        if draft.file.metadata()?.nlink() == 0 {
            return Err(io::Error::new(ErrorKind::Interrupted, "swept by another process"));
        }
        for part in parts {
            draft.file.write_all(part)?;
        }
        draft.file.sync_all()?;
        Ok(draft)
    }

    /// Gives the draft the name `target` if nothing has it; tells whether it did.
    ///
    /// # Errors
    /// As the operating system reports; whether it was done is then unknown.
    pub fn publish_new(self, target: &Path) -> io::Result<bool> {
        match fs::hard_link(&self.path, target) {
            Ok(()) => {}
            // A network file system may repeat a link whose reply was lost.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !self.is(target)? {
                    return Ok(false);
                }
            }
            Err(error) if cannot_link(&error) => match self.rename_new(target) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
                other => other?,
            },
            Err(error) => return Err(error),
        }
        sync_parent(target)?;
        Ok(true)
    }

    /// Gives the draft the name `target`, in the place of the file that has it.
    ///
    /// # Errors
    /// As the operating system reports; whether it was done is then unknown.
    pub fn publish_over(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        sync_parent(target)
    }

    fn is(&self, target: &Path) -> io::Result<bool> {
        let (mine, there) = (fs::metadata(&self.path)?, fs::metadata(target)?);
        Ok((mine.dev(), mine.ino()) == (there.dev(), there.ino()))
    }

    #[cfg(target_os = "linux")]
    fn rename_new(&self, target: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn rename_new(&self, _target: &Path) -> io::Result<()> {
        Err(io::Error::new(ErrorKind::Unsupported, "this file system has no hard links"))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already when it was renamed; left to `sweep` when it cannot be removed.
        fs::remove_file(&self.path).ok();
    }
}

/// Some file systems (FAT, some network and container ones) have no hard links.
fn cannot_link(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::MLINK.raw_os_error())
}

/// Removes drafts in `folder` whose writers are gone.
///
/// # Errors
/// As the operating system reports.
pub fn sweep(folder: &Path, is_draft: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in list(folder)?.into_iter().filter(|entry| is_draft(&entry.name)) {
        let path = folder.join(&entry.name);
        let Some(file) = present(File::open(&path))? else { continue };
        match file.try_lock() {
            Ok(()) => drop(present(fs::remove_file(&path))?),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Holds the lock file at `path` until dropped; waits for other holders, in any process.
///
/// # Errors
/// As the operating system reports.
pub fn lock(path: &Path) -> io::Result<impl Send + use<>> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.lock()?;
    Ok(file)
}

/// A whole file; `None` when there is none.
///
/// # Errors
/// As the operating system reports.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    present(fs::read(path))
}

/// The bytes of `range`; `None` when there is no file.
///
/// # Errors
/// `UnexpectedEof` when the file is shorter; else as the operating system reports.
pub fn read_range(path: &Path, range: &Range<u64>) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = present(File::open(path))? else { return Ok(None) };
    if range.end > file.metadata()?.len() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let length = usize::try_from(range.end.saturating_sub(range.start));
    let mut bytes = vec![0; length.map_err(|_| ErrorKind::UnexpectedEof)?];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(Some(bytes))
}

/// The bytes from `start` on in pieces of these lengths, each with memory of its own; `None` when
/// there is no file.
///
/// # Errors
/// As `read_range`.
pub fn read_pieces(path: &Path, start: u64, lengths: &[usize]) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(file) = present(File::open(path))? else { return Ok(None) };
    let mut at = start;
    let mut pieces = Vec::with_capacity(lengths.len());
    let end = file.metadata()?.len();
    for length in lengths {
        let next = at.saturating_add(u64::try_from(*length).unwrap_or(u64::MAX));
        if next > end {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; *length];
        file.read_exact_at(&mut bytes, at)?;
        pieces.push(bytes);
        at = next;
    }
    Ok(Some(pieces))
}

/// A file's length and time of writing; `None` when there is no file.
///
/// # Errors
/// As the operating system reports.
pub fn stat(path: &Path) -> io::Result<Option<(u64, Millis)>> {
    let Some(metadata) = present(fs::metadata(path))? else { return Ok(None) };
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some((metadata.len(), Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))))
}

/// Deletes a file; an absent one is fine.
///
/// # Errors
/// As the operating system reports.
pub fn delete(path: &Path) -> io::Result<()> {
    match present(fs::remove_file(path))? {
        Some(()) => sync_parent(path),
        None => Ok(()),
    }
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// Whether it is a folder; else it is a file.
    pub is_folder: bool,
}

/// The files and folders of `folder`, unsorted; none when it does not exist. Names that are not
/// UTF-8 and things that are neither file nor folder are left out.
///
/// # Errors
/// As the operating system reports.
pub fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in present(fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        let kind = entry.file_type()?;
        if let (Ok(name), true) = (entry.file_name().into_string(), kind.is_file() || kind.is_dir())
        {
            entries.push(Entry { name, is_folder: kind.is_dir() });
        }
    }
    Ok(entries)
}

/// Whether `path` is a folder.
#[must_use]
pub fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// `path` made independent of the working folder.
///
/// # Errors
/// When it is empty or there is no working folder.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<Bytes> {
        vec![Bytes::copy_from_slice(text.as_bytes())]
    }

    #[test]
    fn a_draft_is_seen_only_when_published_and_never_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (draft, target) = (folder.path().join("draft"), folder.path().join("target"));
        drop(Draft::write(&draft, &parts("dropped")).unwrap());
        assert_eq!(list(folder.path()).unwrap(), []);
        assert!(Draft::write(&draft, &parts("one")).unwrap().publish_new(&target).unwrap());
        assert!(!Draft::write(&draft, &parts("two")).unwrap().publish_new(&target).unwrap());
        assert_eq!(read(&target).unwrap().unwrap(), b"one");
        Draft::write(&draft, &parts("three")).unwrap().publish_over(&target).unwrap();
        assert_eq!(read(&target).unwrap().unwrap(), b"three");
        assert_eq!(list(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn the_exclusive_rename_is_exclusive_too() {
        let folder = tempfile::tempdir().unwrap();
        let (draft, target) = (folder.path().join("draft"), folder.path().join("target"));
        Draft::write(&draft, &parts("one")).unwrap().rename_new(&target).unwrap();
        let second = Draft::write(&draft, &parts("two")).unwrap();
        let error = second.rename_new(&target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(read(&target).unwrap().unwrap(), b"one");
    }

    #[test]
    fn only_drafts_of_the_dead_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let living = Draft::write(&folder.path().join("draft-1"), &parts("x")).unwrap();
        fs::write(folder.path().join("draft-2"), "left behind").unwrap();
        fs::write(folder.path().join("lock"), "").unwrap();
        sweep(folder.path(), |name| name.starts_with("draft-")).unwrap();
        let mut names: Vec<_> = list(folder.path()).unwrap().into_iter().map(|e| e.name).collect();
        names.sort();
        assert_eq!(names, ["draft-1", "lock"]);
        drop(living);
    }
}
