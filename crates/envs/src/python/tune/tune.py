# Makes an installed environment start fast. Runs in its interpreter, as the account that owns its files; argv[1] is the
# text of the module that starts servers, argv[2] the title of the environment or nothing, the others are the packages that
# were asked for. The last line says in JSON what was found and done.
import compileall
import concurrent.futures
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import time

LAUNCHER = "lyceum_singleuser"
START = "from jupyterhub.singleuser import main"
PREFIX = pathlib.Path(sys.prefix)
PACKAGES = pathlib.Path(sysconfig.get_path("purelib"))
# As servers have it.
PATH = f"{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin"
# The head of a byte-code file that is valid without a look at its source: PEP 552.
UNCHECKED = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")

findings = []


def found(name, mended, text, cost_ms=None, advice=None):
    findings.append({"name": name, "mended": mended, "text": text, "cost_ms": cost_ms, "advice": advice})


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


ASKED = {canonical(name) for name in sys.argv[3:]}


def run(code, options=("-I",)):
    """Runs code in a new interpreter; returns its output, and how long it took in milliseconds. None if it fails."""
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, *options, "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PATH": PATH},
        )
    except subprocess.TimeoutExpired:
        return None
    took = (time.perf_counter() - begun) * 1000
    if done.returncode != 0:
        print(done.stderr.strip()[-2000:])
        return None
    return done.stdout, took


def write(path, text, mode):
    """Replaces a file by a new one: the old one may be shared with other environments."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)


# --- Byte-code


def is_compiled(source):
    try:
        with open(importlib.util.cache_from_source(source), "rb") as file:
            head = file.read(16)
        if head[:8] != UNCHECKED:
            return False
        with open(source, "rb") as file:
            return head[8:] == importlib.util.source_hash(file.read())
    except OSError:
        return False


def compile_some(sources):
    """Compiles files, and returns those that it cannot. The names inside are relative, so that equal sources give equal
    files in every generation; Python puts the real ones in when it loads them."""
    return [
        source
        for source in sources
        if not is_compiled(source)
        and not compileall.compile_file(
            source,
            stripdir=sys.prefix,
            force=True,
            quiet=2,
            invalidation_mode=compileall.py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    ]


def compile_all():
    sources = []
    for folder, below, names in os.walk(PREFIX / "lib"):
        below[:] = [name for name in below if name != "__pycache__"]
        sources += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    sources.sort()
    pieces = [sources[at : at + 100] for at in range(0, len(sources), 100)]
    try:
        # These functions are known to forked processes only: this text is no module.
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context) as pool:
            failed = [source for some in pool.map(compile_some, pieces) for source in some]
    except OSError:
        # Without shared memory there is no pool.
        failed = compile_some(sources)
    for source in failed:
        print(f"not compiled: {os.path.relpath(source, PREFIX)}")
    return len(sources) - len(failed), len(failed)


def look_at_the_library():
    """The interpreter's own modules: not ours to write, but each start pays for what is missing there."""
    folder = pathlib.Path(sysconfig.get_path("stdlib"))
    sources = [*folder.glob("*.py"), *folder.glob("asyncio/*.py"), *folder.glob("json/*.py"), *folder.glob("email/*.py")]
    missing = [one for one in sources if not os.path.exists(importlib.util.cache_from_source(str(one)))]
    if len(missing) > len(sources) // 10:
        found(
            "library-not-compiled",
            False,
            f"{len(missing)} of {len(sources)} modules of the interpreter in {folder} are not compiled",
            400,
            f"let root run: {sys._base_executable} -m compileall -q {folder}",
        )


# --- Traps


def is_wanted(name):
    """Whether a package was asked for, or another one cannot do without it; not whether an option of one names it."""
    # The file REQUESTED does not tell: installers write it for all that stands in a lock file.
    if name in ASKED:
        return True
    for one in importlib.metadata.distributions(path=[str(PACKAGES), sysconfig.get_path("platlib")]):
        if canonical(one.metadata["Name"] or "") == name:
            continue
        for requirement in one.requires or ():
            needed, _, condition = requirement.partition(";")
            needed = re.split(r"[\s<>=!~\[(@]", needed.strip(), maxsplit=1)[0]
            if canonical(needed) == name and "extra" not in condition:
                return True
    return False


def remove_slow_format_check():
    """`rfc3987-syntax` compiles a grammar each time it is imported, for two formats of strings that jsonschema leaves out
    where the package is absent (`jsonschema/_format.py`); Jupyter's events declare neither."""
    try:
        package = importlib.metadata.distribution("rfc3987-syntax")
    except importlib.metadata.PackageNotFoundError:
        return
    timed = run("import time; t = time.perf_counter(); import rfc3987_syntax; print(time.perf_counter() - t)")
    cost = round(float(timed[0].split()[-1]) * 1000) if timed else None
    if is_wanted("rfc3987-syntax"):
        found(
            "slow-format-check",
            False,
            "rfc3987-syntax compiles a grammar when it is imported, and is wanted by the requirements",
            cost,
            "take it out of the requirements: servers leave it out at their start, other programs do not",
        )
        return
    folders = set()
    for file in package.files or ():
        path = pathlib.Path(package.locate_file(file))
        if PREFIX not in path.resolve().parents:
            continue
        path.unlink(missing_ok=True)
        if path.suffix == ".py":
            pathlib.Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
        folders.update({path.parent, path.parent / "__pycache__"})
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    found("slow-format-check", True, "rfc3987-syntax is removed: it compiles a grammar when it is imported", cost)


