# Makes small packages into a folder: argv[1]. Each wheel has the list of its files with their hashes, as real ones have.
import base64
import hashlib
import io
import sys
import tarfile
import zipfile

folder = sys.argv[1]


def wheel(name, version, files, requires=(), scripts=(), python=None):
    info = f"{name}-{version}.dist-info"
    files = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    head += f"Requires-Python: {python}\n" if python else ""
    head += "".join(f"Requires-Dist: {other}\n" for other in requires)
    files[f"{info}/METADATA"] = head.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if scripts:
        files[f"{info}/entry_points.txt"] = ("[console_scripts]\n" + "\n".join(scripts) + "\n").encode()

    def line(path, data):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        return f"{path},sha256={digest},{len(data)}\n"

    record = "".join(line(path, data) for path, data in files.items()) + f"{info}/RECORD,,\n"
    files[f"{info}/RECORD"] = record.encode()
    with zipfile.ZipFile(f"{folder}/{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, data in files.items():
            # Always the same time, so that the same package has the same hash.
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), data)


def source(name, version, backend):
    """A source archive whose build system is in the archive itself, so that nothing has to be downloaded for it."""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    project += f'[project]\nname = "{name}"\nversion = "{version}"\n'
    files = {
        "pyproject.toml": project,
        "backend.py": backend,
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    with tarfile.open(f"{folder}/{name}-{version}.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            item = tarfile.TarInfo(f"{name}-{version}/{path}")
            item.size = len(text.encode())
            archive.addfile(item, io.BytesIO(text.encode()))


def many(name, count):
    return {f"{name}/part{number}.py": f"VALUE = {number}\n" + f"# filling {number}\n" * 400 for number in range(count)}


for version in ("1.0", "1.1", "2.0"):
    wheel("alpha", version, {"alpha/__init__.py": f"VERSION = '{version}'\n", **many("alpha", 3)},
          scripts=["alpha = alpha:VERSION.strip"])
wheel("beta", "1.0", {"beta.py": "import alpha\n"}, requires=["alpha<2"])
wheel("gamma", "1.0", {"gamma/__init__.py": "", **many("gamma", 200)})
wheel("large", "1.0", {"large/__init__.py": "", "large/data.bin": bytes(range(256)) * 4 * 1024 * 40})
wheel("newer", "1.0", {"newer.py": ""}, python=">=3.99")
wheel("faulty", "1.0", {"faulty.py": "raise RuntimeError('it cannot be imported')\n"})

FAILING = '''
def build_wheel(folder, settings=None, metadata=None):
    print("compiling failing.c")
    raise SystemExit("fatal error: zlib.h: No such file or directory")
'''
source("failing", "1.0", FAILING)

# A package that does what it should not while it is built: it looks who it is, and leaves a link behind.
HOSTILE = '''
import os, zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "hostile-1.0-py3-none-any.whl"
    info = "hostile-1.0.dist-info"
    facts = "UID = %d\\nSECRET = %r\\n" % (os.getuid(), os.environ.get("SECRET_OF_ROOT"))
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        archive.writestr("hostile.py", facts)
        archive.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: hostile\\nVersion: 1.0\\n")
        archive.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(info + "/RECORD", "hostile.py,,\\n%s/METADATA,,\\n%s/WHEEL,,\\n%s/RECORD,,\\n" % (info, info, info))
    return name
'''
source("hostile", "1.0", HOSTILE)
