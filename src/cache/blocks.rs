//! Blocks through memory, then disk, then the bucket, one fill for all who wait.
//!
//! Owns: what is in flight, which missing blocks become one request, where a filled block is kept.
//! Does not own: how the bucket is asked (`Fetch`), who reads what next. Invariants: of one block
//! there is at most one fill at a time; a fill goes on exactly as long as somebody waits for one
//! of its blocks; its bytes are granted by the budget from before it starts until they are in
//! memory's budget; a block in memory owns its bytes, it pins nothing larger.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use super::{BlockKey, Budget, Cache, DiskTier, Metrics, ReaderId, Wanted, metrics::Source};
use crate::{
    env::{
        background::Background,
        bugs::{Bug, Bugs},
    },
    types::{ByteCount, ObjectId},
};

/// Most bytes of one request to the bucket: larger ones gain no throughput, several at once do.
const REQUEST_BYTES: u64 = 8 * 1024 * 1024;

/// Gets adjacent blocks of an object out of the bucket with one request, checked, each with its
/// own memory.
pub type Fetch<E> =
    Arc<dyn Fn(Vec<Wanted>) -> BoxFuture<'static, Result<Vec<Bytes>, E>> + Send + Sync>;

/// A filled group: its blocks in order.
type Filled<E> = Result<Arc<[Bytes]>, E>;
/// `None` when it panicked: others who wait for it would never be woken otherwise.
type Fill<E> = BoxFuture<'static, Option<Filled<E>>>;

/// What blocks are kept in and asked through; clones share it.
pub struct Blocks<E: Clone> {
    memory: Cache<BlockKey, Bytes>,
    disk: Option<DiskTier>,
    budget: Budget,
    /// Most bytes of one request.
    request_bytes: u64,
    flights: Arc<Flights<E>>,
    background: Background,
    bugs: Bugs,
    metrics: Metrics,
}

/// What `Blocks` are built of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Bytes of memory for blocks.
    pub memory: ByteCount,
    /// Bytes in flight.
    pub in_flight: ByteCount,
    /// The disk tier, if any.
    pub disk: Option<DiskTier>,
    /// Where fills run.
    pub background: Background,
    /// Mistakes.
    pub bugs: Bugs,
    /// Metrics.
    pub metrics: Metrics,
}

/// Blocks somebody needs.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Whose share of the budget they take.
    pub reader: ReaderId,
    /// Of which object.
    pub object: ObjectId,
    /// In order.
    pub blocks: Vec<Wanted>,
}

/// A block that is here or on its way. Dropped, it is not waited for any more.
pub enum Coming<E: Clone> {
    /// It was in memory.
    Here(Bytes),
    /// It is the one at this place of a fill.
    Filling(Shared<Fill<E>>, usize),
}

/// Fills in flight, by block.
struct Flights<E: Clone> {
    table: Mutex<Table<E>>,
}

struct Table<E: Clone> {
    blocks: BTreeMap<BlockKey, Flight<E>>,
    next: u64,
}

struct Flight<E: Clone> {
    fill: WeakShared<Fill<E>>,
    number: u64,
    at: usize,
}

/// Takes a fill out of the table when it is over, however it ends.
struct Landing<E: Clone> {
    flights: Arc<Flights<E>>,
    keys: Vec<BlockKey>,
    number: u64,
}

impl<E: Clone> Clone for Blocks<E> {
    fn clone(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            disk: self.disk.clone(),
            budget: self.budget.clone(),
            request_bytes: self.request_bytes,
            flights: Arc::clone(&self.flights),
            background: self.background.clone(),
            bugs: self.bugs,
            metrics: self.metrics.clone(),
        }
    }
}

impl<E: Clone> fmt::Debug for Blocks<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("disk", &self.disk.is_some()).finish_non_exhaustive()
    }
}

impl<E: Clone> fmt::Debug for Coming<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "Here",
            Self::Filling(..) => "Filling",
        })
    }
}

impl<E: Clone + Send + Sync + 'static> Coming<E> {
    /// Waits for the block.
    ///
    /// # Errors
    /// The fill's, the same for everybody who waited for it.
    ///
    /// # Panics
    /// When the fill did.
    pub async fn bytes(self) -> Result<Bytes, E> {
        match self {
            Self::Here(bytes) => Ok(bytes),
            Self::Filling(fill, at) => {
                let blocks = fill.await.expect("a fill does not panic")?;
                Ok(blocks.get(at).cloned().expect("a fill gives every block it was asked for"))
            }
        }
    }
}

