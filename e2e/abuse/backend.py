"""A server behind a proxy that reads strictly, keeps what it got, and misbehaves where it is asked to.

What a proxy lets through is judged here: a request that two servers could read in two ways is a problem, whatever
the proxy has read. Requests for `…/does/KIND` are answered as MISBEHAVIOUR says.
"""

import asyncio
import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEAD_LIMIT = 2 << 20


@dataclass
class Request:
    """A request as the backend has read it."""

    method: bytes = b""
    target: bytes = b""
    headers: list = field(default_factory=list)
    body: bytes = b""
    length: int = 0
    problem: str = ""

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name]


class Malformed(Exception):
    """What came is not to be read in one way only."""


class Backend:
    """Listens in a thread of its own until `close`."""

    def __init__(self, port=0):
        self.requests = []
        self.connections = 0
        self.most_connections = 0
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(port, ready), daemon=True)
        self.thread.start()
        if not ready.wait(10):
            raise RuntimeError("the backend does not listen")

    def _run(self, port, ready):
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(lambda *_: None)
        start = asyncio.start_server(self._serve, "127.0.0.1", port, limit=HEAD_LIMIT, backlog=4096)
        self.server = self.loop.run_until_complete(start)
        self.port = self.server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    def close(self):
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)

    async def _end(self):
        """Ends what still hangs."""
        self.server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def take(self):
        """What has come since the last time."""
        taken, self.requests = self.requests, []
        return taken

    def own(self):
        """The same without the neighbours' requests."""
        return [one for one in self.take() if b"/neighbour" not in one.target]

    async def _serve(self, reader, writer):
        self.connections += 1
        self.most_connections = max(self.most_connections, self.connections)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def _one(self, reader, writer):
        request = Request()
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                self._keep(request, f"half a head: {error.partial[:80]!r}")
            return False
        except asyncio.LimitOverrunError:
            self._keep(request, "a head without end")
            return False
        try:
            read_head(request, head)
            does = re.search(rb"/does/([\w-]+)", request.target)
            early = does and MISBEHAVIOUR[does[1].decode()].early
            if early:
                self._keep(request)
                return await MISBEHAVIOUR[does[1].decode()].run(reader, writer)
            await read_body(request, reader, writer)
        except Malformed as error:
            self._keep(request, str(error))
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        except asyncio.IncompleteReadError:
            self._keep(request, "half a body")
            return False
        self._keep(request)
        if does:
            return await MISBEHAVIOUR[does[1].decode()].run(reader, writer)
        return await answer(request, writer)

    def _keep(self, request, problem=""):
        request.problem = problem
        self.requests.append(request)


def read_head(request, head):
    """Reads strictly, as RFC 9112 says what a proxy has to send."""
    lines = head[:-4].split(b"\r\n")
    for line in lines:
        if b"\n" in line or b"\r" in line or b"\0" in line:
            raise Malformed(f"a stray control character in {line[:80]!r}")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]) or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Malformed(f"the request line {lines[0][:80]!r}")
    request.method, request.target = parts[0], parts[1]
    if not request.target.startswith(b"/") or not re.fullmatch(rb"[\x21-\x7e]+", request.target):
        raise Malformed(f"the target {request.target[:80]!r}")
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name):
            raise Malformed(f"the header {line[:80]!r}")
        value = value.strip(b" \t")
        if re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise Malformed(f"a control character in {line[:80]!r}")
        request.headers.append((name, value))
    if len(request.all(b"host")) != 1:
        raise Malformed(f"{len(request.all(b'host'))} headers Host")


async def read_body(request, reader, writer):
    lengths, codings = request.all(b"content-length"), request.all(b"transfer-encoding")
    if lengths and codings:
        raise Malformed("both Content-Length and Transfer-Encoding")
    if len(lengths) > 1 or len(codings) > 1:
        raise Malformed("a length twice")
    if codings and codings[0].lower() != b"chunked":
        raise Malformed(f"the coding {codings[0]!r}")
    if lengths and not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise Malformed(f"the length {lengths[0]!r}")
    if request.all(b"expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if lengths:
        await read_part(request, reader, int(lengths[0]))
    while codings:
        line = await reader.readuntil(b"\n")
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}(;[^\r\n]*)?\r\n", line):
            raise Malformed(f"the chunk's head {line[:80]!r}")
        size = int(line.split(b";")[0], 16)
        await read_part(request, reader, size)
        if size == 0:
            while (line := await reader.readuntil(b"\n")) != b"\r\n":
                name, colon, _ = line.partition(b":")
                if not colon or not TOKEN.fullmatch(name) or not line.endswith(b"\r\n"):
                    raise Malformed(f"the trailer {line[:80]!r}")
                if name.lower() in (b"content-length", b"transfer-encoding", b"host"):
                    raise Malformed(f"the trailer {line[:80]!r}")
            return
        if (end := await reader.readexactly(2)) != b"\r\n":
            raise Malformed(f"a chunk ends with {end!r}")


async def read_part(request, reader, size):
    """Keeps the first of a body, and counts the rest."""
    while size > 0:
        part = await reader.read(min(size, 65536))
        if not part:
            raise asyncio.IncompleteReadError(b"", size)
        if len(request.body) < 65536:
            request.body += part
        request.length += len(part)
        size -= len(part)


