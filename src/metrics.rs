//! The registry every part's metrics are built from; there is no global one.

pub use prometheus_client::registry::Registry;