impl<E: Clone + Send + Sync + 'static> Blocks<E> {
    /// Nothing yet, but for what the disk has.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { memory, in_flight, disk, background, bugs, metrics } = parts;
        let table = Table { blocks: BTreeMap::new(), next: 0 };
        Self {
            memory: Cache::by_recency(memory, metrics.memory_evicted_bytes.clone()),
            disk,
            budget: Budget::new(in_flight, metrics.clone()),
            request_bytes: REQUEST_BYTES.min(in_flight.0),
            flights: Arc::new(Flights { table: Mutex::new(table) }),
            background,
            bugs,
            metrics,
        }
    }

    fn key(&self, object: ObjectId, range: &Range<u64>) -> BlockKey {
        let by_offset = self.bugs.has(Bug::CacheKeyByOffset);
        BlockKey::of(if by_offset { ObjectId(0) } else { object }, range)
    }

    /// The blocks asked for, each from where it is nearest. What is missing is fetched when and
    /// while somebody waits for it.
    pub async fn ask(&self, ask: Ask, fetch: &Fetch<E>) -> Vec<Coming<E>> {
        let mut here = Vec::with_capacity(ask.blocks.len());
        for block in &ask.blocks {
            here.push(self.memory.peek(&self.key(ask.object, &block.range)).await);
        }
        self.join(&ask, here, fetch)
    }

    /// Joins the fills of blocks that are not here, and begins those that nobody has begun.
    fn join(&self, ask: &Ask, here: Vec<Option<Bytes>>, fetch: &Fetch<E>) -> Vec<Coming<E>> {
        let mut table = self.flights.lock();
        let mut all = Vec::with_capacity(here.len());
        let mut group = Group::default();
        for (block, here) in ask.blocks.iter().zip(here) {
            let key = self.key(ask.object, &block.range);
            let known = match here {
                Some(bytes) => {
                    self.metrics.note(Source::Memory, block.bytes());
                    Some(Coming::Here(bytes))
                }
                None => table.find(&key).inspect(|_| {
                    self.metrics.note(Source::Shared, block.bytes());
                }),
            };
            let on_disk = self.disk.as_ref().is_some_and(|disk| disk.has(ask.object, block));
            if known.is_some() || !group.takes(block, on_disk, self.request_bytes) {
                all.extend(self.begin(&mut table, ask, std::mem::take(&mut group), fetch));
            }
            match known {
                Some(coming) => all.push(coming),
                None => group.add(block.clone(), on_disk),
            }
        }
        all.extend(self.begin(&mut table, ask, group, fetch));
        all
    }

    /// Begins the fill of a group.
    fn begin(
        &self,
        table: &mut Table<E>,
        ask: &Ask,
        group: Group,
        fetch: &Fetch<E>,
    ) -> Vec<Coming<E>> {
        if group.blocks.is_empty() {
            return Vec::new();
        }
        let number = table.next;
        table.next += 1;
        let keys: Vec<_> =
            group.blocks.iter().map(|block| self.key(ask.object, &block.range)).collect();
        let landing = Landing { flights: Arc::clone(&self.flights), keys: keys.clone(), number };
        let (filling, fetch) = (self.clone(), Arc::clone(fetch));
        let (reader, object) = (ask.reader, ask.object);
        let background = self.background.clone();
        let fill = async move {
            let fill = AssertUnwindSafe(filling.fill(reader, object, group, &fetch));
            let filled = fill.catch_unwind().await.ok();
            // After the blocks are in memory: whoever comes now finds them there.
            drop(landing);
            filled
        };
        let fill: Fill<E> = async move { background.run(fill).await.ok().flatten() }.boxed();
        let fill = fill.shared();
        let weak = fill.downgrade().expect("it was not polled yet");
        for (at, key) in keys.iter().enumerate() {
            table.blocks.insert(*key, Flight { fill: weak.clone(), number, at });
        }
        (0..keys.len()).map(|at| Coming::Filling(fill.clone(), at)).collect()
    }

    async fn fill(
        &self,
        reader: ReaderId,
        object: ObjectId,
        group: Group,
        fetch: &Fetch<E>,
    ) -> Filled<E> {
        let permit = self.budget.acquire(reader, group.bytes()).await;
        let mut found = vec![None; group.blocks.len()];
        for (block, found) in group.blocks.iter().zip(&mut found) {
            // It may have landed between the look at memory and the look at the flights.
            *found = self.memory.peek(&self.key(object, &block.range)).await;
        }
        if group.on_disk
            && found.iter().all(Option::is_none)
            && let Some(disk) = &self.disk
        {
            found = disk.read(object, group.blocks.clone()).await;
            for (block, _) in group.blocks.iter().zip(&found).filter(|(_, it)| it.is_some()) {
                self.metrics.note(Source::Disk, block.bytes());
            }
        }
        for range in gaps(&found) {
            let missing = group.blocks.get(range.clone()).unwrap_or_default();
            let fetched = fetch(missing.to_vec()).await?;
            let fetched: Vec<_> = missing.iter().cloned().zip(fetched).collect();
            assert_eq!(fetched.len(), missing.len(), "a fetch gives every block asked for");
            if let Some(disk) = &self.disk {
                disk.offer(object, &fetched);
            }
            for ((block, bytes), at) in fetched.into_iter().zip(range) {
                self.metrics.note(Source::Bucket, block.bytes());
                if let Some(found) = found.get_mut(at) {
                    *found = Some(bytes);
                }
            }
        }
        let filled: Arc<[Bytes]> = found.into_iter().flatten().collect();
        for (block, bytes) in group.blocks.iter().zip(filled.iter()) {
            self.memory.put(self.key(object, &block.range), bytes.clone()).await;
        }
        drop(permit);
        Ok(filled)
    }
}

