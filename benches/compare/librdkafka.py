"""A second opinion: `librdkafka.py PORT TOPIC RECORDS` writes so many records of 1 KiB by
confluent-kafka and reads them back, and prints both rates as one line of JSON. Python makes each
record, so the client is much of what is seen: it holds for a ratio of brokers, not for a rate."""

import json
import os
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition


def main():
    port, topic, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
    servers = {"bootstrap.servers": f"127.0.0.1:{port}"}
    value, size = os.urandom(1024), 1024 * records / 1e6
    producer = Producer({
        **servers, "acks": "all", "linger.ms": 5, "batch.size": 1_000_000,
        "queue.buffering.max.messages": 200_000, "queue.buffering.max.kbytes": 300_000,
    })
    failed = []

    def delivered(error, _):
        if error:
            failed.append(str(error))

    began = time.monotonic()
    for number in range(records):
        while True:
            try:
                producer.produce(topic, value, partition=0, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.01)
        if number % 1000 == 0:
            producer.poll(0)
    left = producer.flush(60)
    wrote = time.monotonic() - began
    consumer = Consumer({**servers, "group.id": "compare", "enable.auto.commit": False,
                         "fetch.message.max.bytes": 8 << 20})
    consumer.assign([TopicPartition(topic, 0, 0)])
    began, got = time.monotonic(), 0
    while got < records and time.monotonic() - began < 60:
        got += len(consumer.consume(10_000, 5))
    read = time.monotonic() - began
    consumer.close()
    print(json.dumps({"produce": size / wrote, "consume": got * 1024 / 1e6 / read,
                      "failed": len(failed) + left + records - got}))


if __name__ == "__main__":
    main()
