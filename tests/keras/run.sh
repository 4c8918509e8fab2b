#!/bin/bash
# Checks kymo against the real Keras 3 in a private Python environment.
# usage: run.sh WORKDIR [MODELS]; exit 77 where Python packages cannot be installed.
set -u
work=${1:?a folder to work in is wanted}
models=${2:-$([ -n "${KYMO_TEST_FULL:-}" ] && echo 120 || echo 25)}
seed=${KYMO_TEST_SEED:-1}
build=${KY_BUILDDIR:?} source=${KY_SRCDIR:?}
mkdir -p "$work"
work=$(cd "$work" && pwd)

skip()
{
    echo "SKIP $1"
    exit 77
}

# The first Python that is new enough and can make environments.
find_python()
{
    local p
    for p in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        "$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null &&
            { echo "$p"; return; }
    done
    return 1
}

if [ ! -e "$work/venv/ready" ]; then
    python=$(find_python) || skip "no Python of version 3.10 or later that can make environments"
    rm -rf "$work/venv"
    "$python" -m venv "$work/venv" || skip "Python cannot make an environment"
    "$work/venv/bin/pip" -q --disable-pip-version-check install keras h5py numpy jax >"$work/pip.log" 2>&1 ||
        skip "Python packages cannot be installed: $(tail -n 1 "$work/pip.log")"
    touch "$work/venv/ready"
fi
make -C "$build" -s tests/keras/resave >"$work/make.log" 2>&1 || { cat "$work/make.log"; exit 1; }
"$work/venv/bin/python" "$source/tests/keras/check.py" "$build" "$work" "$models" "$seed"
