"""The few Kafka requests the comparison makes itself: create and delete topics, write one record."""

import socket
import struct
import time


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def one_record():
    """A record batch of one record without key whose value is `x`."""
    record = bytes([0, 0, 0, 1, 2]) + b"x" + bytes([0])
    record = bytes([len(record) * 2]) + record
    now = int(time.time() * 1000)
    tail = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + record
    head = struct.pack(">ibI", -1, 2, crc32c(tail))
    return struct.pack(">qi", 0, len(head) + len(tail)) + head + tail


class Connection:
    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        self.socket.close()

    def call(self, key, version, body):
        frame = struct.pack(">hhi", key, version, 1) + text("compare") + body
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        length = struct.unpack(">i", self.read(4))[0]
        return self.read(length)[4:]

    def read(self, length):
        data = b""
        while len(data) < length:
            got = self.socket.recv(length - len(data))
            if not got:
                raise ConnectionError("the broker closed the connection")
            data += got
        return data

    def api_versions(self):
        return self.call(18, 0, b"")

    def create_topic(self, name, partitions):
        """The error code."""
        topic = text(name) + struct.pack(">ihii", partitions, 1, 0, 0)
        answer = self.call(19, 2, struct.pack(">i", 1) + topic + struct.pack(">ib", 120_000, 0))
        return struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name.encode()))[0]

    def delete_topic(self, name):
        """The error code."""
        body = struct.pack(">i", 1) + text(name) + struct.pack(">i", 60_000)
        answer = self.call(20, 1, body)
        return struct.unpack_from(">h", answer, 4 + 4 + 2 + len(name.encode()))[0]

    def produce(self, topic, batch):
        """The error code of writing `batch` to partition 0."""
        head = struct.pack(">hhii", -1, -1, 30_000, 1) + text(topic)
        body = head + struct.pack(">iii", 1, 0, len(batch)) + batch
        answer = self.call(0, 3, body)
        return struct.unpack_from(">h", answer, 4 + 2 + len(topic.encode()) + 4 + 4)[0]


def first_ack(port, topic, ended, limit=120):
    """Connects, creates a topic and writes a record to it, as soon as all that goes."""
    batch = one_record()
    until, why = time.monotonic() + limit, "nobody listens"
    while time.monotonic() < until:
        if ended():
            raise RuntimeError("the broker ended before its first ack")
        try:
            connection = Connection(port, 10)
            # 36: it is there already.
            code = connection.create_topic(topic, 1)
            if code in (0, 36):
                code = connection.produce(topic, batch)
                if code == 0:
                    return
            why = f"error code {code}"
            connection.close()
        except OSError as error:
            why = str(error)
        time.sleep(0.002)
    raise TimeoutError(f"no ack from port {port} in {limit} s: {why}")
