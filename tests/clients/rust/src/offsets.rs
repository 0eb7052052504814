//! A consumer is served from the offset it asks for, by number, from either end or by time.

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::Consumer,
    producer::{BaseRecord, Producer},
};

use crate::suite::{LIMIT, numbers, produce, producer, reader, send, take, topic};

/// A round time to stamp records from.
const BASE_MS: i64 = 1_700_000_000_000;

pub fn seek(bootstrap: &str) {
    let topic = topic(bootstrap, 1);
    produce(bootstrap, &topic, 0, &numbers(10), &[]);
    let consumer = reader(bootstrap, &topic, Offset::Beginning);
    assert_eq!(take(&consumer, 10)[9].offset(), 9);
    for offset in [7, 0, 9] {
        consumer.seek(&topic, 0, Offset::Offset(offset), LIMIT).expect("sought");
        assert_eq!(take(&consumer, 1)[0].offset(), offset);
    }
    let tail = reader(bootstrap, &topic, Offset::OffsetTail(3));
    assert_eq!(take(&tail, 1)[0].offset(), 7);
    assert_eq!(consumer.fetch_watermarks(&topic, 0, LIMIT).expect("watermarks"), (0, 10));
}

pub fn times(bootstrap: &str) {
    for codec in ["none", "lz4"] {
        let topic = topic(bootstrap, 1);
        let producer = producer(bootstrap, &[("linger.ms", "100"), ("compression.type", codec)]);
        for number in 0..20 {
            let record = BaseRecord::<(), str>::to(&topic).partition(0).payload("x");
            send(&producer, record.timestamp(BASE_MS + number * 1000));
        }
        producer.flush(LIMIT).expect("all sent");
        let consumer = reader(bootstrap, &topic, Offset::Beginning);
        let asked = [
            (-1, Offset::Offset(0)),
            (0, Offset::Offset(0)),
            (7500, Offset::Offset(8)),
            (19_000, Offset::Offset(19)),
            (19_001, Offset::End),
        ];
        for (after, offset) in asked {
            let mut wanted = TopicPartitionList::new();
            let time = Offset::Offset(BASE_MS + after);
            wanted.add_partition_offset(&topic, 0, time).expect("a time");
            let found = consumer.offsets_for_times(wanted, LIMIT).expect("offsets");
            assert_eq!(found.elements()[0].offset(), offset, "{codec} {after}");
        }
    }
}
