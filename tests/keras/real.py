"""The models of $KYMO_DATA/models through Keras 3 and through kymo: the same answers, and what
kymo converts opens in Keras 3 with the same arrays, also where Keras 3 refuses the original.

usage: real.py BUILDDIR WORKDIR

Most of the files are of Keras 1 and 2. Where Keras 3 cannot open one it is put together here from
the file's own configuration and arrays, by what FORMATS.md 1.1.8 says and without kymo's help.
"""
import inspect
import json
import os
import subprocess
import sys
import warnings

os.environ.setdefault("KERAS_BACKEND", "numpy")
os.environ["JAX_PLATFORMS"] = "cpu"
import absl.logging
import h5py
import keras
import numpy as np
from keras import layers as L

absl.logging.set_verbosity("error")
warnings.filterwarnings("ignore")
BUILD, WORK = sys.argv[1], sys.argv[2]
MODELS = os.path.join(os.environ["KYMO_DATA"], "models")
TOLERANCE = 1e-5  # of the largest output

REFUSED = {"textgenrnn_weights.hdf5": "it holds weights alone, of a net with an attention layer"}
# Weights alone, and the file that has their architecture.
WEIGHTS = {"k1_simple_lstm.weights.h5": "k1_simple_lstm.h5",
           "k2_simple_lstm.weights.h5": "k2_simple_lstm.h5",
           "k2_simple_rnn.weights.h5": "k2_simple_rnn.h5"}
KERAS_1 = {"output_dim": "units", "inner_activation": "recurrent_activation", "bias": "use_bias"}


def keras_2_hard_sigmoid(x):
    """Keras 3 has another function of this name."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def old_activations(m, version):
    """Keras 1 and 2 meant their own hard_sigmoid."""
    for part in m._flatten_layers() if version < 3 else ():
        for k in ("activation", "recurrent_activation"):
            if vars(part).get(k) is keras.activations.hard_sigmoid:
                setattr(part, k, keras_2_hard_sigmoid)


def make_layer(d):
    """A layer of Keras 3 from the description that Keras 1 or 2 wrote."""
    cls = getattr(L, d["class_name"])
    c = dict(d["config"])
    if d["class_name"] == "Embedding":
        c.pop("input_length", None)
    elif d["class_name"] in ("LSTM", "GRU", "SimpleRNN", "Dense"):
        for old, new in KERAS_1.items():
            if old in c:
                c[new] = c.pop(old)
    if d["class_name"] == "GRU":
        c.setdefault("reset_after", False)
    if "layer" in c:
        c["layer"] = make_layer(c["layer"])
    known = set(inspect.signature(cls.__init__).parameters) | \
        ({"return_sequences", "go_backwards"} if d["class_name"] in ("LSTM", "GRU", "SimpleRNN")
         else set())
    skip = ("initializer", "regularizer", "constraint", "dtype", "name", "self", "kwargs")
    return cls(**{k: v for k, v in c.items() if k in known and not k.endswith(skip)})


def fused(layer, arrays):
    """Keras 1 kept the gates of an LSTM apart, in the order i, c, f, o."""
    if isinstance(layer, L.Bidirectional) and len(arrays) == 24:
        return fused(layer.forward_layer, arrays[:12]) + fused(layer.backward_layer, arrays[12:])
    if len(arrays) != 12:
        return arrays
    i, c, f, o = (arrays[k:k + 3] for k in (0, 3, 6, 9))
    return [np.concatenate(p, axis=-1) for p in zip(i, f, c, o)]


def text(v):
    return v.decode() if isinstance(v, bytes) else v


def put_together(path):
    with h5py.File(path) as f:
        config = json.loads(text(f.attrs["model_config"]))
        group = f["model_weights"]
        arrays = {text(n): [group[text(n)][text(w)][()] for w in group[text(n)].attrs["weight_names"]]
                  for n in group.attrs["layer_names"]}
    assert config["class_name"] == "Sequential"
    m = keras.Sequential()
    described = config["config"] if isinstance(config["config"], list) else config["config"]["layers"]
    first = described[0]["config"]
    m.add(keras.Input(first["batch_input_shape"][1:]))
    for d in described:
        if d["class_name"] == "InputLayer":
            continue
        layer = make_layer(d)
        m.add(layer)
        if layer.weights:
            layer.set_weights(fused(layer, arrays[d["config"]["name"]]))
    return m


def version_of(path):
    if path.endswith(".keras"):
        return 3
    with h5py.File(path) as f:
        return int(text(f["model_weights"].attrs.get("keras_version", "1"))[0])


def original(path):
    try:
        m = keras.models.load_model(path, compile=False)
    except (TypeError, ValueError):
        m = put_together(path)
    old_activations(m, version_of(path))
    return m


def inputs(m, r):
    first = m.layers[0] if not isinstance(m.layers[0], L.InputLayer) else m.layers[1]
    shape = [25] + [s or 12 for s in m.input_shape[1:]]
    if isinstance(first, L.Embedding):
        return r.integers(0, first.input_dim, size=shape).astype("float32")
    x = r.random(size=shape).astype("float32")
    if isinstance(first, L.Masking):
        x[:, -3:] = first.mask_value
        x[0, :2] = first.mask_value
    return x


def kymo(*words):
    p = subprocess.run([os.path.join(BUILD, "kymo"), *words], capture_output=True, text=True)
    return None if p.returncode == 0 else "kymo %s: %s" % (words[0], (p.stdout + p.stderr).strip())


def predict(model, x, want, *options):
    """Nothing if kymo answers with want, else what is wrong."""
    data, out = os.path.join(WORK, "x.h5"), os.path.join(WORK, "y.h5")
    with h5py.File(data, "w") as f:
        f["X"] = x
    trouble = kymo("predict", model, data + ":X", "-o", out, *options)
    if trouble:
        return trouble
    with h5py.File(out) as f:
        return unlike(f["y"][:], want)


def unlike(got, want):
    if got.shape != want.shape:
        return "shape %s, Keras has %s" % (got.shape, want.shape)
    worst, largest = np.abs(got - want).max(), np.abs(want).max()
    return None if worst <= TOLERANCE * largest else "off by %.3g of %.3g" % (worst, largest)


def bits(m):
    return sorted((tuple(v.shape), np.array(v).astype("<f4").tobytes()) for v in m.weights
                  if str(v.dtype).startswith("float"))


def scaled(m):
    """kymo writes the old hard_sigmoid as Keras 3's, on arrays that make up for it."""
    return any(v is keras_2_hard_sigmoid for part in m._flatten_layers()
               for v in vars(part).values())


