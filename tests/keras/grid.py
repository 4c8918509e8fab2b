"""Random Keras models over the whole table of layers and their options.

GRID says which values every option of every class takes. A cell is one value of one option,
(class, option, value); draw(r, cell) makes a model in which that cell occurs, so that a run over
all cells has met every value. What a model contains besides is left to chance.
"""
import itertools

import keras
import numpy as np
from keras import layers as L

BOOL = [True, False]
FORMAT = ["channels_last", "channels_first"]
# Of FORMATS.md 1.5. The last ones are Keras 3's own and rare.
ACTIVATIONS = ["linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "softplus",
               "softsign", "silu", "mish", "exponential", "tanh", "sigmoid", "hard_sigmoid",
               "hard_silu", "hard_tanh", "softmax", "log_softmax"]
RARE = ["log_sigmoid", "tanh_shrink", "soft_shrink", "hard_shrink", "squareplus", "sparse_plus",
        "sparse_sigmoid", "sparsemax", "glu"]
# An activation may be a layer: the value names how it is made.
AS_LAYER = {"LeakyReLU(0.4)": lambda: L.LeakyReLU(negative_slope=0.4),
            "ReLU(1.5)": lambda: L.ReLU(max_value=1.5), "ELU(0.5)": lambda: L.ELU(alpha=0.5),
            "Softmax()": lambda: L.Softmax()}
ACTS = ACTIVATIONS + list(AS_LAYER)
CELL_ACTS = ["tanh", "relu", "sigmoid", "linear", "softsign", "hard_sigmoid", "elu", "selu",
             "gelu", "silu", "softplus", "hard_tanh", "leaky_relu", "relu6"]
GATE_ACTS = ["sigmoid", "hard_sigmoid", "tanh", "relu6", "softsign", "linear"]

_conv1 = {"strides": [1, 2, 3], "dilation_rate": [1, 2, 3], "data_format": FORMAT,
          "activation": ACTS, "use_bias": BOOL}
_conv2 = {"strides": [(1, 1), (2, 2), (1, 2), (3, 1)], "dilation_rate": [(1, 1), (2, 2), (1, 3)],
          "data_format": FORMAT, "activation": ACTS, "use_bias": BOOL}
_size1, _size2 = [1, 2, 3, 5], [(1, 1), (2, 3), (3, 3), (3, 1), (2, 2)]
_pool1 = {"pool_size": [1, 2, 3], "strides": [None, 1, 2, 3], "padding": ["valid", "same"],
          "data_format": FORMAT}
_pool2 = {"pool_size": [(2, 2), (1, 2), (3, 2)], "strides": [None, (1, 1), (2, 1), (2, 3)],
          "padding": ["valid", "same"], "data_format": FORMAT}
_pool3 = {"pool_size": [(2, 2, 2), (1, 2, 3)], "strides": [None, (1, 1, 1), (2, 1, 2)],
          "padding": ["valid", "same"], "data_format": FORMAT}
_global = {"keepdims": BOOL, "data_format": FORMAT}
_rnn = {"units": [1, 4, 7], "activation": CELL_ACTS, "use_bias": BOOL, "return_sequences": BOOL,
        "go_backwards": [False, True], "unroll": [False, True], "stateful": [False, True],
        "zero_output_for_mask": [False, True], "dropout": [0.0, 0.3],
        "recurrent_dropout": [0.0, 0.2]}
_merge = {"inputs": [2, 3], "broadcast": [False, True]}

