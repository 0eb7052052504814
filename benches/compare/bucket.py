"""A small S3 server for the comparison: keeps what a cluster keeps of itself, and keeps, discards or
refuses the objects of records (keys under `data/`). It does little with each byte, for it shares the
machine with what is measured: a body goes through one buffer, and of a discarded one only the end
is kept, where an object says what it holds: a broker that has put it asks for that.

Path-style PUT with If-None-Match and If-Match, GET with ranges, HEAD, DELETE and ListObjectsV2, as
in tests/support/s3_double.rs. Says where it is in one line of JSON, then answers each line of
standard input with one, until there is no more:

`keep` `discard` `refuse`      what becomes of the bodies of `data/` objects from now on
`pace MILLISECONDS MEGABYTES`  GETs of them take so long to a first byte, then give so much a second
`pace`                         no longer
`counts`                       requests and bytes so far, by method and kind of key
"""

import email.utils
import json
import os
import socket
import sys
import threading
import time
import urllib.parse

BUCKET = "compare"
BUFFER = 256 * 1024
END = 1024 * 1024


class Bucket:
    def __init__(self):
        self.lock = threading.Lock()
        self.objects, self.counts = {}, {}
        self.bodies, self.pace, self.writes = "keep", None, 0

    def obey(self, order):
        words = order.split()
        if order in ("keep", "discard", "refuse"):
            self.bodies = order
        elif words[:1] == ["pace"]:
            self.pace = (int(words[1]) / 1e3, int(words[2]) * 1e6) if len(words) == 3 else None
        elif order == "counts":
            with self.lock:
                return {what: {"requests": n, "bytes": size} for what, (n, size) in self.counts.items()}
        else:
            return {"error": f"what is {order!r}?"}
        return {"done": order}

    def count(self, method, key, length):
        parts = key.split("/")
        kind = next((kind for kind in ("data", "manifest") if kind in parts), "meta")
        what = f"{method} {kind if key else 'list'}"
        with self.lock:
            requests, size = self.counts.get(what, (0, 0))
            self.counts[what] = (requests + 1, size + length)

    def put(self, key, headers, body, size):
        """`body` may be the end alone of what has `size`."""
        with self.lock:
            found = self.objects.get(key)
            if headers.get("if-none-match") == "*" and found:
                return 412, {}, b""
            wanted = headers.get("if-match")
            if wanted and not found:
                return 404, {}, fault("NoSuchKey")
            if wanted and found[1] != wanted:
                return 412, {}, b""
            self.writes += 1
            etag = f'"{self.writes:032x}"'
            self.objects[key] = (body, etag, size)
            return 200, {"ETag": etag}, b""

    def get(self, key, headers):
        with self.lock:
            found = self.objects.get(key)
        if not found:
            return 404, {}, fault("NoSuchKey")
        body, etag, size = found
        if headers.get("if-none-match") == etag:
            return 304, {}, b""
        answer = {"ETag": etag, "Last-Modified": email.utils.formatdate(usegmt=True)}
        wanted = headers.get("range", "")
        missing = size - len(body)
        if not wanted.startswith("bytes="):
            return (200, answer, body) if not missing else (403, {}, fault("InvalidObjectState"))
        first, last = wanted[len("bytes="):].split("-")
        if first:
            start, end = int(first), min(int(last) + 1 if last else size, size)
        else:
            start, end = max(size - int(last), 0), size
        if start >= size:
            return 416, {}, fault("InvalidRange")
        if start < missing:
            return 403, {}, fault("InvalidObjectState")
        answer["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return 206, answer, memoryview(body)[start - missing:end - missing]

    def head(self, key):
        with self.lock:
            found = self.objects.get(key)
        if not found:
            return 404, {}, 0
        _, etag, size = found
        return 200, {"ETag": etag, "Last-Modified": email.utils.formatdate(usegmt=True)}, size

    def list(self, query):
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        prefix = asked.get("prefix", "")
        after = asked.get("continuation-token") or asked.get("start-after", "")
        with self.lock:
            keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
            sizes = {key: self.objects[key][2] for key in keys[:1000]}
        more = len(keys) > 1000
        token = f"<NextContinuationToken>{keys[999]}</NextContinuationToken>" if more else ""
        found = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>x</ETag><Size>{size}</Size></Contents>"
            for key, size in sizes.items()
        )
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return 200, {}, f"<ListBucketResult>{truncated}{token}{found}</ListBucketResult>".encode()


