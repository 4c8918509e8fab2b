#!/bin/bash
# kymo beside ONNX Runtime, model by model and as a whole service, and its training beside Keras's
# and PyTorch's. The packages are installed into a private environment under BUILDDIR.
# usage: run.sh BUILDDIR; `make bench KYMO_PEERS=1` does. KYMO_VENV names an environment that
# has numpy, h5py, onnx, onnxruntime, pyzmq, orjson, keras and jax; KYMO_TORCH a Python that has
# numpy and torch (python3, if it can).
set -eu
build=${1:?the folder of a build is wanted}
here=$(cd "$(dirname "$0")" && pwd)
venv=${KYMO_VENV:-$build/peers-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q numpy h5py onnx onnxruntime pyzmq orjson keras jax
fi
"$venv/bin/python" "$here/peers.py" "$build/.libs/libkymo.so"
KY_BUILDDIR=$build "$build/tests/bench/bench_end_to_end" beside 400000 5 \
    "$venv/bin/python" "$here/service.py"
exec "$venv/bin/python" "$here/training.py" "$build/kymo"
