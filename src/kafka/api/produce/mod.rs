//! Produce (0), versions 3 to 13; 0 to 2 are advertised and refused, as Kafka does.
//!
//! `begin` checks and appends in request order; the answer waits for the commits, beside those of
//! the requests before and after it. acks=0 is never answered: an error ends the connection.
//! acks=1 waits for what acks=all waits for. A transactional id is refused at once.

mod codec;
mod hostile;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

pub(super) use codec::TopicKey;
use codec::{Answered, Request};
pub(in crate::kafka) use hostile::agrees as decodes_as_another_codec;

use super::{
    Answer, Call, Later,
    leader::{self, Leader},
};
use crate::{
    env::clock,
    kafka::{
        context::Context,
        error::{BadRequest, Code, Coded, NO_TRANSACTIONS, NO_TRANSACTIONS_TEXT},
    },
    log::{AppendError, NotHere, Origin, Partition, Pending},
    record::Reject,
};

/// Bytes of a batch before its length counts, and where its magic is.
const LENGTH_AT: usize = 8;
const LENGTH_END: usize = 12;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_AT: usize = 22;
const ZSTD: u8 = 4;

/// Why a partition's records were not appended.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    code: Code,
    message: String,
    record: Option<i32>,
    leader: Option<Leader>,
}

/// A partition's part of a request, begun.
struct Begun {
    index: i32,
    partition: Option<Arc<Partition>>,
    pending: Result<Pending, Refused>,
}

pub(super) fn begin(call: Call) -> BoxFuture<'static, Result<Later, BadRequest>> {
    Box::pin(async move {
        let Call { context, version, body } = call;
        let request = Request::decode(body, version)?;
        let (acks, timeout) = (request.acks, request.timeout_ms);
        let begun = append(&context, version, request).await;
        if acks == 0 {
            let mut parts = begun.iter().flat_map(|(_, parts)| parts);
            let failed = parts.any(|part| part.pending.is_err());
            let answer = if failed { Answer::Close } else { Answer::Silent };
            return Ok(futures::future::ready(Ok(answer)).boxed());
        }
        let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
        Ok(finish(context, version, timeout, begun).map(Ok).boxed())
    })
}

/// The same error for every partition.
pub(super) fn refuse(version: i16, body: Bytes, code: Code) -> Result<Answer, BadRequest> {
    let request = Request::decode(body, version)?;
    if request.acks == 0 {
        return Ok(Answer::Close);
    }
    let refused = |(index, _)| {
        let error = code.code();
        let (base_offset, log_append_time_ms, log_start) = (-1, -1, -1);
        Answered { index, error, base_offset, log_append_time_ms, log_start, ..Answered::default() }
    };
    let topics = request.topics.into_iter();
    let topics: Topics<_> =
        topics.map(|(topic, parts)| (topic, parts.into_iter().map(refused).collect())).collect();
    Ok(Answer::Reply(codec::encode(version, &topics, &[])))
}

type Topics<T> = Vec<(TopicKey, Vec<T>)>;

async fn append(context: &Context, version: i16, request: Request) -> Topics<Begun> {
    let refusal = refusal(&request);
    let mut topics = Vec::with_capacity(request.topics.len());
    for (topic, partitions) in request.topics {
        let mut begun = Vec::with_capacity(partitions.len());
        for (index, records) in partitions {
            let (partition, pending) = match &refusal {
                Some((code, text)) => (None, Err(Refused::new(*code, *text))),
                None => one(context, version, request.acks, &topic, index, records).await,
            };
            begun.push(Begun { index, partition, pending });
        }
        topics.push((topic, begun));
    }
    topics
}

/// Why the whole request is refused.
fn refusal(request: &Request) -> Option<(Code, &'static str)> {
    if request.transactional {
        return Some((NO_TRANSACTIONS, NO_TRANSACTIONS_TEXT));
    }
    let known = (-1..=1).contains(&request.acks);
    (!known).then_some((Code::InvalidRequiredAcks, "acks must be 0, 1 or -1 (all)"))
}

async fn one(
    context: &Context,
    version: i16,
    acks: i16,
    topic: &TopicKey,
    index: i32,
    records: Bytes,
) -> (Option<Arc<Partition>>, Result<Pending, Refused>) {
    let found = find(context, topic, index);
    let partition = match found {
        Ok(partition) => partition,
        Err(refused) => return (None, Err(refused)),
    };
    let pending = async {
        check_shape(version, &records)?;
        let wanted = partition.config().min_insync_replicas;
        if acks == -1 && wanted > context.serving.copies {
            let copies = context.serving.copies;
            let text = format!("min.insync.replicas is {wanted}, copies there can be: {copies}");
            return Err(Refused::new(Code::NotEnoughReplicas, text));
        }
        let appended = partition.append(records, Origin::Client).await;
        appended.map_err(|error| Refused::append(context, &partition, &error))
    };
    let pending = pending.await;
    (Some(partition), pending)
}

fn find(context: &Context, topic: &TopicKey, index: i32) -> Result<Arc<Partition>, Refused> {
    let refused = |error: NotHere, code| Refused {
        code,
        message: error.to_string(),
        record: None,
        leader: Leader::elsewhere(&error),
    };
    let found = match topic {
        TopicKey::Name(name) => context.serving.log.find(name, index),
        TopicKey::Id(id) => context.serving.log.find_by_id(*id, index),
    };
    found.map_err(|error| match (topic, error) {
        (TopicKey::Id(_), NotHere::UnknownTopic) => refused(error, Code::UnknownTopicId),
        _ => refused(error, error.code()),
    })
}

