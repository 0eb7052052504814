//! DeleteTopics (20), versions 1 to 6. From 6 on topics may be named by id.

use std::collections::BTreeSet;

use proto_kafka::messages::{
    DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
    delete_topics_response::DeletableTopicResult,
};

use super::{
    refusal::{Refusal, wire},
    topics::{duplicates, in_order, require_not_internal},
};
use crate::{
    cluster::{Record, State, configs::BrokerConfig},
    kafka::{context::Context, error::Code},
    types::TopicId,
};

/// A topic named by the request and what is to become of it.
#[derive(Debug)]
struct Plan {
    name: Option<TopicName>,
    id: TopicId,
    verdict: Result<(), Refusal>,
}

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let serving = &context.serving;
    let plans = serving.cluster.with(|state| {
        let broker = BrokerConfig::resolve(&state.layers(serving.broker, &serving.given));
        plan(state, broker.delete_topic_enable, version, &request)
    });
    let responses = plans.into_iter().map(|plan| async move {
        let deleted = match plan.verdict {
            Ok(()) => {
                let record = Record::TopicDeleted { topic: plan.id };
                let committed = context.serving.cluster.commit(vec![record]).await;
                committed.map(drop).map_err(Refusal::from)
            }
            Err(refusal) => Err(refusal),
        };
        let (code, text) = wire(&deleted);
        let mut result = DeletableTopicResult::default().with_name(plan.name).with_error_code(code);
        if version >= 5 {
            result = result.with_error_message(text);
        }
        if version >= 6 {
            result = result.with_topic_id(plan.id.0);
        }
        result
    });
    DeleteTopicsResponse::default().with_responses(in_order(responses).await)
}

fn plan(state: &State, enabled: bool, version: i16, request: &DeleteTopicsRequest) -> Vec<Plan> {
    let named = request.topics.iter().filter(|topic| topic.topic_id.is_nil());
    let names = || {
        let by_name = named.clone().filter_map(|topic| topic.name.as_ref());
        request.topic_names.iter().chain(by_name)
    };
    let twice = duplicates(names().map(|name| name.as_str()));
    let mut plans = Vec::new();
    let mut answered = BTreeSet::new();
    for name in names() {
        if answered.insert(name.as_str()) {
            let found = state.topic(name).map(|topic| topic.id);
            let verdict = match found {
                _ if twice.contains(name.as_str()) => {
                    Err(Refusal::invalid_request("Duplicate topic name."))
                }
                None => Err(Refusal::unknown_topic()),
                Some(_) => Ok(()),
            };
            let id = found.filter(|_| verdict.is_ok()).unwrap_or_default();
            plans.push(Plan { name: Some(name.clone()), id, verdict });
        }
    }
    plans.extend(by_id(state, request));
    refuse_ids_given_twice(&mut plans);
    for plan in &mut plans {
        let allowed = if enabled { not_internal(plan) } else { Err(disabled(version)) };
        if plan.verdict.is_ok() {
            plan.verdict = allowed;
        }
    }
    plans
}

/// Topics named by id, and those named by both or neither.
fn by_id(state: &State, request: &DeleteTopicsRequest) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut seen = BTreeSet::new();
    let ids = request.topics.iter().filter(|topic| topic.name.is_none());
    let ids = ids.map(|topic| TopicId(topic.topic_id));
    let ids_twice: BTreeSet<TopicId> = ids.filter(|id| !seen.insert(*id)).collect();
    let mut told = BTreeSet::new();
    for topic in &request.topics {
        let id = TopicId(topic.topic_id);
        let known = state.topics.get(&id);
        let (name, verdict) = match (&topic.name, topic.topic_id.is_nil()) {
            (Some(_), true) => continue,
            (Some(name), false) => {
                let text = "You may not specify both topic name and topic id.";
                (Some(name.clone()), Err(Refusal::invalid_request(text)))
            }
            (None, true) => {
                let text = "Neither topic name nor id were specified.";
                (None, Err(Refusal::invalid_request(text)))
            }
            (None, false) if ids_twice.contains(&id) => {
                if !told.insert(id) {
                    continue;
                }
                (None, Err(Refusal::invalid_request("Duplicate topic id.")))
            }
            (None, false) => match known {
                None => {
                    let text = "This server does not host this topic ID.";
                    (None, Err(Refusal::new(Code::UnknownTopicId, text)))
                }
                Some(known) => {
                    let name = proto_kafka::protocol::StrBytes::from(known.name.clone());
                    (Some(name.into()), Ok(()))
                }
            },
        };
        plans.push(Plan { name, id, verdict });
    }
    plans
}

