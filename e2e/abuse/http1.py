"""Requests in HTTP/1 that two servers could read in two ways, heads without measure, and claims about hosts.

A case sends bytes. Wherever the bytes could hide a second request, that is for `/user/smuggled`: the backend must
never see it, unless the case says that it is a request of its own.
"""

from dataclasses import dataclass

from stage import answers_of, check, send_raw

HIDDEN = b"GET /user/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

# What a case expects: REFUSE is an answer of 4xx or 5xx (or none), and nothing at the backend; READ is that the backend gets it
# as meant; EITHER allows both. `strict` says what is expected of Lyceum, `others` of any proxy.
REFUSE, READ, EITHER = "refuse", "read", "either"


@dataclass
class Case:
    name: str
    parts: tuple
    strict: str = REFUSE
    others: str = EITHER
    # What the backend has to see, if it sees something: the body of the first request, and how many requests.
    body: bytes = None
    count: int = 1
    target: bytes = None

    def run(self, proxy):
        proxy.backend.take()
        received = send_raw(proxy, *self.parts, timeout=SILENCE)
        answers = answers_of(received)
        # What was begun and cut off does no harm, as no server acts on half a request.
        seen = [one for one in proxy.backend.own() if one.problem != "half a body"]
        said = f"answers {answers[:3]}, the backend saw {[(one.method, one.target[:60], one.length) for one in seen[:3]]}"
        for one in seen:
            check(not one.problem, f"the backend got {one.problem}")
            if self.target is None:
                check(b"smuggled" not in one.target, f"smuggled; {said}")
        wanted = self.strict if proxy.strict else self.others
        if not seen:
            check(all(answer.status >= 400 for answer in answers), f"answered without the backend; {said}")
            check(wanted != READ, f"refused; {said}")
            if proxy.strict:
                check(
                    answers and answers[-1].status < 500 or not answers or answers[-1].status in (501, 505),
                    f"refused, but as its own fault; {said}",
                )
        else:
            check(wanted != REFUSE, f"not refused; {said}")
            check(len(seen) <= self.count, f"{len(seen)} requests at the backend; {said}")
            if wanted == READ:
                check(len(seen) == self.count, f"{len(seen)} requests at the backend, not {self.count}; {said}")
            if self.body is not None:
                check(seen[0].body == self.body, f"the body is {seen[0].body[:60]!r}; {said}")
            good = [answer for answer in answers if answer.status < 400 and answer.whole]
            check(len(good) <= len(seen), f"{len(good)} answers to {len(seen)} requests; {said}")
        proxy.neighbour(1)


# How long nothing comes until a connection counts as silent, in seconds.
SILENCE = 0.7


def post(*headers, body=b"", line=b"POST /user/outer HTTP/1.1", host=b"Host: localhost"):
    """A request with these headers; a header is a line without its end."""
    lines = [line, *([host] if host else []), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body, *headers):
    return post(b"Transfer-Encoding: chunked", *headers, body=body)


