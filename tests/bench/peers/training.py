"""Seconds an epoch of training, kymo beside Keras with JAX and PyTorch, taking turns: A B C A B C.

    training.py KYMO [--rounds N]

PyTorch may live in another Python, which KYMO_TORCH names; without, this one and python3 are asked.

Two nets on generated data, 7352 windows of 128 x 9, batch 64, Adam, gradients clipped by their
norm; both sides held to one core, then to two. What counts is the median: on one core of processor
time, which other load on the machine changes least, on two of wall time, which wants a quiet one.
What is paid once (start, compilation, the first epoch) does not count on either side.
"""
import argparse
import csv
import os
import re
import resource
import shutil
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


def torch_net(torch, name):
    nn = torch.nn
    if "LSTM" in name:
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(FEATURES, 64, batch_first=True)
                self.dense = nn.Linear(64, CLASSES)

            def forward(self, x):
                return self.dense(self.lstm(x)[0][:, -1])

        return Net()
    return nn.Sequential(nn.Conv1d(FEATURES, 64, 3), nn.ReLU(), nn.Conv1d(64, 64, 3), nn.ReLU(),
                         nn.MaxPool1d(2), nn.Flatten(), nn.Linear(64 * ((STEPS - 4) // 2), 100),
                         nn.ReLU(), nn.Linear(100, CLASSES))


def torch_epochs(threads):
    """For each line, the name of a net, one epoch; says its seconds."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    with open("/proc/self/maps") as f:
        maps = f.read()
    if "BLAS_INFO=generic" in torch.__config__.show() and not re.search("openblas|blis|mkl", maps):
        print("PyTorch here goes with the reference BLAS, which is slow: its figures say little "
              "(libopenblas0-pthread helps)", file=sys.stderr)
    x, y = data(np)
    y = torch.from_numpy(y.astype("i8"))
    nets = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in nets:
            m = torch_net(torch, name)
            rows = x if "LSTM" in name else x.transpose(0, 2, 1)  # channels first
            nets[name] = m, torch.optim.Adam(m.parameters()), torch.from_numpy(rows.copy())
        m, optimizer, rows = nets[name]
        clock = time.process_time if threads == 1 else time.perf_counter
        begun = clock()
        order = torch.randperm(ROWS)
        for at in range(0, ROWS, BATCH):
            batch = order[at:at + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(m(rows[batch]), y[batch]).backward()
            torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
            optimizer.step()
        print(clock() - begun, flush=True)


class Torch:
    """PyTorch in a process of its own; `there` is whether there is one."""

    def __init__(self, threads):
        self.child = None
        for python in (os.environ.get("KYMO_TORCH"), sys.executable, shutil.which("python3"),
                       "/usr/bin/python3"):
            if python and subprocess.run([python, "-c", "import numpy, torch"],
                                         stderr=subprocess.DEVNULL).returncode == 0:
                self.child = subprocess.Popen(
                    [python, __file__, "-", "--torch", str(threads)], text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    env={**os.environ, "OMP_NUM_THREADS": str(threads),
                         "OPENBLAS_NUM_THREADS": str(threads)})
                break

    def epoch(self, name):
        if self.child is None:
            return float("nan")
        print(name, file=self.child.stdin, flush=True)
        return float(self.child.stdout.readline())

    def close(self):
        if self.child is not None:
            self.child.stdin.close()
            self.child.wait()


def measure(program, threads, rounds):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["KERAS_BACKEND"], os.environ["JAX_PLATFORMS"] = "jax", "cpu"
    import h5py
    import keras
    import numpy as np

    x, y = data(np)
    torch = Torch(threads)
    with tempfile.TemporaryDirectory() as d:
        with h5py.File(d + "/data.h5", "w") as f:
            f["X"], f["y"] = x, y
        for name, arch in NETS.items():
            m = keras_net(keras, name)
            m.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
            torch.epoch(name)
            ours, theirs, torchs = [], [], []
            for _ in range(rounds):
                once, _ = kymo(program, d, arch, threads, 1)
                more, wall = kymo(program, d, arch, threads, 3)
                ours.append((more - once) / 2 if threads == 1 else wall)
                clock = time.process_time if threads == 1 else time.perf_counter
                begun = clock()
                m.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
                theirs.append(clock() - begun)
                torchs.append(torch.epoch(name))
            a, b, c = np.median(ours), np.median(theirs), np.median(torchs)
            print(f"  {name:20} {threads} {'processor' if threads == 1 else 'wall':9} "
                  f"{a:8.2f} {b:8.2f} {b / a:8.1f} {c:8.2f} {c / a:8.1f}", flush=True)
    torch.close()


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("kymo")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    p.add_argument("--torch", type=int, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.torch:
        torch_epochs(args.torch)
        sys.exit()
    if args.cores:
        measure(args.kymo, args.cores, args.rounds)
        sys.exit()
    print(f"  {'seconds an epoch':20} cores       {'kymo':>8} {'Keras':>8} {'times':>8} "
          f"{'PyTorch':>8} {'times':>8}", flush=True)
    for cores in (1, 2):  # a process each: JAX looks at the cores when it starts
        if cores <= len(os.sched_getaffinity(0)):
            subprocess.run([sys.executable, __file__, args.kymo, "--rounds", str(args.rounds),
                            "--cores", str(cores)], check=True)
