#!/usr/bin/env python3
"""What the hub costs beside JupyterHub's: processor time of each call, starts of servers, memory.

Measures Lyceum, and with --jupyterhub and --proxy the real JupyterHub with configurable-http-proxy in the same run,
and prints both with their ratios. Rounds of the two take turns, since other work on the machine comes and goes. All
servers are `tiny-notebook`, so that what is measured is the hubs. Needs the program `wrk`, and:

  cargo build --release && cargo build --release -p lyceum-testkit --bin tiny-notebook
  python3 benches/hub.py --jupyterhub VENV/bin/jupyterhub --proxy node_modules/.bin/configurable-http-proxy
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

import hubs
import lib

CONNECTIONS = 8
SERVERS = 50
ONE_BY_ONE = 15
LOGINS = 200
BATCH = 100
SETTLE = 0.2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(lib.ROOT / "target/release/lyceum"), help="the Lyceum to measure")
    parser.add_argument("--server", default=str(lib.ROOT / "target/release/tiny-notebook"), help="the users' server")
    parser.add_argument("--jupyterhub", help="the program `jupyterhub` to compare with")
    parser.add_argument("--proxy", help="the program `configurable-http-proxy`")
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure (default 3)")
    parser.add_argument("--seconds", type=int, default=3, help="how long each call is repeated (default 3)")
    parser.add_argument("--users", type=int, default=10_000, help="how many users to list (default 10000)")
    parser.add_argument("--only", default="", help="measurements to take, such as `user,login`; all if it is left out")
    options = parser.parse_args()
    if bool(options.jupyterhub) != bool(options.proxy):
        parser.error("JupyterHub needs both --jupyterhub and --proxy")
    for program in (options.program, options.server, options.jupyterhub, options.proxy):
        if program and not os.access(program, os.X_OK):
            sys.exit(f"error: {program} is missing\n  hint: the first lines of {__file__} say how to build it")
    if not shutil.which("wrk"):
        sys.exit("error: the program wrk is missing\n  hint: apt install wrk")
    return options


class Table:
    """The values of each measurement for each hub."""

    def __init__(self):
        self.values = {}

    def add(self, name, unit, hub, value):
        self.values.setdefault((name, unit), {}).setdefault(hub, []).append(value)

    def print(self, names):
        width = max(len(f"{name}, {unit}") for name, unit in self.values)
        head = "".join(f"{name:>24}" for name in names)
        print(f"{'median (min to max)':{width}}{head}{'ratio' if len(names) > 1 else '':>10}")
        for (name, unit), hubs_values in self.values.items():
            cells, medians = "", []
            for hub in names:
                values = hubs_values.get(hub)
                if not values:
                    cells += f"{'-':>24}"
                    continue
                medians.append(statistics.median(values))
                cells += f"{f'{medians[-1]:.3g} ({min(values):.3g} to {max(values):.3g})':>24}"
            ratio = f"1/{medians[1] / medians[0]:.1f}" if len(medians) == 2 and medians[0] > 0 else ""
            print(f"{name + ', ' + unit:{width}}{cells}{ratio:>10}")


def load(url, seconds, headers=(), script=None):
    """Repeats a call over several connections; returns how many were answered well."""
    command = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", "20s"]
    for header in headers:
        command += ["-H", header]
    if script:
        command += ["-s", str(script)]
    text = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    count = int(re.search(r"(\d+) requests in", text).group(1))
    if bad := re.search(r"Non-2xx or 3xx responses: (\d+)", text):
        sys.exit(f"error: {bad.group(1)} of {count} calls to {url} were refused")
    return count


def cost(hub, work):
    """Milliseconds of processor time of the hub and its proxy for each thing that `work` says it has done."""
    before = hub.cpu_seconds()
    count = work()
    time.sleep(SETTLE)
    return (hub.cpu_seconds() - before) * 1000 / count


def calls(hub, options, table):
    token = [f"Authorization: token {hubs.TOKEN}"]
    for name, base in (("GET user by token", hub.api), ("the same, through the proxy", hub.public)):
        url = f"{base}/hub/api/user"
        table.add(name, "ms of CPU", hub.name, cost(hub, lambda: load(url, options.seconds, token)))


def logins(hub, options, table):
    def work():
        for number in range(LOGINS):
            browser = lib.Browser(hub.port)
            browser.request("GET", "/hub/login")
            form = {"_xsrf": browser.cookie("_xsrf"), "username": f"u{number % SERVERS}", "password": "x"}
            status, _, text = browser.request("POST", "/hub/login", form)
            if status != 302:
                sys.exit(f"error: {hub.name} answered a login with {status}:\n{text[:500]}")
        return LOGINS

    table.add("login: page, form, session", "ms of CPU", hub.name, cost(hub, work))


def start(hub, user):
    """Starts a server; returns the seconds until it answers."""
    begun = time.perf_counter()
    hub.call("POST", f"users/{user}/server", expected=(201, 202))
    hub.wait_for_server(user)
    return time.perf_counter() - begun


def stop(hub, user):
    status, _ = hub.call("DELETE", f"users/{user}/server", expected=(202, 204))
    deadline = time.perf_counter() + 60
    while status == 202 and hub.call("GET", f"users/{user}")[1]["servers"]:
        if time.perf_counter() > deadline:
            sys.exit(f"error: {hub.name} does not stop a server")
        time.sleep(0.05)


def starts(hub, options, table):
    users = [f"u{number}" for number in range(SERVERS)]
    took = []

    def one_by_one():
        for user in users[:ONE_BY_ONE]:
            took.append(start(hub, user))
            stop(hub, user)
        return ONE_BY_ONE

    table.add("start and stop of a server", "ms of CPU", hub.name, cost(hub, one_by_one))
    table.add("start until it answers", "ms", hub.name, statistics.median(took) * 1000)
    with concurrent.futures.ThreadPoolExecutor(SERVERS) as pool:
        begun = time.perf_counter()
        list(pool.map(lambda user: start(hub, user), users))
        table.add(f"{SERVERS} starts at once until all answer", "s", hub.name, time.perf_counter() - begun)
    time.sleep(2)
    table.add(f"memory with {SERVERS} servers", "MiB", hub.name, hub.memory())


def activity(hub, options, table):
    script = hub.folder / "activity.lua"
    script.write_text(
        'local names, n = {%s}, 0\n'
        'request = function()\n'
        '  n = n + 1\n'
        '  local at = os.date("!%%Y-%%m-%%dT%%H:%%M:%%S") .. string.format(".%%06dZ", n %% 1000000)\n'
        '  return wrk.format("POST", "/hub/api/users/" .. names[n %% #names + 1] .. "/activity",\n'
        '    {["Authorization"] = "token %s", ["Content-Type"] = "application/json"},\n'
        '    \'{"last_activity": "\' .. at .. \'", "servers": {"": {"last_activity": "\' .. at .. \'"}}}\')\n'
        'end\n' % (", ".join(f'"u{number}"' for number in range(SERVERS)), hubs.TOKEN)
    )
    table.add("POST activity", "ms of CPU", hub.name, cost(hub, lambda: load(hub.api, options.seconds, script=script)))


def pages(hub, options, table):
    hub.make_users(options.users)
    headers = [f"Authorization: token {hubs.TOKEN}", "Accept: application/jupyterhub-pagination+json"]
    for name, query in (
        ("page of 50", "limit=50"),
        ("page of 200", "limit=200"),
        ("last page of 200", f"limit=200&offset={options.users - 200}"),
    ):
        url = f"{hub.api}/hub/api/users?{query}"
        value = cost(hub, lambda: load(url, options.seconds, headers))
        table.add(f"GET users, {name} of {options.users}", "ms of CPU", hub.name, value)
    url = f"{hub.api}/hub/api/users/u7"
    table.add(f"GET one user of {options.users}", "ms of CPU", hub.name, cost(hub, lambda: load(url, options.seconds, headers)))


MEASUREMENTS = {"user": calls, "login": logins, "starts": starts, "activity": activity, "pages": pages}


def measure(kind, options, table, wanted, with_pages):
    """One round on a fresh hub."""
    hub = kind(options)
    try:
        table.add("start until it listens", "s", hub.name, hub.start())
        time.sleep(2)
        table.add("memory when idle", "MiB", hub.name, hub.memory())
        hub.make_users(SERVERS)
        if "activity" in wanted and "starts" not in wanted:
            for number in range(SERVERS):
                start(hub, f"u{number}")
        for name, measurement in MEASUREMENTS.items():
            if name in wanted and (with_pages or name != "pages"):
                print(f"{hub.name}: {name}", file=sys.stderr)
                measurement(hub, options, table)
    finally:
        hub.end()


def main():
    options = arguments()
    wanted = set(options.only.split(",")) if options.only else set(MEASUREMENTS)
    if unknown := wanted - set(MEASUREMENTS):
        sys.exit(f"error: there is no measurement {', '.join(sorted(unknown))}, only {', '.join(MEASUREMENTS)}")
    kinds = [hubs.Lyceum] + ([hubs.JupyterHub] if options.jupyterhub else [])
    table = Table()
    for number in range(options.rounds):
        for kind in kinds:
            # To make 10,000 users takes JupyterHub minutes.
            measure(kind, options, table, wanted, with_pages=number == 0)
    table.print([kind.name for kind in kinds])


if __name__ == "__main__":
    main()
