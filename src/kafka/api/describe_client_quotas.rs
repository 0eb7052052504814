//! DescribeClientQuotas (48), versions 0 and 1: none is set, and a filter that means nothing is
//! refused as Kafka does.

use std::collections::BTreeSet;

use proto_kafka::messages::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse,
    describe_client_quotas_request::ComponentData,
};

use super::refusal::Refusal;
use crate::kafka::{context::Context, error::Code};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

pub(super) async fn handle(
    _context: &Context,
    _version: i16,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    let response = DescribeClientQuotasResponse::default();
    match check(&request.components) {
        Ok(()) => response.with_entries(Some(Vec::new())).with_error_message(Some("".into())),
        Err(refusal) => response
            .with_error_code(refusal.code.code())
            .with_error_message(Some(refusal.text.into()))
            .with_entries(None),
    }
}

fn check(components: &[ComponentData]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for component in components {
        let kind = component.entity_type.as_str();
        match kind {
            "user" | "client-id" | "ip" => {}
            "" => return Err(Refusal::invalid_request("Invalid empty entity type.")),
            _ => {
                let text = format!("Unsupported entity type {kind}");
                return Err(Refusal::new(Code::UnsupportedVersion, text));
            }
        }
        if !seen.insert(kind) {
            let text = format!("Entity type {kind} cannot appear more than once in the filter.");
            return Err(Refusal::invalid_request(text));
        }
        let text = match (component.match_type, &component._match) {
            (EXACT, Some(_)) | (DEFAULT | SPECIFIED, None) => continue,
            (EXACT, None) => {
                "Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned()
            }
            (DEFAULT, Some(_)) => {
                "Request specified MATCH_TYPE_DEFAULT, but also specified a match string."
                    .to_owned()
            }
            (SPECIFIED, Some(_)) => {
                "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."
                    .to_owned()
            }
            (other, _) => format!("Unknown match type {other}"),
        };
        return Err(Refusal::invalid_request(text));
    }
    if seen.contains("ip") && seen.len() > 1 {
        return Err(Refusal::invalid_request(
            "Invalid entity filter component combination. IP filter component should not be used \
             with user or clientId filter component.",
        ));
    }
    Ok(())
}
