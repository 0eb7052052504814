//! The way to the bucket: every request takes its time and is noted; at a chosen one the process
//! is killed.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use strandline::{
    env::clock,
    store::{Bucket, Condition, Failure, Found, GetError, Head, Key, Outcome, Page, Version},
};
use tokio::sync::Notify;

use crate::{
    chance::Chance,
    model::Model,
    trace::{Trace, note},
};

/// The process ends before or after the request of this number.
#[derive(Clone, Copy, Debug)]
pub struct KillAt {
    pub request: u64,
    pub after: bool,
}

pub struct Way {
    pub inner: Arc<dyn Bucket>,
    pub chance: Chance,
    pub trace: Arc<Trace>,
    pub model: Arc<Model>,
    pub most_ms: Mutex<u64>,
    pub kill_at: Mutex<Option<KillAt>>,
    pub killed: Notify,
    requests: Mutex<u64>,
    /// First content of each object: it never has another.
    contents: Mutex<BTreeMap<String, Bytes>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}

impl Way {
    pub fn new(
        inner: Arc<dyn Bucket>,
        chance: Chance,
        trace: Arc<Trace>,
        model: Arc<Model>,
        most_ms: u64,
    ) -> Self {
        Self {
            inner,
            chance,
            trace,
            model,
            most_ms: Mutex::new(most_ms),
            kill_at: Mutex::default(),
            killed: Notify::new(),
            requests: Mutex::default(),
            contents: Mutex::default(),
        }
    }

    pub fn requests(&self) -> u64 {
        *self.requests.lock().unwrap()
    }

    /// Half the time on the way there, half on the way back.
    async fn half(&self) {
        let most = *self.most_ms.lock().unwrap();
        clock::sleep(Duration::from_micros(self.chance.below(most * 500 + 1))).await;
    }

    async fn ends(&self, number: u64, after: bool) {
        let kill = *self.kill_at.lock().unwrap();
        if kill.is_some_and(|kill| number >= kill.request && kill.after == after) {
            note!(self.trace, "killed at request {number}, after it: {after}");
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn through<T>(
        &self,
        what: &str,
        key: &Key,
        request: impl Future<Output = T> + Send,
        told: impl Fn(&T) -> String,
    ) -> T {
        let number = {
            let mut requests = self.requests.lock().unwrap();
            *requests += 1;
            *requests
        };
        self.ends(number, false).await;
        self.half().await;
        let done = request.await;
        note!(self.trace, "{what} {key}: {}", told(&done));
        self.ends(number, true).await;
        self.half().await;
        done
    }

    /// An object that is there once is there with these bytes or not at all.
    fn first_content(&self, key: &Key, bytes: &Bytes) {
        let mutable = ["meta/lease", "meta/floor", "contract-check/"];
        if mutable.iter().any(|prefix| key.as_str().starts_with(prefix)) {
            return;
        }
        let mut contents = self.contents.lock().unwrap();
        let first = contents.entry(key.as_str().to_owned()).or_insert_with(|| bytes.clone());
        // Behind the floor a late put may bring an entry back; what it says proves nothing there.
        if first != bytes && !key.as_str().starts_with("meta/log/") {
            self.model.violated("I17 one key, one content", key.as_str());
        }
    }
}

fn result<T, E: fmt::Debug>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{error:?}"),
    }
}

#[async_trait]
impl Bucket for Way {
    async fn get(&self, key: &Key, unless: Option<&Version>) -> Result<Option<Found>, GetError> {
        self.through("get", key, self.inner.get(key, unless), result).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, GetError> {
        self.through("range", key, self.inner.get_range(key, range), result).await
    }

    async fn head(&self, key: &Key) -> Result<Head, GetError> {
        self.through("head", key, self.inner.head(key), result).await
    }

    async fn put(&self, key: &Key, condition: &Condition, parts: Vec<Bytes>) -> Outcome<Version> {
        let bytes = Bytes::from(parts.concat());
        let put = async {
            let outcome = self.inner.put(key, condition, parts).await;
            if matches!(outcome, Outcome::Done(_)) {
                self.first_content(key, &bytes);
            }
            outcome
        };
        self.through("put", key, put, |outcome| format!("{outcome:?}")).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Failure> {
        self.through("delete", key, self.inner.delete(key), result).await
    }

    async fn list(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Failure> {
        let told = |page: &Result<Page, Failure>| match page {
            Ok(page) => format!("{} keys", page.listed.len()),
            Err(error) => format!("{error:?}"),
        };
        self.through("list", prefix, self.inner.list(prefix, after), told).await
    }
}
