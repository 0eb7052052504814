//! What is sent comes back, whatever it is and however it is sent.

use std::time::{Duration, Instant};

use rdkafka::{
    Message, Offset,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Headers, OwnedHeaders},
    producer::{BaseRecord, Producer},
};

use crate::suite::{LIMIT, fresh, numbers, produce, producer, reader, send, take, texts, topic};

/// A key, or a value of a record or a header.
type Field<'a> = Option<&'a [u8]>;

pub fn come_back(bootstrap: &str) {
    let topic = topic(bootstrap, 1);
    let headers: [(&str, Field<'_>); 4] =
        [("a", Some(b"1")), ("a", Some(b"2")), ("empty", Some(b"")), ("null", None)];
    let large = vec![0; 100_000];
    let sent: [(Field<'_>, Field<'_>); 5] = [
        (Some(b"k"), Some(b"v")),
        (None, Some(b"")),
        (Some(b""), Some(b"x")),
        (Some(b"tombstone"), None),
        (Some(b"k"), Some(&large)),
    ];
    let producer = producer(bootstrap, &[]);
    for (key, value) in sent {
        let mut owned = OwnedHeaders::new();
        for (key, value) in headers {
            owned = owned.insert(Header { key, value });
        }
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).partition(0).headers(owned);
        record.key = key;
        record.payload = value;
        send(&producer, record);
    }
    producer.flush(LIMIT).expect("all sent");
    let found = take(&reader(bootstrap, &topic, Offset::Beginning), sent.len());
    for (offset, (record, (key, value))) in (0..).zip(found.iter().zip(sent)) {
        assert_eq!((record.offset(), record.key(), record.payload()), (offset, key, value));
        let came = record.headers().expect("headers");
        let came: Vec<_> = came.iter().map(|header| (header.key, header.value)).collect();
        assert_eq!(came, headers);
    }
}

pub fn codecs(bootstrap: &str) {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let (topic, sent) = (topic(bootstrap, 1), numbers(2000));
        produce(bootstrap, &topic, 0, &sent, &[("compression.type", codec), ("linger.ms", "50")]);
        let found = take(&reader(bootstrap, &topic, Offset::Beginning), sent.len());
        assert_eq!(texts(&found), sent, "{codec}");
    }
}

pub fn idempotent(bootstrap: &str) {
    let (topic, sent) = (topic(bootstrap, 1), numbers(5000));
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "100")];
    produce(bootstrap, &topic, 0, &sent, &settings);
    let found = take(&reader(bootstrap, &topic, Offset::Beginning), sent.len());
    assert_eq!(texts(&found), sent);
}

pub fn acknowledgements(bootstrap: &str) {
    let topic = topic(bootstrap, 1);
    for acks in ["0", "1", "all"] {
        produce(bootstrap, &topic, 0, &numbers(1), &[("acks", acks)]);
    }
    take(&reader(bootstrap, &topic, Offset::Beginning), 3);
}

pub fn transaction(bootstrap: &str) {
    let id = fresh("id");
    let producer = producer(bootstrap, &[("transactional.id", &id), ("log_level", "0")]);
    let began = Instant::now();
    let error = producer.init_transactions(LIMIT).expect_err("it started");
    let KafkaError::Transaction(told) = &error else { panic!("{error}") };
    assert!(told.is_fatal() && !told.is_retriable(), "{told:?}");
    assert_eq!(told.code(), RDKafkaErrorCode::TransactionalIdAuthorizationFailed);
    assert!(began.elapsed() < Duration::from_secs(4), "told late");
}
