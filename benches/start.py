#!/usr/bin/env python3
"""How long `lyceum demo` takes from its start until it answers, with its environment prepared."""

import lib


def main():
    options = lib.arguments(__doc__, 20)
    lib.warm_up(options.program)
    values = []
    for _ in range(options.rounds):
        with lib.demo(options.program) as demo:
            values.append(demo.started_in * 1000)
    lib.table("start of the process until GET /hub/health answers", {"lyceum demo": values}, "ms")


if __name__ == "__main__":
    main()
