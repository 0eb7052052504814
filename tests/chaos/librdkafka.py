"""librdkafka under chaos: one idempotent producer or one follower, which take down what they were told.

Usage: librdkafka.py BOOTSTRAP TOPIC PARTITION produce|follow PROCESS. One JSON operation a line, times in
microseconds of the machine's monotonic clock. Ends when standard input closes; the follower then reads on to
the offset that the last line of standard input names.
"""

import json
import sys
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

# CRC32C, as the values carry it.
TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def now():
    return time.monotonic_ns() // 1000


def tell(start, outcome, what):
    line = {"start": start, "end": now(), "outcome": outcome, "what": what}
    print(json.dumps(line), flush=True)


class Orders:
    """Standard input: open as long as there is work."""

    def __init__(self):
        self.closed = threading.Event()
        self.last = None
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in sys.stdin:
            self.last = line.strip()
        self.closed.set()


def produce(bootstrap, topic, partition, process):
    orders = Orders()
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.timeout.ms": 120000,
            "reconnect.backoff.max.ms": 300,
            "socket.timeout.ms": 4000,
        }
    )
    sequence = 0

    def delivered(start, number):
        def done(error, message):
            base = None if error else message.offset()
            value = {"producer": process, "sequence": number}
            what = {"send": {"values": [value], "base": base}}
            tell(start, "info" if error else "ok", what)

        return done

    while not orders.closed.is_set():
        text = f"{process}/{sequence}/librdkafka".encode()
        value = text + f"/{crc32c(text):08x}".encode()
        callback = delivered(now(), sequence)
        try:
            producer.produce(topic, value, partition=partition, on_delivery=callback)
            sequence += 1
        except BufferError:
            pass
        producer.poll(0.005)
    producer.flush(60)


def follow(bootstrap, topic, partition, _process):
    orders = Orders()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "reconnect.backoff.max.ms": 300,
            "fetch.wait.max.ms": 100,
            "auto.offset.reset": "error",
        }
    )
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    tell(now(), "ok", {"assign": {"from": 0}})
    at = 0
    while True:
        end = int(orders.last) if orders.closed.is_set() else None
        if end is not None and at >= end:
            break
        start = now()
        batches = []
        for message in consumer.consume(200, timeout=0.2):
            if message.error():
                if message.error().code() in (1, -140):
                    tell(start, "fail", {"assign": {"from": -1}})
                continue
            producer, sequence = message.value().split(b"/")[:2]
            value = {"producer": int(producer), "sequence": int(sequence)}
            offset = message.offset()
            batches.append({"base": offset, "end": offset + 1, "records": [[offset, value]]})
        if batches:
            tell(start, "ok", {"poll": {"from": at, "batches": batches}})
            at = batches[-1]["end"]


if __name__ == "__main__":
    bootstrap, topic, partition, kind, process = sys.argv[1:]
    {"produce": produce, "follow": follow}[kind](bootstrap, topic, int(partition), int(process))
