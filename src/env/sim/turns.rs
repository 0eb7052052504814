//! One thread on which everything takes turns, in virtual time.
//!
//! Owns: the time, timers, and how long a turn of blocking work is put off. Does not own: the tasks:
//! they are tokio's, on a runtime of one thread that ends, with all that ran, when `run` returns.
//! Invariants: time passes only while nothing can run, and then to the next timer; what happens,
//! and in which order, follows from the seed alone.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::SimEntropy;
use crate::{
    env::{
        clock::{Clock, Instant},
        entropy::Entropy,
    },
    types::Millis,
};

thread_local! {
    static CURRENT: RefCell<Option<Turns>> = const { RefCell::new(None) };
}

/// How long blocking work is put off, by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Most of it takes up to this.
    pub usual: Duration,
    /// In 1000 turns so many stall...
    pub stalls: u64,
    /// ...for up to this.
    pub stalled: Duration,
}

/// The simulated thread; clones are the same one.
#[derive(Clone)]
pub struct Turns(Arc<Inner>);

struct Inner {
    /// What `Instant` the time began at.
    base: Instant,
    entropy: SimEntropy,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Duration,
    /// Between now and the next timer.
    wall_ahead_ms: i64,
    booted: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    /// Of whoever runs it all: looked at after every passing of time, for a timer may be nobody's.
    main: Option<Waker>,
    next_timer: u64,
    lag: Lag,
    stalled: u64,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// Leaves the thread as it was.
struct Entered(Option<Turns>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(self.0.take()));
    }
}

impl Turns {
    /// A thread whose chances follow from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let entropy = SimEntropy::seeded(seed);
        let base = crate::env::clock::moment();
        Self(Arc::new(Inner { base, entropy, state: Mutex::default() }))
    }

    /// The simulation this thread is in, if it is in one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Runs `main` and whatever it spawns until `main` ends; the rest ends where it stands, as at
    /// a crash. Time goes on from one run to the next.
    ///
    /// # Errors
    /// When the runtime cannot be built.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> io::Result<T> {
        let idle = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || idle.pass())
            .build()?;
        let _entered = Entered(CURRENT.with(|current| current.replace(Some(self.clone()))));
        let mut main = pin!(main);
        let done = runtime.block_on(poll_fn(|context| {
            self.state().main = Some(context.waker().clone());
            main.as_mut().poll(context)
        }));
        drop(runtime);
        self.state().timers.clear();
        Ok(done)
    }

    /// Time since the simulation began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.state().now
    }

    /// The same as an instant.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.0.base + self.now()
    }

    /// Resolves after `time`.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep { due: self.now().saturating_add(time), turns: self.clone(), timer: None }
    }

    /// Resolves at `instant`.
    #[must_use]
    pub fn sleep_until(&self, instant: Instant) -> Sleep {
        let due = instant.saturating_duration_since(self.0.base);
        Sleep { due, turns: self.clone(), timer: None }
    }

    /// How long blocking work is put off from now on.
    pub fn set_lag(&self, lag: Lag) {
        self.state().lag = lag;
    }

    /// Puts off a turn of blocking work.
    pub async fn lag(&self) {
        let lag = self.state().lag;
        let stalls = self.0.entropy.below(1000) < lag.stalls;
        let most = if stalls { lag.stalled } else { lag.usual };
        if stalls {
            self.state().stalled += 1;
        }
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        let micros = self.0.entropy.below(micros.saturating_add(1));
        self.sleep(Duration::from_micros(micros)).await;
    }

    /// Turns that stalled so far.
    #[must_use]
    pub fn stalled(&self) -> u64 {
        self.state().stalled
    }

    /// A clock of this time: the wall began at `wall`.
    #[must_use]
    pub fn clock(&self, wall: Millis) -> TurnsClock {
        TurnsClock { turns: self.clone(), began: wall }
    }

    /// Moves the wall clock: by a correction, or a mistake.
    pub fn jump(&self, by_ms: i64) {
        let mut state = self.state();
        state.wall_ahead_ms = state.wall_ahead_ms.saturating_add(by_ms);
    }

    /// How far the wall clock is ahead of the time that passed.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.state().wall_ahead_ms
    }

    /// The machine boots again: its boot clock begins anew.
    pub fn boot(&self) {
        let mut state = self.state();
        state.booted = state.now;
    }

    /// Nothing can run: the next timer is due.
    ///
    /// # Panics
    /// When there is none: nothing would ever happen again.
    fn pass(&self) {
        let mut state = self.state();
        let next = state.timers.first_key_value().map(|((due, _), _)| *due);
        let due = next.expect("a simulation in which something can still happen");
        state.now = state.now.max(due);
        let now = state.now;
        let later = state.timers.split_off(&(now + Duration::from_nanos(1), 0));
        let due = std::mem::replace(&mut state.timers, later);
        let main = state.main.take();
        drop(state);
        due.into_values().chain(main).for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Resolves when its time has come.
#[derive(Debug)]
pub struct Sleep {
    due: Duration,
    turns: Turns,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let turns = self.turns.clone();
        let mut state = turns.state();
        if state.now >= self.due {
            if let Some(timer) = self.timer.take() {
                state.timers.remove(&(self.due, timer));
            }
            return Poll::Ready(());
        }
        let timer = *self.timer.get_or_insert_with(|| {
            state.next_timer += 1;
            state.next_timer
        });
        state.timers.insert((self.due, timer), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.turns.state().timers.remove(&(self.due, timer));
        }
    }
}

