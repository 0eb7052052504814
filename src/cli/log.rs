//! Log lines: where they go, in which form, and how many of a kind.
//!
//! Owns: the subscriber and the limit that keeps repeated lines from flooding. Does not own: any
//! line. Invariants: one place in the source writes at most [`MOST`] lines in [`EVERY`], one in
//! each period that follows on a flooded one, and what is left out is counted and told; at debug
//! and trace nothing is left out, for who asks for them wants all.

use std::{
    collections::HashMap,
    fmt::Debug,
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::FilterExt,
    fmt,
    layer::{Context, Filter, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::{
    config::LogFormat,
    env::{
        clock::{self, Clock},
        task::Tasks,
    },
    http::Trouble,
};

/// Lines of one place in one period, before it is a flood.
const MOST: u64 = 10;
/// One period.
const EVERY: Duration = Duration::from_secs(10);
/// How often it is looked for periods that ended.
const LOOK: Duration = Duration::from_secs(1);
/// Characters of a line that its count repeats.
const TOLD_CHARS: usize = 200;
/// The lines that count others, never counted themselves: one a place and period at most.
const COUNTS: &str = "strandline::left_out";

/// What is logged when `RUST_LOG` says nothing: what others than this program say is not for
/// people, and what of it matters is said by this program too.
pub(super) const USUAL: &str = "error,strandline=info";

/// What of it is trouble, and shown on the page whatever `RUST_LOG` says.
const TROUBLE: &str = "error,strandline=warn";

/// Starts logging for the process, as much as `RUST_LOG` says, else `usual`.
pub(super) fn start(
    format: LogFormat,
    usual: &str,
    clock: Arc<dyn Clock>,
    trouble: Trouble,
) -> Quiet {
    let terminal = std::io::stderr().is_terminal();
    let is_text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let quiet = Quiet::new(clock);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours);
    let filter = filter.and(quiet.clone());
    let registry =
        tracing_subscriber::registry().with(trouble.with_filter(EnvFilter::new(TROUBLE)));
    if is_text {
        registry.with(lines.with_filter(filter)).init();
    } else {
        let lines = lines.json().flatten_event(true);
        registry.with(lines.with_filter(filter)).init();
    }
    quiet
}

/// Counts the lines of each place in the source. Clones share the counts.
#[derive(Clone)]
pub(super) struct Quiet(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    /// As many as there are places in the source.
    places: Mutex<HashMap<Identifier, Place>>,
}

struct Place {
    /// When the period began, on the boot clock.
    since: Duration,
    lines: u64,
    most: u64,
    left_out: u64,
    level: Level,
    /// What the first line left out said.
    text: String,
}

impl Quiet {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock, places: Mutex::default() }))
    }

    /// Tells what was left out, at the end of each period, until `tasks` stops.
    pub(super) fn keep_counting(&self, tasks: &Tasks) {
        let (quiet, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("log counts", async move {
            loop {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return,
                    () = clock::sleep(LOOK) => quiet.tell(EVERY),
                }
            }
        });
    }

    /// Tells what is left out and not told yet; for the end of the process.
    pub(super) fn tell_all(&self) {
        self.tell(Duration::ZERO);
    }

    /// Ends the periods that are `old`, with a line where something was left out.
    fn tell(&self, old: Duration) {
        // Written without the lock: a line comes back here to be counted.
        for (level, left_out, text) in self.ended(old) {
            let seconds = EVERY.as_secs();
            match level {
                Level::ERROR => {
                    tracing::error!(target: COUNTS, left_out, line = %text,
                        "… {left_out} more in {seconds} s");
                }
                Level::WARN => {
                    tracing::warn!(target: COUNTS, left_out, line = %text,
                        "… {left_out} more in {seconds} s");
                }
                _ => {
                    tracing::info!(target: COUNTS, left_out, line = %text,
                        "… {left_out} more in {seconds} s");
                }
            }
        }
    }

    fn ended(&self, old: Duration) -> Vec<(Level, u64, String)> {
        let now = self.0.clock.boot();
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        for place in places.values_mut() {
            if now.saturating_sub(place.since) < old {
                continue;
            }
            if place.left_out > 0 {
                told.push((place.level, place.left_out, std::mem::take(&mut place.text)));
            }
            // A flood that goes on gets one line a period and its count.
            place.most = if place.left_out > 0 { 1 } else { MOST };
            (place.since, place.lines, place.left_out) = (now, 0, 0);
        }
        told
    }

    fn may(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == COUNTS {
            return true;
        }
        let now = self.0.clock.boot();
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            since: now,
            lines: 0,
            most: MOST,
            left_out: 0,
            level: *metadata.level(),
            text: String::new(),
        });
        if place.left_out == 0 && now.saturating_sub(place.since) >= EVERY {
            (place.since, place.lines, place.most) = (now, 0, MOST);
        }
        if place.lines < place.most {
            place.lines = place.lines.saturating_add(1);
            return true;
        }
        if place.left_out == 0 {
            place.text = text_of(event);
        }
        place.left_out = place.left_out.saturating_add(1);
        false
    }
}

