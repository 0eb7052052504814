//! A broker over a simulated outside: the same parts, without sockets and an HTTP side.
//!
//! Owns: what takes the place of what `run` opens by itself. Does not own: any part of a broker.
//! Invariant: all else is as in production, or a simulation would prove nothing.

use std::{net::SocketAddr, sync::Arc};

use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Broker, Ended, Error, Opened, StopAsked, at_risk, door::Door};
use crate::{
    cluster,
    config::Config,
    env::{Env, background::Background, sim, task::Tasks},
    http::Readiness,
    kafka::Service,
    store::Store,
};

/// The outside of a simulated broker.
pub struct Outside {
    /// The bucket.
    pub store: Store,
    /// How the metadata log is kept; its lease is the configuration's.
    pub metadata: cluster::Config,
    /// Where clients come.
    pub listener: sim::net::Listener,
    /// Orders of an operator to accept a loss; the answer is what was done, or why not.
    pub orders: mpsc::Receiver<oneshot::Sender<Result<String, String>>>,
    /// Gets to see whether the broker serves, as `/readyz` would tell, before anything else is
    /// done.
    pub show: Box<dyn FnOnce(watch::Receiver<Readiness>) + Send>,
}

/// As `run`, over `outside`, in a simulation. No other broker is ever alive.
///
/// # Errors
/// As `run`.
pub async fn run_over(
    config: Config,
    env: Env,
    asked: watch::Receiver<StopAsked>,
    outside: Outside,
) -> Result<Ended, Error> {
    let began = env.clock.boot();
    let Opened { url, given, registry: _, metrics, folder, status } =
        Opened::open(&config, &env).await?;
    let Outside { store, metadata, listener, orders, show } = outside;
    show(status.readiness());
    let broker = Broker {
        door: Door::simulated(&config, listener),
        http_address: SocketAddr::new(config.kafka_listen.ip(), 0),
        config,
        url,
        given,
        env,
        tasks: Tasks::new(),
        service: watch::Sender::new(Service::Starting),
        asked,
        metrics,
        cold_threads: Background::none(),
        status,
        orders: tokio::sync::Mutex::new(orders),
        at_risk: at_risk::Source::default(),
        metadata,
        is_alive: Arc::new(|_, _| std::future::ready(false).boxed()),
        _http: None,
    };
    Box::pin(broker.run(folder, &store, began, &|_| {})).await
}
