"""kymo beside ONNX Runtime in one process, one thread, taking turns: A B A B.

    peers.py LIBKYMO

Each model has the same random weights in both: kymo reads it from a Keras .h5 file, ONNX Runtime
from a graph of the same operations; before anything is measured their answers must agree. What
counts is the median of slices of processor time, for each side less what an empty call
through Python costs (an Identity graph; ky_kernels_get()), as C programs would not pay it.
"""
import ctypes as c
import json
import os
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"
import h5py
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SLICE_S, ROUNDS = 0.01, 21
rng = np.random.default_rng(1)


def random(*shape):
    """Weights that keep the size of what goes through them."""
    n = np.prod(shape[:-1]) if len(shape) > 1 else 100
    return rng.uniform(-1, 1, shape).astype("f4") * np.float32(1.5 / np.sqrt(n))


# -- the same model in two files -------------------------------------------------------------


class Model:
    """A Keras Sequential model and an ONNX graph, built layer by layer. Data is channels-last in
    kymo, channels-first in ONNX Runtime, which likes it better so."""

    def __init__(self, shape):
        self.shape = shape
        self.layers, self.weights = [], []
        self.nodes, self.inits, self.last, self.dims = [], [], "x", list(shape)
        self.channels_first = None  # the shape that a Flatten has just taken apart

    def keras(self, class_name, weights=(), **config):
        name = f"{class_name.lower()}_{len(self.layers)}"
        config["name"] = name
        if not self.layers:
            config["batch_input_shape"] = [None, *self.shape]
        self.layers.append({"class_name": class_name, "config": config})
        self.weights.append((name, weights))

    def node(self, op, *arrays, outputs=1, **attributes):
        names = [self.last]
        for a in arrays:
            names.append(f"w{len(self.inits)}")
            self.inits.append(numpy_helper.from_array(a, names[-1]))
        out = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, names, out, **attributes))
        self.last = out[-1]

    def conv(self, filters, activation="relu"):
        rank = len(self.dims) - 1
        taps = [3] * rank
        w, b = random(*taps, self.dims[-1], filters), random(filters)
        self.keras(f"Conv{rank}D", [("kernel", w), ("bias", b)], filters=filters, kernel_size=taps,
                   strides=[1] * rank, padding="valid", activation=activation)
        if self.last == "x":
            self.node("Transpose", perm=[0, rank + 1, *range(1, rank + 1)])
        self.node("Conv", np.ascontiguousarray(np.moveaxis(w, [-1, -2], [0, 1])), b,
                  kernel_shape=taps)
        self.node("Relu")
        self.dims = [n - 2 for n in self.dims[:-1]] + [filters]

    def pool(self):
        rank = len(self.dims) - 1
        self.keras(f"MaxPooling{rank}D", pool_size=[2] * rank, strides=[2] * rank, padding="valid")
        self.node("MaxPool", kernel_shape=[2] * rank, strides=[2] * rank)
        self.dims = [n // 2 for n in self.dims[:-1]] + [self.dims[-1]]

    def flatten(self):
        self.keras("Flatten")
        self.channels_first, self.dims = self.dims, [int(np.prod(self.dims))]
        self.node("Flatten")

    def dense(self, units, activation):
        w, b = random(self.dims[-1], units), random(units)
        self.keras("Dense", [("kernel", w), ("bias", b)], units=units, activation=activation)
        before = self.channels_first
        if before is not None:  # rows of w in the order of ONNX's flattened channels-first data
            w = np.moveaxis(w.reshape(*before, units), -2, 0).reshape(-1, units)
            self.channels_first = None
        self.node("Gemm", np.ascontiguousarray(w), b)
        self.node("Relu" if activation == "relu" else "Softmax")
        self.dims = [units]

    def lstm(self, H):
        F = self.dims[-1]
        W, U, b = random(F, 4 * H), random(H, 4 * H), random(4 * H)
        self.keras("LSTM", [("kernel", W), ("recurrent_kernel", U), ("bias", b)], units=H,
                   activation="tanh", recurrent_activation="sigmoid", return_sequences=False)
        order = np.concatenate([np.arange(H) + H * k for k in (0, 3, 1, 2)])  # i f c o -> i o f c
        self.node("Transpose", perm=[1, 0, 2])
        self.node("LSTM", np.ascontiguousarray(W[:, order].T[None]),
                  np.ascontiguousarray(U[:, order].T[None]),
                  np.concatenate([b[order], 0 * b])[None], outputs=2, hidden_size=H)
        self.node("Squeeze", np.array([0]))  # the last h [1,B,H]
        self.dims = [H]

    def save_keras(self, path):
        config = {"class_name": "Sequential", "config": {"name": "m", "layers": self.layers}}
        with h5py.File(path, "w") as f:
            f.attrs["keras_version"], f.attrs["backend"] = "2.12.0", "tensorflow"
            f.attrs["model_config"] = json.dumps(config)
            g = f.create_group("model_weights")
            g.attrs["keras_version"] = "2.12.0"
            g.attrs["layer_names"] = [n.encode() for n, _ in self.weights]
            for name, arrays in self.weights:
                lg = g.create_group(name)
                lg.attrs["weight_names"] = [f"{name}/{n}:0".encode() for n, _ in arrays]
                for n, a in arrays:
                    lg.create_dataset(f"{name}/{n}:0", data=a)

    def save_onnx(self, path):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", *self.shape])
        y = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "m", [x], [y], self.inits)
        save_graph(graph, path)


