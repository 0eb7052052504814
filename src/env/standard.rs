//! Standard input, as far as its kind matters.

/// The length of the file that standard input is, when it is one.
#[must_use]
pub fn input_file_bytes() -> Option<u64> {
    let found = rustix::fs::fstat(std::io::stdin()).ok()?;
    let is_file = rustix::fs::FileType::from_raw_mode(found.st_mode).is_file();
    is_file.then(|| u64::try_from(found.st_size).unwrap_or_default())
}
