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
        // Bound with SO_REUSEADDR, a port in use may show only when listening: try that first,
        // then bind the socket that is kept.
        let tried = bind(address).and_then(|socket| socket.listen(1)).map(drop);
        let kept = tried.and_then(|()| bind(address));
        let socket = kept.map_err(|source| Error::Kafka { address, source })?;
        Ok(Self { address, socket: Mutex::new(Some(socket)) })
    }

    /// Listens; `None` when it does already.
    pub(super) fn open(&self) -> Result<Option<TcpListener>, Error> {
        let socket = self.socket.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let failed = |source| Error::Kafka { address: self.address, source };
        socket.map(|socket| socket.listen(BACKLOG).map_err(failed)).transpose()
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