GRID = {
    "Dense": {"units": [1, 3, 8, 17], "activation": ACTS, "use_bias": BOOL, "rank": [1, 2, 3]},
    "Activation": {"activation": ACTIVATIONS + RARE + list(AS_LAYER), "rank": [1, 2, 3]},
    "ReLU": {"max_value": [None, 6.0, 0.8], "negative_slope": [0.0, 0.2], "threshold": [0.0, 0.3]},
    "LeakyReLU": {"negative_slope": [0.3, 0.05]},
    "PReLU": {"shared_axes": [None, (1,), (2,), (1, 2)], "rank": [1, 2, 3]},
    "ELU": {"alpha": [1.0, 0.5]},
    "Softmax": {"axis": [-1, 1, 2, (1, 2)]},
    "Flatten": {"data_format": FORMAT, "rank": [1, 2, 3]},
    "Reshape": {"target": ["exact", "minus one", "more axes", "fewer axes"]},
    "Permute": {"dims": [(1, 2), (2, 1), (2, 1, 3), (3, 1, 2), (1, 3, 2), (2, 3, 1), (3, 2, 1)]},
    "RepeatVector": {"n": [1, 3, 6]},
    "Dropout": {"rate": [0.0, 0.4], "noise_shape": [None, "steps"]},
    "SpatialDropout1D": {"rate": [0.2, 0.5]},
    "SpatialDropout2D": {"rate": [0.2, 0.5], "data_format": FORMAT},
    "SpatialDropout3D": {"rate": [0.2, 0.5], "data_format": FORMAT},
    "GaussianNoise": {"stddev": [0.1, 1.0]},
    "GaussianDropout": {"rate": [0.1, 0.5]},
    "AlphaDropout": {"rate": [0.1, 0.5], "noise_shape": [None, "steps"]},
    "BatchNormalization": {"axis": [-1, 1, 2], "epsilon": [1e-3, 1e-5, 0.1], "center": BOOL,
                           "scale": BOOL, "momentum": [0.99, 0.5], "rank": [1, 2, 3]},
    "LayerNormalization": {"axis": [-1, 1, 2, (1, 2), (-2, -1)], "epsilon": [1e-3, 1e-6, 0.1],
                           "center": BOOL, "scale": BOOL, "rms_scaling": [False, True],
                           "rank": [1, 2, 3]},
    "UnitNormalization": {"axis": [-1, 1, 2]},
    "Normalization": {"axis": [-1, 1, None, (1, 2)], "invert": [False, True],
                      "statistics": ["adapted", "given"]},
    "Rescaling": {"scale": [0.5, -1.7], "offset": [0.0, 0.6]},
    "Conv1D": {"filters": [1, 4, 6], "kernel_size": _size1, "padding": ["valid", "same", "causal"],
               "groups": [1, 2], **_conv1},
    "Conv2D": {"filters": [1, 4, 6], "kernel_size": _size2, "padding": ["valid", "same"],
               "groups": [1, 2], **_conv2},
    "SeparableConv1D": {"filters": [1, 5], "kernel_size": _size1, "depth_multiplier": [1, 2, 3],
                        "padding": ["valid", "same"], **_conv1},
    "SeparableConv2D": {"filters": [1, 5], "kernel_size": _size2, "depth_multiplier": [1, 2, 3],
                        "padding": ["valid", "same"], **_conv2},
    "DepthwiseConv1D": {"kernel_size": _size1, "depth_multiplier": [1, 2, 3],
                        "padding": ["valid", "same"], **_conv1},
    "DepthwiseConv2D": {"kernel_size": _size2, "depth_multiplier": [1, 2, 3],
                        "padding": ["valid", "same"], **_conv2},
    "MaxPooling1D": _pool1, "AveragePooling1D": _pool1,
    "MaxPooling2D": _pool2, "AveragePooling2D": _pool2, "MaxPooling3D": _pool3,
    "GlobalMaxPooling1D": _global, "GlobalAveragePooling1D": _global,
    "GlobalMaxPooling2D": _global, "GlobalAveragePooling2D": _global,
    "ZeroPadding1D": {"padding": [1, (0, 2), (2, 1)], "data_format": FORMAT},
    "ZeroPadding2D": {"padding": [1, (1, 2), ((1, 0), (2, 1))], "data_format": FORMAT},
    "Cropping1D": {"cropping": [1, (0, 2), (2, 1)]},
    "Cropping2D": {"cropping": [1, (1, 2), ((1, 0), (2, 1))], "data_format": FORMAT},
    "UpSampling1D": {"size": [1, 2, 3]},
    "UpSampling2D": {"size": [(2, 2), (1, 3), 2], "interpolation": ["nearest", "bilinear"],
                     "data_format": FORMAT},
    "Embedding": {"output_dim": [1, 4], "mask_zero": BOOL},
    "Masking": {"mask_value": [0.0, -1.0, 2.5]},
    "SimpleRNN": _rnn,
    "LSTM": {"recurrent_activation": GATE_ACTS, "unit_forget_bias": BOOL, **_rnn},
    "GRU": {"recurrent_activation": GATE_ACTS, "reset_after": BOOL, **_rnn},
    "Bidirectional": {"layer": ["LSTM", "GRU", "SimpleRNN"],
                      "merge_mode": ["concat", "sum", "ave", "mul", None],
                      "return_sequences": BOOL, "go_backwards": [False, True],
                      "backward_layer": ["made from the forward one", "given"]},
    "TimeDistributed": {"layer": ["Dense", "Activation", "Dropout", "Flatten", "Reshape", "Conv1D",
                                  "Conv2D", "SeparableConv1D", "DepthwiseConv2D", "MaxPooling1D",
                                  "AveragePooling1D", "MaxPooling2D", "AveragePooling2D",
                                  "GlobalAveragePooling1D", "GlobalMaxPooling2D",
                                  "BatchNormalization", "LayerNormalization", "ZeroPadding2D",
                                  "LSTM", "GRU", "Bidirectional", "Sequential", "Functional",
                                  "TimeDistributed"]},
    "ConvLSTM2D": {"filters": [1, 3], "kernel_size": [(1, 1), (2, 3), (3, 3)],
                   "strides": [(1, 1), (2, 1)], "padding": ["valid", "same"],
                   "dilation_rate": [(1, 1), (2, 1)], "data_format": FORMAT,
                   "activation": ["tanh", "relu", "softsign"],
                   "recurrent_activation": ["sigmoid", "hard_sigmoid"], "use_bias": BOOL,
                   "unit_forget_bias": BOOL, "return_sequences": BOOL,
                   "go_backwards": [False, True], "stateful": [False, True]},
    "Add": _merge, "Multiply": _merge, "Average": _merge, "Maximum": _merge, "Minimum": _merge,
    "Subtract": {"inputs": [2], "broadcast": [False, True]},
    "Concatenate": {"axis": [-1, 1, 2], "inputs": [2, 3]},
    "Dot": {"axes": [-1, 1, 2, (1, 2), (2, 1)], "normalize": [False, True]},
    "InputLayer": {"steps": ["fixed", "open"], "batch": ["open", "fixed"],
                   "dtype": ["float32", "int32"]},
    # How the layers are put together.
    "Model": {"form": ["Sequential", "Sequential without InputLayer", "Functional", "residual",
                       "nested Sequential", "nested Functional", "nested twice", "shared layer",
                       "shared in a row", "shared model", "two inputs", "three inputs",
                       "two outputs", "inputs and outputs"]},
    # A mask that comes from Masking or Embedding, goes through one layer and is then heeded.
    "Mask": {"source": ["Masking", "Embedding"],
             "through": ["nothing", "Dense", "Activation", "Dropout", "BatchNormalization",
                         "LayerNormalization", "ReLU", "LeakyReLU", "PReLU", "LSTM", "GRU",
                         "SimpleRNN", "Bidirectional", "TimeDistributed", "Conv1D", "MaxPooling1D",
                         "UpSampling1D", "ZeroPadding1D", "Permute", "Reshape", "Rescaling", "Add",
                         "Multiply", "Concatenate", "nested Sequential", "GaussianNoise",
                         "SpatialDropout1D"],
             "heeded": ["LSTM", "GRU", "SimpleRNN", "Bidirectional", "GlobalAveragePooling1D",
                        "Flatten"]},
}
MERGES = ["Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract", "Concatenate", "Dot"]
RNNS = ["SimpleRNN", "LSTM", "GRU"]
# The ranks of tensors (without the batch) that a layer takes; all others take any.
RANKS = {"Conv1D": [2], "SeparableConv1D": [2], "DepthwiseConv1D": [2], "MaxPooling1D": [2],
         "AveragePooling1D": [2], "GlobalMaxPooling1D": [2], "GlobalAveragePooling1D": [2],
         "ZeroPadding1D": [2], "Cropping1D": [2], "UpSampling1D": [2], "SpatialDropout1D": [2],
         "SimpleRNN": [2], "LSTM": [2], "GRU": [2], "Bidirectional": [2],
         "Conv2D": [3], "SeparableConv2D": [3], "DepthwiseConv2D": [3], "MaxPooling2D": [3],
         "AveragePooling2D": [3], "GlobalMaxPooling2D": [3], "GlobalAveragePooling2D": [3],
         "ZeroPadding2D": [3], "Cropping2D": [3], "UpSampling2D": [3], "SpatialDropout2D": [3],
         "SpatialDropout3D": [4], "MaxPooling3D": [4], "ConvLSTM2D": [4], "RepeatVector": [1],
         "Permute": [2, 3], "Softmax": [1, 2, 3], "TimeDistributed": [2, 3, 4],
         "LayerNormalization": [1, 2, 3], "Normalization": [1, 2, 3], "Reshape": [1, 2, 3]}
