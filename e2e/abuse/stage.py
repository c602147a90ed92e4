"""What the cases share: a proxy with its backend, raw connections, neighbours that must not be hurt, and verdicts."""

import http.client
import re
import socket
import ssl
import threading
import time

HOST = "127.0.0.1"
# Who gets more than this of what never ends, goes.
MOST = 2 << 20


class Failed(Exception):
    """A case that does not hold; says why."""


def check(holds, text):
    if not holds:
        raise Failed(text)


class Target:
    """The proxy that is tried: its ports, its backend, and what it uses of the machine."""

    def __init__(self, name, proxy, backend, prefix="/user/"):
        self.name, self.proxy, self.backend, self.prefix = name, proxy, backend, prefix
        self.port, self.tls_port = proxy.port, proxy.tls_port
        # Lyceum refuses what is ambiguous; of others it is enough that nothing is smuggled through them.
        self.strict = name == "lyceum"
        self.authority = f"{HOST}:{self.port}"

    def connect(self, timeout=10):
        return socket.create_connection((HOST, self.port), timeout)

    def connect_h2(self, timeout=10):
        """Gives a TLS connection with HTTP/2."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        connection = context.wrap_socket(socket.create_connection((HOST, self.tls_port), timeout), server_hostname="localhost")
        check(connection.selected_alpn_protocol() == "h2", "HTTP/2 is not spoken")
        return connection

    def neighbour(self, number, timeout=10):
        """Asks something ordinary on a new connection; fails if the answer is late, or another's."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request("GET", f"{self.prefix}neighbour?id={number}")
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"a neighbour's request failed: {error!r}") from error
        finally:
            connection.close()
        check(answer.status == 200, f"a neighbour got {answer.status}: {text[:100]!r}")
        own = f'neighbour?id={number}"'.encode()
        check(own in text, f"a neighbour got another's answer: {text[:100]!r}")
        return time.monotonic() - begun

    def memory(self):
        return self.proxy.memory()


class Neighbours:
    """People who go on asking while something bad is done: `with Neighbours(target): …` fails if they notice."""

    MOST = 1.5

    def __init__(self, target, count=2):
        self.target, self.count = target, count
        self.over = threading.Event()
        self.failures, self.longest, self.asked = [], 0, 0

    def __enter__(self):
        self.threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(self.count)]
        for thread in self.threads:
            thread.start()
        return self

    def _ask(self, number):
        while not self.over.is_set():
            number += self.count
            try:
                self.longest = max(self.longest, self.target.neighbour(number))
                self.asked += 1
            except Failed as error:
                self.failures.append(str(error))
            self.over.wait(0.01)

    def __exit__(self, kind, _value, _trace):
        self.over.set()
        for thread in self.threads:
            thread.join(15)
        if kind is None:
            check(not self.failures, f"{len(self.failures)} of the neighbours' requests failed: {self.failures[:1]}")
            check(self.longest <= self.MOST, f"a neighbour waited for {self.longest:.1f} s")


class Memory:
    """Watches a proxy's memory: `with Memory(target, 30): …` fails if it grows by more, in MiB, at any time."""

    def __init__(self, target, most):
        self.target, self.most = target, most
        self.over = threading.Event()

    def __enter__(self):
        self.before = self.peak = self.target.memory()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self):
        while not self.over.wait(0.05):
            self.peak = max(self.peak, self.target.memory())

    @property
    def growth(self):
        return self.peak - self.before

    def __exit__(self, kind, _value, _trace):
        self.over.set()
        self.thread.join(5)
        if kind is None:
            check(self.growth <= self.most, f"memory grew by {self.growth:.0f} MiB, more than {self.most}")


class Answer:
    """An answer as a client reads it, and whether it is whole."""

    def __init__(self, status, headers, body, whole):
        self.status, self.headers, self.body, self.whole = status, headers, body, whole

    def __repr__(self):
        return f"{self.status} {self.body[:60]!r}{'' if self.whole else ' (cut off)'}"


def send_raw(target, *parts, timeout=3, pause=0.05, enough=None):
    """Sends parts on a new connection; gives all bytes that come back until it is closed or silent.

    Where `enough` says of what came that nothing else is to come, the silence need not be long.
    """
    received = b""
    with target.connect() as connection:
        connection.settimeout(timeout)
        try:
            for index, part in enumerate(parts):
                if index:
                    time.sleep(pause)
                connection.sendall(part)
        except OSError:
            # Refused before all was sent.
            pass
        try:
            while data := connection.recv(65536):
                received += data
                if len(received) > MOST:
                    break
                if enough and len(received) < 100_000 and enough(received):
                    connection.settimeout(0.2)
        except OSError:
            pass
    return received


def answers_of(received, heads=0):
    """Splits what came back into answers; the first `heads` have no body."""
    found = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end or not head.startswith(b"HTTP/1."):
            found.append(Answer(0, {}, received, False))
            return found
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1]) if re.match(r"HTTP/1\.\d \d{3}( |$)", lines[0]) else 0
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        received = rest
        if 100 <= status < 200:
            if status == 101:
                found.append(Answer(status, headers, rest, True))
                return found
            continue
        without = len(found) < heads or status in (204, 304)
        body, received, whole = (b"", rest, True) if without else _body(headers, rest)
        found.append(Answer(status, headers, body, whole))
    return found


def _body(headers, rest):
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            line, end, rest = rest.partition(b"\r\n")
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                return body, b"", False
            if size == 0:
                # Trailers are of no use here.
                if rest.startswith(b"\r\n"):
                    return body, rest[2:], True
                head, end, rest = rest.partition(b"\r\n\r\n")
                return body, rest, bool(end)
            body, rest = body + rest[:size], rest[size:]
            if not rest.startswith(b"\r\n"):
                return body, b"", False
            rest = rest[2:]
    if "content-length" in headers:
        size = int(headers["content-length"])
        return rest[:size], rest[size:], len(rest) >= size
    return rest, b"", True
