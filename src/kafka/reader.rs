//! Frames from a socket, in a buffer that is used again and again.
//!
//! Owns: frame limits, the memory a frame may take, patience. Invariants: memory grows with the
//! bytes that arrived, never by a declared length; a large frame takes its share of the common
//! memory whole, once its first 64 KiB (less of very many clients) arrived, so that frames cannot wait for one another; a
//! started frame that trickles is given up; an idle connection holds next to nothing.

use std::{io, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::OwnedSemaphorePermit,
};

use super::{error::BadRequest, server::Shared};
use crate::env::clock;

/// Room made at once for the start of a frame, at most.
const SMALL_BYTES: usize = 64 * 1024;
/// Room made for one read.
const READ_BYTES: usize = 16 * 1024;
/// Room an idle connection keeps.
const IDLE_BYTES: usize = 512;
/// Largest frame of an API other than Produce.
const MAX_PLAIN_BYTES: u64 = 8 * 1024 * 1024;
/// How long a connection without requests keeps its buffer.
const BUFFER_IDLE: Duration = Duration::from_secs(1);
/// How long the start of a frame may take, and what a frame may take beyond [`SLOWEST`].
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes a second below which a large frame is given up.
const SLOWEST: u64 = 64 * 1024;
/// How often activity is looked for in the idle time.
const LOOKS: u32 = 8;
/// API key of Produce.
const PRODUCE: i16 = 0;

/// Why there is no next frame.
#[derive(Debug)]
pub(super) enum ReadError {
    Socket(io::Error),
    Bad(BadRequest),
    /// Idle too long, or a started frame took too long.
    TimedOut,
    /// By the client.
    Closed,
}

/// A whole frame, its length taken off.
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    /// Its share of the common memory, held as long as the bytes are.
    pub(super) memory: Option<OwnedSemaphorePermit>,
}

/// Reads frames.
pub(super) struct FrameReader<R> {
    read: R,
    buffer: BytesMut,
    shared: Arc<Shared>,
}

impl<R: AsyncRead + Unpin + Send> FrameReader<R> {
    pub(super) fn new(read: R, shared: Arc<Shared>) -> Self {
        Self { read, buffer: BytesMut::new(), shared }
    }

    /// The next frame; `active` tells whether replies are owed or were written since it was last
    /// asked: such a connection is not idle.
    pub(super) async fn next(
        &mut self,
        active: impl Fn() -> bool + Send,
    ) -> Result<Frame, ReadError> {
        self.wait(active).await?;
        let patience = PATIENCE.min(self.shared.config.max_idle);
        patient(patience, self.fill(4)).await?;
        self.check_protocol()?;
        let length = self.peek::<4>(0).map_or(0, i32::from_be_bytes);
        self.check(length, self.shared.config.max_request.0)?;
        let total = usize::try_from(length).unwrap_or(0).saturating_add(4);
        patient(patience, self.fill(total.min(6))).await?;
        if self.peek::<2>(4).map(i16::from_be_bytes) != Some(PRODUCE) {
            self.check(length, MAX_PLAIN_BYTES)?;
        }
        let by_right = self.shared.by_right();
        patient(patience, self.fill(total.min(by_right))).await?;
        let mut memory = None;
        if total > by_right {
            let share = u32::try_from(total).unwrap_or(u32::MAX);
            let permits = Arc::clone(&self.shared.memory).acquire_many_owned(share).await;
            memory = Some(permits.map_err(|_| ReadError::TimedOut)?);
            let seconds = u64::try_from(total).unwrap_or(u64::MAX) / SLOWEST;
            patient(patience + Duration::from_secs(seconds), self.fill(total)).await?;
        }
        let bytes = self.buffer.split_to(total).freeze().slice(4..);
        Ok(Frame { bytes, memory })
    }

    /// A client that speaks another protocol is told apart, for the log line.
    fn check_protocol(&self) -> Result<(), ReadError> {
        match self.peek::<4>(0) {
            // A TLS handshake record of any version.
            Some([0x16, 0x03, ..]) => Err(ReadError::Bad(BadRequest::OtherProtocol("TLS"))),
            Some(
                [b'G', b'E', b'T', b' '] | [b'P', b'O', b'S', b'T'] | [b'H', b'E', b'A', b'D'],
            ) => Err(ReadError::Bad(BadRequest::OtherProtocol("HTTP"))),
            _ => Ok(()),
        }
    }

    fn check(&self, length: i32, limit: u64) -> Result<(), ReadError> {
        let too_large = BadRequest::FrameSize { bytes: length.into(), limit };
        let fits = u64::try_from(length).is_ok_and(|bytes| bytes > 0 && bytes <= limit);
        if fits { Ok(()) } else { Err(ReadError::Bad(too_large)) }
    }