/// Exactly one batch, of format 2, in a codec this version knows (kafka.md P2).
fn check_shape(version: i16, records: &[u8]) -> Result<(), Refused> {
    let invalid = |text: &str| Err(Refused::new(Code::InvalidRecord, text));
    let length = records
        .get(LENGTH_AT..LENGTH_END)
        .and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?)))
        .and_then(|length| usize::try_from(length).ok()?.checked_add(LENGTH_END));
    let (Some(length), Some(magic)) = (length, records.get(MAGIC_AT)) else {
        return invalid("a partition's records must hold a record batch");
    };
    if *magic != 2 {
        return invalid("record batches must be of format 2");
    }
    if length > records.len() {
        return invalid("a partition's records must hold a whole record batch");
    }
    if length < records.len() {
        return invalid("a partition's records must hold exactly one record batch");
    }
    let zstd = records.get(ATTRIBUTES_AT).is_some_and(|attributes| attributes & 0x07 == ZSTD);
    if zstd && version < 7 {
        let text = "zstd needs Produce version 7";
        return Err(Refused::new(Code::UnsupportedCompressionType, text));
    }
    Ok(())
}

impl Refused {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), record: None, leader: None }
    }

    fn append(context: &Context, partition: &Partition, error: &AppendError) -> Self {
        let record = match error {
            AppendError::Reject(
                Reject::InvalidRecord { record, .. } | Reject::InvalidTimestamp { record, .. },
            ) => *record,
            _ => None,
        };
        let leader = match error {
            AppendError::NotLeader => Leader::of(context, partition.id()),
            _ => None,
        };
        Self { code: error.code(), message: error.to_string(), record, leader }
    }

    fn answered(self, index: i32) -> Answered {
        Answered {
            index,
            error: self.code.code(),
            base_offset: -1,
            log_append_time_ms: -1,
            log_start: -1,
            record_error: self.record.map(|record| (record, self.message.clone())),
            message: Some(self.message),
            leader: self.leader,
        }
    }
}

/// Waits for every commit, together at most for `timeout`: what is late may land all the same.
async fn finish(context: Context, version: i16, timeout: Duration, begun: Topics<Begun>) -> Answer {
    let late = clock::sleep(timeout);
    tokio::pin!(late);
    let mut topics = Vec::with_capacity(begun.len());
    for (topic, parts) in begun {
        let mut answered = Vec::with_capacity(parts.len());
        for part in parts {
            let index = part.index;
            let done = match (part.pending, part.partition) {
                (Ok(pending), Some(partition)) => {
                    let committed = tokio::select! {
                        biased;
                        committed = pending.committed() => committed,
                        () = &mut late => Err(AppendError::Unknown),
                    };
                    committed.map_err(|error| Refused::append(&context, &partition, &error))
                }
                (Err(refused), _) => Err(refused),
                (Ok(_), None) => Err(Refused::new(Code::UnknownServerError, "no partition")),
            };
            answered.push(match done {
                Ok(appended) => Answered {
                    index,
                    base_offset: appended.base_offset.0,
                    log_append_time_ms: appended.log_append_time.map_or(-1, |time| time.0),
                    log_start: appended.log_start.0,
                    ..Answered::default()
                },
                Err(refused) => refused.answered(index),
            });
        }
        topics.push((topic, answered));
    }
    let leaders = topics.iter().flat_map(|(_, parts)| parts).filter_map(|part| part.leader);
    let endpoints = leader::endpoints(&context, leaders);
    Answer::Reply(codec::encode(version, &topics, &endpoints))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(length: i32, magic: u8, attributes: u8) -> Vec<u8> {
        let mut batch = vec![0; 61];
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[16] = magic;
        batch[22] = attributes;
        batch
    }

    #[test]
    fn a_partition_takes_exactly_one_batch_of_format_2() {
        assert_eq!(check_shape(13, &batch(49, 2, 0)), Ok(()));
        let cases = [Vec::new(), vec![0; 16], batch(48, 2, 0), batch(50, 2, 0), batch(49, 1, 0)];
        for bytes in cases.into_iter().chain([batch(-1, 2, 0), batch(i32::MAX, 2, 0)]) {
            let refused = check_shape(13, &bytes).unwrap_err();
            assert_eq!(refused.code, Code::InvalidRecord);
        }
    }

    #[test]
    fn zstd_needs_version_7() {
        let refused = check_shape(6, &batch(49, 2, 4)).unwrap_err();
        assert_eq!(refused.code, Code::UnsupportedCompressionType);
        assert_eq!(check_shape(7, &batch(49, 2, 4)), Ok(()));
    }

    #[test]
    fn transactions_and_unknown_acks_are_refused_whole() {
        let mut request =
            Request { transactional: false, acks: 2, timeout_ms: 0, topics: Vec::new() };
        assert_eq!(refusal(&request).map(|(code, _)| code.code()), Some(21));
        request.acks = 1;
        assert_eq!(refusal(&request), None);
        request.transactional = true;
        assert_eq!(refusal(&request).map(|(code, _)| code.code()), Some(53));
    }
}
