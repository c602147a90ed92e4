"""What the measurements share: starting `lyceum demo`, talking HTTP to it, reading /proc, printing a table.

Python's standard library only. Everything is kept below `target/benches`.
"""

import argparse
import contextlib
import http.client
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "target" / "benches" / "data"
PASSWORD = "correct horse battery"
FIRST_START_LIMIT = 900


def arguments(purpose, rounds):
    """Reads the options that all measurements have."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--program", default=str(ROOT / "target/release/lyceum"), help="the program to measure")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often to measure (default {rounds})")
    options = parser.parse_args()
    if not os.access(options.program, os.X_OK):
        sys.exit(f"error: {options.program} is missing\n  hint: cargo build --release")
    return options


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Demo:
    """A running `lyceum demo`. The Python environment is made once, on first use, and not measured."""

    def __init__(self, program):
        DATA.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        environment = {**os.environ, "LYCEUM_DEMO_PASSWORD": PASSWORD}
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [program, "demo", "--port", str(self.port), "--data-dir", str(DATA)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
        )

    def wait_until_it_answers(self):
        """Waits for the first answer, and returns the seconds since the start of the process."""
        deadline = self.begun + FIRST_START_LIMIT
        while time.perf_counter() < deadline:
            if self.process.poll() is not None:
                sys.exit(f"error: lyceum demo ended:\n{self.process.stdout.read()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/hub/health")
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    return time.perf_counter() - self.begun
            time.sleep(0.001)
        sys.exit("error: lyceum demo does not answer")

    def user(self):
        """The user name that it prints. Reads its output up to there."""
        for line in self.process.stdout:
            if found := re.search(r"[Uu]ser(?: name)?:?\s+(\S+)", line):
                return found.group(1)
        sys.exit("error: lyceum demo prints no user name")

    def end(self):
        """Ends it as Ctrl-C does, servers included."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit("error: lyceum demo does not end after Ctrl-C")


@contextlib.contextmanager
def demo(program):
    """Runs `lyceum demo` for a while; gives it once it answers."""
    running = Demo(program)
    try:
        running.started_in = running.wait_until_it_answers()
        yield running
    finally:
        running.end()


def warm_up(program):
    """Prepares the Python environment, and fills the page cache: the first run of all is not measured."""
    print("warming up (the very first time prepares JupyterLab, which takes minutes)", file=sys.stderr)
    with demo(program):
        pass


class Browser:
    """A client with cookies and one kept connection, as a browser has."""

    def __init__(self, port):
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookies = {}

    def request(self, method, path, form=None):
        """Sends one request, follows nothing; returns status, headers and text."""
        headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
        fitting = [f"{name}={value}" for (name, scope), value in self.cookies.items() if path.startswith(scope)]
        if fitting:
            headers["Cookie"] = "; ".join(fitting)
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Origin"] = f"http://127.0.0.1:{self.port}"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read().decode(errors="replace")
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            pair, *attributes = cookie.split(";")
            name, value = pair.strip().split("=", 1)
            scope = next((a.strip()[5:] for a in attributes if a.strip().lower().startswith("path=")), "/")
            over = any(re.search(r"max-age=0$|expires=.* 1970 ", a, re.IGNORECASE) for a in attributes)
            if over or not value.strip('"'):
                self.cookies.pop((name, scope), None)
            else:
                self.cookies[name, scope] = value
        return answer.status, answer.headers, text

    def cookie(self, name):
        """A cookie's value on the most specific path; empty if there is none."""
        found = [(scope, value) for (known, scope), value in self.cookies.items() if known == name]
        return max(found)[1] if found else ""

    def log_in(self, user):
        """Logs in; returns the seconds that the POST took."""
        _, _, page = self.request("GET", "/hub/login?next=%2Fhub%2Fhome")
        form = {"_xsrf": hidden(page), "next": "/hub/home", "username": user, "password": PASSWORD}
        begun = time.perf_counter()
        status, headers, text = self.request("POST", "/hub/login?next=%2Fhub%2Fhome", form)
        took = time.perf_counter() - begun
        if status not in (302, 303):
            sys.exit(f"error: the login answered {status}:\n{text}")
        return took

    def post_from_home(self, path):
        """Sends a form of the home page."""
        _, _, page = self.request("GET", "/hub/home")
        status, _, text = self.request("POST", path, {"_xsrf": hidden(page)})
        if status >= 400:
            sys.exit(f"error: {path} answered {status}:\n{text}")


def hidden(page):
    """The XSRF token in a page's form."""
    found = re.search(r'name="_xsrf" value="([^"]*)"', page)
    if not found:
        sys.exit(f"error: no form in this page:\n{page[:2000]}")
    return found.group(1)


def memory(pid):
    """PSS, private and anonymous memory of a process, in MiB."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()

    def field(name):
        return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE).group(1)) / 1024

    return {"PSS": field("Pss"), "private": field("Private_Clean") + field("Private_Dirty"), "anonymous": field("Anonymous")}


def cpu_seconds(pid):
    """What a process has used of the processors since its start."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(title, rows, unit, digits=1):
    """Prints median, minimum and maximum of each row's values."""
    width = max(len(name) for name in rows)
    print(f"{title} ({unit})")
    print(f"  {'':{width}}  {'median':>8} {'min':>8} {'max':>8}  n")
    for name, values in rows.items():
        figures = [statistics.median(values), min(values), max(values)]
        print(f"  {name:{width}}  " + " ".join(f"{figure:8.{digits}f}" for figure in figures) + f"  {len(values)}")
