//! Configs of topics and brokers.

use proto_kafka::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::DescribeConfigsResourceResult,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};

use super::{Cluster, Error, To, error::check_told, peer::text};

const DESCRIBE_CONFIGS: i16 = 4;
const ALTER_CONFIGS: i16 = 1;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// What has configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// One broker.
    Broker(i32),
    /// All brokers, where one does not say otherwise.
    Brokers,
}

/// A config's value and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its value; none when it is secret or not set.
    pub value: Option<String>,
    /// Who says so.
    pub source: Source,
    /// It cannot be changed while brokers run.
    pub is_read_only: bool,
    /// Its value is never told.
    pub is_sensitive: bool,
    /// What it is for, in the broker's words.
    pub documentation: Option<String>,
}

/// Who says what a config's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic itself.
    Topic,
    /// This broker, while it ran.
    Broker,
    /// All brokers, while they ran.
    Brokers,
    /// The broker's file or flags.
    Start,
    /// Nobody.
    Default,
    /// Something this program does not know.
    Other(i8),
}

/// A change of one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// To this value.
    Set(String, String),
    /// Back to what holds without it.
    Unset(String),
}

impl Source {
    fn of(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::Brokers,
            4 => Self::Start,
            5 => Self::Default,
            other => Self::Other(other),
        }
    }

    /// A word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::Brokers => "all brokers",
            Self::Start => "broker's start",
            Self::Default => "default",
            Self::Other(_) => "other",
        }
    }
}

impl Resource {
    fn kind(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) | Self::Brokers => 4,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Topic(name) => name.clone(),
            Self::Broker(id) => id.to_string(),
            Self::Brokers => String::new(),
        }
    }

    /// A broker tells its own; of all others anybody knows.
    fn told_by(&self) -> To<'static> {
        match self {
            Self::Broker(id) => To::Broker(*id),
            Self::Topic(_) | Self::Brokers => To::Any,
        }
    }
}

impl Entry {
    fn of(told: &DescribeConfigsResourceResult) -> Self {
        Self {
            name: told.name.to_string(),
            value: told.value.as_ref().map(ToString::to_string),
            source: Source::of(told.config_source),
            is_read_only: told.read_only,
            is_sensitive: told.is_sensitive,
            documentation: told.documentation.as_ref().map(ToString::to_string),
        }
    }
}

impl Cluster {
    /// All configs of a resource, by name.
    ///
    /// # Errors
    /// `RefusedBecause` mostly: there is no such resource.
    pub async fn configs(&mut self, of: &Resource) -> Result<Vec<Entry>, Error> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(of.kind())
            .with_resource_name(text(&of.name()))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.ask(of.told_by(), DESCRIBE_CONFIGS, &request).await?;
        let told = answer.results.first().ok_or(Error::Absent)?;
        check_told(told.error_code, told.error_message.as_deref())?;
        let mut configs: Vec<Entry> = told.configs.iter().map(Entry::of).collect();
        configs.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(configs)
    }

    /// Changes configs of a resource, all or none; with `dry` only finds out whether it could.
    ///
    /// # Errors
    /// `RefusedBecause` mostly.
    pub async fn alter_configs(
        &mut self,
        of: &Resource,
        changes: &[Change],
        dry: bool,
    ) -> Result<(), Error> {
        let change = |change: &Change| match change {
            Change::Set(name, value) => AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(SET)
                .with_value(Some(text(value))),
            Change::Unset(name) => AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(DELETE)
                .with_value(None),
        };
        let resource = AlterConfigsResource::default()
            .with_resource_type(of.kind())
            .with_resource_name(text(&of.name()))
            .with_configs(changes.iter().map(change).collect());
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(dry);
        let to = if let Resource::Broker(id) = of { To::Broker(*id) } else { To::Controller };
        self.patiently(async |cluster| {
            let answer = cluster.order(to, ALTER_CONFIGS, &request).await?;
            let told = answer.responses.first().ok_or(Error::Absent)?;
            check_told(told.error_code, told.error_message.as_deref())
        })
        .await
    }
}
