#!/usr/bin/env python3
"""How much sooner the single-user server answers in an environment that Lyceum made than in a plain one.

The plain one is what `pip install jupyterlab jupyterhub` gives, with the same interpreter and the same versions. Both are
made on first use, below `target/benches`. Each round starts each of them once, against a stand-in for the hub's API, until
`GET /user/ada/api` answers.
"""

import argparse
import http.server
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import threading

import lib
import server_start

PLAIN = lib.DATA.parent / "plain"


def make_plain(made):
    """Makes the plain environment, unless it is there with these versions."""
    stamp = json.loads((made / "lyceum-environment.json").read_text())
    wanted = [f"{name}=={stamp['versions'][name]}" for name in ("jupyterlab", "jupyterhub")]
    mark = PLAIN / "made-of.json"
    if mark.exists() and json.loads(mark.read_text()) == [stamp["interpreter"], *wanted]:
        return
    print("making the plain environment, which takes a minute", file=sys.stderr)
    subprocess.run([stamp["interpreter"], "-m", "venv", "--clear", str(PLAIN)], check=True)
    # What is not JupyterLab or JupyterHub has the version that the other environment has, if it is there.
    freeze = (made / "requirements.lock").read_text()
    (PLAIN / "constraints.txt").write_text("".join(line + "\n" for line in freeze.splitlines() if "==" in line))
    command = [str(PLAIN / "bin/pip"), "install", "-q", "--constraint", str(PLAIN / "constraints.txt"), *wanted]
    subprocess.run(command, check=True)
    mark.write_text(json.dumps([stamp["interpreter"], *wanted]))


def children():
    """Processor time of everything that was started and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(lib.ROOT / "target/release/lyceum"), help="the program that makes it")
    parser.add_argument("--environment", type=pathlib.Path, help="measure this one instead of one that is made")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    made = options.environment
    if made is None:
        lib.warm_up(options.program)
        made = lib.DATA / "envs/python/base/current"
    made = made.resolve()
    make_plain(made)
    stand_in = http.server.ThreadingHTTPServer(("127.0.0.1", 0), server_start.Api)
    threading.Thread(target=stand_in.serve_forever, daemon=True).start()
    environments = {"pip install jupyterlab jupyterhub": PLAIN, "an environment of lyceum": made}
    wall = {name: [] for name in environments}
    cpu = {name: [] for name in environments}
    for index in range(options.rounds + 1):
        for name, prefix in environments.items():
            before = children()
            took = server_start.alone(str(prefix), stand_in.server_port) * 1000
            # The first round warms the caches.
            if index > 0:
                wall[name].append(took)
                cpu[name].append((children() - before) * 1000)
    lib.table("start until the server answers", wall, "ms", 0)
    lib.table("processor time of it", cpu, "ms", 0)
    plain, ours = (statistics.median(values) for values in wall.values())
    print(f"  {ours / plain:.2f} of the plain one's time")


if __name__ == "__main__":
    main()
