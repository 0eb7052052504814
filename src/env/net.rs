//! Sockets. Re-exported whole: what varies in simulation is the bytes, which the cores take.

use std::{io, net::SocketAddr};

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
