//! One client's connection: requests in, replies out, both in order.
//!
//! Owns: reading frames, running requests in order, writing replies in order.
//! Invariants: an effect happens in request order; at most [`MAX_IN_FLIGHT`] replies are owed, so a
//! client that does not read is not read from; Produce runs beside Produce, any other request
//! alone; a bad request ends the connection after the replies owed before it.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use proto_kafka::messages::ApiKey;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::{
    api::{self, Answer, Call, Later, Run},
    complaints,
    context::{Context, Known, Service, Serving},
    error::BadRequest,
    frame::{self, Request},
    out::Out,
    reader::{Frame, FrameReader, ReadError},
    server::Shared,
};
use crate::env::clock;

/// Replies owed to a client at one time.
const MAX_IN_FLIGHT: u16 = 100;
/// How long a request waits for a broker that is between two incarnations before it gets an error
/// that clients retry: long enough that they do not ask in circles.
const AWAY_WAIT: Duration = Duration::from_millis(500);
/// How long after such an error what comes is taken for sent before it: the client could not know.
/// Clients ask again later than that.
const BESIDE: Duration = Duration::from_millis(50);
/// How long one waits for a broker that has never served before its connection is closed.
const START_WAIT: Duration = Duration::from_secs(10);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    #[error("idle, stalled or not served")]
    TimedOut,
    #[error("closed by the answer to a request")]
    Answered,
    #[error("closed by the client")]
    Client,
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Socket(error) => Self::Socket(error),
            ReadError::Bad(bad) => Self::BadRequest(bad),
            ReadError::TimedOut => Self::TimedOut,
            ReadError::Closed => Self::Client,
        }
    }
}

/// A reply owed.
struct Owed {
    key: ApiKey,
    version: i16,
    correlation: i32,
    answer: Later,
    /// When the request was read, by the boot clock.
    since: Duration,
    permits: OwnedSemaphorePermit,
    /// Its reply may be of any size.
    any_size: bool,
    /// Share of the common memory of a request that is not yet answered.
    memory: Option<OwnedSemaphorePermit>,
}

/// Serves one client until either side ends it.
pub(super) async fn serve<R, W>(read: R, write: W, host: IpAddr, shared: Arc<Shared>)
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let stopping = shared.tasks.stopping();
    let (owe, owed) = mpsc::channel(MAX_IN_FLIGHT.into());
    let reader = FrameReader::new(read, Arc::clone(&shared));
    let mut requests = Requests {
        shared: Arc::clone(&shared),
        host,
        client_id: Arc::from(""),
        owe,
        in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT.into())),
        wrote: Arc::new(AtomicBool::new(false)),
        refused: false,
    };
    let out = Out::new(write, Arc::clone(&shared), Arc::clone(&requests.wrote));
    let ended = tokio::select! {
        biased;
        () = stopping.cancelled() => return,
        Err(ended) = reply(out, &shared, owed) => ended,
        ended = requests.run(reader) => ended,
    };
    if let Ended::BadRequest(error) = &ended {
        shared.metrics.bad_requests.inc();
        complaints::bad_request(host, &requests.client_id, error);
    } else {
        tracing::debug!(client = %host, reason = %ended, "connection ended");
    }
}

/// The reading side.
struct Requests {
    shared: Arc<Shared>,
    host: IpAddr,
    client_id: Arc<str>,
    owe: mpsc::Sender<Owed>,
    in_flight: Arc<Semaphore>,
    /// Whether bytes were written since last asked: such a connection is not idle.
    wrote: Arc<AtomicBool>,
    /// One of several requests in flight was told that nothing is served, and the client does not
    /// know yet. Those after it must not be served, or their effects would come before its own: of
    /// a producer nobody knows yet, any sequence is taken for its first.
    refused: bool,
}

impl Requests {
    async fn run<R: AsyncRead + Unpin + Send>(&mut self, mut reader: FrameReader<R>) -> Ended {
        loop {
            if let Err(ended) = self.one(&mut reader).await {
                if !matches!(ended, Ended::Client | Ended::Socket(_)) {
                    self.permits(MAX_IN_FLIGHT).await.ok();
                }
                return ended;
            }
        }
    }

