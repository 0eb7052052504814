"""What is measured: each row runs one load on one broker and gives its figures by name."""

import json
import os
import subprocess
import sys
import time

import machine
import wire
from brokers import Floor, Strandline

MB = 1e6


class World:
    """What every row needs: binaries, the bucket, cgroups, sizes."""

    def __init__(self, root, folder, binary, quick):
        self.root, self.folder, self.binary, self.quick = root, folder, binary, quick
        self.cgroups = machine.Cgroups(4 << 30)
        self.priority = machine.Priority()
        self.sink = machine.Sink()
        self.floor = Floor(self)
        self.number = 0
        self.records = 200_000 if quick else 1_000_000
        self.seconds = 2 if quick else 5

    def topic(self, word):
        """A new name."""
        self.number += 1
        return f"{word}-{self.number}"

    def bench(self, broker, load, *arguments, real_time=False, topic=None):
        command = [self.binary, "bench", load, "--bootstrap", f"127.0.0.1:{broker.port}", "--json"]
        command += ["--topic", topic] if topic else []
        command += map(str, arguments)
        return machine.run_json(self.priority.wrap(command) if real_time else command)

    def forget(self, broker, topic):
        """Deletes a topic, and lets what was written reach the disk before the next one measures."""
        connection = wire.Connection(broker.port)
        code = connection.delete_topic(topic)
        connection.close()
        if code:
            machine.say(f"{broker.label} answers {code} to the deletion of {topic}")
        os.sync()

    def settled(self, uploaded_before, bytes_written):
        """Waits until nearly all of what was written is in the bucket."""
        goal = uploaded_before + 0.9 * bytes_written

        def there():
            return self.sink.count("PUT data", "bytes") >= goal

        if not machine.wait_until(there, 60):
            machine.say("uploads did not end within 60 s")

    def close(self):
        self.sink.stop()
        self.cgroups.remove()


def per_gb(amount, bytes_done):
    return amount / (bytes_done / 1e9)


# In flight are 5 MB at most, whether of one partition or of sixteen.
SHAPES = {1: ("1000KiB", 5), 16: ("64KiB", 80)}


def write(world, broker, topic, partitions, records, more=()):
    batch, in_flight = SHAPES[partitions]
    before = machine.cpu_seconds(broker.id)
    shape = ["--partitions", partitions, "--batch-bytes", batch, "--in-flight", in_flight]
    result = world.bench(
        broker, "produce", *shape, "--records", records, "--duration", "120s", *more, topic=topic
    )
    return result, machine.cpu_seconds(broker.id) - before


def produce(partitions, uploads):
    def row(world, broker):
        ours = isinstance(broker, Strandline)
        topic = world.topic("produce")
        counts, uploaded = world.sink.requests(), world.sink.count("PUT data", "bytes")
        if ours:
            world.sink.order("discard" if uploads else "refuse")
        before = machine.cpu_seconds(broker.id)
        result, used = write(world, broker, topic, partitions, world.records)
        figures = {
            "mb_per_second": result["megabytes_per_second"],
            "p99_ms": result["latency_ms"]["p99"],
            "client_cpu_s_per_gb": per_gb(result["client_cpu_seconds"], result["bytes"]),
        }
        if ours and uploads:
            world.settled(uploaded, result["bytes"])
            used = machine.cpu_seconds(broker.id) - before
            for what, now in world.sink.requests().items():
                figures[f"{what} per GB"] = per_gb(now - counts.get(what, 0), result["bytes"])
        figures["cpu_s_per_gb"] = per_gb(used, result["bytes"])
        if ours and not uploads:
            world.sink.order("discard")
            world.settled(uploaded, result["bytes"])
        world.forget(broker, topic)
        return figures

    return row


def produce_floor(world):
    megabytes = world.records // 1000
    figures = {}
    for name, kib in (("128 KiB", 128), ("1 MiB", 1024)):
        got = world.floor.run("stream", kib, megabytes, 0, 0)
        figures[f"mb_per_second, {name} a sync"] = got["megabytes_per_second"]
        figures[f"cpu_s_per_gb, {name} a sync"] = got["cpu_s_per_gb"]
    both = world.floor.run("stream", 1024, megabytes, 1, 0)
    # What the reader adds is what sending costs.
    figures["consume_cpu_s_per_gb"] = both["cpu_s_per_gb"] - figures["cpu_s_per_gb, 1 MiB a sync"]
    figures["mb_per_second"] = figures["mb_per_second, 1 MiB a sync"]
    figures["cpu_s_per_gb"] = figures["cpu_s_per_gb, 1 MiB a sync"]
    return figures


