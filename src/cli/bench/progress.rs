//! How far a load is: shared counters, the end of the run, one live line on a terminal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::{Run, report::Tally};
use crate::{
    env::{Env, clock, clock::Clock, signal::Terminations, task::Tasks},
    types::ByteCount,
};

/// How often the line is drawn anew.
const EVERY: Duration = Duration::from_millis(250);

/// A run under way; a clone is the same run.
#[derive(Clone)]
pub(super) struct Progress {
    clock: Arc<dyn Clock>,
    /// From when on what is done is measured: the warm-up's end.
    from: Duration,
    end: Duration,
    shared: Arc<Shared>,
}

struct Shared {
    /// Records that may still be asked for.
    left: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    /// Somebody pressed Ctrl-C: end and report.
    stopped: AtomicBool,
}

impl Progress {
    /// A run that begins now.
    pub(super) fn begin(run: &Run, env: &Env) -> Self {
        let began = env.clock.boot();
        let shared = Shared {
            left: AtomicU64::new(run.records.unwrap_or(u64::MAX)),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        };
        let from = began.saturating_add(run.warm_up);
        let end = from.saturating_add(run.duration);
        Self { clock: env.clock.clone(), from, end, shared: Arc::new(shared) }
    }

    /// Boot time at which the run ends.
    pub(super) fn end(&self) -> Duration {
        self.end
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.boot()
    }

    /// How long it has been measured.
    pub(super) fn took(&self) -> Duration {
        self.now().saturating_sub(self.from)
    }

    /// Notes how long the request took that was due at `due` and answered at `answered`.
    pub(super) fn answered(&self, tally: &mut Tally, due: Duration, answered: Duration) {
        if due >= self.from {
            tally.took(answered.saturating_sub(due));
        }
    }

    /// Whether `records` more may be asked for; if so they are counted as asked for.
    pub(super) fn claim(&self, records: u64) -> bool {
        !self.is_over()
            && self
                .shared
                .left
                .fetch_update(Relaxed, Relaxed, |left| {
                    (left > 0).then(|| left.saturating_sub(records))
                })
                .is_ok()
    }

    pub(super) fn is_over(&self) -> bool {
        self.shared.stopped.load(Relaxed) || self.now() >= self.end
    }

    /// Counts what has been done by `now`, in `tally` and on the line.
    pub(super) fn done(&self, tally: &mut Tally, now: Duration, records: u64, bytes: u64) {
        tally.sent(bytes);
        if now >= self.from {
            tally.done(records, bytes);
        }
        self.shared.records.fetch_add(records, Relaxed);
        self.shared.bytes.fetch_add(bytes, Relaxed);
    }

    /// Draws the line and listens for Ctrl-C until `tasks` are asked to end.
    pub(super) fn show(&self, tasks: &Tasks) -> anyhow::Result<()> {
        let mut signals = Terminations::listen()?;
        let (progress, stopping) = (self.clone(), tasks.stopping());
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
        tasks.spawn("progress", async move {
            let mut before = 0;
            let mut ticks = clock::interval(EVERY);
            loop {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => break,
                    () = signals.next() => progress.shared.stopped.store(true, Relaxed),
                    _ = ticks.tick() => {
                        let bytes = progress.shared.bytes.load(Relaxed);
                        let rate = ByteCount((bytes - before) * 4);
                        before = bytes;
                        let records = HumanCount(progress.shared.records.load(Relaxed));
                        bar.set_message(format!("{records} records, {rate}/s"));
                        bar.tick();
                    }
                }
            }
            bar.finish_and_clear();
        });
        Ok(())
    }
}
