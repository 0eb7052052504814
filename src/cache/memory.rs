//! Values in memory within a budget, one fill per key however many wait for it.
//!
//! Owns: the budget, admission and eviction. Does not own: what a value is, how it is checked.
//! Invariant: a value enters only through a fill that succeeded.

use std::{fmt, future::Future, hash::Hash, sync::Arc};

use moka::{
    future::{Cache as Moka, CacheBuilder},
    notification::RemovalCause,
    policy::EvictionPolicy,
};
use prometheus_client::metrics::counter::Counter;

use super::Weigh;
use crate::types::ByteCount;

/// Values by key within a budget; a clone is another handle of the same cache.
#[derive(Clone)]
pub struct Cache<K, V> {
    values: Moka<K, V>,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Weigh,
{
    /// An empty cache of at most `budget` (by weight; a budget of 0 keeps nothing).
    #[must_use]
    pub fn new(budget: ByteCount) -> Self {
        Self { values: builder(budget).build() }
    }

    /// As `new`, but the value longest not asked for goes first: what was put in ahead of its
    /// reader must not lose its place to what was popular once. Evicted bytes are counted.
    #[must_use]
    pub fn by_recency(budget: ByteCount, evicted: Counter) -> Self {
        let count = move |_, value: V, cause: RemovalCause| {
            if cause == RemovalCause::Size {
                evicted.inc_by(u64::try_from(value.weight()).unwrap_or(u64::MAX));
            }
        };
        let builder = builder(budget).eviction_policy(EvictionPolicy::lru());
        Self { values: builder.eviction_listener(count).build() }
    }

    /// Puts a value in, and others out at once if the budget wants it.
    pub async fn put(&self, key: K, value: V) {
        self.values.insert(key, value).await;
        self.values.run_pending_tasks().await;
    }

    /// The value of `key`, filled by `fill` when it is not there. While one caller fills, the
    /// others wait for its outcome; a failed fill leaves nothing behind.
    ///
    /// # Errors
    /// The fill's own error, shared by everybody who waited for it.
    pub async fn get<E>(
        &self,
        key: K,
        fill: impl Future<Output = Result<V, E>>,
    ) -> Result<V, Arc<E>>
    where
        E: Send + Sync + 'static,
    {
        self.values.try_get_with(key, fill).await
    }

    /// The value of `key` if it is there.
    pub async fn peek(&self, key: &K) -> Option<V> {
        self.values.get(key).await
    }

    /// Bytes held, as last counted.
    #[must_use]
    pub fn bytes(&self) -> ByteCount {
        ByteCount(self.values.weighted_size())
    }
}

fn builder<K, V>(budget: ByteCount) -> CacheBuilder<K, V, Moka<K, V>>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Weigh,
{
    Moka::builder()
        .max_capacity(budget.0)
        .weigher(|_, value: &V| u32::try_from(value.weight()).unwrap_or(u32::MAX))
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn many_askers_of_one_block_cause_one_fill() {
        let cache = Cache::<u64, Bytes>::new(ByteCount::mib(1));
        let fills = AtomicUsize::new(0);
        let ask = || {
            cache.get(1, async {
                fills.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, ()>(Bytes::from_static(b"abc"))
            })
        };
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!([a, b, c], [(); 3].map(|()| Ok(Bytes::from_static(b"abc"))));
        assert_eq!(fills.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failed_fill_is_tried_again() {
        let cache = Cache::<u64, Bytes>::new(ByteCount::mib(1));
        assert_eq!(cache.get(1, async { Err("away") }).await, Err(Arc::new("away")));
        let filled = cache.get(1, async { Ok::<_, ()>(Bytes::from_static(b"abc")) }).await;
        assert_eq!(filled, Ok(Bytes::from_static(b"abc")));
        assert_eq!(cache.peek(&1).await, Some(Bytes::from_static(b"abc")));
        assert_eq!(cache.peek(&2).await, None);
    }

    #[tokio::test]
    async fn what_is_put_in_stays_the_longest_not_asked_for_goes() {
        let evicted = Counter::default();
        let cache = Cache::<u64, Bytes>::by_recency(ByteCount::kib(16), evicted.clone());
        for key in 0..100 {
            cache.put(key, Bytes::from(vec![0; 4096])).await;
            assert!(cache.peek(&key).await.is_some(), "{key}");
            assert!(cache.bytes() <= ByteCount::kib(16));
        }
        assert_eq!(evicted.get(), 96 * 4096);
    }

    #[tokio::test]
    async fn the_budget_holds() {
        let cache = Cache::<u64, Bytes>::new(ByteCount::kib(64));
        for object in 0..100 {
            let block = Bytes::from(vec![0; 4096]);
            cache.get(object, async { Ok::<_, ()>(block) }).await.unwrap();
        }
        cache.values.run_pending_tasks().await;
        assert!(cache.bytes() <= ByteCount::kib(64), "{:?}", cache.bytes());
    }
}
