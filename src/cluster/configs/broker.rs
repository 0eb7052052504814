//! A broker's configuration as the rest of the broker uses it.
//!
//! Owns: the typed view and the check of a change at run time. Does not own: what acts on it.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Error, Layers, Update, Values, broker_definition, definition::elements};

/// The broker configurations that act, resolved; every field is named after Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `group.initial.rebalance.delay.ms`.
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`.
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub group_max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub group_max_size: i32,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: i32,
    /// `offsets.retention.minutes`.
    pub offsets_retention_minutes: i32,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: i64,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_num_partitions: i32,
    /// `max.connections`.
    pub max_connections: i32,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: i32,
    /// `max.connections.per.ip.overrides`; a host given by name is no address and counts as none.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `max.connection.creation.rate`.
    pub max_connection_creation_rate: i32,
    /// `connections.max.idle.ms`; negative is never.
    pub connections_max_idle_ms: i64,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: i32,
    /// `queued.max.request.bytes`; negative leaves it to this broker.
    pub queued_max_request_bytes: i64,
}

impl Default for BrokerConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        let none = Values::new();
        Self::resolve(&Layers { broker: &none, cluster: &none, given: &none })
    }
}

impl BrokerConfig {
    /// The configuration of a broker with these layers.
    #[must_use]
    pub fn resolve(layers: &Layers<'_>) -> Self {
        Self {
            auto_create_topics_enable: value(layers, "auto.create.topics.enable"),
            delete_topic_enable: value(layers, "delete.topic.enable"),
            num_partitions: value(layers, "num.partitions"),
            default_replication_factor: i16::try_from(value::<i32>(
                layers,
                "default.replication.factor",
            ))
            .unwrap_or(i16::MAX),
            group_initial_rebalance_delay_ms: value(layers, "group.initial.rebalance.delay.ms"),
            group_min_session_timeout_ms: value(layers, "group.min.session.timeout.ms"),
            group_max_session_timeout_ms: value(layers, "group.max.session.timeout.ms"),
            group_max_size: value(layers, "group.max.size"),
            offset_metadata_max_bytes: value(layers, "offset.metadata.max.bytes"),
            offsets_retention_minutes: value(layers, "offsets.retention.minutes"),
            offsets_retention_check_interval_ms: value(
                layers,
                "offsets.retention.check.interval.ms",
            ),
            offsets_topic_num_partitions: value(layers, "offsets.topic.num.partitions"),
            max_connections: value(layers, "max.connections"),
            max_connections_per_ip: value(layers, "max.connections.per.ip"),
            max_connections_per_ip_overrides: overrides(&value::<String>(
                layers,
                "max.connections.per.ip.overrides",
            )),
            max_connection_creation_rate: value(layers, "max.connection.creation.rate"),
            connections_max_idle_ms: value(layers, "connections.max.idle.ms"),
            socket_request_max_bytes: value(layers, "socket.request.max.bytes"),
            queued_max_request_bytes: value(layers, "queued.max.request.bytes"),
        }
    }
}

fn overrides(text: &str) -> BTreeMap<IpAddr, usize> {
    let pair = |element: &str| {
        let (address, count) = element.rsplit_once(':')?;
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        Some((address.to_canonical(), count.parse().ok()?))
    };
    elements(text).into_iter().filter_map(pair).collect()
}

/// The strongest value of a broker's configuration.
pub(super) fn value<T: std::str::FromStr>(layers: &Layers<'_>, name: &str) -> T {
    let definition = broker_definition(name).expect("the view asks for names of the table");
    let strongest = layers.broker_settings(definition).into_iter().next();
    let parsed = strongest.and_then(|setting| setting.value?.parse().ok());
    parsed.expect("a layer's value is parsed before it counts, and defaults parse")
}

/// Checks a whole set of values for one broker or for all, as it would be after a change, and
/// gives it with every value as Kafka prints it.
///
/// # Errors
/// The first name or value that is wrong, or the names that take a restart.
pub fn check_broker_change(values: &Values) -> Result<Values, Error> {
    let mut checked = Values::new();
    let mut fixed = Vec::new();
    for (name, text) in values {
        let unknown = || Error::Unknown { resource: "broker", name: name.clone() };
        let definition = broker_definition(name).ok_or_else(unknown)?;
        if definition.update == Update::ReadOnly {
            fixed.push(name.as_str());
            continue;
        }
        checked.insert(name.clone(), definition.parse(text)?);
    }
    if fixed.is_empty() { Ok(checked) } else { Err(Error::NotDynamic(fixed.join(", "))) }
}