/// Of several deletions of one topic none is done, as in Kafka.
fn refuse_ids_given_twice(plans: &mut [Plan]) {
    let mut seen = BTreeSet::new();
    let accepted = plans.iter().filter(|plan| plan.verdict.is_ok());
    let twice: BTreeSet<TopicId> =
        accepted.filter(|plan| !seen.insert(plan.id)).map(|plan| plan.id).collect();
    for plan in plans.iter_mut().filter(|plan| twice.contains(&plan.id)) {
        let text = "The provided topic name or id maps to an ID that was already supplied.";
        plan.verdict = Err(Refusal::invalid_request(text));
    }
}

fn not_internal(plan: &Plan) -> Result<(), Refusal> {
    plan.name.as_ref().map_or(Ok(()), |name| require_not_internal(name, "Deletion"))
}

/// `delete.topic.enable` is false; clients know the code since version 3.
fn disabled(version: i16) -> Refusal {
    let code = if version < 3 { Code::InvalidRequest } else { Code::TopicDeletionDisabled };
    Refusal::new(code, "Topic deletion is disabled.")
}

#[cfg(test)]
mod tests {
    use proto_kafka::{messages::delete_topics_request::DeleteTopicState, protocol::StrBytes};
    use uuid::Uuid;

    use super::*;
    use crate::kafka::api::testing::{add_topic, received, state};

    fn name(text: &str) -> TopicName {
        StrBytes::from(text.to_owned()).into()
    }

    fn named(names: &[&str]) -> DeleteTopicsRequest {
        DeleteTopicsRequest::default()
            .with_topic_names(names.iter().map(|text| name(text)).collect())
    }

    fn by(topic: Option<&str>, id: u128) -> DeleteTopicState {
        DeleteTopicState::default().with_name(topic.map(name)).with_topic_id(Uuid::from_u128(id))
    }

    fn verdicts(request: &DeleteTopicsRequest, enabled: bool, version: i16) -> Vec<Option<Code>> {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "a", 1);
        add_topic(&mut state, 2, "b", 1);
        add_topic(&mut state, 3, "__consumer_offsets", 1);
        let plans = plan(&state, enabled, version, request);
        plans.into_iter().map(|plan| plan.verdict.err().map(|refusal| refusal.code)).collect()
    }

    #[test]
    fn known_topics_go_and_unknown_ones_are_unknown() {
        let expected = [None, Some(Code::UnknownTopicOrPartition)];
        assert_eq!(verdicts(&named(&["a", "c"]), true, 5), expected);
        let by_id = DeleteTopicsRequest::default().with_topics(vec![by(None, 2), by(None, 9)]);
        assert_eq!(verdicts(&by_id, true, 6), [None, Some(Code::UnknownTopicId)]);
    }

    #[test]
    fn a_topic_is_named_once_and_by_name_or_id() {
        assert_eq!(verdicts(&named(&["a", "a"]), true, 5), [Some(Code::InvalidRequest)]);
        let request = |topics| DeleteTopicsRequest::default().with_topics(topics);
        let both = request(vec![by(Some("a"), 1)]);
        assert_eq!(verdicts(&both, true, 6), [Some(Code::InvalidRequest)]);
        let neither = request(vec![by(None, 0)]);
        assert_eq!(verdicts(&neither, true, 6), [Some(Code::InvalidRequest)]);
        let same = request(vec![by(Some("a"), 0), by(None, 1), by(Some("b"), 0)]);
        let refused = Some(Code::InvalidRequest);
        assert_eq!(verdicts(&same, true, 6), [refused, None, refused]);
    }

    #[test]
    fn internal_topics_stay() {
        let refused = [Some(Code::InvalidRequest)];
        assert_eq!(verdicts(&named(&["__consumer_offsets"]), true, 5), refused);
        let by_id = DeleteTopicsRequest::default().with_topics(vec![by(None, 3)]);
        assert_eq!(verdicts(&by_id, true, 6), refused);
    }

    #[test]
    fn nothing_goes_while_deletion_is_disabled() {
        assert_eq!(verdicts(&named(&["a"]), false, 3), [Some(Code::TopicDeletionDisabled)]);
        assert_eq!(verdicts(&named(&["a"]), false, 2), [Some(Code::InvalidRequest)]);
    }

    #[test]
    fn answers_decode_at_every_version() {
        for version in 1..=6 {
            let result = DeletableTopicResult::default()
                .with_name(if version == 6 { None } else { Some(name("a")) })
                .with_error_code(3);
            let response = DeleteTopicsResponse::default().with_responses(vec![result]);
            assert_eq!(received(&response, version).responses[0].error_code, 3);
        }
    }
}
