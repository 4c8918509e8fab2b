"""What kymo trains, Keras opens and answers alike. usage: trained.py BUILDDIR WORKDIR SEED"""
import os
import subprocess
import sys

os.environ.setdefault("KERAS_BACKEND", "numpy")
os.environ["JAX_PLATFORMS"] = "cpu"
import h5py
import keras
import numpy as np

BUILD, WORK, SEED = sys.argv[1], sys.argv[2], int(sys.argv[3])
TOLERANCE = 1e-5  # of the largest output


def kymo(*words):
    p = subprocess.run([os.path.join(BUILD, "kymo"), *words], capture_output=True, text=True)
    return None if p.returncode == 0 else "kymo %s: %s" % (words[0], (p.stdout + p.stderr).strip())


def check(arch):
    r = np.random.default_rng(SEED)
    data, model, out = (os.path.join(WORK, f) for f in ("train.h5", "trained.h5", "answers.h5"))
    x = r.normal(size=(240, 16, 3)).astype("float32")
    with h5py.File(data, "w") as f:
        f["X"], f["y"] = x, (x[:, :, 0].mean(1) > 0).astype("int32")
    trouble = kymo("train", data, "--arch", arch, "-o", model, "--epochs", "2",
                   "--seed", str(SEED)) or kymo("predict", model, data + ":X", "-o", out)
    if trouble:
        return trouble
    with h5py.File(out) as f:
        got = f["y"][:]
    want = np.asarray(keras.models.load_model(model, compile=False)(x, training=False))
    worst, largest = np.abs(got - want).max(), np.abs(want).max()
    return None if worst <= TOLERANCE * largest else "off by %.3g of %.3g" % (worst, largest)


failed = 0
ARCHS = ["lstm:8, dense", "conv1d:8x3 relu, maxpool:2, flatten, dense"]
for arch in ARCHS:
    trouble = check(arch)
    if trouble:
        failed += 1
        print("%s, seed %d: %s" % (arch, SEED, trouble))
print("[  PASSED  ] %d test(s)." % (len(ARCHS) - failed))
if failed:
    print("[  FAILED  ] %d test(s)." % failed)
sys.exit(1 if failed else 0)
