//! A small Kafka client: connections to single brokers, and a whole cluster for the commands.
//!
//! Owns: framing, correlation, versions, whom to ask, the calls our own tools and tests need. Does
//! not own: batching, what people see; whoever needs a whole client uses a real one. Invariant: an
//! answer belongs to the oldest request without one, or the connection is given up.

mod cluster;
pub mod code;
mod configs;
mod error;
mod frame;
mod groups;
pub mod hostile;
mod log;
mod membership;
mod metadata;
mod offsets;
mod partitioner;
mod peer;
mod prepared;
mod topics;

use bytes::BytesMut;
use proto_kafka::protocol::{Request, StrBytes};
use tokio::io::AsyncWriteExt;

pub use cluster::{Cluster, Options, To, name_of};
pub use configs::{Change, Entry, Resource, Source};
pub use error::Error;
pub use groups::{Committed, Committer, Described, Listed, Member};
pub use log::{Fetched, ProduceAck};
pub use membership::Membership;
pub use metadata::{Broker, Metadata, Partition, Topic};
pub use offsets::{Named, Place};
pub use partitioner::partition_of;
pub use peer::{Peer, api_name};
pub use prepared::PreparedProduce;
pub use topics::NewTopic;

use crate::env::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};

/// A connection to one broker.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation: i32,
    client_id: StrBytes,
}

/// The half of a connection that asks.
#[derive(Debug)]
pub struct Sender {
    stream: OwnedWriteHalf,
    correlation: i32,
    client_id: StrBytes,
}

/// The half of a connection that hears the answers, in the order of the requests.
#[derive(Debug)]
pub struct Receiver {
    stream: OwnedReadHalf,
    correlation: i32,
    /// Answers are slices of it; one that nobody holds any more is written over.
    buffer: BytesMut,
}

impl Connection {
    /// Connects to `address`, `HOST:PORT`.
    ///
    /// # Errors
    /// `Io` when nobody answers there.
    pub async fn open(address: &str, client_id: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let client_id = StrBytes::from_string(client_id.to_owned());
        Ok(Self { stream, correlation: 0, client_id })
    }

    /// Sends `request` at `version` and waits for its answer.
    ///
    /// # Errors
    /// `Io` when the connection breaks: whether the request took effect is then unknown.
    pub async fn call<R: Request + Sync>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, Error> {
        self.send(version, request).await?;
        let answer = frame::read(&mut self.stream, &mut BytesMut::new()).await?;
        frame::decode::<R>(answer, version, self.correlation)
    }

    /// Sends a request that gets no answer (Produce with acks=0).
    ///
    /// # Errors
    /// `Io` when the connection breaks.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Error> {
        self.correlation = self.correlation.wrapping_add(1);
        let frame = frame::encode(self.correlation, &self.client_id, version, request)?;
        Ok(self.stream.write_all(&frame).await?)
    }

    /// Parts the two directions, so that requests need not wait for answers.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        let Self { stream, correlation, client_id } = self;
        let (read, write) = stream.into_split();
        let receiver = Receiver { stream: read, correlation, buffer: BytesMut::new() };
        (Sender { stream: write, correlation, client_id }, receiver)
    }
}

impl Sender {
    /// Sends `request` at `version`.
    ///
    /// # Errors
    /// `Io` when the connection breaks.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Error> {
        self.correlation = self.correlation.wrapping_add(1);
        let frame = frame::encode(self.correlation, &self.client_id, version, request)?;
        Ok(self.stream.write_all(&frame).await?)
    }
}

impl Receiver {
    /// The answer to the oldest request without one, which was an `R` at `version`.
    ///
    /// # Errors
    /// `Io` when the connection breaks: whether the request took effect is then unknown.
    pub async fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response, Error> {
        self.correlation = self.correlation.wrapping_add(1);
        let answer = frame::read(&mut self.stream, &mut self.buffer).await?;
        frame::decode::<R>(answer, version, self.correlation)
    }
}
