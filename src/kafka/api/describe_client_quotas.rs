//! DescribeClientQuotas (48), versions 0 and 1: none is set.

use proto_kafka::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::kafka::context::Context;

pub(super) async fn handle(
    _context: &Context,
    _version: i16,
    _request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse::default().with_error_message(None)
}
