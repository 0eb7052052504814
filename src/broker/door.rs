//! The Kafka port: taken before anything else, opened to clients when there is something to serve.

use std::{net::SocketAddr, sync::Mutex};

use super::Error;
use crate::{
    config::Config,
    env::net::{TcpListener, TcpSocket},
};

/// Connections the system may hold until they are accepted.
const BACKLOG: u32 = 1024;

/// A port that is ours; clients are refused until `open`.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    socket: Mutex<Option<TcpSocket>>,
}

impl Door {
    pub(super) fn reserve(config: &Config) -> Result<Self, Error> {
        let address = config.kafka_listen;
        let failed = |source| Error::Kafka { address, source };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(failed)?;
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        // Bound with SO_REUSEADDR, a port in use may show only when listening: try, and try
        // again for the socket that is kept.
        let probe = socket.listen(1).map_err(failed)?;
        drop(probe);
        Self::bound(address).map_err(failed)
    }

    fn bound(address: SocketAddr) -> std::io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { address, socket: Mutex::new(Some(socket)) })
    }

    /// Listens; `None` when it does already.
    pub(super) fn open(&self) -> Result<Option<TcpListener>, Error> {
        let socket = self.socket.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let failed = |source| Error::Kafka { address: self.address, source };
        socket.map(|socket| socket.listen(BACKLOG).map_err(failed)).transpose()
    }
}
