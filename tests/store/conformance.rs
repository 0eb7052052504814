//! What every store does, whatever it is made of.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use strandline::{
    env::Env,
    store::{FailureKind, GetError, Key, Options, Outcome, PAGE_KEYS, Store, Version, path},
    types::{Incarnation, MetadataIndex, ObjectId},
};

use crate::{keys, open};

/// Holds two handles of one empty place to the suite.
async fn conforms(one: &Store, two: &Store) {
    let report = one.check_contract().await.unwrap();
    for step in &report.steps {
        println!("{:>9.1?} {}", step.took, step.name);
    }
    absent_is_an_answer(one).await;
    objects_are_seen_by_the_other_handle(one, two).await;
    large_objects_read_back_in_ranges(one, two).await;
    one_create_wins(one, two).await;
    no_update_is_lost(one, two).await;
    listings_page(one).await;
    assert!(!one.away() && !two.away());
}

fn body(text: &str) -> Vec<Bytes> {
    // In parts, one of them empty.
    let (head, tail) = text.split_at(text.len() / 2);
    [head, "", tail].map(|part| Bytes::copy_from_slice(part.as_bytes())).to_vec()
}

fn entry(index: u64) -> Key {
    path::log_entry(MetadataIndex(index))
}

async fn create(store: &Store, key: &Key, text: &str) -> Version {
    match store.create(key, body(text)).await {
        Outcome::Done(version) => version,
        other => panic!("create of {key}: {other:?}"),
    }
}

async fn absent_is_an_answer(store: &Store) {
    assert_eq!(store.get(&entry(1)).await, Err(GetError::Absent));
    assert_eq!(store.head(&entry(1)).await, Err(GetError::Absent));
    assert_eq!(store.get_range(&entry(1), 0..1).await, Err(GetError::Absent));
    store.delete(&entry(1)).await.unwrap();
    assert!(store.list(&path::log_prefix(), None).await.unwrap().listed.is_empty());
}

async fn objects_are_seen_by_the_other_handle(one: &Store, two: &Store) {
    let old = create(one, &path::floor(), "old").await;
    assert_eq!(two.get_unless(&path::floor(), &old).await, Ok(None));
    let Outcome::Done(new) = two.replace(&path::floor(), &old, body("new")).await else {
        panic!("the version one handle was told is good at the other");
    };
    let found = one.get_unless(&path::floor(), &old).await.unwrap().unwrap();
    assert_eq!((&found.bytes[..], &found.version), (&b"new"[..], &new));
    assert!(one.replace(&path::floor(), &old, body("stale")).await.is_conflict());
    assert!(one.create(&path::floor(), body("again")).await.is_conflict());
    assert!(one.replace(&path::lease(), &new, body("missing")).await.is_conflict());
    assert_eq!(one.get(&path::lease()).await, Err(GetError::Absent));
    one.delete(&path::floor()).await.unwrap();
    assert_eq!(two.get(&path::floor()).await, Err(GetError::Absent));
    create(two, &path::cluster(), "").await;
    assert_eq!(one.get(&path::cluster()).await.unwrap().bytes, "");
    assert_eq!(one.head(&path::cluster()).await.unwrap().bytes, 0);
}

async fn large_objects_read_back_in_ranges(one: &Store, two: &Store) {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    let whole: Vec<u8> = (0..9_000_001).map(|_| noise()).collect();
    let parts = whole.chunks(1_234_567).map(Bytes::copy_from_slice).collect();
    let key = path::data(ObjectId(9), Incarnation(8), 7);
    assert!(matches!(one.create(&key, parts).await, Outcome::Done(_)));
    assert_eq!(two.head(&key).await.unwrap().bytes, 9_000_001);
    let bulk = two.for_bulk_reads();
    assert!(bulk.get(&key).await.unwrap().bytes == whole);
    for range in [0..1, 1_234_560..1_234_570, 8_000_000..9_000_001, 9_000_000..9_000_001] {
        let at = |offset: u64| usize::try_from(offset).unwrap();
        let wanted = &whole[at(range.start)..at(range.end)];
        assert!(bulk.get_range(&key, range).await.unwrap() == wanted);
    }
    for beyond in [9_000_000..9_000_002, 9_000_001..9_000_002, 10_000_000..10_000_001] {
        assert!(matches!(two.get_range(&key, beyond).await, Err(GetError::Failed(_))));
    }
}

async fn one_create_wins(one: &Store, two: &Store) {
    for round in 0..10 {
        let key = entry(100 + round);
        let texts: Vec<String> = (0..8).map(|racer| format!("racer {racer}")).collect();
        let tries = texts.iter().enumerate().map(|(racer, text)| {
            let store = if racer % 2 == 0 { one } else { two };
            store.create(&key, body(text))
        });
        let outcomes = join_all(tries).await;
        let winners: Vec<&String> = texts
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| matches!(outcome, Outcome::Done(_)))
            .map(|(text, _)| text)
            .collect();
        assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
        assert_eq!(one.get(&key).await.unwrap().bytes, *winners[0]);
    }
}

