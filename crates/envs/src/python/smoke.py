# Tries a new environment out: what every server needs can be imported. Prints the versions.
import importlib.metadata
import importlib.util
import json
import platform

import jupyterhub  # noqa: F401
import jupyterlab  # noqa: F401

if importlib.util.find_spec("jsonschema"):
    # We removed rfc3987-syntax: events must still be checked, and other formats still be known.
    import jsonschema

    checker = jsonschema.FormatChecker()
    jsonschema.validate("x", {"type": "string"}, format_checker=checker)
    assert "date" in checker.checkers, "jsonschema knows no formats"

print(json.dumps({
    "python": platform.python_version(),
    "jupyterhub": importlib.metadata.version("jupyterhub"),
    "jupyterlab": importlib.metadata.version("jupyterlab"),
}))
