//! The HTTP side: health, readiness, metrics, what the commands show, the page, and the few orders an
//! operator gives.
//!
//! Owns: routes, their JSON, who is let in. Does not own: any state; it shows what it is handed.
//! Invariants: it runs on a thread and runtime of its own, so that a busy broker still says how it
//! is; nothing but an order changes anything.

mod flow;
mod guard;
mod listen;
mod metrics;
mod page;
mod survey;
#[cfg(test)]
mod tests;
mod trouble;
mod v1;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use flow::{Meters, MetersSource};
pub use metrics::Metrics;
pub use trouble::{Line, Trouble};

use crate::{
    env::{self, clock::Clock, task::Tasks},
    kafka::Service,
    metrics::Registry,
    store::Store,
};
use flow::Flow;
use guard::Guard;
use listen::Limits;
use survey::Surveyor;

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
#[derive(Clone)]
pub struct Faces {
    /// Readiness as it changes.
    pub readiness: watch::Receiver<Readiness>,
    /// The broker's identity.
    pub identity: watch::Receiver<Identity>,
    /// All metrics.
    pub registry: Arc<Registry>,
    /// Those of this side.
    pub metrics: Metrics,
    /// Orders to accept a loss; the answer is what was done, or why not.
    pub accept_loss: mpsc::Sender<oneshot::Sender<Result<String, String>>>,
    /// The parts of the broker while it serves.
    pub service: watch::Receiver<Service>,
    /// The bucket, once it is opened.
    pub store: Arc<OnceLock<Store>>,
    /// The bucket's URL, for people.
    pub bucket: String,
    /// What the parts count.
    pub meters: MetersSource,
    /// The last warnings and errors.
    pub trouble: Trouble,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Host names of this broker, beside its addresses and localhost.
    pub names: Vec<String>,
    /// Whether there is a page.
    pub page: bool,
}

/// What the handlers share.
struct Shown {
    faces: Faces,
    survey: Surveyor,
    flow: Flow,
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
        Self::start_within(address, faces, Limits::default())
    }

    fn start_within(address: SocketAddr, faces: Faces, limits: Limits) -> Result<Self, Error> {
        let listen = |source| Error::Listen { address, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(listen)?;
        let listener = env::net::listen(address).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let stopping = CancellationToken::new();
        let stopped = stopping.clone();
        let thread = env::task::thread("http", move || {
            let served = runtime.block_on(async move {
                let listener = env::net::TcpListener::from_std(listener)?;
                let (metrics, tasks) = (faces.metrics.clone(), Tasks::new());
                let (meters, clock) = (Arc::clone(&faces.meters), Arc::clone(&faces.clock));
                let shown = Arc::new(Shown::new(faces));
                let flowing = Arc::clone(&shown);
                tasks.spawn("http flow", async move { flowing.flow.run(meters, clock).await });
                listen::serve(listener, router(shown), metrics, limits, stopped).await;
                std::io::Result::Ok(())
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

impl Shown {
    fn new(faces: Faces) -> Self {
        let survey = Surveyor::new(
            faces.service.clone(),
            Arc::clone(&faces.store),
            Arc::clone(&faces.clock),
            faces.metrics.clone(),
        );
        Self { faces, survey, flow: Flow::default() }
    }
}

fn router(shown: Arc<Shown>) -> Router {
    let guard =
        Guard { names: shown.faces.names.clone().into(), metrics: shown.faces.metrics.clone() };
    let mut router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/v1/identity", get(identity))
        .route("/v1/status", get(status))
        .route("/v1/cluster/accept-loss", post(accept_loss))
        .merge(v1::routes());
    if shown.faces.page {
        router = router.merge(page::routes());
    }
    router.layer(middleware::from_fn_with_state(guard, guard::check)).with_state(shown)
}

async fn readyz(State(shown): State<Arc<Shown>>) -> Response {
    let readiness = shown.faces.readiness.borrow().clone();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{}\n", readiness.reason)).into_response()
}

async fn status(State(shown): State<Arc<Shown>>) -> Json<Readiness> {
    Json(shown.faces.readiness.borrow().clone())
}

async fn identity(State(shown): State<Arc<Shown>>) -> Json<Identity> {
    Json(shown.faces.identity.borrow().clone())
}

async fn metrics_text(State(shown): State<Arc<Shown>>) -> Response {
    let faces = &shown.faces;
    faces.metrics.ready.set(i64::from(faces.readiness.borrow().ready));
    shown.survey.recent().await;
    match faces.registry.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn accept_loss(State(shown): State<Arc<Shown>>) -> Response {
    const NOT_WAITING: &str = "this broker is not waiting for a loss to be accepted";
    let (answer, done) = oneshot::channel();
    let faces = &shown.faces;
    if faces.readiness.borrow().at_risk.is_none() || faces.accept_loss.try_send(answer).is_err() {
        return (StatusCode::CONFLICT, format!("{NOT_WAITING}\n")).into_response();
    }
    match done.await {
        Ok(Ok(text)) => (StatusCode::OK, format!("{text}\n")).into_response(),
        Ok(Err(text)) => (StatusCode::CONFLICT, format!("{text}\n")).into_response(),
        Err(_) => (StatusCode::CONFLICT, format!("{NOT_WAITING}\n")).into_response(),
    }
}