/// Adds one to the number under `key` until `times` additions are done.
pub(crate) async fn count_up(store: &Store, key: &Key, times: u32) {
    let mut done = 0;
    while done < times {
        let found = store.get(key).await.unwrap();
        let text = std::str::from_utf8(&found.bytes).unwrap();
        let number: u32 = text.split(' ').next().unwrap().parse().unwrap();
        // With a nonce, as equal content may have an equal version.
        let nonce = Env::real().entropy.next_u64();
        let next = vec![Bytes::from(format!("{} {nonce}", number + 1))];
        if let Outcome::Done(_) = store.replace(key, &found.version, next).await {
            done += 1;
        }
    }
}

async fn no_update_is_lost(one: &Store, two: &Store) {
    let key = path::lease();
    create(one, &key, "0 0").await;
    let stores = [one, two, one, two];
    join_all(stores.map(|store| count_up(store, &key, 10))).await;
    let last = one.get(&key).await.unwrap().bytes;
    assert!(last.starts_with(b"40 "), "{last:?}");
}

async fn listings_page(store: &Store) {
    let count = u64::try_from(PAGE_KEYS).unwrap() + 50;
    let mut wanted: Vec<Key> = (0..count)
        .map(|id| path::data(ObjectId(1_000 + id), Incarnation(1), id))
        .chain([path::data(ObjectId(9), Incarnation(8), 7)])
        .collect();
    stream::iter(&wanted[..wanted.len() - 1])
        .for_each_concurrent(16, |key| async move { drop(create(store, key, "x").await) })
        .await;
    wanted.sort();
    let mut seen: Vec<Key> = Vec::new();
    loop {
        let page = store.list(&path::data_prefix(), seen.last()).await.unwrap();
        seen.extend(page.listed.into_iter().map(|listed| listed.key));
        if !page.more {
            break;
        }
    }
    assert!(seen == wanted, "{} of {} listed", seen.len(), wanted.len());
}

#[tokio::test]
async fn memory_conforms() {
    let store = open("memory://", &Options::default()).await;
    conforms(&store, &store.clone()).await;
}

#[tokio::test]
async fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/bucket", folder.path().display());
    let (one, two) = (open(&url, &Options::default()).await, open(&url, &Options::default()).await);
    conforms(&one, &two).await;
}

#[tokio::test]
async fn our_double_conforms() {
    let server = crate::s3_double::S3Double::start().await;
    let options = keys(&server.endpoint(), "k", "s");
    let (one, two) = (open("s3://double/p", &options).await, open("s3://double/p", &options).await);
    conforms(&one, &two).await;
}

/// A server that answers 200 to every conditional write, as some do.
#[tokio::test]
#[ignore = "needs S3 servers: localstack/servers"]
async fn a_real_liar_is_refused() {
    let Ok(value) = std::env::var("STRANDLINE_TEST_LIAR") else {
        println!("skipped: localstack/servers start s3rver");
        return;
    };
    let parts: Vec<&str> = value.split(',').collect();
    let [endpoint, bucket, key_id, secret] = parts[..] else {
        panic!("STRANDLINE_TEST_LIAR is endpoint,bucket,key,secret");
    };
    let store = open(&format!("s3://{bucket}/p"), &keys(endpoint, key_id, secret)).await;
    let error = store.check_contract().await.unwrap_err();
    assert!(error.to_string().contains("a second create of the same key was accepted"), "{error}");
}

#[tokio::test]
#[ignore = "needs S3 servers: localstack/servers"]
async fn real_servers_conform() {
    let servers: Vec<(String, String)> = std::env::vars()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix("STRANDLINE_TEST_S3_")?.to_owned(), value))
        })
        .collect();
    assert!(!servers.is_empty(), "no STRANDLINE_TEST_S3_NAME=endpoint,bucket,key,secret is set");
    for (name, value) in servers {
        println!("== {name}");
        let parts: Vec<&str> = value.split(',').collect();
        let [endpoint, bucket, key_id, secret] = parts[..] else {
            panic!("STRANDLINE_TEST_S3_{name} is endpoint,bucket,key,secret");
        };
        // SeaweedFS takes seconds for a race on a loaded machine.
        let timeout = Duration::from_secs(30);
        let options = Options { timeout, ..keys(endpoint, key_id, secret) };
        let url = format!("s3://{bucket}/{}", Env::real().entropy.uuid());
        let (one, two) = (open(&url, &options).await, open(&url, &options).await);
        conforms(&one, &two).await;
        let none = open("s3://no-such-bucket-here/p", &options).await;
        let GetError::Failed(failure) = none.get(&path::cluster()).await.unwrap_err() else {
            panic!("{name}: a missing bucket is not a missing object");
        };
        println!("missing bucket: {failure}");
        assert_eq!(failure.kind(), FailureKind::NoBucket);
    }
}
