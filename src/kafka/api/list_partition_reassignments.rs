//! ListPartitionReassignments (46), version 0: none goes on, for a move is one metadata record.

use proto_kafka::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::kafka::context::Context;

pub(super) async fn handle(
    _context: &Context,
    _version: i16,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::api::testing::received;

    #[test]
    fn none_goes_on() {
        let response = ListPartitionReassignmentsResponse::default().with_error_message(None);
        let decoded = received(&response, 0);
        assert!(decoded.topics.is_empty() && decoded.error_message.is_none());
    }
}
