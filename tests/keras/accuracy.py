"""Keras beside the examples: the same layers, data, options and number of seeds.

    accuracy.py EXAMPLE...      KYMO_DATA and KYMO as examples/*.sh want them

Runs examples/EXAMPLE.sh --keep, opens the model files it leaves, gives their layers new weights as
Keras draws them (the input's normalisation stays) and trains these with the options that the
example printed: a share of every class held out by the seed, the epoch with the lowest validation
loss. Prints both means with their standard errors, and which is better where the 95 % interval of
their difference (Student's t) leaves out 0; exit 1 where that is Keras. The rows held out are not
the same ones.
"""
import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["JAX_PLATFORMS"] = "cpu"
import h5py
import keras
import numpy as np
from scipy.stats import t as student

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LINE = re.compile(r"^(\S+): kymo train (\S+) --arch \"([^\"]*)\" ?(.*)$")
ROW = re.compile(r"^ *(\d+) +\d+ of \d+ +[\d.]+ +([\d.]+) +[\d.]+ +([\d.]+)$")


def options(words):
    """The defaults are kymo train's."""
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=40)
    p.add_argument("--patience", type=int, default=8)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=0.001)
    p.add_argument("--schedule", choices=["constant", "cosine"], default="constant")
    p.add_argument("--validation", type=float, default=0.15)
    p.add_argument("--l2", type=float, default=0)
    return p.parse_args(shlex.split(words))


def hold_out(y, share, seed):
    """A like share of every class, at least one row of each."""
    r, held = np.random.default_rng(seed), np.zeros(len(y), bool)
    for c in np.unique(y):
        rows = r.permutation(np.flatnonzero(y == c))
        held[rows[:max(1, round(share * len(rows)))]] = True
    return held


def fresh(path, seed):
    """The layers of a model file with new weights, and what stands for steps behind the end."""
    keras.utils.set_random_seed(seed)
    trained = keras.models.load_model(path, compile=False)
    m = keras.models.clone_model(trained)
    missing = 0.0
    for new, old in zip(m.layers, trained.layers):
        if not new.trainable or isinstance(new, keras.layers.Normalization):
            new.set_weights(old.get_weights())
        if isinstance(new, keras.layers.Normalization):
            new.finalize_state()
        if isinstance(new, keras.layers.Masking):
            missing = new.mask_value
    return m, missing


def rows(path, missing):
    with h5py.File(path) as f:
        parts = [f[k][:] for k in ("X_train", "y_train", "X_test", "y_test")]
    for i in (0, 2):
        if parts[i].dtype.kind == "f":
            parts[i] = np.where(np.isnan(parts[i]), np.float32(missing), parts[i])
    return parts


def train(path, data, o, seed):
    m, missing = fresh(path, seed)
    for w in m.trainable_weights:
        if o.l2 and w.name == "kernel":
            w.regularizer = keras.regularizers.L2(o.l2)
    x, y, x_test, y_test = rows(data, missing)
    held = hold_out(y, o.validation, seed)
    steps = -(-int((~held).sum()) // o.batch)
    rate = o.lr
    if o.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(o.lr, steps * o.epochs)
    one = m.output_shape[-1] == 1
    m.compile(optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0), metrics=["accuracy"],
              loss="binary_crossentropy" if one else "sparse_categorical_crossentropy")
    stop = keras.callbacks.EarlyStopping("val_loss", patience=o.patience,
                                         restore_best_weights=True)
    begun = time.process_time()
    m.fit(x[~held], y[~held], batch_size=o.batch, epochs=o.epochs, verbose=0, callbacks=[stop],
          validation_data=(x[held], y[held]))
    seconds = time.process_time() - begun
    answers = m.predict(x_test, verbose=0, batch_size=256)
    said = answers[:, 0] > 0.5 if one else answers.argmax(1)
    return float((said == y_test).mean()), seconds


def mean(accuracies, n):
    """With its standard error; that of n rows where there is one training alone."""
    m = np.mean(accuracies)
    if len(accuracies) == 1:
        return m, np.sqrt(m * (1 - m) / n)
    return m, np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))


def compare(name, data, words, kymo, keep):
    o = options(words)
    with h5py.File(data) as f:
        n = len(f["y_test"])
    both = [(a, s) for _, a, s in kymo], []
    for seed, _, _ in kymo:
        both[1].append(train(os.path.join(keep, "%s-%d.h5" % (name, seed)), data, o, seed))
        print("  keras, seed %d: %.4f, %.1f processor seconds" % (seed, *both[1][-1]), flush=True)
    (a, ea), (b, eb) = (mean([x for x, _ in side], n) for side in both)
    sure = student.ppf(0.975, 2 * len(kymo) - 2) if len(kymo) > 1 else 1.96
    apart = abs(a - b) > sure * np.hypot(ea, eb)
    print("%s: kymo %.4f ± %.4f, keras %.4f ± %.4f: %s; %.1f and %.1f processor seconds" % (
        name, a, ea, b, eb,
        "within their error" if not apart else "kymo better" if a > b else "keras better",
        *(np.mean([s for _, s in side]) for side in both)), flush=True)
    return apart and a < b


def example(name, seeds):
    with tempfile.TemporaryDirectory() as keep:
        said = subprocess.run(
            [os.path.join(TOP, "examples", name + ".sh"), "--keep", keep, "--threads", "1",
             "--seeds", seeds], capture_output=True, text=True)
        if said.returncode not in (0, 1) or "Data: generated" in said.stdout:
            sys.exit("%s: no real data, or failed:\n%s%s" % (name, said.stdout, said.stderr))
        models, at = {}, None
        for line in said.stdout.splitlines():
            if LINE.match(line):
                at = LINE.match(line).groups()
                models[at] = []
            elif at and ROW.match(line):
                seed, accuracy, seconds = ROW.match(line).groups()
                models[at].append((int(seed), float(accuracy), float(seconds)))
        return [compare(model, data, words, kymo, keep)
                for (model, data, _, words), kymo in models.items()]


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("examples", nargs="+", metavar="EXAMPLE")
    p.add_argument("--seeds", default="1 2 3")
    args = p.parse_args()
    sys.exit(any([any(example(e, args.seeds)) for e in args.examples]))
