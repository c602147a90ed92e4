#!/usr/bin/env python3
"""How much memory and processor time an idle Lyceum needs: alone, and after 200 logins."""

import time

import lib

IDLE_SECONDS = 10
LOGINS = 200


def main():
    options = lib.arguments(__doc__, 3)
    lib.warm_up(options.program)
    rows, cpu = {}, []
    for _ in range(options.rounds):
        with lib.demo(options.program) as demo:
            user, pid = demo.user(), demo.process.pid
            time.sleep(2)
            before = lib.cpu_seconds(pid)
            time.sleep(IDLE_SECONDS)
            cpu.append((lib.cpu_seconds(pid) - before) / IDLE_SECONDS * 1000)
            for name, value in lib.memory(pid).items():
                rows.setdefault(f"idle, {name}", []).append(value)
            for _ in range(LOGINS):
                lib.Browser(demo.port).log_in(user)
            for name, value in lib.memory(pid).items():
                rows.setdefault(f"after {LOGINS} logins, {name}", []).append(value)
    lib.table("memory of the process lyceum", rows, "MiB")
    lib.table("processor time when idle", {"lyceum": cpu}, "ms per second")


if __name__ == "__main__":
    main()
