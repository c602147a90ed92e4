"""Clients that send slowly, read slowly, or come in numbers: memory stays bounded, and neighbours do not wait."""

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass

from stage import Failed, Memory, Neighbours, check

# How long Lyceum lets a head take, and some more.
HEAD_LIMIT = 40


@dataclass
class SlowHeads:
    """Heads that come byte by byte."""

    count: int = 400
    note: str = ""

    @property
    def name(self):
        return f"{self.count} heads, a byte in each second"

    def run(self, proxy):
        before = proxy.proxy.sockets() if proxy.proxy.pids() else 0
        head = b"GET /user/slow HTTP/1.1\r\nHost: localhost\r\n" + b"X-Slow: " + b"a" * 1000
        with contextlib.ExitStack() as stack:
            stack.enter_context(Memory(proxy, 30))
            stack.enter_context(Neighbours(proxy))
            sockets = [stack.enter_context(proxy.connect()) for _ in range(self.count)]
            left = trickle(sockets, head, HEAD_LIMIT if proxy.strict else 3)
        self.note = f"{self.count - left} of {self.count} were closed"
        if proxy.strict:
            check(left == 0, f"{left} are still open after {HEAD_LIMIT} s")
        settle(proxy, before)


def trickle(sockets, text, seconds):
    """Sends a byte in each second to each, for so long; gives how many are still open."""
    selector = selectors.DefaultSelector()
    for one in sockets:
        one.setblocking(False)
        selector.register(one, selectors.EVENT_READ)
    begun, position = time.monotonic(), 0
    while time.monotonic() - begun < seconds and selector.get_map():
        for key in list(selector.get_map().values()):
            with contextlib.suppress(OSError):
                key.fileobj.send(text[position % len(text) : position % len(text) + 1])
        position += 1
        until = time.monotonic() + 1
        while (wait := until - time.monotonic()) > 0 and selector.get_map():
            for key, _ in selector.select(wait):
                try:
                    closed = not key.fileobj.recv(65536)
                except BlockingIOError:
                    closed = False
                except OSError:
                    closed = True
                if closed:
                    selector.unregister(key.fileobj)
    return len(selector.get_map())


def settle(proxy, before, limit=10):
    """Waits until the proxy holds about as many sockets as before."""
    if not proxy.proxy.pids():
        return
    deadline = time.monotonic() + limit
    while (now := proxy.proxy.sockets()) > before + 80:
        check(time.monotonic() < deadline, f"{now} sockets are open, {before} were before")
        time.sleep(0.1)


@dataclass
class SlowBodies:
    """Bodies that come byte by byte, of which most is announced."""

    name = "200 bodies, a byte in each second"

    def run(self, proxy):
        before = proxy.proxy.sockets() if proxy.proxy.pids() else 0
        with contextlib.ExitStack() as stack:
            stack.enter_context(Memory(proxy, 30))
            stack.enter_context(Neighbours(proxy))
            sockets = [stack.enter_context(proxy.connect()) for _ in range(200)]
            for one in sockets:
                one.sendall(b"POST /user/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
            trickle(sockets, b"x", 5)
        settle(proxy, before)


@dataclass
class SlowReaders:
    """Clients that ask for much and read nothing: the server has to wait, not the proxy's memory to grow."""

    name = "40 clients that do not read 20 MB each"
    note: str = ""

    def run(self, proxy):
        before = proxy.proxy.sockets() if proxy.proxy.pids() else 0
        with contextlib.ExitStack() as stack:
            memory = stack.enter_context(Memory(proxy, 60))
            stack.enter_context(Neighbours(proxy))
            for _ in range(40):
                one = stack.enter_context(proxy.connect())
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.sendall(b"GET /user/big/20000000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(3)
        self.note = f"memory grew by {memory.growth:.0f} MiB"
        settle(proxy, before)


@dataclass
class BigUploads:
    """Bodies that a server does not read: the client has to wait."""

    name = "50 uploads of 20 MB to a server that does not read"
    note: str = ""

    def run(self, proxy):
        before = proxy.proxy.sockets() if proxy.proxy.pids() else 0
        part = b"x" * 65536
        with contextlib.ExitStack() as stack:
            memory = stack.enter_context(Memory(proxy, 60))
            stack.enter_context(Neighbours(proxy))
            sockets = [stack.enter_context(proxy.connect()) for _ in range(50)]
            for one in sockets:
                # Such a server looks at the head only: see the backend.
                one.sendall(b"POST /user/does/not-read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n")
                one.setblocking(False)
            until = time.monotonic() + 3
            while time.monotonic() < until:
                for one in sockets:
                    with contextlib.suppress(OSError):
                        one.send(part)
                time.sleep(0.005)
        self.note = f"memory grew by {memory.growth:.0f} MiB"
        settle(proxy, before)


@dataclass
class HeadBombs:
    """Heads without end, many at once."""

    name = "100 heads of 2 MB at once"
    note: str = ""

    def run(self, proxy):
        before = proxy.proxy.sockets() if proxy.proxy.pids() else 0
        part = b"X-Filler: " + b"y" * 8000 + b"\r\n"
        with contextlib.ExitStack() as stack:
            memory = stack.enter_context(Memory(proxy, 40))
            stack.enter_context(Neighbours(proxy))
            sockets = [stack.enter_context(proxy.connect()) for _ in range(100)]
            for one in sockets:
                one.sendall(b"GET /user/bomb HTTP/1.1\r\nHost: localhost\r\n")
                one.setblocking(False)
            for _ in range(250):
                for one in sockets:
                    with contextlib.suppress(OSError):
                        one.send(part)
        self.note = f"memory grew by {memory.growth:.0f} MiB"
        seen = [one for one in proxy.backend.own() if b"bomb" in one.target]
        check(not seen, f"{len(seen)} of them came through")
        settle(proxy, before)


@dataclass
class Connections:
    """Many connections that say nothing, and go."""

    name = "3,000 connections without a word"
    note: str = ""

    def run(self, proxy):
        before = proxy.proxy.sockets() if proxy.proxy.pids() else 0
        with contextlib.ExitStack() as stack:
            memory = stack.enter_context(Memory(proxy, 60))
            for _ in range(3000):
                try:
                    stack.enter_context(proxy.connect())
                except OSError as error:
                    raise Failed(f"no connection: {error!r}") from error
            stack.enter_context(Neighbours(proxy))
            time.sleep(1)
        self.note = f"memory grew by {memory.growth:.0f} MiB"
        settle(proxy, before)


def cases():
    return [SlowHeads(), SlowBodies(), SlowReaders(), BigUploads(), HeadBombs(), Connections()]
