//! Changing configs, for AlterConfigs and IncrementalAlterConfigs alike.
//!
//! Owns: from an edit of a resource to the change recorded, with Kafka's checks and words.
//! Does not own: the two APIs' wire forms.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    refusal::Refusal,
    resources::{Resource, ResourceType},
    topics::{in_order, is_internal},
};
use crate::{
    cluster::{
        ConfigResource, Record, State,
        configs::{
            self, Layers, Operation, Values, apply_operations, broker_definition,
            check_broker_change, check_topic, topic_definition,
        },
    },
    kafka::{context::Context, error::Code},
    types::BrokerId,
};

/// What is asked of one resource.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) resource_type: i8,
    pub(super) name: String,
    pub(super) edit: Result<Edit, Refusal>,
}

/// How its values change.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// To exactly these.
    Replace(Values),
    /// One after the other.
    Operations(Vec<(String, Operation)>),
}

/// Why names and values cannot be an edit: names twice, or null values.
pub(super) fn refuse_malformed<'a>(
    mut names: impl Iterator<Item = &'a str>,
    nulls: impl Iterator<Item = &'a str>,
) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    if !names.all(|name| seen.insert(name)) {
        return Err(Refusal::invalid_request("Error due to duplicate config keys"));
    }
    let nulls: Vec<&str> = nulls.collect();
    if nulls.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid_request(format!("Null value not supported for : {}", nulls.join(", "))))
}

