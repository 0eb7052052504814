//! Where a value comes from: topic, this broker, all brokers, the file, the default.
//!
//! Owns: the order of the layers and the synonyms of Kafka's broker names.
//! Does not own: the layers' storage.

use std::collections::BTreeMap;

use super::{Definition, Error, broker_definition};
use crate::{cluster::State, types::BrokerId};

/// A layer with nothing set.
static NOTHING: Values = Values::new();

/// Values by name, as text: one layer.
pub type Values = BTreeMap<String, String>;

/// Where a value comes from; the number is what DescribeConfigs carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    Topic,
    /// Set at run time for this broker.
    Broker,
    /// Set at run time for all brokers.
    Cluster,
    /// Given at start: flags, environment, file.
    Given,
    /// Nobody set it.
    Default,
}

impl Source {
    /// The number of this source in DescribeConfigs and CreateTopics.
    #[must_use]
    pub const fn wire(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Broker => 2,
            Self::Cluster => 3,
            Self::Given => 4,
            Self::Default => 5,
        }
    }
}

/// A value and its source, under the name it was found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name it was found by: the configuration's own, or a synonym.
    pub name: &'static str,
    /// The value as it is shown there; `None` is Kafka's null.
    pub value: Option<String>,
    /// Where it was found.
    pub source: Source,
}

/// The broker-level layers, strongest first.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// Set at run time for this broker.
    pub broker: &'a Values,
    /// Set at run time for all brokers.
    pub cluster: &'a Values,
    /// Given at start.
    pub given: &'a Values,
}

impl<'a> Layers<'a> {
    /// Checks the values given at start: known names, allowed values, printed as Kafka prints.
    ///
    /// # Errors
    /// The first name or value that is wrong.
    pub fn check_given(values: &Values) -> Result<Values, Error> {
        let check = |(name, text): (&String, &String)| {
            let unknown = || Error::Unknown { resource: "broker", name: name.clone() };
            let definition = broker_definition(name).ok_or_else(unknown)?;
            Ok((name.clone(), definition.parse(text)?))
        };
        values.iter().map(check).collect()
    }

    fn strongest_first(&self) -> [(&'a Values, Source); 3] {
        [
            (self.broker, Source::Broker),
            (self.cluster, Source::Cluster),
            (self.given, Source::Given),
        ]
    }

    /// Every place a topic configuration is said to have a value, strongest first. As in Kafka, the
    /// broker's places begin with the first one under the name in the topic's unit: a value in
    /// hours alone is not told, and the configuration seems to be at its default.
    #[must_use]
    pub fn topic_settings(&self, topic: &Values, definition: &'static Definition) -> Vec<Setting> {
        let mut settings: Vec<Setting> =
            found(topic, definition, Source::Topic).into_iter().collect();
        if let Some(first) = definition.synonyms.first() {
            let places = self.topic_places(&NOTHING, definition);
            settings.extend(places.skip_while(|setting| setting.name != first.name));
        }
        settings
    }

    fn topic_places(
        &self,
        topic: &Values,
        definition: &'static Definition,
    ) -> impl Iterator<Item = Setting> {
        let synonyms = || {
            let defined = |synonym: &super::Synonym| broker_definition(synonym.name);
            definition.synonyms.iter().filter_map(defined)
        };
        let set = self.strongest_first().into_iter().flat_map(move |(values, source)| {
            synonyms().filter_map(move |synonym| found(values, synonym, source))
        });
        let unsynonymous = definition.synonyms.is_empty().then_some(definition);
        let with_default = synonyms().filter(|synonym| synonym.default.is_some());
        let defaults = with_default.chain(unsynonymous).map(default_of);
        found(topic, definition, Source::Topic).into_iter().chain(set).chain(defaults)
    }

    /// The value of a topic configuration in its own unit, and its source.
    #[must_use]
    pub fn topic_value(
        &self,
        topic: &Values,
        definition: &'static Definition,
    ) -> (Option<String>, Source) {
        let Some(first) = self.topic_places(topic, definition).next() else {
            return (definition.default.map(str::to_owned), Source::Default);
        };
        let scale = definition
            .synonyms
            .iter()
            .find(|synonym| synonym.name == first.name && first.source != Source::Topic)
            .map_or(1, |synonym| synonym.scale);
        (first.value.map(|value| scaled(&value, scale)), first.source)
    }

    /// Every place a broker configuration has a value, strongest first; none for a null.
    #[must_use]
    pub fn broker_settings(&self, definition: &'static Definition) -> Vec<Setting> {
        let mut settings: Vec<Setting> = self
            .strongest_first()
            .into_iter()
            .filter_map(|(values, source)| found(values, definition, source))
            .collect();
        if definition.default.is_some() {
            settings.push(default_of(definition));
        }
        settings
    }
}

impl State {
    /// The layers of `broker`, which was started with `given`.
    #[must_use]
    pub fn layers<'a>(&'a self, broker: BrokerId, given: &'a Values) -> Layers<'a> {
        let own = self.broker_configs.get(&broker).unwrap_or(&NOTHING);
        Layers { broker: own, cluster: &self.cluster_configs, given }
    }
}

/// The layer's value, if this version can read it.
fn found(values: &Values, definition: &'static Definition, source: Source) -> Option<Setting> {
    let value = definition.parse(values.get(definition.name)?).ok()?;
    Some(Setting { name: definition.name, value: Some(value), source })
}

fn default_of(definition: &'static Definition) -> Setting {
    let value = definition.default.map(str::to_owned);
    Setting { name: definition.name, value, source: Source::Default }
}

/// Hours or minutes as milliseconds. Negative hours mean "for ever", as -1 milliseconds do.
fn scaled(value: &str, scale: i64) -> String {
    match value.parse::<i64>() {
        Ok(number) if scale != 1 && number < 0 => "-1".to_owned(),
        Ok(number) if scale != 1 => number.saturating_mul(scale).to_string(),
        _ => value.to_owned(),
    }
}
