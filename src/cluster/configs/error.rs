//! Why a configuration is refused. The texts are Kafka's: clients and tools show them.

use thiserror::Error;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// No configuration has this name.
    #[error("Unknown {resource} config name: {name}")]
    Unknown {
        /// `topic`, `broker` or `group`.
        resource: &'static str,
        /// The name asked for.
        name: String,
    },
    /// The value does not parse or is not allowed.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid {
        /// The configuration.
        name: String,
        /// The value, as printed.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Each value is fine, together they are not.
    #[error("{0}")]
    Conflict(String),
    /// This broker has no such feature.
    #[error("{name} is not supported: {reason}")]
    Unsupported {
        /// The configuration.
        name: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// It takes a restart with another configuration file.
    #[error("Cannot update these configs dynamically: [{0}]")]
    NotDynamic(String),
    /// The value is a single one.
    #[error("Can't {operation} to key {name} because its type is not LIST.")]
    NotAList {
        /// `APPEND` or `SUBTRACT`.
        operation: &'static str,
        /// The configuration.
        name: String,
    },
}
