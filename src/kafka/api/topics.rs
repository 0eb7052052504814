//! What the topic APIs share: rules of names, internal topics, replicas as clients see them.
//!
//! Does not own: creating and deleting (`create_topics`, `delete_topics`).

use std::{collections::BTreeSet, future::Future};

use futures::StreamExt;

use super::refusal::Refusal;
use crate::{
    cluster::{State, Topic},
    kafka::error::Code,
    types::BrokerId,
};

/// Topics the broker keeps its own state in. Clients may read them and nothing else.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Kafka's metadata topic, which exists nowhere here but whose name stays taken.
const METADATA: &str = "__cluster_metadata";

/// Longest name of a topic, as in Kafka.
pub(super) const MAX_NAME_BYTES: usize = 249;

/// Most partitions one request may create, as in Kafka.
pub(super) const MAX_NEW_PARTITIONS: usize = 10_000;

/// Operations on a topic, as the bit field of Metadata and its kin: without authorisation all of
/// read, write, create, delete, alter, describe, describe configs, alter configs.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// Whether `name` is an internal topic.
pub(super) fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Refuses to let a client create, grow or delete an internal topic.
pub(super) fn require_not_internal(name: &str, deed: &str) -> Result<(), Refusal> {
    if is_internal(name) || name == METADATA {
        let text = format!("{deed} of internal topic {name} is prohibited.");
        return Err(Refusal::invalid_request(text));
    }
    Ok(())
}

/// Kafka's rule for topic names, with its words.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let wrong = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.len() > MAX_NAME_BYTES => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_NAME_BYTES}")
        }
        _ if !name.bytes().all(legal) => format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, \
             '.', '_' and '-'"
        ),
        _ => return Ok(()),
    };
    Err(Refusal::new(Code::InvalidTopicException, format!("Topic name is invalid: {wrong}")))
}

/// Names that differ only in `.` and `_`, which Kafka keeps apart for its metrics' sake.
#[derive(Debug, Default)]
pub(super) struct Collisions {
    unified: BTreeSet<(String, String)>,
}

impl Collisions {
    /// The names taken now.
    pub(super) fn of(state: &State) -> Self {
        let mut collisions = Self::default();
        state.names.keys().for_each(|name| collisions.add(name));
        collisions
    }

    /// Takes a name.
    pub(super) fn add(&mut self, name: &str) {
        if name.contains(['.', '_']) {
            self.unified.insert((name.replace('.', "_"), name.to_owned()));
        }
    }

    /// Refuses a name that collides with another; not one that is taken itself.
    pub(super) fn check(&self, name: &str) -> Result<(), Refusal> {
        if !name.contains(['.', '_']) {
            return Ok(());
        }
        let unified = name.replace('.', "_");
        let from = (unified.clone(), String::new());
        let mut same = self.unified.range(from..).take_while(|(other, _)| *other == unified);
        match same.find(|(_, other)| other != name) {
            None => Ok(()),
            Some((_, other)) => Err(Refusal::new(
                Code::InvalidTopicException,
                format!("Topic '{name}' collides with existing topic: {other}"),
            )),
        }
    }
}

/// The brokers told to clients as replicas of a topic's partitions led by `leader`: as many as the
/// topic asked for, of those that live. The ensembles decide where the copies really are.
pub(super) fn replicas(state: &State, topic: &Topic, leader: BrokerId) -> Vec<BrokerId> {
    replicas_of(state, topic.replication_factor, leader)
}

pub(super) fn replicas_of(state: &State, factor: i16, leader: BrokerId) -> Vec<BrokerId> {
    let wanted = usize::try_from(factor).unwrap_or(1).max(1);
    let others = state
        .brokers
        .keys()
        .copied()
        .filter(|&broker| broker != leader && state.living_broker(broker).is_some());
    std::iter::once(leader).chain(others).take(wanted).collect()
}

/// Checks one partition's replicas as a client assigns them, with Kafka's words. `factor` is the
/// number of replicas of the partitions before it.
pub(super) fn check_assignment(
    state: &State,
    brokers: &[BrokerId],
    factor: Option<usize>,
) -> Result<(), Refusal> {
    let refuse = |text: String| {
        let text = format!("The manual partition assignment includes {text}");
        Err(Refusal::new(Code::InvalidReplicaAssignment, text))
    };
    if brokers.is_empty() {
        return refuse("an empty replica list.".to_owned());
    }
    let mut seen = BTreeSet::new();
    for &broker in brokers {
        if !state.brokers.contains_key(&broker) {
            return refuse(format!("broker {broker}, but no such broker is registered."));
        }
        if !seen.insert(broker) {
            return refuse(format!("the broker {broker} more than once."));
        }
    }
    match factor {
        Some(before) if before != brokers.len() => refuse(format!(
            "a partition with {} replica(s), but this is not consistent with previous \
             partitions, which have {before} replica(s).",
            brokers.len()
        )),
        _ => Ok(()),
    }
}

/// Runs what one request asks for a few at a time, so that its size is not its memory; the results
/// are in order.
pub(super) async fn in_order<T, F: Future<Output = T>>(work: impl Iterator<Item = F>) -> Vec<T> {
    const AT_ONCE: usize = 64;
    futures::stream::iter(work).buffered(AT_ONCE).collect().await
}

/// What occurs more than once.
pub(super) fn duplicates<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}
