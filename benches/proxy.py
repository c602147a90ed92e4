#!/usr/bin/env python3
"""Requests through Lyceum alone and through other proxies: how many in a second, how late, at what processor time.

  python3 benches/proxy.py                                   lyceum and others; 3 rounds in which they take turns
  python3 benches/proxy.py --only lyceum,chp,nginx
  python3 benches/proxy.py --tests 200B,tls-200B --rounds 5 --seconds 4

Needs Debian's packages nginx (it is the server behind, too), wrk, nghttp2-client, and haproxy if it is compared. Rates
depend on what else runs; compare processor time for 100,000 requests, by its ratio to `nginx` in the same round.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import lib
import proxies

BACKEND = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log error; {user}
events {{ worker_connections 4000; }}
http {{
  access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}/files; open_file_cache max=10 inactive=1h; }}
}}
"""

SIZES = {"200B": 200, "20KiB": 20 << 10, "1MiB": 1 << 20}


def wrk(url, connections, seconds, *headers):
    """Asks by wrk; gives requests, p50 and p99 in ms, and errors."""
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"]
    text = subprocess.run([*command, *headers, url], capture_output=True, text=True, timeout=seconds + 60).stdout
    count = int(re.search(r"(\d+) requests in", text)[1])
    lates = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+\w+)", text, re.MULTILINE))
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", text)))
    return {"requests": count, "p50": milliseconds(lates["50"]), "p99": milliseconds(lates["99"]), "errors": errors}


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]


def h2load(url, connections, seconds):
    """Asks by h2load, ten requests at a time on each connection."""
    with tempfile.NamedTemporaryFile(prefix="h2load-") as log:
        command = ["h2load", "--threads=1", f"--clients={connections}", "--max-concurrent-streams=10", f"--duration={seconds}"]
        subprocess.run([*command, f"--log-file={log.name}", url], capture_output=True, timeout=seconds + 60, check=True)
        lines = [line.split() for line in pathlib.Path(log.name).read_text().splitlines()]
    lates = sorted(int(line[2]) / 1000 for line in lines) or [0]
    at = lambda part: lates[int(part * (len(lates) - 1))]
    return {"requests": len(lines), "p50": at(0.5), "p99": at(0.99), "errors": sum(line[1] != "200" for line in lines)}


def plain(size, connections, *headers):
    return lambda proxy, seconds: wrk(f"http://127.0.0.1:{proxy.port}/user/{size}", connections, seconds, *headers)


def encrypted(size, connections):
    return lambda proxy, seconds: wrk(f"https://127.0.0.1:{proxy.tls_port}/user/{size}", connections, seconds)


TESTS = {
    "200B": plain("200B", 64),
    "200B-256": plain("200B", 256),
    "20KiB": plain("20KiB", 64),
    "1MiB": plain("1MiB", 16),
    "new-connections": plain("200B", 32, "--header", "Connection: close"),
    "tls-200B": encrypted("200B", 64),
    "tls-20KiB": encrypted("20KiB", 64),
    "h2-200B": lambda proxy, seconds: h2load(f"https://127.0.0.1:{proxy.tls_port}/user/200B", 16, seconds),
}


class Backend:
    """An Nginx with files of some sizes."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="backend-")
        files = pathlib.Path(self.folder.name) / "files" / "user"
        files.mkdir(parents=True)
        for name, size in SIZES.items():
            (files / name).write_bytes(b"x" * size)
        self.port = lib.free_port()
        config = pathlib.Path(self.folder.name) / "nginx.conf"
        config.write_text(BACKEND.format(folder=self.folder.name, port=self.port, user="user root;" if os.getuid() == 0 else ""))
        command = ["nginx", "-p", self.folder.name, "-c", str(config), "-e", f"{self.folder.name}/error.log"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self.folder.cleanup()


def main():
    parser = argparse.ArgumentParser(description="Requests through proxies, side by side.")
    proxies.add_options(parser, "lyceum,nginx,nginx-buffered,haproxy")
    parser.add_argument("--tests", default=",".join(TESTS), help=f"of {', '.join(TESTS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="for each test")
    options = parser.parse_args()
    names, tests = options.only.split(","), options.tests.split(",")
    figures = []
    with Backend() as backend:
        running = {name: proxies.Proxy(name, backend.port, options, tls=True) for name in names}
        try:
            for number in range(options.rounds + 1):
                for test in tests:
                    for name, proxy in running.items():
                        # The first round fills pools and caches, and is short.
                        figure = measure(proxy, test, options.seconds if number else 1)
                        if number and figure:
                            figures.append({"proxy": name, "test": test, "round": number, **figure})
                print(f"round {number} of {options.rounds}", file=sys.stderr)
            memory = {name: proxy.memory() for name, proxy in running.items() if proxy.processes}
        finally:
            for proxy in running.values():
                proxy.end()
    file = lib.ROOT / "target" / "benches" / "proxy.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=1))
    report(figures, names, tests)
    print("\nmemory after all that, PSS in MiB: " + ", ".join(f"{name} {value:.1f}" for name, value in memory.items()))


def measure(proxy, test, seconds):
    """`None` where the proxy cannot do it."""
    if proxy.name in ("chp", "direct") and test.startswith("h2") or proxy.name == "direct" and test.startswith("tls"):
        return None
    used = proxy.cpu_seconds()
    begun = time.monotonic()
    figure = TESTS[test](proxy, seconds)
    took = time.monotonic() - begun
    used = proxy.cpu_seconds() - used
    count = max(1, figure["requests"])
    return {**figure, "per_second": count / took, "cpu": used / count * 100_000}


def report(figures, names, tests):
    for field, title, digits in (
        ("cpu", "processor seconds of the proxy for 100,000 requests", 2),
        ("per_second", "requests in a second", 0),
        ("p99", "p99 in ms", 1),
        ("errors", "errors, all rounds together", 0),
    ):
        print(f"\n| {title} | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|")
        for test in tests:
            cells = []
            for name in names:
                of = [one[field] for one in figures if one["proxy"] == name and one["test"] == test]
                value = None if not of else sum(of) if field == "errors" else statistics.median(of)
                cells.append("–" if value is None else f"{value:,.{digits}f}" + ratio(figures, name, test, field))
            print(f"| {test} | " + " | ".join(cells) + " |")


def ratio(figures, name, test, field):
    """The part of what `nginx` needs, as the median over rounds."""
    if field != "cpu" or name == "nginx":
        return ""
    of = lambda who: {one["round"]: one["cpu"] for one in figures if one["proxy"] == who and one["test"] == test}
    own, others = of(name), of("nginx")
    parts = [own[number] / others[number] for number in own if others.get(number)]
    return f" ({statistics.median(parts):.2f}×)" if parts else ""


if __name__ == "__main__":
    main()
