//! Lines to a person: results on standard output, trouble on standard error.

use std::io::Write;

/// Prints a line of result. A closed pipe is the reader's choice, not our failure.
pub(super) fn line(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Prints an error with its causes, the outermost first, each said once.
pub(super) fn error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    drop(writeln!(std::io::stderr(), "error: {text}"));
}
