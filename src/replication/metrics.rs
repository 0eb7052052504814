//! Metrics of the log.

use crate::metrics::Registry;

/// What the log counts.
#[derive(Clone, Debug)]
pub struct Metrics {}

impl Metrics {
    /// Registers them.
    pub fn new(_registry: &mut Registry) -> Self {
        Self {}
    }
}
