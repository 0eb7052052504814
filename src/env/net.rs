//! Sockets. Re-exported whole: what varies in simulation is the bytes, which the cores take.

pub use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
