"""What users of kafka-python depend on. Usage: kafka_python_suite.py HOST:PORT [NAME...]"""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType
from kafka.errors import (
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    TransactionalIdAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from kafka.protocol.admin import IncrementalAlterConfigsRequest

from suite import eventually, fact, fresh, main


def admin(bootstrap):
    return KafkaAdminClient(bootstrap_servers=bootstrap)


def topic(bootstrap, partitions=1, **configs):
    name = fresh("kafka-python")
    client = admin(bootstrap)
    options = {"num_partitions": partitions, "replication_factor": 1, "configs": configs}
    client.create_topics({name: options})
    client.close()
    return name


def read(bootstrap, name, count, **options):
    """The first `count` records of partition 0."""
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **options}
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, **options)
    consumer.assign([TopicPartition(name, 0)])
    records = []

    def enough():
        for batch in consumer.poll(timeout_ms=500).values():
            records.extend(batch)
        return len(records) >= count

    eventually(enough)
    consumer.close()
    return records


@fact
def keys_values_headers_and_nulls_come_back(bootstrap):
    name = topic(bootstrap)
    headers = [("a", b"1"), ("a", b"2"), ("empty", b"")]
    sent = [(b"k", b"v"), (None, b""), (b"", b"x"), (b"tombstone", None), (b"k", b"\x00" * 100_000)]
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for key, value in sent:
        producer.send(name, value, key=key, headers=headers, partition=0)
    producer.close()
    records = read(bootstrap, name, len(sent))
    assert [(record.key, record.value) for record in records] == sent
    assert [record.offset for record in records] == list(range(len(sent)))
    for record in records:
        assert list(record.headers) == headers, record.headers


@fact
def every_codec_comes_back(bootstrap):
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        name = topic(bootstrap)
        producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=50)
        sent = [f"{codec} {number}".encode() * 50 for number in range(200)]
        for value in sent:
            producer.send(name, value, partition=0)
        producer.close()
        assert [record.value for record in read(bootstrap, name, len(sent))] == sent, codec


@fact
def the_topic_s_codec_replaces_the_producer_s(bootstrap):
    for codec in ["gzip", "snappy", "lz4", "zstd", "uncompressed"]:
        name = topic(bootstrap, **{"compression.type": codec})
        producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50)
        sent = [str(number).encode() * 50 for number in range(100)]
        for value in sent:
            producer.send(name, value, partition=0)
        producer.close()
        assert [record.value for record in read(bootstrap, name, len(sent))] == sent, codec


@fact
def a_producer_without_idempotence_is_served(bootstrap):
    name = topic(bootstrap)
    for acks in [0, 1, "all"]:
        producer = KafkaProducer(bootstrap_servers=bootstrap, acks=acks, enable_idempotence=False)
        producer.send(name, str(acks).encode(), partition=0)
        producer.flush()
        producer.close()
    values = {record.value for record in read(bootstrap, name, 3)}
    assert values == {b"0", b"1", b"all"}, values


@fact
def a_group_shares_out_partitions_and_goes_on_where_it_was(bootstrap):
    name, group = topic(bootstrap, partitions=4), fresh("group")
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for number in range(40):
        producer.send(name, str(number).encode(), partition=number % 4)
    producer.flush()

    def member():
        consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=500,
            session_timeout_ms=10_000,
        )
        consumer.subscribe([name])
        return consumer

    seen = []

    def polled(*consumers):
        for consumer in consumers:
            for batch in consumer.poll(timeout_ms=200).values():
                seen.extend(int(record.value) for record in batch)
        return [len(consumer.assignment()) for consumer in consumers]

    first = member()
    eventually(lambda: polled(first) == [4] and len(seen) >= 40)
    assert sorted(seen) == list(range(40))
    first.commit()
    second = member()
    eventually(lambda: polled(first, second) == [2, 2], within=60)
    first.close()
    eventually(lambda: polled(second) == [4], within=60)
    producer.send(name, b"40", partition=0)
    producer.close()
    eventually(lambda: polled(second) and 40 in seen)
    assert sorted(seen) == list(range(41)), "the second member started where the first had committed"
    second.commit()
    assert second.committed(TopicPartition(name, 0)) == 11
    second.close()

    client = admin(bootstrap)
    offsets = client.list_group_offsets({group: None})[group]
    assert sum(offset.offset for offset in offsets.values()) == 41, offsets
    assert any(group in str(listed) for listed in client.list_groups())
    eventually(lambda: client.delete_groups([group]) is not None)
    client.close()


