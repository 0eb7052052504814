//! The contract test: what the protocol needs of a store, tried out before it is trusted.
//!
//! Owns: the tries and the findings in plain words (correctness.md 5.3). Does not own: when it is
//! run. Invariants: it touches only throw-away keys of its own; a store that merely does not
//! answer is never called a liar, and a liar is never let pass.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::{Failure, FailureKind, GetError, Key, Outcome, Store, Version, path};
use crate::env::Env;

/// Racers of one key.
const RACERS: usize = 8;
/// Races of each kind.
const RACES: u64 = 2;
/// S3 refuses requests from clocks that differ by more than 15 minutes; warn well before.
const MAX_SKEW: Duration = Duration::from_secs(300);

/// A store that kept the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractReport {
    /// What was tried, in order, with the time it took.
    pub steps: Vec<Step>,
    /// How far the store's clock is from ours.
    pub skew: Duration,
}

/// One thing tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the store has shown to do.
    pub name: &'static str,
    /// How long its requests took together.
    pub took: Duration,
}

/// Why a store was not found honest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// It breaks the contract: never run on it.
    #[error("this bucket cannot be trusted with a cluster: {finding}")]
    Broken {
        /// What it did, in plain words.
        finding: String,
    },
    /// It did not answer well enough to be judged.
    #[error("the bucket could not be tested: {0}")]
    Failed(#[from] Failure),
}

pub(super) async fn check(store: &Store, env: &Env) -> Result<ContractReport, CheckError> {
    let nonce = env.entropy.next_u64();
    let check = Check { store, env, nonce };
    let result = check.run().await;
    check.sweep().await;
    result
}

struct Check<'a> {
    store: &'a Store,
    env: &'a Env,
    nonce: u64,
}

