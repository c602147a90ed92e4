#!/usr/bin/env python3
"""How long a user's server takes from the request until it answers, and what of that is Lyceum's.

Each round starts `jupyterhub-singleuser` once by itself, against a stand-in for the hub's API, and once
through Lyceum; the difference of the medians is Lyceum's overhead.
"""

import contextlib
import http.client
import http.server
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time

import lib

LIMIT = 120
PERIOD = 0.003


class Api(http.server.BaseHTTPRequestHandler):
    """As much of the hub's API as a single-user server needs to start."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps({"version": "6.1.1"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def wait_for(port, path):
    """Asks until the server answers, and returns when that was."""
    deadline = time.perf_counter() + LIMIT
    while time.perf_counter() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 200 and b'"version"' in text:
                return time.perf_counter()
        time.sleep(PERIOD)
    raise SystemExit(f"error: nothing answers at {path}")


def alone(prefix, api_port):
    """Starts the single-user server by itself; returns the seconds until it answers."""
    port = lib.free_port()
    home = tempfile.mkdtemp(prefix="lyceum-bench-")
    # The environment that a spawner gives, and nothing of ours: a Node.js on the path alone costs 0.3 s.
    environment = {
        "PATH": f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "JUPYTERHUB_API_TOKEN": "0" * 32,
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{api_port}/hub/api",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ada",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/ada/oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": '["access:servers!user=ada"]',
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!user=ada"]',
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ada/",
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/user/ada/",
        "JUPYTERHUB_USER": "ada",
    }
    command = [f"{prefix}/bin/jupyterhub-singleuser"] + (["--allow-root"] if os.geteuid() == 0 else [])
    begun = time.perf_counter()
    server = subprocess.Popen(
        command, env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return wait_for(port, "/user/ada/api") - begun
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        shutil.rmtree(home, ignore_errors=True)


def through_lyceum(browser, user, port):
    """Starts the server as a click on the home page does; returns the seconds until it answers through the gateway."""
    _, _, page = browser.request("GET", "/hub/home")
    token = lib.hidden(page)
    begun = time.perf_counter()
    status, _, text = browser.request("POST", f"/hub/spawn/{user}", {"_xsrf": token})
    if status >= 400:
        raise SystemExit(f"error: the start answered {status}:\n{text}")
    ready = wait_for(port, f"/user/{user}/api")
    browser.post_from_home(f"/hub/stop/{user}")
    wait_until_stopped(browser)
    return ready - begun


def wait_until_stopped(browser):
    deadline = time.perf_counter() + LIMIT
    while time.perf_counter() < deadline:
        if 'data-state="stopped"' in browser.request("GET", "/hub/home")[2]:
            return
        time.sleep(0.05)
    raise SystemExit("error: the server does not stop")


def main():
    options = lib.arguments(__doc__.splitlines()[0], 8)
    lib.warm_up(options.program)
    stand_in = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=stand_in.serve_forever, daemon=True).start()
    prefix = str((lib.DATA / "envs/python/base/current").resolve())
    rows = {"jupyterhub-singleuser alone": [], "through lyceum": []}
    with lib.demo(options.program) as demo:
        user = demo.user()
        browser = lib.Browser(demo.port)
        browser.log_in(user)
        for index in range(options.rounds + 1):
            direct = alone(prefix, stand_in.server_port) * 1000
            hub = through_lyceum(browser, user, demo.port) * 1000
            # The first round warms the caches.
            if index > 0:
                rows["jupyterhub-singleuser alone"].append(direct)
                rows["through lyceum"].append(hub)
    lib.table("request until the server answers", rows, "ms", 0)
    direct, hub = (statistics.median(values) for values in rows.values())
    print(f"  overhead of lyceum: {hub - direct:.0f} ms")


if __name__ == "__main__":
    main()
