//! Produce (0), versions 3 to 13; 0 to 2 are advertised and refused, as Kafka does.
//!
//! `begin` checks and appends in request order; the answer waits for the commits, beside those of
//! the requests before and after it. acks=0 is never answered: an error ends the connection.
//! acks=1 waits for what acks=all waits for. A transactional id is refused at once.

mod codec;
mod hostile;
mod measured;
mod shape;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

pub(super) use codec::TopicKey;
use codec::{Answered, Request};
pub(in crate::kafka) use hostile::agrees as decodes_as_another_codec;
pub(in crate::kafka) use measured::decode as decode_measured;

use super::{
    Answer, Call, Errors, Later,
    leader::{self, Endpoint, Leader},
};
use crate::{
    env::clock,
    kafka::{
        context::Context,
        error::{BadRequest, Code, Coded, NO_TRANSACTIONS, NO_TRANSACTIONS_TEXT},
    },
    log::{AppendError, NotHere, Origin, Partition, Pending},
    record::{RecordFault, Reject},
    types::Offset,
};

/// Given to every request, whatever its timeout: Kafka's is for other brokers to have the records,
/// and begins when its own disk has them.
const OWN_APPEND: Duration = Duration::from_secs(5);

/// Why a partition's records were not appended.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    code: Code,
    message: String,
    records: Vec<RecordFault>,
    log_start: Option<Offset>,
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
        let timeout = timeout.max(OWN_APPEND);
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
    Ok(reply(version, &topics, &[]))
}

type Topics<T> = Vec<(TopicKey, Vec<T>)>;

async fn append(context: &Context, version: i16, request: Request) -> Topics<Begun> {
    let refusal = refusal(&request);
    if let (Some(_), Some(id)) = (&refusal, &request.transactional_id) {
        context.refused_transaction(id);
    }
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

/// Why the whole request is refused: before anything of it is looked up, as in Kafka.
fn refusal(request: &Request) -> Option<(Code, &'static str)> {
    let mut records = request.topics.iter().flat_map(|(_, partitions)| partitions);
    let transactional = request.transactional_id.is_some()
        || records.any(|(_, records)| shape::is_transactional(records));
    transactional.then_some((NO_TRANSACTIONS, NO_TRANSACTIONS_TEXT))
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
        let batch = shape::one_batch(version, &records)?;
        if !(-1..=1).contains(&acks) {
            let text = "acks must be 0, 1 or -1 (all)";
            return Err(Refused::new(Code::InvalidRequiredAcks, text));
        }
        if partition.is_internal() {
            let text = "clients may not write to an internal topic";
            return Err(Refused::new(Code::InvalidTopicException, text));
        }
        let wanted = partition.config().min_insync_replicas;
        if acks == -1 && wanted > context.serving.copies {
            let copies = context.serving.copies;
            let text = format!("min.insync.replicas is {wanted}, copies there can be: {copies}");
            let refused = Refused::new(Code::NotEnoughReplicas, text);
            return Err(Refused { log_start: Some(partition.log_start()), ..refused });
        }
        let appended = partition.append(batch, Origin::Client).await;
        appended.map_err(|error| Refused::append(context, &partition, error))
    };
    let pending = pending.await;
    (Some(partition), pending)
}

fn find(context: &Context, topic: &TopicKey, index: i32) -> Result<Arc<Partition>, Refused> {
    let refused = |error: NotHere, code| Refused {
        code,
        message: error.to_string(),
        records: Vec::new(),
        log_start: None,
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

impl Refused {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), records: Vec::new(), log_start: None, leader: None }
    }

    fn append(context: &Context, partition: &Partition, error: AppendError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        let leader = match error {
            AppendError::NotLeader => Leader::of(context, partition.id()),
            _ => None,
        };
        // Where the log begins is told beside some errors and not beside others, as in Kafka.
        let tells_start = matches!(
            error,
            AppendError::Sequence(_)
                | AppendError::Reject(
                    Reject::InvalidRecord { .. }
                        | Reject::InvalidTimestamp { .. }
                        | Reject::Unreadable(_)
                        | Reject::UnsupportedCompression
                )
        );
        let log_start = tells_start.then(|| partition.log_start());
        let records = match error {
            AppendError::Reject(
                Reject::InvalidRecord { records, .. } | Reject::InvalidTimestamp { records, .. },
            ) => records,
            _ => Vec::new(),
        };
        Self { code, message, records, log_start, leader }
    }

    fn answered(self, index: i32) -> Answered {
        Answered {
            index,
            error: self.code.code(),
            base_offset: -1,
            log_append_time_ms: -1,
            log_start: self.log_start.map_or(-1, |start| start.0),
            record_errors: self.records,
            message: Some(self.message),
            leader: self.leader,
        }
    }
}

/// Waits for every commit, together at most for `timeout`: what is late has its offsets, which the
/// client is told as in Kafka, and may land there all the same.
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
                    let appended = pending.appended();
                    let committed = tokio::select! {
                        biased;
                        committed = pending.committed() => committed.map(|done| (done, None)),
                        () = &mut late => Ok((appended, Some(AppendError::Unknown))),
                    };
                    committed.map_err(|error| Refused::append(&context, &partition, error))
                }
                (Err(refused), _) => Err(refused),
                (Ok(_), None) => Err(Refused::new(Code::UnknownServerError, "no partition")),
            };
            answered.push(match done {
                Ok((appended, missed)) => Answered {
                    index,
                    error: missed.as_ref().map_or(0, |error| error.code().code()),
                    message: missed.map(|error| error.to_string()),
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
    reply(version, &topics, &endpoints)
}

fn reply(version: i16, topics: &Topics<Answered>, endpoints: &[Endpoint]) -> Answer {
    let errors = Errors::of(topics.iter().flat_map(|(_, parts)| parts).map(|part| part.error));
    Answer::Reply(codec::encode(version, topics, endpoints), errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_refused_whole() {
        let mut batch = vec![0; 61];
        batch[16] = 2;
        let topic = TopicKey::Name("t".into());
        let request = |transactional: bool, batch: &[u8]| Request {
            transactional_id: transactional.then(|| "tx".to_owned()),
            acks: 1,
            timeout_ms: 0,
            topics: vec![(topic.clone(), vec![(0, Bytes::copy_from_slice(batch))])],
        };
        let code = |request: &Request| refusal(request).map(|(code, _)| code.code());
        assert_eq!(code(&request(false, &batch)), None);
        assert_eq!(code(&request(true, &batch)), Some(53));
        batch[22] = 0x10;
        assert_eq!(code(&request(false, &batch)), Some(53));
        batch[16] = 1;
        assert_eq!(code(&request(false, &batch)), None, "no such attribute there");
    }
}
