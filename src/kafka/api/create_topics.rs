//! CreateTopics (19), versions 2 to 7.
//!
//! From 4 on -1 asks for the default partitions or replication factor; from 5 on the answer has
//! the configs; from 7 on the topic id. Any replication factor is taken: the answer says how many
//! replicas clients will see. Answers when the partitions are open, or when the time is up.

use std::{collections::BTreeSet, time::Duration};

use proto_kafka::messages::{
    CreateTopicsRequest, CreateTopicsResponse,
    create_topics_request::CreatableTopic,
    create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
};

use super::{
    refusal::{Refusal, wire},
    topics::{
        Collisions, MAX_NEW_PARTITIONS, check_assignment, check_name, duplicates, in_order,
        replicas_of, require_not_internal,
    },
};
use crate::{
    cluster::{
        Record, State,
        configs::{BrokerConfig, Layers, TOPIC, Values, check_topic},
    },
    env::{clock::timeout, entropy::Entropy},
    kafka::{context::Context, error::Code},
    types::{BrokerId, TopicId},
};

/// A topic that may be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewTopic {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replication_factor: i16,
    pub(super) configs: Values,
}

/// A topic asked for and what is to become of it.
struct Plan {
    name: String,
    new: Result<NewTopic, Refusal>,
    replicas: usize,
    effective: Vec<CreatableTopicConfigs>,
}

pub(super) async fn handle(
    context: &Context,
    version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let serving = &context.serving;
    let planned = serving.cluster.with(|state| {
        let layers = state.layers(serving.broker, &serving.given);
        plan(state, &layers, serving.broker, &request)
    });
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default());
    let validate_only = request.validate_only;
    let topics = planned.into_iter().map(|plan| async move {
        let created = match &plan.new {
            Ok(_) if validate_only => Ok(new_topic_id(serving.env.entropy.as_ref())),
            Ok(new) => create(context, new.clone(), patience).await,
            Err(refusal) => Err(refusal.clone()),
        };
        answer(version, plan, created)
    });
    CreateTopicsResponse::default().with_topics(in_order(topics).await)
}

/// Decides on every topic of a request, in its order; a duplicate gets one answer.
fn plan(
    state: &State,
    layers: &Layers<'_>,
    leader: BrokerId,
    request: &CreateTopicsRequest,
) -> Vec<Plan> {
    let twice = duplicates(request.topics.iter().map(|topic| topic.name.as_str()));
    // Looking at every topic there is costs time: only where a name can collide.
    let can_collide = request.topics.iter().any(|topic| topic.name.contains(['.', '_']));
    let mut collisions = if can_collide { Collisions::of(state) } else { Collisions::default() };
    let mut answered = BTreeSet::new();
    let too_many = partitions_asked_for(layers, request, &twice) > MAX_NEW_PARTITIONS;
    let mut plans = Vec::new();
    for topic in &request.topics {
        let name = topic.name.as_str();
        if !answered.insert(name) {
            continue;
        }
        let new = if too_many {
            let text = "Excessively large number of partitions per request.";
            Err(Refusal::new(Code::PolicyViolation, text))
        } else if twice.contains(name) {
            Err(Refusal::invalid_request("Duplicate topic name."))
        } else {
            collisions.check(name).and_then(|()| check(state, layers, topic))
        };
        if new.is_ok() {
            collisions.add(name);
        }
        let (replicas, effective) = match &new {
            Ok(new) => (
                replicas_of(state, new.replication_factor, leader).len(),
                effective(layers, &new.configs),
            ),
            Err(_) => (0, Vec::new()),
        };
        plans.push(Plan { name: name.to_owned(), new, replicas, effective });
    }
    plans
}

fn check(state: &State, layers: &Layers<'_>, topic: &CreatableTopic) -> Result<NewTopic, Refusal> {
    let name = topic.name.as_str();
    check_name(name)?;
    if state.topic(name).is_some() {
        let text = format!("Topic '{name}' already exists.");
        return Err(Refusal::new(Code::TopicAlreadyExists, text));
    }
    require_not_internal(name, "Creation")?;
    let configs = checked_configs(layers, topic)?;
    let (partitions, replication_factor) = counts(state, layers, topic)?;
    Ok(NewTopic { name: name.to_owned(), partitions, replication_factor, configs })
}

