//! What the facts share: names, patience, and clients as most users set them up.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime},
};

use futures_executor::block_on;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{OwnedMessage, ToBytes},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

pub const LIMIT: Duration = Duration::from_secs(30);

/// A name nobody has used.
pub fn fresh(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    format!("{what}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Asks until the answer is yes. The question does the waiting.
pub fn eventually(what: &str, mut question: impl FnMut() -> bool) {
    let began = Instant::now();
    while !question() {
        assert!(began.elapsed() < LIMIT, "not within the time: {what}");
    }
}

pub fn config(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    config(bootstrap, &[]).create().expect("an administrator")
}

pub fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}

pub fn topic(bootstrap: &str, partitions: i32) -> String {
    let name = fresh("rust");
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let made = block_on(admin(bootstrap).create_topics([&new], &options())).expect("an answer");
    assert_eq!(made, [Ok(name.clone())]);
    name
}

pub type Threaded = ThreadedProducer<DefaultProducerContext>;

pub fn producer(bootstrap: &str, settings: &[(&str, &str)]) -> Threaded {
    config(bootstrap, settings).create().expect("a producer")
}

pub fn send<K: ToBytes + ?Sized, V: ToBytes + ?Sized>(
    producer: &Threaded,
    record: BaseRecord<'_, K, V>,
) {
    producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
}

/// The values, one record each.
pub fn produce(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    values: &[String],
    settings: &[(&str, &str)],
) {
    let producer = producer(bootstrap, settings);
    for value in values {
        send(&producer, BaseRecord::<(), _>::to(topic).partition(partition).payload(value));
    }
    producer.flush(LIMIT).expect("all sent");
}

/// The values "0", "1"... up to the count.
pub fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Reads partition 0 of a topic, in no group.
pub fn reader(bootstrap: &str, topic: &str, from: Offset) -> BaseConsumer {
    let group = fresh("reader");
    let settings =
        [("group.id", group.as_str()), ("enable.auto.commit", "false"), ("check.crcs", "true")];
    let consumer: BaseConsumer = config(bootstrap, &settings).create().expect("a consumer");
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, 0, from).expect("an offset");
    consumer.assign(&wanted).expect("assigned");
    consumer
}

/// The next `count` records.
pub fn take(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    let mut records = Vec::new();
    eventually("the records", || {
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            records.push(message.expect("a record").detach());
        }
        records.len() == count
    });
    records
}

pub fn texts(records: &[OwnedMessage]) -> Vec<String> {
    let text = |record: &OwnedMessage| {
        String::from_utf8(record.payload().expect("a value").to_vec()).expect("text")
    };
    records.iter().map(text).collect()
}
