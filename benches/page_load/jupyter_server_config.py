"""Counts what reaches a single-user server: a line for each request, in the file that a variable names.

Jupyter Server reads this file when it starts. Requests are seen where their handler is chosen, so that WebSockets and
refused requests count, too; those of the hub and of its proxy are told from a browser's by their User-Agent.
"""

import os
import time

from tornado.web import Application

NAME = os.environ.get("PAGE_LOAD_COUNT") or os.path.join(os.path.dirname(__file__), "requests.log")
FILE = open(NAME, "a", buffering=1)
find_handler = Application.find_handler


def counting(self, request, **rest):
    browser = "Mozilla" in request.headers.get("User-Agent", "")
    path = request.path.replace("\n", " ")
    FILE.write(f"{time.time():.3f} {'browser' if browser else 'other'} {request.method} {path}\n")
    return find_handler(self, request, **rest)


Application.find_handler = counting

# Each kernel's picture is a request, and how many kernels there are is a matter of the machine.
get_config().KernelSpecManager.allowed_kernelspecs = {"python3"}  # noqa: F821
