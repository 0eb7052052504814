//! LeaveGroup (13), versions 0 to 5: one member at the top level up to 2, several with a result
//! each from 3 on, a reason (5).

use proto_kafka::messages::{
    LeaveGroupRequest, LeaveGroupResponse, leave_group_request::MemberIdentity,
    leave_group_response::MemberResponse,
};

use super::group::{group_id, instance_id, member_id};
use crate::{
    group::{Error, Leaving},
    kafka::{context::Context, error::wire},
};

pub(super) async fn handle(
    context: &Context,
    version: i16,
    mut request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    if version < 3 {
        request.members = vec![MemberIdentity::default().with_member_id(request.member_id)];
    }
    let leaving = request.members.iter().map(|member| Leaving {
        member: member_id(&member.member_id),
        instance: instance_id(member.group_instance_id.as_ref()),
    });
    let group = group_id(&request.group_id);
    let left = context.serving.groups.leave(&group, leaving.collect()).await;
    answer(left, request.members, version)
}

pub(super) fn answer(
    left: Result<Vec<Result<(), Error>>, Error>,
    members: Vec<MemberIdentity>,
    version: i16,
) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    let results = match left {
        Ok(results) => results,
        Err(error) => return response.with_error_code(wire::<(), _>(&Err(error))),
    };
    if version < 3 {
        let only = results.first().copied().unwrap_or(Err(Error::UnknownMember));
        return response.with_error_code(wire(&only));
    }
    let members = members.into_iter().zip(results).map(|(member, result)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(wire(&result))
    });
    response.with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::api::testing::received;

    #[test]
    fn one_result_is_at_the_top_and_several_are_with_their_members() {
        for version in 0..=5 {
            let members = vec![MemberIdentity::default().with_member_id("m".into())];
            let left = Ok(vec![Err(Error::UnknownMember)]);
            let answer = received(&answer(left, members, version), version);
            if version < 3 {
                assert_eq!((answer.error_code, answer.members.len()), (25, 0));
            } else {
                assert_eq!((answer.error_code, answer.members[0].error_code), (0, 25));
                assert_eq!(answer.members[0].member_id.as_str(), "m");
            }
        }
    }

    #[test]
    fn what_concerns_the_group_is_at_the_top() {
        let answer = received(&answer(Err(Error::NotCoordinator), vec![], 5), 5);
        assert_eq!((answer.error_code, answer.members.len()), (16, 0));
    }
}
