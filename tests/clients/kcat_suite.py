"""What users of Debian's kcat (an old librdkafka) depend on. Usage: kcat_suite.py HOST:PORT [NAME...]

kcat creates topics by producing to them; those of several partitions are made with confluent-kafka.
"""

import json
import subprocess
import time

from confluent_kafka.admin import AdminClient, NewTopic

from suite import Running, eventually, fact, fresh, main


def kcat(bootstrap, *arguments, stdin=b"", within=60, status=0):
    """Runs kcat to its end; gives what it printed and what it complained about."""
    done = subprocess.run(
        ["kcat", "-b", bootstrap, *arguments], input=stdin, capture_output=True, timeout=within
    )
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    return done.stdout, done.stderr.decode()


def topic(bootstrap, partitions=1, **configs):
    name = fresh("kcat")
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    new = NewTopic(name, partitions, 1, config=configs)
    client.create_topics([new])[name].result(timeout=30)
    return name


def produce(bootstrap, name, lines, *options, partition=0):
    stdin = "".join(f"{line}\n" for line in lines).encode()
    _, trouble = kcat(bootstrap, "-P", "-t", name, "-p", str(partition), *options, stdin=stdin)
    assert trouble == "", trouble


def read(bootstrap, name, *options, partition=0, start="beginning"):
    """Every record from `start` to the end, as kcat's JSON."""
    where = ["-t", name, "-p", str(partition), "-o", start]
    printed, _ = kcat(bootstrap, "-C", *where, "-e", "-q", "-J", *options)
    return [json.loads(line) for line in printed.splitlines()]


@fact
def keys_headers_and_nulls_come_back(bootstrap):
    name = fresh("kcat")  # created by the first record
    headers = ["-H", "a=1", "-H", "a=2", "-H", "empty=", "-H", "null"]
    produce(bootstrap, name, ["k\tv", "\tno key", "tombstone\t"], "-K", "\\t", "-Z", *headers)
    produce(bootstrap, name, ["same key"], "-k", "fixed")
    records = read(bootstrap, name)
    assert [(record["key"], record["payload"]) for record in records] == [
        ("k", "v"),
        (None, "no key"),
        ("tombstone", None),
        ("fixed", "same key"),
    ]
    for record in records[:3]:
        assert record["headers"] == ["a", "1", "a", "2", "empty", "", "null", None], record
    assert [record["offset"] for record in records] == [0, 1, 2, 3]
    assert all(record["tstype"] == "create" for record in records), records


@fact
def every_codec_comes_back(bootstrap):
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        name = topic(bootstrap)
        sent = [f"{codec} {number} ".ljust(500, "x") for number in range(200)]
        produce(bootstrap, name, sent, "-z", codec, "-X", "linger.ms=50")
        records = read(bootstrap, name, "-X", "check.crcs=true")
        assert [record["payload"] for record in records] == sent, codec


@fact
def an_idempotent_producer_keeps_order(bootstrap):
    name = topic(bootstrap)
    sent = [str(number) for number in range(5000)]
    options = ["enable.idempotence=true", "batch.num.messages=100", "compression.codec=lz4"]
    produce(bootstrap, name, sent, *[word for option in options for word in ("-X", option)])
    assert [record["payload"] for record in read(bootstrap, name)] == sent


@fact
def every_kind_of_acknowledgement_is_served(bootstrap):
    name = topic(bootstrap)
    for acks in ["0", "1", "-1"]:
        produce(bootstrap, name, [acks], "-X", f"acks={acks}")
    eventually(lambda: {r["payload"] for r in read(bootstrap, name)} == {"0", "1", "-1"})


@fact
def a_consumer_starts_where_it_wants(bootstrap):
    name = topic(bootstrap)
    produce(bootstrap, name, range(10))
    for start, first in [("beginning", 0), ("7", 7), ("-3", 7), ("9", 9)]:
        records = read(bootstrap, name, start=start)
        assert [record["offset"] for record in records] == list(range(first, 10)), start
    assert read(bootstrap, name, start="end") == []


@fact
def a_time_is_looked_up_to_the_record(bootstrap):
    name = topic(bootstrap)
    # One batch; kcat has no clock to set, so the broker's answers are held to what it gives back.
    produce(bootstrap, name, range(3000), "-z", "gzip", "-X", "linger.ms=100")
    produce(bootstrap, name, range(3000), "-z", "gzip", "-X", "linger.ms=100")
    records = read(bootstrap, name)
    times = [record["ts"] for record in records]

    def wanted(time):
        return next((offset for offset, at in enumerate(times) if at >= time), -1)

    for time in sorted({times[0] - 1, *times, times[-1] + 1}):
        found, _ = kcat(bootstrap, "-Q", "-t", f"{name}:0:{time}")
        assert found.decode().strip() == f"{name} [0] offset {wanted(time)}", (time, found)
    for end, offset in [(-2, 0), (-1, len(times))]:
        found, _ = kcat(bootstrap, "-Q", "-t", f"{name}:0:{end}")
        assert found.decode().strip() == f"{name} [0] offset {offset}", found
    between = read(bootstrap, name, "-o", f"e@{times[-1]}", start=f"s@{times[3000]}")
    wanted_range = range(wanted(times[3000]), wanted(times[-1]))
    assert [record["offset"] for record in between] == list(wanted_range)


