"""kymo and Keras 3 on the same models, both ways (P7): random models over the whole table of
layers (grid.py), saved by Keras in every form, answer alike in kymo, whole and step by step;
written again by kymo they open in Keras with the same arrays and answers, and so on back.

usage: check.py BUILDDIR WORKDIR [--seed N] [--models N] [--from N] [--processes N] [--only CLASS]...
                [--forms LIST] [--keep] [--just N]...

Model n is about cell n of the grid; as many models as cells meet every cell. A model that fails
stays in WORKDIR/n with its files, with --keep every model. --only takes the cells of these classes
alone, --just these models, --forms some of h5, keras, weights, old, stream, around.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import warnings

os.environ.setdefault("KERAS_BACKEND", "numpy")
os.environ["JAX_PLATFORMS"] = "cpu"  # the NumPy backend's convolutions are JAX's
import absl.logging
import h5py
import keras
import numpy as np

import grid

absl.logging.set_verbosity("error")  # Keras advises against .h5 at each save
warnings.filterwarnings("ignore")
np.seterr(all="ignore")

# What kymo refuses: a cell and the words that the refusal must contain.
REFUSED = {
    # Keras 3's own and rare; glu halves its input.
    **{("Activation", "activation", a): "cannot run yet" for a in
       ("sparse_sigmoid", "sparsemax", "glu")},
    # The issue wants it if models need it; none does.
    **{("MaxPooling3D", o, v): "MaxPooling3D" for o in grid.GRID["MaxPooling3D"]
       for v in grid.GRID["MaxPooling3D"][o]},
}
# What Keras 3 writes and then may not read itself, so that it cannot read it from kymo either.
# Each time it is tried with Keras's own file.
UNREADABLE = {
    # Its reader of .h5 forgets an axis that is a list or null, and calls a Softmax with what is no list.
    **{(c, "axis", v): (".h5",) for c in ("LayerNormalization", "Normalization")
       for v in ((1, 2), (-2, -1), None)},
    ("Softmax", "axis", (1, 2)): (".h5", ".keras"),
}


def arguments():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("build")
    p.add_argument("work")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--models", type=int, default=0)
    p.add_argument("--from", dest="first", type=int, default=0)
    p.add_argument("--step", type=int, default=1)
    p.add_argument("--processes", type=int, default=1)
    p.add_argument("--only", action="append", default=[])
    p.add_argument("--forms", default="h5,keras,weights,old,stream,around")
    p.add_argument("--just", type=int, action="append", default=[])
    p.add_argument("--keep", action="store_true")
    p.add_argument("--report")
    return p.parse_args()


def kymo(*words):
    """Exit status and what was said."""
    p = subprocess.run([os.path.join(A.build, "kymo"), *words], capture_output=True, text=True)
    return p.returncode, (p.stdout + p.stderr).strip()


def said(rc, text):
    return "exit %d: %s" % (rc, text[-300:])


class Case:
    """One model: its files, what Keras says of it, and what went wrong."""

    def __init__(self, n, cell):
        self.n, self.cell = n, cell
        self.bad, self.refused, self.streams, self.unreadable = [], None, 0, 0
        self.dir = os.path.join(A.work, "%04d" % n)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.m, self.data, self.want, self.used = grid.draw((A.seed, n), cell)
        self.arrays = arrays(self.m)

    def path(self, name):
        return os.path.join(self.dir, name)

    def save(self):
        """The model in every form that Keras writes, and its inputs."""
        m = self.m
        m.save(self.path("a.h5"))
        m.save(self.path("a.keras"))
        m.save_weights(self.path("a.weights.h5"))
        with open(self.path("a.json"), "w") as f:
            f.write(m.to_json())
        with h5py.File(self.path("a.h5")) as a, h5py.File(self.path("old.h5"), "w") as old:
            for k in a["model_weights"]:  # as save_weights wrote them before Keras 3
                a.copy("model_weights/" + k, old)
            for k, v in a["model_weights"].attrs.items():
                old.attrs[k] = v
        with h5py.File(self.path("x.h5"), "w") as f:
            if len(self.data) == 1:
                f["X"] = self.data[0]
            else:
                for i, x in zip(m.inputs, self.data):
                    f[i._keras_history.operation.name] = x
        with h5py.File(self.path("want.h5"), "w") as f:
            for k, y in zip(self.names(), self.want):
                f[k] = y

    def names(self):
        """What kymo calls the outputs."""
        return ["y"] if len(self.want) == 1 else \
            [o._keras_history.operation.name for o in self.m.outputs]

    def predict(self, model, *options):
        """kymo's answers by name, or what it says instead."""
        out = self.path("y.h5")
        data = self.path("x.h5") + (":X" if len(self.data) == 1 else "")
        if os.path.exists(out):
            os.remove(out)
        rc, text = kymo("predict", self.path(model), data, "-o", out, "--threads", "1", *options)
        if rc != 0:
            return None, said(rc, text)
        with h5py.File(out) as f:
            return {k: f[k][:] for k in f}, text

    def forms(self):
        """Whether kymo answers like Keras, for each form; False: it refuses the model."""
        config = ("--config", self.path("a.json"))
        for what, model, options in (
                ("h5", "a.h5", ()), ("keras", "a.keras", ()),
                ("weights", "a.weights.h5", config), ("old", "old.h5", config)):
            if what not in A.forms:
                continue
            y, text = self.predict(model, *options)
            if y is None and self.may_refuse(text):
                return False
            trouble = text if y is None else self.differ(y)
            if trouble:
                self.bad.append("%s: %s" % (what, trouble))
        return True

    def may_refuse(self, text):
        for cell, why in REFUSED.items():
            if cell in self.used and why in text:
                self.refused = cell, why
                return True
        return False

    def differ(self, y):
        """Nothing if kymo's answers are Keras's, else what is wrong."""
        names = self.names()
        if sorted(y) != sorted(names):
            return "outputs %s, Keras has %s" % (sorted(y), sorted(names))
        return next(filter(None, (unlike(y[k], w) for k, w in zip(names, self.want))), None)

    def stream(self):
        if len(self.data) > 1 or len(self.want) > 1:
            return
        y, text = self.predict("a.h5", "--stream")
        if y is None:
            if "stream" not in text and "step" not in text:
                self.bad.append("--stream: " + text)
            return
        got, want = y["y"], self.want[0]
        if want[0].size != got[0].size:
            want = want[:, -1]  # of what keeps time kymo answers with the last step
        trouble = unlike(got.reshape(len(got), -1), want.reshape(len(want), -1))
        if trouble:
            self.bad.append("--stream: " + trouble)
        self.streams = 1

    def around(self, suffix):
        """kymo -> Keras -> kymo through files of the suffix."""
        other = ".keras" if suffix == ".h5" else ".h5"
        if any(c in self.used and suffix in UNREADABLE[c] for c in UNREADABLE) and \
                not self.keras_reads("a" + suffix):
            self.unreadable += 1
            return
        rc, text = kymo("convert", self.path("a" + other), self.path("b" + suffix))
        if rc != 0:
            return self.bad.append("convert to %s: %s" % (suffix, said(rc, text)))
        try:
            back = keras.models.load_model(self.path("b" + suffix), compile=False)
            y = self.run(back)
        except Exception as e:
            return self.bad.append("Keras on kymo's %s: %s" % (suffix, str(e)[:600]))
        for got, want in zip(y, self.want):
            trouble = unlike(got, want)
            if trouble:
                self.bad.append("Keras on kymo's %s: %s" % (suffix, trouble))
        if arrays(back) != self.arrays:
            self.bad.append("Keras has other arrays in kymo's %s" % suffix)
        back.save(self.path("c" + suffix))
        rc, text = kymo("convert", self.path("c" + suffix), self.path("d.h5"))
        if rc != 0:
            return self.bad.append("what Keras made of kymo's %s: %s" % (suffix, said(rc, text)))
        if stored(self.path("d.h5")) != self.arrays:
            self.bad.append("after kymo -> Keras -> kymo by %s the arrays are others" % suffix)
        y, text = self.predict("d.h5")
        trouble = text if y is None else self.differ(y)
        if trouble:
            self.bad.append("after kymo -> Keras -> kymo by %s: %s" % (suffix, trouble))

    def run(self, back):
        """What kymo wrote of a stateful model has batches of one row, as its streams."""
        if back.inputs[0].shape[0] != 1:
            return grid.run(back, self.data)
        rows = [grid.run(back, [x[r:r + 1] for x in self.data]) for r in range(len(self.data[0]))]
        return [np.concatenate(parts) for parts in zip(*rows)]

    def keras_reads(self, name):
        try:
            back = keras.models.load_model(self.path(name), compile=False)
            return not any(map(unlike, grid.run(back, self.data), self.want))
        except Exception:  # whatever it says
            return False

    def check(self):
        self.save()
        if self.forms():
            if "stream" in A.forms:
                self.stream()
            if "around" in A.forms:
                self.around(".h5")
                self.around(".keras")
        if not self.bad and (self.refused or not A.keep):
            shutil.rmtree(self.dir)


