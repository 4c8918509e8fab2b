"""What kymo trains, Keras opens and answers alike. usage: trained.py BUILDDIR WORKDIR SEED"""
import json
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


def check_lengths(arch):
    """Rows of several lengths: kymo puts a Masking layer in front, whose value is what no data are."""
    r = np.random.default_rng(SEED)
    data, model, out = (os.path.join(WORK, f) for f in ("lengths.h5", "masked.h5", "answers.h5"))
    x = r.normal(size=(240, 16, 3)).astype("float32")
    steps = r.integers(3, 17, size=240)
    y = np.array([x[i, :n, 0].mean() > 0 for i, n in enumerate(steps)]).astype("int32")
    behind = np.arange(16) >= steps[:, None]
    with h5py.File(data, "w") as f:
        f["X"], f["y"] = np.where(behind[:, :, None], np.float32(np.nan), x), y
    trouble = kymo("train", data, "--arch", arch, "-o", model, "--epochs", "2",
                   "--seed", str(SEED)) or kymo("predict", model, data + ":X", "-o", out)
    if trouble:
        return trouble
    with h5py.File(out) as f:
        got = f["y"][:]
    net = keras.models.load_model(model, compile=False)
    values = [l.mask_value for l in net.layers if isinstance(l, keras.layers.Masking)]
    if values != [-float(np.finfo("float32").max)]:
        return "the values of its Masking layers are %s" % values
    x[behind] = values[0]
    want = np.asarray(net(x, training=False))
    worst, largest = np.abs(got - want).max(), np.abs(want).max()
    return None if worst <= TOLERANCE * largest else "off by %.3g of %.3g" % (worst, largest)


def check_text():
    """A model that carries its words is a Keras model all the same, in both forms."""
    text, data, model, archive, out = (os.path.join(WORK, f) for f in (
        "text.tsv", "text.h5", "words.h5", "words.keras", "said.h5"))
    with open(text, "w") as f:
        for i in range(120):
            f.write("%s\n" % ("pos\ta good film, number %d" % i if i % 2 else "neg\tsuch a bad one"))
    trouble = (kymo("import", text, "-o", data, "--max-tokens", "20") or
               kymo("train", data, "--arch", "embed:4, lstm:4, dense", "-o", model, "--epochs", "2",
                    "--seed", str(SEED)) or
               kymo("convert", model, archive) or kymo("predict", model, data + ":X", "-o", out))
    if trouble:
        return trouble
    with h5py.File(data) as f:
        x, words = f["X"][:], json.loads(f.attrs["kymo_text"])
    with h5py.File(model) as f:
        if json.loads(f.attrs["kymo_text"]) != words:
            return "the model has other words than the data"
    with h5py.File(out) as f:
        got = f["y"][:]
    for path in model, archive:
        want = np.asarray(keras.models.load_model(path, compile=False)(x, training=False))
        if np.abs(got - want).max() > TOLERANCE * np.abs(want).max():
            return "%s: off by %.3g" % (path, np.abs(got - want).max())
    return None


failed = 0
ARCHS = ["lstm:8, dense", "conv1d:8x3 relu, maxpool:2, flatten, dense"]
for arch in ARCHS:
    trouble = check(arch)
    if trouble:
        failed += 1
        print("%s, seed %d: %s" % (arch, SEED, trouble))
MASKED = ["lstm:8, dense", "bi(gru:4), dense", "rnn:6, rnn:4, dense"]
for arch in MASKED:
    trouble = check_lengths(arch)
    if trouble:
        failed += 1
        print("%s, rows of several lengths, seed %d: %s" % (arch, SEED, trouble))
trouble = check_text()
if trouble:
    failed += 1
    print("text, seed %d: %s" % (SEED, trouble))
print("[  PASSED  ] %d test(s)." % (len(ARCHS) + len(MASKED) + 1 - failed))
if failed:
    print("[  FAILED  ] %d test(s)." % failed)
sys.exit(1 if failed else 0)