RANK_OF_TIMED = {"Dense": [2, 3], "Activation": [2, 3], "Dropout": [2, 3], "Flatten": [2, 3],
                 "Reshape": [2, 3], "BatchNormalization": [2, 3], "LayerNormalization": [2, 3],
                 "LSTM": [3], "GRU": [3], "Bidirectional": [3], "Sequential": [3],
                 "Functional": [2, 3], "TimeDistributed": [3]}
# Not by chance in the middle of a model: they are drawn by a form of their own.
APART = MERGES + ["Embedding", "Masking", "InputLayer", "Model", "Mask"]
ANYWHERE = [c for c in GRID if c not in APART]
LARGEST = 1500  # elements of a tensor, so that a model stays quick


class Unfit(Exception):
    """What was drawn does not go together: draw again."""


def cells():
    """Every cell; the first ones are one of each class, so that a sample meets every class."""
    by_class = [[(c, o, v) for o in GRID[c] for v in GRID[c][o]] for c in GRID]
    rows = itertools.zip_longest(*by_class)
    return [cell for row in rows for cell in row if cell is not None]


def pick(r, values):
    return values[int(r.integers(len(values)))]


def tuples(v):
    return tuple(map(tuples, v)) if isinstance(v, (list, tuple)) else v


class Builder:
    """One model while it is drawn: r chooses, `used` notes the cells that occur."""

    def __init__(self, r, cell):
        self.r, self.cell = r, cell
        self.used = set()
        self.fills = []  # of each input: how its values are drawn
        self.batch = None  # the fixed number of rows, where one is wanted
        self.open = False
        self.steps = None  # of inputs of any length: in kymo all of a model have as many
        self.waiting = True  # the cell's class has not been made yet

    def masked(self):
        """Whether there is a mask: Keras's backends differ in whether one outlives a layer that
        moves nothing, say Permute((1, 2))."""
        return (any(f["mask"] is not None for f in self.fills)
                or ("Embedding", "mask_zero", True) in self.used)

    def note(self, cls, o):
        self.used |= {(cls, k, tuples(v)) for k, v in o.items() if k in GRID[cls]}

    def options(self, cls):
        o = {k: pick(self.r, v) for k, v in GRID[cls].items() if k != "rank"}
        if cls == self.cell[0] and self.waiting and self.cell[1] != "rank":
            o[self.cell[1]] = self.cell[2]
        return o

    def layer(self, cls, shape):
        """A layer of the class for tensors of the shape (without batch), options drawn."""
        if len(shape) not in RANKS.get(cls, [1, 2, 3, 4]):
            raise Unfit
        o = self.options(cls)
        o = FIT[cls](self, o, shape) if cls in FIT else o
        if cls == self.cell[0]:
            self.waiting = False
        if "rank" in GRID[cls]:
            self.used.add((cls, "rank", len(shape)))
        self.note(cls, o)
        if cls in MAKE:
            return MAKE[cls](self, dict(o), shape)
        k = {name: AS_LAYER[v]() if isinstance(v, str) and v in AS_LAYER else v
             for name, v in o.items()}
        return getattr(L, cls)(**k)

    def call(self, layer, x):
        try:
            y = layer(x)
        except (ValueError, TypeError, IndexError, ZeroDivisionError):
            raise Unfit
        for t in y if isinstance(y, (list, tuple)) else [y]:
            sizes = [s if s is not None else 12 for s in t.shape[1:]]
            if len(sizes) == 0 or min(sizes) < 1 or np.prod(sizes) > LARGEST:
                raise Unfit
        return y

    def add(self, cls, x):
        """The tensor x through a new layer of the class."""
        return self.call(self.layer(cls, x.shape[1:]), x)

    def any(self, x, n, keep_rank=False):
        """x through n layers, whichever fit."""
        left = 40
        while n > 0:
            left -= 1
            if left == 0:
                raise Unfit
            cls = pick(self.r, ANYWHERE)
            before = self.used, self.waiting
            self.used = set(self.used)
            try:
                y = self.add(cls, x)
                if isinstance(y, (list, tuple)) or keep_rank and len(y.shape) != len(x.shape):
                    raise Unfit
            except Unfit:
                self.used, self.waiting = before
                continue
            x, n = y, n - 1
        return x

    def target(self, x):
        """x through the layer that the cell is about, after what makes it fit."""
        cls = self.cell[0]
        if not self.waiting or cls in APART:
            return self.any(x, 1)
        x = self.any(x, int(self.r.integers(0, 2)), keep_rank=True)
        return self.add(cls, x)

    def rank(self):
        """A rank of input that suits the cell."""
        cls, option, value = self.cell
        if option == "rank":
            return value
        if cls == "Permute" and option == "dims":
            return len(value)
        if cls == "TimeDistributed" and option == "layer":
            return pick(self.r, RANK_OF_TIMED.get(value, [len(RANKS.get(value, [0] * 2)) and
                                                          RANKS.get(value, [2])[0] + 1]))
        if isinstance(value, tuple) and option in ("axis", "axes", "shared_axes"):
            return pick(self.r, [2, 3])
        if (cls, option) in (("Softmax", "axis"), ("Concatenate", "axis"), ("Dot", "axes")):
            return 2 if value == 2 else pick(self.r, [1, 2])
        ranks = RANKS.get(cls, [1, 2, 2, 3] if cls not in MERGES else [2])
        return pick(self.r, ranks)

    def input(self, rank, name=None, ids=0):
        """An Input of the rank; ids > 0: of so many whole numbers."""
        r = self.r
        sizes = {1: [int(r.integers(5, 11) if ids else r.integers(2, 9))], 2: [int(r.integers(5, 13)), int(r.integers(1, 6))],
                 3: [int(r.integers(5, 9)), int(r.integers(5, 9)), int(r.integers(1, 5))],
                 4: [int(r.integers(3, 5)), int(r.integers(4, 7)), int(r.integers(4, 7)),
                     int(r.integers(1, 4))]}[rank]
        o = {"batch": "fixed" if self.batch else "open", "dtype": "int32" if ids else "float32"}
        open_here = self.open and (rank > 1 or ids)  # values without steps have their number
        o["steps"] = "open" if open_here else "fixed"
        if open_here:
            self.steps = self.steps or sizes[0]
            sizes[0] = self.steps
        shape = ([None] if open_here else sizes[:1]) + sizes[1:]
        self.note("InputLayer", o)
        x = keras.Input(batch_shape=[self.batch] + shape, name=name, dtype=o["dtype"])
        self.fills.append({"shape": sizes, "ids": ids, "mask": None})
        return x


