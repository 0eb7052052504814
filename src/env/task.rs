//! Tasks with a name and an owner.
//!
//! Invariant: no task outlives the `Tasks` it was spawned on.

use std::{future::Future, sync::Arc, thread};

use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

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
        let mut aborts = self.aborts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        aborts.retain(|abort| !abort.is_finished());
        aborts.push(handle.abort_handle());
    }

    /// Runs a blocking closure on the runtime's blocking pool and waits for it.
    ///
    /// # Errors
    /// When the closure panicked or the runtime is going down.
    pub async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        tokio::task::spawn_blocking(work).await
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
