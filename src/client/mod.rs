//! A small Kafka client: one connection, one request at a time.
//!
//! Owns: framing, correlation, the few calls our own tools and tests need. Does not own: retries,
//! groups, batching; whoever needs those uses a real client. Invariant: an answer belongs to the
//! request just sent, or the connection is given up.

mod error;
pub mod hostile;
mod log;

use bytes::{Bytes, BytesMut};
use proto_kafka::{
    messages::{RequestHeader, ResponseHeader},
    protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use error::Error;
pub use log::{Fetched, ProduceAck};

use crate::{env::net::TcpStream, kafka::Guarded};

/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A connection to one broker.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation: i32,
    client_id: StrBytes,
}

impl Connection {
    /// Connects to `address`, `HOST:PORT`.
    ///
    /// # Errors
    /// `Io` when nobody answers there.
    pub async fn open(address: &str, client_id: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let client_id = StrBytes::from_string(client_id.to_owned());
        Ok(Self { stream, correlation: 0, client_id })
    }

    /// Sends `request` at `version` and waits for its answer.
    ///
    /// # Errors
    /// `Io` when the connection breaks: whether the request took effect is then unknown.
    pub async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, Error> {
        let frame = self.frame(version, request)?;
        self.stream.write_all(&frame).await?;
        let answer = self.read_frame().await?;
        let header_version = <R::Response as HeaderVersion>::header_version(version);
        let mut answer = Guarded::new(answer);
        let header = ResponseHeader::decode(&mut answer, header_version)?;
        if header.correlation_id != self.correlation {
            return Err(Error::OutOfStep);
        }
        Ok(R::Response::decode(&mut answer, version)?)
    }

    /// Sends a request that gets no answer (Produce with acks=0).
    ///
    /// # Errors
    /// `Io` when the connection breaks.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<(), Error> {
        let frame = self.frame(version, request)?;
        Ok(self.stream.write_all(&frame).await?)
    }

    fn frame<R: Request>(&mut self, version: i16, request: &R) -> Result<Bytes, Error> {
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client_id.clone()));
        let mut body = BytesMut::from(&[0_u8; 4][..]);
        encode_request_header_into_buffer(&mut body, &header)?;
        request.encode(&mut body, version)?;
        let length = u32::try_from(body.len().saturating_sub(4)).map_err(|_| Error::OutOfStep)?;
        if let Some(prefix) = body.first_chunk_mut::<4>() {
            *prefix = length.to_be_bytes();
        }
        Ok(body.freeze())
    }

    async fn read_frame(&mut self) -> Result<Bytes, Error> {
        let length = usize::try_from(self.stream.read_i32().await?).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            return Err(Error::OutOfStep);
        }
        let mut body = BytesMut::new();
        while body.len() < length {
            let missing = u64::try_from(length - body.len()).unwrap_or(u64::MAX);
            let mut rest = (&mut self.stream).take(missing);
            if rest.read_buf(&mut body).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(body.freeze())
    }
}