# One count for all: how fast a short read is depends on how short it is.
TAIL_RECORDS, TAIL_TIMES = 50_000, 20


def consume(partitions):
    def row(world, broker):
        topic = world.topic("tail")
        if isinstance(broker, Strandline):
            world.sink.order("refuse")
        written, _ = write(world, broker, topic, partitions, TAIL_RECORDS)
        times = TAIL_TIMES // 4 if world.quick else TAIL_TIMES
        before = machine.cpu_seconds(broker.id)
        result = world.bench(broker, "consume", "--times", times, "--duration", "60s", topic=topic)
        used = machine.cpu_seconds(broker.id) - before
        expected = written["records"] * times
        if result["records"] != expected:
            machine.say(f"{broker.label} gave {result['records']} records of {expected}")
        world.sink.order("discard")
        world.forget(broker, topic)
        return {
            "mb_per_second": result["megabytes_per_second"],
            "cpu_s_per_gb": per_gb(used, result["bytes"]),
            "client_cpu_s_per_gb": per_gb(result["client_cpu_seconds"], result["bytes"]),
        }

    return row


class RealTime:
    """A broker under real-time priority for as long as this is entered."""

    def __init__(self, world, broker):
        self.world, self.broker = world, broker

    def __enter__(self):
        self.world.priority.raise_to(self.broker.id, True)

    def __exit__(self, *_):
        self.world.priority.raise_to(self.broker.id, False)


def probe(world, broker, topic, rate, seconds):
    return world.bench(
        broker, "latency", "--rate", rate, "--warm-up", "1s", "--duration", f"{seconds}s",
        real_time=True, topic=topic,
    )["latency_ms"]


def ack(rate):
    def row(world, broker):
        topic = world.topic("ack")
        world.sink.order("discard")
        with RealTime(world, broker):
            before, began = machine.cpu_seconds(broker.id), time.monotonic()
            latency = probe(world, broker, topic, rate, world.seconds)
            cpu = (machine.cpu_seconds(broker.id) - before) / (time.monotonic() - began)
        world.forget(broker, topic)
        return {**{f"{name}_ms": value for name, value in latency.items()}, "cores": cpu}

    return row


def ack_floor(rate):
    def row(world):
        got = world.floor.run("sync", rate, world.seconds, real_time=True)
        return {"p50_ms": got["p50"], "p99_ms": got["p99"], "max_ms": got["max"]}

    return row


class Beside:
    """A load that runs beside what is measured, at the priority of everything else."""

    def __init__(self, world, broker, load, *arguments, topic):
        command = [world.binary, "bench", load, "--bootstrap", f"127.0.0.1:{broker.port}", "--json"]
        command += ["--topic", topic, *map(str, arguments)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self):
        out, error = self.child.communicate()
        try:
            return json.loads(out)
        except ValueError:
            raise RuntimeError(f"the load beside: {out}{error}") from None


def uploads_beside(world, broker):
    """Acks at 500/s while 40 MB/s are written, all of it uploaded or none of it."""
    figures = {}
    order = ["refuse", "discard"] if world.number % 2 else ["discard", "refuse"]
    for bodies in order:
        topic, load = world.topic("probe"), world.topic("load")
        uploaded = world.sink.count("PUT data", "bytes")
        world.sink.order(bodies)
        with RealTime(world, broker):
            beside = Beside(
                world, broker, "produce", "--rate", 40_000, "--batch-bytes", "100KiB",
                "--duration", f"{world.seconds + 4}s", topic=load,
            )
            time.sleep(1)
            latency = probe(world, broker, topic, 500, world.seconds + 1)
            written = beside.result()["bytes"]
        figures["on" if bodies == "discard" else "off"] = latency["p99"]
        world.sink.order("discard")
        world.settled(uploaded, written)
        world.forget(broker, topic)
        world.forget(broker, load)
    ratio = figures["on"] / figures["off"]
    return {"p99_ms uploads off": figures["off"], "p99_ms uploads on": figures["on"], "ratio": ratio}


