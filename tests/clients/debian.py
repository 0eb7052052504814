"""Produces every stanza of the Debian package index, keyed by package name, with librdkafka.

Usage: debian.py BOOTSTRAP TOPIC FILE   (FILE: output of `apt-cache dumpavail`)
Prints the number of records acknowledged; exits 1 when one was not.
"""

import sys

from confluent_kafka import Producer


def stanzas(path):
    """(package name, stanza) of each paragraph of the index, in order, as bytes."""
    with open(path, "rb") as file:
        for stanza in file.read().split(b"\n\n"):
            stanza = stanza.strip(b"\n")
            if stanza:
                first = next(line for line in stanza.split(b"\n") if line.startswith(b"Package:"))
                yield first.split(b":", 1)[1].strip(), stanza


def main():
    bootstrap, topic, path = sys.argv[1:]
    acknowledged, failed = 0, []

    def delivered(error, _message):
        nonlocal acknowledged
        if error is None:
            acknowledged += 1
        else:
            failed.append(error)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": "gzip",
            "linger.ms": 5,
            "queue.buffering.max.messages": 200_000,
        }
    )
    for key, value in stanzas(path):
        producer.produce(topic, key=key, value=value, on_delivery=delivered)
        producer.poll(0)
    left = producer.flush(120)
    if failed or left:
        sys.exit(f"{len(failed)} records failed, {left} unanswered: {failed[:3]}")
    print(acknowledged)


if __name__ == "__main__":
    main()
