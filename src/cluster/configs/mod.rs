//! Topic and broker configurations under Kafka's names.
//!
//! Owns: the one table of names, types, defaults, rules and treatment; typed views; the order of
//! the layers a value comes from; validation with Kafka's error texts.
//! Does not own: where the values are kept (the metadata log holds strings), or what acting means.
//! Invariants: a recorded value passed `check_*`; a value this version cannot read counts as unset.

mod broker;
mod broker_table;
mod change;
mod definition;
mod error;
mod layers;
mod topic;
mod topic_table;

pub use broker::{BrokerConfig, check_broker_change};
pub use broker_table::BROKER;
pub use change::{Operation, apply_operations};
pub use definition::{Definition, Kind, Rule, Synonym, Treatment, Update};
pub use error::Error;
pub use layers::{Layers, Setting, Source, Values};
pub use topic::{Cleanup, Compression, TopicConfig, check_topic};
pub use topic_table::TOPIC;

/// The topic configuration called `name`.
#[must_use]
pub fn topic_definition(name: &str) -> Option<&'static Definition> {
    named(TOPIC, name)
}

/// The broker configuration called `name`.
#[must_use]
pub fn broker_definition(name: &str) -> Option<&'static Definition> {
    named(BROKER, name)
}

fn named(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    let index = table.binary_search_by(|definition| definition.name.cmp(name)).ok()?;
    table.get(index)
}

#[cfg(test)]
mod tests;