def many(world, broker):
    """The same bytes in flight and a batch: from one connection, from 1,000, to 1,000 partitions."""
    shapes = {
        "one": ["--partitions", 1, "--connections", 1, "--in-flight", 1000],
        "connections": ["--partitions", 1, "--connections", 1000, "--in-flight", 1],
        "partitions": ["--partitions", 1000, "--connections", 1, "--in-flight", 1000],
    }
    figures = {}
    for name, shape in shapes.items():
        topic = world.topic("many")
        # The topic is there before anything is timed.
        world.bench(broker, "latency", "--records", 1, *shape[:2], topic=topic)
        before = machine.cpu_seconds(broker.id)
        uploaded = world.sink.count("PUT data", "bytes")
        world.sink.order("refuse")
        result = world.bench(
            broker, "produce", *shape, "--batch-bytes", "16KiB", "--records", world.records // 4,
            "--duration", "60s", topic=topic,
        )
        figures[f"cpu_s_per_gb {name}"] = per_gb(machine.cpu_seconds(broker.id) - before, result["bytes"])
        figures[f"mb_per_second {name}"] = result["megabytes_per_second"]
        world.sink.order("discard")
        world.settled(uploaded, result["bytes"])
        world.forget(broker, topic)
    for name in ("connections", "partitions"):
        figures[f"cpu ratio {name}"] = figures[f"cpu_s_per_gb {name}"] / figures["cpu_s_per_gb one"]
    return figures


def librdkafka_python(root):
    """A Python that has confluent-kafka: the one of the client tests, or this."""
    cache = os.environ.get("STRANDLINE_CACHE", f"{root}/.cache")
    for python in (f"{cache}/clients/bin/python", sys.executable):
        if os.path.exists(python):
            done = subprocess.run([python, "-c", "import confluent_kafka"], capture_output=True)
            if done.returncode == 0:
                return python
    return None


def librdkafka(world, broker):
    """The same by another client."""
    topic = world.topic("librdkafka")
    world.sink.order("refuse")
    uploaded = world.sink.count("PUT data", "bytes")
    world.bench(broker, "latency", "--records", 1, topic=topic)
    script = f"{world.root}/benches/compare/librdkafka.py"
    before = machine.cpu_seconds(broker.id)
    records = world.records // 4
    got = machine.run_json([librdkafka_python(world.root), script, str(broker.port), topic, str(records)])
    used = machine.cpu_seconds(broker.id) - before
    world.sink.order("discard")
    if isinstance(broker, Strandline):
        world.settled(uploaded, 1024 * records)
    world.forget(broker, topic)
    if got["failed"]:
        machine.say(f"{broker.label}: {got['failed']} records failed with librdkafka")
    return {
        "produce mb_per_second": got["produce"],
        "consume mb_per_second": got["consume"],
        "cpu_s_per_gb": per_gb(used, 1024 * records),
    }


class Cold:
    """Records that are in the bucket alone, and a broker that has just started."""

    RECORDS, PARTITIONS = 250_000, 4

    def __init__(self, world):
        self.world, self.topic = world, "cold"
        # The disk tier would survive the restarts that make it cold.
        self.broker = Strandline(world, "strandline-cold", "cold", ["--cache-disk", "0"])

    def prepare(self):
        world, broker = self.world, self.broker
        world.sink.order("keep")
        broker.start()
        records = self.RECORDS // (4 if world.quick else 1)
        uploaded = world.sink.count("PUT data", "bytes")
        written = world.bench(
            broker, "produce", "--partitions", self.PARTITIONS, "--batch-bytes", "250KiB",
            "--in-flight", 20, "--records", records, "--duration", "60s", topic=self.topic,
        )
        self.bytes = written["bytes"]
        world.settled(uploaded, self.bytes)
        # What is left goes to the bucket with the drain.
        broker.stop()
        broker.start()

    def restart(self):
        self.broker.stop()
        self.broker.start()


def replay_cold(paced):
    """One reader of everything, beside parallel ranged GETs of the same bytes."""

    def row(world, cold):
        # As S3 gives: 15 ms to the first byte, then 90 MB/s a request.
        world.sink.order("pace 15 90" if paced else "pace")
        cold.restart()
        before = world.sink.requests()
        cpu = machine.cpu_seconds(cold.broker.id)
        result = world.bench(cold.broker, "consume", "--duration", "60s", topic=cold.topic)
        cpu = machine.cpu_seconds(cold.broker.id) - cpu
        asked = world.sink.requests()
        alone = machine.run_json([
            world.binary, "bench", "bucket", "--bucket", f"s3://{world.sink.bucket}/cold",
            "--s3-endpoint", world.sink.endpoint, "--range-bytes", "8MiB", "--at-once", "8", "--json",
        ], env=world.sink.environment())
        world.sink.order("pace")
        gets = sum(asked.get(what, 0) - before.get(what, 0) for what in asked if what.startswith("GET"))
        return {
            "mb_per_second": result["megabytes_per_second"],
            "mb_per_second of object_store": alone["megabytes_per_second"],
            "ratio": result["megabytes_per_second"] / alone["megabytes_per_second"],
            "cpu_s_per_gb": per_gb(cpu, result["bytes"]),
            "GET per GB": per_gb(gets, result["bytes"]),
        }

    return row


