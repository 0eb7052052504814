//! AlterConfigs (33), versions 0 to 2: a resource's configs become exactly those given.

use proto_kafka::messages::{
    AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
    alter_configs_response::AlterConfigsResourceResponse,
};

use super::{
    alter::{Change, Edit, alter, refuse_malformed},
    refusal::wire,
};
use crate::kafka::context::Context;

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let changes = request.resources.iter().map(change).collect();
    let outcomes = alter(context, changes, request.validate_only).await;
    let responses = request.resources.iter().zip(outcomes).map(|(resource, outcome)| {
        let (code, text) = wire(&outcome);
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(text)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

fn change(resource: &AlterConfigsResource) -> Change {
    let names = resource.configs.iter().map(|config| config.name.as_str());
    let nulls = resource.configs.iter().filter(|config| config.value.is_none());
    let values = || {
        let pair = |config: &proto_kafka::messages::alter_configs_request::AlterableConfig| {
            Some((config.name.to_string(), config.value.as_ref()?.to_string()))
        };
        Edit::Replace(resource.configs.iter().filter_map(pair).collect())
    };
    Change {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        edit: refuse_malformed(names, nulls.map(|config| config.name.as_str())).map(|()| values()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::api::testing::received;

    #[test]
    fn answers_decode_at_every_version() {
        let response = AlterConfigsResourceResponse::default()
            .with_error_message(None)
            .with_resource_type(2)
            .with_resource_name("t".into());
        let response = AlterConfigsResponse::default().with_responses(vec![response]);
        for version in 0..=2 {
            let decoded = received(&response, version).responses.remove(0);
            assert_eq!((decoded.resource_type, decoded.error_message), (2, None));
        }
    }
}
