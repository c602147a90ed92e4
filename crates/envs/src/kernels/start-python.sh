#!/bin/sh
# Starts a kernel from the generation of an environment that is current now: $1 is the environment's folder, the rest is
# for its Python. The kernel keeps this generation, whatever is switched to meanwhile. Written by lyceum env kernels.
folder=$1
shift
prefix=$(readlink -e -- "$folder/current") || {
    echo "lyceum: no generation of the environment ${folder##*/} is switched to; ask an administrator" >&2
    exit 1
}
# What a cell starts comes from the kernel's environment, not from the server's.
PATH=$prefix/bin:$PATH
export PATH
unset VIRTUAL_ENV PYTHONHOME
exec "$prefix/bin/python" "$@"
