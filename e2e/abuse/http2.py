"""Abuse by HTTP/2: floods of frames that cost the sender little, and requests that mean another thing in HTTP/1."""

import struct
import time
from dataclasses import dataclass

from h2frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Connection,
    block,
    frame,
    integer,
    literal,
)
from stage import Memory, Neighbours, check

HIDDEN = b"GET /user/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
MEMORY = 30


@dataclass
class Ordinary:
    """Requests as they should be: that the rest fails is of no worth if these do."""

    name: str = "ordinary requests"

    def run(self, proxy):
        proxy.backend.take()
        with Connection(proxy) as connection:
            connection.request(1)
            check(connection.status(1) == 200, f"status {connection.status(1)}")
            connection.request(3, body=b"hello", method=b"POST")
            check(connection.status(3) == 200, f"status {connection.status(3)}")
            for stream in range(5, 105, 2):
                connection.request(stream, path=b"/user/h2?%d" % stream)
            for stream in range(5, 105, 2):
                check(connection.status(stream) == 200, f"stream {stream}: status {connection.status(stream)}")
                check(b"h2?%d" % stream in connection.answers[stream][1], f"stream {stream} got another's answer")
        # Those of earlier cases may still be on their way.
        seen = [one for one in proxy.backend.own() if one.target.startswith(b"/user/h2")]
        check(len(seen) == 52, f"the backend saw {len(seen)} requests")
        check(not any(one.problem for one in seen), f"the backend got {[one.problem for one in seen if one.problem]}")


@dataclass
class Refused:
    """A request that means another thing in HTTP/1, or nothing: it is refused, or the backend sees one harmless request."""

    name: str
    headers: tuple = ()
    pseudo: dict = None
    body: bytes = None
    raw: bytes = None
    # Whether it may also come through, as one request.
    may_pass: bool = False

    def run(self, proxy):
        proxy.backend.take()
        with Connection(proxy) as connection:
            if self.raw is not None:
                connection.send(self.raw)
            else:
                connection.request(1, *self.headers, body=self.body, **(self.pseudo or {}))
            status = connection.status(1)
        # What is on its way to the backend arrives within this time.
        time.sleep(0.1)
        # One that was begun and cut off does no harm, as no server acts on half a request.
        seen = [one for one in proxy.backend.own() if one.problem != "half a body"]
        said = f"status {status}, the backend saw {[(one.method, one.target, one.headers) for one in seen]}"
        for one in seen:
            check(not one.problem, f"the backend got {one.problem}")
            check(b"smuggled" not in one.target, f"smuggled; {said}")
            check(not any(b"evil" in name.lower() for name, _ in one.headers), f"a header was made of another; {said}")
        check(len(seen) <= 1, said)
        if proxy.strict and not self.may_pass:
            check(not seen, f"not refused; {said}")
            check(status == 0 or 400 <= status < 500, said)
        proxy.neighbour(1)


