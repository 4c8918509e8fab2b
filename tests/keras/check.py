"""kymo and Keras 3 on the same models, both ways (P7): random models saved by Keras answer
alike in kymo, whole windows and step by step; written again by kymo they open in Keras and
answer as before; and so does a model that kymo trained.

usage: check.py BUILDDIR WORKDIR MODELS SEED
"""
import os
import subprocess
import sys
import warnings

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
import absl.logging
import h5py
import keras
import numpy as np
from keras import layers as L

absl.logging.set_verbosity("error")  # Keras advises against .h5 at each save
warnings.filterwarnings("ignore")
BUILD, WORK, MODELS, SEED = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
TOLERANCE = 1e-5  # of the largest output: what float32 sums in another order may differ


def pick(rng, *of):
    return of[rng.integers(len(of))]


ACTS = ["linear", "relu", "tanh", "sigmoid", "hard_sigmoid", "softmax"]
CELL = ["tanh", "relu", "sigmoid", "linear"]


def conv(r):
    strides = int(r.integers(1, 3))
    return L.Conv1D(int(r.integers(1, 9)), int(r.integers(1, 5)), strides=strides,
                    dilation_rate=int(r.integers(1, 4)) if strides == 1 else 1,
                    padding=pick(r, "valid", "same", "causal"), activation=pick(r, *ACTS),
                    use_bias=bool(r.random() < 0.8))


def pool(r):
    return pick(r, L.MaxPooling1D, L.AveragePooling1D)(
        int(r.integers(1, 4)), strides=pick(r, None, 1, 2), padding=pick(r, "valid", "same"))


def lstm(r):
    return L.LSTM(int(r.integers(1, 12)), activation=pick(r, *CELL),
                  recurrent_activation=pick(r, "sigmoid", "sigmoid", "hard_sigmoid", "tanh"),
                  use_bias=bool(r.random() < 0.8), return_sequences=bool(r.random() < 0.5),
                  unroll=bool(r.random() < 0.1))


def batchnorm(r):
    return L.BatchNormalization(epsilon=pick(r, 1e-3, 1e-5, 0.02), center=bool(r.random() < 0.7),
                                scale=bool(r.random() < 0.7))


ANYWHERE = [
    lambda r: L.Dense(int(r.integers(1, 12)), activation=pick(r, *ACTS),
                      use_bias=bool(r.random() < 0.8)),
    lambda r: L.Activation(pick(r, *ACTS)),
    lambda r: L.ReLU(),
    lambda r: L.Softmax(),
    lambda r: L.Dropout(0.4),
    batchnorm,
]
TIMED = [conv, conv, pool, lstm, lstm, lambda r: L.Flatten(),
         lambda r: L.GlobalAveragePooling1D(keepdims=bool(r.random() < 0.3)),
         lambda r: L.GlobalMaxPooling1D(keepdims=bool(r.random() < 0.3))]


def draw(r):
    """A model and one batch of inputs [N,T,F]."""
    T, F = int(r.integers(10, 30)), int(r.integers(1, 7))
    open_length = r.random() < 0.3
    i = x = keras.Input((None if open_length else T, F))
    added = []
    time_goes_on = True  # kymo's layers along time take no single step that a pooling left
    while len(added) < 1 + r.integers(7):
        layer = pick(r, *(ANYWHERE + TIMED if time_goes_on else ANYWHERE))(r)
        if open_length and isinstance(layer, L.Flatten):
            continue
        if open_length and getattr(layer, "unroll", False):
            continue
        try:
            y = layer(x)
        except ValueError:  # too few steps are left for it
            continue
        if None not in y.shape[1:] and min(y.shape[1:]) < 1:
            continue
        x = y
        added.append(layer)
        time_goes_on = time_goes_on and len(x.shape) == 3 and "global" not in layer.name
    m = keras.Model(i, x)
    if r.random() < 0.5:
        m = keras.Sequential([keras.Input(i.shape[1:])] + added)
    m.set_weights([w + 0.3 * r.normal(size=w.shape) if "variance" not in v.path
                   else 0.2 + r.random(size=w.shape)
                   for v, w in zip(m.weights, m.get_weights())])
    return m, r.normal(size=(5, T, F)).astype("float32")


def kymo(*words):
    p = subprocess.run(words, capture_output=True, text=True)
    return p.returncode, (p.stdout + p.stderr).strip()


