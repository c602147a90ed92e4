#!/usr/bin/env python3
"""Open WebSockets while the route table changes: is one dropped, does one wait, and what does an idle one cost?

5,000 idle WebSockets and 1,000 that echo a message each second go through a proxy, while 100 times a second a route
is added or removed by its REST API. Prints the longest waits, what was dropped, and memory for each idle socket.

  python3 benches/tunnels.py                                 Lyceum alone
  python3 benches/tunnels.py --only lyceum,chp,nginx,direct  beside others; those without the API keep their routes
  python3 benches/tunnels.py --only chp --changes 0          without changes, for comparison
  python3 benches/tunnels.py --check                         fails if one is dropped, or waits for over 100 ms

Needs `ulimit -n` of 15,000 or more. Backend, client and changes are processes of their own.
`direct` has no proxy: what waits there, waits for this machine. Takes a minute for each.
"""

import argparse
import asyncio
import base64
import contextlib
import gc
import http.client
import json
import os
import statistics
import struct
import subprocess
import sys
import time

import lib
import proxies

PATHS = 100
TICK = 0.005
LATE = TICK + 0.02
OPEN_LIMIT = 120
AT_ONCE = 50


class Echo(asyncio.Protocol):
    """The backend's side: accepts each upgrade, and sends each frame back."""

    def __init__(self):
        self.head = bytearray()
        self.open = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if not self.open:
            self.head += data
            if b"\r\n\r\n" not in self.head:
                return
            self.open = True
            # Whoever is here trusts the other side: the key is not looked at.
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            self.head = bytearray()
            return
        self.head += data
        while len(self.head) >= 6 and len(self.head) >= 6 + (length := self.head[1] & 127):
            # The mask of the client is zero.
            self.transport.write(bytes((self.head[0], length)) + self.head[6 : 6 + length])
            del self.head[: 6 + length]


