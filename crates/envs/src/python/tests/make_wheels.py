# Writes tiny wheels into a folder: argv[1] is the folder, argv[2] code for jupyterhub's __init__.py.
import sys
import zipfile

folder, hub_code = sys.argv[1:3]


def wheel(name, version, files, requires=(), scripts=(), extras=()):
    info = f"{name}-{version}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(
        f"Requires-Dist: {other}\n" for other in requires
    ) + "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if scripts:
        files[f"{info}/entry_points.txt"] = "[console_scripts]\n" + "\n".join(scripts) + "\n"
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(f"{folder}/{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


wheel(
    "jupyterhub",
    "6.1.1",
    {"jupyterhub/__init__.py": hub_code, "jupyterhub/single.py": "def main():\n    print('6.1.1')\n"},
    scripts=["jupyterhub-singleuser = jupyterhub.single:main"],
)
wheel("jupyterlab", "4.6.6", {"jupyterlab/__init__.py": ""}, requires=["jsonschema[format-nongpl]"])
wheel(
    "jsonschema",
    "4.26.0",
    {"jsonschema/__init__.py": "class FormatChecker:\n    checkers = {'date': 1}\n\n\ndef validate(*_, **__):\n    pass\n"},
    requires=["rfc3987-syntax ; extra == 'format-nongpl'"],
    extras=["format-nongpl"],
)
wheel("rfc3987_syntax", "1.1.0", {"rfc3987_syntax/__init__.py": ""})
