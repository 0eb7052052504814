//! Kafka's error codes, for people.
//!
//! Owns: their names, and in our own words what each means and what to do. Does not own: which
//! calls are tried again. Invariant: a code without words of ours still has its name and number.

use proto_kafka::error::ResponseError;

/// The code's name as Kafka writes it: `UNKNOWN_TOPIC_OR_PARTITION`.
#[must_use]
pub fn name(code: i16) -> String {
    match ResponseError::try_from_code(code) {
        None => "NONE".to_owned(),
        Some(ResponseError::Unknown(code)) => format!("ERROR_{code}"),
        Some(known) => in_capitals(&known.to_string()),
    }
}

fn in_capitals(camel: &str) -> String {
    let mut name = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Whether the same request may get another answer a little later.
#[must_use]
pub fn is_passing(code: i16) -> bool {
    ResponseError::try_from_code(code).is_some_and(|error| error.is_retriable())
}

/// Whether the answer says that another broker should have been asked.
pub(super) fn is_misrouted(code: i16) -> bool {
    // Leader unknown or elsewhere, coordinator loading or elsewhere, controller elsewhere, stale or
    // unknown leader epochs.
    [5, 6, 14, 15, 16, 41, 74, 75].contains(&code)
}

/// What the code means and what to do about it, in a sentence without a full stop.
#[must_use]
pub fn meaning(code: i16) -> &'static str {
    match code {
        -1 => "the broker met an error it did not expect; its log says more",
        1 => "the offset is not in the partition: older records are deleted or it is past the end",
        2 => "the broker found the records damaged or without a key they need",
        3 => "there is no such topic or partition here",
        5 | 6 => "the partition's leader is changing; try again in a moment",
        7 => "the broker could not do it in time; whether it was done is not known",
        10 => "the record is larger than the topic's max.message.bytes",
        14..=16 => "the group's coordinator is starting or moving; try again in a moment",
        17 => {
            "a topic's name has 1 to 249 of the letters a-z, A-Z, 0-9, dot, underscore and minus, \
             or it is one of the broker's own"
        }
        18 => "the batch is larger than a segment of the topic",
        19 | 20 => "fewer brokers than min.insync.replicas can keep the records now",
        22 | 25 | 27 | 79 => "the group's members changed meanwhile; try again",
        24 => "a group's name must not be empty",
        29..=31 => "the cluster does not allow it to this user",
        32 => "the record's timestamp is too far from the broker's clock for this topic",
        35 => "the broker does not speak this version of the request",
        36 => "a topic of this name is there already",
        37 => "the number of partitions is not one the topic can have",
        38 => "the replication factor is below 1 or above the number of brokers",
        40 => "a config's name or value is not one the broker knows",
        41 => "the cluster's controller is changing; try again in a moment",
        42 => "the broker found the request at odds with itself",
        44 => "a policy of the cluster forbids it",
        45..=47 => "another producer used this producer's id, or the broker forgot it",
        53 => "this cluster does not do transactions for this producer",
        56 => "the broker's disk or bucket is in trouble; its log says more",
        60 => "another change of this kind is under way; try again when it is done",
        68 => "the group has members; stop them first",
        69 => "there is no such group",
        73 => "topics cannot be deleted here: delete.topic.enable is false",
        74 | 75 => "the partition's leader changed; try again in a moment",
        76 => "the topic or broker does not take this compression",
        86 => "a member of the group still reads the topic; stop it first",
        87 => "the broker found a record it must not take",
        _ => "",
    }
}

/// Name, number and meaning in one line.
#[must_use]
pub fn in_words(code: i16, told: Option<&str>) -> String {
    let name = name(code);
    let words = told.map(str::trim).filter(|told| !told.is_empty());
    let words = words.unwrap_or_else(|| meaning(code)).trim_end_matches('.');
    if words.is_empty() { format!("{name} ({code})") } else { format!("{words} ({name})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_kafka_writes_them() {
        assert_eq!(name(0), "NONE");
        assert_eq!(name(3), "UNKNOWN_TOPIC_OR_PARTITION");
        assert_eq!(name(6), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(name(-1), "UNKNOWN_SERVER_ERROR");
        assert_eq!(name(12_345), "ERROR_12345");
    }

    #[test]
    fn a_broker_that_says_why_is_quoted_and_one_that_does_not_is_explained() {
        assert_eq!(in_words(36, Some("It is there.")), "It is there (TOPIC_ALREADY_EXISTS)");
        let explained = in_words(36, Some(" "));
        assert_eq!(explained, "a topic of this name is there already (TOPIC_ALREADY_EXISTS)");
        assert_eq!(in_words(61, None), "DELEGATION_TOKEN_AUTH_DISABLED (61)");
    }
}
