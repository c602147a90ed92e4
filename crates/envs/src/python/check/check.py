# Tries an environment out before anybody uses it: its packages fit together and can be imported, a real server for a user
# answers, JupyterLab's page and extensions are there, and a cell runs in every kernel. Runs in the environment's own
# interpreter; argv[1] holds the options as JSON. A line of JSON is printed for each step, and at last the report.
import contextlib
import html.parser
import http.client
import http.server
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

OPTIONS = json.loads(sys.argv[1])
PREFIX = pathlib.Path(sys.prefix)
PATH = f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin"
BASE = "/user/check/"
# All processes of the check carry this; what is left at its end is ended.
MARK = f"LYCEUM_CHECK={secrets.token_hex(16)}"
TAIL = 12

# What makes 42 in the languages that kernels speak; the others are only asked whether they live.
CELLS = {
    "python": "print(6 * 7)",
    "r": "cat(6 * 7)",
    "julia": "println(6 * 7)",
    "bash": "echo $((6 * 7))",
    "perl": "print 6 * 7, qq(\\n)",
    "javascript": "console.log(6 * 7)",
    "typescript": "console.log(6 * 7)",
    "ruby": "puts 6 * 7",
    "octave": "disp(6 * 7)",
    "scala": "println(6 * 7)",
    "kotlin": "println(6 * 7)",
}

problems = []
notes = []


class Failed(Exception):
    """A part of the check that failed: what happened, and the last lines of output."""

    def __init__(self, text, tail="", advice=None):
        super().__init__(text)
        self.text, self.tail, self.advice = text, tail, advice


def say(part, text):
    print(json.dumps({"at": round(part, 3), "doing": text}), flush=True)


def last_lines(text):
    return "\n".join(text.strip().splitlines()[-TAIL:])


@contextlib.contextmanager
def part(name, fatal=True):
    """Turns a failure into a problem of this part, or into a note where it need not stop anybody."""
    try:
        yield
    except Failed as failure:
        (problems if fatal else notes).append(
            {"part": name, "text": failure.text, "tail": failure.tail, "advice": failure.advice}
        )
    except Exception as error:
        (problems if fatal else notes).append(
            {"part": name, "text": f"{type(error).__name__}: {error}", "tail": "", "advice": None}
        )


