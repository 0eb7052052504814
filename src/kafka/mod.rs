//! The Kafka protocol on a socket: frames, versions, pipelining, one file for each API.
//!
//! Owns: sockets of clients, framing, request order, the table of APIs, the one map from domain
//! errors to Kafka's codes. Does not own: WAL, segments, object keys, peers, group rules.
//! Invariants: replies leave in request order and effects happen in it; nothing a client sends
//! panics, aborts or allocates more than a small multiple of the bytes that arrived; an API that
//! is not in the table is not advertised.

mod admission;
mod api;
mod complaints;
mod connection;
mod context;
mod decode;
mod error;
mod frame;
mod guard;
pub mod hostile;
pub mod measured;
mod metrics;
mod out;
mod reader;
mod replies;
mod server;
mod versions;

pub use api::{FetchSessions, ProducerIds};
pub use context::{Known, Service, Services, Serving};
pub(crate) use guard::Guarded;
pub use metrics::Metrics;
pub use server::{Config, Server};