# What options of a class exclude each other, and what the shape asks for.

def fit_conv(b, o, shape):
    one = lambda v: max(v) == 1 if isinstance(v, tuple) else v == 1
    if not one(o["strides"]) and not one(o["dilation_rate"]):
        if b.cell[1] == "dilation_rate":
            o["strides"] = 1 if isinstance(o["strides"], int) else (1, 1)
        else:
            o["dilation_rate"] = 1 if isinstance(o["dilation_rate"], int) else (1, 1)
    if o.get("padding") == "causal" and o["data_format"] == "channels_first":
        if b.cell[1] == "padding":
            o["data_format"] = "channels_last"
        else:
            o["padding"] = "valid"
    channels = shape[0 if o["data_format"] == "channels_first" else -1]
    if channels is None or b.open and o["data_format"] == "channels_first":
        raise Unfit
    if o.get("groups", 1) > 1 and (channels % o["groups"] or o["filters"] % o["groups"]):
        if b.cell[1] == "groups":
            raise Unfit
        o["groups"] = 1
    return o


def fit_pool(b, o, shape):
    if o.get("data_format") == "channels_first" and shape[0] is None:
        raise Unfit
    return o


def fit_rnn(b, o, shape):
    """Half of them have the activations that kymo's kernels are made for."""
    usual = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    if b.r.random() < 0.5 and b.cell[1] not in usual:
        o = {**o, **{k: v for k, v in usual.items() if k in o}}
    if o["unroll"] and b.open:
        o["unroll"] = False
    if o["stateful"] and not b.batch:
        o["stateful"] = False
    if b.masked():  # unrolled, NumPy and JAX do not heed zero_output_for_mask, unlike TensorFlow
        o["unroll"] = False
    return o


def fit_axis(b, o, shape):
    axes = o["axis"] if isinstance(o["axis"], tuple) else () if o["axis"] is None else (o["axis"],)
    for a in axes:
        if not -len(shape) <= a <= len(shape) or shape[a - 1 if a > 0 else a] is None:
            raise Unfit
    return o


def fit_prelu(b, o, shape):
    shared = o["shared_axes"] or ()
    if any(a > len(shape) for a in shared) or b.open and 1 not in shared:
        raise Unfit
    return o


