//! FindCoordinator (10), versions 0 to 6: one key in `key` up to 3, several in `coordinator_keys`
//! from 4 on, where the top level says nothing. Key types (1): 0 group, 1 transaction, 2 share (6).
//!
//! Kafka's texts: "NONE" beside success up to 3, the code's own beside an error; from 4 on empty,
//! but for a key type that does not exist. Share coordinators are asked for by brokers alone.
//!
//! The offsets topic is created here, on first use.

use proto_kafka::messages::{
    BrokerId as WireBrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
    find_coordinator_response::Coordinator,
};

use super::group::text;
use crate::{
    group::GroupId,
    kafka::{
        context::{Context, Serving},
        error::{Code, Coded},
    },
};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

const NOT_AVAILABLE: &str = "The coordinator is not available.";
const INVALID_REQUEST: &str = "This most likely occurs because of a request being malformed by the \
    client library or the message was sent to an incompatible broker. See the broker logs for more \
    details.";

/// A coordinator's address, or the code and a text of its own that a client gets instead.
type Found = Result<(i32, String, i32), (Code, Option<&'static str>)>;

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if version < 4 {
        return one(find(&context.serving, request.key_type, &request.key).await);
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    let mut away = None;
    for key in request.coordinator_keys {
        // Who waited once for the topic to be created need not wait for every key.
        let found = match away {
            Some(refused) => Err(refused),
            None => find(&context.serving, request.key_type, &key).await,
        };
        away = found.as_ref().err().copied();
        coordinators.push(of_many(found).with_key(key));
    }
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

/// The answer where nothing is coordinated just now.
pub(super) fn none_now(version: i16, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let none = || {
        check_type(request.key_type)?;
        Err((Code::CoordinatorNotAvailable, None))
    };
    if version < 4 {
        return one(none());
    }
    let keys = request.coordinator_keys.into_iter();
    let coordinators = keys.map(|key| of_many(none()).with_key(key));
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

/// Whether there may be coordinators of a type.
fn check_type(key_type: i8) -> Result<(), (Code, Option<&'static str>)> {
    match key_type {
        GROUP | TRANSACTION => Ok(()),
        SHARE => Err((Code::InvalidRequest, None)),
        _ => Err((Code::InvalidRequest, Some(INVALID_REQUEST))),
    }
}

async fn find(serving: &Serving, key_type: i8, key: &str) -> Found {
    check_type(key_type)?;
    let leader = match key_type {
        // Any broker refuses transactions, so this one does (InitProducerId).
        TRANSACTION => serving.broker,
        _ => {
            let leader = serving.groups.find_coordinator(&GroupId::from(key)).await;
            leader.map_err(|error| (error.code(), None))?
        }
    };
    let address = serving.cluster.with(|state| {
        state.living_broker(leader)?;
        let broker = state.brokers.get(&leader)?;
        Some((leader.0, broker.host.clone(), i32::from(broker.port)))
    });
    address.ok_or((Code::CoordinatorNotAvailable, None))
}

fn one(found: Found) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default();
    match found {
        Ok((id, host, port)) => response
            .with_error_message(Some(text("NONE")))
            .with_node_id(WireBrokerId(id))
            .with_host(text(&host))
            .with_port(port),
        Err((code, why)) => response
            .with_error_code(code.code())
            .with_error_message(Some(text(why.unwrap_or_else(|| words(code)))))
            .with_node_id(WireBrokerId(-1))
            .with_port(-1),
    }
}

/// What Kafka says of the codes a search ends with.
fn words(code: Code) -> &'static str {
    if code == Code::InvalidRequest { INVALID_REQUEST } else { NOT_AVAILABLE }
}

fn of_many(found: Found) -> Coordinator {
    let coordinator = Coordinator::default().with_error_message(Some(text("")));
    match found {
        Ok((id, host, port)) => {
            coordinator.with_node_id(WireBrokerId(id)).with_host(text(&host)).with_port(port)
        }
        Err((code, why)) => coordinator
            .with_error_code(code.code())
            .with_error_message(Some(text(why.unwrap_or_default())))
            .with_node_id(WireBrokerId(-1))
            .with_port(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::api::testing::received;

    #[test]
    fn a_coordinator_is_told_in_every_version() {
        let found = || Ok((3, "host".to_owned(), 9092));
        for version in 0..4 {
            let answer = received(&one(found()), version);
            assert_eq!((answer.node_id.0, answer.port, answer.error_code), (3, 9092, 0));
            let message = answer.error_message.unwrap();
            assert_eq!(message.as_str(), if version < 1 { "" } else { "NONE" });
        }
        for version in 4..=6 {
            let many = FindCoordinatorResponse::default()
                .with_coordinators(vec![of_many(found()).with_key("g".into())]);
            let answer = received(&many, version);
            assert_eq!(answer.coordinators[0].key.as_str(), "g");
            assert_eq!(answer.coordinators[0].host.as_str(), "host");
            assert_eq!(answer.coordinators[0].error_message.as_ref().unwrap().as_str(), "");
        }
    }

    #[test]
    fn without_a_coordinator_there_is_no_address() {
        let answer = received(&one(Err((Code::CoordinatorNotAvailable, None))), 2);
        assert_eq!((answer.error_code, answer.node_id.0, answer.port), (15, -1, -1));
    }
}
