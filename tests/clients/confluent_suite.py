"""What users of confluent-kafka (librdkafka) depend on. Usage: confluent_suite.py HOST:PORT [NAME...]"""

import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from suite import eventually, fact, fresh, main


def admin(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


def one(futures):
    """The outcome of the one thing asked for."""
    (future,) = futures.values()
    return future.result(timeout=30)


def refused(code, futures):
    try:
        one(futures)
    except KafkaException as error:
        assert error.args[0].code() == code, error
        return error.args[0].str()
    raise AssertionError("it was not refused")


def topic(bootstrap, partitions=1, **configs):
    client, name = admin(bootstrap), fresh("confluent")
    one(client.create_topics([NewTopic(name, partitions, 1, config=configs)]))
    return name


def produce(bootstrap, name, values, partition=0, **options):
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, **options})
    for value in values:
        producer.produce(
            name,
            value,
            partition=partition,
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert not failures, failures


def read(bootstrap, name, count, offset=OFFSET_BEGINNING, **options):
    options = {"bootstrap.servers": bootstrap, "group.id": fresh("reader"), **options}
    consumer = Consumer({"enable.auto.commit": False, **options})
    consumer.assign([TopicPartition(name, 0, offset)])
    messages = []

    def enough():
        message = consumer.poll(0.5)
        if message is not None:
            assert message.error() is None, message.error()
            messages.append(message)
        return len(messages) >= count

    eventually(enough, every=0)
    consumer.close()
    return messages


@fact
def keys_values_headers_and_nulls_come_back(bootstrap):
    name = topic(bootstrap)
    headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]
    sent = [(b"k", b"v"), (None, b""), (b"", b"x"), (b"tombstone", None), (b"k", b"\x00" * 100_000)]
    producer = Producer({"bootstrap.servers": bootstrap})
    for key, value in sent:
        producer.produce(name, value, key=key, headers=headers, partition=0)
    assert producer.flush(30) == 0
    messages = read(bootstrap, name, len(sent))
    assert [(message.key(), message.value()) for message in messages] == sent
    assert [message.offset() for message in messages] == list(range(len(sent)))
    for message in messages:
        assert message.headers() == headers, message.headers()


@fact
def every_codec_comes_back(bootstrap):
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        name = topic(bootstrap)
        sent = [f"{codec} {number}".encode() * 50 for number in range(200)]
        produce(bootstrap, name, sent, **{"compression.type": codec})
        messages = read(bootstrap, name, len(sent), **{"check.crcs": True})
        assert [message.value() for message in messages] == sent, codec


@fact
def an_idempotent_producer_keeps_order(bootstrap):
    name = topic(bootstrap)
    sent = [str(number).encode() for number in range(5000)]
    produce(bootstrap, name, sent, **{"enable.idempotence": True, "batch.num.messages": 100})
    assert [message.value() for message in read(bootstrap, name, len(sent))] == sent


@fact
def log_append_time_is_the_broker_s(bootstrap):
    name = topic(bootstrap, **{"message.timestamp.type": "LogAppendTime"})
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(name, b"x", partition=0, timestamp=1_000)
    assert producer.flush(30) == 0
    kind, time = read(bootstrap, name, 1)[0].timestamp()
    assert kind == 2 and time > 1_700_000_000_000, (kind, time)


@fact
def a_batch_too_large_is_refused(bootstrap):
    name = topic(bootstrap, **{"max.message.bytes": "1000"})
    errors = []
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(
        name, b"x" * 2000, partition=0, on_delivery=lambda error, _: errors.append(error)
    )
    assert producer.flush(30) == 0
    assert errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE, errors


@fact
def a_group_shares_out_partitions_and_goes_on_where_it_was(bootstrap):
    for strategy in ["range,roundrobin", "cooperative-sticky"]:
        name, group = topic(bootstrap, partitions=4), fresh("group")
        for partition in range(4):
            produce(bootstrap, name, [b"x"] * 10, partition)

        def member():
            consumer = Consumer(
                {
                    "bootstrap.servers": bootstrap,
                    "group.id": group,
                    "auto.offset.reset": "earliest",
                    "enable.auto.commit": False,
                    "heartbeat.interval.ms": 500,
                    "session.timeout.ms": 10_000,
                    "partition.assignment.strategy": strategy,
                }
            )
            consumer.subscribe([name])
            return consumer

        seen = []

        def polled(*consumers):
            for consumer in consumers:
                message = consumer.poll(0.05)
                if message is not None and message.error() is None:
                    seen.append((message.partition(), message.offset()))
            return [len(consumer.assignment()) for consumer in consumers]

        first = member()
        eventually(lambda: polled(first) == [4] and len(seen) >= 40, every=0)
        first.commit(asynchronous=False)
        second = member()
        eventually(lambda: polled(first, second) == [2, 2], within=60, every=0)
        first.close()
        eventually(lambda: polled(second) == [4], within=60, every=0)
        produce(bootstrap, name, [b"y"], 0)
        eventually(lambda: polled(second) and (0, 10) in seen, every=0)
        assert len(set(seen)) == len(seen) == 41, f"{strategy}: nothing twice, nothing lost"
        second.commit(asynchronous=False)
        committed = second.committed([TopicPartition(name, 0)])[0].offset
        assert committed == 11, committed
        second.close()
        groups(bootstrap, group, name)


def groups(bootstrap, group, name):
    """A group is listed, described, moved and deleted."""
    client = admin(bootstrap)
    listed = client.list_consumer_groups().result(timeout=30)
    assert group in [entry.group_id for entry in listed.valid]
    described = one(client.describe_consumer_groups([group]))
    assert described.state.name == "EMPTY", described.state
    to = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0, 3)])
    one(client.alter_consumer_group_offsets([to]))
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0)])
    moved = one(client.list_consumer_group_offsets([asked]))
    assert moved.topic_partitions[0].offset == 3, moved.topic_partitions
    one(client.delete_consumer_groups([group]))


