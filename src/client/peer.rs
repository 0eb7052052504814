//! A connection to one broker that knows which versions it speaks.
//!
//! Owns: the greeting (ApiVersions), the choice of a version, the time an answer may take.
//! Does not own: whom to ask, trying again. Invariant: a request is sent only in a version that
//! both sides speak.

use std::{collections::BTreeMap, time::Duration};

use proto_kafka::{
    messages::{ApiKey, ApiVersionsRequest},
    protocol::{Request, StrBytes, VersionRange},
};

use super::{Connection, Error, error::check};
use crate::env::clock;

/// The version of the greeting that every broker answers.
const GREETING: i16 = 0;
/// A host that says nothing at all is given up sooner than a broker that works.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A connection to one broker.
#[derive(Debug)]
pub struct Peer {
    connection: Connection,
    versions: BTreeMap<i16, VersionRange>,
    address: String,
    limit: Duration,
}

impl Peer {
    /// Connects to `address`, `HOST:PORT`, and asks what is spoken there; no answer may take
    /// longer than `limit`.
    ///
    /// # Errors
    /// `Unreachable` when nobody answers there, or nobody who speaks Kafka.
    pub async fn open(address: &str, client_id: &str, limit: Duration) -> Result<Self, Error> {
        let unreachable = |why: String| Error::Unreachable { address: address.to_owned(), why };
        let greeted = async {
            let mut connection = Connection::open(address, client_id).await?;
            let answer = connection.call(GREETING, &ApiVersionsRequest::default()).await?;
            check(answer.error_code)?;
            Ok::<_, Error>((connection, answer.api_keys))
        };
        let patience = limit.min(CONNECT_LIMIT);
        let greeted = clock::timeout(patience, greeted).await;
        let greeted = greeted.map_err(|_| {
            let limit = humantime::format_duration(patience);
            unreachable(format!("nothing came within {limit}"))
        })?;
        let (connection, apis) = greeted.map_err(|error| match error {
            Error::Io(source) => unreachable(why(&source)),
            other => unreachable(format!("what is there does not speak Kafka ({other})")),
        })?;
        let range = |min, max| VersionRange { min, max };
        let versions = apis.iter().map(|it| (it.api_key, range(it.min_version, it.max_version)));
        let versions = versions.collect();
        Ok(Self { connection, versions, address: address.to_owned(), limit })
    }

    /// Who it is, `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What is spoken there, by API key.
    #[must_use]
    pub fn versions(&self) -> &BTreeMap<i16, VersionRange> {
        &self.versions
    }

    /// The highest version of `R` up to `most` that both sides speak.
    ///
    /// # Errors
    /// `Unsupported` when there is none.
    pub fn version<R: Request>(&self, most: i16) -> Result<i16, Error> {
        let ours = VersionRange { min: R::VERSIONS.min, max: R::VERSIONS.max.min(most) };
        let theirs = self.versions.get(&R::KEY);
        let both = theirs.map(|theirs| theirs.intersect(&ours)).filter(|both| !both.is_empty());
        both.map(|both| both.max).ok_or_else(|| Error::Unsupported {
            address: self.address.clone(),
            what: api_name(R::KEY),
        })
    }

    /// Sends `request` at the highest version up to `most` and waits for its answer.
    ///
    /// # Errors
    /// `Unsupported`; `Io` or `TimedOut`: whether the request took effect is then unknown.
    pub async fn call<R: Request + Sync>(
        &mut self,
        most: i16,
        request: &R,
    ) -> Result<R::Response, Error> {
        let version = self.version::<R>(most)?;
        let answer = clock::timeout(self.limit, self.connection.call(version, request)).await;
        answer.map_err(|_| Error::TimedOut { address: self.address.clone(), limit: self.limit })?
    }

    /// Sends a request that gets no answer (Produce with acks=0).
    ///
    /// # Errors
    /// `Unsupported`; `Io` when the connection breaks.
    pub async fn send<R: Request>(&mut self, most: i16, request: &R) -> Result<(), Error> {
        let version = self.version::<R>(most)?;
        self.connection.send(version, request).await
    }
}

/// The name of an API, as Kafka's protocol guide writes it.
#[must_use]
pub fn api_name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| format!("API {key}"), |key| format!("{key:?}"))
}

/// Why a connection did not come about, without the operating system's number.
fn why(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "the connection was refused".to_owned(),
        ErrorKind::UnexpectedEof => {
            "it closed the connection; is it a Kafka port, without TLS?".to_owned()
        }
        ErrorKind::ConnectionReset => "it reset the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// Text of ours as the protocol carries it.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