def bits(a):
    return [tuple(a.shape), np.array(a).astype("<f4").tobytes().hex()]


def arrays(m):
    """Every array of a model, whatever its name and place, to the bit."""
    return sorted(bits(np.asarray(v)) for v in m.weights if str(v.dtype).startswith("float"))


def stored(path):
    """Every array that is stored in an .h5 model."""
    found = []

    def see(name, o):
        if isinstance(o, h5py.Dataset) and o.dtype.kind == "f":
            found.append(bits(o[()]))
    with h5py.File(path) as f:
        f["model_weights"].visititems(see)
    return sorted(found)


def unlike(got, want):
    """Nothing if they agree, else what is wrong."""
    if got.shape != want.shape:
        return "shape %s, Keras has %s" % (got.shape, want.shape)
    largest = np.abs(want).max()
    worst = np.abs(got - want).max()
    return None if worst <= grid.TOLERANCE * largest else "off by %.3g of %.3g" % (worst, largest)


def describe(m):
    """The layers, one a line, with what is not as Keras makes it by itself."""
    lines = []
    for layer in m.layers:
        c = layer.get_config()
        seen = {k: v for k, v in c.items() if k in grid.GRID.get(type(layer).__name__, {})}
        inner = ""
        if "layer" in c and isinstance(c["layer"], dict):
            inner = " (%s %s)" % (c["layer"]["class_name"], {
                k: v for k, v in c["layer"]["config"].items()
                if k in grid.GRID.get(c["layer"]["class_name"], {})})
        lines.append("    %s %s%s -> %s" % (type(layer).__name__, seen, inner,
                                           getattr(layer.output, "shape", "several")))
        if isinstance(layer, keras.Model):
            lines += ["    " + l for l in describe(layer)]
    return lines


