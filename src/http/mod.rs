//! The HTTP side: health, readiness, metrics and the few orders an operator gives.
//!
//! Owns: routes, their JSON, refusal of cross-site requests. Does not own: any state; it shows
//! what it is handed. Invariant: it runs on a thread and runtime of its own, so that a busy
//! broker still says how it is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{env, metrics::Registry};

/// Largest request body this side reads, in bytes; every order fits many times.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Why the HTTP side did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for HTTP: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Who this broker is, for another that finds its address in a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The WAL folder's id.
    pub storage: String,
    /// The cluster's id once known.
    pub cluster: Option<String>,
}

/// Whether the broker serves, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Serving clients.
    pub ready: bool,
    /// What it is doing, in words for a person.
    pub reason: String,
    /// Set while the broker waits for `cluster accept-loss`: what would be lost.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub at_risk: Option<LossAtRisk>,
}

/// What an operator would accept as lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossAtRisk {
    /// The partitions, `topic-index`.
    pub partitions: Vec<String>,
    /// WAL segments that are needed and not here.
    pub segments: Vec<String>,
    /// Bytes not in the bucket at the last renewal of the lease.
    pub bytes: Option<u64>,
    /// When the oldest of them was appended, in milliseconds since 1970.
    pub oldest_append_ms: Option<i64>,
}

/// What the routes show and reach.
#[derive(Clone, Debug)]
pub struct Faces {
    /// Readiness as it changes.
    pub readiness: watch::Receiver<Readiness>,
    /// The broker's identity.
    pub identity: watch::Receiver<Identity>,
    /// All metrics.
    pub registry: Arc<Registry>,
    /// Orders to accept a loss; the answer is what was done, or why not.
    pub accept_loss: mpsc::Sender<oneshot::Sender<Result<String, String>>>,
}

/// The running HTTP side.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stopping: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` and serves until dropped or stopped.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(address: SocketAddr, faces: Faces) -> Result<Self, Error> {
        let listen = |source| Error::Listen { address, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(listen)?;
        let listener = env::net::listen(address).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let stopping = CancellationToken::new();
        let stopped = stopping.clone().cancelled_owned();
        let thread = env::task::thread("http", move || {
            let served = runtime.block_on(async move {
                let listener = env::net::TcpListener::from_std(listener)?;
                axum::serve(listener, router(faces)).with_graceful_shutdown(stopped).await
            });
            if let Err(error) = served {
                tracing::error!(
                    %error,
                    advice = "start again: clients are served, but health and metrics are not",
                    "the http side ended"
                );
            }
            runtime.shutdown_timeout(Duration::from_millis(100));
        });
        Ok(Self { address: bound, stopping, thread: Some(thread.map_err(listen)?) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.cancel();
        // A slow reader of /metrics must not hold up the end of the process.
        drop(self.thread.take());
    }
}

fn router(faces: Faces) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/identity", get(identity))
        .route("/v1/status", get(status))
        .route("/v1/cluster/accept-loss", post(accept_loss))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(refuse_cross_site))
        .with_state(faces)
}

/// A browser on another site must not give orders: it cannot leave these headers out.
async fn refuse_cross_site(request: Request, next: Next) -> Response {
    let headers: &HeaderMap = request.headers();
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let foreign = headers.contains_key(header::ORIGIN)
        || !matches!(site, None | Some("same-origin" | "none"));
    if foreign && !request.method().is_safe() {
        return (StatusCode::FORBIDDEN, "cross-site requests are refused\n").into_response();
    }
    next.run(request).await
}

async fn readyz(State(faces): State<Faces>) -> Response {
    let readiness = faces.readiness.borrow().clone();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{}\n", readiness.reason)).into_response()
}

async fn status(State(faces): State<Faces>) -> Json<Readiness> {
    Json(faces.readiness.borrow().clone())
}

async fn identity(State(faces): State<Faces>) -> Json<Identity> {
    Json(faces.identity.borrow().clone())
}

async fn metrics(State(faces): State<Faces>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &faces.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn accept_loss(State(faces): State<Faces>) -> Response {
    const NOT_WAITING: &str = "this broker is not waiting for a loss to be accepted";
    let (answer, done) = oneshot::channel();
    if faces.readiness.borrow().at_risk.is_none() || faces.accept_loss.try_send(answer).is_err() {
        return (StatusCode::CONFLICT, format!("{NOT_WAITING}\n")).into_response();
    }
    match done.await {
        Ok(Ok(text)) => (StatusCode::OK, format!("{text}\n")).into_response(),
        Ok(Err(text)) => (StatusCode::CONFLICT, format!("{text}\n")).into_response(),
        Err(_) => (StatusCode::CONFLICT, format!("{NOT_WAITING}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Running {
        server: Server,
        readiness: watch::Sender<Readiness>,
        _identity: watch::Sender<Identity>,
        orders: mpsc::Receiver<oneshot::Sender<Result<String, String>>>,
    }

    fn start() -> Running {
        let (readiness, seen) = watch::channel(Readiness {
            reason: "waiting for the bucket: connection refused".to_owned(),
            ..Readiness::default()
        });
        let (_identity, identity) = watch::channel(Identity::default());
        let (accept_loss, orders) = mpsc::channel(1);
        let registry = Arc::new(Registry::with_prefix("strandline"));
        let faces = Faces { readiness: seen, identity, registry, accept_loss };
        let server = Server::start("127.0.0.1:0".parse().unwrap(), faces).unwrap();
        Running { server, readiness, _identity, orders }
    }

    fn url(running: &Running, path: &str) -> String {
        format!("http://{}{path}", running.server.address())
    }

    #[tokio::test]
    async fn an_unready_broker_is_healthy_and_says_why_it_is_not_ready() {
        let running = start();
        let health = reqwest::get(url(&running, "/healthz")).await.unwrap();
        assert_eq!(health.status(), 200);
        let ready = reqwest::get(url(&running, "/readyz")).await.unwrap();
        assert_eq!(ready.status(), 503);
        assert!(ready.text().await.unwrap().contains("connection refused"));
        running.readiness.send_replace(Readiness { ready: true, ..Readiness::default() });
        assert_eq!(reqwest::get(url(&running, "/readyz")).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn accept_loss_is_refused_when_nothing_is_at_risk_and_from_other_sites() {
        let mut running = start();
        let client = reqwest::Client::new();
        let order = url(&running, "/v1/cluster/accept-loss");
        assert_eq!(client.post(&order).send().await.unwrap().status(), 409);
        let foreign = client.post(&order).header("origin", "http://elsewhere.example");
        assert_eq!(foreign.send().await.unwrap().status(), 403);
        running.readiness.send_replace(Readiness {
            at_risk: Some(LossAtRisk::default()),
            ..Readiness::default()
        });
        let sent = tokio::task::spawn(client.post(&order).send());
        running.orders.recv().await.unwrap().send(Ok("sealed".to_owned())).unwrap();
        assert_eq!(sent.await.unwrap().unwrap().text().await.unwrap(), "sealed\n");
    }
}
