//! The writing side of a connection: replies that are ready together leave together.
//!
//! Owns: memory of replies until they are written, patience with who reads them. Does not own: the
//! order of replies. Invariants: replies have their memory granted before they are added, but for a
//! few small ones; a slow client's replies pin no larger buffers; who waits for memory holds none.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes};
use proto_kafka::messages::ApiKey;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::OwnedSemaphorePermit,
};

use super::{connection::Ended, replies::Grant, server::Shared};
use crate::env::clock;

/// Bytes a second below which a client that reads its replies too slowly is given up, once the
/// idle time is over too: the replies are memory.
const SLOWEST: u64 = 16 * 1024;
/// Chunks given to one vectored write.
const MAX_SLICES: usize = 64;
/// Bytes of old records given to one write: a kernel that does not preempt itself copies them all
/// before it lets the thread of an acknowledgement have the core.
const COLD_BYTES: usize = 64 * 1024;
/// Bytes of replies on a connection that ask for no memory: many small ones must not wait.
const FREE_BYTES: u64 = 4096;
/// How often a reply that is not written at once is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often in a row a client may have read too little, before it is given up, when others wait
/// for the memory of its replies.
const SLOW_LOOKS: u32 = 3;

/// What is to be written.
pub(super) struct Out<W> {
    /// `None` while they are written elsewhere.
    chunks: Option<Chunks<W>>,
    shared: Arc<Shared>,
    /// Bytes of them that need no memory of their own.
    free: u64,
    /// In flight until written, so that who waits for all permits waits for all replies.
    answered: Vec<Answered>,
}

/// A request whose answer is on its way out.
struct Answered {
    _permits: OwnedSemaphorePermit,
    key: ApiKey,
    /// When it was read, and when its answer was ready, by the boot clock.
    since: Duration,
    ready: Duration,
}

struct Chunks<W> {
    write: W,
    shared: Arc<Shared>,
    wrote: Arc<AtomicBool>,
    left: VecDeque<Bytes>,
    rooms: Vec<Grant>,
    /// Whether they lie in memory of their own.
    copied: bool,
    /// Whether they are old records.
    cold: bool,
}

/// What became of a write since it was last looked after.
#[derive(Default)]
struct Progress {
    taken: u64,
    quiet: Duration,
    slow: u32,
}

impl<W: AsyncWrite + Unpin + Send + 'static> Out<W> {
    /// Nothing to write to `write`; `wrote` is set when something was.
    pub(super) fn new(write: W, shared: Arc<Shared>, wrote: Arc<AtomicBool>) -> Self {
        let (left, rooms) = (VecDeque::new(), Vec::new());
        let (shared_too, copied, cold) = (Arc::clone(&shared), false, false);
        let chunks = Chunks { write, shared: shared_too, wrote, left, rooms, copied, cold };
        Self { chunks: Some(chunks), shared, free: 0, answered: Vec::new() }
    }

    /// Adds a reply to those that are written together, once there is memory for it.
    pub(super) async fn add(
        &mut self,
        head: &(impl Fn(usize) -> Bytes + Sync),
        body: Vec<Bytes>,
        room: Option<Grant>,
    ) -> Result<(), Ended> {
        let length = body.iter().map(Bytes::len).sum();
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        let free = room.is_none() && self.free.saturating_add(bytes) <= FREE_BYTES;
        let room = if free { None } else { room.or_else(|| self.shared.replies.at_once(bytes)) };
        let room = match room {
            None if !free => {
                // Who waits holds nothing that others wait for.
                self.send().await?;
                Some(self.shared.replies.exactly(bytes, false).await)
            }
            room => room,
        };
        self.free += if free { bytes } else { 0 };
        let chunks = self.chunks.as_mut().ok_or(Ended::Answered)?;
        chunks.cold |= room.as_ref().is_some_and(Grant::is_cold);
        chunks.rooms.extend(room);
        chunks.left.push_back(head(length));
        chunks.left.extend(body.into_iter().filter(|chunk| !chunk.is_empty()));
        Ok(())
    }

    /// A request is answered, once all that was added is written.
    pub(super) fn answered(&mut self, permits: OwnedSemaphorePermit, key: ApiKey, since: Duration) {
        let ready = self.shared.services.clock.boot();
        self.answered.push(Answered { _permits: permits, key, since, ready });
    }

    /// Counts how long those took that are written.
    fn note(&mut self) {
        if self.answered.is_empty() {
            return;
        }
        let (metrics, now) = (&self.shared.metrics, self.shared.services.clock.boot());
        for answered in self.answered.drain(..) {
            metrics.reply_seconds.observe(now.saturating_sub(answered.ready));
            if let Some(metrics) = metrics.of(answered.key) {
                metrics.seconds.observe(now.saturating_sub(answered.since));
            }
        }
    }

    /// Writes everything out. A client that takes nothing for the idle time is given up, and one
    /// that takes less than [`SLOWEST`] beyond it.
    pub(super) async fn send(&mut self) -> Result<(), Ended> {
        let mut chunks = self.chunks.take().ok_or(Ended::Answered)?;
        let bytes: usize = chunks.left.iter().map(Bytes::len).sum();
        if bytes > 0 {
            let seconds = u64::try_from(bytes).unwrap_or(u64::MAX) / SLOWEST;
            let patience = self.shared.config.max_idle.saturating_add(Duration::from_secs(seconds));
            let cold = chunks.cold;
            let send = async move {
                let sent = clock::timeout(patience, chunks.send()).await;
                sent.unwrap_or(Err(Ended::TimedOut)).map(|()| chunks)
            };
            chunks = if cold {
                let background = self.shared.config.background.run(send).await;
                background.unwrap_or(Err(Ended::TimedOut))?
            } else {
                send.await?
            };
        }
        self.free = 0;
        (chunks.copied, chunks.cold) = (false, false);
        chunks.rooms.clear();
        self.chunks = Some(chunks);
        self.note();
        Ok(())
    }
}

