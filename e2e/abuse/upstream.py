"""Servers that misbehave: only the request that went to them may be hurt, and no other for long."""

import re
import time
from dataclasses import dataclass

from backend import MISBEHAVIOUR
from stage import Memory, Neighbours, answers_of, check, send_raw

# Where an answer begins well and then goes wrong: nobody may take what came for the whole.
CUT = {
    "die-mid-body",
    "die-mid-chunk",
    "die-between-chunks",
    "abort-mid-body",
    "bad-chunk",
    "huge-chunk",
    "endless-trailers",
    "endless-chunk-head",
}
# What cannot be an answer at all.
REFUSED = {
    "close", "abort", "half-a-head", "garbage", "tls", "http-0.9", "odd-status", "no-status", "odd-version", "two-lengths", "odd-length",
    "stray-cr", "stray-nul", "odd-header", "unasked-101",
    "endless-headers", "one-endless-header", "endless-interim", "endless-hints", "early-close",
}  # fmt: skip
# Others pass these on, or read them in their way; Lyceum need not.
LENIENT = {
    "http-0.9",
    "odd-version",
    "odd-status",
    "length-and-chunks",
    "odd-coding",
    "odd-header",
    "stray-nul",
    "two-lengths",
    "odd-length",
    "bare-lf",
}
MEMORY = 40


@dataclass
class Misbehaves:
    """One way to misbehave, seen by who asked, and by neighbours at the same time."""

    kind: str
    note: str = ""

    @property
    def name(self):
        return f"a server that does {self.kind}"

    def run(self, proxy):
        method = {"head-with-body": b"HEAD"}.get(self.kind, b"GET")
        body, length = (b"x" * 300_000, b"Content-Length: 5000000\r\n") if MISBEHAVIOUR[self.kind].early else (b"", b"")
        method = b"POST" if length else method
        path = b"/user/does/" + self.kind.encode()
        request = method + b" " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + length + b"\r\n" + body
        following = b"GET /user/following HTTP/1.1\r\nHost: localhost\r\n\r\n"
        patience = 1.5 if self.kind == "hang" else 3
        with Memory(proxy, MEMORY) as memory, Neighbours(proxy):
            heads = 1 if method == b"HEAD" else 0
            both = lambda received: sum(answer.whole for answer in answers_of(received, heads)) == 2
            parts = [request] if length else [request, following]
            received = send_raw(proxy, *parts, timeout=patience, enough=both)
        if proxy.memory():
            self.note = f"memory grew by {memory.growth:.1f} MiB"
        answers = answers_of(received, heads)
        self.judge(proxy, answers, received)
        # What the server said too much may wait on a connection that is kept: the next ones must not get it.
        for number in range(8):
            proxy.neighbour(number)

    def judge(self, proxy, answers, received):
        said = f"the client got {answers[:3]}"
        first = answers[0] if answers else None
        if proxy.strict and self.kind != "odd-coding":
            check(b"evil" not in received, f"something that nobody asked for came through; {said}")
        for later in answers[1:]:
            check(b"following" in later.body or later.status >= 400, f"the next request got another answer; {said}")
        if not proxy.strict and self.kind in LENIENT:
            return
        if self.kind in CUT:
            check(first is None or first.status >= 500 or not first.whole, f"what was cut off seems to be whole; {said}")
        elif self.kind in REFUSED:
            check(first is None or first.status >= 500 or not first.whole, f"passed on; {said}")
            if proxy.strict and self.kind != "early-close":
                check(first is not None and first.status in (502, 503, 504), f"no answer that says so; {said}")
        elif self.kind == "length-and-chunks":
            # RFC 9112 §6.3: the chunks count, if it is not refused.
            check(first is None or first.status >= 500 or first.body == b"abc", said)
        elif self.kind == "early-answer":
            check(first is not None and first.status == 403, f"the early answer is lost; {said}")
        elif self.kind == "hang":
            check(first is None or first.status == 504, said)
        elif self.kind == "more-than-announced":
            check(first is not None and (first.body == b"hello" or first.status >= 500), said)
        if proxy.strict and first is not None:
            check("set-cookie" not in first.headers, f"a header was made of another; {said}")
            check(not re.search(rb"[\x00\r\n]", first.headers.get("x-a", "").encode()), f"a header with a stray byte; {said}")


class AnswersTwice:
    """A second answer comes on a kept connection, to nobody: whoever uses the connection next must not get it."""

    name = "a server that answers again when nobody has asked"

    def run(self, proxy):
        for _ in range(3):
            received = send_raw(proxy, b"GET /user/does/answers-twice HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout=0.5)
            check(b"hello" in received and b"evil" not in received, f"the client got {received[-100:]!r}")
            for number in range(5):
                proxy.neighbour(number)


class ManyHang:
    """200 requests hang at the server; neighbours do not notice, and when the clients go, nothing of it stays."""

    name = "200 requests that hang"

    def run(self, proxy):
        before = proxy.backend.connections
        with Memory(proxy, MEMORY), Neighbours(proxy):
            sockets = [proxy.connect() for _ in range(200)]
            for one in sockets:
                one.sendall(b"GET /user/does/hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(1)
            for one in sockets:
                one.close()
            deadline = time.monotonic() + 10
            while proxy.backend.connections > before + 40 and time.monotonic() < deadline:
                time.sleep(0.05)
        left = proxy.backend.connections - before
        check(left <= 40, f"{left} connections to the server are left 10 s after the clients have gone")


def cases():
    for kind in MISBEHAVIOUR:
        # That one is for the floods, and with neighbours at the same moment the other is a race that nobody can win.
        if kind not in ("not-read", "answers-twice"):
            yield Misbehaves(kind)
    yield AnswersTwice()
    yield ManyHang()