def requests():
    lines = b"x\r\nEvil: 1"
    yield Refused("a value with CR LF", ((b"x", lines),))
    yield Refused("a value with CR", ((b"x", b"a\rEvil: 1"),))
    yield Refused("a value with LF", ((b"x", b"a\nEvil: 1"),))
    yield Refused("a value with NUL", ((b"x", b"a\0b"),))
    yield Refused("a value that hides a request", ((b"x", b"a\r\n\r\n" + HIDDEN),))
    yield Refused("a name with CR LF", ((b"x: a\r\nevil", b"1"),))
    yield Refused("a name with a colon", ((b"x: evil", b"1"),))
    yield Refused("a name with a space", ((b"x evil", b"1"),))
    yield Refused("a name in capitals", ((b"X-Capital", b"1"),))
    yield Refused("an empty name", ((b"", b"1"),))
    yield Refused(
        "Transfer-Encoding", ((b"transfer-encoding", b"chunked"),), body=b"0\r\n\r\n" + HIDDEN, pseudo={"method": b"POST"}
    )
    yield Refused("a shorter Content-Length", ((b"content-length", b"3"),), body=b"abc" + HIDDEN, pseudo={"method": b"POST"})
    yield Refused(
        "a longer Content-Length", ((b"content-length", b"300"),), body=b"abc", pseudo={"method": b"POST"}, may_pass=False
    )
    yield Refused("two lengths", ((b"content-length", b"3"), (b"content-length", b"4")), body=b"abc", pseudo={"method": b"POST"})
    yield Refused("an odd length", ((b"content-length", b"+3"),), body=b"abc", pseudo={"method": b"POST"})
    yield Refused("Connection", ((b"connection", b"x, close"),))
    yield Refused("Upgrade", ((b"upgrade", b"websocket"),))
    yield Refused("Keep-Alive", ((b"keep-alive", b"timeout=5"),), may_pass=True)
    yield Refused("TE of something else", ((b"te", b"gzip"),), may_pass=True)
    for name, value in (
        (b"method", b"GET /user/smuggled HTTP/1.1\r\nX: y"),
        (b"method", b"GE T"),
        (b"method", b""),
        (b"method", b"CONNECT"),
    ):
        yield Refused(f"the method {value!r}", pseudo={name.decode(): value})
    for path in (
        b"/user/a b",
        b"/user/x HTTP/1.1\r\nEvil: 1",
        b"/user/\r\n",
        b"user/x",
        b"",
        b"*",
        b"http://localhost/user/smuggled",
        b"/user/\0",
        b"/user/\xe4",
    ):
        yield Refused(f"the path {path[:30]!r}", pseudo={"path": path})
    for authority in (b"a b", b"localhost\r\nEvil: 1", b"a@localhost", b"localhost/user", b"a,b"):
        yield Refused(f"the authority {authority!r}", pseudo={"authority": authority})
    yield Refused("another Host than its authority", ((b"host", b"evil.example"),), may_pass=True)
    yield Refused("two Hosts", ((b"host", b"localhost"), (b"host", b"evil.example")), pseudo={"authority": None})
    yield Refused("no authority and no Host", pseudo={"authority": None}, may_pass=False)
    yield Refused("an odd scheme", pseudo={"scheme": b"https://localhost/user/smuggled?"}, may_pass=True)
    for name in ("method", "path", "scheme"):
        yield Refused(f"no {name}", pseudo={name: None})
    twice = literal(b":path", b"/user/smuggled")
    yield Refused("two paths", raw=frame(HEADERS, END_HEADERS | END_STREAM, 1, block() + twice))
    late = block(path=None) + literal(b"x", b"1") + literal(b":path", b"/user/h2")
    yield Refused("a pseudo-header behind a header", raw=frame(HEADERS, END_HEADERS | END_STREAM, 1, late))
    yield Refused("an unknown pseudo-header", ((b":evil", b"1"),))
    yield Refused(
        "a trailer with a pseudo-header",
        raw=frame(HEADERS, END_HEADERS, 1, block(method=b"POST"))
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b":path", b"/user/smuggled")),
        may_pass=True,
    )
    yield Refused(
        "a length over the body in trailers",
        raw=frame(HEADERS, END_HEADERS, 1, block(method=b"POST"))
        + frame(DATA, 0, 1, b"abc")
        + frame(
            HEADERS, END_HEADERS | END_STREAM, 1, literal(b"content-length", b"50") + literal(b"transfer-encoding", b"chunked")
        ),
        may_pass=True,
    )
    yield Refused(
        "headers of 2 MB",
        raw=frame(HEADERS, 0, 1, block() + literal(b"x", b"a" * 8000))
        + b"".join(frame(CONTINUATION, 0, 1, literal(b"x", b"a" * 8000) * 2) for _ in range(125))
        + frame(CONTINUATION, END_HEADERS, 1, literal(b"y", b"b")),
    )
    yield Refused(
        "a frame larger than allowed", raw=frame(HEADERS, END_HEADERS | END_STREAM, 1, block() + literal(b"x", b"a" * 100_000))
    )
    yield Refused("a stream of an even number", raw=frame(HEADERS, END_HEADERS | END_STREAM, 2, block()))
    yield Refused("data before a request", raw=frame(DATA, END_STREAM, 1, b"abc"))
    yield Refused("a continuation of nothing", raw=frame(CONTINUATION, END_HEADERS, 1, block()))
    yield Refused("a window that overflows", raw=frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 0x7FFFFFFF)) * 2)
    yield Refused("garbage in the compressed headers", raw=frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 50))


