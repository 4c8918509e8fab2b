#!/bin/bash
# kymo beside ONNX Runtime, and its training beside Keras's, which are installed into a private
# environment under BUILDDIR. usage: run.sh BUILDDIR; `make bench KYMO_PEERS=1` does. KYMO_VENV
# names an environment that has numpy, h5py, onnx, onnxruntime, keras and jax.
set -eu
build=${1:?the folder of a build is wanted}
here=$(cd "$(dirname "$0")" && pwd)
venv=${KYMO_VENV:-$build/peers-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q numpy h5py onnx onnxruntime keras jax
fi
"$venv/bin/python" "$here/peers.py" "$build/.libs/libkymo.so"
exec "$venv/bin/python" "$here/training.py" "$build/kymo"
