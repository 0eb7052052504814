//! Heartbeat (12), versions 0 to 4: static members (3).

use proto_kafka::messages::{HeartbeatRequest, HeartbeatResponse};

use super::group::{caller, group_id};
use crate::{
    group::Error,
    kafka::{context::Context, error::wire},
};

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_ref();
    let caller = caller(&request.member_id, instance, request.generation_id);
    let beat = context.serving.groups.heartbeat(&group_id(&request.group_id), caller).await;
    HeartbeatResponse::default().with_error_code(code(beat))
}

/// While groups are loaded a member can only wait: as Kafka, it is not troubled.
fn code(beat: Result<(), Error>) -> i16 {
    if beat == Err(Error::LoadInProgress) { 0 } else { wire(&beat) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_does_not_notice_that_its_group_is_loaded() {
        assert_eq!(code(Err(Error::LoadInProgress)), 0);
        assert_eq!(code(Err(Error::RebalanceInProgress)), 27);
        assert_eq!(code(Ok(())), 0);
    }
}
