"""Starts JupyterHub's server for one user sooner, by leaving out at the start what such a server never uses, lets it find
the kernels of other environments, and keeps its kernels off the ports of others.

Written by Lyceum into the environments that it builds; `bin/jupyterhub-singleuser` imports `main` from here instead of
from `jupyterhub.singleuser`. No file of JupyterHub is changed, and `import jupyterhub` elsewhere does what it always does.
"""

import gc
import importlib
import os
import socket
import sys
import types

# Whether that helps; found out when the environment was made.
FAST = True
# What belongs to a hub and is imported on the way to a user's server: its database and its pages, 0.35 s.
LATER = (
    "sqlalchemy",
    "sqlalchemy.exc",
    "jupyterhub.orm",
    "jupyterhub.roles",
    "jupyterhub.handlers",
    "jupyterhub.handlers.pages",
)
# Compiles a grammar when it is imported, 1 s; jsonschema does without it.
ABSENT = "rfc3987_syntax"
# Names that are imported from these modules and only compared with: no server of a user raises or answers with them.
CLASSES = {
    "sqlalchemy.exc": {"SQLAlchemyError": Exception},
    "jupyterhub.handlers.pages": {"HealthCheckHandler": object},
}

# How many ports are tried before one is taken that another server may have chosen, too.
ATTEMPTS = 200

_placed = {}


class Later(types.ModuleType):
    """Stands for a module that is imported when something of it is wanted."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        # The real one is imported with all real ones around it.
        restore()
        return getattr(importlib.import_module(self.__name__), name)


def place():
    """Puts the stand-ins where imports find them, unless the real modules are there already."""
    if any(name in sys.modules for name in LATER):
        return
    for name in LATER:
        module = Later(name)
        for known, base in CLASSES.get(name, {}).items():
            setattr(module, known, type(known, (base,), {}))
        _placed[name] = sys.modules[name] = module
    if ABSENT not in sys.modules:
        _placed[ABSENT] = sys.modules[ABSENT] = None


def restore():
    """Takes the stand-ins away: whoever imports these modules from now on gets the real ones."""
    for name, module in _placed.items():
        if name in sys.modules and sys.modules[name] is module:
            del sys.modules[name]
    _placed.clear()


def import_server():
    """Imports the server's code; without any trick if that is what it takes."""
    before = set(sys.modules)
    place()
    try:
        import jupyterhub.singleuser
    except Exception:
        restore()
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "jupyterhub":
                del sys.modules[name]
        import jupyterhub.singleuser
    finally:
        restore()
    return jupyterhub.singleuser.main


def import_lab():
    """Imports JupyterLab, which starts Node.js when it is imported, if it finds one, to ask for the address of a registry
    that only `jupyter lab build` needs: 0.3 s at each start."""
    path = os.environ.get("PATH")
    if path is None:
        return
    os.environ["PATH"] = os.devnull
    try:
        import jupyterlab.labapp  # noqa: F401
    except Exception:
        # If the server wants it, the server says what is wrong.
        pass
    finally:
        os.environ["PATH"] = path


def offer_kernels():
    """Lets the server find what `lyceum env kernels` has placed for servers from this environment: kernels of others, and
    what JupyterLab needs for them. The environment is FOLDER/python/NAME/NUMBER."""
    environment, _ = os.path.split(sys.prefix)
    kind, name = os.path.split(environment)
    folder, kind = os.path.split(kind)
    place = os.path.join(folder, "kernels", "servers", name)
    if kind == "python" and os.path.isdir(place):
        # What an administrator or a profile has set comes first.
        known = os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
        os.environ["JUPYTER_PATH"] = os.pathsep.join([*filter(None, known), place])


def prepare():
    """Imports everything, and returns the server's own `main`."""
    if not FAST:
        import jupyterhub.singleuser

        return jupyterhub.singleuser.main
    # Modules are made to stay: looking through them for garbage ten times over costs 0.1 s.
    gc.disable()
    try:
        main = import_server()
        import_lab()
        gc.freeze()
    finally:
        gc.enable()
    return main


def claim_port(port):
    """Claims a TCP port among the servers of this machine that do so, by a name that one process can hold at a time, whoever
    it belongs to; it ends with the process. Returns what holds it, or `None` if another has it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0lyceum-kernel-port-{port}")
    except OSError:
        claim.close()
        return None
    return claim


def keep_ports_apart():
    """Lets no two servers choose the same port for kernels that start at the same time, as they do in a class: a second or
    more goes by between the choice and the kernel's use of it, and a kernel whose port is taken never starts."""
    try:
        from jupyter_client.connect import LocalPortCache
    except Exception:
        return

    class MachinePorts(LocalPortCache):
        def __init__(self, **options):
            super().__init__(**options)
            self.claims = {}

        def find_available_port(self, ip):
            passed = []
            while True:
                port = super().find_available_port(ip)
                claim = claim_port(port)
                if claim is not None or len(passed) == ATTEMPTS:
                    break
                # Not offered again before another is found.
                passed.append(port)
            self.claims[port] = claim
            for other in passed:
                super().return_port(other)
            return port

        def return_port(self, port):
            super().return_port(port)
            claim = self.claims.pop(port, None)
            if claim is not None:
                claim.close()

    if not LocalPortCache.initialized():
        # All kernels of the server ask this one from now on.
        MachinePorts.instance()


def main(*arguments, **options):
    offer_kernels()
    run = prepare()
    keep_ports_apart()
    return run(*arguments, **options)
