# Compiles the sources that a file lists, on all processors. A source that does not compile is a template, or for another
# Python: Python itself passes over it, too.
import multiprocessing
import os
import py_compile
import sys

MODE = py_compile.PycInvalidationMode.TIMESTAMP


def one(path):
    try:
        py_compile.compile(path, doraise=True, invalidation_mode=MODE)
    except (py_compile.PyCompileError, ValueError, RecursionError, MemoryError):
        pass


with open(sys.argv[1], encoding="utf-8", errors="surrogateescape") as file:
    paths = [line.rstrip("\n") for line in file]
if len(paths) < 50:
    for path in paths:
        one(path)
else:
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for _ in pool.imap_unordered(one, paths, chunksize=20):
            pass