def fit_permute(b, o, shape):
    if len(o["dims"]) != len(shape):
        if b.cell[0] == "Permute" and b.cell[1] == "dims":
            raise Unfit
        o["dims"] = pick(b.r, [d for d in GRID["Permute"]["dims"] if len(d) == len(shape)])
    if b.open and o["dims"][0] != 1 or b.masked() and list(o["dims"]) == sorted(o["dims"]):
        raise Unfit
    return o


def fit_closed(b, o, shape):
    if b.open:
        raise Unfit
    return o


FIT = {"Softmax": fit_axis, "PReLU": fit_prelu, "BatchNormalization": fit_axis,
       "LayerNormalization": fit_axis, "UnitNormalization": fit_axis, "Normalization": fit_axis,
       "Permute": fit_permute, "Flatten": fit_closed, "Reshape": fit_closed}
for _c in ("Conv1D", "Conv2D", "SeparableConv1D", "SeparableConv2D", "DepthwiseConv1D",
           "DepthwiseConv2D"):
    FIT[_c] = fit_conv
for _c in GRID:
    if "Pooling" in _c or _c.startswith(("ZeroPadding", "UpSampling", "Cropping", "Spatial")):
        FIT[_c] = fit_pool
for _c in RNNS:
    FIT[_c] = fit_rnn


def fit_convlstm(b, o, shape):
    o = fit_conv(b, {**o, "groups": 1}, shape[1:])
    del o["groups"]
    if o["stateful"] and not b.batch:
        o["stateful"] = False
    return o


FIT["ConvLSTM2D"] = fit_convlstm


def factors(r, n, count):
    """Sizes of `count` axes whose product is n."""
    out = []
    for _ in range(count - 1):
        d = pick(r, [k for k in range(1, n + 1) if n % k == 0])
        out.append(d)
        n //= d
    return out + [n]


def make_reshape(b, o, shape):
    n = int(np.prod(shape))
    rank = len(shape) + {"more axes": 1, "fewer axes": -1}.get(o["target"], 0)
    if not 1 <= rank <= 4:
        raise Unfit
    to = factors(b.r, n, rank)
    if o["target"] == "minus one":
        to[int(b.r.integers(rank))] = -1
    if b.masked() and tuple(to) == tuple(shape):
        raise Unfit
    return L.Reshape(tuple(to))


def make_noise(cls):
    def make(b, o, shape):
        if o["noise_shape"] == "steps":
            o["noise_shape"] = (None,) * len(shape) + (1,)
        return getattr(L, cls)(**o)
    return make


def make_normalization(b, o, shape):
    given = o.pop("statistics") == "given"
    axes = o["axis"] if isinstance(o["axis"], tuple) else \
        () if o["axis"] is None else (o["axis"],)
    size = [shape[a - 1 if a > 0 else a] for a in axes]
    if given:
        if len(size) > 1:  # Keras only takes them as flat lists here
            size = [int(np.prod(size))]
        o["mean"] = (0.4 * b.r.normal(size=size)).tolist()
        o["variance"] = (0.3 + b.r.random(size=size)).tolist()
    return L.Normalization(**o)


def make_bidirectional(b, o, shape):
    cls = o.pop("layer")
    given = o.pop("backward_layer") == "given"
    shared = {"return_sequences": o.pop("return_sequences"), "go_backwards": o.pop("go_backwards")}
    k = {**fit_rnn(b, b.options(cls), shape), **shared, "stateful": False}
    b.note(cls, k)
    backward = None
    if shared["go_backwards"] and not given:  # Keras makes the other one backwards, too
        raise Unfit
    if given:
        other = pick(b.r, RNNS)
        t = {**fit_rnn(b, b.options(other), shape), **shared, "stateful": False,
             "units": k["units"], "go_backwards": not k["go_backwards"]}
        t["zero_output_for_mask"] = k["zero_output_for_mask"]
        b.note(other, t)
        backward = getattr(L, other)(**t)
    return L.Bidirectional(getattr(L, cls)(**k), backward_layer=backward, **o)


def make_timed(b, o, shape):
    cls = o["layer"]
    inner = shape[1:]
    if None in inner or len(inner) < 1:
        raise Unfit
    if cls == "Functional" or cls == "Sequential":
        i = x = keras.Input(inner)
        layers = []
        for _ in range(int(b.r.integers(2, 4))):
            for _ in range(20):
                try:
                    layer = b.layer(pick(b.r, ["Conv1D", "Conv2D", "Dense", "Activation",
                                               "MaxPooling1D", "MaxPooling2D", "Flatten",
                                               "BatchNormalization", "Dropout"]), x.shape[1:])
                    x = b.call(layer, x)
                    layers.append(layer)
                    break
                except Unfit:
                    pass
        if not layers:
            raise Unfit
        m = keras.Model(i, x) if cls == "Functional" else keras.Sequential([keras.Input(inner)] + layers)
        return L.TimeDistributed(m)
    keep, b.open = b.open, False
    try:
        return L.TimeDistributed(b.layer(cls, inner))
    finally:
        b.open = keep


MAKE = {"Reshape": make_reshape, "Normalization": make_normalization,
        "Bidirectional": make_bidirectional, "TimeDistributed": make_timed,
        "Dropout": make_noise("Dropout"), "AlphaDropout": make_noise("AlphaDropout")}


# How layers are put together: a form makes the model.