def cells_to_draw():
    cells = [c for c in grid.cells() if not A.only or c[0] in A.only]
    return cells[:A.models] if A.models and A.models < len(cells) else cells


def shard():
    """One process's share; the report is a line of JSON."""
    cells = cells_to_draw()
    report = {"drawn": 0, "failed": 0, "streams": 0, "unreadable": 0, "refused": [], "used": [], "undrawn": []}
    used = set()
    for n in range(A.first, len(cells), A.step):
        if A.just and n not in A.just:
            continue
        try:
            case = Case(n, cells[n])
        except RuntimeError as e:
            print("%d: %s" % (n, e), flush=True)
            report["failed"] += 1
            continue
        case.check()
        report["drawn"] += 1
        report["streams"] += case.streams
        report["unreadable"] += case.unreadable
        used |= case.used
        if case.refused:
            report["refused"].append(str(case.refused))
        if case.bad:
            report["failed"] += 1
            print("model %d, seed %d, %s %s=%s" % (n, A.seed, *cells[n]))
            print("\n".join(["  " + b for b in case.bad] + describe(case.m)), flush=True)
    report["used"] = sorted(str(c) for c in used)
    with open(A.report, "w") as f:
        json.dump(report, f)


def main():
    if A.report:
        return shard()
    begun = time.time()
    os.makedirs(A.work, exist_ok=True)
    procs = []
    for k in range(A.processes):
        report = os.path.join(A.work, "report%d.json" % k)
        if os.path.exists(report):
            os.remove(report)
        words = [sys.executable, *sys.argv, "--from", str(k), "--step", str(A.processes),
                 "--report", report]
        procs.append((subprocess.Popen(words), report))
    reports = []
    broken = 0
    for p, report in procs:
        if p.wait() != 0 or not os.path.exists(report):
            broken += 1
            continue
        with open(report) as f:
            reports.append(json.load(f))
    used = {c for r in reports for c in r["used"]}
    drawn, failed = (sum(r[k] for r in reports) for k in ("drawn", "failed"))
    want = cells_to_draw()
    every = not A.models or A.models >= len(grid.cells())
    missed = [c for c in want if str(c) not in used] if every else \
        [c for c in grid.GRID if not A.only and not any(u.startswith("('%s'" % c) for u in used)]
    for c in missed if not A.just else ():
        print("never drawn: %s" % (c,))
    refused = sorted(c for r in reports for c in r["refused"])
    for c in sorted(set(refused)):
        print("refused, as expected: %s, %d models" % (c, refused.count(c)))
    print("files that Keras itself cannot read again: %d" % sum(r["unreadable"] for r in reports))
    print("Keras %s (%s), seed %d: %d models, %d of them also streamed, %d cells of the grid, %d s" %
          (keras.__version__, keras.backend.backend(), A.seed, drawn,
           sum(r["streams"] for r in reports), len(used), time.time() - begun))
    bad = failed + broken + (0 if A.just else len(missed))
    print("[  PASSED  ] %d test(s)." % (drawn - failed))
    if bad:
        print("[  FAILED  ] %d test(s)." % bad)
    return 1 if bad else 0


A = arguments()
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":
    sys.exit(main())
