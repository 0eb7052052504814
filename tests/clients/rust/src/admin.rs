//! Topics, their partitions and configs, and records are made, changed and deleted.

use futures_executor::block_on;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    admin::{AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::suite::{LIMIT, admin, eventually, numbers, options, produce, reader, take, topic};

pub fn topics(bootstrap: &str) {
    let (admin, topic) = (admin(bootstrap), topic(bootstrap, 2));
    let again = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    let refused = block_on(admin.create_topics([&again], &options())).expect("an answer");
    assert_eq!(refused, [Err((topic.clone(), RDKafkaErrorCode::TopicAlreadyExists))]);
    let more = NewPartitions::new(&topic, 4);
    let grown = block_on(admin.create_partitions([&more], &options())).expect("an answer");
    assert_eq!(grown, [Ok(topic.clone())]);
    eventually("four partitions", || {
        let metadata = admin.inner().fetch_metadata(Some(&topic), LIMIT).expect("metadata");
        metadata.topics()[0].partitions().len() == 4 && !metadata.brokers().is_empty()
    });
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "1000");
    let altered = block_on(admin.alter_configs([&change], &options())).expect("an answer");
    assert!(altered[0].is_ok(), "{altered:?}");
    eventually("the config is shown", || {
        let asked = [ResourceSpecifier::Topic(&topic)];
        let told = block_on(admin.describe_configs(&asked, &options())).expect("an answer");
        let told = told[0].as_ref().expect("configs");
        told.get("retention.ms").expect("an entry").value.as_deref() == Some("1000")
    });
    let deleted = block_on(admin.delete_topics(&[&topic], &options())).expect("an answer");
    assert_eq!(deleted, [Ok(topic.clone())]);
    eventually("it is gone", || {
        let metadata = admin.inner().fetch_metadata(None, LIMIT).expect("metadata");
        metadata.topics().iter().all(|found| found.name() != topic)
    });
}

pub fn deleted_records(bootstrap: &str) {
    let topic = topic(bootstrap, 1);
    produce(bootstrap, &topic, 0, &numbers(10), &[]);
    let delete = |offset| {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset(&topic, 0, Offset::Offset(offset)).expect("an offset");
        let answer = block_on(admin(bootstrap).delete_records(&wanted, &options()));
        let answer = answer.expect("an answer");
        let entry = &answer.elements()[0];
        entry.error().map(|()| entry.offset())
    };
    assert_eq!(delete(4), Ok(Offset::Offset(4)));
    let beyond = KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetOutOfRange);
    assert_eq!(delete(11), Err(beyond));
    assert_eq!(take(&reader(bootstrap, &topic, Offset::Beginning), 6)[0].offset(), 4);
}
