//! Sockets: tokio's, and what the broker needs of them where a simulation has none.

use std::{io, net::SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};

pub use tokio::net::{
    TcpListener, TcpSocket, TcpStream, lookup_host,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};

/// Listens on `address`, for a runtime that is yet to run.
///
/// # Errors
/// As the operating system reports.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A connection that came.
pub struct Accepted<R, W> {
    /// What the client sends.
    pub read: R,
    /// What it gets.
    pub write: W,
    /// Where it is.
    pub address: SocketAddr,
}

/// Takes connections.
pub trait Accept: Send + 'static {
    /// The reading half of one.
    type Read: AsyncRead + Unpin + Send + 'static;
    /// The writing half of one.
    type Write: AsyncWrite + Unpin + Send + 'static;

    /// The next one. Cancel-safe.
    ///
    /// # Errors
    /// As the operating system reports.
    fn accept(
        &mut self,
    ) -> impl Future<Output = io::Result<Accepted<Self::Read, Self::Write>>> + Send;
}

impl Accept for TcpListener {
    type Read = OwnedReadHalf;
    type Write = OwnedWriteHalf;

    async fn accept(&mut self) -> io::Result<Accepted<Self::Read, Self::Write>> {
        let (stream, address) = TcpListener::accept(self).await?;
        // On, p50 is 4.5 times as high at 500 requests a second (performance.md). Where it cannot
        // be set the client is gone, as the first read will tell.
        stream.set_nodelay(true).ok();
        let (read, write) = stream.into_split();
        Ok(Accepted { read, write, address })
    }
}
