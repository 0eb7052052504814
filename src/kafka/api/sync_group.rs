//! SyncGroup (14), versions 0 to 5: static members (3), protocol type and name, which must be
//! given (5). Followers are answered when the leader has brought the assignment.

use bytes::Bytes;
use proto_kafka::messages::{SyncGroupRequest, SyncGroupResponse};

use super::group::{caller, group_id, kept, member_id, text};
use crate::{
    group::{Error, Sync, Synced},
    kafka::{context::Context, error::Coded},
};

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let group = group_id(&request.group_id);
    let synced = match sync(&request, version) {
        Ok(sync) => context.serving.groups.sync(&group, sync).await,
        Err(error) => Err(error),
    };
    answer(synced)
}

fn sync(request: &SyncGroupRequest, version: i16) -> Result<Sync, Error> {
    let is_whole = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= 5 && !is_whole {
        return Err(Error::InconsistentProtocol);
    }
    let assignments = request.assignments.iter().map(|assignment| {
        (member_id(&assignment.member_id), Bytes::copy_from_slice(&assignment.assignment))
    });
    let instance = request.group_instance_id.as_ref();
    Ok(Sync {
        caller: caller(&request.member_id, instance, request.generation_id),
        protocol_type: request.protocol_type.as_ref().map(kept),
        protocol: request.protocol_name.as_ref().map(kept),
        assignments: assignments.collect(),
    })
}

pub(super) fn answer(synced: Result<Synced, Error>) -> SyncGroupResponse {
    match synced {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(synced.protocol_type.as_deref().map(text))
            .with_protocol_name(synced.protocol.as_deref().map(text))
            .with_assignment(synced.assignment),
        Err(error) => SyncGroupResponse::default().with_error_code(error.code().code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::api::testing::received;

    #[test]
    fn an_assignment_is_told_in_every_version() {
        for version in 0..=5 {
            let synced = Synced {
                protocol_type: Some("consumer".into()),
                protocol: Some("range".into()),
                assignment: Bytes::from_static(b"a"),
            };
            let answer = received(&answer(Ok(synced)), version);
            assert_eq!(answer.assignment, "a");
            assert_eq!(answer.protocol_name.is_some(), version >= 5);
        }
    }

    #[test]
    fn from_5_on_the_protocol_must_be_given() {
        let request = SyncGroupRequest::default().with_generation_id(2);
        assert_eq!(sync(&request, 5), Err(Error::InconsistentProtocol));
        assert_eq!(sync(&request, 4).unwrap().caller.generation, 2);
        let answer = received(&answer(Err(Error::InconsistentProtocol)), 5);
        assert_eq!((answer.error_code, answer.protocol_type), (23, None));
    }
}
