//! A whole cluster: whom to ask, and asking again when it was the wrong one or the wrong moment.
//!
//! Owns: connections by address, who leads and coordinates what, patience. Does not own: what is
//! asked (`topics`, `configs`, `groups`, `offsets`). Invariants: a request that changes something
//! is sent again only after an answer that says it did nothing; nothing waits longer than
//! [`Options::patience`] in all.

use std::{collections::BTreeMap, time::Duration};

use proto_kafka::{
    messages::{FindCoordinatorRequest, MetadataRequest, metadata_request::MetadataRequestTopic},
    protocol::Request,
};

use super::{Error, Peer, error::check, metadata::Metadata, peer::text};
use crate::env::{Env, clock};

/// The newest version that names topics by name and tells their ids.
const METADATA: i16 = 12;
/// The newest version for one group a request.
const FIND_COORDINATOR: i16 = 3;
/// The pauses between tries double from the first to the last of these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Some of its brokers, `HOST:PORT` with commas between.
    pub bootstrap: String,
    /// What the brokers' logs call us.
    pub client_id: String,
    /// How long one answer may take, and how long trying again goes on.
    pub patience: Duration,
}

/// A cluster and the connections to it.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    env: Env,
    /// The address that is asked what any broker knows.
    seed: String,
    peers: BTreeMap<String, Peer>,
    coordinators: BTreeMap<String, String>,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// Any broker.
    Any,
    /// The controller.
    Controller,
    /// The broker of this id.
    Broker(i32),
    /// The broker at `HOST:PORT`.
    Address(&'a str),
    /// The coordinator of this group.
    Coordinator(&'a str),
}

impl Cluster {
    /// Connects to the first broker of `options.bootstrap` that answers.
    ///
    /// # Errors
    /// `Unreachable` when none does.
    pub async fn connect(options: Options, env: &Env) -> Result<Self, Error> {
        let mut failed = None;
        let addresses = options.bootstrap.split(',').map(str::trim);
        for address in addresses.filter(|address| !address.is_empty()) {
            match Peer::open(address, &options.client_id, options.patience).await {
                Ok(peer) => {
                    let seed = address.to_owned();
                    let peers = BTreeMap::from([(seed.clone(), peer)]);
                    let (env, coordinators) = (env.clone(), BTreeMap::new());
                    return Ok(Self { options, env, seed, peers, coordinators });
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(Error::Unreachable {
            address: options.bootstrap,
            why: "it names no broker".to_owned(),
        }))
    }

    /// How it is reached.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The broker that answered first, `HOST:PORT`.
    #[must_use]
    pub fn seed(&self) -> &str {
        &self.seed
    }

    /// The seams it was built with.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Brokers and topics: those named, or all. A name that is not there tells why; with `create`
    /// a broker that is set to may make it.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn metadata(
        &mut self,
        topics: Option<&[String]>,
        create: bool,
    ) -> Result<Metadata, Error> {
        let named = |name: &String| MetadataRequestTopic::default().with_name(Some(name_of(name)));
        let request = MetadataRequest::default()
            .with_topics(topics.map(|names| names.iter().map(named).collect()))
            .with_allow_auto_topic_creation(create);
        let answer = self.ask(To::Any, METADATA, &request).await?;
        Ok(Metadata::of(&answer))
    }

    /// Sends a request that changes nothing, once more when the connection breaks.
    ///
    /// # Errors
    /// As the broker answers, or does not.
    pub async fn ask<R: Request + Sync>(
        &mut self,
        to: To<'_>,
        most: i16,
        request: &R,
    ) -> Result<R::Response, Error> {
        match self.order(to, most, request).await {
            Err(Error::Io(_)) => self.order(to, most, request).await,
            other => other,
        }
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// As the broker answers, or does not: then it may have taken effect.
    pub async fn order<R: Request + Sync>(
        &mut self,
        to: To<'_>,
        most: i16,
        request: &R,
    ) -> Result<R::Response, Error> {
        let address = Box::pin(self.address(to)).await?;
        let peer = self.peer(&address).await?;
        let answer = peer.call(most, request).await;
        if answer.as_ref().is_err_and(Error::is_of_connection) {
            self.peers.remove(&address);
        }
        answer
    }

    /// Tries until it succeeds, fails for good, or patience ends: an answer that another broker or
    /// a later moment may give otherwise is not final.
    ///
    /// # Errors
    /// The last one.
    pub async fn patiently<T>(
        &mut self,
        mut attempt: impl AsyncFnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let end = self.env.clock.boot().saturating_add(self.options.patience);
        let (mut pause, longest) = PAUSES;
        loop {
            let failed = match attempt(self).await {
                Err(error) if error.is_misrouted() => error,
                done => return done,
            };
            if self.env.clock.boot().saturating_add(pause) > end {
                return Err(failed);
            }
            self.coordinators.clear();
            clock::sleep(pause).await;
            pause = longest.min(pause.saturating_mul(2));
        }
    }

    /// A connection of one's own to a broker.
    ///
    /// # Errors
    /// `Unreachable` when it does not answer.
    pub async fn open(&self, address: &str) -> Result<Peer, Error> {
        Peer::open(address, &self.options.client_id, self.options.patience).await
    }

    /// The address of the coordinator of `group`.
    ///
    /// # Errors
    /// As the broker answers.
    pub async fn coordinator(&mut self, group: &str) -> Result<String, Error> {
        if let Some(known) = self.coordinators.get(group) {
            return Ok(known.clone());
        }
        let request = FindCoordinatorRequest::default().with_key(text(group));
        let answer = self.ask(To::Any, FIND_COORDINATOR, &request).await?;
        // The words some brokers add here are the code's own; ours say what to do.
        check(answer.error_code)?;
        let address = format!("{}:{}", answer.host.as_str(), answer.port);
        self.coordinators.insert(group.to_owned(), address.clone());
        Ok(address)
    }

    async fn address(&mut self, to: To<'_>) -> Result<String, Error> {
        match to {
            To::Any => Ok(self.seed.clone()),
            To::Address(address) => Ok(address.to_owned()),
            To::Coordinator(group) => self.coordinator(group).await,
            To::Controller => {
                let metadata = self.metadata(Some(&[]), false).await?;
                let controller = metadata.controller.and_then(|id| metadata.address(id));
                Ok(controller.unwrap_or_else(|| self.seed.clone()))
            }
            To::Broker(id) => {
                let metadata = self.metadata(Some(&[]), false).await?;
                metadata.address(id).ok_or_else(|| Error::Unreachable {
                    address: format!("broker {id}"),
                    why: "the cluster has no live broker of this id".to_owned(),
                })
            }
        }
    }

    async fn peer(&mut self, address: &str) -> Result<&mut Peer, Error> {
        if !self.peers.contains_key(address) {
            let peer = self.open(address).await?;
            self.peers.insert(address.to_owned(), peer);
        }
        self.peers.get_mut(address).ok_or(Error::Absent)
    }
}

/// A topic's name as the protocol carries it.
#[must_use]
pub fn name_of(name: &str) -> proto_kafka::messages::TopicName {
    proto_kafka::messages::TopicName(text(name))
}