@fact
def a_consumer_starts_where_it_wants(bootstrap):
    name = topic(bootstrap)
    produce(bootstrap, name, [str(number).encode() for number in range(10)])
    for offset in [7, 0, 9]:
        assert read(bootstrap, name, 1, offset)[0].offset() == offset
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": fresh("reader")})
    assert consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=30) == (0, 10)
    consumer.close()


@fact
def a_time_is_looked_up_to_the_record(bootstrap):
    name, base = topic(bootstrap), 1_700_000_000_000
    options = {"linger.ms": 100, "compression.type": "zstd"}
    producer = Producer({"bootstrap.servers": bootstrap, **options})
    for number in range(20):
        producer.produce(name, b"x", partition=0, timestamp=base + number * 1000)
    assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": fresh("reader")})

    def at(time):
        return consumer.offsets_for_times([TopicPartition(name, 0, time)], timeout=30)[0].offset

    assert (at(base + 7500), at(base - 1)) == (8, 0)
    assert at(base + 60_000) < 0, "the end"
    consumer.close()
    client = admin(bootstrap)
    found = one(client.list_offsets({TopicPartition(name, 0): OffsetSpec.max_timestamp()}))
    assert (found.offset, found.timestamp) == (19, base + 19_000), found


@fact
def topics_are_created_once_and_as_asked(bootstrap):
    client, name = admin(bootstrap), fresh("confluent")
    new = NewTopic(name, 3, 1, config={"cleanup.policy": "compact"})
    one(client.create_topics([new], validate_only=True))
    assert name not in client.list_topics(timeout=30).topics
    one(client.create_topics([new]))
    assert len(client.list_topics(name, timeout=30).topics[name].partitions) == 3
    refused(KafkaError.TOPIC_ALREADY_EXISTS, client.create_topics([new]))
    refused(KafkaError.TOPIC_EXCEPTION, client.create_topics([NewTopic("not a topic", 1, 1)]))
    bad = NewTopic(fresh("t"), 1, 1, config={"cleanup.policy": "shred"})
    text = refused(KafkaError.INVALID_CONFIG, client.create_topics([bad]))
    assert "String must be one of: compact, delete" in text, text
    one(client.delete_topics([name]))
    eventually(lambda: name not in client.list_topics(timeout=30).topics)
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, client.delete_topics([name]))


@fact
def partitions_are_added_and_used(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap)
    one(client.create_partitions([NewPartitions(name, 4)]))
    refused(KafkaError.INVALID_PARTITIONS, client.create_partitions([NewPartitions(name, 2)]))
    produce(bootstrap, name, [b"x"], partition=3)


@fact
def configs_are_shown_set_and_unset(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap)

    def shown(key):
        return one(client.describe_configs([ConfigResource(ResourceType.TOPIC, name)]))[key]

    def alter(key, operation, value=None):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        return client.incremental_alter_configs([resource])

    assert shown("retention.ms").value == "604800000" and shown("retention.ms").is_default
    one(alter("retention.ms", AlterConfigOpType.SET, "1000"))
    assert shown("retention.ms").value == "1000" and not shown("retention.ms").is_default
    refused(KafkaError.INVALID_CONFIG, alter("retention.ms", AlterConfigOpType.SET, "-2"))
    one(alter("cleanup.policy", AlterConfigOpType.APPEND, "compact"))
    assert shown("cleanup.policy").value == "delete,compact"
    one(alter("retention.ms", AlterConfigOpType.DELETE))
    assert shown("retention.ms").value == "604800000"
    missing = ConfigResource(ResourceType.TOPIC, fresh("missing"))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, client.describe_configs([missing]))


@fact
def deleted_records_are_gone(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap)
    produce(bootstrap, name, [str(number).encode() for number in range(10)])
    assert one(client.delete_records([TopicPartition(name, 0, 4)])).low_watermark == 4
    assert read(bootstrap, name, 1)[0].offset() == 4
    beyond = client.delete_records([TopicPartition(name, 0, 11)])
    refused(KafkaError.OFFSET_OUT_OF_RANGE, beyond)


@fact
def the_cluster_is_described(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap)
    cluster = client.describe_cluster().result(timeout=30)
    assert cluster.cluster_id and len(cluster.nodes) >= 1, cluster
    listed = client.list_topics(timeout=30)
    assert listed.cluster_id == cluster.cluster_id
    from confluent_kafka import TopicCollection

    described = one(client.describe_topics(TopicCollection([name])))
    assert described.partitions[0].leader is not None, described


@fact
def versions_named_by_hand_are_served_from_0_10_on(bootstrap):
    name = topic(bootstrap)
    for count, version in enumerate(["0.10.0", "0.11.0", "2.8.0"], 1):
        old = {"api.version.request": False, "broker.version.fallback": version, "log_level": 3}
        produce(bootstrap, name, [version.encode()], **old)
        messages = read(bootstrap, name, count, **old)
        assert messages[-1].value() == version.encode()


@fact
def a_transactional_producer_is_told_at_once(bootstrap):
    id = {"transactional.id": fresh("id"), "log_level": 0}
    producer = Producer({"bootstrap.servers": bootstrap, **id})
    began = time.monotonic()
    try:
        producer.init_transactions(20)
        raise AssertionError("it started")
    except KafkaException as error:
        told = error.args[0]
        assert told.fatal() and not told.retriable(), told
        assert told.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, told
        assert time.monotonic() - began < 4, f"retried: {told}"


main()
