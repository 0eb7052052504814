//! Connections of the HTTP side, each held to limits.
//!
//! Owns: how many there may be, how long each may take. Invariants: one that sends or reads slowly
//! is ended; a client that fills all places has them for a limited time.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::metrics::{Metrics, Refusal};
use crate::env::{
    clock,
    net::{TcpListener, TcpStream},
    task::Tasks,
};

/// Limits of this side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at one time; one more is closed at once.
    pub(super) connections: usize,
    /// How long the head of a request may take, and the next request on an open connection.
    pub(super) head: Duration,
    /// How long a connection lives: after that it takes no more requests.
    pub(super) life: Duration,
    /// How long it has to end what it is at.
    pub(super) last: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            head: Duration::from_secs(10),
            life: Duration::from_secs(60),
            // An order may wait for a recovery.
            last: Duration::from_secs(120),
        }
    }
}

/// Largest head of a request, in bytes, and how many headers it may have.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Serves until told to stop.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    metrics: Metrics,
    limits: Limits,
    stopped: CancellationToken,
) {
    let tasks = Tasks::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken for http");
                clock::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.refused(Refusal::Connections).inc();
            continue;
        };
        let open = Open { _place: place, metrics: metrics.clone() };
        metrics.connections.inc();
        let (router, stopped) = (router.clone(), stopped.clone());
        tasks.spawn("http connection", async move {
            connection(stream, router, limits, stopped).await;
            drop(open);
        });
    }
}

/// A place taken, until dropped.
struct Open {
    _place: OwnedSemaphorePermit,
    metrics: Metrics,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

async fn connection(stream: TcpStream, router: Router, limits: Limits, stopped: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head);
    builder.max_header_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        // How it ended is the client's affair.
        _ = connection.as_mut() => return,
        () = stopped.cancelled() => {}
        () = clock::sleep(limits.life) => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(clock::timeout(limits.last, connection).await);
}