    fn peek<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.buffer.get(at..at + N)?.try_into().ok()
    }

    /// Waits for the first byte of a frame.
    async fn wait(&mut self, active: impl Fn() -> bool + Send) -> Result<(), ReadError> {
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_BYTES {
            if let Ok(read) = clock::timeout(BUFFER_IDLE, self.fill(1)).await {
                return read;
            }
            self.buffer = BytesMut::new();
        }
        // Activity is looked for several times in the idle time, so that what counts is the time
        // since the last byte of either side and not since a look at the clock.
        let look = self.shared.config.max_idle / LOOKS;
        let mut quiet = 0;
        while self.buffer.is_empty() {
            self.buffer.reserve(IDLE_BYTES);
            let read = self.read.read_buf(&mut self.buffer);
            match clock::timeout(look, read).await {
                Ok(Ok(0)) => return Err(ReadError::Closed),
                Ok(read) => drop(read.map_err(ReadError::Socket)?),
                Err(_) if active() => quiet = 0,
                Err(_) => quiet += 1,
            }
            if quiet >= LOOKS {
                return Err(ReadError::TimedOut);
            }
        }
        Ok(())
    }

    /// Reads until `count` bytes are there. Dropping it loses nothing.
    async fn fill(&mut self, count: usize) -> Result<(), ReadError> {
        while self.buffer.len() < count {
            let have = self.buffer.len();
            if self.buffer.capacity() == have {
                let most = have.max(SMALL_BYTES);
                self.buffer.reserve((count - have).clamp(READ_BYTES, most));
            }
            // Beyond a large frame nothing is read: what lies there would have to be moved.
            let most = if count > SMALL_BYTES { count - have } else { usize::MAX };
            let mut buffer = (&mut self.buffer).limit(most);
            if self.read.read_buf(&mut buffer).await.map_err(ReadError::Socket)? == 0 {
                return Err(ReadError::Closed);
            }
        }
        Ok(())
    }
}

async fn patient(
    patience: Duration,
    read: impl Future<Output = Result<(), ReadError>> + Send,
) -> Result<(), ReadError> {
    clock::timeout(patience, read).await.unwrap_or(Err(ReadError::TimedOut))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::{
        io::{AsyncWriteExt, DuplexStream},
        sync::watch,
    };

    use super::*;
    use crate::{
        env::task::Tasks,
        kafka::{Config, Metrics, Service, Services},
        types::ByteCount,
    };

    fn reader(max_idle: Duration) -> (FrameReader<DuplexStream>, DuplexStream, Arc<Shared>) {
        let (_service, receiver) = watch::channel(Service::Starting);
        // The largest frame takes all the memory there is.
        let (max_request, request_memory) = (ByteCount((1 << 20) - 4), ByteCount(0));
        let config = Config { max_idle, max_request, request_memory, ..Config::default() };
        let services = Services { service: receiver, clock: Arc::new(clock::SystemClock) };
        let shared = Arc::new(Shared::new(config, services, Metrics::default(), Tasks::new()));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        (FrameReader::new(ours, Arc::clone(&shared)), theirs, shared)
    }

    fn frame(bytes: usize) -> Vec<u8> {
        let mut frame = i32::try_from(bytes).unwrap().to_be_bytes().to_vec();
        frame.resize(bytes + 4, 0);
        frame
    }

    #[tokio::test]
    async fn large_frames_come_in_one_buffer_used_again_and_again() {
        let (mut reader, mut client, _shared) = reader(Duration::from_secs(60));
        let writer = tokio::spawn(async move {
            for _ in 0..50 {
                client.write_all(&frame(300_000)).await.unwrap();
            }
            client
        });
        let mut places = HashSet::new();
        for _ in 0..50 {
            let frame = reader.next(|| false).await.unwrap();
            assert_eq!(frame.bytes.len(), 300_000);
            places.insert(frame.bytes.as_ptr().addr() / (1 << 20));
        }
        assert!(places.len() < 10, "{} places", places.len());
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_large_frame_waits_for_its_share_of_the_memory() {
        let (mut reader, mut client, shared) = reader(Duration::from_secs(60));
        let taken = Arc::clone(&shared.memory).acquire_many_owned(1 << 20).await.unwrap();
        tokio::spawn(async move {
            client.write_all(&frame(100)).await.unwrap();
            client.write_all(&frame(200_000)).await.unwrap();
            client
        });
        let small = reader.next(|| false).await.unwrap();
        assert!(small.memory.is_none(), "a small one does not");
        let large = clock::timeout(Duration::from_millis(100), reader.next(|| false)).await;
        assert!(large.is_err());
        drop(taken);
        let large = reader.next(|| false).await.unwrap();
        assert_eq!(large.bytes.len(), 200_000);
        assert_eq!(shared.memory.available_permits(), (1 << 20) - 200_004);
    }

    #[tokio::test]
    async fn what_is_read_by_right_shrinks_with_the_clients_connected() {
        let (_reader, _client, shared) = reader(Duration::from_secs(60));
        assert_eq!(shared.by_right(), SMALL_BYTES);
        shared.metrics.connections.set(20_000);
        assert_eq!(shared.by_right(), 1024 * 1024 * 1024 / 20_000 - 16 * 1024);
        shared.metrics.connections.set(1_000_000);
        assert_eq!(shared.by_right(), 4096);
    }

    #[tokio::test]
    async fn silence_ends_a_connection_that_owes_nothing() {
        let (mut reader, mut client, _shared) = reader(Duration::from_millis(50));
        assert!(matches!(reader.next(|| false).await, Err(ReadError::TimedOut)));
        let owing = clock::timeout(Duration::from_millis(300), reader.next(|| true)).await;
        assert!(owing.is_err(), "it waits on");
        client.write_all(&frame(10)).await.unwrap();
        assert_eq!(reader.next(|| false).await.unwrap().bytes.len(), 10);
    }

    #[tokio::test]
    async fn an_idle_connection_gives_its_buffer_back() {
        let (mut reader, mut client, _shared) = reader(Duration::from_secs(60));
        client.write_all(&frame(10_000)).await.unwrap();
        drop(reader.next(|| false).await.unwrap());
        assert!(reader.buffer.capacity() > 1000);
        let waiting = Duration::from_millis(1300);
        assert!(clock::timeout(waiting, reader.next(|| false)).await.is_err());
        assert!(reader.buffer.capacity() <= 2 * IDLE_BYTES, "{}", reader.buffer.capacity());
    }
}
