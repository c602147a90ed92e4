#!/usr/bin/env python3
"""An environment of some 150 packages: how long it takes and how large it is, with plain pip and with `lyceum env`.

Both begin with empty caches and the same index, one after the other in one run; then a second environment with one
package more is made. Needs the network, and some GB on the disk. A generation of Lyceum's is compiled, tried out with a
server and a cell in its kernel, and locked with hashes; what pip makes is not.
"""

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import time

import lib

FOLDER = lib.ROOT / "target" / "benches" / "environments"
# What a classroom had: a hub, notebooks, numbers, plots, language, tools.
PACKAGES = """
jupyter jupyterhub jupyterlab nbconvert nbgrader python-dateutil pipenv ipdb ipython black flake8 regex requests lxml
numpy pandas openpyxl scipy scikit-learn matplotlib seaborn nltk gensim feedparser
"""
ONE_MORE = "networkx"


def disk(*folders):
    """What folders have on the disk together; a file with several names counts once."""
    seen, total = set(), 0
    for folder in folders:
        for top, _, names in os.walk(folder):
            for path in [top, *(os.path.join(top, name) for name in names)]:
                data = os.lstat(path)
                if (data.st_dev, data.st_ino) not in seen:
                    seen.add((data.st_dev, data.st_ino))
                    total += data.st_blocks * 512
    return total


def timed(command, **options):
    begun = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise SystemExit(f"error: {command} failed\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return time.perf_counter() - begun, done.stdout


def with_pip(number, packages):
    prefix = FOLDER / f"pip-{number}"
    environment = {**os.environ, "PIP_CACHE_DIR": str(FOLDER / "pip-cache")}
    made, _ = timed(["/usr/bin/python3", "-m", "venv", str(prefix)], env=environment)
    installed, _ = timed([str(prefix / "bin/pip"), "install", "--quiet", *packages], env=environment)
    return made + installed, prefix


def main():
    options = lib.arguments(__doc__, 1)
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    FOLDER.mkdir(parents=True)
    # The builder has to be let in.
    envs = pathlib.Path("/var/tmp/lyceum-bench-envs")
    shutil.rmtree(envs, ignore_errors=True)
    packages = PACKAGES.split()
    rows = []

    first, one = with_pip(1, packages)
    count = len(list(one.glob("lib/python*/site-packages/*.dist-info")))
    rows.append(("pip, first", first, disk(one)))
    alone = disk(one)
    second, two = with_pip(2, [*packages, ONE_MORE])
    rows.append(("pip, second", second, disk(one, two) - alone))

    try:
        pwd.getpwnam("lyceum-build")
        account = "lyceum-build"
    except KeyError:
        account = "nobody"
    requirements = FOLDER / "base.txt"
    requirements.write_text("\n".join(packages) + "\n")
    config = FOLDER / "lyceum.toml"
    config.write_text(
        f'[auth]\nkind = "pam"\n[env]\nfolder = "{envs}"\n[env.python.base]\nrequirements = "{requirements}"\nbuild_as = "{account}"\n'
    )
    command = [options.program, "env", "python"]
    tail = ["--switch", "--json", "--config", str(config)]
    took, told = timed([*command, "build", *tail])
    built = json.loads(told)
    generation = envs / "python/base/1"
    rows.append((f"lyceum with {built['installer']}, first", took, disk(generation)))
    alone = disk(generation)
    took, told = timed([*command, "add", ONE_MORE, *tail])
    rows.append((f"lyceum with {built['installer']}, second", took, disk(generation, envs / "python/base/2") - alone))

    print(f"{count} packages")
    for name, seconds, size in rows:
        print(f"{name:<28} {seconds:7.1f} s {size / 1e6:8.0f} MB")
    cache = disk(envs / "cache")
    print(f"{'caches: pip, lyceum':<28} {'':9} {disk(FOLDER / 'pip-cache') / 1e6:8.0f} MB, {cache / 1e6:.0f} MB")
    shutil.rmtree(envs)
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    main()
