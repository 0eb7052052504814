//! Strandline: a Kafka-compatible broker whose home is a bucket.
//!
//! The floors, top first; a module imports only from lower ones (`tests/architecture.rs`):
//! `broker cli hostile` · `config` · `client http` · `kafka` · `group audit` · `log` ·
//! `replication cluster manifest object cache` · `wal store record` · `crc env metrics protobuf` · `types`.
//! `docs/ARCHITECTURE.md` is the map.

pub mod audit;
pub mod broker;
pub mod cache;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod crc;
pub mod env;
pub mod group;
pub mod hostile;
pub mod http;
pub mod kafka;
pub mod log;
pub mod manifest;
pub mod metrics;
pub mod object;
pub mod protobuf;
pub mod record;
pub mod replication;
pub mod store;
pub mod types;
pub mod wal;
