//! What the broker says in its log, seen by the simulator: situations are counted by it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// How often each line was logged.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<BTreeMap<String, u64>>>);

impl Seen {
    pub fn count(&self, what: &str) {
        *self.0.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Runs `work` with its log lines counted.
pub fn with<T>(seen: &Seen, work: impl FnOnce() -> T) -> T {
    let shown = std::env::var("STRANDLINE_TEST_SIM_SHOW").is_ok();
    tracing::subscriber::with_default(Watching { seen: seen.clone(), shown }, work)
}

struct Watching {
    seen: Seen,
    shown: bool,
}

impl Subscriber for Watching {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::DEBUG
            && metadata.target().starts_with("strandline")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { message: String::new(), fields: String::new(), shown: self.shown };
        event.record(&mut line);
        if self.shown {
            println!("    {} {}{}", event.metadata().level(), line.message, line.fields);
        }
        self.seen.count(&line.message);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line {
    message: String,
    fields: String,
    shown: bool,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.message, "{value:?}").unwrap();
        } else if self.shown && field.name() != "advice" {
            write!(self.fields, " {}={value:?}", field.name()).unwrap();
        }
    }
}
