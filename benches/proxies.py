"""Proxies in front of one backend, for measurements and for tests of abuse: Lyceum alone, and others beside it.

A proxy is started with a backend's port and forwards all of `/user/…` to it. `lyceum` and `chp` have the REST API of
configurable-http-proxy for their routes; `nginx` and `haproxy` are configured by hand, as their documentation says.
Only processes that were started here are ended.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import lib

TOKEN = "a-token-of-the-benchmarks-0123456789"
START_LIMIT = 20
NAMES = ("lyceum", "chp", "nginx", "nginx-buffered", "haproxy", "direct")

NGINX = """\
daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/error.log error; {user}
worker_rlimit_nofile 20000;
events {{ worker_connections 15000; }}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {tls}
    location /user/ {{
      proxy_pass http://backend; proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
      proxy_read_timeout 1h; proxy_request_buffering off; {buffering}
    }}
    location / {{ return 404; }}
  }}
}}
"""

HAPROXY = """\
global
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout http-request 10s
  timeout server 1h
  timeout tunnel 1h
  option http-no-delay
frontend front
  bind 127.0.0.1:{port}
  {tls}
  use_backend back if {{ path_beg /user/ }}
backend back
  server only 127.0.0.1:{backend}
"""


class Proxy:
    """One proxy, running until `end`. `tls` asks for a second port, `tls_port`, that speaks TLS and HTTP/2."""

    def __init__(self, name, backend, options, tls=False):
        self.name, self.backend = name, backend
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="proxies-"))
        self.processes = []
        if name == "direct":
            self.port = self.tls_port = backend
            self.has_routes = False
            return
        self.port, self.tls_port, self.api_port = lib.free_port(), lib.free_port(), lib.free_port()
        self.certificate = certificate(self.folder) if tls else None
        self.has_routes = name in ("lyceum", "chp")
        start = {"lyceum": self._options_of_chp, "chp": self._options_of_chp, "haproxy": self._haproxy}.get(name, self._nginx)
        start(options)
        if tls and not self.has_routes:
            self._wait(self.tls_port)
        self._wait(self.port)
        if self.has_routes:
            self.add_route("/user", f"http://127.0.0.1:{backend}")

    def _options_of_chp(self, options):
        """Lyceum alone takes the same options as configurable-http-proxy; one process listens at one address."""
        program = [options.program, "proxy"] if self.name == "lyceum" else [options.chp]
        environment = {"CONFIGPROXY_AUTH_TOKEN": TOKEN, "NODE_ENV": "production"}
        common = ["--ip", "127.0.0.1", "--api-ip", "127.0.0.1", "--log-level", "error"]
        self._run([*program, *common, "--port", str(self.port), "--api-port", str(self.api_port)], environment)
        self._wait(self.api_port)
        if self.certificate:
            files = ["--ssl-cert", self.certificate[0], "--ssl-key", self.certificate[1]]
            self.tls_api_port = lib.free_port()
            ports = ["--port", str(self.tls_port), "--api-port", str(self.tls_api_port)]
            self._run([*program, *common, *files, *ports], environment)
            self._wait(self.tls_port)
            self._wait(self.tls_api_port)
            self.add_route("/user", f"http://127.0.0.1:{self.backend}", self.tls_api_port)

    def _nginx(self, _options):
        tls = ""
        if self.certificate:
            names = f"ssl_certificate {self.certificate[0]}; ssl_certificate_key {self.certificate[1]};"
            tls = f"listen 127.0.0.1:{self.tls_port} ssl http2; {names}"
        buffering = "proxy_buffering off;"
        if self.name == "nginx-buffered":
            buffering = "proxy_buffers 8 32k; proxy_buffer_size 32k; proxy_busy_buffers_size 64k;"
        user = "user root;" if os.getuid() == 0 else ""
        self._configure("nginx.conf", NGINX, tls, user=user, buffering=buffering)
        self._run(["nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")])

    def _haproxy(self, _options):
        tls = ""
        if self.certificate:
            both = self.folder / "both.pem"
            both.write_text("".join(pathlib.Path(name).read_text() for name in self.certificate))
            tls = f"bind 127.0.0.1:{self.tls_port} ssl crt {both} alpn h2,http/1.1"
        self._configure("haproxy.cfg", HAPROXY, tls)
        self._run(["haproxy", "-db", "-f", str(self.folder / "haproxy.cfg")])

    def _configure(self, name, text, tls, **more):
        text = text.format(folder=self.folder, port=self.port, backend=self.backend, tls=tls, **more)
        (self.folder / name).write_text(text)

    def _run(self, command, environment=None):
        with open(self.folder / "log", "ab") as log:
            self.processes.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
                )
            )

    def _wait(self, port):
        """Waits until something listens."""
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self.processes):
                break
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.02)
        text = (self.folder / "log").read_text()[-2000:]
        self.end()
        sys.exit(f"error: {self.name} does not listen\n{text}")

    def add_route(self, path, target, api_port=None):
        connection = http.client.HTTPConnection("127.0.0.1", api_port or self.api_port, timeout=10)
        connection.request("POST", f"/api/routes{path}", json.dumps({"target": target}), {"Authorization": f"token {TOKEN}"})
        status = connection.getresponse().status
        connection.close()
        if status not in (200, 201):
            sys.exit(f"error: {self.name} answered a new route with {status}")

    def pids(self):
        """Its processes, with workers."""
        found = []
        left = [process.pid for process in self.processes]
        while left:
            pid = left.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                left += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def memory(self):
        """PSS of all its processes, in MiB."""
        return sum(lib.memory(pid)["PSS"] for pid in self.pids())

    def cpu_seconds(self):
        return sum(lib.cpu_seconds(pid) for pid in self.pids())

    def sockets(self):
        """How many sockets it has open."""
        count = 0
        for pid in self.pids():
            for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    count += os.readlink(entry).startswith("socket:")
        return count

    def is_alive(self):
        return all(process.poll() is None for process in self.processes)

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)


def add_options(parser, only):
    """Options of all scripts that start proxies."""
    parser.add_argument("--only", default=only, help=f"of {', '.join(NAMES)} (default {only})")
    parser.add_argument("--program", default=str(lib.ROOT / "target/release/lyceum"), help="the program to try")
    chp = lib.ROOT / "e2e/node_modules/.bin/configurable-http-proxy"
    parser.add_argument("--chp", default=str(chp), help="configurable-http-proxy, as `npm ci --prefix e2e` installs it")


def certificate(folder):
    """Makes a certificate for localhost that nobody trusts; gives its file and that of its key."""
    files = [str(folder / name) for name in ("certificate.pem", "key.pem")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    alternatives = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", *kind, *alternatives, "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files


def raise_limit_of_files():
    """Thousands of sockets need as many files; returns how many are allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def version(command):
    """What a program says of its version."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        both = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return re.search(r"\d+\.\d+[\w.]*", both.stdout + both.stderr)[0]
    return "?"