    /// Reads a request and begins it.
    async fn one<R: AsyncRead + Unpin + Send>(
        &mut self,
        reader: &mut FrameReader<R>,
    ) -> Result<(), Ended> {
        let Frame { bytes, mut memory } = self.frame(reader).await?;
        let since = self.shared.services.clock.boot();
        self.shared.metrics.request_bytes.inc_by(bytes.len().try_into().unwrap_or(0));
        let request = Request::parse(bytes)?;
        if *self.client_id.as_bytes() != request.client_id[..] {
            self.client_id = request.client_name();
        }
        let api = api::find(request.key, request.version)?;
        if let Some(metrics) = self.shared.metrics.of(request.key) {
            metrics.requests.inc();
        }
        let (key, version, correlation) = (request.key, request.version, request.correlation);
        let any_size = matches!(api.run, Run::Alone(_));
        let (permits, answer) = match api.run {
            Run::AtOnce(run) => {
                let permits = self.permits(1).await?;
                (permits, at_once(run(version, request.body)?))
            }
            Run::Alone(run) => {
                let permits = self.permits(MAX_IN_FLIGHT).await?;
                let answer = match self.served(self.refused).await? {
                    Ok(serving) => run(self.call(serving, version, request.body)),
                    Err(known) => at_once((api.away)(&known, version, request.body)?),
                };
                (permits, answer)
            }
            Run::Pipelined(begin) => {
                let permits = self.permits(1).await?;
                let is_alone = self.in_flight.available_permits() + 1 == usize::from(MAX_IN_FLIGHT);
                let answer = match self.served(self.refused || !is_alone).await? {
                    Ok(serving) => begin(self.call(serving, version, request.body)).await?,
                    Err(known) => {
                        self.refused = true;
                        at_once((api.away)(&known, version, request.body)?)
                    }
                };
                if key == ApiKey::Produce {
                    let took = self.shared.services.clock.boot().saturating_sub(since);
                    self.shared.metrics.produce_append_seconds.observe(took);
                }
                memory = None;
                (permits, answer)
            }
        };
        let owed = Owed { key, version, correlation, answer, since, permits, any_size, memory };
        self.owe.send(owed).await.map_err(|_| Ended::Answered)
    }

    /// The next frame; after a pause, the client has heard of a refusal before.
    async fn frame<R: AsyncRead + Unpin + Send>(
        &mut self,
        reader: &mut FrameReader<R>,
    ) -> Result<Frame, ReadError> {
        let active = || {
            let owing = self.in_flight.available_permits() < MAX_IN_FLIGHT.into();
            self.wrote.swap(false, Ordering::Relaxed) || owing
        };
        let next = reader.next(active);
        if !self.refused {
            return next.await;
        }
        tokio::pin!(next);
        if let Ok(beside) = clock::timeout(BESIDE, &mut next).await {
            return beside;
        }
        self.refused = false;
        next.await
    }

    async fn permits(&self, count: u16) -> Result<OwnedSemaphorePermit, Ended> {
        let permits = Arc::clone(&self.in_flight).acquire_many_owned(count.into()).await;
        permits.map_err(|_| Ended::Answered)
    }

    fn call(&self, serving: Arc<Serving>, version: i16, body: Bytes) -> Call {
        let client_id = Arc::clone(&self.client_id);
        let replies = self.shared.replies.clone();
        let context = Context { serving, client_id, client_host: self.host, replies };
        Call { context, version, body }
    }

    /// The running broker, or what is known while it does not run; waited for unless the answer is
    /// needed `at_once`, because another request may be refused before this one is served.
    async fn served(&self, at_once: bool) -> Result<Result<Arc<Serving>, Arc<Known>>, Ended> {
        let service = &self.shared.services.service;
        let now = service.borrow().clone();
        let wait = match &now {
            Service::Open(serving) => return Ok(Ok(Arc::clone(serving))),
            Service::Away(known) if at_once => return Ok(Err(Arc::clone(known))),
            Service::Away(_) => AWAY_WAIT,
            Service::Starting => START_WAIT,
        };
        // Only who waits needs a place of its own to wait at.
        let mut watch = service.clone();
        let open = watch.wait_for(|service| matches!(service, Service::Open(_)));
        let then = match clock::timeout(wait, open).await {
            Ok(Ok(service)) => service.clone(),
            Ok(Err(_)) | Err(_) => now,
        };
        match then {
            Service::Open(serving) => Ok(Ok(serving)),
            Service::Away(known) => Ok(Err(known)),
            Service::Starting => Err(Ended::TimedOut),
        }
    }
}

fn at_once(answer: Answer) -> Later {
    futures::future::ready(Ok(answer)).boxed()
}

/// Writes each reply as it is due, those that are ready together.
async fn reply<W: AsyncWrite + Unpin + Send + 'static>(
    mut out: Out<W>,
    shared: &Shared,
    mut owed: mpsc::Receiver<Owed>,
) -> Result<(), Ended> {
    let mut next = owed.recv().await;
    while let Some(mut due) = next.take() {
        if due.any_size {
            shared.replies.room().await;
        }
        let answer = match (&mut due.answer).now_or_never() {
            Some(answer) => answer,
            None => {
                out.send().await?;
                (&mut due.answer).await
            }
        };
        // The request is gone; a client slow to read must not keep others from sending.
        due.memory = None;
        let (key, version, correlation) = (due.key, due.version, due.correlation);
        let head = |bytes| frame::reply_head(key, version, correlation, bytes);
        match answer? {
            Answer::Reply(body, errors) => {
                shared.told(key, &errors);
                out.add(&head, body, None).await?;
            }
            Answer::Records(body, room, errors) => {
                shared.told(key, &errors);
                out.add(&head, body, Some(room)).await?;
            }
            Answer::Silent => {}
            Answer::Close => {
                out.send().await?;
                return Err(Ended::Answered);
            }
        }
        out.answered(due.permits, key, due.since);
        next = owed.try_recv().ok();
        if next.is_none() {
            out.send().await?;
            next = owed.recv().await;
        }
    }
    Ok(())
}
