//! ListGroups (16), versions 0 to 5: a filter by states and the state (4), by types and the type
//! (5). Lists what this broker coordinates.

use proto_kafka::{
    messages::{
        GroupId as WireGroupId, ListGroupsRequest, ListGroupsResponse,
        list_groups_response::ListedGroup,
    },
    protocol::StrBytes,
};

use super::group::text;
use crate::{
    group::{Error, Listed},
    kafka::{context::Context, error::Coded},
};

/// The only type of groups there is yet.
const CLASSIC: &str = "classic";

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    answer(context.serving.groups.list().await, &request, version)
}

pub(super) fn answer(
    listed: Result<Vec<Listed>, Error>,
    request: &ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let response = ListGroupsResponse::default();
    let groups = match listed {
        Ok(groups) => groups,
        Err(error) => return response.with_error_code(error.code().code()),
    };
    let groups = groups.into_iter().filter(|group| {
        passes(&request.states_filter, group.state.name()) && passes(&request.types_filter, CLASSIC)
    });
    let groups = groups.map(|group| {
        ListedGroup::default()
            .with_group_id(WireGroupId(text(group.group.as_str())))
            .with_protocol_type(text(&group.protocol_type))
            .with_group_state(text(if version >= 4 { group.state.name() } else { "" }))
            .with_group_type(text(if version >= 5 { CLASSIC } else { "" }))
    });
    response.with_groups(groups.collect())
}

fn passes(filter: &[StrBytes], value: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.as_str().eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{group::GroupState, kafka::api::testing::received};

    fn listed() -> Result<Vec<Listed>, Error> {
        let group = |name: &str, state| Listed {
            group: name.into(),
            protocol_type: "consumer".into(),
            state,
        };
        Ok(vec![group("a", GroupState::Stable), group("b", GroupState::Empty)])
    }

    #[test]
    fn groups_are_listed_in_every_version() {
        for version in 0..=5 {
            let answer = answer(listed(), &ListGroupsRequest::default(), version);
            let answer = received(&answer, version);
            assert_eq!(answer.groups.len(), 2);
            assert_eq!(answer.groups[0].group_state.as_str() == "Stable", version >= 4);
            assert_eq!(answer.groups[0].group_type.as_str() == "classic", version >= 5);
        }
    }

    #[test]
    fn filters_are_by_state_and_type_whatever_the_case() {
        let count = |states: &[&'static str], types: &[&'static str]| {
            let all = |names: &[&'static str]| names.iter().map(|name| (*name).into()).collect();
            let request = ListGroupsRequest::default()
                .with_states_filter(all(states))
                .with_types_filter(all(types));
            answer(listed(), &request, 5).groups.len()
        };
        assert_eq!(count(&["stable"], &[]), 1);
        assert_eq!(count(&["Stable", "Empty"], &["Classic"]), 2);
        assert_eq!(count(&["Dead"], &[]), 0);
        assert_eq!(count(&[], &["consumer"]), 0);
    }
}
