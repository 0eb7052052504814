"""Processes of the comparison: in memory cgroups of their own, with real-time priority, measured."""

import itertools
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")


def say(words):
    print(f"compare: {words}", file=sys.stderr, flush=True)


PORTS = itertools.count(13_000 + os.getpid() % 5_000 * 2, 2)


def free_port():
    """A port below those given to outgoing connections, free now together with the next one."""
    for port in PORTS:
        try:
            for each in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
            return port
        except OSError:
            continue


class Cgroups:
    """Memory cgroups of one size, version 1 or 2; none where the system gives none."""

    V1 = "/sys/fs/cgroup/memory"
    V2 = "/sys/fs/cgroup"

    def __init__(self, limit_bytes):
        self.limit, self.made = limit_bytes, []
        if os.path.exists(f"{self.V1}/memory.limit_in_bytes"):
            self.base, self.file = self.V1, "memory.limit_in_bytes"
        elif os.path.exists(f"{self.V2}/cgroup.controllers"):
            self.base, self.file = self.V2, "memory.max"
        else:
            self.base = None
        self.kind = {self.V1: "v1", self.V2: "v2", None: "none"}[self.base]
        if self.base and self.place("probe") is None:
            self.base, self.kind = None, "none"
        if not self.base:
            say("no memory cgroup can be made here: brokers share all memory, so what the page "
                "cache of one costs may show in another's figures")

    def place(self, name):
        """The file that takes the ids of processes, or `None`."""
        if not self.base:
            return None
        folder = f"{self.base}/strandline-compare-{os.getpid()}-{name}"
        try:
            if self.base == self.V2:
                with open(f"{self.V2}/cgroup.subtree_control", "w") as control:
                    control.write("+memory")
            os.makedirs(folder, exist_ok=True)
            if folder not in self.made:
                self.made.append(folder)
            with open(f"{folder}/{self.file}", "w") as limit:
                limit.write(str(self.limit))
        except OSError:
            return None
        return f"{folder}/cgroup.procs"

    def wrap(self, name, command):
        place = self.place(name)
        if place is None:
            return command
        return ["sh", "-c", f'echo $$ >{place} && exec "$@"', "sh", *command]

    def remove(self):
        for folder in self.made:
            try:
                os.rmdir(folder)
            except OSError:
                pass


class Priority:
    """Real-time priority by `chrt`, where it may be given."""

    def __init__(self):
        probe = ["chrt", "-r", "1", "true"]
        self.there = bool(shutil.which("chrt")) and subprocess.run(probe, capture_output=True).returncode == 0
        if not self.there:
            say("no real-time priority here (chrt): latencies hold only if nothing else runs")

    def wrap(self, command):
        return ["chrt", "-r", "1", *command] if self.there else command

    def raise_to(self, process, real_time):
        """All threads of a running process, and those they start from now on; but not those that
        stepped behind all others of themselves, or they would stand beside what they made way for."""
        if not self.there:
            return
        policy, rank = (os.SCHED_RR, 1) if real_time else (os.SCHED_OTHER, 0)
        for thread in os.listdir(f"/proc/{process}/task"):
            try:
                if os.sched_getscheduler(int(thread)) != os.SCHED_BATCH:
                    os.sched_setscheduler(int(thread), policy, os.sched_param(rank))
            except ProcessLookupError:
                pass


def cpu_seconds(process):
    """User and system time of all threads there are and were."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(process, field="VmRSS"):
    with open(f"/proc/{process}/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def run_json(command, **more):
    """Runs to the end; what it printed as JSON, and its own CPU seconds as `client_cpu_seconds`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}") from None
    if done.returncode != 0:
        say(f"{' '.join(command[:8])}… ended with {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**result, "client_cpu_seconds": used}


class Process:
    """A process in a cgroup, its output in a file."""

    def __init__(self, name, command, folder, cgroups, **more):
        self.name, self.folder = name, folder
        os.makedirs(folder, exist_ok=True)
        self.log = f"{folder}/{name}.log"
        with open(self.log, "ab") as log:
            wrapped = cgroups.wrap(name, command)
            self.child = subprocess.Popen(wrapped, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
        self.id = self.child.pid

    def ended(self):
        return self.child.poll() is not None

    def kill(self):
        if not self.ended():
            self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def stop(self, limit=30):
        if not self.ended():
            self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()


class Sink:
    """The S3 server that keeps, discards or refuses (`bucket.py`)."""

    def __init__(self):
        server = [sys.executable, f"{os.path.dirname(os.path.abspath(__file__))}/bucket.py"]
        self.child = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        where = json.loads(self.child.stdout.readline())
        self.endpoint, self.bucket, self.id = where["endpoint"], where["bucket"], self.child.pid

    @staticmethod
    def environment():
        """What a client of it runs with: it asks for no signature, but clients want a key."""
        keys = {name: "compare" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        return {**os.environ, **keys, "AWS_REGION": "us-east-1"}

    def order(self, words):
        self.child.stdin.write(words + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def count(self, what, of="requests"):
        return self.order("counts").get(what, {}).get(of, 0)

    def requests(self):
        return {what: count["requests"] for what, count in self.order("counts").items()}

    def stop(self):
        self.child.stdin.close()
        self.child.wait()


def wait_until(fact, limit, pause=0.05):
    """Whether it became true in time."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        if fact():
            return True
        time.sleep(pause)
    return False


def description():
    def first(path, start):
        with open(path) as file:
            lines = [line for line in file if line.startswith(start)]
        return lines[0].split(":", 1)[1].strip() if lines else "?"

    memory = int(first("/proc/meminfo", "MemTotal").split()[0]) / 1e6
    return {
        "cpu": first("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "kernel": os.uname().release,
        "load_at_start": round(os.getloadavg()[0], 2),
    }