def time_imports(code):
    """How long the two parts of the server take to import, in milliseconds, and what is printed after that. The shorter of
    two runs: the first one may have to read from the disk."""
    runs = [run(code), run(code)]
    if None in runs:
        return None
    parts = [json.loads(output.splitlines()[-1]) for output, _ in runs]
    return [min(part[index] for part in parts) for index in range(2)], parts[-1][2]


TIMED = """
import json, sys, time
marks = [time.perf_counter()]
{first}
marks.append(time.perf_counter())
{second}
marks.append(time.perf_counter())
took = [round((end - begin) * 1000) for begin, end in zip(marks, marks[1:])]
print()
print(json.dumps([*took, "sqlalchemy" in sys.modules]))
"""
PLAIN = TIMED.format(first="import jupyterhub.singleuser", second="import jupyterlab.labapp")
MENDED = TIMED.format(
    first=f"import gc, {LAUNCHER} as start; gc.disable(); start.import_server()", second="start.import_lab()"
)


def mend_start():
    """Lets `jupyterhub-singleuser` leave out what a user's server never uses; keeps that only where it works and helps.
    Returns how long the server's imports take before and after."""
    script = PREFIX / "bin/jupyterhub-singleuser"
    if not script.is_file():
        # An environment for kernels only.
        return None, None
    text = script.read_text()
    fast = f"from {LAUNCHER} import main"
    if text.count(f"\n{START}\n") + text.count(f"\n{fast}\n") != 1:
        found("start-script", False, "bin/jupyterhub-singleuser is not as pip writes it, and left as it is")
        return None, None
    before = time_imports(PLAIN)
    if before is None:
        # The try-out says what is wrong.
        return None, None
    module = PACKAGES / f"{LAUNCHER}.py"
    write(module, sys.argv[1], 0o644)
    compile_some([str(module)])
    after = time_imports(MENDED)
    fast_enough = after is not None and sum(after[0]) < sum(before[0])
    if not fast_enough:
        write(module, sys.argv[1].replace("\nFAST = True\n", "\nFAST = False\n"), 0o644)
        compile_some([str(module)])
    write(script, text.replace(f"\n{START}\n", f"\n{fast}\n"), stat.S_IMODE(script.stat().st_mode))
    if not fast_enough:
        found("start-script", False, "this JupyterHub cannot leave out what a user's server never uses")
        return sum(before[0]), sum(before[0])
    (hub, lab), (hub_after, lab_after) = before[0], after[0]
    if not after[1]:
        found("hub-parts", True, "servers leave the hub's database and pages out", max(0, hub - hub_after))
    if shutil.which("node", path=PATH):
        found("node-at-start", True, "servers do not start Node.js to ask for a registry", max(0, lab - lab_after))
    return hub + lab, hub_after + lab_after


def name_kernel():
    """Says in the list of kernels which Python it is and of which environment, where every environment says the same."""
    path = PREFIX / "share/jupyter/kernels/python3/kernel.json"
    if not sys.argv[2] or not path.is_file():
        return
    description = json.loads(path.read_text())
    title = f"Python {sys.version_info.major}.{sys.version_info.minor} ({sys.argv[2]})"
    if description.get("display_name") != title:
        description["display_name"] = title
        write(path, json.dumps(description, indent=1) + "\n", 0o644)


def look_at_paths():
    """Lines of `.pth` files that run code: every program of the environment pays for them, kernels too."""
    code = f"""
import os, site, sys, time
sys.path.append({str(PACKAGES)!r})
for path in {[str(path) for path in sorted(PACKAGES.glob("*.pth"))]!r}:
    begun = time.perf_counter()
    for line in open(path):
        if line.startswith(("import ", "import\\t")):
            exec(line)
    print(round((time.perf_counter() - begun) * 1000), os.path.basename(path))
"""
    # Without `site`, which has run these lines already.
    answer = run(code, options=("-I", "-S"))
    for line in (answer[0] if answer else "").splitlines():
        took, _, name = line.partition(" ")
        if took.isdigit() and int(took) >= 20:
            advice = f"find the package that brings {name}, and do without it if you can"
            found("slow-pth", False, f"{name} runs code at the start of every program", int(took), advice)


def look_at_the_interpreter():
    """A build without profile-guided optimisation runs everything slower, not only a start."""
    names = ("CONFIG_ARGS", "PY_CORE_CFLAGS", "PY_CFLAGS", "CFLAGS")
    text = " ".join(str(sysconfig.get_config_var(name) or "") for name in names)
    signs = ("--enable-optimizations", "-fprofile-use", "-fprofile-instr-use")
    if hasattr(sys, "gettotalrefcount"):
        found("debug-python", False, f"{sys._base_executable} is a debug build", None, "use the system's own Python")
    # Distributions optimise, but do not leave that in these variables.
    elif not sys._base_executable.startswith("/usr/bin/") and not any(sign in text for sign in signs):
        found(
            "unoptimised-python",
            False,
            f"{sys._base_executable} was built without optimisations: everything takes a third longer",
            None,
            "use the system's own Python, or build it with --enable-optimizations",
        )


def look_at_npm():
    if shutil.which("npm", path=PATH) and importlib.util.find_spec("jupyter_lsp"):
        found(
            "npm-at-start",
            False,
            "jupyter-lsp asks npm for its folder after each start, beside the server",
            None,
            "let servers run without npm on their PATH, if nobody installs language servers with it",
        )


compiled, not_compiled = compile_all()
remove_slow_format_check()
before, after = mend_start()
name_kernel()
look_at_the_library()
look_at_paths()
look_at_the_interpreter()
look_at_npm()
print(json.dumps({
    "compiled": compiled,
    "not_compiled": not_compiled,
    "imports_before_ms": before,
    "imports_after_ms": after,
    "findings": findings,
}))