def merge(b, cls, tensors, o=None):
    """Tensors of equal shape through a merging layer."""
    o = dict(o or b.options(cls))
    if cls == "Subtract" or cls == "Dot":
        tensors = tensors[:2]
    rank = len(tensors[0].shape) - 1
    if cls == "Concatenate":
        if o["axis"] > rank or b.open and o["axis"] == 1 and rank > 1:
            raise Unfit
        o["inputs"] = len(tensors)
        layer = L.Concatenate(axis=o["axis"])
    elif cls == "Dot":
        axes = [o["axes"]] * 2 if isinstance(o["axes"], int) else o["axes"]
        if any(a > rank for a in axes) or rank > 2 or b.open:
            raise Unfit
        layer = L.Dot(axes=o["axes"], normalize=o["normalize"])
    else:
        o["inputs"] = len(tensors)
        o["broadcast"] = any(t.shape != tensors[0].shape for t in tensors)
        layer = getattr(L, cls)()
    if cls == b.cell[0]:
        b.waiting = False
    b.note(cls, o)
    return b.call(layer, list(tensors))


def alike(b, x, n):
    """n tensors of x's shape, by different ways."""
    units = x.shape[-1]
    ways = [lambda: x, lambda: b.call(L.Dense(units, activation=pick(b.r, ["tanh", "linear"])), x),
            lambda: b.call(L.Dense(units), b.add("Activation", x)),
            lambda: b.call(L.BatchNormalization(), x),
            lambda: b.call(L.Conv1D(units, 3, padding="same"), x) if len(x.shape) == 3
            else b.call(L.Dense(units), x)]
    order = b.r.permutation(len(ways))[:n]
    return [ways[k]() for k in order]


def merged(b, x, cls):
    o = b.options(cls)
    n = o.get("inputs", 2)
    tensors = alike(b, x, n)
    if o.get("broadcast"):
        if len(x.shape) == 3 and not b.open:
            tensors[-1] = b.call(L.GlobalAveragePooling1D(keepdims=True), tensors[-1])
        else:
            tensors[-1] = b.call(L.Dense(1), tensors[-1])
    if cls == "Dot" and isinstance(o["axes"], tuple):
        side = [x.shape[a] for a in o["axes"]]
        if side[0] != side[1]:  # the second tensor gets the length that the first one has
            y = b.call(L.Permute((2, 1)), tensors[1]) if o["axes"] == (1, 2) else tensors[1]
            tensors[1] = y if o["axes"] == (1, 2) else b.call(L.Permute((2, 1)), y)
            if tensors[0].shape[o["axes"][0]] != tensors[1].shape[o["axes"][1]]:
                raise Unfit
    if cls == "Concatenate" and len(x.shape) == 2 + (o["axis"] == 2) and b.r.random() < 0.5 \
            and o["axis"] in (-1, len(x.shape) - 1):
        tensors[-1] = b.call(L.Dense(3), tensors[-1])  # other lengths along the axis
    return merge(b, cls, tensors, o)


def chain(b, x, more=2):
    x = b.target(x)
    if isinstance(x, (list, tuple)):  # Bidirectional with merge_mode None
        if b.r.random() < 0.5:
            return ends(b, x)
        x = merge(b, pick(b.r, ["Add", "Concatenate"]), list(x), {"axis": -1})
    return b.any(x, int(b.r.integers(0, more + 1)))


def form_sequential(b):
    i = b.input(b.rank())
    x = chain(b, i)
    if isinstance(x, (list, tuple)):
        return [i], x, None
    m = keras.Model(i, x)
    layers = m.layers[1:]
    if any(len(layer._inbound_nodes) != 1 or layer.__class__.__name__ in MERGES for layer in layers):
        raise Unfit
    return [i], [x], keras.Sequential([keras.Input(batch_shape=i.shape)] + layers)


def form_late(b):
    i = b.input(b.rank())
    x = chain(b, i)
    layers = keras.Model(i, x).layers[1:]
    if any(layer.__class__.__name__ in MERGES for layer in layers):
        raise Unfit
    configs = [keras.saving.serialize_keras_object(layer) for layer in layers]
    m = keras.Sequential([keras.saving.deserialize_keras_object(c) for c in configs])
    m.build(i.shape)
    return m.inputs, m.outputs, m


def form_functional(b):
    i = b.input(b.rank())
    x = chain(b, i)
    return [i], list(x) if isinstance(x, (list, tuple)) else [x], None


def form_residual(b):
    i = b.input(b.rank())
    cls = b.cell[0] if b.cell[0] in MERGES else pick(b.r, MERGES)
    x = b.any(i, int(b.r.integers(0, 2)), keep_rank=True)
    x = merged(b, x, cls)
    return [i], [b.any(x, int(b.r.integers(0, 3)))], None


def nest(b, x, kind, deeper=False):
    """x through a model of its own."""
    i = keras.Input(x.shape[1:])
    y = b.any(i, 1)
    if deeper:
        y = nest(b, y, "Functional")
    y = b.any(y, int(b.r.integers(1, 3)))
    m = keras.Model(i, y)
    if kind == "Sequential":
        m = keras.Sequential([keras.Input(x.shape[1:])] + m.layers[1:])
    return b.call(m, x)


def form_nested(kind, deeper=False):
    def form(b):
        i = b.input(b.rank())
        x = b.any(i, int(b.r.integers(0, 2)))
        x = nest(b, x, kind, deeper)
        return [i], [b.any(x, int(b.r.integers(0, 2)))], None
    return form


