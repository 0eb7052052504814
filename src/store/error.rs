//! How a request to the bucket ends when it does not simply succeed.
//!
//! Owns: `Outcome`, `Failure` and its kinds, `GetError`, `OpenError`. Does not own: what callers
//! do next. Invariant: no text here carries a secret, a URL query or a server's raw reply.

use std::fmt;

/// The three ends of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an unknown write must be resolved by reading back"]
pub enum Outcome<T> {
    /// It is in the bucket, durably.
    Done(T),
    /// The condition did not hold and nothing of ours can have been written. Only stores that
    /// decide in this process (memory, folder) answer so: over HTTP a gateway may have sent the
    /// request twice and report its own first try as the obstacle (nginx repeats a PUT).
    Refused,
    /// It may be in the bucket, be written later, or never. Read back to know; of all failures
    /// `FailureKind::Conflict` is the one that says somebody's object is (or was) there.
    Unknown(Failure),
}

impl<T> Outcome<T> {
    /// What was done, if it was.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            Self::Refused | Self::Unknown(_) => None,
        }
    }

    /// Whether the store answered that the condition did not hold, for certain or perhaps.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Done(_) => false,
            Self::Refused => true,
            Self::Unknown(failure) => failure.kind() == FailureKind::Conflict,
        }
    }
}

/// Why a request failed, by what an operator does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Connection,
    /// Credentials missing, expired or without the right (401, 403).
    Denied,
    /// The store asks for fewer requests (429, 503).
    Throttled,
    /// The condition of a write did not hold, or another write was in its way (409, 412).
    Conflict,
    /// The bucket itself does not exist.
    NoBucket,
    /// Anything else the store or the disk reports.
    Other,
}

impl FailureKind {
    /// Stable name, as logs, metrics and JSON carry it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Conflict => "conflict",
            Self::NoBucket => "no_bucket",
            Self::Other => "other",
        }
    }
}

impl FailureKind {
    /// What an operator does about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Timeout | Self::Connection => {
                "is the bucket, or the endpoint given, reachable from this machine?"
            }
            Self::Denied => {
                "check the credentials, this machine's clock, and the right to read, write, list \
                 and delete under the prefix"
            }
            Self::Throttled => "the store asks for fewer requests; it goes on by itself",
            Self::Conflict => "is another program writing under this prefix?",
            Self::NoBucket => "make the bucket, or correct its name",
            Self::Other => "the store's own words say what is wrong; look into its log too",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that failed: a kind for the program, a text for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    kind: FailureKind,
    text: String,
}

impl Failure {
    const MAX_CHARS: usize = 300;

    /// A failure with a text that is made safe here: one line, bounded, secrets blotted out.
    pub fn new(kind: FailureKind, text: impl AsRef<str>) -> Self {
        Self { kind, text: redacted(text.as_ref()) }
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Whether the store answered at all: losing a condition is an answer.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.kind == FailureKind::Conflict
    }
}

/// Why a read brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// The store says there is no such object. A missing bucket is not this.
    #[error("no such object")]
    Absent,
    /// No trustworthy answer.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why a bucket cannot be used at all, whatever the network does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// Words after which a secret follows in URLs, headers and signed requests.
const MARKS: [&str; 12] = [
    "signature=",
    "credential=",
    "security-token=",
    "security-token:",
    "sig=",
    "secret=",
    "password=",
    "token=",
    "authorization:",
    "secretaccesskey=",
    "accountkey=",
    "sharedaccesssignature=",
];

/// One line of at most `MAX_CHARS` characters without URL queries, user info or marked secrets.
fn redacted(text: &str) -> String {
    let mut words = Vec::new();
    let mut hide_next = false;
    for word in text.split_whitespace() {
        let lower = word.to_ascii_lowercase();
        if std::mem::take(&mut hide_next) {
            // `Authorization: Bearer X` and `AWS4-HMAC-SHA256 Credential=...` are two words.
            hide_next = matches!(lower.as_str(), "bearer" | "basic" | "aws4-hmac-sha256");
            words.push("REDACTED".to_owned());
            continue;
        }
        match MARKS.iter().filter_map(|mark| Some(lower.find(mark)? + mark.len())).min() {
            Some(end) => {
                hide_next = lower.len() == end;
                words.push(format!("{}REDACTED", word.get(..end).unwrap_or_default()));
            }
            None => words.push(without_url_secrets(word)),
        }
    }
    let line = words.join(" ");
    let mut short: String =
        line.chars().filter(|c| !c.is_control()).take(Failure::MAX_CHARS).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

fn without_url_secrets(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "S3CRET-CANARY";

    #[test]
    fn a_failure_never_carries_a_secret() {
        for text in [
            format!("GET https://h/b/k?X-Amz-Signature={CANARY}&x=1 failed"),
            format!("https://user:{CANARY}@host/bucket refused"),
            format!("Authorization: Bearer {CANARY}"),
            format!("authorization:AWS4-HMAC-SHA256 Credential={CANARY}/x, Signature={CANARY}"),
            format!("x-amz-security-token:{CANARY} more"),
            format!("x-amz-security-token: {CANARY} more"),
            format!("sig={CANARY}"),
            format!("DefaultEndpointsProtocol=https;AccountKey={CANARY};x"),
        ] {
            let failure = Failure::new(FailureKind::Other, &text);
            assert!(!failure.to_string().contains(CANARY), "{text} gave {failure}");
            assert!(!format!("{failure:?}").contains(CANARY));
        }
    }

    #[test]
    fn a_failure_is_one_bounded_line() {
        let failure = Failure::new(FailureKind::Other, format!("a\nb\t\u{7}{}", "x".repeat(9999)));
        let text = failure.to_string();
        assert!(text.starts_with("a b x"), "{text}");
        assert!(text.chars().count() <= Failure::MAX_CHARS + 1);
    }

    #[test]
    fn plain_words_pass() {
        let text = "connection refused at http://127.0.0.1:9000/bucket/key (os error 111)";
        assert_eq!(Failure::new(FailureKind::Connection, text).to_string(), text);
    }
}