@fact
def a_consumer_seeks_where_it_wants(bootstrap):
    name = topic(bootstrap)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for number in range(10):
        producer.send(name, str(number).encode(), partition=0)
        producer.flush()
    producer.close()
    partition = TopicPartition(name, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([partition])

    def first():
        for batch in consumer.poll(timeout_ms=200, max_records=1).values():
            return batch[0]
        return None

    for offset in [7, 0, 9]:
        consumer.seek(partition, offset)
        assert eventually(first).offset == offset
    consumer.seek_to_end(partition)
    assert consumer.position(partition) == 10
    consumer.seek_to_beginning(partition)
    assert eventually(first).offset == 0
    assert consumer.beginning_offsets([partition])[partition] == 0
    assert consumer.end_offsets([partition])[partition] == 10
    consumer.close()


@fact
def a_time_is_looked_up_to_the_record(bootstrap):
    name = topic(bootstrap)
    base = 1_700_000_000_000
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=100, compression_type="lz4")
    for number in range(20):
        producer.send(name, b"x", partition=0, timestamp_ms=base + number * 1000)
    producer.close()
    partition = TopicPartition(name, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    found = consumer.offsets_for_times({partition: base + 7500})[partition]
    assert (found.offset, found.timestamp) == (8, base + 8000), found
    assert consumer.offsets_for_times({partition: base - 1})[partition].offset == 0
    assert consumer.offsets_for_times({partition: base + 60_000})[partition] is None
    consumer.close()


@fact
def topics_are_created_once_and_as_asked(bootstrap):
    client, name = admin(bootstrap), fresh("kafka-python")
    client.create_topics({name: {"num_partitions": 3}}, validate_only=True)
    assert name not in client.list_topics()
    configs = {"retention.ms": "3600000", "cleanup.policy": "compact,delete"}
    client.create_topics({name: {"num_partitions": 3, "replication_factor": 1, "configs": configs}})
    assert name in client.list_topics()
    described = client.describe_topics([name])[0]
    assert len(described["partitions"]) == 3, described

    def refused(error, wrong, options):
        try:
            client.create_topics({wrong: options})
        except error:
            return
        raise AssertionError(f"{wrong} {options} was not refused")

    refused(TopicAlreadyExistsError, name, {})
    refused(InvalidTopicError, "not a topic", {})
    refused(InvalidTopicError, name.replace("-", ".", 1) + "/", {})
    refused(InvalidConfigurationError, fresh("t"), {"configs": {"no.such.config": "1"}})
    refused(InvalidConfigurationError, fresh("t"), {"configs": {"retention.ms": "soon"}})
    refused(InvalidPartitionsError, fresh("t"), {"num_partitions": 0})
    refused(InvalidReplicationFactorError, fresh("t"), {"replication_factor": 0})
    client.delete_topics([name])
    eventually(lambda: name not in client.list_topics())
    try:
        client.delete_topics([name])
        raise AssertionError("deleted twice")
    except UnknownTopicOrPartitionError:
        pass
    client.close()


@fact
def partitions_are_added_and_used(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap)
    client.create_partitions({name: 4})
    assert len(client.describe_topics([name])[0]["partitions"]) == 4
    try:
        client.create_partitions({name: 2})
        raise AssertionError("a topic shrank")
    except InvalidPartitionsError:
        pass
    client.close()
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    assert producer.send(name, b"x", partition=3).get(timeout=10).partition == 3
    producer.close()


@fact
def configs_are_shown_set_and_unset(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap)

    def shown(key):
        found = client.describe_configs([ConfigResource("topic", name)], config_filter="all")
        return found["topic"][name][key]

    default = shown("retention.ms")
    assert (default["value"], default["config_source"]) == ("604800000", "DEFAULT_CONFIG"), default
    change = ConfigResource("topic", name, {"retention.ms": "1000"})
    assert client.alter_configs([change])["topic"][name] == "OK"
    changed = shown("retention.ms")
    assert changed["value"] == "1000" and "TOPIC" in changed["config_source"], changed
    wrong = ConfigResource("topic", name, {"retention.ms": "-2"})
    assert "at least -1" in client.alter_configs([wrong])["topic"][name]
    appended = ConfigResource("topic", name, {"cleanup.policy": ("APPEND", "compact")})
    assert client.alter_configs([appended])["topic"][name] == "OK"
    assert shown("cleanup.policy")["value"] == "delete,compact"
    client.reset_configs([ConfigResource("topic", name, ["retention.ms"])])
    assert shown("retention.ms")["value"] == "604800000"
    whole = ConfigResource("topic", name, {"max.message.bytes": "2000"})
    assert client.alter_configs([whole], incremental=False)["topic"][name] == "OK"
    assert shown("max.message.bytes")["value"] == "2000"
    broker = str(client.describe_cluster()["brokers"][0]["broker_id"])
    found = client.describe_configs([ConfigResource("broker", broker)], config_filter="all")
    assert found["broker"][broker]["num.partitions"]["read_only"]
    client.close()


@fact
def what_is_set_for_all_brokers_acts_on_topics_without_their_own(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap)
    own = topic(bootstrap, **{"max.message.bytes": "100000"})
    # An idempotent producer of this client takes nothing more after a refused batch.
    producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=False)

    def alter(operation, value):
        # The client's own face has no name for the resource of all brokers.
        resource = (ConfigResourceType.BROKER, "", [("message.max.bytes", operation, value)])
        request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=False)
        response = client._manager.run(client._manager.send, request)
        assert response.responses[0].error_code == 0, response

    alter(AlterConfigOp.SET, "1500")
    try:
        producer.send(name, b"x" * 2000, partition=0).get(timeout=10)
        raise AssertionError("a batch over the limit was taken")
    except MessageSizeTooLargeError:
        pass
    finally:
        producer.send(own, b"x" * 2000, partition=0).get(timeout=10)
        alter(AlterConfigOp.DELETE, None)
    producer.send(name, b"x" * 2000, partition=0).get(timeout=10)
    producer.close()
    client.close()


