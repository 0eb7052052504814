//! DeleteGroups (42), versions 0 to 2: empty groups go with their offsets.

use std::collections::BTreeSet;

use proto_kafka::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult,
};

use super::group::group_id;
use crate::kafka::{context::Context, error::wire};

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let (mut seen, mut results) = (BTreeSet::new(), Vec::new());
    for name in request.groups_names {
        let group = group_id(&name);
        if !seen.insert(group.clone()) {
            continue;
        }
        let deleted = context.serving.groups.delete(&group).await;
        let result = DeletableGroupResult::default().with_group_id(name);
        results.push(result.with_error_code(wire(&deleted)));
    }
    DeleteGroupsResponse::default().with_results(results)
}
