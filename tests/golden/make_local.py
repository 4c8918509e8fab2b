#!/usr/bin/env python3
"""What Keras 3 answers for convolutions, pools, paddings and resizings, as the table of
tests/models/test_conv2d.c:

    KERAS_BACKEND=jax python3 make_local.py > ../models/local_values.inc

Weights and inputs are multiples of 1/8 that the test makes by the same rule. Made with
Keras 3.15.1 on jax 0.10.2.
"""
import keras
import numpy as np

# kymo's words, steps, values of a step; the words are Keras's own names.
CASES = [
    ("Conv1D filters=4 kernel_size=3 groups=2 padding=same", 5, 4),
    ("Conv1D filters=3 kernel_size=4 strides=3 padding=same", 8, 2),
    ("Conv1D filters=2 kernel_size=2 dilation_rate=3 padding=causal", 6, 2),
    ("columns=4; Conv2D filters=2 kernel_size=3", 4, 8),
    ("columns=5; Conv2D filters=2 kernel_size=4x2 strides=3x2 padding=same", 7, 10),
    ("columns=6; Conv2D filters=2 kernel_size=2x3 strides=2x1 padding=same activation=relu", 5, 6),
    ("columns=5; Conv2D filters=2 kernel_size=2x3 dilation_rate=2x2 padding=same", 4, 5),
    ("columns=6; Conv2D filters=2 kernel_size=3x2 dilation_rate=1x3", 4, 6),
    ("columns=3; Conv2D filters=4 kernel_size=2 groups=2 use_bias=0", 3, 12),
    ("columns=3; Conv2D filters=3 kernel_size=2 activation=softmax", 3, 6),
    ("DepthwiseConv1D kernel_size=3 depth_multiplier=2 padding=same", 5, 2),
    ("columns=4; DepthwiseConv2D kernel_size=2x3 depth_multiplier=2", 3, 8),
    ("columns=5; DepthwiseConv2D kernel_size=4 strides=2 padding=same", 5, 10),
    ("columns=6; DepthwiseConv2D kernel_size=2 dilation_rate=2 use_bias=0", 4, 6),
    ("SeparableConv1D filters=3 kernel_size=4 depth_multiplier=2 strides=2 padding=same", 7, 2),
    ("columns=4; SeparableConv2D filters=3 kernel_size=2x3 depth_multiplier=2", 3, 8),
    ("columns=5; SeparableConv2D filters=2 kernel_size=3 strides=2 padding=same "
     "activation=tanh", 4, 10),
    ("MaxPooling1D pool_size=3 strides=2 padding=same", 8, 2),
    ("columns=5; MaxPooling2D", 5, 10),
    ("columns=5; MaxPooling2D pool_size=4x3 strides=3x2 padding=same", 7, 10),
    ("columns=5; AveragePooling2D pool_size=2x3 strides=1x2", 4, 10),
    ("columns=5; AveragePooling2D pool_size=4x3 strides=3x2 padding=same", 7, 10),
    ("columns=3; GlobalAveragePooling2D", 4, 6),
    ("columns=3; GlobalMaxPooling2D keepdims=1", 4, 6),
    ("GlobalAveragePooling1D keepdims=1", 4, 3),
    ("ZeroPadding1D padding=2x1", 3, 2),
    ("columns=3; ZeroPadding2D padding=1x0x2x1", 2, 6),
    ("Cropping1D cropping=1x2", 5, 2),
    ("columns=5; Cropping2D cropping=1x2x0x3", 5, 10),
    ("UpSampling1D size=3", 2, 2),
    ("columns=2; UpSampling2D size=2x3", 2, 4),
    ("columns=3; UpSampling2D size=2x3 interpolation=bilinear", 3, 6),
    ("columns=2; UpSampling2D size=5x4 interpolation=bilinear", 2, 2),
]


def numbers(n, step, start, modulo, scale):
    return np.array([((i * step + start) % modulo - modulo // 2) / scale for i in range(n)], "float32")


def pattern(arrays):
    """Weights in the order of the file, one rule over all of them."""
    v = numbers(sum(a.size for a in arrays), 7, 3, 11, 8)
    out = []
    for a in arrays:
        out.append(v[: a.size].reshape(a.shape))
        v = v[a.size :]
    return out


def value(key, text, two):
    if key in ("activation", "interpolation") or text.isalpha():
        return text
    v = [int(n) for n in text.split("x")]
    if key in ("padding", "cropping"):
        return tuple(v) if len(v) == 2 else ((v[0], v[1]), (v[2], v[3]))
    if key in ("use_bias", "keepdims"):
        return bool(v[0])
    return tuple(v) if len(v) > 1 else v[0]


def build(spec, T, F):
    shape, words = (T, F), spec.split("; ")
    if words[0].startswith("columns="):
        columns = int(words.pop(0)[8:])
        shape = (T, columns, F // columns)
    name, *options = words[0].split()
    pairs = (o.split("=") for o in options)
    layer = getattr(keras.layers, name)(**{k: value(k, v, len(shape) == 3) for k, v in pairs})
    return keras.Sequential([keras.Input(shape), layer]), shape


for spec, T, F in CASES:
    model, shape = build(spec, T, F)
    model.set_weights(pattern(model.get_weights()))
    x = numbers(2 * T * F, 5, 2, 13, 4).reshape((2, *shape))
    y = np.asarray(model(x)).ravel()
    print("{ \"%s\", %d, %d, %d, {" % (spec, T, F, y.size))
    for i in range(0, y.size, 8):
        print(" ".join("%.9g," % v for v in y[i : i + 8]))
    print("} },")
