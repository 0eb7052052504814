//! DescribeGroups (15), versions 0 to 6: authorized operations (3), static members (4), an error
//! and a text for a group that is not there (6); before, it is "Dead" and that is no error.

use proto_kafka::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId as WireGroupId,
    describe_groups_response::{DescribedGroup, DescribedGroupMember},
};

use super::group::{group_id, text};
use crate::{
    group::{Description, Error},
    kafka::{context::Context, error::Coded},
};

/// Read, delete, describe, describe and alter configs, as the bit field has them: what can be done
/// to a group.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// What a group that is not there is in.
const DEAD: &str = "Dead";

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let described = context.serving.groups.describe(&group_id(&group)).await;
        let mut answer = answer(group, described, version);
        if request.include_authorized_operations && answer.error_code == 0 {
            answer.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(answer);
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

pub(super) fn answer(
    group: WireGroupId,
    described: Result<Description, Error>,
    version: i16,
) -> DescribedGroup {
    let response = DescribedGroup::default().with_group_id(group);
    match described {
        Ok(description) => told(response, description),
        Err(Error::GroupNotFound) if version < 6 => response.with_group_state(text(DEAD)),
        Err(Error::GroupNotFound) => {
            let why = format!("Group {} not found.", response.group_id.0.as_str());
            response
                .with_error_code(Error::GroupNotFound.code().code())
                .with_error_message(Some(text(&why)))
                .with_group_state(text(DEAD))
        }
        Err(error) => response.with_error_code(error.code().code()),
    }
}

fn told(response: DescribedGroup, description: Description) -> DescribedGroup {
    let members = description.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(member.member.as_str()))
            .with_group_instance_id(member.instance.as_ref().map(|id| text(id.as_str())))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    response
        .with_group_state(text(description.state.name()))
        .with_protocol_type(text(&description.protocol_type))
        .with_protocol_data(text(&description.protocol))
        .with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        group::{DescribedMember, GroupState},
        kafka::api::testing::received,
    };

    fn described(described: Result<Description, Error>, version: i16) -> DescribedGroup {
        let answer = answer(text("g").into(), described, version);
        let response = DescribeGroupsResponse::default().with_groups(vec![answer]);
        received(&response, version).groups.remove(0)
    }

    #[test]
    fn a_group_is_told_in_every_version() {
        for version in 0..=6 {
            let member = DescribedMember {
                member: "m".into(),
                instance: Some("i".into()),
                client_id: "c".into(),
                client_host: "/h".into(),
                metadata: Bytes::from_static(b"s"),
                assignment: Bytes::from_static(b"a"),
            };
            let description = Description {
                state: GroupState::Stable,
                protocol_type: "consumer".into(),
                protocol: "range".into(),
                members: vec![member],
            };
            let group = described(Ok(description), version);
            assert_eq!((group.error_code, group.group_state.as_str()), (0, "Stable"));
            assert_eq!(group.members[0].member_assignment, "a");
            assert_eq!(group.members[0].group_instance_id.is_some(), version >= 4);
        }
    }

    #[test]
    fn a_group_that_is_not_there_is_dead_and_from_6_on_an_error() {
        let old = described(Err(Error::GroupNotFound), 5);
        assert_eq!((old.error_code, old.group_state.as_str()), (0, "Dead"));
        let new = described(Err(Error::GroupNotFound), 6);
        assert_eq!((new.error_code, new.group_state.as_str()), (69, "Dead"));
        assert_eq!(new.error_message.unwrap().as_str(), "Group g not found.");
        assert_eq!(described(Err(Error::LoadInProgress), 6).error_code, 14);
    }
}
