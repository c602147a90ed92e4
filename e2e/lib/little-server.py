#!/usr/bin/python3 -IS
# The least that is a user's server: it listens on the socket that it is told, and answers what the hub asks at a start.
# It is in no hurry to start, and begins a process that hides from it in a session of its own.

import http.server
import os
import random
import socketserver
import subprocess
import sys
import time

path = next(word.split("=", 1)[1] for word in sys.argv if word.startswith("--ServerApp.sock="))
prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path.split("?")[0] == prefix + "api"
        body = b"%d" % os.getpid()
        self.send_response(200 if found else 404)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Says nothing of those who ask and do not wait for the answer."""


subprocess.Popen(["sleep", "3600"], start_new_session=True)
time.sleep(random.uniform(0, 0.5))
with Server(path, Handler) as server:
    os.chmod(path, 0o660)
    server.serve_forever()