fn checked_configs(layers: &Layers<'_>, topic: &CreatableTopic) -> Result<Values, Refusal> {
    let nulls: Vec<&str> = topic
        .configs
        .iter()
        .filter(|config| config.value.is_none())
        .map(|config| config.name.as_str())
        .collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(Refusal::new(Code::InvalidConfig, text));
    }
    let value = |config: &proto_kafka::messages::create_topics_request::CreatableTopicConfig| {
        Some((config.name.to_string(), config.value.as_ref()?.to_string()))
    };
    let asked: Values = topic.configs.iter().filter_map(value).collect();
    check_topic(&asked, layers).map_err(Refusal::from)
}

/// Partitions and replication factor: assigned, asked for, or the defaults.
fn counts(
    state: &State,
    layers: &Layers<'_>,
    topic: &CreatableTopic,
) -> Result<(i32, i16), Refusal> {
    if !topic.assignments.is_empty() {
        return assigned(state, topic);
    }
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        return Err(Refusal::new(
            Code::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        return Err(Refusal::new(
            Code::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    let broker = BrokerConfig::resolve(layers);
    let or = |asked, default| if asked == -1 { default } else { asked };
    let factor = match topic.replication_factor {
        -1 => broker.default_replication_factor,
        asked => asked,
    };
    Ok((or(topic.num_partitions, broker.num_partitions), factor))
}

fn assigned(state: &State, topic: &CreatableTopic) -> Result<(i32, i16), Refusal> {
    const GIVEN: &str = "A manual partition assignment was specified, but ";
    if topic.replication_factor != -1 {
        let text = format!("{GIVEN}replication factor was not set to -1.");
        return Err(Refusal::invalid_request(text));
    }
    if topic.num_partitions != -1 {
        return Err(Refusal::invalid_request(format!("{GIVEN}numPartitions was not set to -1.")));
    }
    let refuse = |text: String| Err(Refusal::new(Code::InvalidReplicaAssignment, text));
    let mut indexes = BTreeSet::new();
    let mut factor = None;
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if !indexes.insert(index) {
            let text = "Found multiple manual partition assignments for partition";
            return refuse(format!("{text} {index}"));
        }
        let brokers: Vec<BrokerId> =
            assignment.broker_ids.iter().map(|broker| BrokerId(broker.0)).collect();
        check_assignment(state, &brokers, factor)?;
        if !brokers.iter().any(|&broker| state.living_broker(broker).is_some()) {
            return refuse(format!(
                "All brokers specified in the manual partition assignment for partition {index} \
                 are fenced or in controlled shutdown."
            ));
        }
        factor = Some(brokers.len());
    }
    if indexes.into_iter().zip(0..).any(|(index, due)| index != due) {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    let partitions = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX);
    Ok((partitions, factor.and_then(|factor| i16::try_from(factor).ok()).unwrap_or(1)))
}

/// Partitions of all topics together, whether or not each could be created: above the limit
/// nothing is, as in Kafka.
fn partitions_asked_for(
    layers: &Layers<'_>,
    request: &CreateTopicsRequest,
    twice: &BTreeSet<&str>,
) -> usize {
    let default = BrokerConfig::resolve(layers).num_partitions;
    let of = |topic: &CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        -1 => usize::try_from(default).unwrap_or_default(),
        asked => usize::try_from(asked).unwrap_or_default(),
    };
    let named_once = request.topics.iter().filter(|topic| !twice.contains(topic.name.as_str()));
    named_once.map(of).fold(0, usize::saturating_add)
}

/// Every config of a topic with these overrides, as the answer shows it.
fn effective(layers: &Layers<'_>, configs: &Values) -> Vec<CreatableTopicConfigs> {
    let shown = |definition| {
        let (value, source) = layers.topic_value(configs, definition);
        CreatableTopicConfigs::default()
            .with_name(definition.name.into())
            .with_value(value.map(Into::into))
            .with_config_source(source.wire())
    };
    TOPIC.iter().map(shown).collect()
}

/// Creates a topic led here and waits until it is open.
///
/// # Errors
/// When the metadata log refuses or does not answer, or the partitions take longer than
/// `patience` to open; the topic is then there all the same.
pub(super) async fn create(
    context: &Context,
    new: NewTopic,
    patience: Duration,
) -> Result<TopicId, Refusal> {
    let serving = &context.serving;
    let topic = new_topic_id(serving.env.entropy.as_ref());
    let record = Record::TopicCreated {
        topic,
        name: new.name,
        partitions: new.partitions,
        replication_factor: new.replication_factor,
        leader: serving.broker,
        configs: new.configs,
    };
    let opened = async {
        let committed = serving.cluster.commit(vec![record]).await;
        committed.map_err(Refusal::from)?;
        serving.log.until_open(topic).await;
        Ok(topic)
    };
    timeout(patience, opened).await.unwrap_or_else(|_elapsed| {
        let text = "The topic is being created and was not ready within the timeout.";
        Err(Refusal::new(Code::RequestTimedOut, text))
    })
}

/// A random topic id. Its text must not begin with a dash, which Kafka's tools take for an option.
fn new_topic_id(entropy: &dyn Entropy) -> TopicId {
    loop {
        let id = entropy.uuid();
        // The first six bits are the first letter of the text; 62 is the dash.
        if id.as_u128() >> 122 != 62 {
            return TopicId(id);
        }
    }
}

fn answer(version: i16, plan: Plan, created: Result<TopicId, Refusal>) -> CreatableTopicResult {
    let (code, text) = wire(&created);
    let mut result = CreatableTopicResult::default()
        .with_name(proto_kafka::protocol::StrBytes::from(plan.name).into())
        .with_error_code(code)
        .with_error_message(text);
    if let (Ok(id), Ok(new)) = (created, plan.new) {
        if version >= 5 {
            result = result
                .with_num_partitions(new.partitions)
                .with_replication_factor(i16::try_from(plan.replicas).unwrap_or(i16::MAX))
                .with_configs(Some(plan.effective));
        }
        if version >= 7 {
            result = result.with_topic_id(id.0);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use proto_kafka::messages::create_topics_request::{
        CreatableReplicaAssignment, CreatableTopicConfig,
    };

    use super::*;
    use crate::kafka::api::testing::{add_topic, layers, received, state};

    fn asked(name: &str) -> CreatableTopic {
        let name = proto_kafka::protocol::StrBytes::from(name.to_owned());
        CreatableTopic::default()
            .with_name(name.into())
            .with_num_partitions(2)
            .with_replication_factor(1)
    }

    fn config(name: &'static str, value: Option<&'static str>) -> CreatableTopicConfig {
        CreatableTopicConfig::default().with_name(name.into()).with_value(value.map(Into::into))
    }

    fn assignment(index: i32, brokers: &[i32]) -> CreatableReplicaAssignment {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(brokers.iter().map(|&id| id.into()).collect())
    }

    fn planned(state: &State, topics: Vec<CreatableTopic>) -> Vec<Plan> {
        let request = CreateTopicsRequest::default().with_topics(topics);
        plan(state, &layers(state), BrokerId(1), &request)
    }

    fn verdict(state: &State, topic: CreatableTopic) -> Result<NewTopic, Refusal> {
        planned(state, vec![topic]).remove(0).new
    }

    fn refusal(state: &State, topic: CreatableTopic) -> (Code, String) {
        let refusal = verdict(state, topic).unwrap_err();
        (refusal.code, refusal.text)
    }

    #[test]
    fn minus_one_asks_for_the_defaults() {
        let mut state = state(&[1]);
        let topic = asked("t").with_num_partitions(-1).with_replication_factor(-1);
        let new = verdict(&state, topic.clone()).unwrap();
        assert_eq!((new.partitions, new.replication_factor), (1, 1));
        let defaults = Values::from([
            ("num.partitions".to_owned(), "6".to_owned()),
            ("default.replication.factor".to_owned(), "3".to_owned()),
        ]);
        state.cluster_configs = defaults;
        let new = verdict(&state, topic).unwrap();
        assert_eq!((new.partitions, new.replication_factor), (6, 3));
    }

    #[test]
    fn a_lone_broker_takes_any_replication_factor_and_reports_one_replica() {
        let state = state(&[1]);
        let plan = planned(&state, vec![asked("t").with_replication_factor(3)]).remove(0);
        assert_eq!(plan.new.as_ref().unwrap().replication_factor, 3);
        assert_eq!(answer(7, plan, Ok(TopicId::default())).replication_factor, 1);
    }

    #[test]
    fn counts_below_one_are_refused() {
        let state = state(&[1]);
        for factor in [0, -2] {
            let (code, _) = refusal(&state, asked("t").with_replication_factor(factor));
            assert_eq!(code, Code::InvalidReplicationFactor);
        }
        for partitions in [0, -2] {
            let (code, _) = refusal(&state, asked("t").with_num_partitions(partitions));
            assert_eq!(code, Code::InvalidPartitions);
        }
    }

    #[test]
    fn a_topic_named_twice_is_answered_once_and_not_created() {
        let state = state(&[1]);
        let plans = planned(&state, vec![asked("a"), asked("b"), asked("a")]);
        assert_eq!(plans.iter().map(|plan| plan.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let refused = plans[0].new.as_ref().unwrap_err();
        assert_eq!(refused, &Refusal::invalid_request("Duplicate topic name."));
        assert!(plans[1].new.is_ok());
    }

    #[test]
    fn names_that_exist_collide_or_are_no_names_are_refused() {
        let mut state = state(&[1]);
        add_topic(&mut state, 1, "a.b", 1);
        let expected = (Code::TopicAlreadyExists, "Topic 'a.b' already exists.".to_owned());
        assert_eq!(refusal(&state, asked("a.b")), expected);
        let expected =
            (Code::InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b".into());
        assert_eq!(refusal(&state, asked("a_b")), expected);
        let text = "Topic name is invalid: 'a b' contains one or more characters other than \
                    ASCII alphanumerics, '.', '_' and '-'";
        assert_eq!(refusal(&state, asked("a b")), (Code::InvalidTopicException, text.to_owned()));
        for name in ["", ".", "..", &"x".repeat(250), "é"] {
            assert_eq!(refusal(&state, asked(name)).0, Code::InvalidTopicException);
        }
        assert!(verdict(&state, asked(&"x".repeat(249))).is_ok());
    }

    #[test]
    fn two_new_names_of_one_request_may_not_collide() {
        let state = state(&[1]);
        let plans = planned(&state, vec![asked("x.y"), asked("x_y")]);
        assert!(plans[0].new.is_ok());
        assert_eq!(plans[1].new.as_ref().unwrap_err().code, Code::InvalidTopicException);
    }

    #[test]
    fn internal_topics_are_not_created_by_clients() {
        let state = state(&[1]);
        for name in ["__consumer_offsets", "__transaction_state", "__cluster_metadata"] {
            let (code, text) = refusal(&state, asked(name));
            assert_eq!(code, Code::InvalidRequest);
            assert_eq!(text, format!("Creation of internal topic {name} is prohibited."));
        }
    }

    #[test]
    fn bad_configs_are_refused_with_kafkas_words() {
        let state = state(&[1]);
        let with = |name, value| asked("t").with_configs(vec![config(name, value)]);
        let (code, text) = refusal(&state, with("no.such", Some("1")));
        assert_eq!(
            (code, text.as_str()),
            (Code::InvalidConfig, "Unknown topic config name: no.such")
        );
        let (code, text) = refusal(&state, with("retention.ms", None));
        assert_eq!(code, Code::InvalidConfig);
        assert_eq!(text, "Null value not supported for topic configs: retention.ms");
        let (code, _) = refusal(&state, with("cleanup.policy", Some("shred")));
        assert_eq!(code, Code::InvalidConfig);
        let new = verdict(&state, with("cleanup.policy", Some("compact"))).unwrap();
        assert_eq!(new.configs["cleanup.policy"], "compact");
    }

    #[test]
    fn manual_assignments_give_partitions_and_replication_factor() {
        let state = state(&[1, 2]);
        let auto = || asked("t").with_num_partitions(-1).with_replication_factor(-1);
        let with = |assignments| auto().with_assignments(assignments);
        let new = verdict(&state, with(vec![assignment(1, &[2, 1]), assignment(0, &[1, 2])]));
        let new = new.unwrap();
        assert_eq!((new.partitions, new.replication_factor), (2, 2));
        let refused = |assignments| {
            let (code, text) = refusal(&state, with(assignments));
            assert_eq!(code, Code::InvalidReplicaAssignment);
            text
        };
        assert!(refused(vec![assignment(0, &[3])]).ends_with("no such broker is registered."));
        assert!(refused(vec![assignment(0, &[1, 1])]).ends_with("more than once."));
        assert!(refused(vec![assignment(0, &[])]).ends_with("an empty replica list."));
        assert!(refused(vec![assignment(0, &[1]), assignment(1, &[1, 2])]).contains("consistent"));
        assert!(refused(vec![assignment(0, &[1]), assignment(0, &[1])]).contains("multiple"));
        assert!(refused(vec![assignment(1, &[1])]).contains("consecutive"));
        let counted = with(vec![assignment(0, &[1])]).with_num_partitions(1);
        assert_eq!(refusal(&state, counted).0, Code::InvalidRequest);
    }

    #[test]
    fn a_request_for_more_than_ten_thousand_partitions_creates_nothing() {
        let state = state(&[1]);
        let many = || asked("a").with_num_partitions(9_999);
        let fits = planned(&state, vec![many(), asked("c").with_num_partitions(1)]);
        assert!(fits.iter().all(|plan| plan.new.is_ok()));
        for last in [asked("b"), asked("bad name")] {
            for plan in planned(&state, vec![many(), last]) {
                assert_eq!(plan.new.unwrap_err().code, Code::PolicyViolation, "{}", plan.name);
            }
        }
        let (code, _) = refusal(&state, asked("d").with_num_partitions(i32::MAX));
        assert_eq!(code, Code::PolicyViolation);
    }

    #[test]
    fn a_success_has_no_text_and_configs_that_are_not_null_at_every_version() {
        let state = state(&[1]);
        let id = TopicId(uuid::Uuid::from_u128(9));
        for version in 2..=7 {
            let configs = vec![config("retention.ms", Some("5"))];
            let plan = planned(&state, vec![asked("t").with_configs(configs)]).remove(0);
            let result = answer(version, plan, Ok(id));
            let response = CreateTopicsResponse::default().with_topics(vec![result]);
            let topic = received(&response, version).topics.remove(0);
            assert_eq!((topic.error_code, topic.error_message), (0, None));
            if version >= 5 {
                assert_eq!((topic.num_partitions, topic.replication_factor), (2, 1));
                let configs = topic.configs.unwrap();
                assert_eq!(configs.len(), TOPIC.len());
                let set = configs.iter().find(|config| config.config_source == 1).unwrap();
                assert_eq!((set.name.as_str(), set.value.as_deref()), ("retention.ms", Some("5")));
            }
            assert_eq!(topic.topic_id.is_nil(), version < 7);
        }
    }

    #[test]
    fn a_refusal_has_its_code_and_text_at_every_version() {
        let state = state(&[1]);
        for version in 2..=7 {
            let plan = planned(&state, vec![asked("..")]).remove(0);
            let refusal = plan.new.clone().unwrap_err();
            let result = answer(version, plan, Err(refusal));
            let response = CreateTopicsResponse::default().with_topics(vec![result]);
            let topic = received(&response, version).topics.remove(0);
            assert_eq!(topic.error_code, 17);
            assert_eq!(
                topic.error_message.unwrap().as_str(),
                "Topic name is invalid: '..' is not allowed"
            );
        }
    }

    #[test]
    fn the_text_of_a_new_topic_id_never_begins_with_a_dash() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let entropy = crate::env::sim::SimEntropy::seeded(1);
        for _ in 0..2_000 {
            let text = URL_SAFE_NO_PAD.encode(new_topic_id(&entropy).0.as_bytes());
            assert!(!text.starts_with('-'), "{text}");
        }
    }
}