async def backend(port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    print("listening", flush=True)
    # Ends with whoever started it, whose pipe then closes; what waited for this process is not the proxy's.
    end = loop.run_in_executor(None, sys.stdin.read)
    delays, last = [], time.monotonic()
    while not end.done():
        await asyncio.sleep(TICK)
        now = time.monotonic()
        if now - last > LATE:
            delays.append((last, now))
        last = now
    print(json.dumps(delays), flush=True)
    server.close()


def change_routes(api_port, rate, seconds):
    """Adds and removes routes; prints how many, and how long the calls took."""
    connection = http.client.HTTPConnection("127.0.0.1", api_port, timeout=10)
    headers = {"Authorization": f"token {proxies.TOKEN}", "Content-Type": "application/json"}
    begun = time.monotonic()
    took, failed, number = [], 0, 0
    while time.monotonic() - begun < seconds:
        wait = begun + number / rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        path = f"/api/routes/changing/c{number // 2 % 500}"
        before = time.monotonic()
        if number % 2 == 0:
            connection.request("POST", path, json.dumps({"target": f"http://127.0.0.1:{1024 + number % 50000}"}), headers)
        else:
            connection.request("DELETE", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        took.append(time.monotonic() - before)
        failed += answer.status not in (200, 201, 204)
        number += 1
    took.sort()
    figures = {"changes": number, "failed": failed, "p50_ms": took[len(took) // 2] * 1000, "max_ms": took[-1] * 1000}
    print(json.dumps({**figures, "per_second": number / (time.monotonic() - begun)}))


class Tunnel(asyncio.Protocol):
    """The client's side of a WebSocket."""

    def __init__(self, load, number):
        self.load, self.number = load, number
        self.opened = asyncio.get_running_loop().create_future()
        self.data = bytearray()
        self.sent = {}
        self.dropped = False

    def connection_made(self, transport):
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /user/u{self.number % PATHS}/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data):
        now = time.monotonic()
        self.data += data
        if not self.opened.done():
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            if not self.data.startswith(b"HTTP/1.1 101 "):
                self.opened.set_exception(ConnectionError(bytes(self.data[:60]).decode("latin-1")))
                return
            del self.data[: end + 4]
            self.opened.set_result(None)
        while len(self.data) >= 2 and len(self.data) >= 2 + (length := self.data[1]):
            number = struct.unpack("!Q", self.data[2 : 2 + length])[0]
            del self.data[: 2 + length]
            if (begun := self.sent.pop(number, None)) is not None:
                self.load.waits.append((now - begun, begun))

    def send(self):
        number = self.load.next = self.load.next + 1
        self.sent[number] = time.monotonic()
        self.transport.write(b"\x82\x88\0\0\0\0" + struct.pack("!Q", number))

    def connection_lost(self, _error):
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("closed before it was open"))
        elif not self.load.over:
            self.dropped = True


class Load:
    """All tunnels of one proxy, and what is measured."""

    def __init__(self, proxy, options, server):
        self.proxy, self.options, self.server = proxy, options, server
        self.next, self.over = 0, False
        self.waits, self.delays = [], []
        self.failed = []

    async def open(self, numbers):
        """Opens tunnels, some at a time."""
        loop = asyncio.get_running_loop()
        turn = asyncio.Semaphore(AT_ONCE)
        opened = []

        async def one(number):
            async with turn:
                try:
                    _, tunnel = await loop.create_connection(lambda: Tunnel(self, number), "127.0.0.1", self.proxy.port)
                    await asyncio.wait_for(tunnel.opened, 30)
                    opened.append(tunnel)
                except (OSError, asyncio.TimeoutError) as error:
                    self.failed.append(repr(error))

        await asyncio.wait_for(asyncio.gather(*(one(number) for number in numbers)), OPEN_LIMIT)
        return opened

    async def send_for(self, tunnels, seconds, each):
        """Has each of the tunnels send once in `each` seconds; notes when this very loop was late."""
        begun = last = time.monotonic()
        done = 0
        while (now := time.monotonic()) - begun < seconds:
            if now - last > LATE:
                self.delays.append((last, now))
            last = now
            due = int((now - begun) / each * len(tunnels))
            for number in range(done, due):
                tunnel = tunnels[number % len(tunnels)]
                if not tunnel.dropped:
                    tunnel.send()
            done = due
            await asyncio.sleep(TICK)

    def own_delay(self, wait, begun):
        """How much of a wait client or backend was late."""
        return sum(max(0, min(end, begun + wait) - max(start, begun)) for start, end in self.delays)

    async def run(self):
        options, proxy = self.options, self.proxy
        figures = {"proxy": proxy.name}
        with contextlib.ExitStack() as stack:
            empty = proxy.memory() if proxy.processes else 0
            before = time.monotonic()
            idle = await self.open(range(options.idle))
            figures["opened_in_s"] = time.monotonic() - before
            await asyncio.sleep(1)
            figures["memory_idle_mib"] = proxy.memory() - empty if proxy.processes else 0
            figures["kib_per_idle"] = figures["memory_idle_mib"] * 1024 / max(1, len(idle))
            busy = await self.open(range(options.busy))
            gc.collect()
            gc.freeze()
            changing = None
            if proxy.has_routes and options.changes:
                command = [sys.executable, __file__, "--role", "changes", "--port", str(proxy.api_port)]
                command += ["--changes", str(options.changes), "--seconds", str(options.seconds)]
                changing = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            used = proxy.cpu_seconds() if proxy.processes else 0
            self.waits.clear()
            self.delays.clear()
            await self.send_for(busy, options.seconds, 1)
            figures["proxy_cpu"] = ((proxy.cpu_seconds() if proxy.processes else 0) - used) / options.seconds
            # What has not come back after another second counts with the time that it has waited so far.
            await asyncio.sleep(1)
            now = time.monotonic()
            waits = [*self.waits, *((now - begun, begun) for tunnel in busy for begun in tunnel.sent.values())]
            if changing:
                loop = asyncio.get_running_loop()
                text, _ = await loop.run_in_executor(None, lambda: changing.communicate(timeout=30))
                figures["routes"] = json.loads(text)
            # Each of the idle ones must still work.
            self.waits.clear()
            await self.send_for(idle, 5, 5)
            await asyncio.sleep(1)
            figures["idle_without_answer"] = sum(1 for tunnel in idle if tunnel.sent)
            figures["dropped"] = sum(tunnel.dropped for tunnel in idle + busy)
            figures["not_opened"] = len(self.failed)
            figures["first_failure"] = self.failed[0] if self.failed else None
            self.over = True
            for tunnel in idle + busy:
                tunnel.transport.abort()
            self.server.stdin.close()
            self.delays += json.loads(self.server.stdout.readline())
            figures.update(self.figures_of(waits))
        return figures

    def figures_of(self, waits):
        lengths = sorted(wait for wait, _ in waits)
        most = self.options.stall / 1000
        stalls = [(wait, begun) for wait, begun in waits if wait > most]
        of_others = [wait for wait, begun in stalls if wait - self.own_delay(wait, begun) > most]
        at = lambda part: lengths[min(len(lengths) - 1, int(part * len(lengths)))] * 1000 if lengths else 0
        return {
            "messages": len(lengths),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "p999_ms": at(0.999),
            "max_ms": at(1),
            "stalls": len(stalls),
            "stalls_not_ours": len(of_others),
            "own_delays": len(self.delays),
        }


def measure(name, options):
    port = lib.free_port()
    command = [sys.executable, __file__, "--role", "backend", "--port", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            server.stdout.readline()
            proxy = proxies.Proxy(name, port, options)
            try:
                return asyncio.run(Load(proxy, options, server).run())
            finally:
                proxy.end()
        finally:
            server.kill()


def main():
    parser = argparse.ArgumentParser(description="Open WebSockets while routes change.")
    proxies.add_options(parser, "lyceum")
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--busy", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=100, help="changes of routes in a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--stall", type=float, default=100, help="what counts as a long wait, in ms")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="fail if Lyceum drops one, or lets one wait so long")
    parser.add_argument("--role", choices=["backend", "changes"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    allowed = proxies.raise_limit_of_files()
    if options.role == "backend":
        return asyncio.run(backend(options.port))
    if options.role == "changes":
        return change_routes(options.port, options.changes, options.seconds)
    if allowed < 2 * (options.idle + options.busy) + 500:
        sys.exit(f"error: {allowed} open files are allowed, too few\n  hint: ulimit -n 20000")
    all_figures = []
    for _ in range(options.rounds):
        for name in options.only.split(","):
            print(f"measuring: {name}", file=sys.stderr)
            all_figures.append(measure(name, options))
            print(json.dumps(all_figures[-1]), file=sys.stderr)
    file = lib.ROOT / "target" / "benches" / "tunnels.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(all_figures, indent=1))
    report(all_figures, options)
    if options.check:
        sys.exit(1 if any(is_bad(one) for one in all_figures if one["proxy"] == "lyceum") else 0)


def is_bad(one):
    return any(one[name] for name in ("dropped", "not_opened", "idle_without_answer", "stalls_not_ours"))


def report(all_figures, options):
    print(f"{options.idle} idle WebSockets, {options.busy} that echo once in a second, for {options.seconds:g} s\n")
    heads = ["proxy", "changes/s", "not opened", "dropped", f"over {options.stall:g} ms (not ours)", "p50 ms", "p99 ms", "p99.9 ms", "max ms"]
    heads += ["KiB per idle one", "CPU of the proxy"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for name in dict.fromkeys(one["proxy"] for one in all_figures):
        of = [one for one in all_figures if one["proxy"] == name]
        mid = lambda key, of=of: statistics.median(one[key] for one in of)
        total = lambda key, of=of: sum(one[key] for one in of)
        changes = statistics.median(one.get("routes", {}).get("per_second", 0) for one in of)
        cells = [name, f"{changes:.0f}", total("not_opened"), total("dropped") + total("idle_without_answer")]
        cells += [f"{total('stalls')} ({total('stalls_not_ours')})"]
        cells += [f"{mid(key):.1f}" for key in ("p50_ms", "p99_ms", "p999_ms")] + [f"{max(one['max_ms'] for one in of):.1f}"]
        cells += [f"{mid('kib_per_idle'):.1f}", f"{mid('proxy_cpu') * 100:.0f} %"]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