def check_converted(name, m, x, want):
    """Keras 3 opens what kymo makes of the file."""
    for suffix in (".h5", ".keras"):
        out = os.path.join(WORK, "converted" + suffix)
        trouble = kymo("convert", os.path.join(MODELS, name), out)
        if trouble:
            yield trouble
            continue
        back = keras.models.load_model(out, compile=False)
        trouble = unlike(np.asarray(back(x, training=False)), want)
        if trouble:
            yield "Keras 3 on %s: %s" % (suffix, trouble)
        if not scaled(m) and bits(back) != bits(m):
            yield "other arrays in the %s that kymo made" % suffix


def check(name):
    path = os.path.join(MODELS, name)
    if name in REFUSED:
        trouble = kymo("inspect", path)
        return [] if trouble else ["was to be refused: %s" % REFUSED[name]]
    architecture = WEIGHTS.get(name)
    m = original(os.path.join(MODELS, architecture) if architecture else path)
    x = inputs(m, np.random.default_rng(len(name)))
    want = np.asarray(m(x, training=False))
    if architecture:  # the same arrays in a file of their own
        return list(filter(None, [predict(path, x, want, "--config",
                                          os.path.join(MODELS, architecture))]))
    return list(filter(None, [predict(path, x, want), *check_converted(name, m, x, want)]))


def main():
    os.makedirs(WORK, exist_ok=True)
    passed = failed = 0
    for name in sorted(os.listdir(MODELS)):
        if not name.endswith((".h5", ".hdf5", ".keras")) or name.endswith(".io.h5"):
            continue
        bad = check(name)
        failed += bool(bad)
        passed += not bad
        for b in bad:
            print("%s: %s" % (name, b), flush=True)
    print("[  PASSED  ] %d test(s)." % passed)
    if failed:
        print("[  FAILED  ] %d test(s)." % failed)
    return 1 if failed or not passed else 0


sys.exit(main())
