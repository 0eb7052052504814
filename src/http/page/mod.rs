//! The web page: files of its own, nothing from elsewhere, nothing inline.
//!
//! Owns: its paths and what a browser may do with it. Does not own: what it shows, which it reads
//! from `/v1`. Invariant: the policy lets no script in but this one, whatever a topic is called.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

/// Own files alone; no frame, no form, no base.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    const HTML: &str = "text/html; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    Router::new()
        .route("/", get(|| async { file(HTML, include_str!("index.html")) }))
        .route("/page/style.css", get(|| async { file("text/css", include_str!("style.css")) }))
        .route("/page/app.js", get(|| async { file(SCRIPT, include_str!("app.js")) }))
        .route("/page/plot.js", get(|| async { file(SCRIPT, include_str!("plot.js")) }))
        .route("/page/words.js", get(|| async { file(SCRIPT, include_str!("words.js")) }))
        .route("/page/icon.svg", get(|| async { file("image/svg+xml", include_str!("icon.svg")) }))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    // Another version may run at the same address tomorrow.
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text).into_response()
}
