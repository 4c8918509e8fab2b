#!/bin/bash
# Checks kymo against the real Keras 3 in a private Python environment.
# usage: run.sh WORKDIR; exit 77 where Python packages cannot be installed.
#
# A sample has a model and more of every class of layer. With --full (KYMO_TEST_FULL=1) there is a
# model for every value of every option, more than 800, with Keras's NumPy backend, a sample with
# JAX, and the mutants. KYMO_VENV names an environment that has keras, jax, h5py and numpy already.
set -u
work=${1:?a folder to work in is wanted}
seed=${KYMO_TEST_SEED:-1}
build=${KY_BUILDDIR:?} source=${KY_SRCDIR:?}
mkdir -p "$work"
work=$(cd "$work" && pwd)
keras=$source/tests/keras

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

venv=${KYMO_VENV:-$work/venv}
if [ ! -e "$venv/ready" ] && [ -z "${KYMO_VENV:-}" ]; then
    python=$(find_python) || skip "no Python of version 3.10 or later that can make environments"
    rm -rf "$venv"
    "$python" -m venv "$venv" || skip "Python cannot make an environment"
    "$venv/bin/pip" -q --disable-pip-version-check install keras h5py numpy jax >"$work/pip.log" 2>&1 ||
        skip "Python packages cannot be installed: $(tail -n 1 "$work/pip.log")"
    touch "$venv/ready"
fi

rc=0
each()
{
    echo "== $*"
    "$@" || rc=1
}
python=$venv/bin/python
each "$python" "$keras/trained.py" "$build" "$work" "$seed"
[ -z "${KYMO_DATA:-}" ] || each "$python" "$keras/real.py" "$build" "$work/real"
if [ -z "${KYMO_TEST_FULL:-}" ]; then
    each "$python" "$keras/check.py" "$build" "$work/models" --seed "$seed" --models 100 --processes 2
else
    each "$python" "$keras/check.py" "$build" "$work/models" --seed "$seed" --processes 2
    each env KERAS_BACKEND=jax "$python" "$keras/check.py" "$build" "$work/jax" \
        --seed $((seed + 1)) --models 62 --processes 2
    each env KY_SRCDIR="$source" bash "$keras/mutants.sh" "$work/mutants" "$python"
    [ -z "${KYMO_DATA:-}" ] ||
        each env KYMO="$build/kymo" "$python" "$keras/accuracy.py" heartbeats motions speakers
fi
exit $rc
