//! Tasks with a name and an owner.
//!
//! Owns: tasks, threads, and workers, which are threads or, in a simulation, take turns.
//! Invariants: no task outlives the `Tasks` it was spawned on; work that wants a core all the time
//! it runs gets one, or waits; in a simulation nothing runs on another thread.

use std::{
    future::Future,
    sync::{Arc, Condvar, MutexGuard},
    thread,
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{background::Background, clock, sim::Turns};

/// The tasks of one owner. Dropping the last clone does not stop them; `stop` does.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    aborts: Arc<std::sync::Mutex<Vec<AbortHandle>>>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` as a task called `name` in spans.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.tracker.spawn(future.instrument(tracing::debug_span!("task", name)));
        self.keep(handle.abort_handle());
    }

    /// As `spawn`, on the threads of `background`.
    pub fn spawn_behind<F>(&self, background: &Background, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let future = future.instrument(tracing::debug_span!("task", name));
        let handle = match background.handle() {
            Some(runtime) => self.tracker.spawn_on(future, &runtime),
            None => self.tracker.spawn(future),
        };
        self.keep(handle.abort_handle());
    }

    fn keep(&self, handle: AbortHandle) {
        let mut aborts = self.aborts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        aborts.retain(|abort| !abort.is_finished());
        aborts.push(handle);
    }

    /// Runs a blocking closure on the runtime's blocking pool and waits for it.
    ///
    /// # Errors
    /// When the closure panicked or the runtime is going down.
    pub async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        match Turns::current() {
            None => tokio::task::spawn_blocking(work).await,
            Some(turns) => {
                turns.lag().await;
                Ok(work())
            }
        }
    }

    /// Resolves when the owner wants its tasks to end; tasks select on it.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Asks every task to end and waits until all have.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Ends every task where it stands, as a crash would, and waits until all are gone.
    pub async fn abort(&self) {
        self.stopping.cancel();
        self.tracker.close();
        for abort in self.aborts.lock().unwrap_or_else(|p| p.into_inner()).drain(..) {
            abort.abort();
        }
        self.tracker.wait().await;
    }
}

/// Blocking work that computes: as much of it at once as there are cores, the rest waits its turn.
/// Clones share the turns.
#[derive(Clone, Debug)]
pub struct Cores {
    free: Arc<Semaphore>,
}

impl Cores {
    /// As many as the machine has.
    #[must_use]
    pub fn of_the_machine() -> Self {
        Self::of(thread::available_parallelism().map_or(1, usize::from))
    }

    fn of(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)) }
    }

    /// Runs `work` in its turn on the runtime's blocking pool and waits for it. Given up before
    /// its turn it never runs; after that it runs to its end, and holds its core so long.
    ///
    /// # Errors
    /// When the work panicked or the runtime is going down.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        // Never closed, so there is always a core to come.
        let core = Arc::clone(&self.free).acquire_owned().await;
        let held = move || {
            let done = work();
            drop(core);
            done
        };
        Tasks::blocking(held).await
    }
}

/// Starts a named operating system thread; its owner joins the handle.
///
/// # Errors
/// When the system has no thread to give.
pub fn thread<T: Send + 'static>(
    name: &'static str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Work that goes on beside the runtime: a thread, or in a simulation a task.
#[derive(Debug)]
pub struct Worker(Running);

#[derive(Debug)]
enum Running {
    Thread(thread::JoinHandle<()>),
    Turns(tokio::task::JoinHandle<()>),
}

/// Starts a worker called `name`: `on_thread` does the work of `state` to its end; `in_turns` does
/// the same without ever blocking.
///
/// # Errors
/// When the system has no thread to give.
pub fn worker<S: Send + 'static, F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    state: S,
    on_thread: impl FnOnce(S) + Send + 'static,
    in_turns: impl FnOnce(S) -> F,
) -> std::io::Result<Worker> {
    Ok(Worker(match Turns::current() {
        None => Running::Thread(thread(name, move || on_thread(state))?),
        Some(_) => Running::Turns(tokio::spawn(in_turns(state))),
    }))
}

impl Worker {
    /// Waits for its end. One that panicked has told so itself.
    pub async fn join(self) {
        match self.0 {
            Running::Thread(thread) => {
                drop(Tasks::blocking(move || thread.join().is_ok()).await);
            }
            Running::Turns(task) => drop(task.await),
        }
    }
}

/// Puts off the next turn of a worker in a simulation.
pub async fn lag() {
    if let Some(turns) = Turns::current() {
        turns.lag().await;
    }
}

/// Wakes one worker. Who rings has first changed, under its lock, what the worker looks at.
#[derive(Debug)]
pub struct Bell {
    thread: Condvar,
    /// In a simulation; it keeps one ring that nobody waited for.
    turns: Option<Notify>,
}

impl Default for Bell {
    fn default() -> Self {
        Self { thread: Condvar::new(), turns: Turns::current().map(|_| Notify::new()) }
    }
}

impl Bell {
    /// Wakes the worker.
    pub fn ring(&self) {
        self.thread.notify_one();
        if let Some(turns) = &self.turns {
            turns.notify_one();
        }
    }

    /// Lets the thread wait for a ring, or for `limit`; the lock is free meanwhile.
    pub fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, T> {
        match limit {
            None => self.thread.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner()),
            Some(limit) => {
                let waited = self.thread.wait_timeout(guard, limit);
                waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
            }
        }
    }

    /// The same for a worker that takes turns; it holds no lock. A ring since it looked counts.
    pub async fn rung(&self, limit: Option<Duration>) {
        let Some(turns) = &self.turns else { return };
        match limit {
            None => turns.notified().await,
            Some(limit) => drop(clock::timeout(limit, turns.notified()).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn who_has_no_core_waits_and_who_has_one_keeps_it_to_the_end() {
        let cores = Cores::of(2);
        let (mut releases, mut tokens, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..4 {
            let (release, released) = mpsc::channel::<()>();
            let token = Arc::new(());
            let held = Arc::clone(&token);
            let work = move || {
                // Ends when its sender is dropped.
                let ended = released.recv();
                drop(held);
                ended.is_err()
            };
            let cores = cores.clone();
            let mut call = Box::pin(async move { cores.blocking(work).await });
            assert!(poll!(call.as_mut()).is_pending());
            releases.push(release);
            tokens.push(token);
            calls.push(call);
        }
        // Given up while it waited: nothing of it is left, so it never began.
        drop(calls.remove(2));
        assert_eq!(Arc::strong_count(&tokens[2]), 1);
        // Given up while it ran: it runs on, and its core is not free.
        drop(calls.remove(1));
        assert_eq!(Arc::strong_count(&tokens[1]), 2);
        assert!(poll!(calls[1].as_mut()).is_pending());
        assert_eq!(cores.free.available_permits(), 0);
        let (first, last) = (calls.remove(0), calls.remove(0));
        releases.clear();
        assert!(first.await.unwrap() && last.await.unwrap());
        assert_eq!(Arc::strong_count(&tokens[3]), 1);
    }
}
