"""What kymod does, as a good service in Python does it: samples as JSON from a ZeroMQ PULL,
1,000 streams each with the state of an LSTM(64), ONNX Runtime, every answer as JSON on a PUB and in
SQLite. Micro-batched: what waits is taken at once, at most one next step of each stream a batch.

    service.py IN OUT DATABASE

bench_end_to_end beside ... starts it. The weights are random, like those of the model beside it.
orjson in place of the json module, one transaction a second, no copies that numpy can avoid.
"""
import os
import signal
import sqlite3
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np
import onnxruntime as ort
import zmq
from onnx import TensorProto, helper, numpy_helper

try:
    from orjson import dumps, loads
except ImportError:
    import json

    loads = json.loads

    def dumps(v):
        return json.dumps(v).encode()


F, H, CLASSES, STREAMS, MOST = 9, 64, 6, 1000, 512
LABELS = "abcdef"


def graph():
    """x [1,B,F], h and c [1,B,H] -> probabilities [B,CLASSES], h and c."""
    rng = np.random.default_rng(1)
    arrays = {
        "W": rng.normal(size=(1, 4 * H, F)) * 0.3,
        "R": rng.normal(size=(1, 4 * H, H)) * 0.1,
        "b": rng.normal(size=(1, 8 * H)) * 0.1,
        "D": rng.normal(size=(H, CLASSES)) * 0.3,
        "d": np.zeros(CLASSES),
    }
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "b", "", "h", "c"], ["", "h1", "c1"],
                         hidden_size=H),
        helper.make_node("Reshape", ["h1", "flat"], ["rows"]),
        helper.make_node("Gemm", ["rows", "D", "d"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    inits = [numpy_helper.from_array(a.astype("f4"), n) for n, a in arrays.items()]
    inits.append(numpy_helper.from_array(np.array([-1, H]), "flat"))
    shaped = [value(n, TensorProto.FLOAT, [1, "B", w]) for n, w in
              (("x", F), ("h", H), ("c", H), ("h1", H), ("c1", H))]
    g = helper.make_graph(nodes, "service", shaped[:3],
                          [value("y", TensorProto.FLOAT, ["B", CLASSES]), *shaped[3:]], inits)
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)])
    m.ir_version = 8
    return m.SerializeToString()


def waves(messages):
    """Lists of messages with at most one of a stream, in order."""
    out, place = [], {}
    for m in messages:
        k = place.get(m["stream"], 0)
        place[m["stream"]] = k + 1
        if k == len(out):
            out.append([])
        out[k].append(m)
    return out


class Service:
    def __init__(self, source, sink, database):
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(graph(), options, providers=["CPUExecutionProvider"])
        context = zmq.Context()
        self.pull, self.pub = context.socket(zmq.PULL), context.socket(zmq.PUB)
        self.pull.set_hwm(10000)
        self.pub.set_hwm(0)
        self.pull.bind(source)
        self.pub.bind(sink)
        self.db = sqlite3.connect(database, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.execute("CREATE TABLE predictions(stream TEXT, n INTEGER, ts REAL, label TEXT,"
                        " score REAL, probs BLOB, PRIMARY KEY(stream, n)) WITHOUT ROWID")
        self.rows, self.row_of, self.steps = [], {}, {}
        self.h = np.zeros((STREAMS, H), "f4")
        self.c = np.zeros((STREAMS, H), "f4")
        self.running = True

    def take(self):
        """What waits, at most MOST; waits up to 100 ms for a first."""
        got = []
        if not self.pull.poll(100):
            return got
        try:
            while len(got) < MOST:
                got.append(loads(self.pull.recv(zmq.NOBLOCK)))
        except zmq.Again:
            pass
        return got

    def answer(self, wave):
        names = [m["stream"] for m in wave]
        at = [self.row_of.setdefault(s, len(self.row_of)) for s in names]
        x = np.array([m["x"] for m in wave], "f4")[None]
        y, h, c = self.session.run(["y", "h1", "c1"],
                                   {"x": x, "h": self.h[at][None], "c": self.c[at][None]})
        self.h[at], self.c[at] = h[0], c[0]
        best, score = y.argmax(1).tolist(), y.max(1).tolist()
        for m, s, k, p, probs, row in zip(wave, names, best, score, y.tolist(), y):
            n = self.steps[s] = self.steps.get(s, 0) + 1
            ts = m["ts"] * 1e-6
            self.pub.send_multipart([
                f"bench/{s}/".encode(),
                dumps({"stream": s, "class": "bench", "n": n, "ts": ts, "label": LABELS[k],
                       "score": p, "probs": dict(zip(LABELS, probs))})], copy=True)
            self.rows.append((s, n, ts, LABELS[k], p, row.tobytes()))

    def commit(self):
        self.db.execute("BEGIN")
        self.db.executemany("INSERT INTO predictions VALUES (?,?,?,?,?,?)", self.rows)
        self.db.execute("COMMIT")
        self.rows.clear()

    def run(self):
        committed = time.monotonic()
        while self.running:
            for wave in waves(self.take()):
                self.answer(wave)
            if self.rows and (time.monotonic() - committed > 1 or len(self.rows) > 20000):
                self.commit()
                committed = time.monotonic()
        self.commit()

    def stop(self, *_):
        self.running = False


if __name__ == "__main__":
    service = Service(*sys.argv[1:4])
    signal.signal(signal.SIGTERM, service.stop)
    service.run()
