//! InitProducerId (22), versions 0 to 5, without a transactional id: always a new producer id in
//! epoch 0, also for a client that brings its old one (3), as Kafka does. A transactional id is
//! refused at once.
//!
//! Ids come in blocks from the metadata log, so that no two brokers ever hand out the same.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use proto_kafka::messages::{self, InitProducerIdRequest, InitProducerIdResponse};

use crate::{
    cluster::{Applied, Record},
    env::clock,
    kafka::{
        context::{Context, Serving},
        error::{Code, NO_TRANSACTIONS},
    },
    types::ProducerId,
};

/// Ids of one block, as in Kafka.
const BLOCK: i64 = 1000;
/// How long a client waits for a block while the bucket does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Producer ids this broker may hand out.
#[derive(Debug, Default)]
pub struct ProducerIds {
    blocks: Mutex<Vec<Range<i64>>>,
}

impl ProducerIds {
    fn take(&self) -> Option<ProducerId> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match blocks.last_mut()?.next() {
                Some(id) => return Some(ProducerId(id)),
                None => drop(blocks.pop()),
            }
        }
    }

    fn put(&self, block: Range<ProducerId>) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.push(block.start.0..block.end.0);
    }

    /// The next id, from a new block when there is none.
    async fn next(&self, serving: &Serving) -> Result<ProducerId, Code> {
        // Clients ask again on this one, for ever.
        const LATER: Code = Code::CoordinatorLoadInProgress;
        if let Some(id) = self.take() {
            return Ok(id);
        }
        let incarnation = serving.incarnation;
        let record = Record::ProducerIdsReserved { incarnation, count: BLOCK };
        let committed = clock::timeout(PATIENCE, serving.cluster.commit(vec![record])).await;
        let committed = committed.map_err(|_| LATER)?.map_err(|error| {
            tracing::warn!(%error, "no producer ids could be taken, clients try again");
            LATER
        })?;
        for applied in committed.applied {
            if let Applied::ProducerIds(block) = applied {
                self.put(block);
            }
        }
        self.take().ok_or(LATER)
    }
}

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    // An id has an epoch, and no epoch is without an id.
    let half = (request.producer_id.0 == -1) != (request.producer_epoch == -1);
    let id = match request.transactional_id.as_ref().map(|id| id.0.as_str()) {
        _ if half => Err(Code::InvalidRequest),
        None => context.serving.producer_ids.next(&context.serving).await,
        Some("") => Err(Code::InvalidRequest),
        Some(id) => {
            context.refused_transaction(id);
            Err(NO_TRANSACTIONS)
        }
    };
    let response = InitProducerIdResponse::default();
    match id {
        Ok(id) => response.with_producer_id(messages::ProducerId(id.0)).with_producer_epoch(0),
        Err(code) => response
            .with_error_code(code.code())
            .with_producer_id(messages::ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_a_block_is_given_once() {
        let ids = ProducerIds::default();
        ids.put(ProducerId(5)..ProducerId(7));
        ids.put(ProducerId(9)..ProducerId(10));
        let mut given: Vec<_> = std::iter::from_fn(|| ids.take()).map(|id| id.0).collect();
        given.sort_unstable();
        assert_eq!(given, [5, 6, 9]);
    }
}
