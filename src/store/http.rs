//! HTTP below `object_store`: the client, its threads, the pace of bodies.
//!
//! Owns: connecting, sending, what of an error is told apart. Does not own: what an answer means
//! (`answer`). Invariants: the sockets are the background's, so that no acknowledgement waits behind
//! an upload; who stops waiting for an answer ends the request; nothing is retried.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService,
    },
};
use reqwest::{Body, Client};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::{
    answer::judged,
    pace::{self, Pace},
};
use crate::env::background::Background;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);
const USER_AGENT: &str = concat!("strandline/", env!("CARGO_PKG_VERSION"));

/// Makes clients whose unsuccessful answers are refusals.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Background);

#[derive(Debug)]
struct Service {
    client: Client,
    background: Background,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp);
        let client = Client::builder()
            .user_agent(USER_AGENT)
            // Deadlines are the request's, by its size, not the client's.
            .connect_timeout(CONNECT)
            .https_only(plain.as_deref() != Some("true"))
            .build()
            .map_err(|error| object_store::Error::Generic {
                store: "HTTP client",
                source: Box::new(error),
            })?;
        Ok(HttpClient::new(Service { client, background: self.0.clone() }))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent = send(self.client.clone(), request, pace::current());
        match self.background.handle() {
            Some(handle) => {
                let sent = AbortOnDropHandle::new(handle.spawn(sent)).await;
                sent.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?
            }
            None => sent.await,
        }
    }
}

async fn send(
    client: Client,
    request: HttpRequest,
    pace: Option<Pace>,
) -> Result<HttpResponse, HttpError> {
    let (head, body) = request.into_parts();
    let url = head.uri.to_string();
    let url = Url::parse(&url).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
    let mut request = reqwest::Request::new(head.method, url);
    *request.headers_mut() = head.headers;
    *request.body_mut() = match (body.as_bytes(), pace) {
        (Some(whole), None) => Some(Body::from(whole.clone())),
        (_, None) => Some(Body::wrap_stream(body.into_data_stream())),
        (_, Some(pace)) => Some(Body::wrap_stream(pace::spread(pace, body.into_data_stream()))),
    };
    let response = client.execute(request).await.map_err(failed)?;
    let (head, body) = http::Response::<Body>::from(response).into_parts();
    let body = HttpResponseBody::new(body.map_err(failed));
    judged(HttpResponse::from_parts(head, body)).await
}

/// Its kind, without the URL, which may hold a signature.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = match &error {
        error if error.is_timeout() => HttpErrorKind::Timeout,
        error if error.is_connect() => HttpErrorKind::Connect,
        error if error.is_decode() => HttpErrorKind::Decode,
        _ => HttpErrorKind::Interrupted,
    };
    HttpError::new(kind, error.without_url())
}
