"""Seconds an epoch of training, kymo beside Keras with JAX, taking turns: A B A B.

    training.py KYMO [--rounds N]

Two nets on generated data, 7352 windows of 128 x 9, batch 64, Adam, gradients clipped by their
norm; both sides held to one core, then to two. What counts is the median: on one core of processor
time, which other load on the machine changes least, on two of wall time, which wants a quiet one.
What is paid once (start, compilation, the first epoch) does not count on either side.
"""
import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time

NETS = {
    "LSTM(64) + dense": "lstm:64, dense",
    "the Conv1D net": "conv1d:64x3 relu, conv1d:64x3 relu, maxpool:2, flatten, dense:100 relu, dense",
}
ROWS, STEPS, FEATURES, CLASSES, BATCH = 7352, 128, 9, 6, 64


def data(np):
    r = np.random.default_rng(1)
    y = r.integers(0, CLASSES, ROWS).astype("i4")
    x = r.normal(size=(ROWS, STEPS, FEATURES)).astype("f4")
    x[np.arange(ROWS), :, y] += 0.3
    return x, y


def kymo(program, d, arch, threads, epochs):
    """Processor seconds of all of it, wall seconds of its last epoch."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, "train", d + "/data.h5", "--arch", arch, "--no-normalize", "--quiet",
                    "--threads", str(threads), "--epochs", str(epochs), "--batch", str(BATCH),
                    "--validation", "0.001", "--history", d + "/h.csv", "-o", d + "/m.h5"],
                   check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(d + "/h.csv") as f:
        wall = float(list(csv.DictReader(f))[-1]["seconds"])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def keras_net(keras, name):
    L = keras.layers
    layers = [L.LSTM(64)] if "LSTM" in name else [
        L.Conv1D(64, 3, activation="relu"), L.Conv1D(64, 3, activation="relu"), L.MaxPooling1D(2),
        L.Flatten(), L.Dense(100, activation="relu")]
    m = keras.Sequential([keras.Input((STEPS, FEATURES)), *layers,
                          L.Dense(CLASSES, activation="softmax")])
    m.compile(keras.optimizers.Adam(global_clipnorm=1.0), "sparse_categorical_crossentropy",
              metrics=["accuracy"])
    return m


def measure(program, threads, rounds):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["KERAS_BACKEND"], os.environ["JAX_PLATFORMS"] = "jax", "cpu"
    import h5py
    import keras
    import numpy as np

    x, y = data(np)
    with tempfile.TemporaryDirectory() as d:
        with h5py.File(d + "/data.h5", "w") as f:
            f["X"], f["y"] = x, y
        for name, arch in NETS.items():
            m = keras_net(keras, name)
            m.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
            ours, theirs = [], []
            for _ in range(rounds):
                once, _ = kymo(program, d, arch, threads, 1)
                more, wall = kymo(program, d, arch, threads, 3)
                ours.append((more - once) / 2 if threads == 1 else wall)
                clock = time.process_time if threads == 1 else time.perf_counter
                begun = clock()
                m.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
                theirs.append(clock() - begun)
            a, b = np.median(ours), np.median(theirs)
            print(f"  {name:20} {threads} {'processor' if threads == 1 else 'wall':9} "
                  f"{a:8.2f} {b:8.2f} {b / a:8.1f}", flush=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("kymo")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.cores:
        measure(args.kymo, args.cores, args.rounds)
        sys.exit()
    print(f"  {'seconds an epoch':20} cores       {'kymo':>8} {'Keras':>8} {'times':>8}", flush=True)
    for cores in (1, 2):  # a process each: JAX looks at the cores when it starts
        if cores <= len(os.sched_getaffinity(0)):
            subprocess.run([sys.executable, __file__, args.kymo, "--rounds", str(args.rounds),
                            "--cores", str(cores)], check=True)
