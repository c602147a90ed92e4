"""As much of HTTP/2 as it takes to abuse it: frames are written by hand, and headers without any compression."""

import ssl
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def integer(value, bits, first=0):
    """A number as RFC 7541 §5.1 writes it."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out = [first | most]
    value -= most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes((*out, value))


def literal(name, value, first=0x00):
    """A header that is written out; with `first` 0x40 the other side puts it into its table."""
    return bytes((first,)) + integer(len(name), 7) + name + integer(len(value), 7) + value


def block(*headers, method=b"GET", path=b"/user/h2", authority=b"localhost", scheme=b"https"):
    """A block of headers; a pseudo-header that is `None` is left out."""
    pseudo = ((b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path))
    return b"".join(literal(name, value) for name, value in (*((n, v) for n, v in pseudo if v is not None), *headers))


class Connection:
    """A client's side. Answers SETTINGS and reads answers when it is asked to, and not otherwise."""

    def __init__(self, target, timeout=5):
        self.socket = target.connect_h2(timeout)
        self.held = b""
        # Whether the other side has closed, or takes nothing more.
        self.closed = self.stalled = False
        # By stream: the block of headers as it came, the body, and whether it has ended.
        self.answers, self.resets, self.goaway = {}, {}, None
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends; gives whether the other side still takes it."""
        try:
            self.socket.sendall(data)
        except TimeoutError:
            self.stalled = True
        except OSError:
            self.closed = True
        return not self.closed and not self.stalled

    def poll(self):
        """Reads what is there, without waiting."""
        usual = self.socket.gettimeout()
        self.socket.setblocking(False)
        try:
            while data := self.socket.recv(65536):
                self.held += data
            self.closed = True
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.closed = True
        self.socket.settimeout(usual)
        self._frames()

    def request(self, stream, *headers, body=None, **pseudo):
        flags = END_HEADERS if body is not None else END_HEADERS | END_STREAM
        sent = self.send(frame(HEADERS, flags, stream, block(*headers, **pseudo)))
        if body is not None:
            sent = self.send(frame(DATA, END_STREAM, stream, body))
        return sent

    def read_until(self, holds, seconds=5):
        """Reads frames until `holds()`, the end, or for so long; gives what `holds()` says then."""
        deadline = time.monotonic() + seconds
        while not holds() and not self.closed and (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                break
            except OSError:
                data = b""
            self.closed = not data
            self.held += data
            self._frames()
        return holds()

    def _frames(self):
        while len(self.held) >= 9 and len(self.held) >= 9 + (length := int.from_bytes(self.held[:3], "big")):
            kind, flags = self.held[3], self.held[4]
            stream = int.from_bytes(self.held[5:9], "big") & 0x7FFFFFFF
            payload, self.held = self.held[9 : 9 + length], self.held[9 + length :]
            answer = self.answers.setdefault(stream, [b"", b"", False]) if kind in (HEADERS, DATA) else None
            if kind == HEADERS:
                answer[0] += payload
            elif kind == DATA:
                answer[1] += payload
                if payload:
                    window = struct.pack("!I", len(payload))
                    self.send(frame(WINDOW_UPDATE, 0, 0, window))
            elif kind == RST_STREAM:
                self.resets[stream] = int.from_bytes(payload, "big")
            elif kind == GOAWAY:
                self.goaway = int.from_bytes(payload[4:8], "big")
            elif kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            if answer and flags & END_STREAM:
                answer[2] = True

    def status(self, stream):
        """The status of an answer, as far as it stands at the begin of its headers; 0 for a reset or an end."""
        holds = lambda: stream in self.resets or self.goaway is not None or (stream in self.answers and self.answers[stream][2])
        self.read_until(holds)
        if stream not in self.answers or stream in self.resets and not self.answers[stream][2]:
            return 0
        return status_of(self.answers[stream][0])


def status_of(headers):
    """Reads `:status` only, which comes first: from the static table, or written out, maybe in Huffman's digits."""
    known = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
    # Before it there may be changes of the table's size.
    while headers and headers[0] & 0xE0 == 0x20:
        headers = headers[1:]
    if not headers:
        return 0
    if headers[0] & 0x80:
        return known.get(headers[0] & 0x7F, 0)
    size, text = headers[1] & 0x7F, headers[2:]
    if headers[1] & 0x80:
        return int(digits(text[:size]) or 0)
    return int(text[:size])


def digits(text):
    """Reads Huffman's code of digits (RFC 7541, appendix B): 0, 1 and 2 have five bits, the others six."""
    bits = "".join(f"{byte:08b}" for byte in text)
    out = ""
    while len(bits) >= 5:
        if bits[:5] in ("00000", "00001", "00010"):
            out, bits = out + str(int(bits[:5], 2)), bits[5:]
        elif len(bits) >= 6 and 0b011001 <= int(bits[:6], 2) <= 0b011111:
            out, bits = out + str(int(bits[:6], 2) - 0b011001 + 3), bits[6:]
        else:
            break
    return out
