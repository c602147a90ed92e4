# Tells what an interpreter can do. Runs on any Python from 3.4 on, so that old ones are told apart from broken ones.
import json
import sys


def can_import(name):
    try:
        __import__(name)
        return True
    except ImportError:
        return False


print(json.dumps({
    "version": list(sys.version_info[:3]),
    # Inside a virtual environment: the Python that it was made from, so that ours does not depend on it.
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "venv": can_import("venv") and can_import("ensurepip"),
    "virtualenv": can_import("virtualenv"),
}))
