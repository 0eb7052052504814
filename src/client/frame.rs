//! Frames: a length, a header, a body.
//!
//! Owns: their bytes. Does not own: who asks what. Invariant: an answer is never longer than
//! [`ANSWER_BYTES_MAX`], whatever the other side says.

use bytes::{Bytes, BytesMut};
use proto_kafka::{
    messages::{RequestHeader, ResponseHeader},
    protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer},
};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Error;
use crate::kafka::Guarded;

/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Memory reserved before the bytes it is for have begun to come.
const RESERVED_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn encode<R: Request>(
    correlation: i32,
    client_id: &StrBytes,
    version: i16,
    request: &R,
) -> Result<Bytes, Error> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(client_id.clone()));
    let mut frame = BytesMut::from(&[0_u8; 4][..]);
    frame.reserve(request.compute_size(version)? + client_id.len() + 32);
    encode_request_header_into_buffer(&mut frame, &header)?;
    request.encode(&mut frame, version)?;
    let length = u32::try_from(frame.len().saturating_sub(4)).map_err(|_| Error::OutOfStep)?;
    if let Some(prefix) = frame.first_chunk_mut::<4>() {
        *prefix = length.to_be_bytes();
    }
    Ok(frame.freeze())
}

/// Reads one frame into `buffer` and takes it from there.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<Bytes, Error> {
    let length = usize::try_from(stream.read_i32().await?).unwrap_or(usize::MAX);
    if length > ANSWER_BYTES_MAX {
        return Err(Error::OutOfStep);
    }
    while buffer.len() < length {
        let missing = length - buffer.len();
        buffer.reserve(missing.min(RESERVED_BYTES_MAX.max(buffer.len())));
        let mut rest = (&mut *stream).take(u64::try_from(missing).unwrap_or(u64::MAX));
        if rest.read_buf(buffer).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(buffer.split().freeze())
}

pub(super) fn decode<R: Request>(
    answer: Bytes,
    version: i16,
    correlation: i32,
) -> Result<R::Response, Error> {
    let header_version = <R::Response as HeaderVersion>::header_version(version);
    let mut answer = Guarded::new(answer);
    let header = ResponseHeader::decode(&mut answer, header_version)?;
    if header.correlation_id != correlation {
        return Err(Error::OutOfStep);
    }
    Ok(R::Response::decode(&mut answer, version)?)
}
