//! A partition as Kafka sees it, and the way of its records from the WAL to the bucket and out.
//!
//! Owns: offsets, producer state, the tail, reads over tail, WAL and bucket (`partition`); which
//! partitions are open here (`Log`); upload, recovery, retention and sweep of objects.
//! Does not own: Kafka's wire and codes, WAL files, object bytes, who leads.
//! Invariants: the high watermark moves only when a batch is committed and never back; a batch is
//! stamped and appended in the order of the calls; producer state is a function of the log alone.

mod append;
mod error;
mod fetch;
mod history;
mod metrics;
mod offsets;
mod partition;
mod producer;
pub mod recover;
pub mod retention;
pub mod sweep;
mod tail;
pub mod upload;

use std::sync::Arc;

pub use append::{Appended, Origin, Pending};
pub use error::{AppendError, DeleteError, NotHere, ReadError};
pub use fetch::Read;
pub use metrics::Metrics;
pub use offsets::TimeMatch;
pub use partition::Partition;
pub use producer::{Claim, Producers, SequenceError, Verdict};

use crate::types::TopicId;

/// The partitions this broker leads; clones share them.
#[derive(Clone)]
pub struct Log {
    _shared: Arc<()>,
}

impl Log {
    /// The open partition called so. Takes no lock of the cluster's.
    ///
    /// # Errors
    /// Why it is not here.
    pub fn find(&self, _topic: &str, _index: i32) -> Result<Arc<Partition>, NotHere> {
        unimplemented!()
    }

    /// The open partition of that topic id.
    ///
    /// # Errors
    /// Why it is not here.
    pub fn find_by_id(&self, _topic: TopicId, _index: i32) -> Result<Arc<Partition>, NotHere> {
        unimplemented!()
    }

    /// Waits until the log has seen `topic`'s creation, which was committed before the call, and
    /// opened what this broker leads of it.
    pub async fn until_open(&self, _topic: TopicId) {
        unimplemented!()
    }
}
