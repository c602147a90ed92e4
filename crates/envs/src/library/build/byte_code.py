# Copies byte-code into an environment that is being built: argv[1] lists from where to where, argv[2] is the environment.
import os
import shutil
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        source, target = line.rstrip("\n").split("\t")
        target = os.path.join(sys.argv[2], target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            shutil.copyfile(source, target)
