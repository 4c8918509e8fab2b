"""Models that check.py --keep left behind, answered once more by another kymo, without Keras.

usage: again.py BUILDDIR WORKDIR; exit 1: some answers are others, 2: kymo fails on a model.
"""
import glob
import os
import subprocess
import sys

import h5py
import numpy as np

BUILD, WORK = sys.argv[1], sys.argv[2]
TOLERANCE = 1e-5  # of the largest output
OUT = os.path.join(WORK, "again.h5")


def answers(case):
    x = os.path.join(case, "x.h5")
    with h5py.File(x) as f:
        data = x + ":X" if "X" in f else x
    p = subprocess.run([os.path.join(BUILD, "kymo"), "predict", os.path.join(case, "a.h5"), data,
                        "-o", OUT, "--threads", "1"], capture_output=True, text=True)
    if p.returncode != 0:
        return None
    with h5py.File(OUT) as f:
        return {k: f[k][:] for k in f}


def alike(got, want):
    return got.shape == want.shape and \
        np.abs(got - want).max() <= TOLERANCE * np.abs(want).max()


def main():
    n = others = failed = 0
    for found in sorted(glob.glob(os.path.join(WORK, "**", "want.h5"), recursive=True)):
        case = os.path.dirname(found)
        n += 1
        with h5py.File(os.path.join(case, "want.h5")) as f:
            want = {k: f[k][:] for k in f}
        got = answers(case)
        if got is None:
            failed += 1
        elif sorted(got) != sorted(want) or not all(alike(got[k], want[k]) for k in want):
            others += 1
    print("%d models: %d with other answers, %d failed" % (n, others, failed))
    return 1 if others else 2 if failed or n == 0 else 0


sys.exit(main())
