use std::ops::Range;

use async_trait::async_trait;

use super::*;
use crate::{
    env::sim::SimEntropy,
    types::{Incarnation, MetadataIndex, ObjectId},
};

fn env() -> Env {
    Env::real()
}

fn faulty() -> (Store, Faulty) {
    let env = env();
    let faulty = Faulty::new(Arc::new(Memory::new(Arc::clone(&env.clock))));
    (Store::over(Arc::new(faulty.clone()), &env), faulty)
}

fn body(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

fn entry() -> Key {
    path::log_entry(MetadataIndex(1))
}

/// How a store can lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    IgnoresCreate,
    IgnoresMatch,
    IgnoresMatchOnMissing,
    RefusesMatch,
    WritesWhenRefused,
    ForgetsWrites,
    KeepsDeleted,
    CutsRanges,
    ListsBackwards,
    ListsFromStart,
    OldClock,
    RacyCreate,
    RacyReplace,
}

/// A memory bucket that lies in one way.
#[derive(Debug)]
struct Liar {
    lie: Lie,
    memory: Memory,
}

impl Liar {
    async fn force(&self, key: &Key, parts: Vec<Bytes>) -> Outcome<Version> {
        let condition = match self.memory.get(key, None).await {
            Ok(Some(found)) => Condition::Matches(found.version),
            _ => Condition::Absent,
        };
        self.memory.put(key, &condition, parts).await
    }
}