def lengths():
    hidden = b"%d" % len(HIDDEN)
    yield Case(
        "Content-Length before Transfer-Encoding",
        (post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN),),
    )
    yield Case(
        "Transfer-Encoding before Content-Length",
        (post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"1\r\nZ\r\n0\r\n\r\n" + HIDDEN),),
    )
    yield Case("two different lengths", (post(b"Content-Length: 0", b"Content-Length: " + hidden, body=HIDDEN),))
    yield Case(
        "two different lengths, the long one first", (post(b"Content-Length: " + hidden, b"Content-Length: 0", body=HIDDEN),)
    )
    yield Case(
        "the same length twice", (post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),), strict=EITHER, body=b"hello"
    )
    yield Case("a list of lengths", (post(b"Content-Length: 5, 6", body=b"hello" + HIDDEN),))
    for text in (
        b"+5",
        b"-5",
        b"0x5",
        b"5 5",
        b"5e0",
        b"5.0",
        b"",
        b"5;",
        b"'5'",
        b"\xef\xbc\x95",
        b"18446744073709551621",
        b"99999999999999999999999",
        b"5\x0b",
    ):
        yield Case(f"the length {text!r}", (post(b"Content-Length: " + text, body=b"hello" + HIDDEN),))
    yield Case("a length with zeros before it", (post(b"Content-Length: 0005", body=b"hello"),), strict=EITHER, body=b"hello")
    yield Case("spaces around a length", (post(b"Content-Length: \t 5 \t", body=b"hello"),), strict=EITHER, body=b"hello")
    yield Case(
        "a length with an underscore",
        (post(b"Content_Length: " + hidden, b"Content-Length: 5", body=b"hello"),),
        strict=EITHER,
        body=b"hello",
    )
    yield Case(
        "GET with a body",
        (post(b"Content-Length: 5", body=b"hello", line=b"GET /user/outer HTTP/1.1"),),
        strict=READ,
        others=READ,
        body=b"hello",
    )
    yield Case(
        "DELETE with chunks",
        (post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n", line=b"DELETE /user/outer HTTP/1.1"),),
        strict=READ,
        others=EITHER,
        body=b"hello",
    )
    yield Case("no length and bytes after the head", (post(body=b"hello"),), strict=EITHER, body=b"")
    yield Case(
        "Connection names Content-Length",
        (post(b"Connection: Content-Length", b"Content-Length: " + hidden, body=HIDDEN),),
        strict=EITHER,
        body=HIDDEN,
    )
    yield Case(
        "Connection names Transfer-Encoding",
        (chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN), b"Connection: Transfer-Encoding"),),
        strict=EITHER,
        body=HIDDEN,
    )
    yield Case("Connection names Host", (post(b"Connection: close, Host", b"Content-Length: 0"),), strict=EITHER)


def codings():
    zero = b"0\r\n\r\n" + HIDDEN
    for text in (
        b"xchunked",
        b"chunked, identity",
        b"identity, chunked",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked;q=1",
        b'"chunked"',
        b"\x0bchunked",
        b"chunked\x0c",
        b"identity",
        b"chunked,",
        b", chunked",
        b"chu nked",
        b"chunked\x00",
        b"",
    ):
        yield Case(f"the coding {text!r}", (post(b"Transfer-Encoding: " + text, b"Content-Length: 5", body=zero),))
        yield Case(
            f"the coding {text!r} alone",
            (post(b"Transfer-Encoding: " + text, body=zero),),
            strict=EITHER if text in (b", chunked", b"chunked,") else REFUSE,
        )
    yield Case("two codings", (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=zero),))
    yield Case("chunked twice", (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=zero),))
    yield Case("a space before the colon", (post(b"Transfer-Encoding : chunked", b"Content-Length: 5", body=zero),))
    yield Case("a tab before the colon", (post(b"Content-Length\t: 5", body=b"hello" + HIDDEN),))
    yield Case("a coding folded", (post(b"Transfer-Encoding:\r\n chunked", b"Content-Length: 5", body=zero),))
    yield Case(
        "a coding behind a fold",
        (post(b"X: a\r\n Transfer-Encoding: chunked", b"Content-Length: 5", body=b"hello"),),
        body=b"hello",
    )
    yield Case("a coding behind a bare line feed", (post(b"X: a\nTransfer-Encoding: chunked", b"Content-Length: 5", body=zero),))
    yield Case(
        "a coding behind a bare carriage return", (post(b"X: a\rTransfer-Encoding: chunked", b"Content-Length: 5", body=zero),)
    )
    yield Case("chunks in HTTP/1.0", (post(b"Transfer-Encoding: chunked", body=zero, line=b"POST /user/outer HTTP/1.0"),))
    yield Case(
        "CHUNKED in capitals", (post(b"TRANSFER-ENCODING: CHUNKED", body=b"5\r\nhello\r\n0\r\n\r\n"),), strict=READ, body=b"hello"
    )
    yield Case(
        "a coding with an underscore",
        (post(b"Transfer_Encoding: chunked", b"Content-Length: 5", body=b"hello"),),
        strict=EITHER,
        body=b"hello",
    )


