//! What the config APIs share: resource types and whose configs a name means.
//!
//! Does not own: the configurations themselves (`cluster::configs`).

use super::{refusal::Refusal, topics::check_name};
use crate::types::BrokerId;

/// Types of config resources on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResourceType {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl ResourceType {
    pub(super) const ALL: [Self; 5] =
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group];

    pub(super) fn of(wire: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.wire() == wire)
    }

    pub(super) const fn wire(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }
}

/// A resource whose configs exist, but for a topic, which may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    Topic(&'a str),
    /// This broker.
    Broker,
    /// All brokers.
    Cluster,
    /// A group, which has no configs here.
    Group,
    /// A client metrics subscription; there is none.
    ClientMetrics,
}

impl<'a> Resource<'a> {
    pub(super) fn of(wire: i8, name: &'a str, this: BrokerId) -> Result<Self, Refusal> {
        let named = |what: &str| {
            let text = format!("{what} name must not be empty");
            if name.is_empty() { Err(Refusal::invalid_request(text)) } else { Ok(()) }
        };
        match ResourceType::of(wire) {
            Some(ResourceType::Topic) => check_name(name).map(|()| Self::Topic(name)),
            Some(ResourceType::Broker) if name.is_empty() => Ok(Self::Cluster),
            Some(ResourceType::Broker) => this_broker(name, this).map(|()| Self::Broker),
            Some(ResourceType::BrokerLogger) => Err(Refusal::invalid_request(
                "This broker's loggers cannot be seen or changed at run time; \
                 set RUST_LOG and restart it.",
            )),
            Some(ResourceType::ClientMetrics) => {
                named("Client metrics subscription").map(|()| Self::ClientMetrics)
            }
            Some(ResourceType::Group) => named("Group").map(|()| Self::Group),
            None => Err(Refusal::invalid_request(format!("Unknown resource type {wire}"))),
        }
    }
}

fn this_broker(name: &str, this: BrokerId) -> Result<(), Refusal> {
    let text = match name.parse() {
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
        Ok(id) if BrokerId(id) != this => {
            format!("Unexpected broker id, expected {this} or empty string, but received {name}")
        }
        Ok(_) => return Ok(()),
    };
    Err(Refusal::invalid_request(text))
}
