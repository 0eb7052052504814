//! Threads for what nobody waits for in milliseconds: uploads, and the bucket's side of old reads.
//!
//! Owns: a runtime of its own whose threads stand behind all others where cores are short (nice 7,
//! SCHED_BATCH), so that a burst of them does not hold up an acknowledgement. Invariant: it starts
//! with its first work, so that who never uploads has no such threads.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{AbortHandle, JoinError},
};

use super::{sim::Turns, task::Tasks};

/// Between 0, the idlest, and 99: nice 7.
const PRIORITY: u8 = 30;
/// Threads for closures; more wait their turn.
const BLOCKING_THREADS: usize = 8;
/// How long a thread without work stays.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The work panicked, or the runtime is going down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Ends its task when dropped.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Handle of such a runtime; clones share it.
#[derive(Clone, Default)]
pub struct Background(Option<Arc<Lazy>>);

#[derive(Default)]
struct Lazy(OnceLock<Option<Runtime>>);

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("own", &self.0.is_some()).finish()
    }
}

impl Drop for Lazy {
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.0.take() {
            // Its last holder may be one of its own tasks.
            runtime.shutdown_background();
        }
    }
}

impl Background {
    /// Threads of its own.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// Work runs on the runtime of whoever brings it.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Where to spawn; `None` is the caller's own runtime, as always in a simulation.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        if Turns::current().is_some() {
            return None;
        }
        let runtime = self.0.as_ref()?.0.get_or_init(build);
        runtime.as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Runs `work` here and waits for it; given up, it ends. Without threads it runs where it is
    /// waited for.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub async fn run<F>(&self, work: F) -> Result<F::Output, Interrupted>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Some(handle) = self.handle() else { return Ok(work.await) };
        let task = handle.spawn(work);
        let _abort = Abort(task.abort_handle());
        task.await.map_err(|_| Interrupted)
    }

    /// Runs a blocking closure here and waits for it.
    ///
    /// # Errors
    /// When the closure panicked or the runtime is going down.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self.handle() {
            Some(handle) => handle.spawn_blocking(work).await,
            None => Tasks::blocking(work).await,
        }
    }
}

fn build() -> Option<Runtime> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let built = Builder::new_multi_thread()
        .worker_threads((cores / 2).max(2))
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(KEEP_ALIVE)
        .thread_name("background")
        .on_thread_start(step_back)
        .enable_all()
        .build();
    // Without threads of its own the work is done all the same.
    built.inspect_err(|error| tracing::warn!(%error, "no threads for background work")).ok()
}

/// Puts the calling thread behind the others. Where a system forbids it, it works as they do.
fn step_back() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
    let priority = ThreadPriorityValue::try_from(PRIORITY).map(ThreadPriority::Crossplatform);
    let stepped = priority.map(|p| set_thread_priority_and_policy(thread_native_id(), p, policy));
    if !matches!(stepped, Ok(Ok(()))) {
        tracing::debug!(?stepped, "a background thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Niceness and policy of the calling thread (proc(5)).
    fn standing() -> (String, String) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[16].to_owned(), fields[38].to_owned())
    }

    #[tokio::test]
    async fn background_threads_stand_behind_all_others() {
        const BATCH: &str = "3";
        let background = Background::new();
        let handle = background.handle().unwrap();
        let behind = ("7".to_owned(), BATCH.to_owned());
        assert_eq!(handle.spawn(async { standing() }).await.unwrap(), behind);
        assert_eq!(background.blocking(standing).await.unwrap(), behind);
        assert_ne!(standing(), behind);
    }

    #[tokio::test]
    async fn work_that_is_given_up_ends_and_drops_what_it_held() {
        let background = Background::new();
        let (held, ended) = tokio::sync::oneshot::channel::<()>();
        let (tell, began) = tokio::sync::oneshot::channel();
        let work = Box::pin(background.run(async move {
            tell.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(held);
        }));
        tokio::select! {
            _ = work => panic!("it never ends by itself"),
            began = began => began.unwrap(),
        }
        assert!(ended.await.is_err());
        let here = thread::current().id();
        let run = || async { thread::current().id() };
        assert_ne!(background.run(run()).await.unwrap(), here);
        assert_eq!(Background::none().run(run()).await.unwrap(), here);
    }

    #[tokio::test]
    async fn the_last_holder_may_be_a_task_of_its_own() {
        let background = Background::new();
        let handle = background.handle().unwrap();
        let done = handle.spawn(async move { drop(background) });
        assert!(done.await.is_ok());
    }

    #[tokio::test]
    async fn without_threads_of_its_own_work_is_done_by_the_callers_runtime() {
        assert_eq!(Background::none().blocking(|| 7).await.unwrap(), 7);
    }
}
