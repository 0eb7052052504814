//! The last warnings and errors of the log, kept in memory for people.
//!
//! Owns: a bounded list of lines. Invariants: what repeats is one line with a count; a line has a
//! largest length.

use std::{
    collections::VecDeque,
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use crate::env::clock::Clock;

/// Lines kept.
const LINES: usize = 100;
/// Characters of a message, and of all its fields together.
const CHARS: usize = 600;

/// The lines; clones share them. A layer of the log.
#[derive(Clone, Debug)]
pub struct Trouble {
    lines: Arc<Mutex<VecDeque<Line>>>,
    clock: Arc<dyn Clock>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `warn` or `error`.
    pub level: &'static str,
    /// What happened.
    pub message: String,
    /// With what, as `name=value`, of the last time.
    pub fields: String,
    /// How often.
    pub count: u64,
    /// The first time, in milliseconds since 1970.
    pub first_ms: i64,
    /// The last time.
    pub last_ms: i64,
}

impl Trouble {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { lines: Arc::default(), clock }
    }

    /// The newest lines, newest first.
    #[must_use]
    pub fn newest(&self, most: usize) -> Vec<Line> {
        self.lines().iter().rev().take(most).cloned().collect()
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, level: &'static str, said: &Said) {
        let now = self.clock.wall().0;
        let (message, fields) = (cut(&said.message), cut(&said.fields));
        let mut lines = self.lines();
        let same = |line: &Line| line.level == level && line.message == message;
        let before = lines.iter().position(same).and_then(|at| lines.remove(at));
        let (count, first_ms) =
            before.map_or((1, now), |line| (line.count.saturating_add(1), line.first_ms));
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(Line { level, message, fields, count, first_ms, last_ms: now });
    }
}

fn cut(text: &str) -> String {
    text.chars().take(CHARS).collect()
}

impl<S: Subscriber> Layer<S> for Trouble {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        let mut said = Said::default();
        event.record(&mut said);
        self.note(level, &said);
    }
}

/// An event taken apart.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        if field.name() == "message" {
            write!(self.message, "{value:?}").ok();
        } else {
            let gap = if self.fields.is_empty() { "" } else { " " };
            write!(self.fields, "{gap}{}={value:?}", field.name()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;
    use crate::env::clock::SystemClock;

    #[test]
    fn warnings_and_errors_are_kept_and_what_repeats_is_counted() {
        let trouble = Trouble::new(Arc::new(SystemClock));
        let log = tracing_subscriber::registry().with(trouble.clone());
        tracing::subscriber::with_default(log, || {
            tracing::info!("all is well");
            for tries in 1..4 {
                tracing::warn!(tries, "bucket is away");
            }
            tracing::error!(folder = "/wal", "disk failed");
        });
        let lines = trouble.newest(10);
        let shown =
            |line: &Line| (line.level, line.message.clone(), line.fields.clone(), line.count);
        assert_eq!(shown(&lines[0]), ("error", "disk failed".into(), "folder=\"/wal\"".into(), 1));
        assert_eq!(shown(&lines[1]), ("warn", "bucket is away".into(), "tries=3".into(), 3));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn it_keeps_so_many_lines_of_such_a_length_and_no_more() {
        let trouble = Trouble::new(Arc::new(SystemClock));
        for number in 0..1000 {
            let message = format!("{number} {}", "x".repeat(5000));
            trouble.note("warn", &Said { message, fields: "y".repeat(5000) });
        }
        let lines = trouble.newest(usize::MAX);
        assert_eq!(lines.len(), LINES);
        assert!(lines[0].message.starts_with("999 "));
        assert!(lines.iter().all(|line| line.message.len() + line.fields.len() <= 2 * CHARS));
    }
}