def member(bootstrap, group, name, *options):
    settings = ["auto.offset.reset=earliest", "heartbeat.interval.ms=500", *options]
    words = [word for setting in settings for word in ("-X", setting)]
    where = ["-b", bootstrap, *words, "-f", "%p %o %s\\n", "-u", "-G", group, name]
    return Running(["kcat", *where])


@fact
def a_group_shares_out_partitions_and_goes_on_where_it_was(bootstrap):
    for strategy in ["range,roundrobin", "cooperative-sticky"]:
        name, group = topic(bootstrap, partitions=4), fresh("group")
        for partition in range(4):
            produce(bootstrap, name, ["x"] * 10, partition=partition)
        setting = f"partition.assignment.strategy={strategy}"
        with member(bootstrap, group, name, setting) as first:
            eventually(lambda: len(first.lines()) == 40)
            with member(bootstrap, group, name, setting) as second:
                eventually(lambda: f"{name} [" in second.complaints())  # it has partitions
                produce_all(bootstrap, name, "y")
                eventually(lambda: len(first.lines()) + len(second.lines()) == 44)
                assert len(second.lines()) == 2, second.lines()
                first.stop()  # it commits and leaves
                produce_all(bootstrap, name, "z")
                eventually(lambda: len(second.lines()) == 6)
                second.stop()
        seen = first.lines() + second.lines()
        assert len(set(seen)) == len(seen) == 48, f"{strategy}: nothing twice, nothing lost"
        produce(bootstrap, name, ["after"])
        with member(bootstrap, group, name, setting) as third:
            eventually(third.lines)
            assert third.lines() == ["0 12 after"], "the group goes on where it had committed"


def produce_all(bootstrap, name, line):
    for partition in range(4):
        produce(bootstrap, name, [line], partition=partition)


@fact
def topics_and_brokers_are_listed(bootstrap):
    name = topic(bootstrap, partitions=3)
    printed, _ = kcat(bootstrap, "-L", "-J", "-t", name)
    listed = json.loads(printed)
    brokers = [broker["id"] for broker in listed["brokers"]]
    (told,) = listed["topics"]
    assert told["topic"] == name and len(told["partitions"]) == 3, told
    for partition in told["partitions"]:
        assert partition["leader"] in brokers, listed
    everything, _ = kcat(bootstrap, "-L", "-J")
    assert name in [entry["topic"] for entry in json.loads(everything)["topics"]]


@fact
def a_topic_nobody_made_is_not_made_by_a_reader(bootstrap):
    name = fresh("kcat")
    where = ["-C", "-t", name, "-p", "0", "-e"]
    _, trouble = kcat(bootstrap, *where, status=1)
    assert "Unknown topic" in trouble, trouble
    everything, _ = kcat(bootstrap, "-L", "-J")
    assert name not in [entry["topic"] for entry in json.loads(everything)["topics"]]


@fact
def versions_named_by_hand_are_served_from_0_10_on(bootstrap):
    name = topic(bootstrap)
    for version in ["0.10.0", "0.11.0", "1.0.0", "2.8.0"]:
        old = ["-X", "api.version.request=false", "-X", f"broker.version.fallback={version}"]
        produce(bootstrap, name, [version], *old)
        assert read(bootstrap, name, *old)[-1]["payload"] == version


@fact
def a_protocol_older_than_that_is_refused_and_does_not_hang(bootstrap):
    name = topic(bootstrap)
    old = ["-X", "api.version.request=false", "-X", "broker.version.fallback=0.9.0"]
    asked = ["-P", "-t", name, "-X", "message.timeout.ms=3000", *old]
    _, trouble = kcat(bootstrap, *asked, stdin=b"x\n", status=1)
    assert "Disconnected" in trouble, trouble
    assert read(bootstrap, name) == []


@fact
def a_transactional_producer_is_told_at_once(bootstrap):
    asked = ["-P", "-t", topic(bootstrap), "-X", f"transactional.id={fresh('id')}"]
    began = time.monotonic()
    _, trouble = kcat(bootstrap, *asked, stdin=b"x\n", within=20, status=1)
    assert "Transactional Id authorization failed" in trouble, trouble
    assert time.monotonic() - began < 4, f"retried: {trouble}"


main()