/// Adjacent blocks that one request can fetch, or that all lie on the disk.
#[derive(Default)]
struct Group {
    blocks: Vec<Wanted>,
    on_disk: bool,
}

impl Group {
    fn bytes(&self) -> u64 {
        self.blocks.iter().map(Wanted::bytes).sum()
    }

    fn takes(&self, block: &Wanted, on_disk: bool, most: u64) -> bool {
        self.blocks.last().is_none_or(|last| {
            last.range.end == block.range.start
                && self.on_disk == on_disk
                && self.bytes() + block.bytes() <= most
        })
    }

    fn add(&mut self, block: Wanted, on_disk: bool) {
        self.on_disk = on_disk;
        self.blocks.push(block);
    }
}

/// Stretches of what was not found.
fn gaps<T>(found: &[Option<T>]) -> Vec<Range<usize>> {
    let mut gaps: Vec<Range<usize>> = Vec::new();
    for (at, _) in found.iter().enumerate().filter(|(_, found)| found.is_none()) {
        match gaps.last_mut() {
            Some(gap) if gap.end == at => gap.end += 1,
            _ => gaps.push(at..at + 1),
        }
    }
    gaps
}

impl<E: Clone> Flights<E> {
    fn lock(&self) -> MutexGuard<'_, Table<E>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Clone> Table<E> {
    fn find(&self, key: &BlockKey) -> Option<Coming<E>> {
        let flight = self.blocks.get(key)?;
        Some(Coming::Filling(flight.fill.upgrade()?, flight.at))
    }
}

impl<E: Clone> Drop for Landing<E> {
    fn drop(&mut self) {
        let mut table = self.flights.lock();
        for key in &self.keys {
            if table.blocks.get(key).is_some_and(|flight| flight.number == self.number) {
                table.blocks.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::future;
    use tokio::sync::Semaphore;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A bucket that counts what it is asked for and answers when it may.
    #[derive(Clone)]
    struct Source {
        asked: Arc<Mutex<Vec<Range<u64>>>>,
        answers: Arc<Semaphore>,
        away: Arc<AtomicU64>,
    }

    impl Source {
        fn new(answers: usize) -> Self {
            let answers = Arc::new(Semaphore::new(answers));
            Self { asked: Arc::default(), answers, away: Arc::default() }
        }

        fn fetch(&self) -> Fetch<&'static str> {
            let this = self.clone();
            Arc::new(move |blocks| {
                let this = this.clone();
                async move {
                    let range = blocks[0].range.start..blocks.last().unwrap().range.end;
                    this.asked.lock().unwrap().push(range);
                    this.answers.acquire().await.unwrap().forget();
                    if this.away.load(Ordering::SeqCst) > 0 {
                        return Err("away");
                    }
                    Ok(blocks.iter().map(content).collect())
                }
                .boxed()
            })
        }

        fn asked(&self) -> Vec<Range<u64>> {
            self.asked.lock().unwrap().clone()
        }
    }

    fn content(block: &Wanted) -> Bytes {
        let byte = u8::try_from(block.range.start % 251).unwrap();
        Bytes::from(vec![byte; usize::try_from(block.bytes()).unwrap()])
    }

    fn cache(memory: u64, in_flight: u64) -> Blocks<&'static str> {
        background_cache(memory, in_flight, Background::none())
    }

    fn background_cache(
        memory: u64,
        in_flight: u64,
        background: Background,
    ) -> Blocks<&'static str> {
        let (memory, in_flight) = (ByteCount(memory), ByteCount(in_flight));
        Blocks::new(Parts {
            memory,
            in_flight,
            disk: None,
            background,
            bugs: Bugs::NONE,
            metrics: Metrics::default(),
        })
    }

