# Tells what an interpreter can do. Runs on any Python from 3.4 on, so that old ones are told apart from broken ones.
import glob
import json
import os
import platform
import sys
import sysconfig


def can_import(name):
    try:
        __import__(name)
        return True
    except ImportError:
        return False


def setting(name):
    return str(sysconfig.get_config_var(name) or "")


def pip_wheel():
    """The pip that came with Python: ensurepip has it beside itself, or where the distribution keeps such."""
    try:
        import ensurepip
    except ImportError:
        return None
    beside = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")
    for folder in (setting("WHEEL_PKG_DIR"), beside):
        found = glob.glob(os.path.join(glob.escape(folder), "pip-*.whl")) if folder else []
        if found:
            return max(found)
    return None


def is_optimised():
    """Whether it was compiled with what a first build has learnt. Debian and Ubuntu do so, and do not say it."""
    told = "--enable-optimizations" in setting("CONFIG_ARGS") or "-fprofile-use" in setting("PY_CFLAGS")
    return told or "deb_system" in sysconfig.get_scheme_names()


print(json.dumps({
    "version": list(sys.version_info[:3]),
    # Inside a virtual environment: the Python that it was made from, so that ours does not depend on it.
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "venv": can_import("venv") and can_import("ensurepip"),
    "virtualenv": can_import("virtualenv"),
    "optimised": is_optimised(),
    "pip_wheel": pip_wheel(),
    "platform": "%s-%s" % (sys.platform, platform.machine()),
}))