def save_graph(graph, path):
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
              path)


# -- the two sides ------------------------------------------------------------------------------


def session(path):
    o = ort.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    o.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


def bound(s, **inputs):
    """A call of s with everything bound; returns it and its outputs."""
    b = s.io_binding()
    for name, x in inputs.items():
        b.bind_cpu_input(name, x)
    for o in s.get_outputs():
        b.bind_output(o.name)
    s.run_with_iobinding(b)
    return lambda: s.run_with_iobinding(b), b.copy_outputs_to_cpu()


class Kymo:
    class Error(c.Structure):
        _fields_ = [("code", c.c_int), ("text", c.c_char * 4096)]

    def __init__(self, path):
        self.lib = c.CDLL(path)
        self.lib.ky_work_new.restype = c.c_void_p
        self.lib.ky_kernels_get.restype = c.c_void_p
        self.lib.ky_kernels_get.argtypes = []

    def model(self, path, steps, x, n_out):
        m, err = c.c_void_p(), self.Error()
        if self.lib.ky_model_load(path.encode(), c.byref(m), c.byref(err)) < 0:
            sys.exit(f"kymo: {err.text.decode()}")
        work = c.c_void_p(self.lib.ky_work_new(m, steps, len(x)))
        y = np.zeros((len(x), n_out), "f4")
        args = (m, work, c.c_int(len(x)), c.c_int(steps), c.c_void_p(x.ctypes.data),
                c.c_void_p(y.ctypes.data))
        predict = self.lib.ky_model_predict
        predict(*args)
        return lambda: predict(*args), y

    def empty(self):
        return self.lib.ky_kernels_get


def seconds_a_call(sides):
    """The median seconds of one call of each side, in turns."""
    times = []
    for f in sides:
        n = 1
        while one_slice(f, n) < SLICE_S:
            n *= 2
        times.append(n)
    slices = [[one_slice(f, n) / n for f, n in zip(sides, times)] for _ in range(ROUNDS)]
    return np.median(np.array(slices), axis=0)


def one_slice(f, n):
    t = time.process_time()
    for _ in range(n):
        f()
    return time.process_time() - t


def compare(name, ours, peer, empty_ours, empty_peer, count, target):
    a, b, e, f = seconds_a_call([ours, peer, empty_ours, empty_peer])
    a, b = count / (a - e), count / (b - f)
    verdict = "" if not target else "reached" if a / b >= target else f"below {target}"
    print(f"  {name:34} {a / 1e3:9.1f} {b / 1e3:9.1f}   {a / b:5.2f} {verdict}", flush=True)


def check(name, got, want):
    off = np.abs(got - want).max() / np.abs(want).max()
    if not off < 1e-4 or np.ptp(want) < 1e-3:
        sys.exit(f"{name}: the two differ by {off:g}: not the same model")


def conv_net():
    m = Model([128, 9])
    m.conv(64), m.conv(64), m.pool(), m.flatten(), m.dense(100, "relu"), m.dense(6, "softmax")
    return m


def image_net():
    m = Model([28, 28, 1])
    m.conv(32), m.pool(), m.conv(64), m.pool(), m.flatten()
    m.dense(128, "relu"), m.dense(10, "softmax")
    return m


def lstm_net(H):
    m = Model([128, 9])
    m.lstm(H)
    m.dense(6, "softmax")
    return m


def main():
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
    kymo = Kymo(sys.argv[1])
    with tempfile.TemporaryDirectory() as d:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        save_graph(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "e", [x], [y]),
                   f"{d}/e.onnx")
        empty_peer, _ = bound(session(f"{d}/e.onnx"), x=np.zeros(1, "f4"))
        print(f"one thread, thousands a second; ONNX Runtime {ort.__version__}")
        print(f"  {'':34} {'kymo':>9} {'ORT':>9}   times")
        for name, build, B, per, target in [
            ("Conv1D net, windows, B = 1", conv_net, 1, 1, 1.4),
            ("Conv1D net, windows, B = 64", conv_net, 64, 1, 1.38),
            ("28 x 28 CNN, B = 1", image_net, 1, 1, 1.3),
            ("28 x 28 CNN, B = 32", image_net, 32, 1, 1.15),
            ("LSTM(64) + dense, steps, B = 1", lambda: lstm_net(64), 1, 128, 0),
            ("LSTM(64) + dense, steps, B = 64", lambda: lstm_net(64), 64, 128, 0),
            ("LSTM(256) + dense, steps, B = 64", lambda: lstm_net(256), 64, 128, 0),
        ]:
            m = build()
            m.save_keras(f"{d}/m.h5")
            m.save_onnx(f"{d}/m.onnx")
            data = rng.uniform(-1, 1, (B, *m.shape)).astype("f4")
            steps = m.shape[0] if len(m.shape) == 2 else 1
            ours, got = kymo.model(f"{d}/m.h5", steps, data, m.dims[-1])
            peer, want = bound(session(f"{d}/m.onnx"), x=data)
            check(name, got, want[0])
            compare(name, ours, peer, kymo.empty(), empty_peer, B * per, target)


main()
