//! How long a bucket takes for what a broker asks of it all day.
//!
//! Invariants: it touches only throw-away keys of its own; one request is under way at a time, so
//! that a time is the store's and not ours.

use std::time::Duration;

use bytes::Bytes;

use super::{Failure, FailureKind, GetError, Key, Outcome, Store, path};
use crate::env::Env;

/// Bytes of an object as metadata is, and as a small upload is.
const SIZES: [(usize, &str, &str); 2] =
    [(4 << 10, "put 4 KiB", "get 4 KiB"), (1 << 20, "put 1 MiB", "get 1 MiB")];

/// Times of one kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// What was asked.
    pub name: &'static str,
    /// How long each took.
    pub times: Vec<Duration>,
}

impl Latency {
    fn of(name: &'static str) -> Self {
        Self { name, times: Vec::new() }
    }
}

/// Puts, gets, lists and deletes `rounds` times; `tell` hears of each round that is done.
pub(super) async fn measure(
    store: &Store,
    env: &Env,
    rounds: u32,
    tell: &mut (dyn FnMut() + Send),
) -> Result<Vec<Latency>, Failure> {
    let nonce = env.entropy.next_u64();
    let mut all: Vec<Latency> = SIZES
        .iter()
        .flat_map(|(_, put, get)| [Latency::of(put), Latency::of(get)])
        .chain([Latency::of("list"), Latency::of("delete")])
        .collect();
    for round in 0..rounds {
        let mut keys = Vec::new();
        for (bytes, put, get) in SIZES {
            let key = path::check(nonce, &format!("latency-{round}-{bytes}"));
            keys.push(key.clone());
            let done = one_size(store, env, &key, bytes).await;
            let [written, read] = match done {
                Ok(times) => times,
                Err(failure) => {
                    sweep(store, &keys).await;
                    return Err(failure);
                }
            };
            note(&mut all, put, written);
            note(&mut all, get, read);
        }
        let began = env.clock.boot();
        let listed = store.list(&path::check_prefix(nonce), None).await;
        note(&mut all, "list", env.clock.boot().saturating_sub(began));
        for key in &keys {
            let began = env.clock.boot();
            store.delete(key).await?;
            note(&mut all, "delete", env.clock.boot().saturating_sub(began));
        }
        listed?;
        tell();
    }
    Ok(all)
}

fn note(all: &mut [Latency], name: &str, time: Duration) {
    if let Some(latency) = all.iter_mut().find(|latency| latency.name == name) {
        latency.times.push(time);
    }
}

/// Times of a put and a get.
async fn one_size(
    store: &Store,
    env: &Env,
    key: &Key,
    bytes: usize,
) -> Result<[Duration; 2], Failure> {
    let began = env.clock.boot();
    match store.create(key, vec![Bytes::from(vec![0x5a; bytes])]).await {
        Outcome::Done(_) => {}
        Outcome::Refused => {
            let text = format!("{key} is there already, which no other program writes");
            return Err(Failure::new(FailureKind::Conflict, text));
        }
        // Only times are wanted, and the key is thrown away: nothing hangs on what became of it.
        Outcome::Unknown(failure) => return Err(failure),
    }
    let written = env.clock.boot();
    let read = store.get(key).await;
    let done = env.clock.boot();
    read.map_err(|error| match error {
        GetError::Absent => {
            Failure::new(FailureKind::Other, format!("{key} is gone right after it was written"))
        }
        GetError::Failed(failure) => failure,
    })?;
    Ok([written.saturating_sub(began), done.saturating_sub(written)])
}

/// Leaves nothing behind, as far as the store lets us.
async fn sweep(store: &Store, keys: &[Key]) {
    for key in keys {
        drop(store.delete(key).await);
    }
}
