//! Reading a store's HTTP answers exactly.
//!
//! `object_store` hides statuses and turns some into others (409 into "already exists"; a missing
//! bucket into a missing object). Below it (`http`) every answer that is not a success is turned into
//! one error of ours, which is read back here out of whatever it was wrapped in.
//! Invariant: of a server's reply only code and message are kept: the rest may hold a signature.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use futures::StreamExt;
use object_store::client::{HttpError, HttpErrorKind, HttpResponse};

use super::{Failure, FailureKind};

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status {status} {code} {message}")]
pub(super) struct Refusal {
    status: u16,
    code: String,
    message: String,
}

/// What an answer means to the request that got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The object, named by the request, is not there.
    NoObject,
    /// A 404 that does not say of what.
    NothingThere,
    /// The object is still what the request named.
    Unchanged,
    /// Anything else.
    Failed(Failure),
}

/// `response`, or a refusal where it is not a success.
pub(super) async fn judged(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let coded = header("x-ms-error-code").map(str::to_owned);
    let region = header("x-amz-bucket-region").map(str::to_owned);
    let body = beginning(response).await;
    let code = coded.or_else(|| element(&body, "Code")).unwrap_or_default();
    let mut message = element(&body, "Message").unwrap_or_default();
    if let (301 | 307 | 400, Some(region)) = (status, region) {
        message = format!("the bucket is in region {region}: set AWS_REGION to it");
    }
    // Not a kind that is ever tried again.
    Err(HttpError::new(HttpErrorKind::Unknown, Refusal { status, code, message }))
}

/// The first few KiB of a body, as text.
async fn beginning(response: HttpResponse) -> String {
    const ENOUGH: usize = 16 * 1024;
    let mut bytes = Vec::new();
    let mut stream = response.into_body().bytes_stream();
    while bytes.len() < ENOUGH {
        match stream.next().await {
            Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
            // The status stands by itself.
            Some(Err(_)) | None => break,
        }
    }
    bytes.truncate(ENOUGH);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text of the first element `name` of an XML body.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.to_owned())
}

/// What the error of a request to `bucket` means.
pub(super) fn meaning(error: &object_store::Error, bucket: &str) -> Meaning {
    let chain = || chain(error);
    if let Some(refusal) = chain().find_map(|error| error.downcast_ref::<Refusal>()) {
        return refusal.meaning(bucket);
    }
    if let Some(error) = chain().find_map(|error| error.downcast_ref::<CredentialsError>()) {
        return Meaning::Failed(no_credentials(error));
    }
    let cause = chain().last().map(ToString::to_string).unwrap_or_default();
    let kind = match chain().find_map(|error| error.downcast_ref::<HttpError>()) {
        Some(error) => match error.kind() {
            HttpErrorKind::Timeout => FailureKind::Timeout,
            HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Interrupted => {
                FailureKind::Connection
            }
            // A reply that is not HTTP, or breaks off: whoever spoke was not the store.
            _ => FailureKind::Connection,
        },
        None => FailureKind::Other,
    };
    Meaning::Failed(Failure::new(kind, format!("{bucket}: {cause}")))
}

/// An error and its causes.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

impl Refusal {
    fn meaning(&self, bucket: &str) -> Meaning {
        let kind = match (self.status, self.code.as_str()) {
            (304, _) => return Meaning::Unchanged,
            (404, "NoSuchKey" | "NoSuchObject" | "BlobNotFound") => return Meaning::NoObject,
            (404, "NoSuchBucket" | "ContainerNotFound") => {
                let text = format!("{bucket} does not exist: create it, or correct the URL");
                return Meaning::Failed(Failure::new(FailureKind::NoBucket, text));
            }
            (404, "") => return Meaning::NothingThere,
            (409 | 412, _) => FailureKind::Conflict,
            (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => FailureKind::Denied,
            (401 | 403, _) => FailureKind::Denied,
            (429 | 503, _) | (_, "SlowDown") => FailureKind::Throttled,
            (408 | 504, _) | (_, "RequestTimeout") => FailureKind::Timeout,
            _ => FailureKind::Other,
        };
        let Self { status, code, message } = self;
        let advice = match code.as_str() {
            "RequestTimeTooSkewed" => "; this machine's clock is wrong (NTP)",
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" => "; check the access key and secret",
            "AccessDenied" => "; the credentials lack a right on this bucket",
            _ => "",
        };
        let said = format!("{bucket} answered {status} {code} {message}{advice}");
        Meaning::Failed(Failure::new(kind, said))
    }
}

fn no_credentials(error: &CredentialsError) -> Failure {
    // Its sources may quote files and replies; the variant says enough.
    match error {
        CredentialsError::ProviderTimedOut(_) => {
            Failure::new(FailureKind::Timeout, "the credentials' source did not answer in time")
        }
        CredentialsError::CredentialsNotLoaded(_) => Failure::new(
            FailureKind::Denied,
            "no credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
             AWS_PROFILE, or give the machine a role",
        ),
        _ => Failure::new(
            FailureKind::Denied,
            format!("credentials cannot be had: {error}; see `aws sts get-caller-identity`"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str) -> Meaning {
        let refusal = Refusal { status, code: code.to_owned(), message: "m".to_owned() };
        let http = HttpError::new(HttpErrorKind::Unknown, refusal);
        let error = object_store::Error::Generic { store: "S3", source: Box::new(http) };
        meaning(&error, "s3://b")
    }

    fn kind(status: u16, code: &str) -> FailureKind {
        match refusal(status, code) {
            Meaning::Failed(failure) => failure.kind(),
            other => panic!("{status} {code} is {other:?}"),
        }
    }

    #[test]
    fn each_answer_has_its_kind() {
        assert_eq!(refusal(404, "NoSuchKey"), Meaning::NoObject);
        assert_eq!(refusal(404, ""), Meaning::NothingThere);
        assert_eq!(refusal(304, ""), Meaning::Unchanged);
        assert_eq!(kind(404, "NoSuchBucket"), FailureKind::NoBucket);
        assert_eq!(kind(404, "NoSuchUpload"), FailureKind::Other);
        assert_eq!(kind(409, "ConditionalRequestConflict"), FailureKind::Conflict);
        assert_eq!(kind(412, "PreconditionFailed"), FailureKind::Conflict);
        assert_eq!(kind(403, "AccessDenied"), FailureKind::Denied);
        assert_eq!(kind(400, "ExpiredToken"), FailureKind::Denied);
        assert_eq!(kind(503, "SlowDown"), FailureKind::Throttled);
        assert_eq!(kind(500, "InternalError"), FailureKind::Other);
        assert_eq!(kind(400, "RequestTimeout"), FailureKind::Timeout);
    }

    #[test]
    fn only_code_and_message_are_read() {
        let body = "<?xml?><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message>\
            <StringToSign>CANARY</StringToSign></Error>";
        assert_eq!(element(body, "Code").as_deref(), Some("SignatureDoesNotMatch"));
        assert_eq!(element(body, "Message").as_deref(), Some("no"));
        assert_eq!(element("<Code>half", "Code"), None);
    }
}
