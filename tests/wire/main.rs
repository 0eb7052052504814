//! What clients depend on, over a socket and byte by byte. The modules are named after the
//! sections of Kafka's behaviour they hold: connections, metadata, produce, idempotence, fetch,
//! offsets, groups; then topics, configs and the cluster as admin tools see them, the limits of
//! connections, and what no client may bring about.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, unreachable_pub, reason = "tests")]

mod broker;
mod cluster;
mod configs;
mod connection;
mod fetch;
mod groups;
mod groups_admin;
mod groups_offsets;
mod groups_rebalance;
mod groups_static;
mod hostile;
mod idempotence;
mod limits;
mod metadata;
mod offsets;
mod produce;
mod requests;
mod topics;

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;
