"""The brokers compared, behind one face: where they listen, what they use, how they start."""

import os
import shutil
import subprocess
import time

import machine
import wire


class Strandline:
    label = "Strandline"

    def __init__(self, world, name, prefix, more=()):
        self.world, self.name, self.prefix, self.more = world, name, prefix, list(more)
        self.folder = f"{world.folder}/{name}"
        self.port, self.http = machine.free_port(), None
        self.process = None

    def start(self):
        """Starts it; seconds until its first ack."""
        self.http = self.port + 1
        sink = self.world.sink
        command = [
            self.world.binary, "serve",
            "--bucket", f"s3://{sink.bucket}/{self.prefix}", "--s3-endpoint", sink.endpoint,
            "--wal-dir", f"{self.folder}/wal", "--cache-dir", f"{self.folder}/cache",
            "--kafka-listen", f"127.0.0.1:{self.port}", "--http-listen", f"127.0.0.1:{self.http}",
            *self.more,
        ]
        began = time.monotonic()
        self.process = machine.Process(self.name, command, self.folder, self.world.cgroups, env=sink.environment())
        wire.first_ack(self.port, "first-ack", self.process.ended)
        return time.monotonic() - began

    @property
    def id(self):
        return self.process.id

    def kill(self):
        self.process.kill()

    def stop(self):
        if self.process:
            self.process.stop()

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Kafka:
    label = "Apache Kafka"

    def __init__(self, world, name="kafka"):
        self.world, self.name = world, name
        self.folder = f"{world.folder}/{name}"
        self.port = machine.free_port()
        self.process = None

    def start(self):
        """Starts it on a new folder; seconds until its first ack, without the format before."""
        script = f"{self.world.root}/tests/java/apache-kafka"
        settings = ["log.segment.delete.delay.ms=1000", "num.network.threads=3", "num.io.threads=8"]
        command = [script, "run", self.folder, str(self.port), *settings]
        environment = {**os.environ, "KAFKA_HEAP": "1g"}
        self.process = machine.Process(self.name, command, self.folder, self.world.cgroups, env=environment)
        formatted = machine.wait_until(self.serving, 60, 0.005)
        began = time.monotonic()
        if not formatted:
            raise RuntimeError(f"Apache Kafka does not start: {self.process.log}")
        wire.first_ack(self.port, "first-ack", self.process.ended)
        return time.monotonic() - began

    def serving(self):
        with open(f"/proc/{self.id}/cmdline", "rb") as file:
            return b"kafka.Kafka" in file.read() or self.process.ended()

    @property
    def id(self):
        return self.process.id

    def stop(self):
        if self.process:
            self.process.stop()

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def there_is_kafka(root):
    cache = os.environ.get("STRANDLINE_CACHE", f"{root}/.cache")
    jars = os.path.exists(f"{cache}/java/kafka-4.3/.complete")
    return jars and bool(shutil.which("java"))


class Floor:
    label = "floor"

    def __init__(self, world):
        self.world = world
        self.binary = f"{world.folder}/floor"
        source = f"{world.root}/benches/floor.c"
        # The instruction it measures with is x86's.
        built = shutil.which("cc") and subprocess.run(
            ["cc", "-O3", "-msse4.2", source, "-o", self.binary], capture_output=True
        ).returncode == 0
        self.there = bool(built)
        if not built:
            machine.say("floor.c cannot be built here (cc, x86 with SSE 4.2): its column is left out")

    def run(self, *arguments, real_time=False):
        command = [self.binary, arguments[0], f"{self.world.folder}/floor.data", *map(str, arguments[1:])]
        command = self.world.cgroups.wrap("floor", command)
        return machine.run_json(self.world.priority.wrap(command) if real_time else command)
