//! Groups: their coordinator is not here; who asks for it is told that there is none just now.

use bytes::Bytes;
use proto_kafka::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse, SyncGroupRequest,
    SyncGroupResponse, delete_groups_response::DeletableGroupResult,
};

use super::super::{
    Answer, describe_groups, find_coordinator, group::member_id, join_group, leave_group,
    list_groups, offset_commit, offset_delete, offset_fetch, sync_group,
};
use crate::{
    group::{Error, JoinRefused},
    kafka::{
        context::Known,
        error::{BadRequest, Coded},
    },
};

const NOT_HERE: Error = Error::NotCoordinator;

pub(in crate::kafka::api) fn find_coordinator(
    _known: &Known,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    find_coordinator::none_now(version, request)
}

pub(in crate::kafka::api) fn join_group(
    _known: &Known,
    version: i16,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let member = member_id(&request.member_id);
    join_group::answer(Err(JoinRefused { member, error: NOT_HERE }), version)
}

pub(in crate::kafka::api) fn sync_group(
    _known: &Known,
    _version: i16,
    _request: SyncGroupRequest,
) -> SyncGroupResponse {
    sync_group::answer(Err(NOT_HERE))
}

pub(in crate::kafka::api) fn heartbeat(
    _known: &Known,
    _version: i16,
    _request: HeartbeatRequest,
) -> HeartbeatResponse {
    HeartbeatResponse::default().with_error_code(NOT_HERE.code().code())
}

pub(in crate::kafka::api) fn leave_group(
    _known: &Known,
    version: i16,
    _request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    leave_group::answer(Err(NOT_HERE), Vec::new(), version)
}

pub(in crate::kafka::api) fn offset_commit(
    _known: &Known,
    version: i16,
    body: Bytes,
) -> Result<Answer, BadRequest> {
    offset_commit::refuse(version, body, NOT_HERE)
}

pub(in crate::kafka::api) fn offset_fetch(
    _known: &Known,
    version: i16,
    body: Bytes,
) -> Result<Answer, BadRequest> {
    offset_fetch::refuse(version, body, NOT_HERE)
}

pub(in crate::kafka::api) fn offset_delete(
    _known: &Known,
    _version: i16,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    offset_delete::answer(&request, Vec::new(), Err(NOT_HERE))
}

pub(in crate::kafka::api) fn describe_groups(
    _known: &Known,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter();
    let groups = groups.map(|group| describe_groups::answer(group, Err(NOT_HERE), version));
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

/// Of the codes for a list, Java's client asks again on the one for a coordinator that loads.
pub(in crate::kafka::api) fn list_groups(
    _known: &Known,
    version: i16,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    list_groups::answer(Err(Error::LoadInProgress), &request, version)
}

pub(in crate::kafka::api) fn delete_groups(
    _known: &Known,
    _version: i16,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|group| {
        DeletableGroupResult::default().with_group_id(group).with_error_code(NOT_HERE.code().code())
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