@fact
def deleted_records_are_gone(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap)
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for number in range(10):
        producer.send(name, str(number).encode(), partition=0)
    producer.close()
    partition = TopicPartition(name, 0)
    client.delete_records({partition: 4})
    assert [record.offset for record in read(bootstrap, name, 6)] == [4, 5, 6, 7, 8, 9]
    try:
        client.delete_records({partition: 11})
        raise AssertionError("deleted beyond the end")
    except OffsetOutOfRangeError:
        pass
    client.delete_records({partition: -1})
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    assert consumer.beginning_offsets([partition])[partition] == 10
    consumer.close()
    client.close()


@fact
def the_cluster_and_its_directories_are_described(bootstrap):
    client, name = admin(bootstrap), topic(bootstrap, partitions=2)
    cluster = client.describe_cluster()
    assert cluster["cluster_id"] and len(cluster["brokers"]) >= 1, cluster
    directories = [entry for broker in client.describe_log_dirs() for entry in broker["log_dirs"]]
    assert directories and all(entry["error_code"] == 0 for entry in directories), directories
    page = client.describe_topic_partitions([name], response_partition_limit=1)
    assert page, page
    client.list_partition_reassignments()
    assert name in client.list_config_resources(["TOPIC"])["topic"]
    client.close()


@fact
def versions_named_by_hand_are_served_from_0_11_on(bootstrap):
    name = topic(bootstrap)
    for count, version in enumerate([(0, 11), (1, 0), (2, 1), (3, 9)], 1):
        producer = KafkaProducer(
            bootstrap_servers=bootstrap, api_version=version, enable_idempotence=False
        )
        headers = [("version", str(version).encode())]
        producer.send(name, b"x", headers=headers, partition=0).get(timeout=10)
        producer.close()
        records = read(bootstrap, name, count, api_version=version)
        assert list(records[-1].headers) == headers, records


@fact
def a_transactional_producer_is_told_at_once(bootstrap):
    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=fresh("id"))
    began = time.monotonic()
    try:
        producer.init_transactions()
        raise AssertionError("it started")
    except TransactionalIdAuthorizationFailedError:
        assert time.monotonic() - began < 4, "retried"
    finally:
        producer.close(timeout=1)


main()
