//! Programs of others that `scripts/setup` installs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Where `scripts/setup` puts things.
pub fn cache() -> PathBuf {
    std::env::var_os("STRANDLINE_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache"), PathBuf::from)
}

/// Runs a program to its good end; gives what it printed.
pub fn run(command: &mut Command) -> String {
    let done = command.env("CLIENTS", cache().join("clients")).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {}\n{text}\n{trouble}", done.status);
    text
}