impl<W: AsyncWrite + Unpin> Chunks<W> {
    async fn send(&mut self) -> Result<(), Ended> {
        let every = LOOK_EVERY.min(self.shared.config.max_idle);
        let mut progress = Progress::default();
        let look = clock::sleep(every);
        tokio::pin!(look);
        while !self.left.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let (mut count, mut room) = (0, if self.cold { COLD_BYTES } else { usize::MAX });
            for (slice, chunk) in slices.iter_mut().zip(self.left.iter()) {
                let chunk = chunk.get(..room).unwrap_or(chunk);
                *slice = IoSlice::new(chunk);
                room -= chunk.len();
                count += 1;
                if room == 0 {
                    break;
                }
            }
            let slices = slices.get(..count).unwrap_or_default();
            let written = tokio::select! {
                biased;
                written = self.write.write_vectored(slices) => Some(written?),
                () = &mut look => None,
            };
            match written {
                Some(0) => return Err(Ended::Socket(io::ErrorKind::WriteZero.into())),
                Some(written) => {
                    progress.taken += u64::try_from(written).unwrap_or(0);
                    self.wrote(written);
                }
                None => {
                    self.look_after(&mut progress, every)?;
                    look.set(clock::sleep(every));
                }
            }
        }
        Ok(())
    }

    /// Takes what was written off the chunks.
    fn wrote(&mut self, mut written: usize) {
        self.wrote.store(true, Ordering::Relaxed);
        self.shared.metrics.response_bytes.inc_by(written.try_into().unwrap_or(0));
        while let Some(front) = self.left.front_mut() {
            let taken = written.min(front.len());
            front.advance(taken);
            written -= taken;
            if !front.is_empty() {
                break;
            }
            self.left.pop_front();
        }
    }

    /// A client that lets us wait: what it has not taken moves out of the buffers of the log and
    /// the cache, which it would keep whole; it is given up when it takes nothing at all, or too
    /// little while others wait for the memory.
    fn look_after(&mut self, progress: &mut Progress, every: Duration) -> Result<(), Ended> {
        if !self.copied && !self.rooms.is_empty() {
            self.copied = true;
            for chunk in &mut self.left {
                *chunk = Bytes::copy_from_slice(chunk);
            }
        }
        let taken = std::mem::take(&mut progress.taken);
        progress.quiet = if taken > 0 { Duration::ZERO } else { progress.quiet + every };
        let slow = taken < SLOWEST && !self.rooms.is_empty() && self.shared.replies.is_short();
        progress.slow = if slow { progress.slow + 1 } else { 0 };
        if progress.slow >= SLOW_LOOKS {
            self.shared.metrics.slow_clients.inc();
            return Err(Ended::TimedOut);
        }
        if progress.quiet >= self.shared.config.max_idle { Err(Ended::TimedOut) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::{
        env::task::Tasks,
        kafka::{Config, Metrics, Service, Services},
        types::ByteCount,
    };

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_given_up_when_others_wait_and_not_before() {
        let (_service, service) = watch::channel(Service::Starting);
        let config = Config { reply_memory: ByteCount::mib(1), ..Config::default() };
        let (services, metrics) =
            (Services { service, clock: Arc::new(clock::SystemClock) }, Metrics::default());
        let shared = Arc::new(Shared::new(config, services, metrics, Tasks::new()));
        let (ours, _theirs) = tokio::io::duplex(1024);
        let mut out = Out::new(ours, Arc::clone(&shared), Arc::default());
        let room = shared.replies.exactly(1 << 20, false).await;
        let head = |_| Bytes::from_static(b"head");
        out.add(&head, vec![Bytes::from(vec![0; 1 << 20])], Some(room)).await.unwrap();
        let mut send = Box::pin(out.send());
        let waiting = clock::timeout(Duration::from_millis(50), &mut send).await;
        assert!(waiting.is_err());
        assert!(shared.replies.at_once(1).is_none());
        let (sent, room) = tokio::join!(send, shared.replies.exactly(1, false));
        assert!(matches!(sent, Err(Ended::TimedOut)), "{sent:?}");
        assert_eq!((room.bytes(), shared.metrics.slow_clients.get()), (1024, 1));
    }
}