def form_shared(model):
    def form(b):
        rank = pick(b.r, [1, 2, 3])
        i = b.input(rank, "one")
        j = keras.Input(i.shape[1:], name="two")
        b.fills.append(dict(b.fills[0]))
        if model:
            k = keras.Input(i.shape[1:])
            layer = keras.Model(k, b.any(k, 2))
        else:
            layer = b.layer(pick(b.r, ["Dense", "Conv1D", "LSTM", "GRU", "Conv2D",
                                       "BatchNormalization"]), i.shape[1:])
        x, y = b.call(layer, i), b.call(layer, j)
        if isinstance(x, (list, tuple)):
            raise Unfit
        y = b.call(L.Activation("tanh"), y)
        z = merge(b, pick(b.r, ["Add", "Subtract", "Concatenate", "Maximum"]), [x, y],
                  {"axis": -1})
        return [i, j], [b.any(z, int(b.r.integers(0, 2)))], None
    return form


def form_row(b):
    i = b.input(pick(b.r, [1, 2, 3]))
    x = b.any(i, int(b.r.integers(0, 2)), keep_rank=True)
    units = x.shape[-1]
    layer = L.Dense(units, activation=pick(b.r, ["tanh", "softsign"]))
    if len(x.shape) == 3 and b.r.random() < 0.5:
        layer = pick(b.r, [L.LSTM, L.GRU])(units, return_sequences=True)
    for _ in range(int(b.r.integers(2, 4))):
        x = b.call(layer, x)
    return [i], [b.any(x, int(b.r.integers(0, 2)))], None


def to_vector(b, x, units):
    if len(x.shape) > 2:
        x = b.call(L.Flatten() if None not in x.shape[1:] else L.GlobalMaxPooling1D(), x)
    return b.call(L.Dense(units), x)


def ends(b, tensors):
    """Outputs, each by a layer of its own with a name of its own."""
    return [b.call(L.Dense(int(b.r.integers(1, 5)), name="out%d" % k,
                           activation=pick(b.r, ["linear", "tanh"])), t)
            for k, t in enumerate(tensors)]


def form_many(n_in, n_out):
    def form(b):
        inputs = [b.input(pick(b.r, [1, 2, 2, 3]), "in%d" % k) for k in range(n_in)]
        branches = [b.any(i, int(b.r.integers(1, 3))) for i in inputs]
        x = branches[0]
        if n_in > 1:
            x = merge(b, pick(b.r, ["Add", "Concatenate", "Multiply", "Average"]),
                      [to_vector(b, t, 5) for t in branches], {"axis": -1})
        if n_out == 1:
            return inputs, [b.any(x, int(b.r.integers(0, 2)))], None
        y = b.any(x, int(b.r.integers(1, 3)))
        return inputs, ends(b, [x, y]), None
    return form


FORMS = {"Sequential": form_sequential, "Sequential without InputLayer": form_late,
         "Functional": form_functional, "residual": form_residual,
         "nested Sequential": form_nested("Sequential"),
         "nested Functional": form_nested("Functional"),
         "nested twice": form_nested("Functional", True), "shared layer": form_shared(False),
         "shared in a row": form_row, "shared model": form_shared(True),
         "two inputs": form_many(2, 1), "three inputs": form_many(3, 1),
         "two outputs": form_many(1, 2), "inputs and outputs": form_many(2, 2)}


def form_mask(b):
    o = b.options("Mask")
    if o["source"] == "Masking":
        i = b.input(2)
        mo = b.options("Masking")
        b.fills[0]["mask"] = mo["mask_value"]
        b.note("Masking", mo)
        x = b.call(L.Masking(**mo), i)
    else:
        ids = 7
        i = b.input(1, ids=ids)
        eo = {**b.options("Embedding"), "mask_zero": True}
        b.note("Embedding", eo)
        b.fills[0]["mask"] = 0
        x = b.call(L.Embedding(ids, **eo), i)
    b.waiting = False
    through = o["through"]
    if through in MERGES:
        y = b.call(L.Dense(x.shape[-1]), x)
        x = merge(b, through, [x, y], {"axis": -1})
    elif through == "nested Sequential":
        k = keras.Input(x.shape[1:])
        x = b.call(keras.Sequential([k, L.Dense(3), L.Activation("tanh")]), x)
    elif through in RNNS or through == "Bidirectional":
        layer = b.layer(through, x.shape[1:])
        if not layer.return_sequences:
            raise Unfit
        x = b.call(layer, x)
        if isinstance(x, (list, tuple)):
            raise Unfit
    elif through == "TimeDistributed":
        x = b.call(L.TimeDistributed(L.Dense(3, activation="tanh")), x)
    elif through != "nothing":
        x = b.add(through, x)
    if len(x.shape) != 3:
        raise Unfit
    x = b.add(o["heeded"], x)
    if isinstance(x, (list, tuple)):
        raise Unfit
    b.note("Mask", o)
    return [i], [b.any(x, int(b.r.integers(0, 2)))], None


def form_embedding(b):
    ids = int(b.r.integers(3, 12))
    i = b.input(1, ids=ids)
    x = b.call(L.Embedding(ids, **embedding_options(b)), i)
    return [i], [b.any(x, int(b.r.integers(0, 3)))], None


def embedding_options(b):
    o = b.options("Embedding")
    b.waiting = False
    b.note("Embedding", o)
    return o


def form_masking(b):
    i = b.input(2)  # an image's mask would be one of places, not of steps
    o = b.options("Masking")
    b.fills[0]["mask"] = o["mask_value"]
    b.note("Masking", o)
    b.waiting = False
    x = b.call(L.Masking(**o), i)
    return [i], [b.any(x, int(b.r.integers(1, 3)))], None