def fault(code):
    return f"<Error><Code>{code}</Code></Error>".encode()


class Client:
    """One connection."""

    def __init__(self, bucket, connection):
        self.bucket, self.socket, self.left = bucket, connection, b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = memoryview(bytearray(BUFFER))

    def serve(self):
        try:
            while self.one():
                pass
        except OSError:
            # The client's to notice.
            pass
        self.socket.close()

    def one(self):
        """One request; whether another may follow."""
        head = self.read_head()
        if head is None:
            return False
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines if ":" in line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        path, _, query = target.partition("?")
        key = urllib.parse.unquote(path).lstrip("/").partition("/")[2]
        length = int(headers.get("content-length", 0))
        data = "data" in key.split("/")
        self.bucket.count(method, key, length)
        if method == "PUT" and data and self.bucket.bodies == "refuse":
            return self.refuse()
        discard = method == "PUT" and data and self.bucket.bodies == "discard"
        body = self.body(length, END if discard else length)
        if method == "PUT":
            answer = self.bucket.put(key, headers, body, length)
        elif method == "HEAD" and key:
            status, more, size = self.bucket.head(key)
            self.send_head(status, more, size)
            return True
        elif method == "GET" and not key:
            answer = self.bucket.list(query)
        elif method == "GET":
            answer = self.bucket.get(key, headers)
        elif method == "DELETE":
            with self.bucket.lock:
                self.bucket.objects.pop(key, None)
            answer = 204, {}, b""
        else:
            answer = 405, {}, b""
        pace = self.bucket.pace if data and method == "GET" else None
        self.answer(*answer, pace=pace)
        return True

    def read_head(self):
        while b"\r\n\r\n" not in self.left:
            got = self.socket.recv(BUFFER)
            if not got:
                return None
            self.left += got
        head, _, self.left = self.left.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def body(self, length, most):
        """The last `most` bytes of the body; the others are let go."""
        here, self.left = self.left[:length], self.left[length:]
        passed = max(length - most, 0)
        here, missing = here[passed:], passed - len(here)
        while missing > 0:
            missing -= self.receive(self.buffer[:min(missing, BUFFER)])
        body = bytearray(length - passed)
        body[: len(here)] = here
        view = memoryview(body)[len(here):]
        while len(view):
            view = view[self.receive(view):]
        return body

    def receive(self, view):
        got = self.socket.recv_into(view)
        if not got:
            raise ConnectionError
        return got

    def refuse(self):
        """Says no before a byte of the body is read, and lets the client find out."""
        self.answer(503, {"Connection": "close"}, fault("ServiceUnavailable"))
        self.socket.shutdown(socket.SHUT_WR)
        # Closed with bytes unread, the answer would be lost in a reset.
        while self.socket.recv_into(self.buffer):
            pass
        return False

    def send_head(self, status, headers, length):
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())

    def answer(self, status, headers, body, pace=None):
        if pace is None or not len(body):
            self.send_head(status, headers, len(body))
            self.socket.sendall(body)
        else:
            time.sleep(pace[0])
            self.send_head(status, headers, len(body))
            self.slowly(memoryview(body), pace[1])

    def slowly(self, body, bytes_per_second):
        began = time.monotonic()
        for at in range(0, len(body), BUFFER):
            ahead = at / bytes_per_second - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
            self.socket.sendall(body[at:at + BUFFER])


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    bucket = Bucket()

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=Client(bucket, connection).serve, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print(json.dumps({"endpoint": endpoint, "bucket": BUCKET}), flush=True)
    for line in sys.stdin:
        print(json.dumps(bucket.obey(line.strip())), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