def isolation(world, broker, topic):
    """A producer's acks at 500/s alone and beside 50 consumers that replay old records."""
    own = world.topic("isolated")
    with RealTime(world, broker):
        alone = probe(world, broker, own, 500, world.seconds)
        before = machine.cpu_seconds(broker.id)
        beside = Beside(
            world, broker, "replay", "--consumers", 50, "--duration", f"{world.seconds + 4}s", topic=topic,
        )
        time.sleep(1)
        crowded = probe(world, broker, own, 500, world.seconds)
        replay = beside.result()
        cpu = machine.cpu_seconds(broker.id) - before
    world.forget(broker, own)
    each = replay["each"]
    return {
        "p50_ms alone": alone["p50"],
        "p50_ms beside": crowded["p50"],
        "p99_ms alone": alone["p99"],
        "p99_ms beside": crowded["p99"],
        "ratio": crowded["p99"] / alone["p99"],
        "slowest by fastest": each["min"] / each["max"] if each["max"] else 0.0,
        "replay mb_per_second": replay["megabytes_per_second"],
        "cpu_s_per_gb": per_gb(cpu, replay["bytes"]) if replay["bytes"] else 0.0,
    }


def idle(world, make):
    """Start, idle memory, 1,000 idle connections, 10,000 idle partitions; of a broker of its own."""
    broker = make()
    figures = {"start_s": broker.start()}

    def cores(seconds):
        before = machine.cpu_seconds(broker.id)
        time.sleep(seconds)
        return (machine.cpu_seconds(broker.id) - before) / seconds

    try:
        time.sleep(1 if world.quick else 3)
        figures["rss_mb"] = machine.memory_mb(broker.id)
        figures["cores"] = cores(3)
        connections = []
        for _ in range(1000):
            connection = wire.Connection(broker.port)
            connection.api_versions()
            connections.append(connection)
        time.sleep(0.5)
        figures["rss_mb of 1,000 connections"] = machine.memory_mb(broker.id) - figures["rss_mb"]
        figures["cores of 1,000 connections"] = cores(3) - figures["cores"]
        for connection in connections:
            connection.close()
        time.sleep(0.5)
        before = machine.memory_mb(broker.id)
        connection = wire.Connection(broker.port, 300)
        count = 1_000 if world.quick else 10_000
        began = time.monotonic()
        code = connection.create_topic("idle", count)
        figures["create_s of 10,000 partitions"] = time.monotonic() - began
        connection.close()
        if code:
            machine.say(f"{broker.label} answers {code} to a topic of {count} partitions")
        time.sleep(2)
        figures["rss_mb of 10,000 partitions"] = machine.memory_mb(broker.id) - before
        figures["cores of 10,000 partitions"] = cores(3) - figures["cores"]
    finally:
        broker.remove()
    return figures


def restart(world):
    """Kill -9 with so much in the WAL; seconds to the first ack."""
    figures = {}
    for mib in (64,) if world.quick else (64, 256, 1024):
        broker = Strandline(world, "strandline-restart", f"restart-{world.topic('r')}")
        try:
            world.sink.order("discard")
            broker.start()
            world.sink.order("refuse")
            write(world, broker, "restart", 16, mib * 1024)
            broker.kill()
            world.sink.order("discard")
            figures[f"{mib} MiB"] = broker.start()
        finally:
            broker.remove()
    return figures


def budget(world):
    """What it holds after the runs with a budget of 200 MB, where it takes one."""
    told = subprocess.run([world.binary, "serve", "--help"], capture_output=True, text=True).stdout
    more = ["--memory-budget", "200MB"] if "--memory-budget" in told else []
    broker = Strandline(world, "strandline-budget", f"budget-{world.topic('b')}", more)
    try:
        # What is discarded could not be read back.
        world.sink.order("refuse")
        broker.start()
        for partitions in (1, 16):
            result, _ = write(world, broker, f"budget-{partitions}", partitions, world.records)
            world.bench(broker, "consume", "--duration", "30s", topic=f"budget-{partitions}")
        probe(world, broker, "budget-1", 5000, 2)
        figures = {
            "rss_mb": machine.memory_mb(broker.id),
            "highest rss_mb": machine.memory_mb(broker.id, "VmHWM"),
            "budget set": bool(more),
            "mb_per_second": result["megabytes_per_second"],
        }
    finally:
        broker.remove()
        world.sink.order("discard")
    return figures
