#!/usr/bin/env python3
"""How long a login takes, the check of the password included, and the pages around it."""

import time

import lib


def timed(browser, path):
    begun = time.perf_counter()
    status, _, text = browser.request("GET", path)
    if status != 200:
        raise SystemExit(f"error: {path} answered {status}:\n{text}")
    return (time.perf_counter() - begun) * 1000


def main():
    options = lib.arguments(__doc__, 50)
    lib.warm_up(options.program)
    rows = {"GET /hub/login": [], "POST /hub/login": [], "GET /hub/home": []}
    with lib.demo(options.program) as demo:
        user = demo.user()
        lib.Browser(demo.port).log_in(user)
        for _ in range(options.rounds):
            browser = lib.Browser(demo.port)
            rows["GET /hub/login"].append(timed(browser, "/hub/login"))
            rows["POST /hub/login"].append(browser.log_in(user) * 1000)
            rows["GET /hub/home"].append(timed(browser, "/hub/home"))
    lib.table("one visitor at a time, each with a new connection for the first page", rows, "ms")


if __name__ == "__main__":
    main()
