//! What was read from the bucket and may be asked for again, within a budget of memory.
//!
//! Owns: the budget, admission and eviction, one fill per key however many wait for it.
//! Does not own: what a value is, how it is checked, partitions. Keys name immutable things, so a
//! value never goes stale. Invariant: a value enters only through a fill that succeeded; the fill
//! checks it (CRC), so nobody checks it again.

use std::{fmt, future::Future, hash::Hash, ops::Range, sync::Arc};

use bytes::Bytes;
use moka::future::Cache as Moka;

use crate::types::{ByteCount, ObjectId};

/// What a cached value costs.
pub trait Weigh: Clone + Send + Sync + 'static {
    /// Bytes of memory it pins.
    fn weight(&self) -> usize;
}

impl Weigh for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// Values by key within a budget; a clone is another handle of the same cache.
#[derive(Clone)]
pub struct Cache<K, V> {
    values: Moka<K, V>,
}

/// Checked blocks of objects.
pub type BlockCache = Cache<BlockKey, Bytes>;

/// Names bytes of an object for ever: ids are never used again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// The object.
    pub object: ObjectId,
    /// Which of its bytes.
    pub range: Range<u64>,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Weigh,
{
    /// An empty cache of at most `budget` (by weight; a budget of 0 keeps nothing).
    #[must_use]
    pub fn new(budget: ByteCount) -> Self {
        let values = Moka::builder()
            .max_capacity(budget.0)
            .weigher(|_, value: &V| u32::try_from(value.weight()).unwrap_or(u32::MAX))
            .build();
        Self { values }
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

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn key(object: u64) -> BlockKey {
        BlockKey { object: ObjectId(object), range: 0..3 }
    }

    #[tokio::test]
    async fn many_askers_of_one_block_cause_one_fill() {
        let cache = BlockCache::new(ByteCount::mib(1));
        let fills = AtomicUsize::new(0);
        let ask = || {
            cache.get(key(1), async {
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
        let cache = BlockCache::new(ByteCount::mib(1));
        assert_eq!(cache.get(key(1), async { Err("away") }).await, Err(Arc::new("away")));
        let filled = cache.get(key(1), async { Ok::<_, ()>(Bytes::from_static(b"abc")) }).await;
        assert_eq!(filled, Ok(Bytes::from_static(b"abc")));
        assert_eq!(cache.peek(&key(1)).await, Some(Bytes::from_static(b"abc")));
        assert_eq!(cache.peek(&key(2)).await, None);
    }

    #[tokio::test]
    async fn the_budget_holds() {
        let cache = BlockCache::new(ByteCount::kib(64));
        for object in 0..100 {
            let block = Bytes::from(vec![0; 4096]);
            cache.get(key(object), async { Ok::<_, ()>(block) }).await.unwrap();
        }
        cache.values.run_pending_tasks().await;
        assert!(cache.bytes() <= ByteCount::kib(64), "{:?}", cache.bytes());
    }
}
