//! Who may ask: no other site's page, no name that is not this broker's, nothing oversized.
//!
//! Owns: the checks on Host, Origin and Sec-Fetch-*, the limit of bodies, the headers that keep a
//! browser from misusing an answer. Invariants: a name that somebody's DNS points here is no way in
//! (rebinding); an order is never another site's; a body is read to its limit and no further.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::metrics::{Metrics, Refusal};
use crate::env::clock;

/// Largest request body this side reads, in bytes; every order fits many times.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// What no answer of ours may be used for, whatever it is; the page says more for itself.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// What the checks go by.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// Host names of this broker, beside any IP address and localhost.
    pub(super) names: Arc<[String]>,
    pub(super) metrics: Metrics,
}

/// Lets a request through, or says why not.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.admit(request).await {
        Ok(request) => next.run(request).await,
        Err((refusal, code, text)) => {
            guard.metrics.refused(refusal).inc();
            (code, format!("{text}\n")).into_response()
        }
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

type Refused = (Refusal, StatusCode, String);

impl Guard {
    async fn admit(&self, request: Request) -> Result<Request, Refused> {
        let headers = request.headers();
        let host = host_of(&request)?;
        if host.as_deref().is_some_and(|host| !self.is_ours(host)) {
            let text = "this host name is not this broker's: use its IP address, or start it with \
                        --http-names and the name";
            return Err((Refusal::Host, StatusCode::MISDIRECTED_REQUEST, text.to_owned()));
        }
        if !is_same_site(headers, request.method(), host.as_deref()) {
            let text = "requests of another site are refused".to_owned();
            return Err((Refusal::Site, StatusCode::FORBIDDEN, text));
        }
        let told =
            headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        if told.is_some_and(|bytes: u64| bytes > u64::try_from(BODY_BYTES_MAX).unwrap_or(0)) {
            return Err(too_large());
        }
        if request.method().is_safe() {
            return Ok(request);
        }
        let (head, body) = request.into_parts();
        let read = axum::body::to_bytes(body, BODY_BYTES_MAX);
        let body = match clock::timeout(BODY_PATIENCE, read).await {
            Ok(body) => body.map_err(|_| too_large())?,
            Err(_) => {
                let text = "the body took too long".to_owned();
                return Err((Refusal::Slow, StatusCode::REQUEST_TIMEOUT, text));
            }
        };
        Ok(Request::from_parts(head, Body::from(body)))
    }

    /// Whether `host`, perhaps with a port, is a name of this broker. Any IP address is: a name
    /// cannot be made to look like one.
    fn is_ours(&self, host: &str) -> bool {
        let Ok(host) = host.parse::<Authority>() else { return false };
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_suffix('.').unwrap_or(name);
        let is = |own: &str| own.eq_ignore_ascii_case(name);
        name.parse::<IpAddr>().is_ok() || is("localhost") || self.names.iter().any(|own| is(own))
    }
}

fn too_large() -> Refused {
    let text = format!("a request may bring {BODY_BYTES_MAX} bytes");
    (Refusal::Large, StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// The host the client means; `None` where it does not say, which browsers always do.
fn host_of(request: &Request) -> Result<Option<String>, Refused> {
    let unclear = || {
        let text = "the Host header is not clear".to_owned();
        (Refusal::Host, StatusCode::BAD_REQUEST, text)
    };
    let mut told = request.headers().get_all(header::HOST).iter();
    let header = told.next().map(|host| host.to_str().map(str::to_owned)).transpose();
    let header = header.map_err(|_| unclear())?;
    if told.next().is_some() {
        return Err(unclear());
    }
    Ok(request.uri().authority().map(|authority| authority.as_str().to_owned()).or(header))
}

/// Whether it comes from this broker's own page, from a program, or is somebody following a link.
fn is_same_site(headers: &HeaderMap, method: &Method, host: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(origin) = text("origin") {
        let origin = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
        let same = |host: &str| origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host));
        return host.is_some_and(same);
    }
    match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => true,
        Some(_) => {
            let follows = text("sec-fetch-mode") == Some("navigate")
                && text("sec-fetch-dest") == Some("document");
            *method == Method::GET && follows
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard { names: Arc::from(["Broker.example".to_owned()]), metrics: Metrics::default() }
    }

    #[test]
    fn a_broker_goes_by_its_addresses_localhost_and_the_names_it_was_given() {
        let ours = ["127.0.0.1:8080", "[::1]:8080", "10.0.0.9", "localhost:1", "LOCALHOST."];
        for host in ours.into_iter().chain(["broker.example:8080", "broker.example."]) {
            assert!(guard().is_ours(host), "{host}");
        }
        let others =
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b"];
        for host in others {
            assert!(!guard().is_ours(host), "{host}");
        }
    }

    #[test]
    fn only_the_own_page_programs_and_links_are_let_in() {
        let site = |pairs: &[(&'static str, &'static str)], method: &Method| {
            let pairs = pairs.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            is_same_site(&pairs.collect(), method, Some("127.0.0.1:8080"))
        };
        let (get, post) = (Method::GET, Method::POST);
        assert!(site(&[], &post) && site(&[("sec-fetch-site", "none")], &get));
        assert!(site(&[("origin", "http://127.0.0.1:8080")], &post));
        for origin in ["http://127.0.0.1:9999", "http://evil.example", "null", "127.0.0.1:8080"] {
            assert!(!site(&[("origin", origin)], &get), "{origin}");
        }
        for from in ["cross-site", "same-site"] {
            assert!(!site(&[("sec-fetch-site", from)], &get), "a fetch or an image");
            let link = [
                ("sec-fetch-site", from),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ];
            assert!(site(&link, &get) && !site(&link, &post), "a link, but not a form");
            let frame = [
                ("sec-fetch-site", from),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ];
            assert!(!site(&frame, &get));
        }
    }
}