@dataclass
class Flood:
    """Frames as fast as they go, for some seconds at most: memory stays bounded, and neighbours do not wait.

    `make(n)` gives the bytes of the nth part. Where `must_end`, Lyceum has to end the connection by itself.
    """

    name: str
    make: object
    parts: int
    must_end: bool = False
    reads: bool = False
    # How many requests the backend may see of it.
    requests: int = None
    opening: bytes = b""
    seconds: float = 8
    note: str = ""

    def run(self, proxy):
        proxy.backend.take()
        before = proxy.proxy.sockets() if proxy.proxy.pids() else 0
        with Memory(proxy, MEMORY) as memory, Neighbours(proxy):
            begun, sent = time.monotonic(), 0
            with Connection(proxy, timeout=2) as connection:
                connection.send(self.opening)
                while sent < self.parts and time.monotonic() - begun < self.seconds and connection.send(self.make(sent)):
                    sent += 1
                    if self.reads:
                        connection.poll()
                # An end that has come while sending is found by reading.
                ended = connection.closed or connection.read_until(lambda: connection.goaway is not None or connection.closed, 3)
                code, stalled = connection.goaway, connection.stalled
        seen = proxy.backend.own()
        self.note = f"{sent} of {self.parts} parts, {'ended' if ended else 'no longer taken' if stalled else 'not ended'} (code {code}), {len(seen)} requests at the backend, memory grew by {memory.growth:.1f} MiB"
        check(
            not any(one.problem for one in seen if one.problem not in ("half a body",)),
            f"the backend got {[one.problem for one in seen if one.problem][:2]}",
        )
        if proxy.strict:
            check(ended or stalled or not self.must_end, f"the connection is not ended: {self.note}")
            check(self.requests is None or len(seen) <= self.requests, f"too many requests: {self.note}")
        if proxy.proxy.pids():
            deadline = time.monotonic() + 10
            while (now := proxy.proxy.sockets()) > before + 120:
                check(time.monotonic() < deadline, f"{now} sockets are open, {before} were before")
                time.sleep(0.1)


def reset(number):
    """A request that is taken back at once (CVE-2023-44487)."""
    stream = 2 * number + 1
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block(path=b"/user/reset")) + frame(
        RST_STREAM, 0, stream, struct.pack("!I", 8)
    )


def reset_by_error(number):
    """A request after which a wrong frame makes the other side reset it: nobody counts those as the client's resets."""
    stream = 2 * number + 1
    return frame(HEADERS, END_HEADERS, stream, block(path=b"/user/reset", method=b"POST")) + frame(
        WINDOW_UPDATE, 0, stream, struct.pack("!I", 0)
    )


def bomb(number):
    """Headers that name one large entry of the table many times: a few KB that unpack to megabytes."""
    stream = 2 * number + 3
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block(path=b"/user/bomb") + integer(62, 7, 0x80) * 4000)


def floods():
    ping = b"12345678"
    yield Flood("20,000 requests that are taken back", reset, 20_000, must_end=True, requests=2_000)
    yield Flood(
        "20,000 requests that are taken back, with answers read", reset, 20_000, must_end=True, reads=True, requests=2_000
    )
    yield Flood("20,000 requests that are reset for an error", reset_by_error, 20_000, must_end=True, requests=2_000)
    yield Flood(
        "headers that never end",
        lambda _: frame(CONTINUATION, 0, 1, literal(b"x", b"a" * 1000)),
        50_000,
        must_end=True,
        requests=0,
        opening=frame(HEADERS, END_STREAM, 1, block()),
    )
    yield Flood(
        "empty continuations that never end",
        lambda _: frame(CONTINUATION, 0, 1) * 100,
        10_000,
        must_end=True,
        requests=0,
        opening=frame(HEADERS, END_STREAM, 1, block()),
    )
    yield Flood("settings", lambda _: frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 65535)) * 100, 5_000)
    yield Flood("pings", lambda _: frame(PING, 0, 0, ping) * 100, 5_000)
    yield Flood(
        "empty data",
        lambda _: frame(DATA, 0, 1) * 100,
        5_000,
        opening=frame(HEADERS, END_HEADERS, 1, block(method=b"POST", path=b"/user/empty")),
    )
    yield Flood("window updates", lambda _: frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 1)) * 100, 5_000)
    yield Flood("priorities", lambda number: frame(PRIORITY, 0, 2 * number + 1, b"\0\0\0\0\1") * 100, 5_000)
    yield Flood("unknown frames", lambda _: frame(0x55, 0, 0, b"x" * 100) * 100, 2_000)
    yield Flood(
        "headers that unpack to megabytes",
        bomb,
        100,
        requests=1,
        opening=frame(HEADERS, END_HEADERS | END_STREAM, 1, block() + literal(b"x", b"a" * 3500, 0x40)),
    )
    yield Flood(
        "2,000 requests whose answers nobody reads",
        lambda number: frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, block(path=b"/user/big/100000")),
        2_000,
    )


class Bodies:
    """Requests whose bodies never come: other streams go on."""

    name = "90 requests whose bodies do not come"

    def run(self, proxy):
        with Connection(proxy) as connection, Neighbours(proxy):
            for number in range(90):
                connection.send(frame(HEADERS, END_HEADERS, 2 * number + 1, block(method=b"POST", path=b"/user/waits")))
            connection.request(1001)
            check(connection.status(1001) == 200, f"status {connection.status(1001)}")


def cases():
    yield Ordinary()
    yield from requests()
    yield from floods()
    yield Bodies()
    yield Ordinary("ordinary requests after all that")
