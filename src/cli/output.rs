//! What goes to a person or a program: results on standard output, trouble on standard error.
//!
//! Invariant: a closed pipe is the reader's choice, not our failure.

use std::io::{IsTerminal, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::types::Millis;

/// Prints a line of result.
pub(super) fn line(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Prints a result for programs: on lines of its own for a person who looks, else on one.
pub(super) fn json(result: &impl Serialize) -> anyhow::Result<()> {
    let text = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(result)?
    } else {
        serde_json::to_string(result)?
    };
    line(text);
    Ok(())
}

/// Tells a person beside the result, whatever becomes of standard output.
pub(super) fn note(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Prints an error with its causes, the outermost first, each said once.
pub(super) fn error(error: &anyhow::Error) {
    let head = console::style("error:").red().bold().for_stderr();
    note(format!("{head} {}", in_one_line(error)));
}

/// An error with its causes, each said once.
pub(super) fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A time as people read it and programs too: `2026-11-24T12:00:00Z`.
pub(super) fn time(time: Millis) -> String {
    let since = u64::try_from(time.0).unwrap_or_default();
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(since));
    // Beyond the year 9999 there is no such form.
    const LAST_MS: u64 = 253_402_300_799_999;
    match time.filter(|_| since <= LAST_MS) {
        Some(time) if since.is_multiple_of(1000) => {
            humantime::format_rfc3339_seconds(time).to_string()
        }
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => format!("{since} ms"),
    }
}

/// An id as Kafka's tools show it.
pub(super) fn id(id: uuid::Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// `1 topic`, `2 topics`.
pub(super) fn count(number: impl TryInto<u64>, one: &str) -> String {
    let number: u64 = number.try_into().unwrap_or_default();
    let number_words = indicatif::HumanCount(number);
    if number == 1 { format!("{number_words} {one}") } else { format!("{number_words} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_each_cause_once() {
        let cause = anyhow::anyhow!("the connection was refused");
        let error = cause.context("no broker answers: the connection was refused");
        assert_eq!(in_one_line(&error), "no broker answers: the connection was refused");
        let error = error.context("cannot list");
        assert_eq!(
            in_one_line(&error),
            "cannot list: no broker answers: the connection was refused"
        );
    }

    #[test]
    fn times_and_counts_are_written_for_people() {
        assert_eq!(time(Millis(1_000)), "1970-01-01T00:00:01Z");
        assert_eq!(time(Millis(1_001)), "1970-01-01T00:00:01.001Z");
        assert_eq!(time(Millis(i64::MAX)), "9223372036854775807 ms");
        assert_eq!(count(1, "topic"), "1 topic");
        assert_eq!(count(12_000, "topic"), "12,000 topics");
    }
}