def predict(model, x, stream):
    """kymo's answers, or why there are none."""
    data, out = os.path.join(WORK, "x.h5"), os.path.join(WORK, "y.h5")
    with h5py.File(data, "w") as f:
        f["X"] = x
    rc, text = kymo(BUILD + "/kymo", "predict", model, data + ":X", "-o", out,
                    *(["--stream"] if stream else []))
    if rc != 0:
        return None, text
    with h5py.File(out) as f:
        return f["y"][:], text


def answers(m, x):
    y = np.asarray(m(x, training=False))
    return y[:, -1] if y.ndim == 3 else y  # of what still has steps kymo answers with the last


def differ(got, want):
    """Nothing if they agree, else what is wrong."""
    if got is None or got.shape != want.shape:
        return "shape %s, Keras has %s" % (None if got is None else got.shape, want.shape)
    largest = np.abs(want).max()
    worst = np.abs(got - want).max()
    return None if worst <= TOLERANCE * largest else "%.3g of %.3g" % (worst, largest)


def amplifies_rounding(m, x, want):
    """Whether Keras's own answer moves when weights and inputs change in their last bit, as of
    an LSTM whose cell grows without bound: no two programs agree on such a model."""
    r = np.random.default_rng(0)
    weights = m.get_weights()
    nudge = lambda v: (v * (1 + 2.0 ** -24 * r.normal(size=v.shape))).astype("float32")
    m.set_weights([nudge(w) for w in weights])
    moved = np.abs(answers(m, nudge(x)) - want).max()
    m.set_weights(weights)
    return moved > TOLERANCE / 4 * np.abs(want).max()


def check(n):
    r = np.random.default_rng([SEED, n])
    keras.utils.set_random_seed(SEED * 1000 + n)
    m, x = draw(r)
    theirs, ours = os.path.join(WORK, "theirs.h5"), os.path.join(WORK, "ours.h5")
    m.save(theirs)
    want = answers(m, x)
    if not np.isfinite(want).all() or amplifies_rounding(m, x, want):
        return [], 0
    bad = []
    for stream in (False, True):
        y, text = predict(theirs, x, stream)
        if y is None and stream and "no streaming form" in text:
            continue
        trouble = text if y is None else differ(y, want)
        if trouble:
            bad.append("kymo predict%s: %s" % (" --stream" if stream else "", trouble))
    rc, text = kymo(BUILD + "/tests/keras/resave", theirs, ours)
    if rc != 0:
        return bad + [text], 1
    back = keras.models.load_model(ours, compile=False)
    trouble = differ(answers(back, x), want)
    if trouble:
        bad.append("Keras on what kymo wrote: " + trouble)
    if bad:
        bad.append(" > ".join("%s %s" % (type(k).__name__, k.output.shape) for k in m.layers))
    return bad, 1


def check_trained(arch):
    r = np.random.default_rng(SEED)
    data, model = os.path.join(WORK, "train.h5"), os.path.join(WORK, "trained.h5")
    x = r.normal(size=(240, 16, 3)).astype("float32")
    with h5py.File(data, "w") as f:
        f["X"], f["y"] = x, (x[:, :, 0].mean(1) > 0).astype("int32")
    rc, text = kymo(BUILD + "/kymo", "train", data, "--arch", arch, "-o", model, "--epochs", "2",
                    "--seed", str(SEED))
    if rc != 0:
        return ["kymo train: " + text]
    y, text = predict(model, x[:9], False)
    trouble = text if y is None else differ(y, answers(
        keras.models.load_model(model, compile=False), x[:9]))
    return ["%s: %s" % (arch, trouble)] if trouble else []


def main():
    passed = failed = drawn = 0
    cases = [("trained " + a, lambda a=a: (check_trained(a), 1)) for a in
             ("lstm:8, dense", "conv1d:8x3 relu, maxpool:2, flatten, dense")]
    cases += [("model %d" % n, lambda n=n: check(n)) for n in range(MODELS)]
    for name, run in cases:
        bad, counted = run()
        drawn += counted
        passed += counted and not bad
        failed += bool(bad)
        for line in bad:
            print("%s, seed %d: %s" % (name, SEED, line))
    print("Keras %s, seed %d: %d of %d models drawn are finite and do not amplify rounding" %
          (keras.__version__, SEED, drawn, len(cases)))
    print("[  PASSED  ] %d test(s)." % passed)
    if failed:
        print("[  FAILED  ] %d test(s)." % failed)
    return 1 if failed or passed < 0.8 * len(cases) else 0


sys.exit(main())
