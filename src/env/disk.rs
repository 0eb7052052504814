//! Files of one folder, as the WAL and the broker's identity use them.
//!
//! Owns: the seam and its production form. Invariants: `sync` returns only when the bytes would
//! survive a power cut as far as the device tells; a new name is durable only after `sync_folder`.

mod direct;

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, IoSlice},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use direct::DirectFile;
pub use direct::{SECTOR_BYTES, move_to_phase, sector_buffer};

/// A disk: named files in folders.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates `folder` and its parents, private to this user, and makes their names durable.
    ///
    /// # Errors
    /// As the operating system reports.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Names of the files in `folder`, sorted.
    ///
    /// # Errors
    /// As the operating system reports.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Opens for reading and writing; creates when `create` (failing if it is there).
    ///
    /// # Errors
    /// As the operating system reports.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// As `open`, for a file that is written once and seldom read: its writes pass the page cache
    /// where they can, best of whole sectors from a buffer of `sector_buffer`.
    ///
    /// # Errors
    /// As the operating system reports.
    fn open_direct(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path, create)
    }
    /// A whole small file.
    ///
    /// # Errors
    /// As the operating system reports.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Replaces a small file as one step that survives a power cut: new file, sync, rename, sync.
    ///
    /// # Errors
    /// As the operating system reports; the old content is then still there.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Gives a file another name in the same folder.
    ///
    /// # Errors
    /// As the operating system reports.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file; one that is not there is fine.
    ///
    /// # Errors
    /// As the operating system reports.
    fn delete(&self, path: &Path) -> io::Result<()>;
    /// Makes names made or changed in `folder` durable.
    ///
    /// # Errors
    /// As the operating system reports.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Takes the folder's lock file for this process; `None` when another holds it.
    ///
    /// # Errors
    /// As the operating system reports.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// Bytes an unprivileged writer can still take on the file system of `folder`.
    ///
    /// # Errors
    /// As the operating system reports.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes all of `parts`, one after the other, from `position`.
    ///
    /// # Errors
    /// As the operating system reports; how much landed is then unknown.
    fn write_at(&self, position: u64, parts: &[Bytes]) -> io::Result<()>;
    /// Fills `into` from `position`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; else as the operating system reports.
    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<()>;
    /// Reads `bytes` from `position` into memory of their own.
    ///
    /// # Errors
    /// As `read_at`.
    fn read(&self, position: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut into = vec![0; bytes];
        self.read_at(position, &mut into)?;
        Ok(into)
    }
    /// Makes written bytes durable (fdatasync).
    ///
    /// # Errors
    /// As the operating system reports; the written bytes are then lost or not, for good.
    fn sync(&self) -> io::Result<()>;
    /// Reserves `bytes` on the disk and makes the file at least that long.
    ///
    /// # Errors
    /// `StorageFull` when there is no room; nothing is then kept of the try.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;
    /// The file's length in bytes.
    ///
    /// # Errors
    /// As the operating system reports.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As the operating system reports.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The machine's file systems.
#[derive(Debug)]
pub struct FileDisk;

impl Disk for FileDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_folder(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            other => other?,
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        self.sync_folder(parent.unwrap_or(Path::new(".")))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(create).mode(0o600);
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn open_direct(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        use rustix::fs::{Mode, OFlags};
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(create).mode(0o600);
        let buffered = options.open(path)?;
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        Ok(match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(direct) => Arc::new(DirectFile::new(direct.into(), buffered)),
            // A file system without it.
            Err(_) => Arc::new(OsFile(buffered)),
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all_at(content, 0)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        self.sync_folder(path.parent().unwrap_or(Path::new(".")))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Slices one gathered write may have (IOV_MAX of Linux).
const MOST_SLICES: usize = 1024;

#[derive(Debug)]
struct OsFile(File);

/// Writes all of `slices`, one after the other, from `position`.
fn write_slices(file: &File, mut position: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut rest = slices;
    // Drops empty slices, so that a call that writes nothing is an error.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let (call, _) = rest.split_at(rest.len().min(MOST_SLICES));
        match rustix::io::pwritev(file, call, position) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += u64::try_from(written).unwrap_or(u64::MAX);
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl DiskFile for OsFile {
    fn write_at(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        write_slices(&self.0, position, &mut slices)
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, position)
    }

    /// Without zeroing what is overwritten: a fifth of an upload that reads its segment back.
    fn read(&self, position: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut into = Vec::with_capacity(bytes);
        while into.len() < bytes {
            let at = position + u64::try_from(into.len()).unwrap_or(u64::MAX);
            match rustix::io::pread(&self.0, rustix::buffer::spare_capacity(&mut into), at) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The allocator may have given more room than was asked for.
        into.truncate(bytes);
        Ok(into)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        use rustix::{fs::FallocateFlags, io::Errno};
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
            // Some file systems cannot reserve; the file grows as it is written then.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => self.0.sync_all(),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.size())
    }
}
