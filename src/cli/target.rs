//! The cluster a command talks to, and how what it cannot do is told.

use std::time::Duration;

use clap::Args;

use crate::{
    client::{Cluster, Error, Metadata, Options, Topic},
    config,
    env::Env,
};

#[derive(Args, Debug)]
pub(super) struct Target {
    /// Brokers of the cluster, with commas between; one that answers is enough
    #[arg(
        short,
        long,
        visible_alias = "bootstrap-server",
        env = config::BOOTSTRAP_VARIABLE,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092",
        help_heading = "Cluster"
    )]
    bootstrap: String,
    /// How long to wait for an answer, and to try again where that may help
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = config::duration,
        help_heading = "Cluster"
    )]
    timeout: Duration,
}

/// How a command ends that did not do what it was told, beside plain failure.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// What was named is not there.
    #[error("{0}")]
    NotThere(String),
    /// The command line makes no sense, seen as a whole.
    #[error("{0}")]
    Usage(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Refused(String),
}

impl Target {
    pub(super) async fn connect(&self) -> anyhow::Result<Cluster> {
        let options = Options {
            bootstrap: self.bootstrap.clone(),
            client_id: "strandline-cli".to_owned(),
            patience: self.timeout,
        };
        for address in self.bootstrap.split(',').map(str::trim) {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                let text = format!("--bootstrap is HOST:PORT, and {address:?} is not");
                return Err(Trouble::Usage(text).into());
            }
        }
        Cluster::connect(options, &Env::real()).await.map_err(|error| {
            let text = format!(
                "{error}; is a broker running there? Give another with --bootstrap HOST:PORT"
            );
            anyhow::Error::new(error).context(text)
        })
    }
}

/// The topic, or the error that it is not there.
pub(super) fn topic<'a>(metadata: &'a Metadata, name: &str) -> anyhow::Result<&'a Topic> {
    let topic = metadata.topics.get(name);
    match topic.map(|topic| topic.code) {
        Some(0) => {}
        None | Some(3) => return Err(no_topic(name).into()),
        Some(code) => {
            let error = anyhow::Error::new(Error::Refused(code));
            return Err(error.context(format!("cannot read about the topic {name}")));
        }
    }
    topic.ok_or_else(|| no_topic(name).into())
}

pub(super) fn no_topic(name: &str) -> Trouble {
    Trouble::NotThere(format!(
        "there is no topic {name}; `strandline topic list` shows those there are"
    ))
}

pub(super) fn no_group(name: &str) -> Trouble {
    Trouble::NotThere(format!(
        "there is no group {name}; `strandline group list` shows those there are"
    ))
}
