//! IncrementalAlterConfigs (44), versions 0 and 1: set, unset, append to and subtract from single
//! configs.

use proto_kafka::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    incremental_alter_configs_response::AlterConfigsResourceResponse,
};

use super::{
    alter::{Change, Edit, alter, refuse_malformed},
    refusal::{Refusal, wire},
};
use crate::{cluster::configs::Operation, kafka::context::Context};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn handle(
    context: &Context,
    _version: i16,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn change(resource: &AlterConfigsResource) -> Change {
    Change {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        edit: edit(&resource.configs),
    }
}

fn edit(configs: &[AlterableConfig]) -> Result<Edit, Refusal> {
    let null =
        |config: &&AlterableConfig| config.value.is_none() && config.config_operation != DELETE;
    refuse_malformed(
        configs.iter().map(|config| config.name.as_str()),
        configs.iter().filter(null).map(|config| config.name.as_str()),
    )?;
    let operation = |config: &AlterableConfig| {
        let value = || config.value.as_ref().map(ToString::to_string).unwrap_or_default();
        let operation = match config.config_operation {
            SET => Operation::Set(value()),
            DELETE => Operation::Delete,
            APPEND => Operation::Append(value()),
            SUBTRACT => Operation::Subtract(value()),
            other => {
                let text = format!("Unknown operations type {other}");
                return Err(Refusal::invalid_request(text));
            }
        };
        Ok((config.name.to_string(), operation))
    };
    configs.iter().map(operation).collect::<Result<_, _>>().map(Edit::Operations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::api::testing::received;

    fn config(operation: i8, value: Option<&'static str>) -> AlterableConfig {
        AlterableConfig::default()
            .with_name("cleanup.policy".into())
            .with_config_operation(operation)
            .with_value(value.map(Into::into))
    }

    #[test]
    fn only_a_deletion_needs_no_value() {
        assert!(edit(&[config(DELETE, None)]).is_ok());
        for operation in [SET, APPEND, SUBTRACT] {
            assert!(edit(&[config(operation, Some("compact"))]).is_ok());
            let refusal = edit(&[config(operation, None)]).unwrap_err();
            assert_eq!(refusal.text, "Null value not supported for : cleanup.policy");
        }
    }

    #[test]
    fn unknown_operations_are_refused() {
        let refusal = edit(&[config(4, Some("x"))]).unwrap_err();
        assert_eq!(refusal, Refusal::invalid_request("Unknown operations type 4"));
    }

    #[test]
    fn answers_decode_at_every_version() {
        let response = AlterConfigsResourceResponse::default().with_error_message(None);
        let response = IncrementalAlterConfigsResponse::default().with_responses(vec![response]);
        for version in 0..=1 {
            assert_eq!(received(&response, version).responses[0].error_message, None);
        }
    }
}
