#!/usr/bin/env python3
"""Abuse of a proxy from both sides, as black box: what it is sent by clients, and what by its servers.

  python3 e2e/abuse/run.py                                   Lyceum alone (`lyceum proxy`)
  python3 e2e/abuse/run.py --only lyceum,chp,nginx,haproxy   beside others, for comparison
  python3 e2e/abuse/run.py --groups http1,upstream --case chunk
  python3 e2e/abuse/run.py --json                            a line of JSON for each case, as the test in e2e reads it

Any running proxy can be tried: --port (and --tls-port) of it, --backend-port of the address to which it forwards
`/user/…`, and --pid to watch its memory. Exits with status 1 if a case of Lyceum fails. Of others, failures are
told, no more: they are held to fewer rules.
"""

import argparse
import json
import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "benches"))

import lib  # noqa: E402
import proxies  # noqa: E402
from backend import Backend  # noqa: E402
from stage import Failed, Target  # noqa: E402

import floods  # noqa: E402
import http1  # noqa: E402
import http2  # noqa: E402
import upstream  # noqa: E402

GROUPS = {"http1": http1, "http2": http2, "floods": floods, "upstream": upstream}


class Running:
    """A proxy that somebody else has started."""

    name = "lyceum"

    def __init__(self, options):
        self.port, self.tls_port, self.pid = options.port, options.tls_port, options.pid
        self.processes = []

    def memory(self):
        return lib.memory(self.pid)["PSS"] if self.pid else 0

    def sockets(self):
        return proxies.Proxy.sockets(self)

    def pids(self):
        return [self.pid] if self.pid else []

    def is_alive(self):
        return True

    def end(self):
        pass


def main():
    parser = argparse.ArgumentParser(description="Abuse of a proxy, from both sides.")
    proxies.add_options(parser, "lyceum")
    parser.add_argument("--groups", default=",".join(GROUPS), help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--case", default="", help="cases with this in their name only")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--port", type=int, help="of a proxy that runs already")
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--backend-port", type=int, default=0)
    parser.add_argument("--pid", type=int)
    options = parser.parse_args()
    proxies.raise_limit_of_files()
    failed = 0
    for name in options.only.split(","):
        backend = Backend(options.backend_port)
        for group in options.groups.split(","):
            # Each group with a proxy of its own: memory that one has used says nothing of the next.
            proxy = Running(options) if options.port else proxies.Proxy(name, backend.port, options, tls=group == "http2")
            try:
                target = Target(name, proxy, backend)
                bad = run(target, group, options)
                failed += bad if target.strict else 0
            finally:
                proxy.end()
        backend.close()
    sys.exit(1 if failed else 0)


def run(target, group, options):
    cases = [case for case in GROUPS[group].cases() if options.case in case.name]
    failed = 0
    for case in cases:
        begun = time.monotonic()
        try:
            case.run(target)
            why = target.proxy.is_alive() or "the proxy has ended"
        except Failed as error:
            why = str(error)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{error!r} at {where.name}, {pathlib.Path(where.filename).name}:{where.lineno}"
        why = "" if why is True else why
        failed += bool(why)
        result = {
            "proxy": target.name,
            "group": group,
            "case": case.name,
            "failure": why,
            "seconds": round(time.monotonic() - begun, 2),
        }
        if note := getattr(case, "note", ""):
            result["note"] = note
        if options.json:
            print(json.dumps(result), flush=True)
        elif why:
            print(f"FAILED {target.name} {group}: {case.name}: {why}", flush=True)
        elif note:
            print(f"       {target.name} {group}: {case.name}: {note}", flush=True)
    if not options.json:
        print(f"{target.name} {group}: {len(cases) - failed} of {len(cases)} cases hold", flush=True)
    return failed


if __name__ == "__main__":
    main()
