//! A refusal of an admin request: Kafka's code and a text for people.
//!
//! Owns: the pair and its wire form (the text is null on success). Does not own: which code a
//! domain error has (`kafka/error.rs`).

use proto_kafka::protocol::StrBytes;

use crate::{
    cluster::{CommitError, configs},
    kafka::error::{Code, commit_code, config_code},
};

/// Why something asked for was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(super) fn invalid_request(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, text)
    }

    pub(super) fn unknown_topic() -> Self {
        Self::new(Code::UnknownTopicOrPartition, "This server does not host this topic-partition.")
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        Self::new(commit_code(&error), error.to_string())
    }
}

impl From<configs::Error> for Refusal {
    fn from(error: configs::Error) -> Self {
        Self::new(config_code(&error), error.to_string())
    }
}

/// The code and text of an answer: 0 and null for success.
pub(super) fn wire<T>(result: &Result<T, Refusal>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (0, None),
        Err(refusal) => (refusal.code.code(), Some(refusal.text.clone().into())),
    }
}
