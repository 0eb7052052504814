//! The table of APIs, and how a request reaches its handler.
//!
//! Owns: the table (one row for each API: key, oldest and newest version, handler) and the bounded
//! decoding of requests. A new API is a file with
//! `pub(super) async fn handle(context: &Context, version: i16, request: XRequest) -> XResponse`
//! and its row. Invariants: rows are sorted by key; a version in the table is decoded and
//! answered; a handler may be dropped at any await when its connection ends, so an effect never
//! hangs on its caller.

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use proto_kafka::{
    messages::ApiKey,
    protocol::{Decodable, Encodable},
};

use super::{context::Context, error::BadRequest, guard::Guarded, versions};

/// One API.
pub(super) struct Api {
    pub(super) key: ApiKey,
    /// As Kafka names it.
    pub(super) name: &'static str,
    /// Oldest version served.
    pub(super) min: i16,
    /// Newest version served.
    pub(super) max: i16,
    pub(super) run: Run,
}

/// How a request is run.
pub(super) enum Run {
    /// Without a running broker, at once.
    AtOnce(fn(i16, Bytes) -> Result<Answer, BadRequest>),
    /// After the requests before it, before those after it.
    Alone(fn(Call) -> Later),
    /// `begin` in request order, its effects done when it resolves; completions overlap.
    Pipelined(fn(Call) -> BoxFuture<'static, Result<Later, BadRequest>>),
}

/// An answer to come.
pub(super) type Later = BoxFuture<'static, Result<Answer, BadRequest>>;

/// A request for a handler.
pub(super) struct Call {
    pub(super) context: Context,
    pub(super) version: i16,
    pub(super) body: Bytes,
}

/// What the client gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A reply's body.
    Reply(Vec<Bytes>),
    /// Nothing (Produce with acks=0).
    Silent,
    /// The end of the connection.
    Close,
}

macro_rules! api {
    ($key:ident, $min:literal..=$max:literal, $module:ident) => {
        Api {
            key: ApiKey::$key,
            name: stringify!($key),
            min: $min,
            max: $max,
            run: Run::Alone(|call| {
                Box::pin(async move {
                    let request = decode(call.body, call.version)?;
                    let response = $module::handle(&call.context, call.version, request).await;
                    Ok(encode(&response, call.version))
                })
            }),
        }
    };
}

/// Every API served, by key.
pub(super) static APIS: &[Api] = &[Api {
    key: ApiKey::ApiVersions,
    name: "ApiVersions",
    min: 0,
    max: versions::NEWEST,
    run: Run::AtOnce(|version, body| {
        let (version, response) = versions::answer(version, body)?;
        Ok(encode(&response, version))
    }),
}];

/// The row of `key` when it serves `version`; ApiVersions takes any version.
///
/// # Errors
/// When nothing does.
pub(super) fn find(key: ApiKey, version: i16) -> Result<&'static Api, BadRequest> {
    let serves = |api: &&Api| {
        api.key == key && (key == ApiKey::ApiVersions || (api.min..=api.max).contains(&version))
    };
    let not_served = BadRequest::NotServed { key: versions::number(key), version };
    APIS.iter().find(serves).ok_or(not_served)
}

/// Decodes within bounds; bytes after the request are refused.
pub(super) fn decode<R: Decodable>(body: Bytes, version: i16) -> Result<R, BadRequest> {
    let mut body = Guarded::new(body);
    let request = R::decode(&mut body, version)?;
    if body.left() > 0 {
        return Err(BadRequest::Malformed(format!("{} bytes too many", body.left())));
    }
    Ok(request)
}

/// Encodes a reply; one that its version cannot express is a defect here and ends the connection.
pub(super) fn encode<R: Encodable>(response: &R, version: i16) -> Answer {
    let mut body = BytesMut::new();
    match response.encode(&mut body, version) {
        Ok(()) => Answer::Reply(vec![body.freeze()]),
        Err(error) => {
            tracing::error!(%error, version, "reply cannot be encoded");
            Answer::Close
        }
    }
}
