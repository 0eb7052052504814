//! Which APIs in which versions this broker says it serves.
//!
//! Owns: the answer of ApiVersions, from the table in `api`. Does not own: the table.
//! Invariant: an API and a version are advertised exactly when they are served, but for Produce,
//! which starts at 0: without it librdkafka before 2.11.1 turns compression off (KAFKA-18659).

use bytes::Bytes;
use proto_kafka::{
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion,
    },
    protocol::Decodable,
};

use super::{
    api::{self, Api},
    error::{BadRequest, Code},
    guard::Guarded,
};

/// The newest version of ApiVersions.
pub(super) const NEWEST: i16 = 4;

/// The number of an API on the wire.
pub(super) fn number(key: ApiKey) -> i16 {
    // The enum's discriminants are Kafka's keys; a cast is its only way out.
    #[expect(clippy::as_conversions, reason = "a fieldless i16-sized enum")]
    let number = key as i16;
    number
}

fn row(api: &Api) -> ApiVersion {
    let min = if api.key == ApiKey::Produce { 0 } else { *api.versions.start() };
    let row = ApiVersion::default().with_api_key(number(api.key));
    row.with_min_version(min).with_max_version(*api.versions.end())
}

/// The answer to ApiVersions in `version`, and the version it is encoded in.
///
/// A version that is not served is answered in version 0 with the range that is (KIP-511), its
/// body unread. Every feature is at 0, which Kafka says by leaving it out: clients then cap their
/// transactional requests at the first protocol. So none of the tagged fields is written: they would
/// hold their defaults, which librdkafka before 2.1.1 cannot skip.
///
/// # Errors
/// When the body is not an ApiVersions request.
pub(super) fn answer(version: i16, body: Bytes) -> Result<(i16, ApiVersionsResponse), BadRequest> {
    let response = ApiVersionsResponse::default();
    if !(0..=NEWEST).contains(&version) {
        let own = ApiVersion::default().with_api_key(number(ApiKey::ApiVersions));
        let response = response.with_error_code(Code::UnsupportedVersion.code());
        return Ok((0, response.with_api_keys(vec![own.with_max_version(NEWEST)])));
    }
    let request = ApiVersionsRequest::decode(&mut Guarded::new(body), version)?;
    let names = [&request.client_software_name, &request.client_software_version];
    if version >= 3 && !names.into_iter().all(|name| is_software_name(name)) {
        return Ok((version, response.with_error_code(Code::InvalidRequest.code())));
    }
    Ok((version, response.with_api_keys(api::APIS.iter().map(row).collect())))
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_name(name: &str) -> bool {
    let (first, last) = (name.bytes().next(), name.bytes().next_back());
    let ends = first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && last.is_some_and(|byte| byte.is_ascii_alphanumeric());
    ends && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proto_kafka::protocol::Encodable;

    use super::*;

    fn body(name: &'static str) -> Bytes {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(name.into())
            .with_client_software_version("1.0".into());
        let mut body = BytesMut::new();
        request.encode(&mut body, 3).unwrap();
        body.freeze()
    }

    #[test]
    fn a_version_from_the_future_gets_version_0_and_the_range_of_this_api_alone() {
        for version in [5, 99, i16::MAX, -1] {
            let (encoded, response) = answer(version, Bytes::from_static(b"junk")).unwrap();
            assert_eq!((encoded, response.error_code), (0, 35));
            let [own] = &response.api_keys[..] else { panic!("one row") };
            assert_eq!((own.api_key, own.min_version, own.max_version), (18, 0, 4));
        }
    }

    #[test]
    fn a_client_that_names_itself_badly_is_refused() {
        for (name, error) in [("kgo", 0), ("a-b.c", 0), ("", 42), ("-a", 42), ("a b", 42)] {
            assert_eq!(answer(3, body(name)).unwrap().1.error_code, error, "{name}");
        }
    }

    #[test]
    fn produce_is_advertised_from_0_and_nothing_twice() {
        let (_, response) = answer(3, body("kgo")).unwrap();
        let produce = response.api_keys.iter().find(|row| row.api_key == 0);
        assert!(produce.is_none_or(|row| (row.min_version, row.max_version) == (0, 13)));
        let mut keys: Vec<_> = response.api_keys.iter().map(|row| row.api_key).collect();
        keys.dedup();
        assert_eq!(keys.len(), response.api_keys.len());
        assert!(keys.is_sorted());
    }

    #[test]
    fn no_tagged_field_that_holds_its_default_is_written() {
        let (version, response) = answer(3, body("kgo")).unwrap();
        let mut bytes = BytesMut::new();
        response.encode(&mut bytes, version).unwrap();
        assert_eq!(bytes.last(), Some(&0), "no tags");
    }
}
