//! The Kafka port: taken before anything else, opened to clients when there is something to serve.

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use super::Error;
use crate::{
    config::Config,
    env::{
        net::{TcpListener, TcpSocket},
        sim,
    },
};

/// Connections the system may hold until they are accepted.
const BACKLOG: u32 = 1024;

/// A port that is ours; clients are refused until `open`.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
enum Kept {
    Port(TcpSocket),
    Simulated(sim::net::Listener),
}

/// What clients reach.
#[derive(Debug)]
pub(super) enum Open {
    /// Over the network.
    Port(TcpListener),
    /// In memory.
    Simulated(sim::net::Listener),
}

impl Door {
    pub(super) fn reserve(config: &Config) -> Result<Self, Error> {
        let address = config.kafka_listen;
        // Bound with SO_REUSEADDR, a port in use may show only when listening: try that first,
        // then bind the socket that is kept.
        let tried = bind(address).and_then(|socket| socket.listen(1)).map(drop);
        let kept = tried.and_then(|()| bind(address));
        let socket = kept.map_err(|source| Error::Kafka { address, source })?;
        Ok(Self { address, kept: Mutex::new(Some(Kept::Port(socket))) })
    }

    /// The door of a simulated broker.
    pub(super) fn simulated(config: &Config, listener: sim::net::Listener) -> Self {
        let kept = Mutex::new(Some(Kept::Simulated(listener)));
        Self { address: config.kafka_listen, kept }
    }

    /// Listens; `None` when it does already.
    pub(super) fn open(&self) -> Result<Option<Open>, Error> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let failed = |source| Error::Kafka { address: self.address, source };
        let open = kept.map(|kept| match kept {
            Kept::Port(socket) => socket.listen(BACKLOG).map(Open::Port).map_err(failed),
            Kept::Simulated(listener) => Ok(Open::Simulated(listener)),
        });
        open.transpose()
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