def choose_form(b):
    cls, option, value = b.cell
    if cls == "Model":
        return FORMS[value]
    special = {"Mask": form_mask, "Embedding": form_embedding, "Masking": form_masking}
    if cls in special:
        return special[cls]
    if cls == "InputLayer" and value == "int32":
        return form_embedding
    if cls in MERGES:
        return form_residual
    return pick(b.r, [form_sequential, form_sequential, form_functional, form_late])


def draw_once(r, cell):
    keras.backend.clear_session()
    b = Builder(r, cell)
    rows = 5
    cls, option, value = cell
    if option == "stateful" and value or cls == "InputLayer" and option == "batch" and \
            value == "fixed" or r.random() < 0.05:
        b.batch = rows
    if cls == "InputLayer" and option == "steps":
        b.open = value == "open"
    elif r.random() < 0.15:
        b.open = True
    form = choose_form(b)
    inputs, outputs, m = form(b)
    if m is None:
        m = keras.Model(inputs if len(inputs) > 1 else inputs[0],
                        outputs if len(outputs) > 1 else outputs[0])
    name = next((k for k, f in FORMS.items() if f is form), None)
    if name:
        b.used.add(("Model", "form", name))
    if cell not in b.used:
        raise Unfit
    set_weights(m, r)
    return m, [values(fill, rows, r) for fill in b.fills], b.used


def set_weights(m, r):
    """Random arrays, of scales that keep values moderate."""
    for v in m.variables:
        if "seed" in v.path or not str(v.dtype).startswith("float"):
            continue
        kind = v.path.split("/")[-1]
        n = r.normal(size=v.shape)
        if "variance" in kind:
            n = 0.3 + 1.2 * r.random(size=v.shape)
        elif kind == "gamma":
            n = 1 + 0.4 * n
        elif kind == "recurrent_kernel":
            n = 0.7 * n / np.sqrt(np.prod(v.shape[:-1]))
        elif kind == "depthwise_kernel" or "depthwise" in v.path and kind == "kernel":
            n = n / np.sqrt(np.prod(v.shape[:-2]))
        elif kind == "embeddings":
            n = 0.8 * n
        elif len(v.shape) > 1 and "kernel" in kind:
            n = 1.1 * n / np.sqrt(np.prod(v.shape[:-1]))
        else:
            n = 0.4 * n
        v.assign(n.astype("float32"))
    refresh(m)


def values(fill, rows, r):
    """Rows of an input: standard normal or whole numbers; some steps are masked."""
    shape = [rows] + fill["shape"]
    if fill["ids"]:
        x = r.integers(0, fill["ids"], size=shape).astype("int32")
    else:
        x = r.normal(size=shape).astype("float32")
    if fill["mask"] is not None:
        gone = r.random(size=shape[:2]) < 0.3
        gone[0, -2:] = True  # a row that ends early, one that starts late, one that is whole
        gone[1, :2] = True
        gone[2] = False
        gone[:, shape[1] // 2] &= gone.all(1) == False  # never all of a row
        x[gone] = fill["mask"]
    return x


def run(m, data):
    """The outputs, a list of arrays; states begin with zeros."""
    for layer in m._flatten_layers():
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_state"):
            layer.reset_state()
    y = m(data if len(data) > 1 else data[0], training=False)
    return [np.asarray(t) for t in (y if isinstance(y, (list, tuple)) else [y])]


TOLERANCE = 1e-5


def furthest(a, b):
    return max(np.abs(p.astype("float64") - q).max() for p, q in zip(a, b))


def telling(m, data, want, r):
    """Whether the outputs say something about the model: they are there, finite, moderate, differ over
    the inputs by more than 0.1, hang on every array and do not amplify rounding (as an LSTM
    whose cell grows without bound: no two programs agree on such a model)."""
    for y in want:
        if y.size == 0 or not np.isfinite(y).all() or np.abs(y).max() > 100:
            return False
        if (y.max(0) - y.min(0)).mean() <= 0.1:
            return False
    largest = min(np.abs(y).max() for y in want)
    floats = [v for v in m.weights if str(v.dtype).startswith("float")]
    before = [np.array(v) for v in floats]
    nudge = lambda a: (a * (1 + 2.0 ** -24 * r.normal(size=a.shape))).astype("float32")
    for v, w in zip(floats, before):
        v.assign(nudge(w))
    refresh(m)
    # Whole numbers and halves may be ids and what Masking looks for.
    moved = run(m, [np.where(x * 2 == np.round(x * 2), x, nudge(x)).astype(x.dtype) for x in data])
    good = furthest(moved, want) < TOLERANCE / 4 * largest
    for v, w in zip(floats, before):
        v.assign(w)
    for v, w in zip(floats, before):
        if not good:
            break
        v.assign(w + (0.2 + 0.2 * np.abs(r.normal(size=w.shape))).astype("float32"))
        refresh(m)
        good = furthest(run(m, data), want) > 100 * TOLERANCE * largest
        v.assign(w)
    refresh(m)
    return good


def refresh(m):
    """Normalization keeps what it makes of its arrays."""
    for layer in m._flatten_layers():
        if isinstance(layer, L.Normalization) and layer.input_mean is None and layer.built:
            layer.finalize_state()


def draw(seed, cell, tries=150):
    """A model in which the cell occurs, its inputs in order, its outputs and the cells it has."""
    for k in range(tries):
        r = np.random.default_rng(list(seed) + [k])
        try:
            m, data, used = draw_once(r, cell)
            want = run(m, data)
        except (Unfit, ValueError):  # ValueError: Keras says so only when it runs
            continue
        if telling(m, data, want, r):
            return m, data, want, used
    raise RuntimeError("no model with %s %s=%s in %d tries" % (*cell, tries))