/// The clocks of a simulated machine.
#[derive(Debug)]
pub struct TurnsClock {
    turns: Turns,
    began: Millis,
}

impl Clock for TurnsClock {
    fn wall(&self) -> Millis {
        let state = self.turns.state();
        let passed = i64::try_from(state.now.as_millis()).unwrap_or(i64::MAX);
        let passed = passed.saturating_add(state.wall_ahead_ms);
        Millis(self.began.0.saturating_add(passed))
    }

    fn boot(&self) -> Duration {
        let state = self.turns.state();
        state.now.saturating_sub(state.booted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::env::{clock, task::Tasks};

    #[test]
    fn time_passes_only_while_nothing_runs_and_then_to_the_next_timer() {
        let turns = Turns::seeded(1);
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks = Tasks::new();
        turns
            .run(async {
                for seconds in [3, 1, 2] {
                    let order = Arc::clone(&order);
                    tasks.spawn("sleeper", async move {
                        clock::sleep(Duration::from_secs(seconds)).await;
                        order.lock().unwrap().push(seconds);
                    });
                }
                clock::sleep(Duration::from_secs(3600)).await;
            })
            .unwrap();
        assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
        assert_eq!(turns.now(), Duration::from_secs(3600));
    }

    #[test]
    fn a_limit_is_of_virtual_time_and_work_within_it_is_done() {
        let turns = Turns::seeded(1);
        let outcomes = turns.run(async {
            let hour = clock::sleep(Duration::from_secs(3600));
            let late = clock::timeout(Duration::from_secs(1), hour).await.is_err();
            let soon = clock::timeout(Duration::from_secs(1), async { 7 }).await;
            (late, soon.ok(), clock::moment() - turns.0.base)
        });
        assert_eq!(outcomes.unwrap(), (true, Some(7), Duration::from_secs(1)));
    }

    #[test]
    fn a_run_ends_its_tasks_where_they_stand() {
        let turns = Turns::seeded(1);
        let ticks = Arc::new(AtomicUsize::new(0));
        let tasks = Tasks::new();
        let counted = Arc::clone(&ticks);
        let endless = async move {
            loop {
                clock::sleep(Duration::from_secs(1)).await;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        };
        let main = async {
            tasks.spawn("endless", endless);
            clock::sleep(Duration::from_millis(5500)).await;
        };
        turns.run(main).unwrap();
        assert_eq!(ticks.load(Ordering::SeqCst), 5);
        turns.run(turns.sleep(Duration::from_secs(60))).unwrap();
        assert_eq!((Arc::strong_count(&ticks), ticks.load(Ordering::SeqCst)), (1, 5));
    }

    #[test]
    fn blocking_work_is_put_off_as_the_seed_says() {
        let took = |seed| {
            let turns = Turns::seeded(seed);
            let lag = Lag { usual: Duration::from_millis(5), ..Lag::default() };
            turns.set_lag(lag);
            let work = async {
                for _ in 0..10 {
                    Tasks::blocking(|| ()).await.unwrap();
                }
            };
            turns.run(work).unwrap();
            turns.now()
        };
        assert_eq!(took(1), took(1));
        assert_ne!(took(1), took(2));
    }

    #[test]
    fn the_wall_jumps_and_the_boot_clock_does_not() {
        let turns = Turns::seeded(1);
        let clock = turns.clock(Millis(1_000_000));
        turns.run(turns.sleep(Duration::from_secs(2))).unwrap();
        turns.jump(-5000);
        assert_eq!((clock.wall(), clock.boot()), (Millis(997_000), Duration::from_secs(2)));
        turns.boot();
        assert_eq!((clock.wall(), clock.boot()), (Millis(997_000), Duration::ZERO));
    }
}
