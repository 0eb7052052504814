//! A listener without a network: whoever holds its other side connects in memory.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use tokio::{
    io::{DuplexStream, ReadHalf, WriteHalf},
    sync::mpsc,
};

use crate::env::net::{Accept, Accepted};

/// Bytes on their way in one direction.
const PIPE_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// The side of clients; clones reach the same listener.
#[derive(Clone, Debug)]
pub struct Network(mpsc::Sender<DuplexStream>);

/// The side of the broker.
#[derive(Debug)]
pub struct Listener(mpsc::Receiver<DuplexStream>);

impl Network {
    /// A listener and who reaches it.
    #[must_use]
    pub fn new() -> (Self, Listener) {
        let (clients, broker) = mpsc::channel(BACKLOG);
        (Self(clients), Listener(broker))
    }

    /// Connects; refused when nobody listens.
    ///
    /// # Errors
    /// `ConnectionRefused`.
    pub fn connect(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        self.0.try_send(theirs).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }
}

impl Accept for Listener {
    type Read = ReadHalf<DuplexStream>;
    type Write = WriteHalf<DuplexStream>;

    async fn accept(&mut self) -> io::Result<Accepted<Self::Read, Self::Write>> {
        match self.0.recv().await {
            Some(stream) => {
                let (read, write) = tokio::io::split(stream);
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
                Ok(Accepted { read, write, address })
            }
            // Nobody can connect any more.
            None => std::future::pending().await,
        }
    }
}
