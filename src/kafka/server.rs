//! The listener: takes connections up to a limit and gives each a task.
//!
//! Owns: accepting, the limits all connections share. Does not own: what happens on a connection.

use std::{sync::Arc, time::Duration};

use proto_kafka::messages::ApiKey;
use tokio::sync::Semaphore;

use super::{
    Metrics, Services,
    admission::{Admission, Limits, Pace},
    api::Errors,
    connection,
    context::Service,
    replies::Replies,
};
use crate::{
    cluster::configs::BrokerConfig,
    env::{
        background::Background,
        clock,
        net::{Accept, Accepted},
        task::Tasks,
    },
    types::ByteCount,
};

/// Limits of the Kafka face.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections at one time, whatever `max.connections` says; one more is closed at once.
    pub max_connections: usize,
    /// Largest request (`socket.request.max.bytes`).
    pub max_request: ByteCount,
    /// Memory of requests being read or run, all connections together
    /// (`queued.max.request.bytes`); small requests (64 KiB, less when very many clients are
    /// connected) are not counted.
    pub request_memory: ByteCount,
    /// Memory of replies, all connections together.
    pub reply_memory: ByteCount,
    /// Memory of connections as such, with what each may read of a request by right.
    pub connection_memory: ByteCount,
    /// Where replies with records out of the bucket are written.
    pub background: Background,
    /// A connection without a request for this long is closed (`connections.max.idle.ms`).
    pub max_idle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_request: ByteCount::mib(100),
            request_memory: ByteCount::mib(512),
            reply_memory: ByteCount::mib(512),
            connection_memory: ByteCount::mib(1024),
            background: Background::none(),
            max_idle: Duration::from_secs(600),
        }
    }
}

/// A started listener.
pub struct Server;

/// What every connection of a server shares.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) services: Services,
    pub(super) metrics: Metrics,
    pub(super) tasks: Tasks,
    /// Bytes of `request_memory` not taken.
    pub(super) memory: Arc<Semaphore>,
    pub(super) replies: Replies,
}

/// What a connection takes that does nothing.
const IDLE_CONNECTION: u64 = 16 * 1024;
/// What a connection may read of a request by right, at least...
const LEAST_BY_RIGHT: u64 = 4 * 1024;
/// ...and at most.
const MOST_BY_RIGHT: u64 = 64 * 1024;

impl Shared {
    /// Counts the errors of an answer.
    pub(super) fn told(&self, key: ApiKey, errors: &Errors) {
        if let Some(metrics) = self.metrics.of(key) {
            metrics.told(errors);
        }
    }

    pub(super) fn new(config: Config, services: Services, metrics: Metrics, tasks: Tasks) -> Self {
        // The largest frame takes its length's four bytes too; a share beyond all there is would
        // wait for ever, and everybody behind it.
        let largest = config.max_request.0.saturating_add(4);
        let memory = config.request_memory.0.max(largest);
        let memory = usize::try_from(memory).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let memory = Arc::new(Semaphore::new(memory));
        let replies = Replies::new(config.reply_memory, metrics.reply_memory_bytes.clone());
        Self { config, services, metrics, tasks, memory, replies }
    }

    /// Bytes of a request that a connection reads without asking for memory.
    pub(super) fn by_right(&self) -> usize {
        let open = u64::try_from(self.metrics.connections.get()).unwrap_or(0).max(1);
        let each = (self.config.connection_memory.0 / open).saturating_sub(IDLE_CONNECTION);
        usize::try_from(each.clamp(LEAST_BY_RIGHT, MOST_BY_RIGHT)).unwrap_or(usize::MAX)
    }

    /// How many may connect, as configured now; `last` stays while nobody serves who knows.
    fn limits(&self, last: Limits) -> Limits {
        let Service::Open(serving) = &*self.services.service.borrow() else { return last };
        let config = serving
            .cluster
            .with(|state| BrokerConfig::resolve(&state.layers(serving.broker, &serving.given)));
        Limits::of(&config, self.config.max_connections)
    }
}

impl Server {
    /// Serves clients on `listener` until `tasks` stops.
    pub fn start(
        listener: impl Accept,
        services: Services,
        tasks: &Tasks,
        config: Config,
        metrics: Metrics,
    ) {
        let shared = Arc::new(Shared::new(config, services, metrics, tasks.clone()));
        tasks.spawn("kafka listener", accept(listener, shared));
    }
}

async fn accept(mut listener: impl Accept, shared: Arc<Shared>) {
    let stopping = shared.tasks.stopping();
    let admission = Admission::default();
    let mut pace = Pace::new();
    let mut limits = Limits::of(&BrokerConfig::default(), shared.config.max_connections);
    loop {
        limits = shared.limits(limits);
        let next = async {
            pace.wait(&limits).await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            accepted = next => accepted,
        };
        let Accepted { read, write, address } = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: those open must first be closed.
                tracing::warn!(
                    %error,
                    advice = "raise the process's limit of open files, or lower --max-connections",
                    "a connection cannot be accepted"
                );
                clock::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        pace.pass();
        limits = shared.limits(limits);
        let admitted = match admission.admit(address.ip(), &limits) {
            Ok(admitted) => admitted,
            Err(refused) => {
                shared.metrics.refused_connections.inc();
                tracing::debug!(%address, reason = %refused, "connection closed at once");
                continue;
            }
        };
        let task = connection::serve(read, write, address.ip(), Arc::clone(&shared));
        shared.metrics.connections.inc();
        let gauge = shared.metrics.connections.clone();
        shared.tasks.spawn("kafka connection", async move {
            let open = Open(gauge);
            task.await;
            drop((open, admitted));
        });
    }
}

/// Counts a connection out even when its task is aborted.
struct Open(prometheus_client::metrics::gauge::Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