impl<S: Subscriber> Filter<S> for Quiet {
    fn enabled(&self, _metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        self.may(event)
    }
}

/// The beginning of an event's message.
fn text_of(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}").chars().take(TOLD_CHARS).collect();
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::types::Millis;

    #[derive(Debug, Default)]
    struct HandClock(Mutex<Duration>);

    impl Clock for HandClock {
        fn wall(&self) -> Millis {
            Millis(0)
        }

        fn boot(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn take(&self) -> Vec<String> {
            let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    struct World {
        clock: Arc<HandClock>,
        quiet: Quiet,
        written: Written,
        _current: tracing::subscriber::DefaultGuard,
    }

    impl World {
        fn new() -> Self {
            let clock = Arc::new(HandClock::default());
            let quiet = Quiet::new(clock.clone());
            let written = Written::default();
            let writer = written.clone();
            let lines = fmt::layer().with_ansi(false).without_time().with_target(false);
            let lines = lines.with_writer(move || writer.clone());
            let lines = lines.with_filter(quiet.clone());
            let subscriber = tracing_subscriber::registry().with(lines);
            let _current = tracing::subscriber::set_default(subscriber);
            Self { clock, quiet, written, _current }
        }

        fn pass(&self, time: Duration) {
            *self.clock.0.lock().unwrap() += time;
            self.quiet.tell(EVERY);
        }
    }

    fn repeated(count: u64) {
        for number in 0..count {
            tracing::warn!(number, "the same again");
        }
    }

    #[test]
    fn a_flood_is_a_few_lines_and_a_count_and_then_one_line_a_period() {
        let world = World::new();
        repeated(1000);
        assert_eq!(world.written.take().len(), 10);
        world.pass(EVERY);
        let told = world.written.take();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("… 990 more in 10 s"), "{told:?}");
        assert!(told[0].contains("the same again"), "{told:?}");
        repeated(38);
        assert_eq!(world.written.take().len(), 1);
        world.pass(EVERY);
        assert!(world.written.take()[0].contains("… 37 more in 10 s"));
        // A quiet period, and it may speak freely again.
        world.pass(EVERY);
        repeated(10);
        assert_eq!(world.written.take().len(), 10);
        world.pass(EVERY);
        assert_eq!(world.written.take(), [""; 0]);
    }

    #[test]
    fn one_places_flood_takes_no_line_from_another_and_debug_lines_are_not_counted() {
        let world = World::new();
        repeated(100);
        tracing::error!("something else");
        for _ in 0..100 {
            tracing::debug!("of interest to who asked");
        }
        assert_eq!(world.written.take().len(), 10 + 1 + 100);
    }

    #[test]
    fn what_was_left_out_is_told_when_the_process_ends() {
        let world = World::new();
        repeated(12);
        world.written.take();
        world.quiet.tell_all();
        assert!(world.written.take()[0].contains("… 2 more"));
        world.quiet.tell_all();
        assert_eq!(world.written.take(), [""; 0]);
    }
}