# --- Packages


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def check_consistency():
    """Does what `pip check` does: every package finds what it requires, in a version that it can use."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return
    installed = {}
    for package in importlib.metadata.distributions():
        installed.setdefault(canonical(package.metadata["Name"] or ""), package)
    vital = {"jupyterhub", "jupyterlab", "jupyter-server", "ipykernel", "jupyter-client"}
    for name, package in sorted(installed.items()):
        for text in package.requires or ():
            with contextlib.suppress(ValueError):
                wanted = Requirement(text)
                if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
                    continue
                other = installed.get(canonical(wanted.name))
                if other is not None and wanted.specifier.contains(other.version, prereleases=True):
                    continue
                has = f"{wanted.name} {other.version} is installed" if other else f"{wanted.name} is missing"
                with part("packages", fatal=name in vital):
                    raise Failed(
                        f"{name} {package.version} requires {wanted.name}{wanted.specifier}, but {has}",
                        advice=f"add {wanted.name}{wanted.specifier} to the requirements, or another version of {name}",
                    )


def modules_of(requirement):
    """The modules for which somebody installs a package: what it puts at the top, unless it is private or a by-product."""
    try:
        package = importlib.metadata.distribution(requirement)
    except importlib.metadata.PackageNotFoundError:
        return []
    found = set()
    for file in package.files or ():
        first, *rest = file.parts
        if rest and rest[-1] in ("__init__.py", "__init__.pyc") and len(rest) == 1:
            found.add(first)
        elif not rest and re.search(r"\.(py|so)$", first):
            found.add(first.partition(".")[0])
    by_products = {"test", "tests", "testing", "doc", "docs", "example", "examples", "benchmarks", "setup", "conftest"}
    return sorted(name for name in found if name.isidentifier() and name[0] != "_" and name not in by_products)


IMPORTS = """
import importlib, json, sys
for name in sys.argv[1:]:
    print(json.dumps([name, None, None]), flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(json.dumps([name, isinstance(error, ImportError), f"{type(error).__name__}: {error}"]), flush=True)
print(json.dumps([None, None, None]), flush=True)
"""


def check_imports(environment):
    asked = list(OPTIONS["modules"])
    derived = [module for one in OPTIONS["requirements"] for module in modules_of(one)]
    names = list(dict.fromkeys([*asked, *derived]))
    deadline = time.monotonic() + OPTIONS["imports_seconds"]
    while names:
        command = [sys.executable, "-I", "-c", IMPORTS, *names]
        try:
            done = subprocess.run(
                command,
                env=environment,
                cwd=environment["HOME"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=max(1, deadline - time.monotonic()),
            )
            output, errors, ended = done.stdout, done.stderr, f"ended with status {done.returncode}"
        except subprocess.TimeoutExpired as late:
            output, errors = (late.stdout or b"").decode(errors="replace"), (late.stderr or b"").decode(errors="replace")
            ended = "took too long"
        reached = None
        complete = False
        for line in output.splitlines():
            try:
                name, absent, text = json.loads(line)
            except ValueError:
                # Some modules print when they are imported.
                continue
            if name is None:
                complete = True
            elif text is None:
                reached = name
            else:
                # A module that needs a display or a device is no broken package.
                with part(f"import {name}", fatal=absent or name in asked):
                    raise Failed(text, advice=f"see whether a newer or older version of {name} can be imported")
        if complete:
            return
        with part(f"import {reached}"):
            raise Failed(f"the interpreter {ended}", last_lines(errors), "choose another version of that package")
        if reached is None or time.monotonic() >= deadline:
            return
        names = names[names.index(reached) + 1 :]


# --- A server


class Hub(http.server.ThreadingHTTPServer):
    """As much of a hub as a server for one user needs; it knows one user, by two tokens that nobody else has."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.server_token, self.visitor_token = secrets.token_hex(32), secrets.token_hex(32)


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        version = importlib.metadata.version("jupyterhub")
        path = self.path.partition("?")[0].rstrip("/")
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        known = scheme.lower() in ("token", "bearer") and token in (self.server.server_token, self.server.visitor_token)
        status, body = 404, {"status": 404, "message": "not here"}
        if path == "/hub/api":
            status, body = 200, {"version": version}
        elif not known:
            status, body = 403, {"status": 403, "message": "unknown token"}
        elif path == "/hub/api/user":
            scopes = ["access:servers!server=check/", "access:servers!user=check"]
            status, body = 200, {"kind": "user", "name": "check", "admin": False, "groups": [], "scopes": scopes}
        elif path == "/hub/api/users/check/activity":
            status, body = 200, {}
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("X-JupyterHub-Version", version)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A real `jupyterhub-singleuser`, as a spawner starts it."""

    def __init__(self, hub, environment):
        self.hub, self.port = hub, free_port()
        self.log = pathlib.Path(environment["HOME"], "server.log")
        scopes = json.dumps(["access:servers!server=check/", "access:servers!user=check"])
        environment = {
            **environment,
            "JUPYTERHUB_API_TOKEN": hub.server_token,
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub.server_port}/hub/api",
            "JUPYTERHUB_ACTIVITY_URL": f"http://127.0.0.1:{hub.server_port}/hub/api/users/check/activity",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-check",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{BASE}oauth_callback",
            "JUPYTERHUB_OAUTH_SCOPES": scopes,
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": scopes,
            "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": "[]",
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_SERVICE_PREFIX": BASE,
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}{BASE}",
            "JUPYTERHUB_USER": "check",
        }
        command = [str(PREFIX / "bin/jupyterhub-singleuser")] + (["--allow-root"] if os.geteuid() == 0 else [])
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=environment["HOME"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def tail(self):
        return last_lines(self.log.read_text(errors="replace"))

    def request(self, method, path, body=None, limit=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=limit)
        headers = {"Authorization": f"token {self.hub.visitor_token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path):
        status, body = self.request("GET", path)
        if status != 200:
            raise Failed(f"{path} answers {status}", self.tail())
        return body

    def wait(self):
        """Returns the seconds until it answers."""
        begun = time.monotonic()
        while time.monotonic() < begun + OPTIONS["server_seconds"]:
            if self.process.poll() is not None:
                raise Failed(f"jupyterhub-singleuser ended with status {self.process.returncode}", self.tail())
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", f"{BASE}api", limit=5)[0] == 200:
                    return time.monotonic() - begun
            time.sleep(0.02)
        raise Failed(f"jupyterhub-singleuser does not answer within {OPTIONS['server_seconds']} s", self.tail())

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class PageConfig(html.parser.HTMLParser):
    """Takes JupyterLab's configuration and scripts out of its page."""

    def __init__(self):
        super().__init__()
        self.inside, self.text, self.scripts = False, "", []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "script":
            self.inside = attributes.get("id") == "jupyter-config-data"
            if attributes.get("src"):
                self.scripts.append(attributes["src"])

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.text += data


def check_lab(server):
    page = PageConfig()
    page.feed(server.get(f"{BASE}lab").decode(errors="replace"))
    try:
        config = json.loads(page.text)
    except ValueError:
        raise Failed("JupyterLab's page has no configuration", server.tail()) from None
    for script in page.scripts:
        server.get(script)
    names = []
    for extension in config.get("federated_extensions", []):
        names.append(extension["name"])
        with part(f"extension {extension['name']}"):
            server.get(f"{config['fullLabextensionsUrl']}/{extension['name']}/{extension['load']}")
    return sorted(names)


def check_server_extensions(server):
    pattern = re.compile(r"(\S+) \| ((?:extension failed|error linking|error adding).*)")
    for line in server.log.read_text(errors="replace").splitlines():
        if match := pattern.search(line):
            with part(f"extension {match[1]}"):
                raise Failed(
                    match[2],
                    server.tail(),
                    f"see whether a newer {match[1]} fits this Jupyter Server, or take it out of the requirements",
                )


# --- Kernels


def message(kind, content):
    header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": uuid.uuid4().hex, "version": "5.3"}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}


def converse(channel, kind, content, deadline):
    """Sends a request, waits for its answer and until the kernel is idle; returns the answer and what was printed."""
    sent = message(kind, content)
    channel.send(json.dumps(sent))
    answer, idle, printed = None, False, ""
    while not (answer and idle):
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        got = json.loads(channel.recv())
        if got["parent_header"].get("msg_id") != sent["header"]["msg_id"]:
            continue
        inside = got["content"]
        if got["msg_type"] == "status":
            idle = idle or inside["execution_state"] == "idle"
        elif got["msg_type"] == kind.replace("_request", "_reply"):
            answer = inside
        elif got["msg_type"] == "stream":
            printed += inside["text"]
        elif got["msg_type"] == "error":
            printed += "\n".join(inside.get("traceback") or [f"{inside.get('ename')}: {inside.get('evalue')}"])
        elif got["msg_type"] in ("execute_result", "display_data"):
            printed += str(inside["data"].get("text/plain", ""))
    return answer, printed


def run_cell(server, name, language):
    """Runs a notebook of one cell, as JupyterLab does."""
    import websocket

    seconds = OPTIONS["kernel_seconds"]
    deadline = time.monotonic() + seconds
    body = {"path": f"{name}.ipynb", "name": f"{name}.ipynb", "type": "notebook", "kernel": {"name": name}}
    status, text = server.request("POST", f"{BASE}api/sessions", body, limit=seconds)
    if status != 201:
        with contextlib.suppress(ValueError):
            text = json.loads(text).get("message") or text
        raise Failed(f"it does not start: {text}", server.tail())
    session = json.loads(text)
    try:
        address = f"ws://127.0.0.1:{server.port}{BASE}api/kernels/{session['kernel']['id']}/channels"
        authorization = [f"Authorization: token {server.hub.visitor_token}"]
        channel = websocket.create_connection(address, timeout=seconds, header=authorization, suppress_origin=True)
        try:
            converse(channel, "kernel_info_request", {}, deadline)
            code = CELLS.get(language.lower())
            if code is None:
                return
            content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
            answer, printed = converse(channel, "execute_request", content, deadline)
            if answer.get("status") != "ok" or "42" not in printed:
                raise Failed(f"{code} did not print 42", last_lines(printed))
        finally:
            channel.close()
    except (websocket.WebSocketException, OSError) as error:
        raise Failed(f"no answer within {seconds} s ({error or type(error).__name__})", server.tail()) from None
    finally:
        server.request("DELETE", f"{BASE}api/sessions/{session['id']}", limit=30)


def check_kernels(server):
    from jupyter_client.kernelspec import KernelSpecManager

    folders = KernelSpecManager().find_kernel_specs()
    ours = [PREFIX, *(pathlib.Path(path) for path in OPTIONS["jupyter_path"])]
    specs = json.loads(server.get(f"{BASE}api/kernelspecs"))["kernelspecs"]
    done = []
    for index, (name, spec) in enumerate(sorted(specs.items())):
        title, language = spec["spec"]["display_name"], spec["spec"].get("language", "")
        say(0.5 + 0.5 * index / len(specs), f"running a cell with the kernel {title}")
        folder = pathlib.Path(folders.get(name, "/")).resolve()
        # What others have put on the machine is theirs to mend, and stops nobody.
        fatal = any(one.resolve() in [folder, *folder.parents] for one in ours)
        before = len(problems) + len(notes)
        with part(f"kernel {name}", fatal):
            run_cell(server, name, language)
        done.append({"name": name, "title": title, "works": len(problems) + len(notes) == before})
    if not specs:
        with part("kernels"):
            raise Failed("the server knows no kernel", advice="add ipykernel to the requirements")
    return done


def check_kernel_alone():
    """For environments that only give kernels: the kernel without a server."""
    from jupyter_client.manager import start_new_kernel

    seconds = OPTIONS["kernel_seconds"]
    try:
        manager, client = start_new_kernel(startup_timeout=seconds, kernel_name="python3")
    except RuntimeError as error:
        raise Failed(f"it does not start: {error}") from None
    printed = ""

    def hear(got):
        nonlocal printed
        printed += str(got["content"].get("text") or got["content"].get("evalue") or "")

    try:
        client.execute_interactive(CELLS["python"], timeout=seconds, output_hook=hear)
        if "42" not in printed:
            raise Failed(f"{CELLS['python']} did not print 42", last_lines(printed))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# --- All of it


def end_what_is_left():
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if MARK.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)


