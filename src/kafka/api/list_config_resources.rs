//! ListConfigResources (74), versions 0 and 1. Version 0 asks for client metrics subscriptions, of
//! which there are none; version 1 for any types, all of them when it names none.

use proto_kafka::{
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse,
        list_config_resources_response::ConfigResource,
    },
    protocol::StrBytes,
};

use super::resources::ResourceType;
use crate::{
    cluster::State,
    kafka::{context::Context, error::Code},
};

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    context.serving.cluster.with(|state| answer(state, version, &request))
}

fn answer(
    state: &State,
    version: i16,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let response = ListConfigResourcesResponse::default();
    if version == 0 {
        return response;
    }
    let asked: Option<Vec<ResourceType>> =
        request.resource_types.iter().map(|&wire| ResourceType::of(wire)).collect();
    let Some(asked) = asked else {
        return response.with_error_code(Code::UnsupportedVersion.code());
    };
    let wanted = |kind: &ResourceType| request.resource_types.is_empty() || asked.contains(kind);
    let listed = ResourceType::ALL.into_iter().filter(wanted).flat_map(|kind| {
        let names: Vec<String> = match kind {
            ResourceType::Topic => state.names.keys().cloned().collect(),
            // Kafka lists the brokers under both types; loggers can be set nowhere here.
            ResourceType::Broker | ResourceType::BrokerLogger => {
                state.brokers.keys().map(ToString::to_string).collect()
            }
            // Neither has configs here.
            ResourceType::ClientMetrics | ResourceType::Group => Vec::new(),
        };
        names.into_iter().map(move |name| {
            ConfigResource::default()
                .with_resource_name(StrBytes::from(name))
                .with_resource_type(kind.wire())
        })
    });
    response.with_config_resources(listed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::api::testing::{add_topic, received, state};

    #[test]
    fn topics_and_brokers_are_listed_by_type() {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "a", 1);
        let listed = |version, types: Vec<i8>| {
            let request = ListConfigResourcesRequest::default().with_resource_types(types);
            let response = received(&answer(&state, version, &request), version);
            let names = response.config_resources.iter();
            let names = names.map(|it| (it.resource_name.to_string(), it.resource_type));
            (response.error_code, names.collect::<Vec<_>>())
        };
        let (topic, broker) = (("a".to_owned(), 2), ("1".to_owned(), 4));
        let logger = ("1".to_owned(), 8);
        assert_eq!(listed(1, vec![]), (0, vec![topic.clone(), broker, logger.clone()]));
        assert_eq!(listed(1, vec![8]), (0, vec![logger]));
        assert_eq!(listed(1, vec![2]), (0, vec![topic]));
        assert_eq!(listed(1, vec![16, 32]), (0, vec![]));
        assert_eq!(listed(1, vec![2, 99]), (35, vec![]));
        assert_eq!(listed(0, vec![]), (0, vec![]));
    }
}
