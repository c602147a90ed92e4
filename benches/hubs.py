"""The hubs that `hub.py` compares: how each is configured, started and ended, and what its processes use."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import lib

TOKEN = "a-token-of-the-benchmarks-0123456789"
FOLDER = lib.ROOT / "target" / "benches" / "hubs"
START_LIMIT = 120

LYCEUM_TOML = """\
root = "{folder}"
[hub]
api_listen = "127.0.0.1:{api_port}"
slow_spawn_timeout = "10s"
[gateway]
listen = ["127.0.0.1:{port}"]
[auth]
kind = "dummy"
[access]
allow_all = true
[spawner]
kind = "process"
command = ["{server}"]
[[services]]
name = "bench"
api_token = "{token}"
admin = true
[log]
level = "warn"
"""

JUPYTERHUB_CONFIG = """\
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/homes/{{username}}"
c.Spawner.cmd = ["{server}"]
c.JupyterHub.db_url = "sqlite:///{folder}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.services = [dict(name="bench", api_token="{token}")]
c.JupyterHub.load_roles = [dict(name="admin", services=["bench"])]
c.JupyterHub.concurrent_spawn_limit = 100
c.JupyterHub.log_level = "WARN"
"""


class Hub:
    """A hub with a database of its own, on ports that are free."""

    name = ""
    config = ("", "")

    def __init__(self, options):
        self.options = options
        self.folder = FOLDER / self.name.lower()
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "homes").mkdir(parents=True)
        self.port, self.api_port, self.proxy_port = lib.free_port(), lib.free_port(), lib.free_port()
        self.public, self.api = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.api_port}"
        file, text = self.config
        self.file = self.folder / file
        self.file.write_text(
            text.format(
                folder=self.folder,
                port=self.port,
                api_port=self.api_port,
                proxy_port=self.proxy_port,
                proxy=options.proxy,
                server=options.server,
                token=TOKEN,
            )
        )
        self.file.chmod(0o600)
        self.made = 0
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self):
        """Starts the hub; returns the seconds until it answers through its proxy.

        The very first start also makes the database, so it is not the one that counts.
        """
        self._run()
        self.end()
        return self._run()

    def _run(self):
        begun = time.perf_counter()
        path = f"{pathlib.Path(self.command()[0]).parent}:{os.environ['PATH']}"
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while time.perf_counter() - begun < START_LIMIT:
            if self.process.poll() is not None:
                sys.exit(f"error: {self.name} ended; see {self.folder / 'log'}")
            if self._get(self.port, "/hub/api/") == 200:
                return time.perf_counter() - begun
            time.sleep(0.002)
        sys.exit(f"error: {self.name} does not answer")

    def end(self):
        """Ends the hub, its proxy, and all servers: only processes that it has started itself."""
        if self.process is None:
            return
        all_pids = self.tree()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for pid in all_pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process = None

    def _get(self, port, path):
        """The status of an answer; `None` if there is none."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.status
        except (OSError, http.client.HTTPException):
            return None

    def wait_for_server(self, user):
        deadline = time.perf_counter() + 60
        while self._get(self.port, f"/user/{user}/api") != 200:
            if time.perf_counter() > deadline:
                sys.exit(f"error: the server of {user} does not answer at {self.name}")
            time.sleep(0.005)

    def call(self, method, path, body=None, expected=(200,)):
        """Calls the API with the token; returns status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=300)
        headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
        connection.request(method, f"/hub/api/{path}", body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status not in expected:
            sys.exit(f"error: {self.name} answered {method} {path} with {answer.status}: {text[:500]}")
        return answer.status, json.loads(text) if text else None

    def make_users(self, count):
        """Makes users u0, u1, … until there are so many."""
        while self.made < count:
            until = min(count, self.made + 100)
            names = [f"u{number}" for number in range(self.made, until)]
            self.call("POST", "users", {"usernames": names}, expected=(201,))
            self.made = until

    def tree(self):
        """The hub's process and everything below it."""
        children = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, ValueError):
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            left += children.get(pid, [])
        return found

    def own(self):
        """The processes of the hub and its proxy, without users' servers."""
        server = pathlib.Path(self.options.server).name.encode()
        for pid in self.tree():
            try:
                if server not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    yield pid
            except OSError:
                continue

    def cpu_seconds(self):
        return sum(lib.cpu_seconds(pid) for pid in self.own())

    def memory(self):
        """PSS of the hub and its proxy, in MiB."""
        return sum(lib.memory(pid)["PSS"] for pid in self.own())


class Lyceum(Hub):
    name = "Lyceum"
    config = ("lyceum.toml", LYCEUM_TOML)

    def command(self):
        return [self.options.program, "serve", "--config", str(self.file)]


class JupyterHub(Hub):
    name = "JupyterHub"
    config = ("jupyterhub_config.py", JUPYTERHUB_CONFIG)

    def command(self):
        return [self.options.jupyterhub, "-f", str(self.file)]
