"""What users of aiokafka depend on. Usage: aiokafka_suite.py HOST:PORT [NAME...]"""

import asyncio
import contextlib
import functools
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    TransactionalIdAuthorizationFailed,
)

import suite
from suite import fresh, main


def fact(function):
    @suite.fact
    @functools.wraps(function)
    def run(bootstrap):
        asyncio.run(asyncio.wait_for(function(bootstrap), 90))

    return run


async def eventually(question, within=30):
    async with asyncio.timeout(within):
        while not (answer := await question()):
            await asyncio.sleep(0.05)
        return answer


@contextlib.asynccontextmanager
async def administrator(bootstrap):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def topic(bootstrap, partitions=1, **configs):
    name = fresh("aiokafka")
    async with administrator(bootstrap) as admin:
        new = NewTopic(name, partitions, 1, topic_configs=configs)
        answer = await admin.create_topics([new])
        assert answer.topic_errors[0][1] == 0, answer
    return name


async def produce(bootstrap, name, values, partition=0, **options):
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **options) as producer:
        sent = [await producer.send(name, value, partition=partition) for value in values]
        await asyncio.gather(*sent)


async def read(bootstrap, name, count):
    """The first `count` records of partition 0."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(name, 0)])
    async with consumer:
        return [await consumer.getone() for _ in range(count)]


@fact
async def keys_values_headers_and_nulls_come_back(bootstrap):
    name = await topic(bootstrap)
    headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]
    sent = [(b"k", b"v"), (None, b""), (b"", b"x"), (b"tombstone", None), (b"k", b"\x00" * 100_000)]
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for key, value in sent:
            await producer.send_and_wait(name, value, key=key, partition=0, headers=headers)
    records = await read(bootstrap, name, len(sent))
    assert [(record.key, record.value) for record in records] == sent
    assert [record.offset for record in records] == list(range(len(sent)))
    for record in records:
        assert list(record.headers) == headers, record.headers


@fact
async def every_codec_comes_back(bootstrap):
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        name = await topic(bootstrap)
        sent = [f"{codec} {number}".encode() * 50 for number in range(200)]
        await produce(bootstrap, name, sent, compression_type=codec, linger_ms=50)
        records = await read(bootstrap, name, len(sent))
        assert [record.value for record in records] == sent, codec


@fact
async def idempotent_and_every_kind_of_acknowledgement_is_served(bootstrap):
    name = await topic(bootstrap)
    kinds = [{"acks": 0}, {"acks": 1}, {"acks": "all"}, {"enable_idempotence": True}]
    for number, kind in enumerate(kinds):
        await produce(bootstrap, name, [str(number).encode()], **kind)
    records = await read(bootstrap, name, len(kinds))
    assert sorted(record.value for record in records) == [b"0", b"1", b"2", b"3"]
    name, sent = await topic(bootstrap), [str(number).encode() for number in range(3000)]
    await produce(bootstrap, name, sent, enable_idempotence=True, max_batch_size=1000)
    assert [record.value for record in await read(bootstrap, name, len(sent))] == sent


@fact
async def a_batch_too_large_is_refused(bootstrap):
    name = await topic(bootstrap, **{"max.message.bytes": "1000"})
    try:
        await produce(bootstrap, name, [b"x" * 2000])
        raise AssertionError("it was taken")
    except MessageSizeTooLargeError:
        pass


@fact
async def a_group_shares_out_partitions_and_goes_on_where_it_was(bootstrap):
    name, group = await topic(bootstrap, partitions=4), fresh("group")
    for partition in range(4):
        await produce(bootstrap, name, [b"x"] * 10, partition)

    async def member():
        consumer = AIOKafkaConsumer(
            name,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=500,
            session_timeout_ms=10_000,
        )
        await consumer.start()
        return consumer

    seen = []

    async def shares(*consumers):
        for consumer in consumers:
            for batch in (await consumer.getmany(timeout_ms=50)).values():
                seen.extend((record.partition, record.offset) for record in batch)
        return [len(consumer.assignment()) for consumer in consumers]

    async def are(wanted, count, *consumers):
        return await shares(*consumers) == wanted and len(seen) == count

    first = await member()
    await eventually(lambda: are([4], 40, first))
    await first.commit()
    joining = asyncio.create_task(member())

    async def joined():
        await shares(first)
        return joining.done()

    await eventually(joined)
    second = await joining
    await eventually(lambda: are([2, 2], 40, first, second))
    await first.stop()
    await eventually(lambda: are([4], 40, second))
    await produce(bootstrap, name, [b"y"], 3)
    await eventually(lambda: are([4], 41, second))
    assert len(set(seen)) == 41, "nothing twice, nothing lost"
    await second.commit()
    assert await second.committed(TopicPartition(name, 3)) == 11
    await second.stop()
    async with administrator(bootstrap) as admin:
        assert group in [entry[0] for entry in await admin.list_consumer_groups()]
        (told,) = await admin.describe_consumer_groups([group])
        assert (group, "Empty") in [entry[1:3] for entry in told.groups], told
        offsets = await admin.list_consumer_group_offsets(group)
        assert sum(entry.offset for entry in offsets.values()) == 41, offsets


@fact
async def a_consumer_seeks_where_it_wants(bootstrap):
    name = await topic(bootstrap)
    await produce(bootstrap, name, [str(number).encode() for number in range(10)])
    partition = TopicPartition(name, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    consumer.assign([partition])
    async with consumer:
        for offset in [7, 0, 9]:
            consumer.seek(partition, offset)
            assert (await consumer.getone()).offset == offset
        await consumer.seek_to_end(partition)
        assert await consumer.position(partition) == 10
        await consumer.seek_to_beginning(partition)
        assert (await consumer.getone()).offset == 0
        assert await consumer.beginning_offsets([partition]) == {partition: 0}
        assert await consumer.end_offsets([partition]) == {partition: 10}


@fact
async def an_offset_out_of_range_is_told(bootstrap):
    name = await topic(bootstrap)
    await produce(bootstrap, name, [b"x"])
    partition = TopicPartition(name, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none")
    consumer.assign([partition])
    async with consumer:
        consumer.seek(partition, 5)
        try:
            await consumer.getone()
            raise AssertionError("it read what is not there")
        except OffsetOutOfRangeError:
            pass


@fact
async def a_time_is_looked_up_to_the_record(bootstrap):
    for codec in [None, "zstd"]:
        name, base = await topic(bootstrap), 1_700_000_000_000
        options = {"linger_ms": 100, "compression_type": codec}
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, **options) as producer:
            for number in range(20):
                time = base + number * 1000
                await producer.send(name, b"x", partition=0, timestamp_ms=time)
        partition = TopicPartition(name, 0)
        async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
            for after, offset in [(-1, 0), (0, 0), (7500, 8), (19_000, 19)]:
                found = (await consumer.offsets_for_times({partition: base + after}))[partition]
                assert (found.offset, found.timestamp) == (offset, base + offset * 1000), found
            found = await consumer.offsets_for_times({partition: base + 19_001})
            assert found == {partition: None}, found


@fact
async def topics_partitions_and_configs_are_administered(bootstrap):
    name = fresh("aiokafka")
    async with administrator(bootstrap) as admin:
        new = NewTopic(name, 2, 1, topic_configs={"cleanup.policy": "compact"})
        await admin.create_topics([new], validate_only=True)
        assert name not in await admin.list_topics()
        await admin.create_topics([new])
        assert name in await admin.list_topics()
        answer = await admin.create_topics([new])
        assert answer.topic_errors[0][1] == TopicAlreadyExistsError.errno, answer
        await admin.create_partitions({name: NewPartitions(4)})
        (told,) = await admin.describe_topics([name])
        assert len(told["partitions"]) == 4, told

        async def shown(key):
            asked = ConfigResource(ConfigResourceType.TOPIC, name)
            (answer,) = await admin.describe_configs([asked])
            assert answer.resources[0][0] == 0, answer
            return {entry[0]: entry[1] for entry in answer.resources[0][4]}[key]

        assert await shown("cleanup.policy") == "compact"
        whole = ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "1000"})
        await admin.alter_configs([whole])
        assert await shown("retention.ms") == "1000"
        assert await shown("cleanup.policy") == "delete", "the whole set was replaced"
        assert (await admin.describe_cluster())["cluster_id"]
        await admin.delete_topics([name])

        async def gone():
            return name not in await admin.list_topics()

        await eventually(gone)


@fact
async def deleted_records_are_gone(bootstrap):
    name = await topic(bootstrap)
    await produce(bootstrap, name, [str(number).encode() for number in range(10)])
    partition = TopicPartition(name, 0)
    async with administrator(bootstrap) as admin:
        answer = await admin.delete_records({partition: RecordsToDelete(before_offset=4)})
        assert answer == {partition: 4}, answer
        assert (await read(bootstrap, name, 1))[0].offset == 4
        try:
            await admin.delete_records({partition: RecordsToDelete(before_offset=11)})
            raise AssertionError("deleted beyond the end")
        except OffsetOutOfRangeError:
            pass


@fact
async def a_transactional_producer_is_told_at_once(bootstrap):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=fresh("id"))
    began = time.monotonic()
    try:
        await asyncio.wait_for(producer.start(), 15)
        raise AssertionError("it started")
    except TransactionalIdAuthorizationFailed:
        assert time.monotonic() - began < 4, "retried"
    finally:
        await producer.stop()


main()
