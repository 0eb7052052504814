//! Puts a built object into the bucket and makes sure that it is there.
//!
//! Owns: the tries and the proof. Does not own: publishing. Invariants: every try has a key of its
//! own (H41), so no try can spoil another; nothing is deleted here, whatever happened (H45).

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    cluster::{NewObject, NewRun},
    env::{Env, clock},
    object::Built,
    store::{GetError, Outcome, Store, path},
    types::Incarnation,
};

/// First pause after a failure; doubles up to `LONGEST_PAUSE`, with full jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A lasting failure is told again this often, with how many tries it took so far.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The way into the bucket for one incarnation.
#[derive(Clone, Debug)]
pub(in crate::log) struct Bucket {
    pub(in crate::log) store: Store,
    pub(in crate::log) env: Env,
    pub(in crate::log) incarnation: Incarnation,
}

impl Bucket {
    /// Tries until the object is in the bucket whole, however long the bucket is away.
    pub(super) async fn put(&self, built: Arc<Built>) -> NewObject {
        let mut patience = Patience::new(&self.env);
        loop {
            let nonce = self.env.entropy.next_u64();
            let key = path::data(built.object, self.incarnation, nonce);
            match self.store.create(&key, built.payload.clone()).await {
                Outcome::Done(_) => {
                    if self.verified(&key, &built, &mut patience).await {
                        patience.over("upload");
                        return new_object(&built, self.incarnation, nonce);
                    }
                }
                // A random key that is taken, or nobody knows: the next try has another key, and
                // what this one may have left is an orphan that the sweep finds.
                Outcome::Refused => patience.wait("upload", "the key is taken").await,
                Outcome::Unknown(failure) => patience.wait("upload", &failure.to_string()).await,
            }
        }
    }

    /// Whether the object has its length and reads back its footer; waits for an answer.
    async fn verified(
        &self,
        key: &crate::store::Key,
        built: &Built,
        patience: &mut Patience<'_>,
    ) -> bool {
        let tail = built.tail();
        let length = u64::try_from(tail.len()).unwrap_or(u64::MAX);
        let range = built.bytes.saturating_sub(length)..built.bytes;
        loop {
            let read = async {
                let head = self.store.head(key).await?;
                if head.bytes != built.bytes {
                    return Ok::<_, GetError>(false);
                }
                Ok(self.store.get_range(key, range.clone()).await? == tail)
            };
            match read.await {
                Ok(true) => return true,
                Ok(false) => {
                    patience.wait("verify", "the object reads back differently").await;
                    return false;
                }
                Err(GetError::Absent) => {
                    patience.wait("verify", "the object is not there").await;
                    return false;
                }
                Err(GetError::Failed(failure)) => {
                    patience.wait("verify", &failure.to_string()).await;
                }
            }
        }
    }
}

/// Pauses that grow, and log lines that do not flood.
#[derive(Debug)]
pub(in crate::log) struct Patience<'a> {
    env: &'a Env,
    pause: Duration,
    failures: u64,
    told: Option<Duration>,
}

impl<'a> Patience<'a> {
    pub(in crate::log) fn new(env: &'a Env) -> Self {
        Self { env, pause: FIRST_PAUSE, failures: 0, told: None }
    }

    /// Notes a failure and waits.
    pub(in crate::log) async fn wait(&mut self, what: &'static str, reason: &str) {
        self.failures += 1;
        let now = self.env.clock.boot();
        if self.told.is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY) {
            self.told = Some(now);
            warn!(what, failures = self.failures, reason, "bucket request failed, trying again");
        }
        let most = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX);
        clock::sleep(Duration::from_millis(self.env.entropy.below(most) + 1)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Notes the success after failures.
    pub(in crate::log) fn over(&self, what: &'static str) {
        if self.failures > 0 {
            info!(what, failures = self.failures, "bucket request went through");
        }
    }
}

fn new_object(built: &Built, incarnation: Incarnation, nonce: u64) -> NewObject {
    let run = |run: &crate::object::BuiltRun| NewRun {
        partition: run.partition,
        leader_epoch: run.leader_epoch,
        base: run.base,
        end: run.end,
        bytes: run.bytes,
        max_timestamp: run.max_timestamp,
        last_append: run.last_append,
    };
    NewObject {
        object: built.object,
        incarnation,
        nonce,
        bytes: built.bytes,
        runs: built.runs.iter().map(run).collect(),
    }
}