#[async_trait]
impl Bucket for Liar {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        if self.lie == Lie::ForgetsWrites {
            return Err(GetError::Absent);
        }
        self.memory.get(key, unless).await
    }

    async fn get_range(&self, key: &Key, mut range: Range<u64>) -> Result<Bytes, GetError> {
        if self.lie == Lie::CutsRanges {
            range.end -= 1;
        }
        self.memory.get_range(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        let mut head = self.memory.head(key).await?;
        if self.lie == Lie::OldClock {
            head.modified.0 -= 3_600_000;
        }
        Ok(head)
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        let there = self.memory.head(key).await.is_ok();
        let matches = matches!(condition, Condition::Matches(_));
        let racy = match condition {
            Condition::Absent => self.lie == Lie::RacyCreate,
            Condition::Matches(_) => self.lie == Lie::RacyReplace,
        };
        if racy && key.as_str().contains("race") {
            // Checks, lets others check, then writes: s3s-fs does so.
            let holds = match condition {
                Condition::Absent => !there,
                Condition::Matches(version) => {
                    self.memory.get(key, None).await.ok().flatten().map(|found| found.version)
                        == Some(version.clone())
                }
            };
            tokio::task::yield_now().await;
            return if holds { self.force(key, parts).await } else { Outcome::Refused };
        }
        match self.lie {
            Lie::IgnoresCreate if !matches => self.force(key, parts).await,
            Lie::IgnoresMatch if matches => self.force(key, parts).await,
            Lie::IgnoresMatchOnMissing if matches && !there => self.force(key, parts).await,
            Lie::RefusesMatch if matches => Outcome::Refused,
            Lie::WritesWhenRefused => {
                let outcome = self.memory.put(key, condition, parts.clone()).await;
                if outcome == Outcome::Refused {
                    self.force(key, parts).await.done();
                }
                outcome
            }
            _ => self.memory.put(key, condition, parts).await,
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        if self.lie == Lie::KeepsDeleted {
            return Ok(());
        }
        self.memory.delete(key).await
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        let after = after.filter(|_| self.lie != Lie::ListsFromStart);
        let mut page = self.memory.list(prefix, after).await?;
        if self.lie == Lie::ListsBackwards {
            page.listed.reverse();
        }
        Ok(page)
    }
}

#[tokio::test]
async fn a_lying_store_is_refused_with_the_finding() {
    for (lie, finding) in [
        (Lie::IgnoresCreate, "a second create of the same key was accepted"),
        (Lie::IgnoresMatch, "a replace with a wrong version was accepted"),
        (Lie::IgnoresMatchOnMissing, "a replace of an object that does not exist was accepted"),
        (Lie::RefusesMatch, "a replace with the right version was refused"),
        (Lie::WritesWhenRefused, "a refused create changed the object"),
        (Lie::ForgetsWrites, "an object just written cannot be read"),
        (Lie::KeepsDeleted, "a deleted object can still be read"),
        (Lie::CutsRanges, "a range of an object cannot be read"),
        (Lie::ListsBackwards, "in key order"),
        (Lie::ListsFromStart, "does not begin after that key"),
        (Lie::OldClock, "differ by 60 minutes"),
        (Lie::RacyCreate, "concurrent creates of one key 8 were accepted"),
        (Lie::RacyReplace, "concurrent replaces of one version"),
    ] {
        let env = env();
        let memory = Memory::new(Arc::clone(&env.clock));
        let store = Store::over(Arc::new(Liar { lie, memory }), &env);
        match store.check_contract().await {
            Err(CheckError::Broken { finding: found }) => {
                assert!(found.contains(finding), "{lie:?} was found as: {found}");
            }
            other => panic!("{lie:?} passed as {other:?}"),
        }
    }
}

#[tokio::test]
async fn memory_keeps_the_contract_and_the_test_leaves_nothing() {
    let store = Store::in_memory(&env());
    let report = store.check_contract().await.unwrap();
    assert!(report.steps.len() >= 9);
    assert_eq!(store.list(&path::everything(), None).await.unwrap(), Page::default());
}

#[tokio::test]
async fn a_store_that_is_away_is_not_called_a_liar() {
    let (store, faulty) = faulty();
    faulty.set_down(Some(FailureKind::Timeout));
    let error = store.check_contract().await.unwrap_err();
    assert!(matches!(error, CheckError::Failed(_)), "{error}");
}

#[tokio::test]
async fn a_shaky_store_is_never_called_a_liar() {
    for seed in 0..300 {
        let (store, faulty) = faulty();
        let rates = Rates { fail_before: 30, fail_after: 30, ..Rates::default() };
        faulty.at_random(rates, Arc::new(SimEntropy::seeded(seed)));
        if let Err(CheckError::Broken { finding }) = store.check_contract().await {
            panic!("seed {seed}: {finding}");
        }
    }
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let (store, faulty) = faulty();
    faulty.next_put("meta/log", Fault::FailBefore(FailureKind::Connection));
    assert!(matches!(store.create(&entry(), body("a")).await, Outcome::Unknown(_)));
    assert_eq!(store.get(&entry()).await, Err(GetError::Absent));

    faulty.next_put("meta/log", Fault::FailAfter(FailureKind::Timeout));
    let outcome = store.create(&entry(), body("b")).await;
    assert!(matches!(outcome, Outcome::Unknown(f) if f.kind() == FailureKind::Timeout));
    let found = store.get(&entry()).await.unwrap();
    assert_eq!(found.bytes, "b");

    faulty.next_put("meta/log", Fault::Overtaken(Bytes::from_static(b"theirs")));
    assert_eq!(store.replace(&entry(), &found.version, body("ours")).await, Outcome::Refused);
    assert_eq!(store.get(&entry()).await.unwrap().bytes, "theirs");

    let late = path::log_entry(MetadataIndex(2));
    faulty.next_put("", Fault::Late(3));
    assert!(matches!(store.create(&late, body("late")).await, Outcome::Unknown(_)));
    assert_eq!(store.get(&late).await, Err(GetError::Absent));
    assert_eq!(store.get(&late).await, Err(GetError::Absent));
    assert_eq!(store.get(&late).await.unwrap().bytes, "late");

    let twice = path::log_entry(MetadataIndex(3));
    faulty.next_put("", Fault::Twice(100));
    assert!(matches!(store.create(&twice, body("ghost")).await, Outcome::Done(_)));
    store.delete(&twice).await.unwrap();
    faulty.land_delayed().await;
    assert_eq!(store.get(&twice).await.unwrap().bytes, "ghost");
}

#[tokio::test]
async fn away_follows_the_last_request() {
    let (store, faulty) = faulty();
    let mut away = store.subscribe_away();
    assert_eq!(store.get(&entry()).await, Err(GetError::Absent));
    assert!(!store.away());
    faulty.set_down(Some(FailureKind::Connection));
    store.create(&entry(), body("x")).await.done();
    assert!(store.away());
    let seen = away.borrow_and_update().clone().unwrap();
    assert_eq!((seen.kind, seen.reason.as_str()), (FailureKind::Connection, "injected connection"));
    faulty.calm();
    store.create(&entry(), body("x")).await.done();
    assert!(!store.away());
    assert_eq!(store.create(&entry(), body("x")).await, Outcome::Refused);
    assert!(!store.away(), "a lost condition is an answer");
    let bulk = store.for_bulk_reads();
    faulty.set_down(Some(FailureKind::Timeout));
    bulk.get(&entry()).await.unwrap_err();
    assert!(bulk.away() && !store.away(), "a slow large read does not mean the bucket is away");
}

#[tokio::test]
async fn listings_page_in_order() {
    let store = Store::in_memory(&env());
    let mut wanted = Vec::new();
    for id in 0..2_500 {
        let key = path::data(ObjectId(id), Incarnation(1), id * 7);
        store.create(&key, body("x")).await.done().unwrap();
        wanted.push(key);
    }
    store.create(&path::lease(), body("x")).await.done().unwrap();
    wanted.sort();
    let mut seen: Vec<Key> = Vec::new();
    loop {
        let page = store.list(&path::data_prefix(), seen.last()).await.unwrap();
        seen.extend(page.listed.into_iter().map(|listed| listed.key));
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn a_range_the_object_does_not_have_is_a_failure() {
    let store = Store::in_memory(&env());
    store.create(&entry(), body("0123456789")).await.done().unwrap();
    assert_eq!(store.get_range(&entry(), 2..5).await.unwrap(), "234");
    assert_eq!(store.get_range(&entry(), 5..5).await.unwrap(), "");
    assert!(matches!(store.get_range(&entry(), 5..11).await, Err(GetError::Failed(_))));
    assert_eq!(store.get_range(&path::lease(), 0..1).await, Err(GetError::Absent));
}