    /// Blocks `from..to` of a MiB each.
    fn ask(reader: u64, from: u64, to: u64) -> Ask {
        let wanted = |at: u64| Wanted { range: at * MIB..(at + 1) * MIB, crc: 0 };
        let blocks = (from..to).map(wanted).collect();
        Ask { reader: ReaderId(reader), object: ObjectId(1), blocks }
    }

    async fn get(
        cache: &Blocks<&'static str>,
        source: &Source,
        ask: Ask,
    ) -> Result<Vec<Bytes>, &'static str> {
        let wanted = ask.blocks.clone();
        let coming = cache.ask(ask, &source.fetch()).await;
        let got = future::try_join_all(coming.into_iter().map(Coming::bytes)).await?;
        assert!(got.iter().zip(&wanted).all(|(bytes, block)| *bytes == content(block)));
        Ok(got)
    }

    #[tokio::test]
    async fn any_number_of_readers_of_one_range_cause_one_request() {
        let (cache, source) = (cache(64 * MIB, 64 * MIB), Source::new(0));
        let all = future::try_join_all((0..50).map(|at| get(&cache, &source, ask(at, 0, 4))));
        let answer_later = async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            source.answers.add_permits(1000);
        };
        tokio::join!(all, answer_later).0.unwrap();
        assert_eq!(source.asked(), vec![0..4 * MIB; 1]);
        get(&cache, &source, ask(99, 1, 3)).await.unwrap();
        assert_eq!(source.asked().len(), 1);
        assert_eq!(cache.budget.granted(), ByteCount(0));
    }

    #[tokio::test]
    async fn overlapping_reads_ask_for_each_block_once() {
        let (cache, source) = (cache(64 * MIB, 64 * MIB), Source::new(1000));
        let (one, two, three) = tokio::join!(
            get(&cache, &source, ask(1, 2, 4)),
            get(&cache, &source, ask(2, 0, 6)),
            get(&cache, &source, ask(3, 3, 7)),
        );
        assert!(one.and(two).and(three).is_ok());
        let mut asked = source.asked();
        asked.sort_by_key(|range| range.start);
        assert_eq!(asked, [0..2 * MIB, 2 * MIB..4 * MIB, 4 * MIB..6 * MIB, 6 * MIB..7 * MIB]);
    }

    #[tokio::test]
    async fn adjacent_blocks_are_one_request_of_8_mib_at_most() {
        let (cache, source) = (cache(64 * MIB, 64 * MIB), Source::new(1000));
        get(&cache, &source, ask(1, 0, 20)).await.unwrap();
        assert_eq!(source.asked(), [0..8 * MIB, 8 * MIB..16 * MIB, 16 * MIB..20 * MIB]);
    }

    #[tokio::test]
    async fn a_fill_ends_with_the_last_who_waits_and_frees_its_share() {
        let (cache, source) = (cache(64 * MIB, 4 * MIB), Source::new(0));
        let mut first = Box::pin(get(&cache, &source, ask(1, 0, 4)));
        let mut second = Box::pin(get(&cache, &source, ask(2, 0, 4)));
        for _ in 0..20 {
            assert!(first.as_mut().now_or_never().is_none());
            assert!(second.as_mut().now_or_never().is_none());
        }
        let third = tokio::spawn({
            let (cache, source) = (cache.clone(), source.clone());
            async move { get(&cache, &source, ask(3, 8, 9)).await }
        });
        drop(first);
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(cache.budget.granted(), ByteCount(4 * MIB), "one of two still waits");
        drop(second);
        source.answers.add_permits(1);
        third.await.unwrap().unwrap();
        assert_eq!(source.asked(), [0..4 * MIB, 8 * MIB..9 * MIB]);
        assert_eq!(cache.budget.granted(), ByteCount(0));
        assert!(cache.flights.lock().blocks.is_empty());
    }

    #[tokio::test]
    async fn on_threads_of_its_own_too_a_fill_ends_with_the_last_who_waits() {
        let background = Background::new();
        let (cache, source) = (background_cache(64 * MIB, 4 * MIB, background), Source::new(0));
        let mut gone = Box::pin(get(&cache, &source, ask(1, 0, 4)));
        while source.asked().is_empty() {
            assert!(gone.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        drop(gone);
        // All there is, so it waits until the other's share is given back.
        source.answers.add_permits(1);
        get(&cache, &source, ask(2, 8, 12)).await.unwrap();
        assert_eq!(source.asked(), [0..4 * MIB, 8 * MIB..12 * MIB]);
        assert!(cache.flights.lock().blocks.is_empty());
    }

    #[tokio::test]
    async fn a_failed_fill_fails_all_who_waited_and_is_tried_anew_by_the_next() {
        let (cache, source) = (cache(64 * MIB, 64 * MIB), Source::new(0));
        source.away.store(1, Ordering::SeqCst);
        let answer_later = async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            source.answers.add_permits(2);
        };
        let (one, two) = (get(&cache, &source, ask(1, 0, 2)), get(&cache, &source, ask(2, 0, 2)));
        let both = tokio::join!(one, two, answer_later);
        assert_eq!(both, (Err("away"), Err("away"), ()));
        assert_eq!(source.asked().len(), 1);
        source.away.store(0, Ordering::SeqCst);
        get(&cache, &source, ask(1, 0, 2)).await.unwrap();
        assert_eq!(source.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_fill_that_panics_leaves_nobody_waiting_and_nothing_taken() {
        let (cache, answers) = (cache(64 * MIB, 64 * MIB), Arc::new(Semaphore::new(0)));
        let may = Arc::clone(&answers);
        let fetch: Fetch<&'static str> = Arc::new(move |_| {
            let may = Arc::clone(&may);
            async move { panic!("{:?}", may.acquire().await) }.boxed()
        });
        let waiters: Vec<_> = (0..3)
            .map(|reader| {
                let (cache, fetch) = (cache.clone(), Arc::clone(&fetch));
                tokio::spawn(async move {
                    let coming = cache.ask(ask(reader, 0, 1), &fetch).await;
                    future::try_join_all(coming.into_iter().map(Coming::bytes)).await
                })
            })
            .collect();
        while cache.budget.granted() == ByteCount(0) {
            tokio::task::yield_now().await;
        }
        answers.add_permits(1);
        for waiter in waiters {
            assert!(waiter.await.unwrap_err().is_panic());
        }
        assert_eq!(cache.budget.granted(), ByteCount(0));
        get(&cache, &Source::new(1), ask(1, 0, 1)).await.unwrap();
    }

    #[tokio::test]
    async fn bytes_in_flight_and_in_memory_stay_in_their_budgets() {
        let (cache, source) = (cache(16 * MIB, 8 * MIB), Source::new(0));
        let all: Vec<_> = (0..40)
            .map(|reader| {
                let (cache, source) = (cache.clone(), source.clone());
                let ask = ask(reader, reader * 2, reader * 2 + 2);
                tokio::spawn(async move { get(&cache, &source, ask).await })
            })
            .collect();
        for _ in 0..40 {
            // As many are asked for as the budget has room for, before one is answered.
            tokio::task::yield_now().await;
            assert!(cache.budget.granted() <= ByteCount(8 * MIB));
            assert!(cache.memory.bytes() <= ByteCount(16 * MIB));
            source.answers.add_permits(1);
        }
        for one in all {
            one.await.unwrap().unwrap();
        }
        assert!(cache.memory.bytes() <= ByteCount(16 * MIB));
    }

    #[tokio::test]
    async fn fifty_readers_of_much_data_each_get_as_many_bytes_as_another() {
        let (cache, source) = (cache(64 * MIB, 16 * MIB), Source::new(0));
        let served: Arc<Vec<AtomicU64>> = Arc::new((0..50).map(|_| AtomicU64::new(0)).collect());
        for reader in 0..50_u64 {
            let (cache, source, served) = (cache.clone(), source.clone(), Arc::clone(&served));
            // Some ask for more at once than others.
            let size = 1 + reader % 8;
            tokio::spawn(async move {
                for turn in 0.. {
                    let from = reader * 100_000 + turn * size;
                    get(&cache, &source, ask(reader, from, from + size)).await.unwrap();
                    let at = usize::try_from(reader).unwrap();
                    served[at].fetch_add(size * MIB, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..1500 {
            source.answers.add_permits(1);
            // One thread runs all: each of these lets everybody go a step.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        let bytes: Vec<_> = served.iter().map(|it| it.load(Ordering::SeqCst)).collect();
        let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
        // One who asks for little at a time misses turns between its asks.
        assert!(least * 3 >= most * 2, "{least} to {most}: {bytes:?}");
        assert!(*least > 16 * MIB, "{bytes:?}");
    }
}