def chunks():
    yield Case(
        "good chunks", (chunked(b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"),), strict=READ, others=READ, body=b"hello world"
    )
    yield Case(
        "good chunks byte by byte",
        tuple(bytes([byte]) for byte in chunked(b"3\r\nabc\r\n0\r\n\r\n")),
        strict=READ,
        others=READ,
        body=b"abc",
    )
    yield Case("chunks with a trailer", (chunked(b"5\r\nhello\r\n0\r\nX-A: b\r\n\r\n"),), strict=READ, body=b"hello")
    yield Case(
        "a trailer with a length", (chunked(b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"),), strict=EITHER, body=b"hello"
    )
    for size in (
        b"g",
        b"0x5",
        b"-5",
        b"+5",
        b"5 5",
        b"",
        b" 5",
        b"5\x0b",
        b"5h",
        b"10000000000000005",
        b"ffffffffffffffff",
        b"8000000000000005",
        b"fffffffffffffffffffff",
    ):
        yield Case(f"a chunk of size {size!r}", (chunked(size + b"\r\nhello\r\n0\r\n\r\n" + HIDDEN),))
    yield Case("a chunk's size with many zeros", (chunked(b"0" * 40 + b"5\r\nhello\r\n0\r\n\r\n"),), strict=EITHER, body=b"hello")
    yield Case("a space behind a chunk's size", (chunked(b"5 \r\nhello\r\n0\r\n\r\n"),), strict=EITHER, body=b"hello")
    yield Case("a chunk's head that ends with a line feed", (chunked(b"5\nhello\r\n0\r\n\r\n" + HIDDEN),))
    yield Case("a chunk's extension with a line feed", (chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n" + HIDDEN),))
    yield Case("a chunk's extension with a carriage return", (chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n" + HIDDEN),))
    yield Case("a chunk without its end", (chunked(b"5\r\nhello0\r\n\r\n" + HIDDEN),))
    yield Case("a chunk that ends with a line feed", (chunked(b"5\r\nhello\n0\r\n\r\n" + HIDDEN),))
    yield Case("a chunk that ends with other bytes", (chunked(b"5\r\nhelloXX0\r\n\r\n" + HIDDEN),))
    yield Case("the last chunk ends with line feeds", (chunked(b"5\r\nhello\r\n0\n\n" + HIDDEN),))
    yield Case(
        "a trailer that is no header",
        (chunked(b"5\r\nhello\r\n0\r\nGET /user/smuggled HTTP/1.1\r\n\r\n"),),
        strict=EITHER,
        body=b"hello",
    )
    yield Case(
        "a chunk's head of 100 KB", (chunked(b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n"),), strict=EITHER, body=b"hello"
    )
    yield Case("trailers of 2 MB", (chunked(b"5\r\nhello\r\n0\r\n" + (b"X-A: " + b"b" * 1000 + b"\r\n") * 2000 + b"\r\n"),))
    yield Case(
        "a chunk of size 0 in the middle",
        (chunked(b"5\r\nhello\r\n0\r\n\r\n"), HIDDEN.replace(b"smuggled", b"second")),
        strict=READ,
        count=2,
        body=b"hello",
    )


def heads():
    get = b"GET /user/outer HTTP/1.1"
    simple = lambda *headers, **more: post(*headers, **{"line": get, **more})
    yield Case("an ordinary request", (simple(),), strict=READ, others=READ)
    yield Case("three at once", (simple() * 3,), strict=READ, others=READ, count=3)
    yield Case("empty lines before it", (b"\r\n\r\n" + simple(),), strict=EITHER)
    yield Case("a folded header", (simple(b"X: a\r\n b"),))
    yield Case("a folded first header", (get + b"\r\n X: a\r\nHost: localhost\r\n\r\n",))
    yield Case("all lines end with line feeds", (simple().replace(b"\r\n", b"\n"),))
    yield Case("one line ends with a line feed", (simple(b"X: a").replace(b"X: a\r\n", b"X: a\n"),))
    yield Case("a line ends with two carriage returns", (simple(b"X: a\r"),))
    yield Case("a bare carriage return in a value", (simple(b"X: a\rb"),))
    for name, byte in (("NUL", b"\0"), ("a bell", b"\x07"), ("DEL", b"\x7f"), ("a vertical tab", b"\x0b")):
        yield Case(f"{name} in a value", (simple(b"X: a" + byte + b"b"),))
        yield Case(f"{name} in a name", (simple(b"X" + byte + b"Y: a"),))
        yield Case(f"{name} in the target", (simple(line=b"GET /user/out" + byte + b"er HTTP/1.1"),))
    yield Case("bytes above 127 in a value", (simple(b"X: \xe4\xff"),), strict=EITHER)
    yield Case("bytes above 127 in a name", (simple(b"X\xe4: a"),))
    yield Case("bytes above 127 in the target", (simple(line=b"GET /user/\xe4 HTTP/1.1"),))
    for line in (b": empty name", b"no colon", b"X (a): b", b'"X": a', b"X{}: a", b"X\t: a", b"X Y: a", b"X,Y: a"):
        yield Case(f"the header {line!r}", (simple(line),))
    for line in (
        b"GET  /user/outer HTTP/1.1", b"GET /user/outer  HTTP/1.1", b"GET\t/user/outer HTTP/1.1", b"GET /user/out er HTTP/1.1", b" GET /user/outer HTTP/1.1",
        b"GET /user/outer HTTP/1.1 ", b"GET /user/outer http/1.1", b"GET /user/outer HTTP/1.2x", b"GET /user/outer HTTP/11", b"GET /user/outer HTTP/0.9", b"GET /user/outer HTTP/2.0",
        b"GET /user/outer HTTP/1.1\x00", b"GET /user/outer", b"/user/outer HTTP/1.1", b"GE(T /user/outer HTTP/1.1", b"GET user/outer HTTP/1.1", b"GET /user/outer FTP/1.1", b"GET /user/o#x HTTP/1.1",
    ):  # fmt: skip
        either = line in (b"GET /user/outer HTTP/1.2x", b"GET /user/o#x HTTP/1.1")
        yield Case(f"the request line {line!r}", (simple(line=line),), strict=EITHER if either else REFUSE)
    yield Case("CONNECT", (simple(line=b"CONNECT localhost:22 HTTP/1.1"),))
    yield Case("CONNECT for a path", (simple(line=b"CONNECT /user/outer HTTP/1.1"),))
    yield Case("OPTIONS *", (simple(line=b"OPTIONS * HTTP/1.1"),))
    yield Case("TRACE", (simple(line=b"TRACE /user/outer HTTP/1.1"),), strict=EITHER)
    yield Case("a method of its own", (simple(line=b"PROPFIND /user/outer HTTP/1.1"),), strict=READ)
    yield Case("1,000 headers", (simple(*(b"X-%d: a" % number for number in range(1000))),))
    yield Case("a header of 100 KB", (simple(b"X: " + b"a" * 100_000),))
    yield Case("a header of 4 MB", (simple(b"X: " + b"a" * 4_000_000),))
    yield Case("headers of 4 MB", (simple(*[b"X: " + b"a" * 4000] * 1000),))
    yield Case("a target of 100 KB", (simple(line=b"GET /user/" + b"a" * 100_000 + b" HTTP/1.1"),))
    yield Case("a name of 100 KB", (simple(b"X" * 100_000 + b": a"),))
    yield Preface("preface of HTTP/2 in the clear", (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",))
    yield Case("a TLS greeting", (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 200,))


class Preface(Case):
    """Whoever speaks HTTP/2 answers in it, others refuse; to a server it means nothing."""

    def run(self, proxy):
        proxy.backend.take()
        received = send_raw(proxy, *self.parts, timeout=SILENCE)
        settings = len(received) >= 9 and received[3] == 4
        check(settings or all(answer.status >= 400 for answer in answers_of(received)), f"answered with {received[:60]!r}")
        check(not proxy.backend.own(), "it has come through")
        proxy.neighbour(1)


def hosts():
    get = b"GET /user/outer HTTP/1.1"
    yield Case("no Host", (post(line=get, host=None),))
    yield Case("no Host in HTTP/1.0", (post(line=b"GET /user/outer HTTP/1.0", host=None),), strict=EITHER)
    yield Case("two Hosts", (post(b"Host: evil.example", line=get),))
    yield Case("the same Host twice", (post(b"Host: localhost", line=get),))
    for host in (
        b"",
        b"a b",
        b"a,b",
        b"user@localhost",
        b"localhost/path",
        b"localhost:port",
        b"localhost:80:80",
        b"http://localhost",
        b"[::1",
        b"a\x00b",
        b"localhost?x",
        b"localhost#x",
        b"a\\b",
    ):
        yield Case(f"the Host {host!r}", (post(line=get, host=b"Host: " + host),), strict=EITHER if host == b"" else REFUSE)
    yield Absolute("an absolute target and the same Host", (post(line=b"GET http://localhost/user/outer HTTP/1.1"),), strict=READ)
    yield Absolute(
        "an absolute target and another Host",
        (post(line=b"GET http://localhost/user/outer HTTP/1.1", host=b"Host: evil.example"),),
        strict=EITHER,
    )
    yield Absolute(
        "an absolute target and no Host", (post(line=b"GET http://localhost/user/outer HTTP/1.1", host=None),), strict=EITHER
    )
    yield Absolute("an absolute target with a user", (post(line=b"GET http://a@localhost/user/outer HTTP/1.1"),))
    yield Absolute("an absolute target of another scheme", (post(line=b"GET file:///user/outer HTTP/1.1"),))


class Absolute(Case):
    """Where target and Host differ, RFC 9112 §3.2.2 wants the target to count: the backend must not see the other."""

    def run(self, proxy):
        super().run(proxy)
        proxy.backend.take()
        send_raw(proxy, *self.parts, timeout=SILENCE)
        for one in proxy.backend.own():
            check(one.target == b"/user/outer", f"the backend saw the target {one.target!r}")
            if proxy.strict:
                check(one.all(b"host") == [b"localhost"], f"the backend saw the Host {one.all(b'host')}")


def upgrades():
    get = b"GET /user/outer/refuses HTTP/1.1"
    ask = (
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    elsewhere = b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield Elsewhere("a refused upgrade and a request behind it", (post(*ask, line=get), elsewhere), strict=READ)
    yield Elsewhere("a refused upgrade with the next request at once", (post(*ask, line=get) + elsewhere,), strict=EITHER)
    yield Elsewhere(
        "a refused upgrade with a wrong version",
        (post(*ask[:2], b"Sec-WebSocket-Version: 1777", ask[3], line=get), elsewhere),
        strict=EITHER,
    )
    yield Elsewhere(
        "an upgrade to h2c",
        (post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__", line=get), elsewhere),
        strict=EITHER,
    )
    yield Elsewhere("an upgrade that Connection does not name", (post(*ask[1:], line=get), elsewhere), strict=EITHER)
    yield Elsewhere(
        "an upgrade by POST",
        (post(*ask, b"Content-Length: 5", body=b"hello", line=get.replace(b"GET", b"POST")), elsewhere),
        strict=EITHER,
    )
    yield Elsewhere("an upgrade in HTTP/1.0", (post(*ask, line=get.replace(b"1.1", b"1.0")), elsewhere), strict=EITHER)
    yield Case(
        "Expect: 100-continue",
        (post(b"Expect: 100-continue", b"Content-Length: 5"), b"hello"),
        strict=READ,
        others=READ,
        body=b"hello",
    )
    yield Case("Expect of something else", (post(b"Expect: tea", b"Content-Length: 5", body=b"hello"),), strict=EITHER)
    yield Case("Expect without a body to come", (post(b"Expect: 100-continue", b"Content-Length: 0"),), strict=EITHER)


class Elsewhere(Case):
    """A tunnel that the backend has refused is none: what follows is a request like others, and goes by its path."""

    def run(self, proxy):
        proxy.backend.take()
        send_raw(proxy, *self.parts, timeout=SILENCE, pause=0.3)
        seen = proxy.backend.own()
        for one in seen:
            check(not one.problem, f"the backend got {one.problem}")
            check(b"elsewhere" not in one.target, "a request for elsewhere has come through")
            if proxy.strict:
                check(b"h2c" not in [value.lower() for value in one.all(b"upgrade")], "the backend was offered h2c")
        if proxy.strict and self.strict == READ:
            check(len(seen) == 1, f"{len(seen)} requests at the backend")
        proxy.neighbour(1)


def cases():
    for group in (lengths, codings, chunks, heads, hosts, upgrades):
        yield from group()