def has(module):
    return importlib.util.find_spec(module) is not None


def main():
    home = tempfile.mkdtemp(prefix="lyceum-check-")
    # A server's environment, and nothing of ours.
    environment = {"PATH": PATH, "HOME": home, "USER": "check", "LANG": "C.UTF-8", "TMPDIR": home, "MPLBACKEND": "agg"}
    environment.update([MARK.split("=")])
    for name in ("LYCEUM_PREPARES", "TZ"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if OPTIONS["jupyter_path"]:
        environment["JUPYTER_PATH"] = ":".join(OPTIONS["jupyter_path"])
    kernels, extensions, started = [], [], None
    try:
        say(0.02, "checking that the packages fit together")
        check_consistency()
        say(0.05, "importing the packages")
        check_imports(environment)
        # Whatever looks for kernels in here looks as the server does.
        os.environ.clear()
        os.environ.update(environment)
        with contextlib.suppress(ImportError):
            importlib.import_module("lyceum_singleuser").offer_kernels()
        if has("jupyterhub") and has("jupyter_server"):
            hub = Hub()
            threading.Thread(target=hub.serve_forever, daemon=True).start()
            say(0.3, "starting a server as for a user")
            server = Server(hub, environment)
            try:
                with part("server"):
                    started = round(server.wait() * 1000)
                if started is not None:
                    say(0.45, "opening JupyterLab")
                    check_server_extensions(server)
                    if has("jupyterlab"):
                        with part("JupyterLab"):
                            extensions = check_lab(server)
                    with part("kernels"):
                        kernels = check_kernels(server)
            finally:
                server.stop()
                hub.shutdown()
        elif OPTIONS["need_server"]:
            with part("server"):
                raise Failed("jupyterhub or jupyter_server is missing", advice="add jupyterhub and jupyterlab to the requirements")
        elif has("ipykernel"):
            say(0.5, "running a cell")
            with part("kernel python3"):
                check_kernel_alone()
                kernels = [{"name": "python3", "title": "Python", "works": True}]
    finally:
        end_what_is_left()
        shutil.rmtree(home, ignore_errors=True)
    versions = {"python": platform.python_version()}
    for name in ("jupyterhub", "jupyterlab", "ipykernel"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    report = {
        "versions": versions,
        "server_started_ms": started,
        "kernels": kernels,
        "extensions": extensions,
        "problems": problems,
        "notes": notes,
    }
    print(json.dumps(report), flush=True)


main()