impl Check<'_> {
    async fn run(&self) -> Result<ContractReport, CheckError> {
        let mut steps = Vec::new();
        let mut since = self.env.clock.boot();
        let mut step = |name| {
            let now = self.env.clock.boot();
            steps.push(Step { name, took: now.saturating_sub(since) });
            since = now;
        };
        let first = self.create_and_read().await?;
        step("an object reads back as written");
        self.create_twice(&first).await?;
        step("a second create of one key is refused");
        let skew = self.clock_skew().await?;
        step("its clock is near ours");
        self.ranges().await?;
        step("a range has exactly the bytes asked for");
        self.replace_by_version().await?;
        step("a replace needs the version that is there");
        for race in 0..RACES {
            self.race_of_creates(race).await?;
        }
        step("of concurrent creates one wins");
        for race in 0..RACES {
            self.race_of_replaces(race).await?;
        }
        step("of concurrent replaces one wins");
        self.listing().await?;
        step("a listing shows what is there, in order");
        self.delete().await?;
        step("what is deleted is gone");
        Ok(ContractReport { steps, skew })
    }

    async fn create_and_read(&self) -> Result<Version, CheckError> {
        let version = self.must_create("one", "first").await?;
        let found = self.must_get("one", "an object just written").await?;
        if found.0 != self.body("first") {
            return broken("an object reads back with other content than was written");
        }
        if found.1 != version {
            return broken(
                "a write and the read after it tell different versions of one object, so a \
                 conditional write would never succeed",
            );
        }
        match self.store.get(&self.key("nothing")).await {
            Err(GetError::Absent) => Ok(version),
            Err(GetError::Failed(failure)) => Err(failure.into()),
            Ok(_) => broken("an object that was never written can be read"),
        }
    }

    async fn create_twice(&self, first: &Version) -> Result<(), CheckError> {
        let again = self.create("one", "second").await;
        self.lost(
            again,
            "a second create of the same key was accepted: the store ignores \
            If-None-Match, so two controllers could both write the same log entry",
        )?;
        let found = self.must_get("one", "an object just written").await?;
        if found != (self.body("first"), first.clone()) {
            return broken("a refused create changed the object all the same");
        }
        Ok(())
    }

    async fn clock_skew(&self) -> Result<Duration, CheckError> {
        let now = self.env.clock.wall();
        let head = self.store.head(&self.key("one")).await.map_err(|error| match error {
            GetError::Absent => finding("an object can be read, but its head says it is absent"),
            GetError::Failed(failure) => failure.into(),
        })?;
        if head.bytes != u64::try_from(self.body("first").len()).unwrap_or_default() {
            return broken("the head of an object tells another length than was written");
        }
        let skew = Duration::from_millis(now.0.abs_diff(head.modified.0));
        if skew > MAX_SKEW {
            let minutes = skew.as_secs() / 60;
            return broken(format!(
                "its clock and this machine's differ by {minutes} minutes: set the clock (NTP)"
            ));
        }
        Ok(skew)
    }

    async fn ranges(&self) -> Result<(), CheckError> {
        let body = self.body("first");
        let key = self.key("one");
        for (from, to) in [(0, 1), (3, 11), (0, body.len())] {
            let range = u64::try_from(from).unwrap_or(0)..u64::try_from(to).unwrap_or(0);
            match self.store.get_range(&key, range).await {
                Ok(bytes) if body.get(from..to) == Some(&bytes[..]) => {}
                Ok(_) => return broken("a range of an object has other bytes than the object"),
                Err(GetError::Absent) => return broken("an object has no ranges, but is there"),
                Err(GetError::Failed(failure)) if failure.kind() == FailureKind::Other => {
                    return broken(format!("a range of an object cannot be read: {failure}"));
                }
                Err(GetError::Failed(failure)) => return Err(failure.into()),
            }
        }
        Ok(())
    }

    async fn replace_by_version(&self) -> Result<(), CheckError> {
        let old = self.must_create("two", "old").await?;
        let other = self.must_create("three", "of another object").await?;
        let wrong = self.replace("two", &other, "wrong").await;
        self.lost(
            wrong,
            "a replace with a wrong version was accepted: the store ignores \
            If-Match, so a lease could be taken from its holder unseen",
        )?;
        let missing = self.replace("four", &old, "missing").await;
        self.lost(
            missing,
            "a replace of an object that does not exist was accepted though it \
            named a version",
        )?;
        if self.get("four").await?.is_some() {
            return broken("a refused replace wrote the object all the same");
        }
        let new = match self.replace("two", &old, "new").await {
            Outcome::Done(version) => version,
            Outcome::Refused => {
                return broken("a replace with the right version was refused");
            }
            Outcome::Unknown(failure) if failure.kind() == FailureKind::Conflict => {
                return broken("a replace with the right version was refused");
            }
            Outcome::Unknown(failure) => return Err(failure.into()),
        };
        if self.must_get("two", "an object just replaced").await? != (self.body("new"), new) {
            return broken("an object just replaced reads back as something else");
        }
        let stale = self.replace("two", &old, "stale").await;
        self.lost(stale, "a replace with a version that was already replaced was accepted")?;
        let key = self.key("two");
        let (_, version) = self.must_get("two", "an object just replaced").await?;
        match self.store.get_unless(&key, &version).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => broken("an object changed though nobody wrote it"),
            Err(GetError::Absent) => broken("an object vanished though nobody deleted it"),
            Err(GetError::Failed(failure)) => Err(failure.into()),
        }
    }

    async fn race_of_creates(&self, race: u64) -> Result<(), CheckError> {
        let name = if race == 0 { "create-race-0" } else { "create-race-1" };
        let tries = RUNNERS.map(|runner| self.create(name, runner));
        self.one_winner(name, join_all(tries).await, "creates of one key").await
    }

    async fn race_of_replaces(&self, race: u64) -> Result<(), CheckError> {
        let name = if race == 0 { "replace-race-0" } else { "replace-race-1" };
        let start = self.must_create(name, "start").await?;
        let tries = RUNNERS.map(|runner| self.replace(name, &start, runner));
        self.one_winner(name, join_all(tries).await, "replaces of one version").await
    }

    /// Exactly one may have won, and the object is what it wrote.
    async fn one_winner(
        &self,
        name: &'static str,
        outcomes: Vec<Outcome<Version>>,
        what: &str,
    ) -> Result<(), CheckError> {
        let mut winners = Vec::new();
        let mut doubtful = None;
        for (runner, outcome) in RUNNERS.iter().zip(outcomes) {
            match outcome {
                Outcome::Done(version) => winners.push((self.body(runner), version)),
                Outcome::Refused => {}
                Outcome::Unknown(failure) if failure.kind() == FailureKind::Conflict => {}
                Outcome::Unknown(failure) => doubtful = Some(failure),
            }
        }
        let found = self.must_get(name, "an object that was raced for").await;
        match (winners.as_slice(), doubtful) {
            ([winner], _) if *winner == found? => Ok(()),
            ([_], _) => broken(format!(
                "of {RACERS} concurrent {what} one was accepted, but \
                the object holds what another wrote"
            )),
            ([], Some(failure)) => Err(failure.into()),
            ([], None) => broken(format!("of {RACERS} concurrent {what} none was accepted")),
            (several, _) => broken(format!(
                "of {RACERS} concurrent {what} {} were accepted: \
                writes can be lost",
                several.len()
            )),
        }
    }

    async fn listing(&self) -> Result<(), CheckError> {
        let prefix = path::check_prefix(self.nonce);
        let page = self.store.list(&prefix, None).await?;
        let keys: Vec<Key> = page.listed.into_iter().map(|listed| listed.key).collect();
        let names = ["create-race-0", "create-race-1", "one", "replace-race-0"];
        let more = ["replace-race-1", "three", "two"];
        let wanted: Vec<Key> = names.iter().chain(&more).map(|name| self.key(name)).collect();
        if page.more || keys != wanted {
            return broken("a listing does not show the objects that are there, in key order");
        }
        let rest = self.store.list(&prefix, Some(&self.key("replace-race-1"))).await?;
        let keys: Vec<Key> = rest.listed.into_iter().map(|listed| listed.key).collect();
        if keys != [self.key("three"), self.key("two")] {
            return broken("a listing from a key on does not begin after that key");
        }
        Ok(())
    }

    async fn delete(&self) -> Result<(), CheckError> {
        self.store.delete(&self.key("one")).await?;
        if self.get("one").await?.is_some() {
            return broken("a deleted object can still be read");
        }
        // Deleting twice is what a repeated request does.
        self.store.delete(&self.key("one")).await?;
        self.must_create("one", "again").await.map(|_| ())
    }

    async fn sweep(&self) {
        let Ok(page) = self.store.list(&path::check_prefix(self.nonce), None).await else { return };
        for listed in page.listed {
            if let Err(failure) = self.store.delete(&listed.key).await {
                tracing::debug!(key = %listed.key, reason = %failure, "test object left behind");
            }
        }
    }

    /// A write that had to lose: accepted, it is the finding.
    fn lost(&self, outcome: Outcome<Version>, accepted: &str) -> Result<(), CheckError> {
        match outcome {
            Outcome::Done(_) => broken(accepted),
            Outcome::Refused => Ok(()),
            Outcome::Unknown(failure) if failure.kind() == FailureKind::Conflict => Ok(()),
            Outcome::Unknown(failure) => Err(failure.into()),
        }
    }

    async fn must_create(&self, name: &'static str, text: &str) -> Result<Version, CheckError> {
        match self.create(name, text).await {
            Outcome::Done(version) => Ok(version),
            Outcome::Refused => broken("a create of a new key was refused as if it were there"),
            Outcome::Unknown(failure) if failure.kind() == FailureKind::Conflict => {
                broken("a create of a new key was refused as if it were there")
            }
            Outcome::Unknown(failure) => Err(failure.into()),
        }
    }

    async fn must_get(&self, name: &str, what: &str) -> Result<(Bytes, Version), CheckError> {
        self.get(name).await?.ok_or_else(|| finding(format!("{what} cannot be read")))
    }

    async fn get(&self, name: &str) -> Result<Option<(Bytes, Version)>, CheckError> {
        match self.store.get(&self.key(name)).await {
            Ok(found) => Ok(Some((found.bytes, found.version))),
            Err(GetError::Absent) => Ok(None),
            Err(GetError::Failed(failure)) => Err(failure.into()),
        }
    }

    async fn create(&self, name: &str, text: &str) -> Outcome<Version> {
        self.store.create(&self.key(name), vec![self.body(text)]).await
    }

    async fn replace(&self, name: &str, version: &Version, text: &str) -> Outcome<Version> {
        self.store.replace(&self.key(name), version, vec![self.body(text)]).await
    }

    fn key(&self, name: &str) -> Key {
        path::check(self.nonce, name)
    }

    fn body(&self, text: &str) -> Bytes {
        Bytes::from(format!("strandline contract test {:016x}: {text}", self.nonce))
    }
}

const RUNNERS: [&str; RACERS] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn finding(text: impl Into<String>) -> CheckError {
    CheckError::Broken { finding: text.into() }
}

fn broken<T>(text: impl Into<String>) -> Result<T, CheckError> {
    Err(finding(text))
}
