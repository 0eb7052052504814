//! The head of a request and of a reply.
//!
//! Owns: request headers v1 and v2, reply headers v0 and v1, the version rules around them.
//!
//! Request: `api_key i16, api_version i16, correlation_id i32, client_id nullable string` and, for
//! flexible versions, tagged fields. Reply: `length i32, correlation_id i32` and, for flexible
//! versions other than ApiVersions, one byte of no tags.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use proto_kafka::messages::ApiKey;

use super::{decode::Decoder, error::BadRequest};

/// A request's head, and its undecoded body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
    pub(crate) client_id: Bytes,
    pub(crate) body: Bytes,
}

impl Request {
    /// Reads the head of a whole frame.
    ///
    /// # Errors
    /// When the key is unknown or the head is cut; Kafka then closes the connection.
    pub(crate) fn parse(frame: Bytes) -> Result<Self, BadRequest> {
        let mut decoder = Decoder::new(frame, false);
        let (key, version) = (decoder.i16()?, decoder.i16()?);
        let correlation = decoder.i32()?;
        let not_served = BadRequest::NotServed { key, version };
        let key = ApiKey::try_from(key).map_err(|()| not_served)?;
        // A version from the future is read with the highest rule known (KIP-511).
        let header = match key {
            ApiKey::ApiVersions if version < 0 => 2,
            _ => key.request_header_version(version),
        };
        let client_id = decoder.nullable_bytes16()?.unwrap_or_default();
        if header >= 2 {
            decoder.flexible = true;
            decoder.skip_tags()?;
        }
        Ok(Self { key, version, correlation, client_id, body: decoder.rest() })
    }

    /// The client's name for logs and group members; bytes that are not UTF-8 are replaced.
    pub(crate) fn client_name(&self) -> Arc<str> {
        String::from_utf8_lossy(&self.client_id).into()
    }
}

/// The head of a reply to `key` in `version` whose body has `body_bytes`.
pub(crate) fn reply_head(key: ApiKey, version: i16, correlation: i32, body_bytes: usize) -> Bytes {
    let tagged = key.response_header_version(version) >= 1;
    let mut head = BytesMut::with_capacity(9);
    let length = 4 + usize::from(tagged) + body_bytes;
    head.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
    head.put_i32(correlation);
    if tagged {
        head.put_u8(0);
    }
    head.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_client_id_is_empty() {
        let frame = Bytes::from_static(&[0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 9]);
        let request = Request::parse(frame).unwrap();
        assert_eq!((request.key, request.version, request.correlation), (ApiKey::Metadata, 1, 7));
        assert!(request.client_id.is_empty());
        assert_eq!(request.body, &[9][..]);
    }

    #[test]
    fn a_flexible_request_has_tags_in_its_head() {
        let frame = Bytes::from_static(&[0, 3, 0, 9, 0, 0, 0, 7, 0, 1, b'c', 1, 5, 1, 0xaa, 9]);
        let request = Request::parse(frame).unwrap();
        assert_eq!((&request.client_id[..], &request.body[..]), (&b"c"[..], &[9][..]));
    }

    #[test]
    fn an_unknown_key_and_a_cut_head_are_refused() {
        for frame in [&[0, 4, 0, 0, 0, 0, 0, 0, 0, 0][..], &[0, 3, 0], &[], &[0x7f; 12]] {
            assert!(Request::parse(Bytes::copy_from_slice(frame)).is_err());
        }
    }

    #[test]
    fn the_reply_to_api_versions_never_has_tags_in_its_head() {
        assert_eq!(reply_head(ApiKey::ApiVersions, 4, 1, 2).len(), 8);
        assert_eq!(reply_head(ApiKey::Metadata, 9, 1, 2)[..], [0, 0, 0, 7, 0, 0, 0, 1, 0]);
        assert_eq!(reply_head(ApiKey::Metadata, 8, 1, 2)[..], [0, 0, 0, 6, 0, 0, 0, 1]);
    }
}