async def answer(request, writer):
    """Says what was asked, so that a client can tell its own answer from another's."""
    if big := re.search(rb"/big/(\d+)", request.target):
        size = int(big[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        part = b"x" * 65536
        for _ in range(size // len(part)):
            writer.write(part)
            await writer.drain()
        writer.write(part[: size % len(part)])
        return True
    if request.all(b"upgrade") and b"/refuses" not in request.target and request.all(b"upgrade") == [b"websocket"]:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        return False
    text = {
        "method": request.method.decode("latin-1"),
        "target": request.target.decode("latin-1"),
        "length": request.length,
        "sha256": hashlib.sha256(request.body).hexdigest(),
    }
    body = json.dumps(text).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    writer.write(head if request.method == b"HEAD" else head + body)
    await writer.drain()
    return True


@dataclass
class Kind:
    """A way to misbehave. `early` does not wait for the body. What it gives is whether the connection goes on."""

    run: object
    early: bool = False


def says(*parts, stays=False, aborts=False):
    """Sends parts, and then keeps the connection, closes or aborts it."""

    async def run(_reader, writer):
        for part in parts:
            if isinstance(part, float):
                await asyncio.sleep(part)
            else:
                writer.write(part)
                await writer.drain()
        if aborts:
            writer.transport.abort()
        return stays

    return run


async def hang(reader, _writer):
    await reader.read(1)
    return False


async def early_answer(reader, writer):
    """Answers before the body is there, and then lets it come for a moment, as a polite server does."""
    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    until = time.monotonic() + 1
    while (left := until - time.monotonic()) > 0:
        if not await asyncio.wait_for(reader.read(65536), left):
            break
    return False


async def not_read(_reader, _writer):
    await asyncio.sleep(5)
    return False


def endless(first, again, limit):
    """Sends without end, or until `limit` bytes are sent, or nobody takes them for 5 s."""

    async def run(_reader, writer):
        writer.write(first)
        sent, until = 0, time.monotonic() + 20
        while sent < limit and time.monotonic() < until:
            writer.write(again)
            sent += len(again)
            await asyncio.wait_for(writer.drain(), 5)
        return False

    return run


OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
EVIL = OK % (4, b"evil")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

MISBEHAVIOUR = {
    "close": Kind(says()),
    "abort": Kind(says(aborts=True)),
    "hang": Kind(hang),
    "half-a-head": Kind(says(b"HTTP/1.1 200 OK\r\nContent-Le")),
    "die-mid-body": Kind(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 100)),
    "die-mid-chunk": Kind(says(CHUNKED + b"64\r\nabc")),
    "die-between-chunks": Kind(says(CHUNKED + b"3\r\nabc\r\n")),
    "abort-mid-body": Kind(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 100, 0.05, aborts=True)),
    "garbage": Kind(says(b"\x00\x01\x02 this is no HTTP\r\n\r\n")),
    "tls": Kind(says(b"\x15\x03\x01\x00\x02\x02\x16")),
    "http-0.9": Kind(says(b"<html>hello</html>\n")),
    "odd-status": Kind(says(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n")),
    "no-status": Kind(says(b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n")),
    "odd-version": Kind(says(b"HTTP/7.3 200 OK\r\nContent-Length: 0\r\n\r\n")),
    "more-than-announced": Kind(says(OK % (5, b"hello") + EVIL, stays=True)),
    "answers-twice": Kind(says(OK % (5, b"hello"), 0.05, EVIL, stays=True)),
    "head-with-body": Kind(says(EVIL, stays=True)),
    "no-content-with-body": Kind(says(b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL, stays=True)),
    "not-modified-with-body": Kind(says(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n" + EVIL, stays=True)),
    "two-lengths": Kind(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 40\r\n\r\nhello" + EVIL, stays=True)),
    "odd-length": Kind(says(b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello" + EVIL, stays=True)),
    "length-and-chunks": Kind(
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", stays=True)
    ),
    "odd-coding": Kind(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + EVIL)),
    "bad-chunk": Kind(says(CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", stays=True)),
    "huge-chunk": Kind(says(CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n", stays=True)),
    "bare-lf": Kind(says(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", stays=True)),
    "folded": Kind(says(b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", stays=True)),
    "stray-cr": Kind(says(b"HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: evil=1\r\nContent-Length: 5\r\n\r\nhello", stays=True)),
    "stray-nul": Kind(says(b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 5\r\n\r\nhello", stays=True)),
    "odd-header": Kind(says(b"HTTP/1.1 200 OK\r\nX A: a\r\nnothing\r\nContent-Length: 5\r\n\r\nhello", stays=True)),
    "unasked-101": Kind(says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\nConnection: Upgrade\r\n\r\n" + EVIL)),
    "early-answer": Kind(early_answer, early=True),
    "early-close": Kind(says(), early=True),
    "not-read": Kind(not_read, early=True),
    "endless-headers": Kind(endless(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"y" * 8000 + b"\r\n", 100 << 20)),
    "one-endless-header": Kind(endless(b"HTTP/1.1 200 OK\r\nX-Filler: ", b"y" * 65536, 100 << 20)),
    "endless-interim": Kind(endless(b"", b"HTTP/1.1 102 Processing\r\nX-Filler: " + b"y" * 200 + b"\r\n\r\n", 200 << 20)),
    "endless-hints": Kind(endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 50 << 20)),
    "endless-trailers": Kind(endless(CHUNKED + b"0\r\n", b"X-Filler: " + b"y" * 8000 + b"\r\n", 100 << 20)),
    "endless-chunk-head": Kind(endless(CHUNKED + b"3;", b"y" * 65536, 100 << 20)),
}
