//! What the commands show, as JSON: cluster, topics, groups, storage, flow, trouble.
//!
//! Owns: paths, paging, what an answer looks like. Does not own: any state. Invariant: no answer
//! grows with the cluster: lists are paged, and say how to go on.

mod cluster;
mod groups;
mod storage;
mod topics;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::Shown;
use crate::kafka::{Service, Serving};

/// Rows of a list where the client does not say, and at most.
const ROWS: usize = 100;
const ROWS_MAX: usize = 1000;
/// Lines of trouble.
const LINES: usize = 50;

pub(super) fn routes() -> Router<Arc<Shown>> {
    Router::new()
        .route("/v1/cluster", get(cluster::cluster))
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{topic}", get(topics::one))
        .route("/v1/groups", get(groups::list))
        .route("/v1/groups/{group}", get(groups::one))
        .route("/v1/storage", get(storage::storage))
        .route("/v1/flow", get(flow))
        .route("/v1/trouble", get(trouble))
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Page {
    /// At most so many.
    limit: Option<usize>,
    /// Those after this one.
    after: Option<String>,
    /// Largest first, without paging, instead of by name.
    largest: bool,
}

impl Page {
    fn rows(&self) -> usize {
        self.limit.unwrap_or(ROWS).min(ROWS_MAX)
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Missing {
    /// Nothing is served just now, and why.
    NotServing(String),
    /// There is no such thing.
    Unknown(&'static str),
    /// It could not be asked.
    NotNow(String),
}

#[derive(Serialize)]
struct Error {
    error: String,
}

impl IntoResponse for Missing {
    fn into_response(self) -> Response {
        let (code, error) = match self {
            Self::NotServing(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
            Self::Unknown(what) => (StatusCode::NOT_FOUND, format!("there is no such {what}")),
            Self::NotNow(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        };
        (code, Json(Error { error })).into_response()
    }
}

/// The running broker.
fn serving(shown: &Shown) -> Result<Arc<Serving>, Missing> {
    match &*shown.faces.service.borrow() {
        Service::Open(serving) => Ok(Arc::clone(serving)),
        Service::Starting | Service::Away(_) => {
            let reason = shown.faces.readiness.borrow().reason.clone();
            Err(Missing::NotServing(format!("not serving: {reason}")))
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Since {
    since: Option<i64>,
}

#[derive(Serialize)]
struct Flowing {
    samples: Vec<super::flow::Sample>,
}

async fn flow(State(shown): State<Arc<Shown>>, Query(asked): Query<Since>) -> Json<impl Serialize> {
    Json(Flowing { samples: shown.flow.since(asked.since.unwrap_or(i64::MIN)) })
}

#[derive(Serialize)]
struct Lines {
    lines: Vec<super::trouble::Line>,
}

async fn trouble(State(shown): State<Arc<Shown>>) -> Json<impl Serialize> {
    Json(Lines { lines: shown.faces.trouble.newest(LINES) })
}
