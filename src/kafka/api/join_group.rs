//! JoinGroup (11), versions 0 to 9: rebalance timeout (1), the member id is required (4), static
//! members (5), protocol type and a nullable protocol name (7), a reason (8), skip the assignment
//! (9). Answered when the generation begins.

use bytes::Bytes;
use proto_kafka::messages::{
    JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember,
};

use super::group::{group_id, instance_id, kept, member_id, text};
use crate::{
    group::{Join, JoinRefused, Joined, Protocol},
    kafka::{context::Context, error::Coded},
};

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let group = group_id(&request.group_id);
    let host = format!("/{}", context.client_host);
    let join = join(&request, version, &context.client_id, &host);
    answer(context.serving.groups.join(&group, join).await, version)
}

fn join(request: &JoinGroupRequest, version: i16, client_id: &str, client_host: &str) -> Join {
    let rebalance_timeout_ms =
        if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    let protocols = request.protocols.iter().map(|protocol| Protocol {
        name: kept(&protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    Join {
        member: member_id(&request.member_id),
        instance: instance_id(request.group_instance_id.as_ref()),
        client_id: client_id.into(),
        client_host: client_host.into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: kept(&request.protocol_type),
        protocols: protocols.collect(),
        needs_known_id: version >= 4,
        can_skip_assignment: version >= 9,
    }
}

pub(super) fn answer(joined: Result<Joined, JoinRefused>, version: i16) -> JoinGroupResponse {
    // Before 7 the name cannot be null.
    let none = if version < 7 { Some(text("")) } else { None };
    let joined = match joined {
        Ok(joined) => joined,
        Err(refused) => {
            return JoinGroupResponse::default()
                .with_error_code(refused.error.code().code())
                .with_member_id(text(refused.member.as_str()))
                .with_generation_id(-1)
                .with_protocol_name(none);
        }
    };
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member.as_str()))
            .with_group_instance_id(member.instance.as_ref().map(|id| text(id.as_str())))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.as_deref().map(text))
        .with_protocol_name(joined.protocol.as_deref().map(text).or(none))
        .with_leader(text(joined.leader.as_str()))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(joined.member.as_str()))
        .with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use proto_kafka::messages::join_group_request::JoinGroupRequestProtocol;

    use super::*;
    use crate::{
        group::{Error, JoinedMember},
        kafka::api::testing::received,
    };

    fn request() -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name("range".into())
            .with_metadata(Bytes::from_static(b"m"));
        JoinGroupRequest::default()
            .with_group_id(text("g").into())
            .with_session_timeout_ms(10_000)
            .with_protocol_type("consumer".into())
            .with_protocols(vec![protocol])
    }

    #[test]
    fn each_version_asks_for_what_it_knows() {
        let read = |version| {
            let request = request().with_rebalance_timeout_ms(if version == 0 { -1 } else { 7 });
            join(&received(&request, version), version, "c", "/h")
        };
        assert_eq!((read(0).rebalance_timeout_ms, read(1).rebalance_timeout_ms), (10_000, 7));
        assert_eq!((read(3).needs_known_id, read(4).needs_known_id), (false, true));
        assert_eq!((read(8).can_skip_assignment, read(9).can_skip_assignment), (false, true));
        assert_eq!(read(9).protocols[0].metadata, "m");
    }

    #[test]
    fn a_generation_is_told_in_every_version() {
        for version in 0..=9 {
            let member = JoinedMember {
                member: "m".into(),
                instance: Some("i".into()),
                metadata: Bytes::from_static(b"x"),
            };
            let joined = Joined {
                member: "m".into(),
                generation: 4,
                protocol_type: Some("consumer".into()),
                protocol: Some("range".into()),
                leader: "m".into(),
                skip_assignment: version >= 9,
                members: vec![member],
            };
            let answer = received(&answer(Ok(joined), version), version);
            assert_eq!((answer.error_code, answer.generation_id), (0, 4));
            assert_eq!(answer.leader.as_str(), "m");
            assert_eq!(answer.members[0].group_instance_id.is_some(), version >= 5);
            assert_eq!(answer.protocol_type.is_some(), version >= 7);
        }
    }

    #[test]
    fn a_refusal_names_the_member_and_no_protocol() {
        for version in 0..=9 {
            let refused = JoinRefused { member: "new".into(), error: Error::MemberIdRequired };
            let answer = received(&answer(Err(refused), version), version);
            assert_eq!((answer.error_code, answer.generation_id), (79, -1));
            assert_eq!((answer.member_id.as_str(), answer.leader.as_str()), ("new", ""));
            let name = answer.protocol_name.as_ref().map(|name| name.as_str());
            assert_eq!(name, if version < 7 { Some("") } else { None });
        }
    }
}