/// Makes the changes, each resource by itself; the outcomes are in their order.
pub(super) async fn alter(
    context: &Context,
    changes: Vec<Change>,
    validate_only: bool,
) -> Vec<Result<(), Refusal>> {
    let serving = &context.serving;
    let records = serving.cluster.with(|state| {
        let layers = state.layers(serving.broker, &serving.given);
        plan(state, &layers, serving.broker, &changes)
    });
    let outcomes = records.into_iter().map(|record| async move {
        match record {
            Ok(Some(record)) if !validate_only => {
                let committed = serving.cluster.commit(vec![record]).await;
                committed.map(drop).map_err(Refusal::from)
            }
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    });
    in_order(outcomes).await
}

/// What to record for each change: nothing when all is as asked for already.
fn plan(
    state: &State,
    layers: &Layers<'_>,
    broker: BrokerId,
    changes: &[Change],
) -> Vec<Result<Option<Record>, Refusal>> {
    let mut times = BTreeMap::new();
    for change in changes {
        *times.entry((change.resource_type, change.name.as_str())).or_insert(0_usize) += 1;
    }
    let once = |change: &Change| {
        times.get(&(change.resource_type, change.name.as_str())).is_some_and(|&count| count == 1)
    };
    let planned = |change: &Change| {
        if once(change) {
            record(state, layers, broker, change)
        } else {
            Err(Refusal::invalid_request("Each resource must appear at most once."))
        }
    };
    changes.iter().map(planned).collect()
}

fn record(
    state: &State,
    layers: &Layers<'_>,
    broker: BrokerId,
    change: &Change,
) -> Result<Option<Record>, Refusal> {
    let edit = change.edit.as_ref().map_err(Clone::clone)?;
    let nothing = Values::new();
    if change.resource_type == ResourceType::Topic.wire() && change.name.is_empty() {
        return Err(Refusal::invalid_request("Default topic resources are not allowed."));
    }
    let (resource, current, after) = match Resource::of(change.resource_type, &change.name, broker)?
    {
        Resource::Topic(name) => {
            let topic = state.topic(name);
            let unknown = || format!("The topic '{name}' does not exist.");
            let unknown = || Refusal::new(Code::UnknownTopicOrPartition, unknown());
            let current = topic.map_or(&nothing, |topic| &topic.configs);
            let after = edited(current, edit, topic_definition)?;
            let after = check_topic(&after, layers).map_err(Refusal::from)?;
            let topic = topic.ok_or_else(unknown)?;
            keep_compacted(name, current, &after)?;
            (ConfigResource::Topic(topic.id), current, after)
        }
        Resource::Broker => {
            let after = broker_edited(layers.broker, edit)?;
            (ConfigResource::Broker(broker), layers.broker, after)
        }
        Resource::Cluster => {
            let after = broker_edited(layers.cluster, edit)?;
            (ConfigResource::Cluster, layers.cluster, after)
        }
        Resource::Group => return unknown("group", edit),
        Resource::ClientMetrics => return unknown("client metrics", edit),
    };
    let changes = difference(current, after);
    Ok((!changes.is_empty()).then_some(Record::ConfigsChanged { resource, changes }))
}

fn edited(
    current: &Values,
    edit: &Edit,
    definition: fn(&str) -> Option<&'static configs::Definition>,
) -> Result<Values, Refusal> {
    match edit {
        Edit::Replace(values) => Ok(values.clone()),
        Edit::Operations(operations) => {
            apply_operations(current, operations, definition).map_err(Refusal::from)
        }
    }
}

/// Kafka answers a wrong broker config with INVALID_REQUEST (KAFKA-13609).
fn broker_edited(current: &Values, edit: &Edit) -> Result<Values, Refusal> {
    let after = edited(current, edit, broker_definition)
        .map_err(|refusal| Refusal::invalid_request(refusal.text))?;
    check_broker_change(&after).map_err(|error| Refusal::invalid_request(error.to_string()))
}

/// Resources without any config of their own: nothing to set, so nothing to unset either.
fn unknown(resource: &'static str, edit: &Edit) -> Result<Option<Record>, Refusal> {
    let first = match edit {
        Edit::Replace(values) => values.keys().next(),
        Edit::Operations(operations) => operations.iter().map(|(name, _)| name).next(),
    };
    match first {
        None => Ok(None),
        Some(name) => Err(configs::Error::Unknown { resource, name: name.clone() }.into()),
    }
}

/// An internal topic deleted by time would lose what it is there to keep.
fn keep_compacted(name: &str, current: &Values, after: &Values) -> Result<(), Refusal> {
    const POLICY: &str = "cleanup.policy";
    if is_internal(name) && current.get(POLICY) != after.get(POLICY) {
        let text = format!("cleanup.policy of internal topic {name} cannot be changed");
        return Err(Refusal::new(Code::InvalidConfig, text));
    }
    Ok(())
}

fn difference(current: &Values, after: Values) -> BTreeMap<String, Option<String>> {
    let gone = current.keys().filter(|name| !after.contains_key(*name));
    let mut changes: BTreeMap<String, Option<String>> =
        gone.map(|name| (name.clone(), None)).collect();
    let new = after.into_iter().filter(|(name, value)| current.get(name) != Some(value));
    changes.extend(new.map(|(name, value)| (name, Some(value))));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kafka::api::testing::{add_topic, layers, set_config, state},
        types::TopicId,
    };

    fn topic_state() -> (State, TopicId) {
        let mut state = state(&[1]);
        let topic = add_topic(&mut state, 1, "t", 1);
        set_config(&mut state, topic, "retention.ms", "5");
        set_config(&mut state, topic, "cleanup.policy", "compact");
        (state, topic)
    }

    fn set(kind: i8, name: &str, config: &str, value: &str) -> Change {
        let operations = vec![(config.to_owned(), Operation::Set(value.to_owned()))];
        operated(kind, name, operations)
    }

    fn operated(kind: i8, name: &str, operations: Vec<(String, Operation)>) -> Change {
        let edit = Ok(Edit::Operations(operations));
        Change { resource_type: kind, name: name.to_owned(), edit }
    }

    fn planned(state: &State, changes: &[Change]) -> Vec<Result<Option<Record>, Refusal>> {
        plan(state, &layers(state), BrokerId(1), changes)
    }

    fn refusal(state: &State, change: Change) -> (Code, String) {
        let refusal = planned(state, &[change]).remove(0).unwrap_err();
        (refusal.code, refusal.text)
    }

    fn changes(state: &State, change: Change) -> Vec<(String, Option<String>)> {
        match planned(state, &[change]).remove(0).unwrap() {
            Some(Record::ConfigsChanged { changes, .. }) => changes.into_iter().collect(),
            None => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_operation_touches_only_its_name() {
        let (state, _) = topic_state();
        let change = operated(
            2,
            "t",
            vec![
                ("cleanup.policy".to_owned(), Operation::Append("delete".to_owned())),
                ("retention.ms".to_owned(), Operation::Delete),
                ("max.message.bytes".to_owned(), Operation::Set(" 7 ".to_owned())),
            ],
        );
        let expected = [
            ("cleanup.policy", Some("compact,delete")),
            ("max.message.bytes", Some("7")),
            ("retention.ms", None),
        ];
        let expected: Vec<_> = expected
            .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)))
            .into_iter()
            .collect();
        assert_eq!(changes(&state, change), expected);
    }

    #[test]
    fn replacing_unsets_what_is_not_given() {
        let (state, _) = topic_state();
        let values = Values::from([("retention.ms".to_owned(), "6".to_owned())]);
        let edit = Ok(Edit::Replace(values));
        let change = Change { resource_type: 2, name: "t".to_owned(), edit };
        let expected = vec![
            ("cleanup.policy".to_owned(), None),
            ("retention.ms".to_owned(), Some("6".to_owned())),
        ];
        assert_eq!(changes(&state, change), expected);
    }

    #[test]
    fn nothing_is_recorded_when_all_is_so_already() {
        let (state, _) = topic_state();
        assert!(changes(&state, set(2, "t", "retention.ms", "5")).is_empty());
    }

    #[test]
    fn wrong_values_and_names_are_refused() {
        let (state, _) = topic_state();
        let (code, text) = refusal(&state, set(2, "t", "retention.ms", "-2"));
        assert_eq!(code, Code::InvalidConfig);
        assert!(text.ends_with("Value must be at least -1"));
        let (code, text) = refusal(&state, set(2, "t", "no.such", "1"));
        assert_eq!(
            (code, text.as_str()),
            (Code::InvalidConfig, "Unknown topic config name: no.such")
        );
        assert_eq!(
            refusal(&state, set(2, "u", "retention.ms", "1")).0,
            Code::UnknownTopicOrPartition
        );
        assert_eq!(refusal(&state, set(2, "", "retention.ms", "1")).0, Code::InvalidRequest);
        assert_eq!(refusal(&state, set(32, "g", "x", "1")).0, Code::InvalidConfig);
        assert_eq!(refusal(&state, set(8, "1", "x", "DEBUG")).0, Code::InvalidRequest);
        assert_eq!(refusal(&state, set(7, "1", "x", "1")).0, Code::InvalidRequest);
    }

    #[test]
    fn a_broker_config_is_recorded_for_this_broker_or_for_all() {
        let (state, _) = topic_state();
        let resource = |name| {
            let change = set(4, name, "log.retention.ms", "9");
            match planned(&state, &[change]).remove(0) {
                Ok(Some(Record::ConfigsChanged { resource, .. })) => resource,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(resource("1"), ConfigResource::Broker(BrokerId(1)));
        assert_eq!(resource(""), ConfigResource::Cluster);
        let (code, text) = refusal(&state, set(4, "2", "log.retention.ms", "9"));
        assert_eq!(code, Code::InvalidRequest);
        assert_eq!(text, "Unexpected broker id, expected 1 or empty string, but received 2");
        let (code, text) = refusal(&state, set(4, "", "num.partitions", "9"));
        assert_eq!(code, Code::InvalidRequest);
        assert_eq!(text, "Cannot update these configs dynamically: [num.partitions]");
    }

    #[test]
    fn a_resource_named_twice_is_not_changed() {
        let (state, _) = topic_state();
        let twice = [set(2, "t", "retention.ms", "1"), set(2, "t", "retention.bytes", "1")];
        let text = "Each resource must appear at most once.";
        for outcome in planned(&state, &twice) {
            assert_eq!(outcome, Err(Refusal::invalid_request(text)));
        }
    }

    #[test]
    fn the_policy_of_an_internal_topic_stays() {
        let (mut state, _) = topic_state();
        let offsets = add_topic(&mut state, 2, "__consumer_offsets", 1);
        set_config(&mut state, offsets, "cleanup.policy", "compact");
        let change = set(2, "__consumer_offsets", "cleanup.policy", "delete");
        assert_eq!(refusal(&state, change).0, Code::InvalidConfig);
        let change = set(2, "__consumer_offsets", "max.message.bytes", "5000000");
        assert_eq!(changes(&state, change).len(), 1);
    }

    #[test]
    fn names_twice_and_null_values_are_malformed() {
        let twice = refuse_malformed(["a", "a"].into_iter(), [].into_iter());
        assert_eq!(twice.unwrap_err().text, "Error due to duplicate config keys");
        let nulls = refuse_malformed(["a", "b"].into_iter(), ["a", "b"].into_iter());
        assert_eq!(nulls.unwrap_err().text, "Null value not supported for : a, b");
    }
}
